#include "control/tunnels/advice.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "control/ike/identity.hpp"
#include "control/ike/ppk.hpp"
#include "control/ike/proposal_choice.hpp"
#include "control/ike/selectors.hpp"

namespace espgate::control {
namespace {

using conf::Tunnel;
using ike::Failure;
using ike::Heard;
using ike::Reason;
using ike::Story;

constexpr std::uint64_t kFewPackets = 10;
constexpr std::chrono::seconds kShort{10};

// Everything that an answer is made of.
struct Case {
  const Reason& reason;
  const Tunnel& tunnel;
  const Story& story;
  const Heard& heard;
  Advice out;

  [[nodiscard]] std::string us() const { return to_string(tunnel.local); }
  [[nodiscard]] std::string peer() const {
    return tunnel.remote.is_set() ? to_string(tunnel.remote) : "the peer";
  }
  void here(std::string words) { out.here.push_back(std::move(words)); }
  void there(std::string words) { out.there.push_back(std::move(words)); }
};

// The exchange that has had no answer; IKE_SA_INIT where nothing is known.
ike::Exchange unanswered(const Story& story) {
  const std::vector<ike::Told> messages = story.messages();
  const auto last = std::find_if(messages.rbegin(), messages.rend(),
                                 [](const ike::Told& told) { return told.sent && !told.response; });
  return last == messages.rend() ? ike::Exchange::ike_sa_init : last->exchange;
}

void no_answer(Case& c) {
  if (unanswered(c.story) == ike::Exchange::ike_auth) {
    if (c.heard.nat_local || c.heard.nat_remote)
      c.here(
          "IKE_SA_INIT was answered on UDP port 500; behind a NAT all goes on on port 4500, which has no "
          "answer: "
          "let UDP port 4500 through, both ways, in every firewall on the way");
    else
      c.here(
          "IKE_SA_INIT was answered and IKE_AUTH, which is larger, was not: see whether the way drops IP "
          "fragments or "
          "packets of full size");
    c.there("its log tells whether IKE_AUTH came: a peer may drop in silence what it can't read or accept");
    return;
  }
  c.here(fmt::format("see that {} is the peer's address, and that a route leads there", c.peer()));
  c.here(fmt::format(
      "let UDP ports 500 and 4500, and ESP (IP protocol 50), between {} and {} through every firewall "
      "on this side, both ways",
      c.us(), c.peer()));
  c.there(fmt::format("the same in its firewalls, from {}", c.us()));
  c.there(fmt::format(
      "an IKE daemon must be running there, with a connection for {}, by IKEv2: some give no answer to "
      "others",
      c.us()));
}

void unreachable(Case& c) {
  c.there(fmt::format(
      "start its IKE daemon; where a router or firewall said it, let UDP ports 500 and 4500 through there, "
      "and see that it has a way to {}",
      c.peer()));
  c.here(fmt::format("see that {} is the peer's address", c.peer()));
}

void other_version(Case& c) {
  c.there(
      "set it to IKEv2 (strongSwan: version = 2; Libreswan: ikev2=insist; a cloud: the tunnel's IKE "
      "version)");
}

// What it would take of the peer's own offer.
void take_its_offer(Case& c, const ike::SaPayload& offer, const char* key) {
  const std::string text = describe(offer);
  c.here(fmt::format("add what it offers to {}: {}", key, text));
  const auto has = [&text](const char* word) { return text.find(word) != text.npos; };
  if (has("sha1") || has("modp1024") || has("modp1536") || has("modp768") || has("modp2048s"))
    c.here("SHA-1 and small groups need legacy: true of the tunnel as well");
  if (has("3des") || has("md5") || text.starts_with("des"))
    c.there("3DES, DES and MD5 are refused here in any case: it must be set to AES and SHA-2");
}

void no_proposal(Case& c, bool ike) {
  const ike::SaPayload ours =
      ike ? ike::offer_ike(c.tunnel.ike_proposals, {}) : ike::offer_esp(c.tunnel.esp_proposals, 0, true);
  const char* const key = ike ? "ike.proposals" : "esp.proposals";
  const auto& theirs = ike ? c.heard.ike : c.heard.esp;
  const bool offered = ike ? c.heard.offered_ike : c.heard.offered_esp;
  c.there(fmt::format("set it to one of ours: {}", describe(ours)));
  if (theirs && offered) return take_its_offer(c, *theirs, key);
  c.here(fmt::format(
      "set {} to what the peer accepts: {} of one of its proposals must all fit. It does not tell which "
      "do; its log does, and when it begins itself this command shows what it offers",
      key, ike ? "cipher, integrity, PRF and DH group" : "cipher, integrity, PFS group and ESN"));
  if (ike)
    c.there(fmt::format("a peer that has no connection for {}, or none for IKEv2, answers the same", c.us()));
}

bool is_address(const ike::IdPayload& id) {
  return id.type == static_cast<std::uint8_t>(conf::IdentityType::ipv4) ||
         id.type == static_cast<std::uint8_t>(conf::IdentityType::ipv6);
}

// A peer that refuses us does not tell whether it is for the PPK.
void its_ppk(Case& c) {
  if (c.tunnel.ppks.empty())
    c.here("if the peer requires a PPK (RFC 8784; strongSwan: ppk_required), give the tunnel ppks");
  else
    c.here("compare the PPK with the peer's, its id and its type as well; the peer's log tells");
}

// The peer does not take our signature.
void signature_refused(Case& c) {
  its_ppk(c);
  const std::string local = ike::words(c.tunnel.local_id);
  if (c.tunnel.local_auth.by == conf::Auth::public_key) {
    c.there(fmt::format("it must have the public key of local.key for {}", local));
    return;
  }
  c.here(
      "our certificate must be valid now, and lead to an authority of the peer's: what lies between belongs "
      "behind it in local.certificate");
  c.there(
      fmt::format("it must expect us to be {}, which is what our certificate names; its log tells why it "
                  "refused us",
                  local));
}

// What is wrong with the peer's certificate, and what to change; {id}: what we expect the peer to be.
struct CertificateRow {
  crypto::Distrust why;
  std::string_view here, there;
};
constexpr CertificateRow kCertificates[] = {
    {crypto::Distrust::none_sent,
     "if it is to show who it is by something else, set remote.auth, remote.public-key or the secret for "
     "that",
     "give it a certificate by one of our authorities, and let it send that (strongSwan: send_cert = "
     "always)"},
    {crypto::Distrust::expired, "see that this machine's clock is right (`date -u`)",
     "it needs a new certificate, and its IKE daemon must have read it; if it is an authority's, that one "
     "needs "
     "a new one"},
    {crypto::Distrust::not_yet_valid, "see that this machine's clock is right (`date -u`)",
     "it needs a certificate that is valid already; perhaps its authority's clock is ahead"},
    {crypto::Distrust::revoked,
     "nothing: its authority has taken the certificate back. Should that have been an error, the newest list "
     "belongs into remote.crl",
     "it needs a new certificate with a new key"},
    {crypto::Distrust::unknown_authority,
     "if who issued it is to be trusted, add its certificate to remote.authorities",
     "it must send the certificates of all authorities that lie between its own and one of ours"},
    {crypto::Distrust::forbidden_name,
     "nothing, unless another authority of the peer's is to be trusted: remote.authorities",
     "it needs a certificate with names that its authority's name constraints allow"},
    {crypto::Distrust::other_name,
     "set remote.id to a name that stands in its certificate, if that is the peer that is meant",
     "it needs a certificate that names {id} (subjectAltName, or the subject for a distinguished name), or "
     "must say "
     "that it is what its certificate names"},
    {crypto::Distrust::no_authority,
     "nothing: who issued it may not (basicConstraints, keyUsage, path length)",
     "it needs a certificate by an authority that may issue it"},
    {crypto::Distrust::too_weak,
     "nothing: SHA-1, RSA of less than 2048 bits and unknown curves are refused in any case",
     "it needs a certificate with a stronger key or hash: RSA of 2048 bits or more, ECDSA or Ed25519, SHA-2; "
     "so do "
     "the authorities above"},
    {crypto::Distrust::no_list,
     "add the revocation list of that issuer to remote.crl, or leave remote.crl out if none is to count", ""},
    {crypto::Distrust::stale_list,
     "fetch a newer revocation list into the file of remote.crl, and start the control process again, which "
     "reads "
     "it then; and see that this machine's clock is right",
     ""},
    {crypto::Distrust::no_status, "or set remote.ocsp: accept, and use remote.crl",
     "let it send an OCSP response with its certificate (RFC 4806; espgate: local.ocsp-response; strongSwan "
     "5.9 "
     "does not)"},
    {crypto::Distrust::stale_status, "see that this machine's clock is right (`date -u`)",
     "it must send a newer OCSP response: what renews its file may have stopped"},
    {crypto::Distrust::bad_status, "set remote.ocsp: no if its authority has no such responder",
     "it must send an OCSP response of its own certificate, by that one's issuer or whom that certified for "
     "OCSP"},
    {crypto::Distrust::other, "",
     "it needs a certificate for signatures (keyUsage digitalSignature) that names {id}, without an "
     "extendedKeyUsage or with one of ipsecIKE, serverAuth and clientAuth"},
};

// We do not take the peer's certificate, key or signature.
void signature_not_taken(Case& c) {
  const std::string remote = ike::words(c.tunnel.remote_id);
  if (c.tunnel.remote_auth.by == conf::Auth::public_key) {
    c.here("set remote.public-key to the key that the peer has");
    c.there(fmt::format("it must sign by that key, and say that it is {}", remote));
    return;
  }
  const auto* row = std::ranges::find(kCertificates, c.reason.distrust, &CertificateRow::why);
  if (row == std::end(kCertificates))
    return c.there(fmt::format("it must sign by the key of its certificate, which names {}", remote));
  if (!row->here.empty()) c.here(std::string(row->here));
  if (!row->there.empty()) c.there(fmt::format(fmt::runtime(row->there), fmt::arg("id", remote)));
}

void authentication(Case& c) {
  const bool refused_by_peer = c.heard.error == ike::NotifyType::authentication_failed;
  if (refused_by_peer && c.tunnel.local_auth.by != conf::Auth::psk) return signature_refused(c);
  if (!refused_by_peer && c.tunnel.remote_auth.by != conf::Auth::psk) return signature_not_taken(c);
  const std::string local = ike::words(c.tunnel.local_id), remote = ike::words(c.tunnel.remote_id);
  c.here(
      "compare the secret with the peer's, character by character: quotes and blanks count, but for a line "
      "break at "
      "the end of a psk-file");
  c.there(fmt::format("its secret must be for the pair of {} (us) and {} (itself)", local, remote));
  if (!refused_by_peer) return;
  its_ppk(c);
  c.here(fmt::format("or set local.id to what the peer expects; we say that we are {}", local));
  if (c.heard.nat_local)
    c.here(
        "a NAT is in front of us: a peer that expects our public address as identity wants that in local.id");
}

// PPKs (RFC 8784).
void no_ppk_here(Case& c) {
  c.here("give the tunnel the peer's PPK: ppks: [{id: ..., file: ...}], by the id that it has there");
  c.there("or let it do without one for us (strongSwan: ppk_required = no)");
}

void no_ppk_there(Case& c) {
  if (!c.tunnel.ppks.empty())
    c.there(
        fmt::format("give it a PPK of ours, by the same id: {} (strongSwan: ppk_id of the connection, and a "
                    "ppk section in secrets)",
                    ike::ppk_words(c.tunnel.ppks.front())));
  c.here("or set ppk-use: optional until it has one");
}

void ppk_unknown(Case& c) {
  c.here("give ppks the id that the peer names, as it stands, with the same key");
  if (!c.tunnel.ppks.empty())
    c.there(fmt::format("or let it use one of ours: {} (strongSwan knows ids of type fixed only)",
                        ike::ppk_words(c.tunnel.ppks.front())));
}

void ppk_not_valid(Case& c) {
  c.here("add a PPK that is valid now to ppks, with a file of its own, before the last one expires");
  c.there("it needs the same, by the same id");
}

void ppk_differs(Case& c) {
  c.here(
      "compare the file of the PPK with the peer's, byte by byte: behind 0x it is hex digits, else every "
      "character counts but for a line break at the end");
  c.there("the pre-shared key or certificate is right; only the PPK of this id is another one");
}

void ppk(Case& c) {
  switch (c.reason.failure) {
    case Failure::no_ppk_here:
      return no_ppk_here(c);
    case Failure::no_ppk_there:
      return no_ppk_there(c);
    case Failure::ppk_unknown:
      return ppk_unknown(c);
    case Failure::ppk_not_valid:
      return ppk_not_valid(c);
    default:
      return ppk_differs(c);
  }
}

void identity(Case& c) {
  const std::string expected = ike::words(c.tunnel.remote_id);
  if (c.heard.peer_id) {
    const std::string claimed = words(*c.heard.peer_id);
    c.here(fmt::format("if {} is the peer that is meant, set remote.id to that", claimed));
    if (is_address(*c.heard.peer_id) && c.heard.nat_remote)
      c.here(fmt::format("the peer is behind a NAT, and goes by the address that it has there, {}", claimed));
  }
  c.there(fmt::format("or set its own identity to {}", expected));
  if (c.heard.our_id && !is_identity(*c.heard.our_id, c.tunnel.local_id))
    c.there(fmt::format("it asks for {}; set what it expects of us to {}", words(*c.heard.our_id),
                        ike::words(c.tunnel.local_id)));
}

void selectors(Case& c) {
  if (c.tunnel.first_slot) {
    c.there(fmt::format(
        "its own networks must be a part of {}, which no other peer has: `show ipsec sa` has theirs",
        words(ike::selectors_of(c.tunnel.remote_selectors))));
    return c.here("or set selectors.remote to what all peers have between them");
  }
  if (!c.heard.their_selectors.empty() && !c.heard.our_selectors.empty())
    c.here(fmt::format("set selectors to what the peer has: local {}, remote {}",
                       words(c.heard.our_selectors), words(c.heard.their_selectors)));
  else
    c.here("set selectors.local and selectors.remote to the networks that the peer has for the two sides");
  c.there(fmt::format("or set its remote networks to {}, and its own to {}",
                      words(ike::selectors_of(c.tunnel.local_selectors)),
                      words(ike::selectors_of(c.tunnel.remote_selectors))));
  c.there("a route-based peer wants any on both sides: 0.0.0.0/0");
}

void no_additional_child(Case& c) {
  c.there("let it have several child SAs by one IKE SA, or free those that it holds");
  c.here(
      "where it can't: leave out parent, and give the tunnel an IKE SA of its own, which takes another "
      "identity of the peer's; or put all networks into the selectors of one tunnel");
}

void ike_rekey(Case& c) {
  c.here(
      "nothing is lost by it: before the IKE SA's time is over another one takes its place (`authentication "
      "is renewed` in the log), as with ike.reauth; a longer ike.lifetime makes that rarer");
  c.there(fmt::format(
      "its log tells why it refuses: for a rekey it must take the proposals that it took at set-up, {}. Or "
      "let it rekey the IKE SA itself, with a shorter lifetime than ours, {} s",
      describe(ike::offer_ike(c.tunnel.ike_proposals, {})), c.tunnel.ike_lifetime.count()));
}

void keys_away(Case& c) {
  c.here(
      "it is not the peer: espgate-signer, which keeps our keys, does not answer. `espgate run` starts it; "
      "what hinders it is on its standard error");
}

void its_log(Case& c) { c.there("its log tells why"); }

// No child SA's fault.
bool is_of_ike(Failure failure) {
  switch (failure) {
    case Failure::no_answer:
    case Failure::dpd_timeout:
    case Failure::unreachable:
    case Failure::ike_version:
    case Failure::no_ike_proposal:
    case Failure::ike_rekey:
    case Failure::authentication_failed:
    case Failure::keys_away:
    case Failure::peer_identity:
      return true;
    default:
      return false;
  }
}

}  // namespace

Advice advice_after(const Reason& reason, const Tunnel& tunnel, const Story& story) {
  static const Heard kNothing;
  if (!tunnel.parent.empty() && is_of_ike(reason.failure))
    return {
        {fmt::format("it is the IKE SA that does not come about: see `explain tunnel {}`", tunnel.parent)},
        {}};
  Case c{reason, tunnel, story, story.heard() != nullptr ? *story.heard() : kNothing, {}};
  switch (reason.failure) {
    case Failure::no_answer:
    case Failure::dpd_timeout:
      no_answer(c);
      break;
    case Failure::unreachable:
      unreachable(c);
      break;
    case Failure::ike_version:
      other_version(c);
      break;
    case Failure::no_ike_proposal:
      no_proposal(c, true);
      break;
    case Failure::no_esp_proposal:
      no_proposal(c, false);
      break;
    case Failure::no_additional_child:
      no_additional_child(c);
      break;
    case Failure::ike_rekey:
      ike_rekey(c);
      break;
    case Failure::invalid_ke:
      no_proposal(c, c.heard.esp == std::nullopt);
      break;
    case Failure::authentication_failed:
      authentication(c);
      break;
    case Failure::no_ppk_here:
    case Failure::no_ppk_there:
    case Failure::ppk_unknown:
    case Failure::ppk_not_valid:
    case Failure::ppk_differs:
      ppk(c);
      break;
    case Failure::keys_away:
      keys_away(c);
      break;
    case Failure::peer_identity:
      identity(c);
      break;
    case Failure::no_slot:
      c.here("let the tunnel have more peers, or end those that are not wanted (`reset tunnel`)");
      break;
    case Failure::ts_unacceptable:
      selectors(c);
      break;
    case Failure::peer_deleted:
    case Failure::protocol_error:
      its_log(c);
      break;
    default:
      break;
  }
  return std::move(c.out);
}

std::string one_way(const Carried& carried) {
  if (carried.age < kShort) return {};
  if (carried.in == 0 && carried.out >= kFewPackets)
    return fmt::format("{} packets went out by these SAs, and none came back", carried.out);
  if (carried.out == 0 && carried.in >= kFewPackets)
    return fmt::format("{} packets came in by these SAs, and none went out", carried.in);
  return {};
}

Advice advice_one_way(const Carried& carried, const Tunnel& tunnel) {
  Advice out;
  if (one_way(carried).empty()) return out;
  const std::string esp = carried.udp_encapsulation ? "UDP port 4500" : "ESP (IP protocol 50)";
  if (carried.in == 0) {
    out.here.push_back(
        fmt::format("let {} from {} through every firewall on this side: IKE passes, ESP may not", esp,
                    tunnel.remote.is_set() ? to_string(tunnel.remote) : "its peer"));
    out.there.push_back(
        "its routes must lead what is for our networks back into this tunnel (asymmetric routing), and "
        "its firewall must let it in and out");
    return out;
  }
  out.here.push_back(
      fmt::format("no route leads into the tunnel for what would answer: see `show routes`; routes: - "
                  "{{to: ..., tunnel: {}}}",
                  tunnel.name));
  out.there.push_back("what it sends must be for networks that are behind us");
  return out;
}

}  // namespace espgate::control
