// Several tunnels that share an IKE SA: each child SA comes, is rekeyed and goes alone, and what happens to
// the IKE SA happens to all.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "control/ike/story.hpp"
#include "world.hpp"

namespace espgate::test {
namespace {

using crypto::DhGroup;
using crypto::EspSuite;

constexpr TunnelId kVoice = 1, kStaff = 2;
const Reason kReset{Failure::operator_request, "reset"};

void select(conf::Tunnel& tunnel, const char* local, const char* remote) {
  tunnel.local_selectors = {*parse_prefix(local)};
  tunnel.remote_selectors = {*parse_prefix(remote)};
}

conf::Tunnel child(const conf::Tunnel& parent, const char* name, const char* local, const char* remote) {
  conf::Tunnel out = copy(parent);
  out.name = name;
  out.parent = parent.name;
  out.parent_index = 0;
  select(out, local, remote);
  return out;
}

// Three tunnels by one IKE SA: the IKE SA's own, "voice" and "staff". West has the two in another order.
std::vector<conf::Tunnel> family(conf::Tunnel parent) {
  const bool east = parent.local == address("192.0.2.1");
  std::vector<conf::Tunnel> out;
  const auto add = [&](const char* name, const char* of_east, const char* of_west) {
    out.push_back(child(out.front(), name, east ? of_east : of_west, east ? of_west : of_east));
  };
  select(parent, east ? "10.1.0.0/16" : "10.2.0.0/16", east ? "10.2.0.0/16" : "10.1.0.0/16");
  out.push_back(std::move(parent));
  if (east) add("voice", "10.1.1.0/24", "10.2.1.0/24");
  add("staff", "172.16.0.0/12", "10.2.0.0/16");
  if (!east) add("voice", "10.1.1.0/24", "10.2.1.0/24");
  return out;
}

struct Family {
  World world;
  explicit Family(std::vector<conf::Tunnel> east = family(east_tunnel()),
                  std::vector<conf::Tunnel> west = family(west_tunnel()))
      : world(std::move(east), std::move(west)) {}

