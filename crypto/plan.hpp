// How the packets of each suite are done, and where the parts of its key lie: a row for each of kSuites. The
// engine's own (bulk.cpp, groups.cpp, expand.cpp).
#pragma once

#include <intel-ipsec-mb.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "crypto/bulk.hpp"
#include "crypto/suite.hpp"

namespace espgate::crypto {

inline constexpr std::size_t kBlock = 16;  // of AES, and so CBC's IV

// The salt shares a line with the first round keys, and pushes ipsec-mb's hash keys to the beginning of one.
struct GcmKey {
  std::uint32_t salt;  // as it lies in the key material
  alignas(16) gcm_key_data schedule;
};
static_assert(sizeof(GcmKey) == SaKey::kStorage);

// Where in SaKey the parts of the other suites' keys lie, each but the first aligned to 16 bytes: the key or
// schedule that encrypts, the salt, the hash states after HMAC's padded key (RFC 2104), CBC's schedule that
// decrypts. CBC uses the states both ways and the schedules one way each, so that either direction reads one
// contiguous run of lines.
struct KeyLayout {
  std::uint16_t salt;
  std::uint16_t inner;
  std::uint16_t outer;
  std::uint16_t decrypt;
  std::uint16_t end;
};

struct HashAlgorithm {
  IMB_HASH_ALG algorithm;
  std::uint16_t state;  // bytes, rounded up to ipsec-mb's alignment
};
constexpr HashAlgorithm hash_of(const SuiteRow& row) noexcept {
  switch (row.integrity) {
    case Integrity::none:
      break;
    case Integrity::hmac_sha1_96:
      return {IMB_AUTH_HMAC_SHA_1, 32};
    case Integrity::hmac_sha256_128:
      return {IMB_AUTH_HMAC_SHA_256, 32};
    case Integrity::hmac_sha384_192:
      return {IMB_AUTH_HMAC_SHA_384, 64};
    case Integrity::hmac_sha512_256:
      return {IMB_AUTH_HMAC_SHA_512, 64};
  }
  return {row.mode == CipherMode::ccm ? IMB_AUTH_AES_CCM : IMB_AUTH_CHACHA20_POLY1305, 0};
}

// How the packets of a suite are done.
enum class Method : std::uint8_t {
  direct,  // a call for each packet
  bursts,  // all packets by the cipher, and all by the hash
  jobs,    // all packets as jobs of one algorithm that does both
};
struct CipherAlgorithm {
  Method method;
  IMB_CIPHER_MODE algorithm;
};
constexpr CipherAlgorithm cipher_of(CipherMode mode) noexcept {
  switch (mode) {
    case CipherMode::gcm:
    case CipherMode::gmac:
      break;
    case CipherMode::cbc:
      return {Method::bursts, IMB_CIPHER_CBC};
    case CipherMode::ctr:
      return {Method::bursts, IMB_CIPHER_CNTR};
    case CipherMode::null:
      return {Method::bursts, IMB_CIPHER_NULL};
    case CipherMode::ccm:
      return {Method::jobs, IMB_CIPHER_CCM};
    case CipherMode::chacha20_poly1305:
      return {Method::jobs, IMB_CIPHER_CHACHA20_POLY1305};
  }
  return {Method::direct, IMB_CIPHER_GCM};
}

// Bytes. FIPS 197: 10, 12 or 14 rounds, and a round key more.
constexpr std::uint16_t schedule_length(const SuiteRow& row) noexcept {
  if (row.mode == CipherMode::null || row.mode == CipherMode::chacha20_poly1305) return row.key_length;
  return static_cast<std::uint16_t>(kBlock * (row.key_length / 4U + 7U));
}

// One for each row of the table.
struct Plan {
  Method method;
  IMB_CIPHER_MODE cipher;
  IMB_KEY_SIZE_BYTES key_size;
  IMB_HASH_ALG hash;
  Integrity integrity;
  std::uint8_t salt_length;
  std::uint8_t iv_length;
  std::uint8_t icv_length;
  std::uint8_t alignment;
  KeyLayout key;
};
constexpr Plan plan_of(const SuiteRow& row) noexcept {
  const CipherAlgorithm cipher = cipher_of(row.mode);
  const HashAlgorithm hash = hash_of(row);
  KeyLayout key{};
  key.salt = schedule_length(row);
  key.inner = static_cast<std::uint16_t>(key.salt + (row.salt_length != 0 ? 16 : 0));
  key.outer = static_cast<std::uint16_t>(key.inner + hash.state);
  key.decrypt = static_cast<std::uint16_t>(key.outer + hash.state);
  key.end =
      static_cast<std::uint16_t>(key.decrypt + (row.mode == CipherMode::cbc ? schedule_length(row) : 0));
  return {cipher.method,
          cipher.algorithm,
          static_cast<IMB_KEY_SIZE_BYTES>(row.key_length),
          hash.algorithm,
          row.integrity,
          row.salt_length,
          row.iv_length,
          row.icv_length,
          row.alignment,
          key};
}
inline constexpr auto kPlans = [] {
  std::array<Plan, kSuites.size()> plans{};
  std::ranges::transform(kSuites, plans.begin(), plan_of);
  return plans;
}();
static_assert(std::ranges::all_of(kPlans, [](const Plan& plan) { return plan.key.end <= SaKey::kStorage; }));

// What is for AES keys of 128, 192 or 256 bits; `key_length` in bytes.
template <class T>
constexpr T by_key_length(std::size_t key_length, T of_128, T of_192, T of_256) noexcept {
  return key_length == 16 ? of_128 : key_length == 24 ? of_192 : of_256;
}

inline const GcmKey& gcm_key(const SaKey& key) noexcept {
  return *reinterpret_cast<const GcmKey*>(key.storage);
}

inline const std::uint8_t* part(const SaKey& key, std::size_t at) noexcept {
  return reinterpret_cast<const std::uint8_t*>(key.storage + at);
}
inline std::uint8_t* part(SaKey& key, std::size_t at) noexcept {
  return reinterpret_cast<std::uint8_t*>(key.storage + at);
}

}  // namespace espgate::crypto
