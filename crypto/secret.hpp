// Bytes that must not outlive their use: erased when destroyed, moved from or replaced. Never printed, never
// copied by accident. Memory is the ordinary heap's; the processes lock it and forbid core dumps at their
// start.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace espgate::crypto {

using Bytes = std::span<const std::uint8_t>;
using MutableBytes = std::span<std::uint8_t>;

class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(std::size_t size) : bytes_(size) {}
  explicit SecretBytes(Bytes bytes) : bytes_(bytes.begin(), bytes.end()) {}
  explicit SecretBytes(std::string_view text) : bytes_(text.begin(), text.end()) {}
  SecretBytes(SecretBytes&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  SecretBytes& operator=(SecretBytes&& other) noexcept {
    if (this != &other) {
      erase();
      bytes_ = std::exchange(other.bytes_, {});
    }
    return *this;
  }
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  ~SecretBytes() { erase(); }

  [[nodiscard]] SecretBytes copy() const { return SecretBytes(Bytes(bytes_)); }
  [[nodiscard]] Bytes view() const noexcept { return bytes_; }
  [[nodiscard]] MutableBytes bytes() noexcept { return bytes_; }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
  [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }

 private:
  void erase() noexcept {
    if (!bytes_.empty()) explicit_bzero(bytes_.data(), bytes_.size());
  }
  std::vector<std::uint8_t>
      bytes_;  // never grows after construction, so no unerased copy is left by a reallocation
};

// True when both have the same bytes; the time depends on the lengths alone.
[[nodiscard]] bool equal_in_constant_time(Bytes a, Bytes b) noexcept;

// Fills with bytes from the system's generator. Aborts the process when there are none to be had.
void random_bytes(MutableBytes out) noexcept;

}  // namespace espgate::crypto
