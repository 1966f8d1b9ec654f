// Which signatures are made for which peer, and which are taken (RFC 7427, RFC 8420, RFC 4754).
#include <catch2/catch.hpp>

#include "control/ike/auth_methods.hpp"
#include "tests/crypto/pki_bytes.hpp"

namespace espgate::ike {
namespace {

using namespace crypto::test;  // the vectors
using crypto::KeyKind;
using crypto::SignatureHash;
using crypto::SignatureScheme;

SignatureHashes hashes(std::initializer_list<SignatureHash> all) {
  SignatureHashes out;
  for (const SignatureHash hash : all) out.add(hash);
  return out;
}

SignatureChoice chosen(KeyKind kind, SignatureHashes peer, SignaturePolicy policy = {}) {
  return std::get<SignatureChoice>(choose_signature(kind, peer, policy));
}

AuthPayload signed_by(std::string_view key, SignatureHashes peer, SignaturePolicy policy = {}) {
  const auto private_key = crypto::PrivateKey::read(bytes_of_hex(key));
  const KeyKind kind = private_key->public_key().kind();
  const SignatureChoice choice = chosen(kind, peer, policy);
  return signature_payload(choice, kind, private_key->sign(choice.scheme, bytes_of_hex(kSignedMessage)));
}

Verified verified(const AuthPayload& auth, std::string_view key, SignaturePolicy policy = {}) {
  return verify_signature(auth, *crypto::PublicKey::read(bytes_of_hex(key)), bytes_of_hex(kSignedMessage),
                          policy);
}

constexpr std::pair<std::string_view, std::string_view> kKeys[] = {{kPrivate_rsa, kPublic_rsa},
                                                                   {kPrivate_p256, kPublic_p256},
                                                                   {kPrivate_p384, kPublic_p384},
                                                                   {kPrivate_p521, kPublic_p521},
                                                                   {kPrivate_ed25519, kPublic_ed25519}};

TEST_CASE("the hashes that are verified here") {
  const NotifyPayload notify = hashes_notify();
  CHECK(notify.data == ByteVector{0, 2, 0, 3, 0, 4, 0, 5});
  const SignatureHashes all = hashes_in({notify});
  for (const auto hash :
       {SignatureHash::sha256, SignatureHash::sha384, SignatureHash::sha512, SignatureHash::identity})
    CHECK(all.has(hash));
  CHECK(!all.has(SignatureHash::sha1));
  CHECK(hashes_in({}).empty());
  // What nobody knows, and half a number, say nothing.
  CHECK(hashes_in({NotifyPayload{Protocol::none, {}, NotifyType::signature_hash_algorithms, {9, 9, 0, 1, 0}}})
            .empty());
}

TEST_CASE("the hash is one that the peer verifies, as strong as the key where there is a choice") {
  const auto all = hashes_in({hashes_notify()});
  CHECK(chosen(KeyKind::rsa, all).scheme == SignatureScheme::rsa_sha256);
  CHECK(chosen(KeyKind::rsa, all, {.rsa_pss = true}).scheme == SignatureScheme::pss_sha256);
  CHECK(chosen(KeyKind::p256, all).scheme == SignatureScheme::ecdsa_sha256);
  CHECK(chosen(KeyKind::p384, all).scheme == SignatureScheme::ecdsa_sha384);
  CHECK(chosen(KeyKind::p521, all).scheme == SignatureScheme::ecdsa_sha512);
  CHECK(chosen(KeyKind::ed25519, all).scheme == SignatureScheme::ed25519);
  CHECK(chosen(KeyKind::p521, hashes({SignatureHash::sha256})).scheme == SignatureScheme::ecdsa_sha256);
  CHECK(chosen(KeyKind::rsa, hashes({SignatureHash::sha512})).scheme == SignatureScheme::rsa_sha512);
  CHECK(chosen(KeyKind::rsa, all).method == AuthMethod::digital_signature);
}

TEST_CASE("a peer that does not know RFC 7427 gets the methods before it") {
  CHECK(chosen(KeyKind::rsa, {}).method == AuthMethod::rsa);
  CHECK(chosen(KeyKind::rsa, {}).scheme == SignatureScheme::rsa_sha256);
  CHECK(chosen(KeyKind::rsa, {}, {.sha1 = true}).scheme == SignatureScheme::rsa_sha1);
  CHECK(chosen(KeyKind::p256, {}).method == AuthMethod::ecdsa_256);
  CHECK(chosen(KeyKind::p384, {}).method == AuthMethod::ecdsa_384);
  CHECK(chosen(KeyKind::p521, {}).method == AuthMethod::ecdsa_521);
  for (const auto& peer : {SignatureHashes{}, hashes({SignatureHash::sha256})})
    CHECK(std::get<std::string>(choose_signature(KeyKind::ed25519, peer, {})) ==
          "the peer does not take signatures by Ed25519 (RFC 8420): our key must be of another kind");
  CHECK(std::get<std::string>(choose_signature(KeyKind::rsa, hashes({SignatureHash::identity}), {})) ==
        "the peer takes no hash that we sign with (SIGNATURE_HASH_ALGORITHMS)");
}

TEST_CASE("what is signed is verified, by either method, and nothing else") {
  for (const auto& [private_key, public_key] : kKeys) {
    for (const bool classic : {false, true}) {
      if (classic && private_key == kPrivate_ed25519) continue;
      const AuthPayload auth =
          signed_by(private_key, classic ? SignatureHashes{} : hashes_in({hashes_notify()}));
      CHECK(verified(auth, public_key).good);
      for (const auto& [other_private, other_public] : kKeys)
        if (other_public != public_key) CHECK(!verified(auth, other_public).good);
      for (const std::size_t length :
           {std::size_t{0}, std::size_t{1}, auth.data.size() / 2, auth.data.size() - 1})
        CHECK(!verified({auth.method, {auth.data.begin(), auth.data.begin() + static_cast<long>(length)}},
                        public_key)
                   .good);
      AuthPayload bent = auth;
      bent.data.back() ^= 1;
      CHECK(!verified(bent, public_key).good);
    }
  }
}

TEST_CASE("why a signature is not taken") {
  const AuthPayload rsa = signed_by(kPrivate_rsa, {}, {.sha1 = true});
  CHECK(verified(rsa, kPublic_rsa).words ==
        "the signature is by RSA with SHA-1; only legacy: true takes that");
  CHECK(verified(rsa, kPublic_rsa, {.sha1 = true}).words == "RSA with SHA-1");
  CHECK(verified(rsa, kPublic_p256).words ==
        "it authenticates by an RSA signature (method 1), but the key is ECDSA P-256");
  // Method 14 with SHA-1 is never taken.
  const ByteVector sha1 = bytes_of_hex("0f300d06092a864886f70d0101050500ff");
  CHECK(verified({14, sha1}, kPublic_rsa, {.sha1 = true}).words ==
        "the signature is by sha1WithRSAEncryption, which is not accepted");
  CHECK(verified({14, {}}, kPublic_rsa).words == "the AUTH payload holds no signature");
  const AuthPayload named = signed_by(kPrivate_p384, hashes_in({hashes_notify()}));
  CHECK(verified(named, kPublic_rsa).words ==
        "the signature is by ECDSA with SHA2-384, but the key is RSA 2048");
  CHECK(verified({3, {1}}, kPublic_rsa).words == "it authenticates by method 3, but the key is RSA 2048");
}

}  // namespace
}  // namespace espgate::ike
