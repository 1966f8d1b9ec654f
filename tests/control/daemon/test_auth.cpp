// Signatures, certificates and raw public keys between two daemons (RFC 7296 section 2.15, RFC 7427, RFC
// 4945, RFC 7670), and the words where one of them does not convince the other.
#include <catch2/catch.hpp>

#include "control/ike/identity.hpp"
#include "control/ike/story.hpp"
#include "tests/crypto/pki_bytes.hpp"
#include "world.hpp"

namespace espgate::test {
namespace {

using namespace crypto::test;  // the vectors
using conf::Auth;

struct Ends {
  conf::Tunnel east = east_tunnel();
  conf::Tunnel west = west_tunnel();
};

conf::Identity directory_name(std::string_view certificate) {
  const auto parsed = certificate_of(certificate);
  const crypto::Bytes subject = parsed->subject();
  return {conf::IdentityType::directory_name, "a subject", {subject.begin(), subject.end()}};
}

void set_key(conf::Tunnel& tunnel, std::string_view key) {
  tunnel.local_auth.private_key = crypto::PrivateKey::read(bytes_of_hex(key));
  tunnel.local_auth.public_key = {tunnel.local_auth.private_key,
                                  &tunnel.local_auth.private_key->public_key()};
}

void certify(conf::Tunnel& tunnel, std::string_view key, std::initializer_list<std::string_view> chain) {
  tunnel.local_auth.by = Auth::certificate;
  tunnel.local_auth.chain = std::make_shared<const std::vector<crypto::CertificatePtr>>(chain_of(chain));
  set_key(tunnel, key);
}

void trust(conf::Tunnel& tunnel, std::initializer_list<std::string_view> anchors,
           std::initializer_list<std::string_view> lists = {}) {
  tunnel.remote_auth.by = Auth::certificate;
  tunnel.remote_auth.trust = trust_of(anchors, lists);
}

// East has a certificate by the root, west one by an authority between.
Ends certified(std::string_view west_key = kPrivate_p256,
               std::string_view west_certificate = kDer_west_p256) {
  Ends ends;
  ends.east.local_id = ends.west.remote_id = fqdn("east.example");
  ends.west.local_id = ends.east.remote_id = fqdn("west.example");
  certify(ends.east, kPrivate_p256, {kDer_east});
  certify(ends.west, west_key, {west_certificate, kDer_middle});
  trust(ends.east, {kDer_root});
  trust(ends.west, {kDer_root});
  for (conf::Tunnel* tunnel : {&ends.east, &ends.west}) tunnel->psk = crypto::SecretBytes{};
  return ends;
}

std::unique_ptr<World> world_of(Ends ends) {
  std::vector<conf::Tunnel> east, west;
  east.push_back(std::move(ends.east));
  west.push_back(std::move(ends.west));
  return std::make_unique<World>(std::move(east), std::move(west));
}

void check_up(Ends ends, const std::string& words, bool west_begins = false) {
  const auto world = world_of(std::move(ends));
  (west_begins ? world->west : world->east).initiate();
  world->run(seconds(20), [&] { return world->settled(); });
  CAPTURE(words, west_begins);
  CHECK(world->settled());
  CHECK(world->east.said(words));
  CHECK(world->complaints == std::vector<std::string>{});
}

// Neither end comes up, and the one that was not convinced says why; the other one that it was refused.
void check_refused(Ends ends, const std::string& words) {
  for (const bool west_begins : {false, true}) {
    CAPTURE(words, west_begins);
    Ends copies{copy(ends.east), copy(ends.west)};
    const auto world = world_of(std::move(copies));
    Gateway& initiator = west_begins ? world->west : world->east;
    initiator.initiate();
    world->run(seconds(10));
    CHECK(!world->east.up);
    CHECK(!world->west.up);
    REQUIRE(world->east.failures.size() == 1);
    CHECK(world->east.failures.front().failure == Failure::authentication_failed);
    CHECK(world->east.failures.front().summary == words);
    CHECK(world->west.said("the peer refused us (AUTHENTICATION_FAILED)"));
    const ike::Heard* heard = world->west.daemon->story(0).heard();
    CHECK((heard != nullptr && heard->error == ike::NotifyType::authentication_failed));
    world->run(seconds(60));
    CHECK(world->east.ike_sas() + world->west.ike_sas() == 0);
    CHECK(world->complaints == std::vector<std::string>{});
  }
}

TEST_CASE("certificates with every kind of key, by either initiator") {
  struct Row {
    std::string_view key, certificate;
    bool pss;
    std::string words;
  };
  const Row rows[] = {
      {kPrivate_rsa, kDer_west_rsa, false, "by a certificate, RSA with SHA2-256"},
      {kPrivate_rsa, kDer_west_rsa, true, "by a certificate, RSA PSS with SHA2-256"},
      {kPrivate_p256, kDer_west_p256, false, "by a certificate, ECDSA with SHA2-256"},
      {kPrivate_p384, kDer_west_p384, false, "by a certificate, ECDSA with SHA2-384"},
      {kPrivate_p521, kDer_west_p521, false, "by a certificate, ECDSA with SHA2-512"},
      {kPrivate_ed25519, kDer_west_ed25519, false, "by a certificate, Ed25519"},
  };
  for (const Row& row : rows)
    for (const bool west_begins : {false, true}) {
      Ends ends = certified(row.key, row.certificate);
      ends.west.local_auth.rsa_pss = row.pss;
      check_up(std::move(ends), row.words, west_begins);
    }
}

ike::IdPayload said(conf::IdentityType type, std::string_view text) {
  return {true, static_cast<std::uint8_t>(type), {text.begin(), text.end()}};
}

conf::Identity expected(conf::IdentityType type, const std::string& text) {
  return {type, text, {text.begin(), text.end()}, text.starts_with("*")};
}

TEST_CASE("case does not count in domain names and the domains of mailboxes, and counts elsewhere") {
  using Type = conf::IdentityType;
  struct Row {
    Type type;
    std::string_view said;
    const char* expected;
    bool same;
  };
  for (const Row& row : {Row{Type::fqdn, "East.EXAMPLE", "east.example", true},
                         Row{Type::fqdn, "east.example", "East.Example", true},
                         Row{Type::fqdn, "east.example", "west.example", false},
                         Row{Type::fqdn, "B1.Branches.example", "*.branches.Example", true},
                         Row{Type::fqdn, "a.b1.branches.example", "*.branches.Example", false},
                         Row{Type::email, "ops@East.Example", "ops@east.example", true},
                         Row{Type::email, "Ops@east.example", "ops@east.example", false},
                         Row{Type::email, "Ops@East.example", "*@east.Example", true},
                         Row{Type::key_id, "Branch", "branch", false}}) {
    CAPTURE(row.said, row.expected);
    CHECK(ike::is_identity(said(row.type, row.said), expected(row.type, row.expected)) == row.same);
  }
}

TEST_CASE("identities of other types") {
  Ends by_subject = certified();
  by_subject.west.local_id = directory_name(kDer_west_p256);
  by_subject.east.remote_id = directory_name(kDer_west_rsa);  // the same subject
  check_up(std::move(by_subject), "it is \"C=DE, O=Example, CN=west\" by a certificate");
  Ends by_address = certified();
  by_address.west.local_id =
      by_address.east.remote_id = {conf::IdentityType::ipv4, "192.0.2.2", {192, 0, 2, 2}};
  check_up(std::move(by_address), "it is \"192.0.2.2\" by a certificate");
}

TEST_CASE("a different method on each side") {
  for (const bool west_begins : {false, true}) {
    Ends ends = certified();
    ends.east.local_auth = {};
    ends.west.remote_auth = {};
    ends.east.psk = crypto::SecretBytes(std::string_view("half of it"));
    ends.west.psk = crypto::SecretBytes(std::string_view("half of it"));
    check_up(std::move(ends), "by a certificate, ECDSA", west_begins);
  }
}

Ends raw_keys() {
  Ends ends;
  for (conf::Tunnel* tunnel : {&ends.east, &ends.west}) {
    tunnel->psk = crypto::SecretBytes{};
    tunnel->local_auth.by = tunnel->remote_auth.by = Auth::public_key;
  }
  set_key(ends.east, kPrivate_p384);
  set_key(ends.west, kPrivate_ed25519);
  ends.east.remote_auth.public_key = ends.west.local_auth.public_key;
  ends.west.remote_auth.public_key = ends.east.local_auth.public_key;
  return ends;
}

TEST_CASE("raw public keys") {
  check_up(raw_keys(), "it is \"west\" by its key, Ed25519");
  check_up(raw_keys(), "it is \"west\" by its key, Ed25519", true);
  Ends other = raw_keys();
  other.east.remote_auth.public_key = crypto::PublicKey::read(bytes_of_hex(kPublic_rsa));
  check_refused(std::move(other), "\"west\" sent another public key than the one that we have of it");
}

TEST_CASE("a certificate that is not trusted") {
  Ends expired = certified(kPrivate_p256, kDer_expired);
  check_refused(
      std::move(expired),
      "\"west.example\" is not trusted: its certificate \"C=DE, O=Example, CN=west\" has expired on "
      "2026-02-01 00:00:00 UTC");
  Ends early = certified(kPrivate_p256, kDer_future);
  check_refused(
      std::move(early),
      "\"west.example\" is not trusted: its certificate \"C=DE, O=Example, CN=west\" is not valid before "
      "2026-11-01 00:00:00 UTC");
  Ends revoked = certified(kPrivate_p256, kDer_revoked);
  trust(revoked.east, {kDer_root}, {kDer_crl_root});
  check_refused(
      std::move(revoked),
      "\"west.example\" is not trusted: its certificate \"C=DE, O=Example, CN=west\" is revoked by its "
      "issuer \"C=DE, O=Example, CN=root\"");
  Ends unknown = certified(kPrivate_p256, kDer_by_other);
  check_refused(
      std::move(unknown),
      "\"west.example\" is not trusted: its certificate \"C=DE, O=Example, CN=west\" is issued by "
      "\"O=Example, CN=other\", which is none of our authorities, nor did the peer send its certificate "
      "by one of them");
}

// East wants to know from west what its authority says of its certificate.
Ends stapled(conf::Ocsp wanted, std::string_view response) {
  Ends ends = certified();
  ends.east.remote_auth.ocsp = wanted;
  if (!response.empty())
    ends.west.local_auth.ocsp_response = std::make_shared<const ByteVector>(bytes_of_hex(response));
  return ends;
}

TEST_CASE("an OCSP response comes along with the certificate, where it is asked for") {
  for (const bool west_begins : {false, true}) {
    for (const std::string_view good : {kDer_ocsp_good, kDer_ocsp_good_delegated})
      check_up(stapled(conf::Ocsp::require, good), "by a certificate, ECDSA", west_begins);
    check_up(stapled(conf::Ocsp::accept, kDer_ocsp_good), "by a certificate, ECDSA", west_begins);
    check_up(stapled(conf::Ocsp::accept, ""), "by a certificate, ECDSA", west_begins);
    // Nobody asks for it, and it is not sent.
    check_up(stapled(conf::Ocsp::no, kDer_ocsp_revoked), "by a certificate, ECDSA", west_begins);
  }
}

TEST_CASE("an OCSP response that does not let the certificate count, or none") {
  const std::string begin = "\"west.example\" is not trusted: ";
  check_refused(
      stapled(conf::Ocsp::require, ""),
      begin +
          "it sent no OCSP response for its certificate \"C=DE, O=Example, CN=west\", and we require one");
  for (const conf::Ocsp wanted : {conf::Ocsp::accept, conf::Ocsp::require}) {
    check_refused(stapled(wanted, kDer_ocsp_revoked),
                  begin +
                      "its certificate \"C=DE, O=Example, CN=west\" is revoked since 2026-02-01 00:00:00 UTC "
                      "(keyCompromise), as its issuer says by OCSP");
    check_refused(stapled(wanted, kDer_ocsp_old),
                  begin + "its OCSP response is past its next update of 2026-02-01 00:00:00 UTC");
    check_refused(stapled(wanted, kDer_ocsp_forged),
                  begin + "its OCSP response is not signed by whom it names");
  }
}

TEST_CASE("a certificate that is for somebody else") {
  Ends ends = certified();
  ends.west.local_id = ends.east.remote_id = fqdn("north.example");
  check_refused(
      std::move(ends),
      "the certificate of \"north.example\" does not name it; it names C=DE, O=Example, CN=west; dns "
      "west.example; email ops@West.example; address 192.0.2.2; address "
      "2001:db8:0:0:0:0:0:2");
}

TEST_CASE("no certificate, another method, another key") {
  Ends none = certified();
  none.west.local_auth.by = Auth::public_key;
  check_refused(std::move(none),
                "\"west.example\" sent no certificate; we accept only one by our authorities");
  Ends by_psk = certified();
  by_psk.west.local_auth = {};
  by_psk.west.psk = crypto::SecretBytes(std::string_view("a key"));
  check_refused(std::move(by_psk),
                "\"west.example\" authenticates by a pre-shared key (method 2); we accept a certificate");
  Ends by_certificate = certified();
  by_certificate.east.remote_auth = {};
  by_certificate.east.psk = crypto::SecretBytes(std::string_view("a key"));
  check_refused(
      std::move(by_certificate),
      "\"west.example\" authenticates by a digital signature (method 14); we accept a pre-shared key");
  Ends stolen = certified();  // somebody else's certificate, with a key of one's own
  stolen.west.local_auth.private_key = crypto::PrivateKey::read(bytes_of_hex(kPrivate_p384));
  check_refused(
      std::move(stolen),
      "\"west.example\" did not authenticate: the signature (ECDSA with SHA2-256) is not by its key");
}

TEST_CASE("a peer that is refused when authentication is renewed keeps what there was, until it is too old") {
  Ends ends = certified();
  ends.east.ike_reauth = seconds(100);
  const auto world = world_of(std::move(ends));
  REQUIRE(world->establish());
  world->start_traffic();
  world->watch_flow();
  trust(world->east.tunnels[0], {kDer_other});
  world->run(seconds(99));
  CHECK(world->east.said("which is none of our authorities"));
  CHECK(world->west.said("the peer refused us (AUTHENTICATION_FAILED)"));
  CHECK(world->lost == 0);
  CHECK(world->complaints == std::vector<std::string>{});
  CHECK(world->west.downs.empty());
}

}  // namespace
}  // namespace espgate::test
