// Which signature is made and which is taken: the AUTH payload of RFC 7427 (method 14) and the methods before
// it (RFC 7296 section 3.8, RFC 4754). Knows no IKE SA.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "conf/schema.hpp"
#include "control/ike/payloads.hpp"
#include "crypto/signature.hpp"

namespace espgate::ike {

// A set of crypto::SignatureHash, as SIGNATURE_HASH_ALGORITHMS has them (RFC 7427 section 4).
class SignatureHashes {
 public:
  void add(crypto::SignatureHash hash) noexcept { bits_ |= bit(hash); }
  [[nodiscard]] bool has(crypto::SignatureHash hash) const noexcept { return (bits_ & bit(hash)) != 0; }
  [[nodiscard]] bool empty() const noexcept { return bits_ == 0; }

 private:
  static std::uint32_t bit(crypto::SignatureHash hash) noexcept { return 1U << static_cast<unsigned>(hash); }
  std::uint32_t bits_{0};
};

// Whether either side of the tunnel signs.
[[nodiscard]] bool uses_signatures(const conf::Tunnel& tunnel) noexcept;

// The notify that names all that we verify: SHA2 and Ed25519.
[[nodiscard]] NotifyPayload hashes_notify();
// What the peer verifies; empty: it knows no method 14.
[[nodiscard]] SignatureHashes hashes_in(const std::vector<Payload>& payloads);

struct SignatureChoice {
  AuthMethod method{};
  crypto::SignatureScheme scheme{};
};
struct SignaturePolicy {
  bool rsa_pss{false};
  bool sha1{false};  // method 1 by SHA-1, which is all that many old peers know; both ways
};
// How we sign with a key of this kind for a peer that verifies `hashes`. Words: it takes none that we make.
[[nodiscard]] std::variant<SignatureChoice, std::string> choose_signature(crypto::KeyKind kind,
                                                                          SignatureHashes hashes,
                                                                          SignaturePolicy policy);
// The AUTH payload of such a signature, ECDSA's in DER.
[[nodiscard]] AuthPayload signature_payload(SignatureChoice choice, crypto::KeyKind kind, Bytes signature);

// "RSA with SHA2-256", or in words why the AUTH payload is no good signature over `octets` by `key`.
struct Verified {
  bool good{false};
  std::string words;
};
[[nodiscard]] Verified verify_signature(const AuthPayload& auth, const crypto::PublicKey& key, Bytes octets,
                                        SignaturePolicy policy);

// "a pre-shared key", "an RSA signature", "method 3".
[[nodiscard]] std::string method_words(std::uint8_t method);

}  // namespace espgate::ike
