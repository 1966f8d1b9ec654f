// A wire that loses, repeats and reorders; peers that die.
#include <catch2/catch.hpp>

#include "world.hpp"

namespace espgate::test {
namespace {

constexpr unsigned kScenarioDatagrams = 34;

// Set-up, then a rekey of each kind from each side, with inner traffic as soon as there is a tunnel.
void scenario(World& world) {
  world.east.retry = world.west.retry = true;
  world.east.initiate();
  world.run(seconds(100), [&world] { return world.settled(); });
  world.run(seconds(40));
  world.start_traffic();
  const auto child = [](Gateway& g) {
    return g.outbound.empty() ? 0U : g.outbound.begin()->second.inbound_spi;
  };
  world.east.daemon->rekey_child(child(world.east), world.now);
  world.run(seconds(50));
  world.west.daemon->rekey_ike(0, world.now);
  world.run(seconds(50));
  world.west.daemon->rekey_child(child(world.west), world.now);
  world.run(seconds(50));
  world.east.daemon->rekey_ike(0, world.now);
  world.run(seconds(110));
}

TEST_CASE("any one datagram may be lost") {
  for (unsigned n = 0; n <= kScenarioDatagrams; ++n) {
    World world;
    world.fate = [n](const Datagram& d) {
      return d.number == n ? std::vector<milliseconds>{} : std::vector{milliseconds(10)};
    };
    scenario(world);
    INFO("datagram " << n);
    CHECK(world.settled());
    CHECK(world.lost == 0);
    CHECK(world.complaints == std::vector<std::string>{});
    CHECK(world.east.downs.empty());
  }
}

TEST_CASE("every datagram comes three times, the last much later") {
  World world;
  world.fate = [](const Datagram&) {
    return std::vector{milliseconds(10), milliseconds(12), milliseconds(3000)};
  };
  scenario(world);
  CHECK(world.settled());
  CHECK(world.lost == 0);
  CHECK(world.complaints == std::vector<std::string>{});
}

TEST_CASE("one in five datagrams is lost, others are late or double: 1,000 times over") {
  unsigned rekeyed = 0;
  for (unsigned seed = 0; seed < 1000; seed += kStride) {
    World world;
    std::mt19937 dice(seed);
    world.fate = [&dice](const Datagram&) {
      if (dice() % 5 == 0) return std::vector<milliseconds>{};
      std::vector<milliseconds> copies{milliseconds(1 + dice() % 200)};
      if (dice() % 10 == 0) copies.emplace_back(1 + dice() % 2000);
      return copies;
    };
    world.east.retry = world.west.retry = true;
    world.east.initiate();
    if (seed % 2 == 0) world.west.initiate();
    world.run(seconds(200));
    if (world.east.up) world.east.daemon->rekey_child(world.east.inbound.begin()->first, world.now);
    if (world.west.up && seed % 3 == 0)
      world.west.daemon->rekey_child(world.west.inbound.begin()->first, world.now);
    world.run(seconds(100));
    if (world.east.up) world.east.daemon->rekey_ike(0, world.now);
    world.run(seconds(160));
    world.fate = {};
    world.run(seconds(200), [&world] { return world.settled(); });
    INFO("seed " << seed);
    CHECK(world.settled());
    CHECK(world.complaints == std::vector<std::string>{});
    rekeyed += world.east.sending.count(0) != 0 && world.east.downs.empty() ? 1 : 0;
  }
  // With DPD about 60 exchanges each time: one in ten finds six losses in a row and begins anew.
  CHECK(rekeyed > 750 / kStride);
}

TEST_CASE("a dead peer is noticed, unless packets still come from it") {
  World world;
  REQUIRE(world.establish());
  world.fate = [](const Datagram&) { return std::vector<milliseconds>{}; };
  SECTION("silence") {
    world.run(seconds(60));
    REQUIRE(world.east.downs.size() == 1);
    CHECK(world.east.downs.front().failure == Failure::dpd_timeout);
    CHECK(world.east.downs.front().summary == "no answer to DPD for 24 s");
    CHECK(world.east.inbound.empty());
    CHECK(world.east.ike_sas() == 0);
  }
  SECTION("inner traffic counts as life") {
    world.start_traffic();
    const unsigned before = world.sent;
    world.run(seconds(100));
    CHECK(world.sent == before);
    CHECK(world.east.up);
  }
}

TEST_CASE("DPD asks only after silence") {
  World world;
  REQUIRE(world.establish());
  const unsigned before = world.sent;
  world.run(seconds(95));
  CHECK(world.sent - before >= 16);  // nine or so exchanges, whoever asks
  CHECK(world.sent - before <= 40);
  CHECK(world.settled());
}

TEST_CASE("a peer that comes back is connected to again") {
  World world;
  REQUIRE(world.establish());
  world.run(seconds(3));
  world.east.retry = true;
  world.west.restart();
  world.run(seconds(60));
  CHECK(world.settled());
}

TEST_CASE("replayed and reflected messages change nothing") {
  World world;
  std::vector<Datagram> seen;
  world.fate = [&seen](const Datagram& d) {
    seen.push_back(d);
    return std::vector{milliseconds(10)};
  };
  REQUIRE(world.establish());
  world.start_traffic();
  world.east.daemon->rekey_child(world.east.inbound.begin()->first, world.now);
  world.run(seconds(8));
  world.west.daemon->rekey_ike(0, world.now);
  world.run(seconds(8));
  world.fate = [](const Datagram&) { return std::vector<milliseconds>{}; };  // answers go nowhere
  for (const Datagram& d : seen) {
    for (Gateway* g : {&world.east, &world.west}) {
      g->daemon->received(d.to, d.from, d.bytes, world.now);
      g->daemon->received(d.from, d.to, d.bytes, world.now);
    }
  }
  CHECK(world.lost == 0);
  CHECK(world.east.up);
  world.fate = {};
  world.run(seconds(40));
  CHECK(world.settled());
  CHECK(world.lost == 0);
}

}  // namespace
}  // namespace espgate::test
