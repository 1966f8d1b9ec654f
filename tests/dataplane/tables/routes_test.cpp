// Routes against a model that looks at every prefix in turn, while a reader goes on looking up.
#include <catch2/catch.hpp>

#include <atomic>
#include <map>
#include <random>
#include <thread>

#include "dataplane/tables/rib.hpp"
#include "dataplane/tables/routes.hpp"
#include "tests/dataplane/rig.hpp"

using namespace espgate;
using namespace espgate::dataplane;

namespace {

constexpr std::uint32_t kMaxRoutes = 2000;

// Longest prefix first, by comparing bits one at a time.
class Model {
 public:
  std::map<IpPrefix, NextHop> routes;

  [[nodiscard]] NextHop find(const IpAddress& address) const {
    NextHop best;
    int length = -1;
    for (const auto& [prefix, hop] : routes)
      if (prefix.length > length && matches(prefix, address)) {
        best = hop;
        length = prefix.length;
      }
    return best;
  }

 private:
  static bool bit(const IpAddress& address, unsigned at) {
    return (address.bytes[at / 8] >> (7 - at % 8) & 1) != 0;
  }
  static bool matches(const IpPrefix& prefix, const IpAddress& address) {
    if (prefix.address.family != address.family) return false;
    for (unsigned i = 0; i < prefix.length; i++)
      if (bit(prefix.address, i) != bit(address, i)) return false;
    return true;
  }
};

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  unsigned below(unsigned n) { return static_cast<unsigned>(engine_() % n); }

  // Few different bytes, so that prefixes nest and addresses hit them.
  IpAddress address() {
    IpAddress out;
    out.family = below(2) == 0 ? Family::v4 : Family::v6;
    const std::size_t bytes = out.is_v4() ? 4 : 16;
    for (std::size_t i = 0; i < bytes; i++) {
      static constexpr std::uint8_t kBytes[] = {0, 1, 0x7f, 0x80, 0xff};
      out.bytes[i] = i < 2 || below(3) != 0 ? kBytes[below(5)] : static_cast<std::uint8_t>(below(256));
    }
    return out;
  }
  IpPrefix prefix() {
    const IpAddress at = address();
    return {at, static_cast<std::uint8_t>(below(at.is_v4() ? 33 : 129))};
  }
  NextHop hop() { return {NextHopKind::tunnel, 0, 0, below(300)}; }

 private:
  std::mt19937 engine_;
};

IpPrefix cleared(const IpPrefix& prefix) {
  IpPrefix out = prefix;
  for (unsigned i = prefix.length; i < 128; i++)
    out.address.bytes[i / 8] = static_cast<std::uint8_t>(out.address.bytes[i / 8] & ~(0x80 >> i % 8));
  return out;
}

void compare(const Routes& routes, const Model& model, Random& random, int lookups) {
  for (int i = 0; i < lookups; i++) {
    const IpAddress address = random.address();
    const NextHop expected = model.find(address);
    const NextHop found = routes.find_one(address);
    if (!(found == expected)) {
      CAPTURE(to_string(address), found.index, expected.index);
      REQUIRE(found == expected);
    }
  }
}

// Looks up until told to stop; every answer must be one that was ever set.
void read_all_the_time(Routes& routes, Rcu& rcu, std::atomic<bool>& stop, std::atomic<bool>& wrong) {
  Random random(99);
  rcu.online(0);
  while (!stop) {
    for (int i = 0; i < 64; i++) {
      const NextHop hop = routes.find_one(random.address());
      if (hop.kind != NextHopKind::none && (hop.kind != NextHopKind::tunnel || hop.index >= 300))
        wrong = true;
    }
    rcu.quiet(0);
  }
  rcu.offline(0);
}

}  // namespace

TEST_CASE("random changes agree with the model while a worker looks up") {
  test::start_eal();
  Rcu rcu(1);
  const bool tree = GENERATE(false, true);
  Routes routes(rcu, Routes::Size{kMaxRoutes, tree});
  Model model;
  std::atomic<bool> stop{false};
  std::atomic<bool> wrong{false};
  std::thread reader([&] { read_all_the_time(routes, rcu, stop, wrong); });
  Random random(1);
  for (int round = 0; round < 60; round++) {
    for (int change = 0; change < 25; change++) {
      if (random.below(3) == 0 && !model.routes.empty()) {
        auto victim = model.routes.begin();
        std::advance(victim, random.below(static_cast<unsigned>(model.routes.size())));
        CHECK(routes.remove(victim->first));
        model.routes.erase(victim);
      } else {
        const IpPrefix prefix = random.prefix();
        const NextHop hop = random.hop();
        CHECK(routes.set(prefix, hop));
        model.routes[cleared(prefix)] = hop;
      }
    }
    routes.commit();
    compare(routes, model, random, 200);
  }
  for (const auto& [prefix, hop] : model.routes) CHECK(routes.remove(prefix));
  routes.commit();
  model.routes.clear();
  compare(routes, model, random, 200);
  stop = true;
  reader.join();
  CHECK_FALSE(wrong);
}

