// The ESP suites: one row each. The proposal parser, the engine, the self-test and the documentation read
// this table.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace espgate::crypto {

// Stable numbers, 1 and up without gaps: they travel through the channel.
enum class EspSuite : std::uint16_t {
  none = 0,
  aes128_gcm16 = 1,
  aes256_gcm16 = 2,
  aes128_cbc_sha1 = 3,
  aes256_cbc_sha1 = 4,
  aes128_cbc_sha256 = 5,
  aes256_cbc_sha256 = 6,
  aes192_gcm16 = 7,
  aes128_gcm8 = 8,
  aes192_gcm8 = 9,
  aes256_gcm8 = 10,
  aes128_gcm12 = 11,
  aes192_gcm12 = 12,
  aes256_gcm12 = 13,
  aes192_cbc_sha1 = 14,
  aes192_cbc_sha256 = 15,
  aes128_cbc_sha384 = 16,
  aes192_cbc_sha384 = 17,
  aes256_cbc_sha384 = 18,
  aes128_cbc_sha512 = 19,
  aes192_cbc_sha512 = 20,
  aes256_cbc_sha512 = 21,
  chacha20_poly1305 = 22,
  null_sha1 = 23,
  null_sha256 = 24,
  null_sha384 = 25,
  null_sha512 = 26,
  aes128_gmac = 27,
  aes192_gmac = 28,
  aes256_gmac = 29,
  aes128_ctr_sha1 = 30,
  aes192_ctr_sha1 = 31,
  aes256_ctr_sha1 = 32,
  aes128_ctr_sha256 = 33,
  aes192_ctr_sha256 = 34,
  aes256_ctr_sha256 = 35,
  aes128_ctr_sha384 = 36,
  aes192_ctr_sha384 = 37,
  aes256_ctr_sha384 = 38,
  aes128_ctr_sha512 = 39,
  aes192_ctr_sha512 = 40,
  aes256_ctr_sha512 = 41,
  aes128_ccm16 = 42,
  aes256_ccm16 = 43,
  aes128_ccm8 = 44,
  aes256_ccm8 = 45,
  aes128_ccm12 = 46,
  aes256_ccm12 = 47,
};

enum class CipherMode : std::uint8_t {
  gcm,                // AES, RFC 4106
  cbc,                // AES, RFC 3602
  ctr,                // AES, RFC 3686
  ccm,                // AES, RFC 4309
  gmac,               // AES, RFC 4543: authentic, not secret
  null,               // RFC 2410: the same
  chacha20_poly1305,  // RFC 7634
};
enum class Integrity : std::uint8_t {
  none,             // AEAD
  hmac_sha1_96,     // RFC 2404
  hmac_sha256_128,  // this and what follows: RFC 4868
  hmac_sha384_192,
  hmac_sha512_256,
};

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
  std::uint8_t
      alignment;  // a power of two; the plaintext with its trailer is a multiple (RFC 4303 section 2.4)
  std::uint16_t ike_cipher;     // IANA IKEv2 transform type 1
  std::uint16_t ike_integrity;  // IANA IKEv2 transform type 3; 0: none (AEAD)
};

