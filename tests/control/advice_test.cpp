// What to change after each failure, here and at the peer.
#include "control/tunnels/advice.hpp"

#include <catch2/catch.hpp>

#include "conf/load.hpp"
#include "control/ike/identity.hpp"
#include "control/ike/proposal_choice.hpp"
#include "control/ike/selectors.hpp"
#include "control/tunnels/far_end.hpp"

using namespace espgate;
using control::Advice;
using control::advice_after;
using ike::Exchange;
using ike::Failure;
using ike::NotifyType;
using ike::Story;

namespace {

conf::Tunnel tunnel() {
  conf::Tunnel out;
  out.name = "west";
  out.local = *parse_address("192.0.2.1");
  out.remote = *parse_address("192.0.2.2");
  out.local_id = {conf::IdentityType::fqdn, "east", {'e', 'a', 's', 't'}};
  out.remote_id = {conf::IdentityType::fqdn, "west", {'w', 'e', 's', 't'}};
  out.ike_proposals = {conf::parse_ike_proposal("aes256-sha384-ecp384")};
  out.esp_proposals = {conf::parse_esp_proposal("aes256gcm16-ecp384")};
  out.local_selectors = {*parse_prefix("10.1.0.0/16")};
  out.remote_selectors = {*parse_prefix("10.2.0.0/16")};
  return out;
}

void tell(Story& story, Exchange exchange, bool sent, bool response,
          const std::vector<ike::Payload>& payloads) {
  ike::Header header;
  header.exchange = exchange;
  header.response = response;
  story.add(header, sent, payloads, ike::Time());
}

ike::Payload notify(NotifyType type) { return ike::NotifyPayload{ike::Protocol::none, {}, type, {}}; }

Advice after(Failure failure, const Story& story) {
  return advice_after({failure, "words"}, tunnel(), story);
}

bool says(const std::vector<std::string>& lines, const std::string& words) {
  return std::any_of(lines.begin(), lines.end(),
                     [&words](const std::string& line) { return line.find(words) != line.npos; });
}

}  // namespace

TEST_CASE("an IKE SA that the peer does not rekey", "[advice]") {
  const Advice advice = after(Failure::ike_rekey, {});
  CHECK(says(advice.here, "another one takes its place"));
  CHECK(says(advice.there, "aes256-sha384-ecp384"));
}

TEST_CASE("no answer to the first message: addresses, ports and a daemon", "[advice]") {
  Story story;
  tell(story, Exchange::ike_sa_init, true, false, {ike::NoncePayload{ike::ByteVector(32)}});
  const Advice advice = after(Failure::no_answer, story);
  CHECK(says(advice.here, "192.0.2.2 is the peer's address"));
  CHECK(says(advice.here, "UDP ports 500 and 4500"));
  CHECK(says(advice.there, "with a connection for 192.0.2.1, by IKEv2"));
}

TEST_CASE("no answer to IKE_AUTH: port 4500 behind a NAT, else what is large", "[advice]") {
  Story story;
  tell(story, Exchange::ike_sa_init, true, false, {ike::NoncePayload{ike::ByteVector(32)}});
  tell(story, Exchange::ike_sa_init, false, true, {ike::NoncePayload{ike::ByteVector(32)}});
  tell(story, Exchange::ike_auth, true, false, {ike::AuthPayload{2, {}}});
  CHECK(says(after(Failure::no_answer, story).here, "IP fragments"));
  story.nat(true, false);
  CHECK(says(after(Failure::no_answer, story).here, "let UDP port 4500 through"));
  CHECK_FALSE(says(after(Failure::no_answer, story).here, "IP fragments"));
}

