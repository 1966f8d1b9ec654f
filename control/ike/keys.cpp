#include "control/ike/keys.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace espgate::ike {
namespace {

std::array<std::uint8_t, 8> big_endian(std::uint64_t value) {
  std::array<std::uint8_t, 8> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(value >> (56 - 8 * i));
  return bytes;
}

// Cuts key material into keys, from its beginning on.
class Slices {
 public:
  explicit Slices(crypto::SecretBytes material) : material_(std::move(material)) {}
  crypto::SecretBytes next(std::size_t length) {
    const Bytes key = material_.view().subspan(used_, length);
    used_ += length;
    return crypto::SecretBytes(key);
  }

 private:
  crypto::SecretBytes material_;
  std::size_t used_{0};
};

// SK_e: AES-GCM's 4 bytes of salt follow the key (RFC 5282 section 7.1).
std::size_t cipher_key_length(const IkeAlgorithms& algorithms) {
  const std::size_t salt = algorithms.cipher == crypto::IkeCipherId::aes_gcm16 ? 4 : 0;
  return algorithms.key_bits / 8U + salt;
}

// prf(Ni | Nr, g^ir) (section 2.14), or when rekeying prf(SK_d of the old SA, g^ir | Ni | Nr) with the old
// SA's PRF (section 2.18).
crypto::SecretBytes skeyseed(crypto::Prf prf, Bytes shared_secret, NoncePair nonces,
                             const std::optional<RekeyedFrom>& old) {
  if (old) return crypto::prf(old->prf, old->sk_d, {shared_secret, nonces.initiator, nonces.responder});
  crypto::SecretBytes key(nonces.initiator.size() + nonces.responder.size());
  const auto middle = std::copy(nonces.initiator.begin(), nonces.initiator.end(), key.bytes().begin());
  std::copy(nonces.responder.begin(), nonces.responder.end(), middle);
  return crypto::prf(prf, key.view(), {shared_secret});
}

}  // namespace

// Section 2.14: {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi |
// SPIr).
IkeKeys derive_ike_keys(const IkeAlgorithms& algorithms, Bytes shared_secret, NoncePair nonces, SpiPair spis,
                        std::optional<RekeyedFrom> old) {
  const std::size_t prf_length = crypto::prf_length(algorithms.prf);
  const std::size_t integrity_length = crypto::integrity_key_length(algorithms.integrity);  // 0 for AEAD
  const std::size_t cipher_length = cipher_key_length(algorithms);
  const auto spi_initiator = big_endian(spis.initiator);
  const auto spi_responder = big_endian(spis.responder);
  const crypto::SecretBytes seed = skeyseed(algorithms.prf, shared_secret, nonces, old);
  Slices material(crypto::prf_plus(algorithms.prf, seed.view(),
                                   {nonces.initiator, nonces.responder, spi_initiator, spi_responder},
                                   3 * prf_length + 2 * (integrity_length + cipher_length)));
  IkeKeys keys;
  keys.sk_d = material.next(prf_length);
  keys.sk_ai = material.next(integrity_length);
  keys.sk_ar = material.next(integrity_length);
  keys.sk_ei = material.next(cipher_length);
  keys.sk_er = material.next(cipher_length);
  keys.sk_pi = material.next(prf_length);
  keys.sk_pr = material.next(prf_length);
  return keys;
}

void mix_ppk(crypto::Prf prf, Bytes ppk, IkeKeys& keys) {
  for (crypto::SecretBytes* key : {&keys.sk_d, &keys.sk_pi, &keys.sk_pr})
    *key = crypto::prf_plus(prf, ppk, {key->view()}, key->size());
}

// Section 2.17: KEYMAT = prf+(SK_d, [g^ir |] Ni | Nr); of each direction the encryption key, then the
// integrity key.
ChildKeys derive_child_keys(crypto::Prf prf, Bytes sk_d, Bytes shared_secret, NoncePair nonces,
                            const crypto::SuiteRow& suite) {
  const std::size_t length = crypto::key_material_length(suite);
  Slices material(
      crypto::prf_plus(prf, sk_d, {shared_secret, nonces.initiator, nonces.responder}, 2 * length));
  ChildKeys keys;
  keys.to_responder = material.next(length);
  keys.to_initiator = material.next(length);
  return keys;
}

// Section 2.15.
ByteVector signed_octets(crypto::Prf prf, Bytes message, Bytes nonce, Bytes sk_p, Bytes id_body) {
  const crypto::SecretBytes maced_id = crypto::prf(prf, sk_p, {id_body});
  ByteVector out;
  out.reserve(message.size() + nonce.size() + maced_id.size());
  for (const Bytes part : {message, nonce, maced_id.view()}) out.insert(out.end(), part.begin(), part.end());
  return out;
}

crypto::SecretBytes psk_auth(crypto::Prf prf, Bytes psk, Bytes octets) {
  constexpr std::string_view kKeyPad = "Key Pad for IKEv2";
  const Bytes key_pad(reinterpret_cast<const std::uint8_t*>(kKeyPad.data()), kKeyPad.size());
  const crypto::SecretBytes key = crypto::prf(prf, psk, {key_pad});
  return crypto::prf(prf, key.view(), {octets});
}

}  // namespace espgate::ike
