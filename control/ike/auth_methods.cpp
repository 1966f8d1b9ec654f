#include "control/ike/auth_methods.hpp"

#include <algorithm>
#include <array>

#include "control/ike/cursor.hpp"
#include "control/ike/exchange.hpp"

namespace espgate::ike {
namespace {

using crypto::KeyKind;
using crypto::SignatureHash;
using crypto::SignatureScheme;

constexpr std::array<SignatureHash, 4> kOurs{SignatureHash::sha256, SignatureHash::sha384,
                                             SignatureHash::sha512, SignatureHash::identity};

// Of a kind of key, the best first: the hash as strong as the key, then stronger ones, then weaker.
std::vector<SignatureScheme> schemes_of(KeyKind kind, bool pss) {
  using S = SignatureScheme;
  switch (kind) {
    case KeyKind::rsa:
      if (pss) return {S::pss_sha256, S::pss_sha384, S::pss_sha512};
      return {S::rsa_sha256, S::rsa_sha384, S::rsa_sha512};
    case KeyKind::p256:
      return {S::ecdsa_sha256, S::ecdsa_sha384, S::ecdsa_sha512};
    case KeyKind::p384:
      return {S::ecdsa_sha384, S::ecdsa_sha512, S::ecdsa_sha256};
    case KeyKind::p521:
      return {S::ecdsa_sha512, S::ecdsa_sha384, S::ecdsa_sha256};
    case KeyKind::ed25519:
      return {S::ed25519};
  }
  return {};
}

// The method before RFC 7427 for a kind of key; none for Ed25519 (RFC 8420 section 2).
std::optional<SignatureChoice> classic(KeyKind kind, SignaturePolicy policy) {
  switch (kind) {
    case KeyKind::rsa:  // RFC 7296 section 3.8 leaves the hash to the signer
      return SignatureChoice{AuthMethod::rsa,
                             policy.sha1 ? SignatureScheme::rsa_sha1 : SignatureScheme::rsa_sha256};
    case KeyKind::p256:
      return SignatureChoice{AuthMethod::ecdsa_256, SignatureScheme::ecdsa_sha256};
    case KeyKind::p384:
      return SignatureChoice{AuthMethod::ecdsa_384, SignatureScheme::ecdsa_sha384};
    case KeyKind::p521:
      return SignatureChoice{AuthMethod::ecdsa_521, SignatureScheme::ecdsa_sha512};
    case KeyKind::ed25519:
      break;
  }
  return std::nullopt;
}

Verified refused(std::string words) { return {false, std::move(words)}; }

Verified verdict(bool good, SignatureScheme scheme) {
  if (good) return {true, crypto::name_of(scheme)};
  return refused("the signature (" + crypto::name_of(scheme) + ") is not by its key");
}

// Method 1 does not name its hash: it is in the signature.
Verified verify_rsa(const AuthPayload& auth, const crypto::PublicKey& key, Bytes octets,
                    SignaturePolicy policy) {
  for (const SignatureScheme scheme :
       {SignatureScheme::rsa_sha256, SignatureScheme::rsa_sha384, SignatureScheme::rsa_sha512})
    if (key.verify(scheme, octets, auth.data)) return verdict(true, scheme);
  const bool sha1 = key.verify(SignatureScheme::rsa_sha1, octets, auth.data);
  if (sha1 && !policy.sha1)
    return refused("the signature is by RSA with SHA-1; only legacy: true takes that");
  return verdict(sha1, sha1 ? SignatureScheme::rsa_sha1 : SignatureScheme::rsa_sha256);
}

// RFC 7427 section 3: the length of the AlgorithmIdentifier, that, and the signature.
Verified verify_named(const AuthPayload& auth, const crypto::PublicKey& key, Bytes octets) {
  Cursor cursor(auth.data);
  const std::uint8_t length = cursor.u8();
  const Bytes algorithm = cursor.take(length);
  const Bytes signature = cursor.rest();
  if (!cursor.ok() || signature.empty()) return refused("the AUTH payload holds no signature");
  const auto scheme = crypto::scheme_of(algorithm);
  if (!scheme)
    return refused("the signature is by " + crypto::algorithm_words(algorithm) + ", which is not accepted");
  if (!crypto::fits(*scheme, key.kind()))
    return refused("the signature is by " + crypto::name_of(*scheme) + ", but the key is " + key.words());
  return verdict(key.verify(*scheme, octets, signature), *scheme);
}

}  // namespace

bool uses_signatures(const conf::Tunnel& tunnel) noexcept {
  return tunnel.local_auth.by != conf::Auth::psk || tunnel.remote_auth.by != conf::Auth::psk;
}

NotifyPayload hashes_notify() {
  Writer out;
  for (const SignatureHash hash : kOurs) out.u16(static_cast<std::uint16_t>(hash));
  return plain_notify(NotifyType::signature_hash_algorithms, std::move(out).take());
}

SignatureHashes hashes_in(const std::vector<Payload>& payloads) {
  SignatureHashes out;
  const NotifyPayload* notify = find_notify(payloads, NotifyType::signature_hash_algorithms);
  if (notify == nullptr) return out;
  for (std::size_t at = 0; at + 1 < notify->data.size(); at += 2) {
    const auto hash = static_cast<SignatureHash>(notify->data[at] << 8 | notify->data[at + 1]);
    if (std::ranges::find(kOurs, hash) != kOurs.end()) out.add(hash);
  }
  return out;
}

std::variant<SignatureChoice, std::string> choose_signature(KeyKind kind, SignatureHashes hashes,
                                                            SignaturePolicy policy) {
  for (const SignatureScheme scheme : schemes_of(kind, policy.rsa_pss))
    if (hashes.has(crypto::hash_of(scheme))) return SignatureChoice{AuthMethod::digital_signature, scheme};
  const auto before = classic(kind, policy);
  if (hashes.empty() && before) return *before;
  if (kind == KeyKind::ed25519)
    return "the peer does not take signatures by Ed25519 (RFC 8420): our key must be of another kind";
  return "the peer takes no hash that we sign with (SIGNATURE_HASH_ALGORITHMS)";
}

AuthPayload signature_payload(SignatureChoice choice, KeyKind kind, Bytes signature) {
  AuthPayload out;
  out.method = static_cast<std::uint8_t>(choice.method);
  if (choice.method == AuthMethod::digital_signature) {
    const Bytes algorithm = crypto::algorithm_identifier(choice.scheme);
    out.data.push_back(static_cast<std::uint8_t>(algorithm.size()));
    out.data.insert(out.data.end(), algorithm.begin(), algorithm.end());
  } else if (choice.method != AuthMethod::rsa) {
    out.data = crypto::ecdsa_to_pair(kind, signature).value();
    return out;
  }
  out.data.insert(out.data.end(), signature.begin(), signature.end());
  return out;
}

Verified verify_signature(const AuthPayload& auth, const crypto::PublicKey& key, Bytes octets,
                          SignaturePolicy policy) {
  const auto method = static_cast<AuthMethod>(auth.method);
  if (method == AuthMethod::digital_signature) return verify_named(auth, key, octets);
  const auto expected = classic(key.kind(), policy);
  if (!expected || expected->method != method)
    return refused("it authenticates by " + method_words(auth.method) + ", but the key is " + key.words());
  if (method == AuthMethod::rsa) return verify_rsa(auth, key, octets, policy);
  const auto der = crypto::ecdsa_from_pair(key.kind(), auth.data);
  return verdict(der && key.verify(expected->scheme, octets, *der), expected->scheme);
}

std::string method_words(std::uint8_t method) {
  switch (static_cast<AuthMethod>(method)) {
    case AuthMethod::rsa:
      return "an RSA signature (method 1)";
    case AuthMethod::shared_key:
      return "a pre-shared key (method 2)";
    case AuthMethod::ecdsa_256:
    case AuthMethod::ecdsa_384:
    case AuthMethod::ecdsa_521:
      return "an ECDSA signature (method " + std::to_string(method) + ")";
    case AuthMethod::digital_signature:
      return "a digital signature (method 14)";
  }
  return "method " + std::to_string(method);
}

}  // namespace espgate::ike
