// Files that the configuration names, read whole. Only conf/ itself includes this.
#pragma once

#include <string>

#include "crypto/secret.hpp"

namespace espgate::conf {

// owner: of a secret; a file that others may read is refused.
enum class Readers : std::uint8_t { owner, anybody };

struct FileContent {
  crypto::SecretBytes bytes;  // in memory that erases itself, whatever it is
  std::string objection;      // why there are none, in words; empty: nothing is wrong
};
// `most`: bytes; an empty file and a longer one are refused. Never waits, as for a pipe.
[[nodiscard]] FileContent read_whole(const std::string& path, Readers readers, std::size_t most);

}  // namespace espgate::conf