  void begin(Gateway& gateway) {
    gateway.retry = true;
    for (TunnelId id = 0; id < gateway.tunnels.size(); ++id) gateway.initiate(id);
  }
  void require_up(bool east_begins = true) {
    begin(east_begins ? world.east : world.west);
    world.run(seconds(10), [this] { return world.settled(3); });
    REQUIRE(world.settled(3));
  }
  void require_whole() {
    CHECK(world.settled(3));
    CHECK(world.lost == 0);
    CHECK(world.delivered > 0);
    CHECK(world.complaints == std::vector<std::string>{});
    CHECK(world.east.downs.empty());
    CHECK(world.west.downs.empty());
    for (Gateway* gateway : {&world.east, &world.west}) {
      for (const auto& [spi, install] : gateway->outbound) {
        const conf::Tunnel& tunnel = gateway->tunnels[install.tunnel];
        CAPTURE(gateway->name, tunnel.name);
        REQUIRE(install.local_selectors.size() == 1);
        CHECK(install.local_selectors.front().first == tunnel.local_selectors.front().address);
        CHECK(install.remote_selectors.front().first == tunnel.remote_selectors.front().address);
      }
    }
  }
};

std::uint32_t inbound_of(const Gateway& gateway, TunnelId tunnel) {
  for (const auto& [spi, install] : gateway.inbound)
    if (install.tunnel == tunnel) return spi;
  return 0;
}

TEST_CASE("tunnels that share an IKE SA come up one by one, whoever begins, or both") {
  for (const auto& [east_begins, west_begins] : {std::pair{true, false}, {false, true}, {true, true}}) {
    Family all;
    if (east_begins) all.begin(all.world.east);
    if (west_begins) all.begin(all.world.west);
    all.world.run(seconds(10), [&] { return all.world.settled(3); });
    CHECK(all.world.settled(3));
    all.world.start_traffic(3);
    all.world.run(seconds(200));
    all.require_whole();
    CHECK(all.world.east.ups == 3);
  }
}

TEST_CASE("each child SA is rekeyed alone, from either side or both, and the IKE SA under all of them") {
  for (const bool west_too : {false, true}) {
    Family all;
    all.require_up();
    all.world.start_traffic(3);
    all.world.watch_flow();
    for (TunnelId id = 0; id < 3; ++id) {
      all.world.run(seconds(5));
      const std::uint32_t before = inbound_of(all.world.east, id);
      const std::uint32_t other = inbound_of(all.world.east, (id + 1) % 3);
      all.world.east.daemon->rekey_child(before, all.world.now);
      if (west_too) all.world.west.daemon->rekey_child(all.world.east.outbound.begin()->first, all.world.now);
      all.world.run(seconds(8));
      CHECK(inbound_of(all.world.east, id) != before);
      if (!west_too) CHECK(all.world.east.inbound.contains(other));
      all.world.east.daemon->rekey_ike(id, all.world.now);
      if (west_too) all.world.west.daemon->rekey_ike(0, all.world.now);
    }
    all.world.run(seconds(100));
    all.require_whole();
  }
}

TEST_CASE("lifetimes pass for all of them without a loss") {
  std::vector<conf::Tunnel> east = family(east_tunnel()), west = family(west_tunnel());
  east[0].ike_lifetime = seconds(60);
  unsigned lifetime = 37;
  for (conf::Tunnel& tunnel : east) tunnel.child_lifetime = seconds(lifetime += 6);
  west[1].child_lifetime = seconds(31);
  Family all(std::move(east), std::move(west));
  all.require_up();
  all.world.start_traffic(3);
  all.world.watch_flow();
  all.world.run(seconds(900));
  all.world.run(seconds(60), [&] { return all.world.settled(3); });
  all.require_whole();
  CHECK(all.world.east.said("IKE SA with 192.0.2.2:500 rekeyed"));
}

TEST_CASE("reauthentication moves all of them, make-before-break") {
  for (const bool east_renews : {true, false}) {
    std::vector<conf::Tunnel> east = family(east_tunnel()), west = family(west_tunnel());
    (east_renews ? east : west)[0].ike_reauth = seconds(100);
    Family all(std::move(east), std::move(west));
    all.require_up();
    all.world.start_traffic(3);
    all.world.watch_flow();
    // Who deletes the IKE SA from before forgets its SAs with our answer: by then we send on others.
    std::map<const Gateway*, Time> answered;
    unsigned late = 0;
    all.world.witness = [&](const Gateway& gateway, const std::string& what) {
      if (what.find("exchange 37, response") != std::string::npos) answered[&gateway] = all.world.now;
      if (what.starts_with("installs outbound") && answered[&gateway] == all.world.now) ++late;
    };
    all.world.run(seconds(600));
    all.world.run(seconds(70), [&] { return all.world.settled(3); });
    all.require_whole();
    CHECK(answered.size() == 2);
    CHECK(late == 0);
    CHECK((east_renews ? all.world.east : all.world.west).said("authentication is renewed"));
    CHECK(all.world.west.said("a redundant IKE SA") != all.world.east.said("a redundant IKE SA"));
  }
}

TEST_CASE("a child that the peer does not take leaves the others alone, and is tried again alone") {
  std::vector<conf::Tunnel> east = family(east_tunnel());
  SECTION("its selectors") {
    select(east[kVoice], "192.168.1.0/24", "192.168.2.0/24");
    Family all(std::move(east));
    all.begin(all.world.east);
    all.world.run(seconds(20));
    CHECK(all.world.settled(2));
    CHECK(all.world.east.up_tunnels == std::set<TunnelId>{0, kStaff});
    CHECK(all.world.east.failures.back().failure == Failure::ts_unacceptable);
    CHECK(std::ranges::count(all.world.east.failed, kVoice) == std::ssize(all.world.east.failed));
    CHECK(std::ssize(all.world.east.failed) >= 10);
    CHECK(all.world.west.said("we accept 10.1.0.0/16 === 10.2.0.0/16; or 172.16.0.0/12"));
    CHECK(all.world.east.daemon->story(kVoice).heard() != nullptr);
    CHECK(all.world.east.daemon->story(0).heard() == nullptr);
  }
  SECTION("its proposals") {
    east[kVoice].esp_proposals = {esp(EspSuite::aes128_gcm16, {DhGroup::curve25519})};
    Family all(std::move(east));
    all.begin(all.world.east);
    all.world.run(seconds(5));
    CHECK(all.world.settled(2));
    CHECK(all.world.east.failures.back().failure == Failure::no_esp_proposal);
    CHECK(all.world.west.up_tunnels == std::set<TunnelId>{0, 1});
    CHECK(all.world.west.failed.back() == 2);  // voice, over there
  }
  SECTION("the first one, which comes with the IKE SA") {
    select(east[0], "192.168.1.0/24", "192.168.2.0/24");
    Family all(std::move(east));
    all.begin(all.world.east);
    all.world.run(seconds(5));
    CHECK(all.world.settled(2));
    CHECK(all.world.east.up_tunnels == std::set<TunnelId>{kVoice, kStaff});
  }
}

TEST_CASE("a peer without room for another says so, and is asked again") {
  Family all;
  all.require_up();
  all.world.west.full = true;
  all.world.east.daemon->terminate(kVoice, kReset, all.world.now);
  all.world.east.initiate(kVoice);
  all.world.run(seconds(10));
  CHECK(all.world.settled(2));
  REQUIRE(!all.world.east.failures.empty());
  CHECK(all.world.east.failures.back().failure == Failure::no_additional_child);
  CHECK(all.world.east.failed.back() == kVoice);
  all.world.west.full = false;
  all.world.run(seconds(10), [&] { return all.world.settled(3); });
  CHECK(all.world.settled(3));
}

TEST_CASE("what comes to nothing with the IKE SA is told to all that waited for it") {
  std::vector<conf::Tunnel> west = family(west_tunnel());
  Reason expected{Failure::authentication_failed, {}};
  SECTION("another secret") { west[0].psk = crypto::SecretBytes(std::string_view("incorrect")); }
  SECTION("no answer") {
    west[0].local = address("192.0.2.3");
    expected.failure = Failure::no_answer;
  }
  Family all(family(east_tunnel()), std::move(west));
  for (TunnelId id = 0; id < 3; ++id) all.world.east.initiate(id);
  all.world.run(seconds(60));
  CHECK(all.world.east.failed == std::vector<TunnelId>{0, kVoice, kStaff});
  for (const Reason& reason : all.world.east.failures) CHECK(reason.failure == expected.failure);
}

TEST_CASE("a reset of one of them is its own, and one of the IKE SA's is for all") {
  Family all;
  all.require_up();
  Gateway& east = all.world.east;
  const std::uint32_t voice = inbound_of(east, kVoice), staff = inbound_of(east, kStaff);
  east.daemon->terminate(kVoice, kReset, all.world.now);
  east.initiate(kVoice);
  all.world.run(seconds(10));
  CHECK(all.world.settled(3));
  CHECK(east.downs.size() == 1);
  CHECK(inbound_of(east, kVoice) != voice);
  CHECK(inbound_of(east, kStaff) == staff);
  CHECK(all.world.west.downs.size() == 1);
  east.daemon->terminate(0, kReset, all.world.now);
  all.world.run(seconds(10));
  CHECK(all.world.settled(3));
  CHECK(east.downs.size() == 4);
  CHECK(inbound_of(east, kStaff) != staff);
  CHECK(all.world.complaints == std::vector<std::string>{});
}

TEST_CASE("a dead peer takes all of them down, and all come back with it") {
  std::vector<conf::Tunnel> east = family(east_tunnel());
  east[0].dpd_interval = seconds(10);
  Family all(std::move(east));
  all.require_up();
  all.world.fate = [](const Datagram&) { return std::vector<milliseconds>{}; };
  all.world.run(seconds(60));
  CHECK(all.world.east.up_tunnels.empty());
  CHECK(all.world.east.downs.size() == 3);
  all.world.west.restart();
  all.world.fate = nullptr;
  all.world.run(seconds(60), [&] { return all.world.settled(3); });
  CHECK(all.world.settled(3));
}

TEST_CASE("they come up and stay through losses") {
  for (unsigned seed = 1; seed <= 40; seed += kStride) {
    CAPTURE(seed);
    Family all;
    std::mt19937 random(seed);
    all.world.fate = [&random](const Datagram&) {
      const auto dice = random() % 10;
      if (dice < 2) return std::vector<milliseconds>{};
      return std::vector<milliseconds>(dice == 9 ? 2 : 1, milliseconds(10 + random() % 40));
    };
    all.begin(all.world.east);
    if (seed % 2 == 0) all.begin(all.world.west);
    all.world.run(seconds(60), [&] { return all.world.settled(3); });
    for (unsigned round = 0; round < 5; ++round) {
      for (TunnelId id = 0; id < 3; ++id)
        all.world.east.daemon->rekey_child(inbound_of(all.world.east, id), all.world.now);
      if (round % 2 == 0) all.world.west.daemon->rekey_ike(0, all.world.now);
      if (round == 3) all.world.east.daemon->reauthenticate(kVoice, all.world.now);
      all.world.run(seconds(20));
    }
    all.world.fate = nullptr;
    all.world.run(seconds(200), [&] { return all.world.settled(3); });
    CHECK(all.world.settled(3));
    CHECK(all.world.complaints == std::vector<std::string>{});
  }
}

TEST_CASE("an offer goes to the tunnel that it fits best") {
  struct Row {
    const char* local;  // of the asking side
    const char* remote;
    TunnelId answers;
  };
  const Row rows[] = {
      {"10.1.1.0/24", "10.2.1.0/24", 2},    // voice, exactly
      {"10.1.1.0/25", "10.2.1.0/24", 2},    // within voice, and within the parent's, which is larger
      {"10.1.9.0/24", "10.2.1.0/24", 0},    // the parent's alone
      {"172.16.0.0/16", "10.2.0.0/16", 1},  // staff, narrowed
      {"0.0.0.0/0", "10.2.0.0/16", 1},      // most of it is staff's
  };
  for (const Row& row : rows) {
    CAPTURE(row.local, row.remote);
    std::vector<conf::Tunnel> east = family(east_tunnel());
    east.resize(2);
    select(east[0], "10.1.200.0/24", "10.2.200.0/24");
    select(east[1], row.local, row.remote);
    Family all(std::move(east));
    all.begin(all.world.east);
    all.world.run(seconds(5));
    std::vector<TunnelId> there;
    for (const auto& [spi, install] : all.world.west.inbound) there.push_back(install.tunnel);
    if (row.answers == 0) {  // which has one already, for other networks
      CHECK(there == std::vector<TunnelId>{0});
      CHECK(all.world.west.said("wants a second child SA, for 10.1.9.0/24 === 10.2.1.0/24 beside"));
      continue;
    }
    CHECK(std::ranges::count(there, row.answers) == 1);
  }
}

// A policy-based peer has a child SA for each pair of its networks, whatever the other side has.
TEST_CASE("a second child SA for other networks is refused in words, and the first goes on") {
  std::vector<conf::Tunnel> east = family(east_tunnel()), west;
  west.push_back(west_tunnel());  // any to any
  for (conf::Tunnel& tunnel : east) tunnel.child_lifetime = seconds(60);
  Family all(std::move(east), std::move(west));
  all.begin(all.world.east);
  all.world.run(seconds(2), [&all] { return all.world.settled(); });
  REQUIRE(all.world.settled());
  all.world.start_traffic();
  all.world.watch_flow();
  all.world.run(seconds(200));
  all.world.run(seconds(20), [&all] { return all.world.settled(); });
  CHECK(all.world.settled());
  CHECK(all.world.east.up_tunnels == std::set<TunnelId>{0});
  CHECK(all.world.lost == 0);
  CHECK(all.world.complaints == std::vector<std::string>{});
  CHECK(all.world.west.downs.empty());
  CHECK(all.world.west.failures.empty());
  CHECK(all.world.west.said(
      "192.0.2.1 wants a second child SA, for 172.16.0.0/12 === 10.2.0.0/16 beside 10.1.0.0/16 === "
      "10.2.0.0/16, "
      "and a tunnel has one: add a tunnel for the second, with parent: east, or let the peer ask for all "
      "networks by one"));
  CHECK(all.world.east.failures.back().failure == Failure::no_additional_child);
}

TEST_CASE("a successor takes over while the SAs of all of them live on") {
  Family all;
  all.require_up();
  all.world.run(seconds(5));
  Gateway& east = all.world.east;
  east.up_tunnels.clear();
  east.daemon = std::make_unique<ike::Daemon>(east.tunnels, east.keeper, east, east.settings, all.world.now);
  east.daemon->set_initial_contact(kVoice, false);  // those of one are enough
  all.world.start_traffic(3);
  for (TunnelId id = 0; id < 3; ++id) east.initiate(id);
  all.world.run(seconds(10));
  CHECK(all.world.lost == 0);
  CHECK(east.up_tunnels.size() == 3);
}

}  // namespace
}  // namespace espgate::test