namespace suite_rows {

struct IntegrityRow {
  Integrity integrity;
  std::uint8_t key_length;  // bytes
  std::uint8_t icv_length;  // bytes
  std::uint16_t ike;
};
inline constexpr IntegrityRow kSha1{Integrity::hmac_sha1_96, 20, 12, 2};
inline constexpr IntegrityRow kSha256{Integrity::hmac_sha256_128, 32, 16, 12};
inline constexpr IntegrityRow kSha384{Integrity::hmac_sha384_192, 48, 24, 13};
inline constexpr IntegrityRow kSha512{Integrity::hmac_sha512_256, 64, 32, 14};

// An AEAD: an explicit IV of 8 bytes, and no more padding than ESP's own.
constexpr SuiteRow aead(EspSuite suite, std::string_view name, CipherMode mode, std::uint8_t key,
                        std::uint8_t salt, std::uint8_t icv, std::uint16_t ike) {
  return {suite, name, mode, Integrity::none, key, salt, 0, 8, icv, 4, ike, 0};
}
constexpr SuiteRow gcm(EspSuite suite, std::string_view name, std::uint8_t key, std::uint8_t icv) {
  return aead(suite, name, CipherMode::gcm, key, 4, icv, icv == 8 ? 18 : icv == 12 ? 19 : 20);
}
constexpr SuiteRow gmac(EspSuite suite, std::string_view name, std::uint8_t key) {
  return aead(suite, name, CipherMode::gmac, key, 4, 16, 21);
}
constexpr SuiteRow ccm(EspSuite suite, std::string_view name, std::uint8_t key, std::uint8_t icv) {
  return aead(suite, name, CipherMode::ccm, key, 3, icv, icv == 8 ? 14 : icv == 12 ? 15 : 16);
}
constexpr SuiteRow chacha20(EspSuite suite, std::string_view name) {
  return aead(suite, name, CipherMode::chacha20_poly1305, 32, 4, 16, 28);
}

struct CipherRow {
  CipherMode mode;
  std::uint8_t salt_length;
  std::uint8_t iv_length;
  std::uint8_t alignment;
  std::uint16_t ike;
};
constexpr SuiteRow with_hmac(EspSuite suite, std::string_view name, const CipherRow& cipher, std::uint8_t key,
                             const IntegrityRow& hmac) {
  return {suite,
          name,
          cipher.mode,
          hmac.integrity,
          key,
          cipher.salt_length,
          hmac.key_length,
          cipher.iv_length,
          hmac.icv_length,
          cipher.alignment,
          cipher.ike,
          hmac.ike};
}
constexpr SuiteRow cbc(EspSuite suite, std::string_view name, std::uint8_t key, const IntegrityRow& hmac) {
  return with_hmac(suite, name, {CipherMode::cbc, 0, 16, 16, 12}, key, hmac);
}
constexpr SuiteRow ctr(EspSuite suite, std::string_view name, std::uint8_t key, const IntegrityRow& hmac) {
  return with_hmac(suite, name, {CipherMode::ctr, 4, 8, 4, 13}, key, hmac);
}
constexpr SuiteRow null(EspSuite suite, std::string_view name, const IntegrityRow& hmac) {
  return with_hmac(suite, name, {CipherMode::null, 0, 0, 4, 11}, 0, hmac);
}

}  // namespace suite_rows

