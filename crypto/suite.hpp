// The ESP suites: one row each. The proposal parser, the engine, the self-test and the documentation read
// this table.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace espgate::crypto {

// Stable numbers: they travel through the channel.
enum class EspSuite : std::uint16_t {
  none = 0,
  aes128_gcm16 = 1,
  aes256_gcm16 = 2,
  aes128_cbc_sha1 = 3,  // HMAC-SHA1-96, RFC 2404
  aes256_cbc_sha1 = 4,
  aes128_cbc_sha256 = 5,  // HMAC-SHA2-256-128, RFC 4868
  aes256_cbc_sha256 = 6,
};

enum class CipherMode : std::uint8_t { gcm, cbc };
enum class Integrity : std::uint8_t { none, hmac_sha1_96, hmac_sha256_128 };

struct SuiteRow {
  EspSuite suite;
  std::string_view name;  // as operators write it, and as the benchmarks' --suite takes it
  CipherMode mode;
  Integrity integrity;
  std::uint8_t key_length;            // bytes, of the cipher
  std::uint8_t salt_length;           // bytes that follow the cipher key in the key material
  std::uint8_t integrity_key_length;  // bytes
  std::uint8_t iv_length;             // bytes on the wire
  std::uint8_t icv_length;            // bytes on the wire
  std::uint8_t alignment;       // the plaintext with its trailer is a multiple of this (RFC 4303 section 2.4)
  std::uint16_t ike_cipher;     // IANA IKEv2 transform type 1
  std::uint16_t ike_integrity;  // IANA IKEv2 transform type 3; 0: none (AEAD)
};

inline constexpr std::array<SuiteRow, 6> kSuites{{
    {EspSuite::aes128_gcm16, "aes128gcm16", CipherMode::gcm, Integrity::none, 16, 4, 0, 8, 16, 4, 20, 0},
    {EspSuite::aes256_gcm16, "aes256gcm16", CipherMode::gcm, Integrity::none, 32, 4, 0, 8, 16, 4, 20, 0},
    {EspSuite::aes128_cbc_sha1, "aes128-sha1", CipherMode::cbc, Integrity::hmac_sha1_96, 16, 0, 20, 16, 12,
     16, 12, 2},
    {EspSuite::aes256_cbc_sha1, "aes256-sha1", CipherMode::cbc, Integrity::hmac_sha1_96, 32, 0, 20, 16, 12,
     16, 12, 2},
    {EspSuite::aes128_cbc_sha256, "aes128-sha256", CipherMode::cbc, Integrity::hmac_sha256_128, 16, 0, 32, 16,
     16, 16, 12, 12},
    {EspSuite::aes256_cbc_sha256, "aes256-sha256", CipherMode::cbc, Integrity::hmac_sha256_128, 32, 0, 32, 16,
     16, 16, 12, 12},
}};

// The row of `suite`, or nullptr for a number that is none (it may have come from the other process).
[[nodiscard]] constexpr const SuiteRow* find_suite(EspSuite suite) noexcept {
  for (const SuiteRow& row : kSuites)
    if (row.suite == suite) return &row;
  return nullptr;
}
[[nodiscard]] constexpr const SuiteRow* find_suite(std::string_view name) noexcept {
  for (const SuiteRow& row : kSuites)
    if (row.name == name) return &row;
  return nullptr;
}
[[nodiscard]] constexpr std::size_t key_material_length(const SuiteRow& row) noexcept {
  return std::size_t{row.key_length} + row.salt_length + row.integrity_key_length;
}

}  // namespace espgate::crypto
