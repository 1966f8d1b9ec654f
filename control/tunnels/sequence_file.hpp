// The sequence numbers that SAs with manual keys have used, by key, on disk: no number may ever be used twice
// under one key, whatever is restarted, killed or switched off meanwhile. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "channel/region.hpp"

namespace espgate::control {

// Tells keys apart and says nothing about them.
using KeyFingerprint = std::array<std::uint8_t, 32>;

class SequenceFile {
 public:
  static constexpr std::string_view kName = "sequence-numbers";
  static constexpr std::size_t kMaxBytes = 16U << 20;

  // Opens `directory` (made with mode 0700 if it is missing), keeps others out of it, and reads its file if
  // there is one. Throws std::runtime_error with words: no access, in use, open to others, or damaged.
  explicit SequenceFile(const std::string& directory);

  // The last number that may have been used under the key; nullopt: the key was never seen.
  [[nodiscard]] std::optional<std::uint64_t> last(const KeyFingerprint& key) const;
  // Takes effect on disk with the next commit. A lower number than before changes nothing. Keys are never
  // forgotten: one that is taken back from an archive goes on where it was.
  void raise(const KeyFingerprint& key, std::uint64_t last);
  // Returns when what was raised outlives a power cut. Throws std::runtime_error with words; then the file is
  // as before, and the next commit tries again.
  void commit();

  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  void read();
  void write(const std::string& text) const;
  [[noreturn]] void fail(const std::string& what) const;  // with errno's words

  std::string directory_path_;
  std::string path_;
  channel::Fd directory_;
  channel::Fd lock_;
  std::map<KeyFingerprint, std::uint64_t> last_;
  bool changed_{false};
};

// The file's text: a line for each key, and a last one that tells whether all is there. `parse` gives nullopt
// for any text that `format` did not make.
[[nodiscard]] std::string format_sequence_numbers(const std::map<KeyFingerprint, std::uint64_t>& numbers);
[[nodiscard]] std::optional<std::map<KeyFingerprint, std::uint64_t>> parse_sequence_numbers(
    std::string_view text);

}  // namespace espgate::control