// In the order of their numbers. A name is the cipher's, then, after a dash, the integrity algorithm's.
inline constexpr auto kSuites = [] {
  using namespace suite_rows;
  return std::to_array<SuiteRow>({
      gcm(EspSuite::aes128_gcm16, "aes128gcm16", 16, 16),
      gcm(EspSuite::aes256_gcm16, "aes256gcm16", 32, 16),
      cbc(EspSuite::aes128_cbc_sha1, "aes128-sha1", 16, kSha1),
      cbc(EspSuite::aes256_cbc_sha1, "aes256-sha1", 32, kSha1),
      cbc(EspSuite::aes128_cbc_sha256, "aes128-sha256", 16, kSha256),
      cbc(EspSuite::aes256_cbc_sha256, "aes256-sha256", 32, kSha256),
      gcm(EspSuite::aes192_gcm16, "aes192gcm16", 24, 16),
      gcm(EspSuite::aes128_gcm8, "aes128gcm8", 16, 8),
      gcm(EspSuite::aes192_gcm8, "aes192gcm8", 24, 8),
      gcm(EspSuite::aes256_gcm8, "aes256gcm8", 32, 8),
      gcm(EspSuite::aes128_gcm12, "aes128gcm12", 16, 12),
      gcm(EspSuite::aes192_gcm12, "aes192gcm12", 24, 12),
      gcm(EspSuite::aes256_gcm12, "aes256gcm12", 32, 12),
      cbc(EspSuite::aes192_cbc_sha1, "aes192-sha1", 24, kSha1),
      cbc(EspSuite::aes192_cbc_sha256, "aes192-sha256", 24, kSha256),
      cbc(EspSuite::aes128_cbc_sha384, "aes128-sha384", 16, kSha384),
      cbc(EspSuite::aes192_cbc_sha384, "aes192-sha384", 24, kSha384),
      cbc(EspSuite::aes256_cbc_sha384, "aes256-sha384", 32, kSha384),
      cbc(EspSuite::aes128_cbc_sha512, "aes128-sha512", 16, kSha512),
      cbc(EspSuite::aes192_cbc_sha512, "aes192-sha512", 24, kSha512),
      cbc(EspSuite::aes256_cbc_sha512, "aes256-sha512", 32, kSha512),
      chacha20(EspSuite::chacha20_poly1305, "chacha20poly1305"),
      null(EspSuite::null_sha1, "null-sha1", kSha1),
      null(EspSuite::null_sha256, "null-sha256", kSha256),
      null(EspSuite::null_sha384, "null-sha384", kSha384),
      null(EspSuite::null_sha512, "null-sha512", kSha512),
      gmac(EspSuite::aes128_gmac, "aes128gmac", 16),
      gmac(EspSuite::aes192_gmac, "aes192gmac", 24),
      gmac(EspSuite::aes256_gmac, "aes256gmac", 32),
      ctr(EspSuite::aes128_ctr_sha1, "aes128ctr-sha1", 16, kSha1),
      ctr(EspSuite::aes192_ctr_sha1, "aes192ctr-sha1", 24, kSha1),
      ctr(EspSuite::aes256_ctr_sha1, "aes256ctr-sha1", 32, kSha1),
      ctr(EspSuite::aes128_ctr_sha256, "aes128ctr-sha256", 16, kSha256),
      ctr(EspSuite::aes192_ctr_sha256, "aes192ctr-sha256", 24, kSha256),
      ctr(EspSuite::aes256_ctr_sha256, "aes256ctr-sha256", 32, kSha256),
      ctr(EspSuite::aes128_ctr_sha384, "aes128ctr-sha384", 16, kSha384),
      ctr(EspSuite::aes192_ctr_sha384, "aes192ctr-sha384", 24, kSha384),
      ctr(EspSuite::aes256_ctr_sha384, "aes256ctr-sha384", 32, kSha384),
      ctr(EspSuite::aes128_ctr_sha512, "aes128ctr-sha512", 16, kSha512),
      ctr(EspSuite::aes192_ctr_sha512, "aes192ctr-sha512", 24, kSha512),
      ctr(EspSuite::aes256_ctr_sha512, "aes256ctr-sha512", 32, kSha512),
      ccm(EspSuite::aes128_ccm16, "aes128ccm16", 16, 16),
      ccm(EspSuite::aes256_ccm16, "aes256ccm16", 32, 16),
      ccm(EspSuite::aes128_ccm8, "aes128ccm8", 16, 8),
      ccm(EspSuite::aes256_ccm8, "aes256ccm8", 32, 8),
      ccm(EspSuite::aes128_ccm12, "aes128ccm12", 16, 12),
      ccm(EspSuite::aes256_ccm12, "aes256ccm12", 32, 12),
  });
}();

// Where the row of `suite` is in the table; kSuites.size() or more for a number that is none (it may have
// come from the other process).
[[nodiscard]] constexpr std::size_t row_index(EspSuite suite) noexcept {
  return static_cast<std::size_t>(suite) - 1;
}
static_assert([] {
  for (std::size_t i = 0; i < kSuites.size(); ++i)
    if (row_index(kSuites[i].suite) != i) return false;
  return true;
}());

// The largest that `of` says of a row.
template <class Of>
[[nodiscard]] consteval std::size_t most_of_suites(Of of) {
  std::size_t most = 0;
  for (const SuiteRow& row : kSuites) most = std::max<std::size_t>(most, of(row));
  return most;
}

// The row of `suite`, or nullptr for a number that is none.
[[nodiscard]] constexpr const SuiteRow* find_suite(EspSuite suite) noexcept {
  const std::size_t index = row_index(suite);
  return index < kSuites.size() ? &kSuites[index] : nullptr;
}
[[nodiscard]] constexpr const SuiteRow* find_suite(std::string_view name) noexcept {
  for (const SuiteRow& row : kSuites)
    if (row.name == name) return &row;
  return nullptr;
}
[[nodiscard]] constexpr std::size_t key_material_length(const SuiteRow& row) noexcept {
  return std::size_t{row.key_length} + row.salt_length + row.integrity_key_length;
}
// Of IKE's Key Length attribute (RFC 7296 section 3.3.5), without the salt. 0: there is none, for NULL and
// where the length is fixed (RFC 7634 section 4).
[[nodiscard]] constexpr std::uint16_t ike_key_bits(const SuiteRow& row) noexcept {
  return row.mode == CipherMode::chacha20_poly1305 ? std::uint16_t{0}
                                                   : static_cast<std::uint16_t>(row.key_length * 8);
}

}  // namespace espgate::crypto