TEST_CASE("a change is not seen before its commit") {
  test::start_eal();
  Rcu rcu(1);
  Routes routes(rcu, 16);
  const IpPrefix prefix = *parse_prefix("10.1.0.0/16");
  const IpAddress inside = *parse_address("10.1.2.3");
  CHECK(routes.set(prefix, {NextHopKind::tunnel, 0, 0, 7}));
  CHECK(routes.find_one(inside).kind == NextHopKind::none);
  routes.commit();
  CHECK(routes.find_one(inside).index == 7);
  CHECK(routes.remove(prefix));
  CHECK(routes.find_one(inside).index == 7);
  routes.commit();
  CHECK(routes.find_one(inside).kind == NextHopKind::none);
  CHECK_FALSE(routes.remove(prefix));
}

TEST_CASE("a default route around two halves takes nothing from them") {
  test::start_eal();
  Rcu rcu(1);
  Routes routes(rcu, 16);
  // What DPDK 22.11's FIB, left to itself, gets wrong.
  CHECK(routes.set(*parse_prefix("0.0.0.0/1"), {NextHopKind::tunnel, 0, 0, 1}));
  CHECK(routes.set(*parse_prefix("128.0.0.0/1"), {NextHopKind::tunnel, 0, 0, 2}));
  CHECK(routes.set(*parse_prefix("0.0.0.0/0"), {NextHopKind::tunnel, 0, 0, 3}));
  CHECK(routes.set(*parse_prefix("::/1"), {NextHopKind::tunnel, 0, 0, 4}));
  CHECK(routes.set(*parse_prefix("8000::/1"), {NextHopKind::tunnel, 0, 0, 5}));
  CHECK(routes.set(*parse_prefix("::/0"), {NextHopKind::tunnel, 0, 0, 6}));
  routes.commit();
  CHECK(routes.find_one(*parse_address("10.0.0.1")).index == 1);
  CHECK(routes.find_one(*parse_address("192.0.2.1")).index == 2);
  CHECK(routes.find_one(*parse_address("2001:db8::1")).index == 4);
  CHECK(routes.find_one(*parse_address("fd00::1")).index == 5);
  CHECK(routes.remove(*parse_prefix("128.0.0.0/1")));
  CHECK(routes.remove(*parse_prefix("8000::/1")));
  routes.commit();
  CHECK(routes.find_one(*parse_address("192.0.2.1")).index == 3);
  CHECK(routes.find_one(*parse_address("fd00::1")).index == 6);
}

TEST_CASE("long prefixes may come and go around shorter ones for ever") {
  test::start_eal();
  Rcu rcu(1);
  Routes routes(rcu, 300);
  const NextHop hop{NextHopKind::tunnel, 0, 0, 1};
  // DPDK 22.11 counts a block for the /32 that it never gives back, or gives back one that it never counted.
  for (int order = 0; order < 2; order++)
    for (int i = 0; i < 700; i++) {
      const std::string net = "10." + std::to_string(i % 250) + ".7.";
      const IpPrefix shorter = *parse_prefix(net + "0/24");
      const IpPrefix longer = *parse_prefix(net + "1/32");
      REQUIRE(routes.set(order == 0 ? longer : shorter, hop));
      REQUIRE(routes.set(order == 0 ? shorter : longer, hop));
      REQUIRE(routes.remove(order == 0 ? longer : shorter));
      REQUIRE(routes.remove(order == 0 ? shorter : longer));
      if (i % 7 == 0) routes.commit();
    }
  CHECK(routes.set(*parse_prefix("10.9.7.1/32"), {NextHopKind::tunnel, 0, 0, 2}));
  routes.commit();
  CHECK(routes.find_one(*parse_address("10.9.7.1")).index == 2);
  CHECK(routes.find_one(*parse_address("10.9.7.2")).kind == NextHopKind::none);
}

