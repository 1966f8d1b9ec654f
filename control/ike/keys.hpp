// The key schedule of RFC 7296: SKEYSEED and SK_* (2.14), their rekeyed form (2.18), KEYMAT (2.17), AUTH
// (2.15).
#pragma once

#include <cstdint>
#include <optional>

#include "control/ike/payloads.hpp"
#include "crypto/ike.hpp"
#include "crypto/suite.hpp"

namespace espgate::ike {

// What an IKE SA negotiated.
struct IkeAlgorithms {
  crypto::IkeCipherId cipher{};
  std::uint16_t key_bits{0};
  crypto::IkeIntegrity integrity{};
  crypto::Prf prf{};
  crypto::DhGroup group{};
};

struct IkeKeys {
  crypto::SecretBytes sk_d, sk_ai, sk_ar, sk_ei, sk_er, sk_pi, sk_pr;
};

// A PPK mixed into the keys that AUTH and all later keys are made of: prf+(PPK, it) of each of SK_d, SK_pi
// and SK_pr (RFC 8784 section 3). The others stay.
void mix_ppk(crypto::Prf prf, Bytes ppk, IkeKeys& keys);

struct NoncePair {
  Bytes initiator, responder;
};
struct SpiPair {
  std::uint64_t initiator, responder;
};

// `old_sk_d` and `old_prf` are those of the IKE SA being rekeyed (section 2.18), absent for a first one.
struct RekeyedFrom {
  Bytes sk_d;
  crypto::Prf prf;
};
[[nodiscard]] IkeKeys derive_ike_keys(const IkeAlgorithms& algorithms, Bytes shared_secret, NoncePair nonces,
                                      SpiPair spis, std::optional<RekeyedFrom> old = std::nullopt);

// KEYMAT of a child SA: initiator-to-responder first. `shared_secret` is empty without PFS.
struct ChildKeys {
  crypto::SecretBytes to_responder, to_initiator;
};
[[nodiscard]] ChildKeys derive_child_keys(crypto::Prf prf, Bytes sk_d, Bytes shared_secret, NoncePair nonces,
                                          const crypto::SuiteRow& suite);

// What AUTH is of: message | nonce | prf(sk_p, id_body). The message is the one that its sender sent first,
// the nonce the other's, the identity its sender's. Nothing in it is secret.
[[nodiscard]] ByteVector signed_octets(crypto::Prf prf, Bytes message, Bytes nonce, Bytes sk_p,
                                       Bytes id_body);
// AUTH for a shared key: prf(prf(psk, "Key Pad for IKEv2"), octets).
[[nodiscard]] crypto::SecretBytes psk_auth(crypto::Prf prf, Bytes psk, Bytes octets);

}  // namespace espgate::ike