TEST_CASE("ICMP says that nobody listens", "[advice]") {
  CHECK(says(after(Failure::unreachable, Story()).there, "start its IKE daemon"));
  const IpAddress peer = *parse_address("192.0.2.2"), router = *parse_address("192.0.2.254");
  const auto words = [&](channel::Unreachable what, const IpAddress& by) {
    return control::unreachable_words({kMainTable, what, *parse_address("192.0.2.1"), peer, 500, by});
  };
  using channel::Unreachable;
  CHECK(words(Unreachable::port, peer) ==
        "192.0.2.2 says that nobody listens on UDP port 500 of 192.0.2.2 (ICMP)");
  CHECK(words(Unreachable::host, router) == "192.0.2.254 says that it can't reach 192.0.2.2 (ICMP)");
  CHECK(words(Unreachable::prohibited, router) ==
        "192.0.2.254 says that it lets no IKE through to 192.0.2.2 (ICMP)");
  CHECK(words(static_cast<Unreachable>(99), router) ==
        "192.0.2.254 says that it can't reach 192.0.2.2 (ICMP)");
}

TEST_CASE("an IKEv1 peer is to be set to IKEv2", "[advice]") {
  CHECK(says(after(Failure::ike_version, Story()).there, "set it to IKEv2"));
  CHECK(after(Failure::ike_version, Story()).here.empty());
}

TEST_CASE("proposals: what we have for the peer, and what it offers for us", "[advice]") {
  Story refused;
  tell(refused, Exchange::ike_sa_init, false, true, {notify(NotifyType::no_proposal_chosen)});
  const Advice unknown = after(Failure::no_ike_proposal, refused);
  CHECK(says(unknown.there, "one of ours: aes256-sha384-ecp384"));
  CHECK(says(unknown.there, "no connection for 192.0.2.1"));
  CHECK(
      says(unknown.here, "set ike.proposals to what the peer accepts: cipher, integrity, PRF and DH group"));

  Story offered;
  tell(offered, Exchange::ike_sa_init, false, false,
       {ike::offer_ike({conf::parse_ike_proposal("aes128-sha1-modp1024")}, {})});
  const Advice known = after(Failure::no_ike_proposal, offered);
  CHECK(says(known.here, "add what it offers to ike.proposals: aes128-sha1-modp1024"));
  CHECK(says(known.here, "legacy: true"));
  CHECK_FALSE(says(known.there, "3DES"));

  ike::SaPayload old = ike::offer_ike({conf::parse_ike_proposal("aes128-sha256-modp2048")}, {});
  old.proposals[0].transforms[0] = {ike::TransformType::cipher, 3, 0, false};
  Story weak;
  tell(weak, Exchange::ike_sa_init, false, false, {old});
  CHECK(says(after(Failure::no_ike_proposal, weak).there, "3DES, DES and MD5 are refused here in any case"));

  Story esp;
  tell(esp, Exchange::ike_auth, false, true, {notify(NotifyType::no_proposal_chosen)});
  CHECK(says(after(Failure::no_esp_proposal, esp).there, "one of ours: aes256gcm16-ecp384"));
  CHECK(says(after(Failure::no_esp_proposal, esp).here, "PFS group and ESN"));
}

TEST_CASE("of a tunnel with a parent: its child SA is its own, and the IKE SA is the parent's", "[advice]") {
  const Story story;
  CHECK(says(after(Failure::no_additional_child, story).there, "several child SAs by one IKE SA"));
  CHECK(says(after(Failure::no_additional_child, story).here, "leave out parent"));
  conf::Tunnel child = tunnel();
  child.parent = "hq";
  for (const Failure failure : {Failure::no_answer, Failure::authentication_failed, Failure::dpd_timeout}) {
    const Advice advice = advice_after({failure, "words"}, child, story);
    CHECK(advice.here == std::vector<std::string>{"it is the IKE SA that does not come about: see `explain "
                                                  "tunnel hq`"});
    CHECK(advice.there.empty());
  }
  CHECK(says(advice_after({Failure::ts_unacceptable, "words"}, child, story).there, "10.1.0.0/16"));
}

TEST_CASE("a refused authentication: the secret, the identities, a NAT", "[advice]") {
  Story refused;
  tell(refused, Exchange::ike_auth, false, true, {notify(NotifyType::authentication_failed)});
  Advice advice = after(Failure::authentication_failed, refused);
  CHECK(says(advice.here, "compare the secret"));
  CHECK(says(advice.here, "we say that we are \"east\""));
  CHECK(says(advice.there, "\"east\" (us) and \"west\" (itself)"));
  CHECK_FALSE(says(advice.here, "NAT"));
  refused.nat(true, false);
  CHECK(says(after(Failure::authentication_failed, refused).here, "a NAT is in front of us"));
  CHECK_FALSE(says(after(Failure::authentication_failed, Story()).here, "local.id"));  // we refused the peer
}