TEST_CASE("a table without blocks for long prefixes says so, and keeps what it has") {
  test::start_eal();
  Rcu rcu(1);
  Routes routes(rcu, 300);  // 300 blocks for IPv4
  // IPv6 has room for 4096 blocks, and a /128 on its own takes 13 of them.
  unsigned taken = 0;
  const auto far_apart = [](unsigned i) {
    IpAddress address = *parse_address("2001:db8::1");
    address.bytes[0] = static_cast<std::uint8_t>(i);
    address.bytes[1] = static_cast<std::uint8_t>(i >> 8);
    return address;
  };
  for (unsigned i = 0; i < 600; i++)
    taken += routes.set({far_apart(i), 128}, {NextHopKind::tunnel, 0, 0, i}) ? 1 : 0;
  routes.commit();
  CHECK(taken >= 250);
  CHECK(taken <= 300);
  for (unsigned i = 0; i < taken; i++) REQUIRE(routes.find_one(far_apart(i)).index == i);
  CHECK(routes.find_one(far_apart(599)).kind == NextHopKind::none);
  CHECK(routes.remove({far_apart(3), 128}));
  CHECK(routes.set({far_apart(599), 128}, {NextHopKind::tunnel, 0, 0, 599}));
  routes.commit();
  CHECK(routes.find_one(far_apart(599)).index == 599);
}

TEST_CASE("a full table refuses and stays as it was") {
  test::start_eal();
  Rcu rcu(1);
  const bool tree = GENERATE(false, true);
  Routes routes(rcu, Routes::Size{4, tree});
  for (std::uint32_t i = 0; i < 4; i++)
    CHECK(routes.set({v4_from_host_order(i << 24), 8}, {NextHopKind::tunnel, 0, 0, i}));
  const IpPrefix one_more = *parse_prefix("99.0.0.0/8");
  CHECK_FALSE(routes.set(one_more, {NextHopKind::tunnel, 0, 0, 9}));
  routes.commit();
  CHECK(routes.find_one(*parse_address("99.1.1.1")).kind == NextHopKind::none);
  CHECK(routes.exact(one_more) == nullptr);
  // One that is there may still change.
  CHECK(routes.set({v4_from_host_order(3U << 24), 8}, {NextHopKind::tunnel, 0, 0, 33}));
  routes.commit();
  CHECK(routes.find_one(*parse_address("3.1.1.1")).index == 33);
}

