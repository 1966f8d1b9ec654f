// What follows on what: reauthentication beside the IKE SA from before, set-up without a child SA (RFC 6023),
// and whether a first child can be rekeyed at all.
#include <catch2/catch.hpp>

#include "control/ike/message.hpp"
#include "world.hpp"

namespace espgate::test {
namespace {

using conf::Childless;
using crypto::DhGroup;
using crypto::EspSuite;

std::vector<conf::Tunnel> one(conf::Tunnel tunnel) {
  std::vector<conf::Tunnel> out;
  out.push_back(std::move(tunnel));
  return out;
}

void require_whole(World& world) {
  CHECK(world.settled());
  CHECK(world.lost == 0);
  CHECK(world.delivered > 0);
  CHECK(world.complaints == std::vector<std::string>{});
  CHECK(world.east.downs.empty());
  CHECK(world.west.downs.empty());
}

unsigned count(const Gateway& gateway, const std::string& words) {
  unsigned out = 0;
  for (const std::string& line : gateway.lines) out += line.find(words) != std::string::npos ? 1 : 0;
  return out;
}

TEST_CASE("authentication is renewed make-before-break, over and over, from either side or both") {
  for (const auto& [east_limit, west_limit] :
       {std::pair{seconds(100), seconds(0)}, {seconds(0), seconds(100)}, {seconds(100), seconds(100)}}) {
    conf::Tunnel east = east_tunnel();
    conf::Tunnel west = west_tunnel();
    east.ike_reauth = east_limit;
    west.ike_reauth = west_limit;
    east.ike_lifetime = west.ike_lifetime = seconds(70);  // a rekey does not renew the authentication
    World world(one(std::move(east)), one(std::move(west)));
    REQUIRE(world.establish());
    world.start_traffic();
    world.watch_flow();
    world.run(seconds(1000));
    world.run(seconds(70), [&world] { return world.settled(); });
    require_whole(world);
    const unsigned renewed =
        count(world.east, "authentication is renewed") + count(world.west, "authentication is renewed");
    CHECK(renewed >= 9);
    CHECK(renewed <= 40);
    CHECK(count(world.east, "IKE SA established") >= 10);
  }
}

TEST_CASE("a peer that no longer is who it was is cut off when its authentication is too old") {
  conf::Tunnel east = east_tunnel();
  east.ike_reauth = seconds(100);
  World world(one(std::move(east)));
  REQUIRE(world.establish());
  world.west.tunnels[0].psk = crypto::SecretBytes(std::string_view("another one"));
  world.run(seconds(99));
  CHECK(world.east.up);  // what there is goes on
  CHECK(world.east.said("AUTHENTICATION_FAILED"));
  world.run(seconds(3));
  CHECK(!world.east.up);
  CHECK(!world.west.up);
  CHECK(world.east.said("the peer was to authenticate anew (reauth), and that did not come about in time"));
  world.run(seconds(40));
  CHECK(world.east.ike_sas() == 0);
  CHECK(world.complaints == std::vector<std::string>{});
}

// One in twenty messages is lost, for an hour: all settles afterwards, and no inner packet was.
std::unique_ptr<World> lossy_hour(conf::Tunnel east, conf::Tunnel west, unsigned seed) {
  INFO("seed " << seed);
  ike::Settings settings = World::quick();
  settings.random_seed = seed;
  auto world = std::make_unique<World>(one(std::move(east)), one(std::move(west)), settings);
  REQUIRE(world->establish());
  world->watch_flow();
  std::mt19937 dice(seed);
  world->fate = [&dice](const Datagram&) {
    if (dice() % 20 == 0) return std::vector<milliseconds>{};
    return std::vector{milliseconds(1 + dice() % 100)};
  };
  world->run(seconds(3600));
  world->run(seconds(120), [&world] { return world->settled(); });
  CHECK(world->settled());
  CHECK(world->complaints == std::vector<std::string>{});
  CHECK(world->east.downs.empty());
  CHECK(world->west.downs.empty());
  world->fate = {};
  return world;
}

TEST_CASE("an hour of short lifetimes and reauthentications, and one in twenty messages is lost") {
  for (unsigned seed = 1; seed <= 8; ++seed) {
    conf::Tunnel east = east_tunnel();
    conf::Tunnel west = west_tunnel();
    east.child_lifetime = west.child_lifetime = seconds(25);
    east.ike_lifetime = west.ike_lifetime = seconds(40);
    east.ike_reauth = seconds(130);
    if (seed % 2 == 0) west.ike_reauth = seconds(110);
    const auto world = lossy_hour(std::move(east), std::move(west), seed);
    CHECK(count(world->east, "IKE SA established") >= 20);
  }
}

// What 200 tunnels see: lifetimes of 20 to 40 s, the same at both ends.
TEST_CASE("an hour of lifetimes of 20 to 40 s, and one in twenty messages is lost") {
  for (unsigned seed = 1; seed <= 200; seed += kStride) {
    conf::Tunnel east = east_tunnel();
    conf::Tunnel west = west_tunnel();
    east.child_lifetime = west.child_lifetime = seconds(20 + seed % 21);
    east.ike_lifetime = west.ike_lifetime = seconds(20 + 5 * seed % 21);
    static_cast<void>(lossy_hour(std::move(east), std::move(west), seed));
  }
}

struct Setting {
  Childless east, west;
  bool up, childless;
};

TEST_CASE("childless: who begins how with whom") {
  for (const Setting& setting : {Setting{Childless::allow, Childless::allow, true, false},
                                 Setting{Childless::prefer, Childless::allow, true, true},
                                 Setting{Childless::require, Childless::require, true, true},
                                 Setting{Childless::prefer, Childless::never, true, false},
                                 Setting{Childless::never, Childless::require, true, false},
                                 Setting{Childless::require, Childless::never, false, false}}) {
    conf::Tunnel east = east_tunnel();
    conf::Tunnel west = west_tunnel();
    east.childless = setting.east;
    west.childless = setting.west;
    World world(one(std::move(east)), one(std::move(west)));
    INFO("east " << static_cast<int>(setting.east) << ", west " << static_cast<int>(setting.west));
    CHECK(world.establish() == setting.up);
    CHECK(world.west.said("without a child SA, as the peer asked") == setting.childless);
    CHECK(world.complaints == std::vector<std::string>{});
    if (!setting.up) {
      CHECK(world.east.said("childless: require"));
      CHECK(world.east.ike_sas() == 0);
      continue;
    }
    // The first child has a key exchange of its own then.
    const DhGroup group = world.east.daemon->list().front().children.front().pfs_group;
    CHECK((group == DhGroup::curve25519) == setting.childless);
    world.start_traffic();
    world.run(seconds(40));
    require_whole(world);
  }
}

TEST_CASE("childless: any one datagram may be lost") {
  for (unsigned n = 0; n <= 10; ++n) {
    conf::Tunnel east = east_tunnel();
    east.childless = Childless::prefer;
    World world(one(std::move(east)));
    world.east.retry = world.west.retry = true;
    world.fate = [n](const Datagram& d) {
      return d.number == n ? std::vector<milliseconds>{} : std::vector{milliseconds(10)};
    };
    INFO("datagram " << n);
    CHECK(world.establish());
    world.run(seconds(70));
    CHECK(world.settled());
    CHECK(world.complaints == std::vector<std::string>{});
  }
}

TEST_CASE("childless: both begin at once, and one pair stays") {
  for (unsigned gap = 0; gap < 60; gap += 5) {
    conf::Tunnel east = east_tunnel();
    conf::Tunnel west = west_tunnel();
    east.childless = west.childless = Childless::prefer;
    World world(one(std::move(east)), one(std::move(west)));
    world.east.retry = world.west.retry = true;
    world.east.initiate();
    world.run(milliseconds(gap));
    world.west.initiate();
    world.run(seconds(150));
    INFO("gap " << gap);
    CHECK(world.settled());
    CHECK(world.complaints == std::vector<std::string>{});
  }
}

TEST_CASE("verify: a PFS group that does not fit is told at set-up, and traffic goes on") {
  conf::Tunnel east = east_tunnel();
  conf::Tunnel west = west_tunnel();
  east.esp_proposals = {esp(EspSuite::aes256_gcm16, {DhGroup::curve25519})};
  west.esp_proposals = {esp(EspSuite::aes256_gcm16, {DhGroup::ecp384})};
  east.child_lifetime = seconds(3600);
  SECTION("asked for") {
    east.verify_rekey = true;
    World world(one(std::move(east)), one(std::move(west)));
    REQUIRE(world.establish());
    world.start_traffic();
    world.run(seconds(60));
    require_whole(world);
    REQUIRE(world.east.failed_rekeys.size() == 1);  // once, not every ten seconds
    CHECK(world.east.said("it is the group for PFS that does not fit"));
    CHECK(world.west.said("it is the group for PFS that does not fit"));
    CHECK(world.east.failures.empty());
  }
  SECTION("not asked for") {
    World world(one(std::move(east)), one(std::move(west)));
    REQUIRE(world.establish());
    world.run(seconds(60));
    CHECK(world.east.failed_rekeys.empty());
  }
}

// The PFS groups differ: a child SA can be made in IKE_AUTH alone, which has none.
World no_pfs_in_common(seconds east_lifetime, seconds west_lifetime) {
  conf::Tunnel east = east_tunnel();
  conf::Tunnel west = west_tunnel();
  west.esp_proposals = {esp(EspSuite::aes256_gcm16, {DhGroup::ecp384})};
  east.child_lifetime = east_lifetime;
  west.child_lifetime = west_lifetime;
  return World(one(std::move(east)), one(std::move(west)));
}

TEST_CASE("a child that the peer does not rekey: another IKE SA takes the place of its own in time") {
  for (const auto& [east, west] : {std::pair{100, 0}, {0, 100}, {100, 100}, {20, 3600}}) {
    CAPTURE(east, west);
    World world = no_pfs_in_common(seconds(east), seconds(west));
    REQUIRE(world.establish());
    world.start_traffic();
    world.watch_flow();
    world.run(seconds(1000));
    world.run(seconds(70), [&world] { return world.settled(); });
    require_whole(world);
    CHECK(world.east.failed_rekeys.size() + world.west.failed_rekeys.size() >= 9);
    CHECK(count(world.east, "IKE SA established") >= 10);
  }
}

TEST_CASE("a child that the peer does not rekey takes its IKE SA with it where no other came about") {
  World world = no_pfs_in_common(seconds(100), seconds(0));
  REQUIRE(world.establish());
  bool closed = false;  // to whoever begins anew
  world.fate = [&closed](const Datagram& d) {
    const bool begins = d.bytes[18] == static_cast<std::uint8_t>(ike::Exchange::ike_sa_init);
    return begins && closed ? std::vector<milliseconds>{} : std::vector{milliseconds(10)};
  };
  closed = true;
  world.run(seconds(99));
  CHECK(world.east.up);
  SECTION("at the end of its time") { world.run(seconds(32)); }
  SECTION("at the end of its packets") {
    world.east.daemon->child_expired(world.east.inbound.begin()->first, world.now);
  }
  CHECK(!world.east.up);
  CHECK(world.east.downs.back().failure == Failure::lifetime);
  world.run(seconds(60));
  CHECK(world.east.ike_sas() + world.west.ike_sas() == 0);
  closed = false;
  CHECK(world.establish());
}

TEST_CASE("a child SA that can't be made anew is made with an IKE SA of its own, but for a childless one") {
  const bool childless = GENERATE(false, true);
  std::vector<conf::Tunnel> east = one(east_tunnel()), west = one(west_tunnel());
  if (childless) east[0].childless = Childless::prefer;
  west[0].esp_proposals = {esp(EspSuite::aes256_gcm16, {DhGroup::ecp384})};
  World world(std::move(east), std::move(west));
  CHECK(world.establish() != childless);
  if (!childless)
    world.west.daemon->dataplane_refused(0, world.west.inbound.begin()->first, "for the test", world.now);
  world.run(seconds(10));
  CHECK(!world.east.up);
  CHECK(world.east.ike_sas() == 1);
  world.east.initiate();
  world.run(seconds(10));
  CHECK(world.east.failures.back().failure == Failure::no_esp_proposal);
  CHECK(world.east.ike_sas() == (childless ? 1 : 0));
  CHECK(world.west.ike_sas() == world.east.ike_sas());
  CHECK(world.establish() != childless);
}

enum class Refusal : std::uint8_t { no_proposal, temporary };

bool is_request(const Datagram& d, ike::Exchange exchange) {
  return d.bytes[18] == static_cast<std::uint8_t>(exchange) && (d.bytes[19] & 0x20) == 0;
}

// West takes what east offers when an IKE SA is set up, and rekeys none: it has nothing in common then, or is
// busy with a rekey of its own, at every time.
void refuse_ike_rekeys(World& world, Refusal how) {
  world.fate = [&world, how, proposals = world.west.tunnels[0].ike_proposals](const Datagram& d) {
    const bool from_east = d.from.address == world.east.tunnels[0].local;
    if (from_east && is_request(d, ike::Exchange::create_child_sa)) {
      if (how == Refusal::no_proposal)
        world.west.tunnels[0].ike_proposals = {ike_gcm(DhGroup::ecp521)};
      else
        world.west.daemon->rekey_child(world.west.inbound.rbegin()->first, world.now);
    }
    if (from_east && is_request(d, ike::Exchange::ike_sa_init))
      world.west.tunnels[0].ike_proposals = proposals;
    return std::vector{milliseconds(10)};
  };
}

TEST_CASE("an IKE SA that the peer does not rekey: another one takes its place in time") {
  for (const auto& [how, lifetime] :
       {std::pair{Refusal::no_proposal, 100}, {Refusal::no_proposal, 30}, {Refusal::temporary, 100}}) {
    CAPTURE(static_cast<int>(how), lifetime);
    conf::Tunnel east = east_tunnel();
    east.ike_lifetime = seconds(lifetime);
    World world(one(std::move(east)));
    REQUIRE(world.establish());
    world.start_traffic();
    world.watch_flow();
    refuse_ike_rekeys(world, how);
    world.run(seconds(1000), [&world] { return !world.east.downs.empty(); });
    REQUIRE(world.east.downs.empty());
    world.fate = {};
    world.run(seconds(70), [&world] { return world.settled(); });
    require_whole(world);
    CHECK(count(world.east, "IKE SA established") >= 1000U / lifetime);
    CHECK(!world.east.said("IKE SA with 192.0.2.2:500 rekeyed"));
    if (how == Refusal::temporary) continue;
    CHECK(world.east.failed_rekeys.size() >= 1000U / lifetime);
    CHECK(world.east.failed_rekeys.back().failure == Failure::ike_rekey);
    CHECK(world.east.said("the IKE SA could not be rekeyed: we offered "));
    CHECK(world.east.said("and the peer answered NO_PROPOSAL_CHOSEN"));
    CHECK(world.west.failed_rekeys.back().failure == Failure::no_ike_proposal);
  }
}

TEST_CASE("verify: a first child that can be rekeyed is, once, also when both want to know") {
  for (const bool both : {false, true}) {
    conf::Tunnel east = east_tunnel();
    conf::Tunnel west = west_tunnel();
    east.verify_rekey = true;
    west.verify_rekey = both;
    World world(one(std::move(east)), one(std::move(west)));
    REQUIRE(world.establish());
    const std::uint32_t first = world.east.sending.at(0);
    world.start_traffic();
    world.run(seconds(100));
    require_whole(world);
    CHECK(world.east.sending.at(0) != first);
    CHECK(world.east.daemon->list().front().children.front().pfs_group == DhGroup::curve25519);
    CHECK(world.east.failed_rekeys.empty());
  }
}

}  // namespace
}  // namespace espgate::test
