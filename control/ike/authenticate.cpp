// Who we are and who the peer is, by key or certificate (RFC 7296 sections 2.15, 3.6 to 3.8; RFC 4945, RFC
// 7427, RFC 7670). What the peer sent counts for nothing before all of it was checked.
#include <algorithm>
#include <set>

#include "conf/credentials.hpp"
#include "control/ike/identity.hpp"
#include "control/ike/sa.hpp"
#include "crypto/certificate.hpp"

namespace espgate::ike {
namespace {

constexpr std::size_t kMostCertificates = 16;  // of a peer's, that are looked at
constexpr std::size_t kMostResponses = 4;

Reason failed(std::string words) { return {Failure::authentication_failed, std::move(words), {}}; }
Reason distrusted(crypto::Distrust why, std::string words) {
  return {Failure::authentication_failed, std::move(words), why};
}

std::string accepted(conf::Auth by) {
  switch (by) {
    case conf::Auth::psk:
      return "a pre-shared key";
    case conf::Auth::certificate:
      return "a certificate";
    case conf::Auth::public_key:
      return "its public key, which we have";
  }
  return {};
}

bool is_signature(std::uint8_t method) {
  switch (static_cast<AuthMethod>(method)) {
    case AuthMethod::rsa:
    case AuthMethod::ecdsa_256:
    case AuthMethod::ecdsa_384:
    case AuthMethod::ecdsa_521:
    case AuthMethod::digital_signature:
      return true;
    case AuthMethod::shared_key:
      break;
  }
  return false;
}

// What the peer sent in CERT payloads of one encoding, the first of them.
std::vector<Bytes> enclosed(const Payloads& payloads, CertEncoding encoding, std::size_t most) {
  std::vector<Bytes> out;
  for (const Payload& payload : payloads) {
    const auto* cert = std::get_if<CertPayload>(&payload);
    if (cert == nullptr || cert->encoding != static_cast<std::uint8_t>(encoding)) continue;
    if (out.size() == most) break;
    out.emplace_back(cert->data);
  }
  return out;
}

CertPayload cert_payload(CertEncoding encoding, Bytes data) {
  return {static_cast<std::uint8_t>(encoding), {data.begin(), data.end()}};
}

}  // namespace

SignaturePolicy IkeSa::signature_policy() const { return {config().local_auth.rsa_pss, config().legacy}; }

// AUTH is of the message that its sender sent first, the other's nonce, and its own identity (section 2.15).
ByteVector IkeSa::our_octets(const IdPayload& us, const IkeKeys& keys) const {
  const Bytes sk_p = (role_ == Role::initiator ? keys.sk_pi : keys.sk_pr).view();
  return signed_octets(algorithms_.prf, init_sent_, peer_nonce_, sk_p, encode_body(us));
}

ByteVector IkeSa::peer_octets(const IdPayload& peer, const IkeKeys& keys) const {
  const Bytes sk_p = (role_ == Role::initiator ? keys.sk_pr : keys.sk_pi).view();
  return signed_octets(algorithms_.prf, init_received_, nonce_, sk_p, encode_body(peer));
}

// A question to the keeper takes a while, so it is asked at the same time for AUTH over `next`, which is
// likely to be wanted soon; empty: nothing is.
crypto::SecretBytes IkeSa::shared_key_auth(const ByteVector& octets, ByteVector next) {
  const std::unique_ptr<Foreseen> foreseen = std::move(foreseen_);
  if (foreseen && foreseen->octets == octets) return std::move(foreseen->auth);
  Keeper::AuthPair made = core_.keeper.shared_key_auths(*tunnel_, algorithms_.prf, octets, next);
  if (!next.empty()) foreseen_ = std::make_unique<Foreseen>(Foreseen{std::move(next), std::move(made[1])});
  return std::move(made[0]);
}

std::variant<AuthPayload, Reason> IkeSa::make_auth(const IdPayload& id, const IkeKeys& keys) {
  const ByteVector octets = our_octets(id, keys);
  const conf::LocalAuth& ours = config().local_auth;
  if (ours.by == conf::Auth::psk) {
    const bool mutual = role_ == Role::initiator && config().remote_auth.by == conf::Auth::psk;
    const crypto::SecretBytes auth = shared_key_auth(
        octets, mutual ? peer_octets(id_payload(config().remote_id, false), keys) : ByteVector());
    return AuthPayload{static_cast<std::uint8_t>(AuthMethod::shared_key),
                       {auth.view().begin(), auth.view().end()}};
  }
  if (!ours.public_key) return failed("we can't authenticate: the private key is missing");
  const crypto::KeyKind kind = ours.public_key->kind();
  const auto choice = choose_signature(kind, peer_hashes_, signature_policy());
  if (const auto* why = std::get_if<std::string>(&choice)) return failed("we can't authenticate: " + *why);
  const auto& chosen = std::get<SignatureChoice>(choice);
  return signature_payload(chosen, kind,
                           core_.keeper.sign(config().first_slot.value_or(*tunnel_), chosen.scheme, octets));
}

// Ours first, then what leads to an authority (section 3.6). What an authority says of itself convinces
// nobody. A raw key and an OCSP response only for who asks (RFC 7670 section 4, RFC 4806 section 3.1).
void IkeSa::add_certificates(Payloads& to) const {
  const conf::LocalAuth& ours = config().local_auth;
  if (ours.by == conf::Auth::public_key && ours.public_key && peer_wants_raw_key_)
    to.emplace_back(cert_payload(CertEncoding::raw_public_key, ours.public_key->der()));
  if (ours.by != conf::Auth::certificate || !ours.chain) return;
  for (const crypto::CertificatePtr& each : *ours.chain)
    if (each == ours.chain->front() || !each->is_self_issued())
      to.emplace_back(cert_payload(CertEncoding::x509_signature, each->der()));
  if (ours.ocsp_response && peer_wants_status_)
    to.emplace_back(cert_payload(CertEncoding::ocsp_content, *ours.ocsp_response));
}

// Section 3.7, RFC 7670 section 3. Of OCSP's responders none in particular (RFC 4806 section 3.1).
void IkeSa::request_certificates(const std::vector<TunnelId>& tunnels, Payloads& to) const {
  std::set<const crypto::TrustStore*> stores;
  bool raw_key = false, status = false;
  for (const TunnelId id : tunnels) {
    const conf::RemoteAuth& wanted = core_.tunnel(id).config->remote_auth;
    if (wanted.by == conf::Auth::certificate && wanted.trust) stores.insert(wanted.trust.get());
    raw_key = raw_key || wanted.by == conf::Auth::public_key;
    status = status || (wanted.by == conf::Auth::certificate && wanted.ocsp != conf::Ocsp::no);
  }
  CertRequestPayload request{static_cast<std::uint8_t>(CertEncoding::x509_signature), {}};
  for (const crypto::TrustStore* store : stores) {
    const Bytes hashes = store->authority_hashes();
    request.data.insert(request.data.end(), hashes.begin(), hashes.end());
  }
  if (!stores.empty()) to.emplace_back(std::move(request));
  if (status) to.emplace_back(CertRequestPayload{static_cast<std::uint8_t>(CertEncoding::ocsp_content), {}});
  if (raw_key)
    to.emplace_back(CertRequestPayload{static_cast<std::uint8_t>(CertEncoding::raw_public_key), {}});
}

void IkeSa::note_certificate_requests(const Payloads& payloads) {
  for (const Payload& payload : payloads) {
    const auto* request = std::get_if<CertRequestPayload>(&payload);
    if (request == nullptr) continue;
    const auto encoding = static_cast<CertEncoding>(request->encoding);
    peer_wants_raw_key_ = peer_wants_raw_key_ || encoding == CertEncoding::raw_public_key;
    peer_wants_status_ = peer_wants_status_ || encoding == CertEncoding::ocsp_content;
  }
}

std::optional<Reason> IkeSa::check_peer_auth(const Payloads& payloads, const IdPayload& id) {
  const auto* auth = find<AuthPayload>(payloads);
  const conf::Auth wanted = config().remote_auth.by;
  if (auth == nullptr)
    return failed(words(id) + " wants to authenticate by EAP; we accept " + accepted(wanted));
  const bool shared_key = auth->method == static_cast<std::uint8_t>(AuthMethod::shared_key);
  if (wanted == conf::Auth::psk ? !shared_key : !is_signature(auth->method))
    return failed(words(id) + " authenticates by " + method_words(auth->method) + "; we accept " +
                  accepted(wanted));
  const AuthPayload claimed = claimed_auth(payloads, *auth);
  const Shown shown = check_auth(payloads, claimed, id, keys_);
  if (const auto* reason = std::get_if<Reason>(&shown))
    return origin_.ppk ? blame_ppk(payloads, claimed, id, *reason) : *reason;
  if (!shared_key) log("the peer has shown that it is " + words(id) + " by " + std::get<std::string>(shown));
  return std::nullopt;
}

IkeSa::Shown IkeSa::check_auth(const Payloads& payloads, const AuthPayload& auth, const IdPayload& id,
                               const IkeKeys& keys) {
  const ByteVector octets = peer_octets(id, keys);
  if (auth.method != static_cast<std::uint8_t>(AuthMethod::shared_key))
    return check_signature(payloads, auth, id, octets);
  const bool mutual = role_ == Role::responder && config().local_auth.by == conf::Auth::psk;
  const crypto::SecretBytes right =
      shared_key_auth(octets, mutual ? our_octets(id_payload(config().local_id, false), keys) : ByteVector());
  if (crypto::equal_in_constant_time(right.view(), auth.data)) return "its pre-shared key";
  return failed("the pre-shared key of " + words(id) + " is not the one that we have for it");
}

IkeSa::Shown IkeSa::check_signature(const Payloads& payloads, const AuthPayload& auth, const IdPayload& id,
                                    Bytes octets) const {
  const bool certified = config().remote_auth.by == conf::Auth::certificate;
  const PeerKey found = certified ? certified_key(payloads, id) : configured_key(payloads, id);
  if (const auto* reason = std::get_if<Reason>(&found)) return *reason;
  const crypto::PublicKey& key = *std::get<std::shared_ptr<const crypto::PublicKey>>(found);
  const Verified verified = verify_signature(auth, key, octets, signature_policy());
  if (!verified.good) return failed(words(id) + " did not authenticate: " + verified.words);
  return (certified ? "a certificate, " : "its key, ") + verified.words;
}

// The first certificate is that of AUTH (section 3.6), and must be for the identity that the peer claims.
IkeSa::PeerKey IkeSa::certified_key(const Payloads& payloads, const IdPayload& id) const {
  std::vector<crypto::CertificatePtr> sent;
  for (const Bytes der : enclosed(payloads, CertEncoding::x509_signature, kMostCertificates)) {
    sent.push_back(crypto::Certificate::from_der(der));
    if (!sent.back())
      return distrusted(crypto::Distrust::other, words(id) + " sent a certificate that can't be read");
  }
  if (sent.empty())
    return distrusted(crypto::Distrust::none_sent,
                      words(id) + " sent no certificate; we accept only one by our authorities");
  const crypto::Certificate& leaf = *sent.front();
  const auto& trust = config().remote_auth.trust;
  if (!trust) return failed("we have no authorities for the certificate of " + words(id));
  std::vector<Bytes> responses;
  const conf::Ocsp ocsp = config().remote_auth.ocsp;
  if (ocsp != conf::Ocsp::no) responses = enclosed(payloads, CertEncoding::ocsp_content, kMostResponses);
  if (const auto refused = trust->refuse(
          leaf, {std::span(sent).subspan(1), responses, ocsp == conf::Ocsp::require}, core_.host.unix_time()))
    return distrusted(refused->why, words(id) + " is not trusted: " + refused->words);
  const auto kind = conf::name_kind(static_cast<conf::IdentityType>(id.type));
  if (!kind || !leaf.names(*kind, id.data))
    return distrusted(crypto::Distrust::other_name,
                      "the certificate of " + words(id) + " does not name it; it names " + leaf.all_names());
  try {
    return leaf.public_key();
  } catch (const std::runtime_error& error) {
    return distrusted(crypto::Distrust::too_weak, "the certificate of " + words(id) + " has " + error.what());
  }
}

// What we have counts. A key that the peer sends can only be another one, which is worth saying.
IkeSa::PeerKey IkeSa::configured_key(const Payloads& payloads, const IdPayload& id) const {
  const auto& key = config().remote_auth.public_key;
  if (!key) return failed("we have no public key of " + words(id));
  for (const Payload& payload : payloads) {
    const auto* cert = std::get_if<CertPayload>(&payload);
    if (cert != nullptr && cert->encoding == static_cast<std::uint8_t>(CertEncoding::raw_public_key) &&
        !std::ranges::equal(cert->data, key->der()))
      return failed(words(id) + " sent another public key than the one that we have of it");
  }
  return key;
}

}  // namespace espgate::ike
