// PEM (RFC 7468) to DER; only crypto/'s own sources include it.
#pragma once

#include <string>
#include <vector>

#include "crypto/secret.hpp"

namespace espgate::crypto {

struct PemBlock {
  std::string label;  // "CERTIFICATE"
  SecretBytes der;
};
[[nodiscard]] bool is_pem(Bytes file);
// All blocks, in order; what stands between them is nothing. Throws std::runtime_error for a block that is
// not well-formed.
[[nodiscard]] std::vector<PemBlock> read_pem(Bytes file);

}  // namespace espgate::crypto
