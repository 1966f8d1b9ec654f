// One tunnel for many peers, from wherever they come: who gets which slot, when one is free again, and which
// networks each may have. East is the headend; west is all of its peers, each at an address of its own.
#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "control/ike/claims.hpp"
#include "control/ike/story.hpp"
#include "tests/crypto/pki_bytes.hpp"
#include "world.hpp"

namespace espgate::test {
namespace {

using namespace crypto::test;  // the vectors
using conf::Auth;

std::string peer_name(unsigned number) { return fmt::format("b{}.example", number); }

crypto::SecretBytes secret_of(unsigned number) {
  return crypto::SecretBytes(std::string_view(fmt::format("secret of {}", number)));
}

// Each peer has a secret of its own.
std::vector<conf::Tunnel> headend(unsigned peers) {
  std::vector<conf::Tunnel> slots;
  for (unsigned i = 0; i < peers; ++i) {
    conf::Tunnel slot = east_tunnel();
    slot.name = fmt::format("branch/{}", i + 1);
    slot.remote = {};
    slot.remote_id = fqdn(peer_name(i));
    slot.psk = secret_of(i);
    slot.peers = peers;
    slot.first_slot = 0;
    slot.start = conf::Start::wait;
    slot.local_selectors = {*parse_prefix("10.1.0.0/16")};
    slot.remote_selectors = {*parse_prefix("10.64.0.0/10")};
    slots.push_back(std::move(slot));
  }
  return slots;
}

IpAddress peer_address(unsigned number) { return v4_from_host_order(0xc6330000 + number); }

conf::Tunnel peer(unsigned number, const std::string& network = {}) {
  conf::Tunnel tunnel = west_tunnel();
  tunnel.local = peer_address(number);
  tunnel.local_id = fqdn(peer_name(number));
  tunnel.psk = secret_of(number);
  const std::string own = fmt::format("10.{}.{}.0/24", 64 + number / 256, number % 256);
  tunnel.local_selectors = {*parse_prefix(network.empty() ? own : network)};
  tunnel.remote_selectors = {*parse_prefix("10.1.0.0/16")};
  return tunnel;
}

std::vector<conf::Tunnel> peers(unsigned count) {
  std::vector<conf::Tunnel> all;
  for (unsigned i = 0; i < count; ++i) all.push_back(peer(i));
  return all;
}

// By certificates: any identity that the root certifies.
std::vector<conf::Tunnel> certified_headend(unsigned count, const std::string& pattern = "*.example") {
  std::vector<conf::Tunnel> slots = headend(count);
  for (conf::Tunnel& slot : slots) {
    slot.psk = crypto::SecretBytes{};
    slot.remote_id = {conf::IdentityType::fqdn, pattern, {pattern.begin(), pattern.end()}, true};
    slot.remote_auth.by = Auth::certificate;
    slot.remote_auth.trust = trust_of({kDer_root}, {});
    slot.local_id = fqdn("east.example");
    slot.local_auth.by = Auth::certificate;
    slot.local_auth.chain =
        std::make_shared<const std::vector<crypto::CertificatePtr>>(chain_of({kDer_east}));
    slot.local_auth.private_key = crypto::PrivateKey::read(bytes_of_hex(kPrivate_p256));
    slot.local_auth.public_key = {slot.local_auth.private_key, &slot.local_auth.private_key->public_key()};
  }
  return slots;
}

conf::Tunnel certified_peer(unsigned number, const std::string& identity, std::string_view certificate) {
  conf::Tunnel tunnel = peer(number);
  tunnel.psk = crypto::SecretBytes{};
  tunnel.local_id = fqdn(identity);
  tunnel.remote_id = fqdn("east.example");
  tunnel.remote_auth.by = Auth::certificate;
  tunnel.remote_auth.trust = trust_of({kDer_root}, {});
  tunnel.local_auth.by = Auth::certificate;
  tunnel.local_auth.chain =
      std::make_shared<const std::vector<crypto::CertificatePtr>>(chain_of({certificate, kDer_middle}));
  tunnel.local_auth.private_key = crypto::PrivateKey::read(bytes_of_hex(kPrivate_p256));
  tunnel.local_auth.public_key = {tunnel.local_auth.private_key,
                                  &tunnel.local_auth.private_key->public_key()};
  return tunnel;
}

std::vector<conf::Tunnel> both(conf::Tunnel one, conf::Tunnel other) {
  std::vector<conf::Tunnel> all;
  all.push_back(std::move(one));
  all.push_back(std::move(other));
  return all;
}

void begin(World& world, TunnelId tunnel, milliseconds time = seconds(3)) {
  world.west.initiate(tunnel);
  world.run(time);
}

const std::vector<std::string> kNone;

}  // namespace

TEST_CASE("a thousand peers of one template, each in a slot, and none is in another's way") {
  constexpr unsigned kPeers = kSanitized ? 50 : 1000;
  World world(headend(kPeers), peers(kPeers));
  for (unsigned i = 0; i < kPeers; ++i) {
    world.west.initiate(i);
    if (i % 16 == 0) world.run(milliseconds(40));
  }
  world.run(seconds(30), [&] { return world.east.up_tunnels.size() == kPeers; });
  REQUIRE(world.east.up_tunnels.size() == kPeers);
  CHECK(world.east.daemon->slot_counts(0).taken == kPeers);
  CHECK(world.east.failures.empty());
  for (unsigned i = 0; i < kPeers; i += 7) CHECK(world.east.daemon->slot_holder(i) == peer_name(i));
  for (const auto& [spi, child] : world.east.outbound) {
    REQUIRE(child.remote_selectors.size() == 1);
    CHECK(child.remote.address == peer_address(child.tunnel));
    CHECK(child.label != 0);
  }
  world.west.daemon->terminate_all(world.now);
  world.run(seconds(60));
  CHECK(world.east.up_tunnels.empty());
  CHECK(world.east.inbound.empty());
  CHECK(world.east.daemon->slot_counts(0).taken == 0);
  CHECK(world.complaints == kNone);
}

TEST_CASE("a peer of a template with another secret, or one that nobody knows, is refused") {
  std::vector<conf::Tunnel> west = both(peer(0), peer(5));
  west[0].psk = secret_of(1);
  World world(headend(2), std::move(west));
  begin(world, 0);
  CHECK(world.east.said("the pre-shared key of \"b0.example\" is not the one that we have for it"));
  REQUIRE(world.east.failed.size() == 1);
  CHECK(world.east.failed.front() == 0);
  begin(world, 1);
  CHECK(world.east.said("198.51.0.5 says it is \"b5.example\""));
  CHECK(world.east.said("no tunnel with this address has such identities"));
  CHECK(world.east.failed.size() == 1);  // it is nobody's failure
  CHECK(world.west.said("AUTHENTICATION_FAILED"));
  CHECK(world.east.up_tunnels.empty());
  CHECK(world.east.daemon->slot_counts(0).taken == 0);
}

TEST_CASE("what the peer gets is its part, and no part of another's") {
  std::vector<conf::Tunnel> west = both(peer(0, "10.64.0.0/16"), peer(1, "10.64.7.0/24"));
  World world(headend(2), std::move(west));
  begin(world, 0);
  REQUIRE(world.east.up_tunnels == std::set<TunnelId>{0});
  begin(world, 1);
  CHECK(world.east.up_tunnels == std::set<TunnelId>{0});
  CHECK(world.east.said(
      "198.51.0.1 offers 10.64.7.0/24, of which branch/1, the tunnel of \"b0.example\", has a part "
      "already"));
  CHECK(world.west.said("TS_UNACCEPTABLE"));
  // The first one goes: then the second may.
  world.west.daemon->terminate(0, {Failure::operator_request, "test"}, world.now);
  world.run(seconds(1));
  begin(world, 1);
  CHECK(world.east.up_tunnels == std::set<TunnelId>{1});
  CHECK(world.complaints == kNone);
}

TEST_CASE(
    "who asks for more than all peers have together gets nothing of it, and what lies across its end is "
    "narrowed") {
  World greedy(headend(2), both(peer(0, "0.0.0.0/0"), peer(1)));
  begin(greedy, 0);
  CHECK(greedy.east.up_tunnels.empty());
  CHECK(greedy.east.said("we accept 10.64.0.0/10 === 10.1.0.0/16, or a part of it"));
  begin(greedy, 1);
  CHECK(greedy.east.up_tunnels == std::set<TunnelId>{1});

  conf::Tunnel across = peer(0);
  across.local_selectors = {*parse_prefix("10.64.3.0/24"), *parse_prefix("192.168.0.0/24")};
  World narrowed(headend(2), both(std::move(across), peer(1)));
  begin(narrowed, 0);
  REQUIRE(narrowed.east.outbound.size() == 1);
  const auto& child = narrowed.east.outbound.begin()->second;
  REQUIRE(child.remote_selectors.size() == 1);
  CHECK(to_string(child.remote_selectors.front().first) == "10.64.3.0");
}

TEST_CASE("a peer that returns from another address has its slot again, and its networks") {
  conf::Tunnel moved = peer(0);
  moved.local = peer_address(77);
  World world(headend(2), both(peer(0), std::move(moved)));
  begin(world, 0);
  REQUIRE(world.east.up_tunnels == std::set<TunnelId>{0});
  world.west.restart();  // without a word
  begin(world, 1, seconds(60));
  CHECK(world.east.up_tunnels == std::set<TunnelId>{0});
  CHECK(world.east.daemon->slot_counts(0).taken == 1);
  CHECK(world.east.ike_sas() == 1);
  REQUIRE(world.east.outbound.size() == 1);
  CHECK(world.east.outbound.begin()->second.remote.address == peer_address(77));
  CHECK(world.complaints == kNone);
}

TEST_CASE("a slot rekeys both of its SAs, whoever begins, and keeps what the peer has") {
  auto east = headend(2);
  auto west = peers(2);
  for (conf::Tunnel& tunnel : east) {
    tunnel.child_lifetime = seconds(40);
    tunnel.ike_lifetime = seconds(100);
  }
  World world(std::move(east), std::move(west));
  begin(world, 0);
  begin(world, 1);
  const std::size_t before = world.sent;
  world.run(seconds(600));
  CHECK(world.sent > before + 40);
  CHECK(world.east.up_tunnels == std::set<TunnelId>{0, 1});
  CHECK(world.east.downs.empty());
  for (const auto& [spi, child] : world.east.outbound)
    CHECK(to_string(child.remote_selectors.front().first) == fmt::format("10.64.{}.0", child.tunnel));
  CHECK(world.complaints == kNone);
}

TEST_CASE(
    "by certificates: the pattern decides, then the first slot that is free, and when there is none they are "
    "told") {
  World world(certified_headend(1), both(certified_peer(0, "west.example", kDer_west_p256),
                                         certified_peer(1, "east.example", kDer_east)));
  begin(world, 0);
  REQUIRE(world.east.up_tunnels == std::set<TunnelId>{0});
  CHECK(world.east.daemon->slot_holder(0) == "west.example");
  CHECK(world.east.said("the tunnel of \"west.example\", which is at 198.51.0.0:500"));
  begin(world, 1);
  CHECK(world.east.said(
      "\"east.example\" at 198.51.0.1:500 is refused: as many peers as there may be, 1, are there"));
  CHECK(world.west.said("AUTHENTICATION_FAILED"));
  CHECK(world.east.daemon->slot_counts(0).refused == 1);
  CHECK(world.east.daemon->slot_holder(0) == "west.example");
  // What the first one leaves is free again when all of it is gone.
  world.west.daemon->terminate(0, {Failure::operator_request, "test"}, world.now);
  world.run(seconds(20));
  CHECK(world.east.daemon->slot_counts(0).taken == 0);
  begin(world, 1);
  CHECK(world.east.up_tunnels == std::set<TunnelId>{0});
  CHECK(world.east.daemon->slot_holder(0) == "east.example");
  CHECK(world.complaints == kNone);
}

TEST_CASE("by certificates: an identity has its slot again while nobody else needs it") {
  World world(certified_headend(3), both(certified_peer(0, "west.example", kDer_west_p256),
                                         certified_peer(1, "east.example", kDer_east)));
  begin(world, 0);
  begin(world, 1);
  CHECK(world.east.up_tunnels == std::set<TunnelId>{0, 1});
  world.west.daemon->terminate(0, {Failure::operator_request, "test"}, world.now);
  world.run(seconds(20));
  begin(world, 0);
  CHECK(world.east.up_tunnels == std::set<TunnelId>{0, 1});
  CHECK(world.east.daemon->slot_holder(0) == "west.example");
}

TEST_CASE("by certificates: who does not fit the pattern or has no such certificate takes no slot") {
  World world(certified_headend(2, "*.branches.example"),
              both(certified_peer(0, "west.example", kDer_west_p256), peer(1)));
  begin(world, 0);
  CHECK(world.east.said("says it is \"west.example\""));
  World other(certified_headend(2), both(certified_peer(0, "b7.example", kDer_west_p256),
                                         certified_peer(1, "west.example", kDer_by_other)));
  begin(other, 0);
  CHECK(other.east.said("the certificate of \"b7.example\" does not name it"));
  begin(other, 1);
  CHECK(other.east.said("\"west.example\" is not trusted"));
  for (World* each : {&world, &other}) {
    CHECK(each->east.up_tunnels.empty());
    CHECK(each->east.failed.empty());
    CHECK(each->east.daemon->slot_counts(0).taken == 0);
    CHECK(each->east.daemon->slot_holder(0).empty());
  }
}

TEST_CASE("a tunnel with the peer's address comes before a template") {
  std::vector<conf::Tunnel> east = headend(2);
  conf::Tunnel exact = east_tunnel();
  exact.remote = peer_address(0);
  exact.remote_id = fqdn(peer_name(0));
  exact.psk = secret_of(0);
  east.push_back(std::move(exact));
  conf::Tunnel behind = peer(1);  // of the template, behind the same address: told apart by who it is
  behind.local = peer_address(0);
  World world(std::move(east), both(peer(0), std::move(behind)));
  begin(world, 0);
  CHECK(world.east.up_tunnels == std::set<TunnelId>{2});
  begin(world, 1);
  CHECK(world.east.up_tunnels == std::set<TunnelId>{1, 2});
  CHECK(world.complaints == kNone);
}

TEST_CASE("a slot never begins, and its peer follows when it is told to authenticate anew") {
  auto east = headend(1);
  east[0].ike_reauth = seconds(100);
  World world(std::move(east), both(peer(0), peer(1)));
  world.east.initiate(0);
  world.run(seconds(2));
  CHECK(world.sent == 0);
  begin(world, 0);
  REQUIRE(world.east.up_tunnels == std::set<TunnelId>{0});
  CHECK(world.east.daemon->notify_counters().counts().at(ike::NotifyType::auth_lifetime).sent == 1);
  CHECK(world.west.said("our authentication counts with the peer for 90 s (AUTH_LIFETIME)"));
  world.watch_flow();
  world.run(seconds(250));
  CHECK(world.east.up_tunnels == std::set<TunnelId>{0});
  CHECK(world.east.daemon->notify_counters().counts().at(ike::NotifyType::auth_lifetime).sent >= 3);
  CHECK(world.complaints == kNone);

  world.west.tunnels[0].psk = crypto::SecretBytes(std::string_view("another one"));  // it can't any more
  world.run(seconds(120));
  CHECK(world.east.up_tunnels.empty());
  CHECK(world.east.said("the peer was to authenticate anew"));
}

TEST_CASE("a slot that a former control process left is kept for its peer") {
  World world(certified_headend(2), both(certified_peer(0, "west.example", kDer_west_p256),
                                         certified_peer(1, "east.example", kDer_east)));
  begin(world, 0);
  REQUIRE(world.east.outbound.size() == 1);
  const std::uint64_t label = world.east.outbound.begin()->second.label;
  world.east.restart();
  world.west.restart();
  world.east.daemon->keep_slot(0, label);
  begin(world, 1);
  CHECK(world.east.up_tunnels == std::set<TunnelId>{1});
  begin(world, 0);  // it says that it has forgotten what was before
  CHECK(world.east.up_tunnels == std::set<TunnelId>{0, 1});
  CHECK(world.east.daemon->slot_holder(0) == "west.example");
}

TEST_CASE("claims: nested, side by side, given up as often as made") {
  const auto of = [](const char* text) { return ike::selectors_of({*parse_prefix(text)}); };
  ike::Claims claims;
  claims.add(0, 1, of("10.64.0.0/16"));
  claims.add(0, 1, of("10.64.0.0/16"));
  claims.add(0, 1, of("10.64.3.0/24"));
  CHECK(claims.other(0, 2, of("10.64.3.128/25")) == 1U);
  CHECK(claims.other(0, 2, of("10.0.0.0/8")) == 1U);
  CHECK(claims.other(0, 2, of("10.64.0.0/16")) == 1U);
  CHECK_FALSE(claims.other(0, 1, of("10.0.0.0/8")));
  CHECK_FALSE(claims.other(0, 2, of("10.65.0.0/16")));
  CHECK_FALSE(claims.other(1, 2, of("10.64.0.0/16")));
  claims.remove(0, of("10.64.0.0/16"));
  CHECK(claims.other(0, 2, of("10.64.9.0/24")) == 1U);
  claims.remove(0, of("10.64.0.0/16"));
  CHECK_FALSE(claims.other(0, 2, of("10.64.9.0/24")));
  CHECK(claims.other(0, 2, of("10.64.3.1/32")) == 1U);
  ike::Selectors range = of("fd00::/64");
  range.front().first.bytes[15] = 5;  // fd00::5 to the end: no prefix
  claims.add(0, 3, range);
  CHECK(claims.other(0, 4, of("fd00::8/128")) == 3U);
  CHECK_FALSE(claims.other(0, 4, of("fd00::4/128")));
  claims.remove(0, range);
  CHECK_FALSE(claims.other(0, 4, of("fd00::/64")));
}

}  // namespace espgate::test