TEST_CASE("a refused authentication by certificates and keys", "[advice]") {
  Story refused;
  tell(refused, Exchange::ike_auth, false, true, {notify(NotifyType::authentication_failed)});
  conf::Tunnel by_certificate = tunnel();
  by_certificate.local_auth.by = by_certificate.remote_auth.by = conf::Auth::certificate;
  conf::Tunnel by_key = tunnel();
  by_key.local_auth.by = by_key.remote_auth.by = conf::Auth::public_key;
  const ike::Reason reason{Failure::authentication_failed, "words"};
  for (const conf::Tunnel* each : {&by_certificate, &by_key})
    CHECK_FALSE(says(advice_after(reason, *each, refused).here, "secret"));
  CHECK(says(advice_after(reason, by_certificate, refused).here, "behind it in local.certificate"));
  CHECK(says(advice_after(reason, by_certificate, Story()).there,
             "key of its certificate, which names \"west\""));
  CHECK(says(advice_after(reason, by_key, refused).there, "public key of local.key for \"east\""));
  CHECK(says(advice_after(reason, by_key, Story()).here, "remote.public-key"));
}

TEST_CASE("another identity than expected, and one from behind a NAT", "[advice]") {
  const conf::Identity inside{conf::IdentityType::ipv4, "10.0.0.5", {10, 0, 0, 5}};
  Story story;
  tell(story, Exchange::ike_auth, false, false, {ike::id_payload(inside, true)});
  Advice advice = after(Failure::peer_identity, story);
  CHECK(says(advice.here, "set remote.id to that"));
  CHECK(says(advice.here, "10.0.0.5"));
  CHECK(says(advice.there, "set its own identity to \"west\""));
  CHECK_FALSE(says(advice.here, "behind a NAT"));
  story.nat(false, true);
  CHECK(says(after(Failure::peer_identity, story).here,
             "behind a NAT, and goes by the address that it has there"));
}

TEST_CASE("selectors that do not overlap: both sides' networks", "[advice]") {
  const auto ts = [](bool initiator, const char* prefix) {
    return ike::TsPayload{initiator, ike::selectors_of({*parse_prefix(prefix)})};
  };
  Story story;
  tell(story, Exchange::ike_auth, false, false, {ts(true, "172.16.0.0/24"), ts(false, "172.17.0.0/24")});
  const Advice advice = after(Failure::ts_unacceptable, story);
  CHECK(says(advice.here, "local 172.17.0.0/24, remote 172.16.0.0/24"));
  CHECK(says(advice.there, "its remote networks to 10.1.0.0/16, and its own to 10.2.0.0/16"));
  CHECK(says(after(Failure::ts_unacceptable, Story()).here, "the networks that the peer has"));
}

TEST_CASE("traffic in one direction only", "[advice]") {
  using control::advice_one_way;
  using control::Carried;
  using control::one_way;
  using std::chrono::seconds;
  CHECK(one_way({0, 50, seconds(3), false}).empty());  // too early to tell
  CHECK(one_way({0, 5, seconds(60), false}).empty());
  CHECK(one_way({1, 500, seconds(60), false}).empty());
  CHECK(one_way({0, 0, seconds(60), false}).empty());
  const Carried out{0, 50, seconds(60), false}, in{50, 0, seconds(60), true};
  CHECK(one_way(out) == "50 packets went out by these SAs, and none came back");
  CHECK(says(advice_one_way(out, tunnel()).here, "let ESP (IP protocol 50) from 192.0.2.2"));
  CHECK(says(advice_one_way(out, tunnel()).there, "asymmetric routing"));
  CHECK(says(advice_one_way({0, 50, seconds(60), true}, tunnel()).here, "UDP port 4500"));
  CHECK(one_way(in) == "50 packets came in by these SAs, and none went out");
  CHECK(says(advice_one_way(in, tunnel()).here, "tunnel: west"));
  CHECK(advice_one_way({1, 500, seconds(60), false}, tunnel()).here.empty());
}

