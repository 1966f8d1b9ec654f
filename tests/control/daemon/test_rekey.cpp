// Rekeys of children and of IKE SAs, from either side and from both at once, under every order of arrival;
// with inner traffic both ways, of which nothing may be lost. RFC 7296 sections 2.8 and 2.25.
#include <catch2/catch.hpp>

#include "world.hpp"

namespace espgate::test {
namespace {

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

using Act = void (*)(Gateway&, Time);
void rekey_child(Gateway& g, Time now) { g.daemon->rekey_child(g.outbound.begin()->second.inbound_spi, now); }
void rekey_ike(Gateway& g, Time now) { g.daemon->rekey_ike(0, now); }

std::pair<std::uint32_t, std::uint64_t> identity_of(const Gateway& g) {
  const auto list = g.daemon->list();
  return {g.sending.at(0), list.front().spi_initiator};
}

TEST_CASE("either side rekeys the child or the IKE SA, and no packet is lost") {
  for (const Act act : {rekey_child, rekey_ike}) {
    for (const bool east_acts : {true, false}) {
      World world;
      REQUIRE(world.establish());
      world.start_traffic();
      world.run(seconds(1));
      const auto before = identity_of(world.east);
      act(east_acts ? world.east : world.west, world.now);
      world.run(seconds(20));
      require_whole(world);
      const auto after = identity_of(world.east);
      CHECK((act == rekey_child) == (after.first != before.first));
      CHECK((act == rekey_ike) == (after.second != before.second));
    }
  }
}

// The one whose SA stays may know it long before the other: east's answer and its delete are lost at first,
// and east goes on over the new IKE SA. Random nonces decide whose stays, so it is tried several times.
TEST_CASE("both rekey the IKE SA, and who knows the outcome goes on over it") {
  constexpr std::uint8_t kCreateChildSa = 36;
  constexpr std::uint8_t kInformational = 37;
  constexpr std::uint8_t kResponse = 0x20;
  for (int i = 0; i < 12; ++i) {
    World world;
    REQUIRE(world.establish());
    world.start_traffic();
    world.run(seconds(1));
    const Time blind = world.now + milliseconds(400);
    world.fate = [&world, blind](const Datagram& d) {
      const bool response = (d.bytes[19] & kResponse) != 0;
      const bool tells = d.bytes[18] == (response ? kCreateChildSa : kInformational);
      const bool lost = world.now < blind && d.from.address == address("192.0.2.1") && tells;
      return lost ? std::vector<milliseconds>{} : std::vector{milliseconds(10)};
    };
    rekey_ike(world.east, world.now);
    rekey_ike(world.west, world.now);
    world.run(milliseconds(200));
    rekey_child(world.east, world.now);
    world.run(seconds(20));
    require_whole(world);
  }
}

// West's answer to east's rekey is lost at first, and west rekeys what it has made of it: east does not know
// that one yet, but that it has asked.
TEST_CASE("the peer rekeys a child whose making we have not heard of") {
  World world;
  REQUIRE(world.establish());
  world.start_traffic();
  world.run(seconds(1));
  const std::uint32_t before = world.east.sending.at(0);
  const Time deaf = world.now + milliseconds(800);
  world.fate = [&world, deaf](const Datagram& d) {
    const bool response = (d.bytes[19] & 0x20) != 0;
    const bool lost = world.now < deaf && response && d.from.address == address("192.0.2.2");
    return lost ? std::vector<milliseconds>{} : std::vector{milliseconds(10)};
  };
  rekey_child(world.east, world.now);
  world.run(milliseconds(100));
  for (const auto& [spi, child] : world.west.inbound)
    if (spi != before) world.west.daemon->rekey_child(spi, world.now);
  world.run(milliseconds(100));
  CHECK(!world.east.said("CHILD_SA_NOT_FOUND"));
  world.run(seconds(40));
  require_whole(world);
  CHECK(world.east.sending.at(0) != before);
}

TEST_CASE("a rekey works on a rekeyed IKE SA, many times over") {
  World world;
  REQUIRE(world.establish());
  world.start_traffic();
  for (int i = 0; i < 12; ++i) {
    (i % 3 == 0 ? rekey_ike : rekey_child)(i % 2 == 0 ? world.east : world.west, world.now);
    world.run(seconds(8));
  }
  require_whole(world);
}

TEST_CASE("the peer asks for another group of PFS, for the child and for the IKE SA") {
  conf::Tunnel east = east_tunnel();
  conf::Tunnel west = west_tunnel();
  east.esp_proposals = {esp(EspSuite::aes128_gcm16, {DhGroup::ecp256, DhGroup::curve25519})};
  west.esp_proposals = {esp(EspSuite::aes128_gcm16, {DhGroup::curve25519})};
  World world(one(std::move(east)), one(std::move(west)));
  REQUIRE(world.establish());
  world.start_traffic();
  rekey_child(world.east, world.now);
  world.run(seconds(10));
  require_whole(world);
  CHECK(world.east.daemon->list().front().children.front().pfs_group == DhGroup::curve25519);
  rekey_child(world.west, world.now);
  world.run(seconds(10));
  require_whole(world);
}

TEST_CASE("no PFS: rekeys without a key exchange") {
  conf::Tunnel east = east_tunnel();
  conf::Tunnel west = west_tunnel();
  east.esp_proposals = west.esp_proposals = {esp(EspSuite::aes256_cbc_sha256)};
  World world(one(std::move(east)), one(std::move(west)));
  REQUIRE(world.establish());
  world.start_traffic();
  rekey_child(world.east, world.now);
  world.run(seconds(10));
  require_whole(world);
}

TEST_CASE("lifetimes rekey on their own, on both sides at once") {
  conf::Tunnel east = east_tunnel();
  conf::Tunnel west = west_tunnel();
  east.child_lifetime = west.child_lifetime = seconds(60);
  east.ike_lifetime = west.ike_lifetime = seconds(200);
  World world(one(std::move(east)), one(std::move(west)));
  REQUIRE(world.establish());
  world.start_traffic();
  world.run(seconds(1500), [&world] { return world.lost > 0; });
  world.run(seconds(7), [&world] { return world.settled(); });
  require_whole(world);
  CHECK(world.east.outbound.begin()->first > 0x2000 + 20);
}

// Each datagram takes 5, 60 or 800 ms (the last longer than the first retransmission), in all combinations.
class Interleavings {
 public:
  static constexpr unsigned kDatagrams = 6;
  static constexpr unsigned kCount = 729;  // 3 to the 6th
  explicit Interleavings(unsigned which) : which_(which) {}
  void apply(World& world) const {
    const unsigned first = world.sent;
    world.fate = [first, which = which_](const Datagram& d) {
      unsigned digit = which;
      const unsigned place = d.number - first - 1;
      if (place >= kDatagrams) return std::vector{milliseconds(10)};
      for (unsigned i = 0; i < place; ++i) digit /= 3;
      static constexpr int kDelays[] = {5, 60, 800};
      return std::vector{milliseconds(kDelays[digit % 3])};
    };
  }