TEST_CASE("next hops are used again after their routes are gone") {
  test::start_eal();
  Rcu rcu(1);
  Routes routes(rcu, 16);
  const IpPrefix prefix = *parse_prefix("10.0.0.0/8");
  // More distinct next hops over time than a FIB has values for.
  for (std::uint32_t i = 0; i < 33'000; i++) {
    if (!routes.set(prefix, {NextHopKind::tunnel, 0, 0, i})) FAIL("full at " << i);
    routes.commit();
  }
  CHECK(routes.find_one(*parse_address("10.1.1.1")).index == 32'999);
}

TEST_CASE("the best candidate of a prefix wins, and the next one takes over") {
  test::start_eal();
  Rcu rcu(1);
  Routes routes(rcu, 16);
  Rib rib(routes);
  const IpPrefix prefix = *parse_prefix("10.0.0.0/8");
  const IpAddress inside = *parse_address("10.1.1.1");
  const NextHop configured{NextHopKind::tunnel, 0, 0, 1};
  const NextHop connected{NextHopKind::connected, 2, 0, 0};
  CHECK_FALSE(rib.commit().any);
  CHECK(rib.set(prefix, {RouteSource::configured, 0}, configured));
  CHECK(rib.commit().any);
  CHECK(routes.find_one(inside) == configured);
  CHECK(rib.set(prefix, {RouteSource::connected, 2}, connected));
  CHECK(rib.commit().any);
  CHECK(routes.find_one(inside) == connected);
  CHECK(rib.set(prefix, {RouteSource::configured, 0}, {NextHopKind::tunnel, 0, 0, 5}));
  CHECK_FALSE(rib.commit().any);  // not the best: nothing that workers see
  CHECK(routes.find_one(inside) == connected);
  CHECK(rib.remove(prefix, {RouteSource::connected, 2}));
  CHECK(rib.commit().any);
  CHECK(routes.find_one(inside).index == 5);
  CHECK(rib.remove(prefix, {RouteSource::configured, 0}));
  CHECK_FALSE(rib.remove(prefix, {RouteSource::configured, 0}));
  CHECK(rib.commit().any);
  CHECK(routes.find_one(inside).kind == NextHopKind::none);
}

TEST_CASE("a commit tells to which far ends the way may be another") {
  test::start_eal();
  Rcu rcu(1);
  Routes routes(rcu, 16);
  Rib rib(routes);
  const IpAddress near = *parse_address("192.0.2.1"), far = *parse_address("198.51.100.1"),
                  other = *parse_address("2001:db8::1");
  using FarEnds = std::set<IpAddress>;
  for (const IpAddress& each : {near, far, other}) rib.set_far_end(each, true);
  CHECK(rib.commit().far_ends == FarEnds{near, far, other});
  const auto after = [&](const char* prefix, bool there) {
    const Rib::Origin origin{RouteSource::configured, 0};
    if (there) REQUIRE(rib.set(*parse_prefix(prefix), origin, {NextHopKind::connected, 1, 0, 0}));
    if (!there) REQUIRE(rib.remove(*parse_prefix(prefix), origin));
    return rib.commit().far_ends;
  };
  CHECK(after("198.51.100.0/24", true) == FarEnds{far});
  CHECK(after("203.0.113.0/24", true).empty());
  CHECK(after("0.0.0.0/0", true) == FarEnds{near, far});
  CHECK(after("::/0", true) == FarEnds{other});
  CHECK(after("198.51.100.0/24", false) == FarEnds{far});
  CHECK(after("203.0.113.0/24", false).empty());
  CHECK(rib.commit().far_ends.empty());
  rib.set_far_end(far, false);
  CHECK(rib.commit().far_ends == FarEnds{far});
  CHECK(after("0.0.0.0/0", false) == FarEnds{near});
}

TEST_CASE("more next hops than 15 bits can name") {
  test::start_eal();
  Rcu rcu(1);
  constexpr std::uint32_t kMany = 40000;
  Routes routes(rcu, kMany, kMany);
  for (std::uint32_t i = 0; i < kMany; i++)
    REQUIRE(routes.set({v4_from_host_order(0x10000000 + (i << 8)), 24}, {NextHopKind::tunnel, 0, 0, i}));
  CHECK_FALSE(routes.set(*parse_prefix("10.0.0.0/8"), {NextHopKind::tunnel, 0, 0, 1}));
  routes.commit();
  for (std::uint32_t i = 0; i < kMany; i += 77)
    REQUIRE(routes.find_one(v4_from_host_order(0x10000000 + (i << 8) + 5)) ==
            NextHop{NextHopKind::tunnel, 0, 0, i});
}

// DPDK counts three blocks for each /48 and five for each /64, whether some are shared or not, and keeps one.
TEST_CASE("many long prefixes of IPv6, where there are blocks for them") {
  test::start_eal();
  const std::uint8_t length = GENERATE(std::uint8_t{48}, std::uint8_t{64});
  const std::uint32_t many = length == 48 ? 100'000 : 60'000;  // what the tests' memory holds
  const std::uint32_t sites = length == 48 ? many : 600;
  Rcu rcu(1);
  Routes routes(rcu, Routes::Size{many, false, many * (length / 8U - 3) + 1});
  const auto prefix_of = [&](std::uint32_t i) {
    IpAddress address = *parse_address("2000::");
    const std::uint32_t site = (i % sites) * 131;  // 24 bits of their own
    for (unsigned byte = 0; byte < 3; byte++)
      address.bytes[byte] = static_cast<std::uint8_t>(site >> (16 - 8 * byte));
    if (length == 64) address.bytes[6] = static_cast<std::uint8_t>(i / sites);
    return IpPrefix{address, length};
  };
  for (std::uint32_t i = 0; i < many; i++)
    if (!routes.set(prefix_of(i), {NextHopKind::tunnel, 0, 0, i % 30'000})) FAIL("full at " << i);
  routes.commit();
  REQUIRE(routes.all().size() == many);
  for (std::uint32_t i = 0; i < many; i++) {
    IpAddress inside = prefix_of(i).address;
    inside.bytes[15] = 9;
    if (routes.find_one(inside).index != i % 30'000) FAIL(to_string(inside));
    inside.bytes[5] ^= 0x80;
    if (routes.find_one(inside).kind != NextHopKind::none) FAIL("beside " << to_string(inside));
  }
}