TEST_CASE("PPKs: what each side needs", "[advice]") {
  conf::Tunnel with = tunnel();
  with.ppks.emplace_back();
  with.ppks.back().id = "a1";
  const auto of = [](Failure failure, const conf::Tunnel& tunnel) {
    return advice_after({failure, "words"}, tunnel, Story());
  };
  CHECK(says(of(Failure::no_ppk_here, tunnel()).here, "give the tunnel the peer's PPK"));
  CHECK(says(of(Failure::no_ppk_there, with).there, "give it a PPK of ours, by the same id: \"a1\""));
  CHECK(says(of(Failure::no_ppk_there, with).here, "ppk-use: optional"));
  CHECK(says(of(Failure::ppk_unknown, with).here, "give ppks the id that the peer names"));
  CHECK(says(of(Failure::ppk_unknown, with).there, "let it use one of ours: \"a1\""));
  CHECK(of(Failure::ppk_unknown, tunnel()).there.empty());
  CHECK(says(of(Failure::ppk_not_valid, with).here, "add a PPK that is valid now"));
  CHECK(
      says(of(Failure::ppk_differs, with).here, "compare the file of the PPK with the peer's, byte by byte"));
  // A peer that refuses us does not tell whether it is for that.
  Story refused;
  tell(refused, Exchange::ike_auth, false, true, {notify(NotifyType::authentication_failed)});
  CHECK(says(advice_after({Failure::authentication_failed, ""}, tunnel(), refused).here,
             "if the peer requires a PPK (RFC 8784; strongSwan: ppk_required), give the tunnel ppks"));
  CHECK(says(advice_after({Failure::authentication_failed, ""}, with, refused).here,
             "compare the PPK with the peer's"));
}

TEST_CASE("what is wrong with the peer's certificate, and what to change", "[advice]") {
  using crypto::Distrust;
  conf::Tunnel by_certificate = tunnel();
  by_certificate.remote_auth.by = conf::Auth::certificate;
  const auto of = [&](Distrust why) {
    return advice_after({Failure::authentication_failed, "words", why}, by_certificate, Story());
  };
  struct Row {
    Distrust why;
    std::string here, there;
  };
  const Row rows[] = {
      {Distrust::none_sent, "set remote.auth", "send_cert = always"},
      {Distrust::expired, "clock is right", "it needs a new certificate"},
      {Distrust::not_yet_valid, "clock is right", "valid already"},
      {Distrust::revoked, "taken the certificate back", "a new certificate with a new key"},
      {Distrust::unknown_authority, "add its certificate to remote.authorities",
       "lie between its own and one of ours"},
      {Distrust::forbidden_name, "remote.authorities", "name constraints allow"},
      {Distrust::other_name, "set remote.id to a name that stands in its certificate", "names \"west\""},
      {Distrust::no_authority, "basicConstraints", "by an authority that may issue it"},
      {Distrust::too_weak, "refused in any case", "a stronger key or hash"},
      {Distrust::no_list, "add the revocation list of that issuer to remote.crl", ""},
      {Distrust::stale_list, "fetch a newer revocation list", ""},
      {Distrust::no_status, "set remote.ocsp: accept", "local.ocsp-response"},
      {Distrust::stale_status, "clock is right", "a newer OCSP response"},
      {Distrust::bad_status, "set remote.ocsp: no", "by that one's issuer"},
      {Distrust::other, "", "without an extendedKeyUsage or with one of ipsecIKE"},
  };
  for (const Row& row : rows) {
    CAPTURE(static_cast<int>(row.why));
    const Advice advice = of(row.why);
    CHECK((row.here.empty() ? advice.here.empty() : says(advice.here, row.here)));
    CHECK((row.there.empty() ? advice.there.empty() : says(advice.there, row.there)));
  }
  for (int why = 1; why <= static_cast<int>(Distrust::other); ++why)
    CHECK(std::ranges::count(rows, static_cast<Distrust>(why), &Row::why) == 1);
}