 private:
  unsigned which_;
};

struct Collisions {
  unsigned ours{0}, theirs{0};
};

void both_at_once(Act east_acts, Act west_acts, unsigned which, int gap, Collisions& seen) {
  World world;
  REQUIRE(world.establish());
  world.start_traffic();
  world.run(milliseconds(50));
  Interleavings(which).apply(world);
  east_acts(world.east, world.now);
  world.run(milliseconds(gap));
  west_acts(world.west, world.now);
  world.run(seconds(100));
  world.run(seconds(30), [&world] { return world.settled(); });
  INFO("order " << which << ", gap " << gap);
  require_whole(world);
  seen.ours += world.east.said("ours stays");
  seen.theirs += world.east.said("the peer's new one stays");
}

TEST_CASE("both rekey the child at once, in every order of arrival") {
  Collisions seen;
  for (unsigned which = 0; which < Interleavings::kCount; which += kStride)
    both_at_once(rekey_child, rekey_child, which, which % 4 * 4, seen);
  CHECK(seen.ours > 20 / kStride);  // so the orders were what they are meant to be
  CHECK(seen.theirs > 20 / kStride);
}

TEST_CASE("both rekey the IKE SA at once, in every order of arrival") {
  Collisions seen;
  for (unsigned which = 0; which < Interleavings::kCount; which += kStride)
    both_at_once(rekey_ike, rekey_ike, which, which % 4 * 4, seen);
  CHECK(seen.ours > 20 / kStride);  // so the orders were what they are meant to be
  CHECK(seen.theirs > 20 / kStride);
}

TEST_CASE("one rekeys the IKE SA while the other rekeys the child, in every order of arrival") {
  Collisions seen;
  for (unsigned which = 0; which < Interleavings::kCount; which += kStride)
    both_at_once(rekey_ike, rekey_child, which, which % 4 * 4, seen);
}

TEST_CASE("one deletes the child while the other rekeys it: both know in the end what there is") {
  for (unsigned which = 0; which < Interleavings::kCount; which += kStride) {
    World world;
    REQUIRE(world.establish());
    world.run(milliseconds(50));
    Interleavings(which).apply(world);
    rekey_child(world.east, world.now);
    world.run(milliseconds(which % 4 * 4));
    world.west.daemon->child_expired(world.west.inbound.begin()->first, world.now);
    world.run(seconds(100));
    INFO("order " << which);
    const bool none = world.east.inbound.empty() && world.west.inbound.empty() &&
                      world.east.outbound.empty() && world.west.outbound.empty() && !world.east.up &&
                      !world.west.up;
    CHECK((world.settled() || none));
    CHECK(world.east.ike_sas() == 1);
    CHECK(world.complaints == std::vector<std::string>{});
  }
}

TEST_CASE("one closes the IKE SA while the other rekeys the child or the IKE SA: nothing stays") {
  for (const Act act : {rekey_child, rekey_ike}) {
    for (unsigned which = 0; which < Interleavings::kCount; which += 2 * kStride) {
      World world;
      REQUIRE(world.establish());
      world.run(milliseconds(50));
      Interleavings(which).apply(world);
      act(world.east, world.now);
      world.run(milliseconds(which % 4 * 4));
      world.west.daemon->terminate(0, {Failure::operator_request, "reset"}, world.now);
      world.run(seconds(200));
      INFO("order " << which);
      CHECK(world.east.inbound.empty());
      CHECK(world.west.inbound.empty());
      CHECK(world.east.ike_sas() == 0);
      CHECK(world.west.ike_sas() == 0);
      CHECK(!world.east.up);
      CHECK(world.complaints == std::vector<std::string>{});
    }
  }
}

TEST_CASE("one rekeys the IKE SA, and closes it at once: nothing stays, and soon") {
  for (const bool both : {false, true}) {
    for (unsigned which = 0; which < Interleavings::kCount; which += 4 * kStride) {
      World world;
      REQUIRE(world.establish());
      world.run(milliseconds(50));
      Interleavings(which).apply(world);
      rekey_ike(world.east, world.now);
      if (both) rekey_ike(world.west, world.now);
      world.run(milliseconds(which % 4 * 4));
      world.east.daemon->terminate(0, {Failure::operator_request, "reset"}, world.now);
      world.run(seconds(8));
      INFO("order " << which << ", both " << both);
      CHECK(!world.west.up);
      world.run(seconds(80));
      CHECK(world.east.ike_sas() == 0);
      CHECK(world.west.ike_sas() == 0);
      CHECK(world.east.inbound.empty());
      CHECK(world.west.inbound.empty());
      CHECK(world.complaints == std::vector<std::string>{});
    }
  }
}

TEST_CASE("both close the IKE SA at once, in every order of arrival") {
  for (unsigned which = 0; which < Interleavings::kCount; which += 2 * kStride) {
    World world;
    REQUIRE(world.establish());
    Interleavings(which).apply(world);
    world.east.daemon->terminate(0, {Failure::operator_request, "reset"}, world.now);
    world.west.daemon->terminate(0, {Failure::operator_request, "reset"}, world.now);
    world.run(seconds(100));
    CHECK(world.east.ike_sas() + world.west.ike_sas() == 0);
    CHECK(world.complaints == std::vector<std::string>{});
  }
}

TEST_CASE("a child that reaches its end without a rekey is deleted, and told in words") {
  conf::Tunnel east = east_tunnel();
  east.child_lifetime = seconds(100);
  World world(one(std::move(east)));
  REQUIRE(world.establish());
  world.fate = [](const Datagram&) { return std::vector<milliseconds>{}; };
  world.run(seconds(140));
  CHECK(!world.east.up);
  CHECK(world.east.said("no answer to"));
}

}  // namespace
}  // namespace espgate::test
