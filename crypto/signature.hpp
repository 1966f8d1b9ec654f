// Digital signatures as IKE has them (RFC 7427, 8420, 4754), on OpenSSL: keys, schemes, and how a scheme is
// named on the wire. Objects are immutable, and may be used by any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crypto/secret.hpp"

struct evp_pkey_st;

namespace espgate::crypto {

// What SIGNATURE_HASH_ALGORITHMS lists (RFC 7427 section 7; identity: RFC 8420).
enum class SignatureHash : std::uint16_t { sha1 = 1, sha256 = 2, sha384 = 3, sha512 = 4, identity = 5 };

enum class KeyKind : std::uint8_t { rsa, p256, p384, p521, ed25519 };

// rsa_*: PKCS#1 v1.5. SHA-1 only for old peers, and never in method 14.
enum class SignatureScheme : std::uint8_t {
  rsa_sha1,
  rsa_sha256,
  rsa_sha384,
  rsa_sha512,
  pss_sha256,
  pss_sha384,
  pss_sha512,
  ecdsa_sha256,
  ecdsa_sha384,
  ecdsa_sha512,
  ed25519,
};

[[nodiscard]] std::string name_of(KeyKind kind);            // "RSA", "ECDSA P-256", "Ed25519"
[[nodiscard]] std::string name_of(SignatureScheme scheme);  // "RSA PSS with SHA2-256"
[[nodiscard]] SignatureHash hash_of(SignatureScheme scheme) noexcept;
[[nodiscard]] bool fits(SignatureScheme scheme, KeyKind kind) noexcept;
// The AlgorithmIdentifier in DER (RFC 7427 appendix A, RFC 8420); empty for rsa_sha1.
[[nodiscard]] Bytes algorithm_identifier(SignatureScheme scheme) noexcept;
// nullopt: none of the above, or SHA-1. Parameters that may be NULL or absent may be either (RFC 4055 section
// 2.1); PSS has one hash for both its uses, and a salt as long as that.
[[nodiscard]] std::optional<SignatureScheme> scheme_of(Bytes algorithm_identifier);
// What the AlgorithmIdentifier names, in OpenSSL's words ("sha1WithRSAEncryption"), for those refused.
[[nodiscard]] std::string algorithm_words(Bytes algorithm_identifier);

// ECDSA's signature between Ecdsa-Sig-Value in DER (RFC 7427) and r | s, each as long as the group's order
// (RFC 4754 section 7). nullopt: it is not one.
[[nodiscard]] std::optional<std::vector<std::uint8_t>> ecdsa_to_pair(KeyKind kind, Bytes der);
[[nodiscard]] std::optional<std::vector<std::uint8_t>> ecdsa_from_pair(KeyKind kind, Bytes pair);

class PublicKey {
 public:
  // From a SubjectPublicKeyInfo in DER, or a file with one, in PEM or DER. Throws std::runtime_error with
  // words: no such thing, a kind of key not known here, RSA of less than 2048 or more than 8192 bits.
  [[nodiscard]] static std::shared_ptr<const PublicKey> read(Bytes der_or_pem);
  [[nodiscard]] static std::shared_ptr<const PublicKey> of(std::shared_ptr<evp_pkey_st> key);

  [[nodiscard]] KeyKind kind() const noexcept { return kind_; }
  [[nodiscard]] Bytes der() const noexcept { return der_; }  // SubjectPublicKeyInfo
  [[nodiscard]] std::string words() const;                   // "RSA 3072", "ECDSA P-256"
  // False as well for a scheme that is not for this kind of key. ECDSA's signature in DER.
  [[nodiscard]] bool verify(SignatureScheme scheme, Bytes data, Bytes signature) const;

 private:
  PublicKey() = default;
  std::shared_ptr<evp_pkey_st> key_;
  std::vector<std::uint8_t> der_;
  KeyKind kind_{};
  int bits_{0};
};

class PrivateKey {
 public:
  // A file with one key, in PEM or DER: PKCS#8, or the form of its kind; not behind a password. Throws
  // std::runtime_error as PublicKey::read does. OpenSSL erases the key when this goes.
  [[nodiscard]] static std::shared_ptr<const PrivateKey> read(Bytes der_or_pem);
  [[nodiscard]] static std::shared_ptr<const PrivateKey> of(std::shared_ptr<evp_pkey_st> key);

  [[nodiscard]] const PublicKey& public_key() const noexcept { return *public_; }
  // ECDSA's signature in DER. Throws std::runtime_error where the scheme is not for this kind of key.
  [[nodiscard]] std::vector<std::uint8_t> sign(SignatureScheme scheme, Bytes data) const;

 private:
  PrivateKey() = default;
  std::shared_ptr<evp_pkey_st> key_;
  std::shared_ptr<const PublicKey> public_;
};

// From now on whatever OpenSSL frees is erased first: its decoders leave keys behind otherwise. To be called
// before anything else of OpenSSL, once.
void erase_what_openssl_frees();

}  // namespace espgate::crypto
