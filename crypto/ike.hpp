// IKE's own cryptography, on OpenSSL: PRFs, Diffie-Hellman groups, and the protection of the Encrypted
// payload. Numbers are IANA's (Internet Key Exchange Version 2 Parameters). No sockets, no protocol state.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <vector>

#include "crypto/secret.hpp"

namespace espgate::crypto {

// Transform type 2.
enum class Prf : std::uint16_t { hmac_sha1 = 2, hmac_sha256 = 5, hmac_sha384 = 6, hmac_sha512 = 7 };
// Transform type 4.
enum class DhGroup : std::uint16_t {
  none = 0,
  modp768 = 1,
  modp1024 = 2,
  modp1536 = 5,
  modp2048 = 14,
  modp3072 = 15,
  modp4096 = 16,
  ecp256 = 19,
  ecp384 = 20,
  ecp521 = 21,
  modp1024s160 = 22,
  modp2048s224 = 23,
  modp2048s256 = 24,
  curve25519 = 31
};
// Transform type 1, as IKE uses them.
enum class IkeCipherId : std::uint16_t { aes_cbc = 12, aes_gcm16 = 20 };
// Transform type 3, as IKE uses them. none: with AEAD.
enum class IkeIntegrity : std::uint16_t {
  none = 0,
  hmac_sha1_96 = 2,
  hmac_sha256_128 = 12,
  hmac_sha384_192 = 13,
  hmac_sha512_256 = 14
};

// Lengths in bytes; 0 for a number that is not in the enum.
[[nodiscard]] std::size_t prf_length(Prf prf) noexcept;  // of output and of preferred key
[[nodiscard]] std::size_t integrity_key_length(IkeIntegrity integrity) noexcept;
[[nodiscard]] std::size_t integrity_icv_length(IkeIntegrity integrity) noexcept;
[[nodiscard]] std::size_t dh_public_length(
    DhGroup group) noexcept;  // of the KE payload's data (RFC 7296, 5903, 8031)

// prf(key, data[0] | data[1] | ...), RFC 7296 section 2.13. Throws std::runtime_error if OpenSSL refuses.
[[nodiscard]] SecretBytes prf(Prf prf, Bytes key, std::initializer_list<Bytes> data);
// prf+(key, seed), `length` bytes. RFC 7296 section 2.13: at most 255 blocks.
[[nodiscard]] SecretBytes prf_plus(Prf prf, Bytes key, std::initializer_list<Bytes> seed, std::size_t length);
[[nodiscard]] std::vector<std::uint8_t> sha1(std::initializer_list<Bytes> data);  // NAT detection's hash only

// One side's ephemeral key. The shared secret is as RFC 7296 (modp: padded to the prime), 5903 (x
// coordinate), 8031.
class DhKey {
 public:
  // Throws std::runtime_error for a group that is not supported.
  static std::unique_ptr<DhKey> generate(DhGroup group);
  virtual ~DhKey() = default;
  [[nodiscard]] virtual DhGroup group() const noexcept = 0;
  [[nodiscard]] virtual Bytes public_value() const noexcept = 0;
  // nullopt: the peer's value is not a valid one of this group (RFC 6989: range, point on curve, not all
  // zero).
  [[nodiscard]] virtual std::optional<SecretBytes> shared_secret(Bytes peer_public) const = 0;
};

// Protection of the Encrypted (and Encrypted Fragment) payload, one direction. RFC 7296 section 3.14, RFC
// 5282.
class IkeCipher {
 public:
  // `key`: SK_e (for AES-GCM with the 4 bytes of salt at its end); `integrity_key`: SK_a, empty for AEAD.
  // Throws std::runtime_error on lengths that do not fit.
  static std::unique_ptr<IkeCipher> make(IkeCipherId cipher, std::uint16_t key_bits, IkeIntegrity integrity,
                                         Bytes key, Bytes integrity_key);
  virtual ~IkeCipher() = default;
  [[nodiscard]] virtual std::size_t iv_length() const noexcept = 0;
  [[nodiscard]] virtual std::size_t icv_length() const noexcept = 0;
  [[nodiscard]] virtual std::size_t block_length() const noexcept = 0;  // 16 for CBC, 1 for AEAD
  // `aad`: from the IKE header to the Encrypted payload's generic header, inclusive (with final lengths).
  // Returns IV | ciphertext | ICV of the padded plaintext (the pad length byte included by the caller).
  [[nodiscard]] virtual std::vector<std::uint8_t> seal(Bytes aad, Bytes padded_plaintext) = 0;
  // The reverse; nullopt: not authentic, or impossible lengths.
  [[nodiscard]] virtual std::optional<SecretBytes> open(Bytes aad, Bytes iv_ciphertext_icv) const = 0;
};

}  // namespace espgate::crypto
