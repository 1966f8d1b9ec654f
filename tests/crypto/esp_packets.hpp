// ESP packets for the tests. Each lies at its own, odd address between guard bytes, for no sanitizer sees
// what ipsec-mb's assembler writes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <string_view>
#include <vector>

#include "crypto/bulk.hpp"

namespace espgate::crypto::test {

inline std::vector<std::uint8_t> from_hex(std::string_view text) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
  std::vector<std::uint8_t> bytes(text.size() / 2);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::uint8_t>(digit(text[2 * i]) * 16 + digit(text[2 * i + 1]));
  return bytes;
}

inline std::vector<std::uint8_t> random_vector(std::mt19937_64& random, std::size_t size) {
  std::vector<std::uint8_t> bytes(size);
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return bytes;
}

class EspPacket {
 public:
  EspPacket(const SuiteRow& suite, std::size_t payload, std::size_t misalignment)
      : suite_(suite), payload_(payload), misalignment_(misalignment) {
    block_.resize(kGuard + misalignment + size() + kGuard, kGuardByte);
    std::fill_n(esp(), size(), std::uint8_t{0});
  }
  EspPacket(const SuiteRow& suite, const std::vector<std::uint8_t>& bytes, std::size_t misalignment)
      : EspPacket(suite, bytes.size() - 8 - suite.iv_length - suite.icv_length, misalignment) {
    std::copy(bytes.begin(), bytes.end(), esp());
  }

  [[nodiscard]] std::size_t size() const { return 8 + suite_.iv_length + payload_ + suite_.icv_length; }
  [[nodiscard]] std::uint8_t* esp() { return block_.data() + kGuard + misalignment_; }
  [[nodiscard]] std::uint8_t* iv() { return esp() + 8; }
  [[nodiscard]] std::uint8_t* payload() { return iv() + suite_.iv_length; }
  [[nodiscard]] std::vector<std::uint8_t> bytes() { return {esp(), esp() + size()}; }
  [[nodiscard]] std::vector<std::uint8_t> payload_bytes() { return {payload(), payload() + payload_}; }
  // Nothing was written beside the packet.
  [[nodiscard]] bool intact() {
    const auto guards = [](std::uint8_t byte) { return byte == kGuardByte; };
    return std::all_of(block_.data(), esp(), guards) &&
           std::all_of(esp() + size(), block_.data() + block_.size(), guards);
  }
  [[nodiscard]] EspJob job(const SaKey& key, std::uint64_t sequence, bool esn) {
    return {&key, esp(), sequence, static_cast<std::uint32_t>(payload_), {suite_.suite, esn}, false};
  }

 private:
  static constexpr std::size_t kGuard = 64;
  static constexpr std::uint8_t kGuardByte = 0xa5;
  const SuiteRow& suite_;
  std::size_t payload_;
  std::size_t misalignment_;
  std::vector<std::uint8_t> block_;
};

}  // namespace espgate::crypto::test
