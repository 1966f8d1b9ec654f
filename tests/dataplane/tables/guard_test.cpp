// Guarded candidates against a model that works everything out anew, over random changes.
#include <catch2/catch.hpp>

#include <map>
#include <random>
#include <set>
#include <tuple>

#include "dataplane/tables/rib.hpp"
#include "dataplane/tables/routes.hpp"
#include "tests/dataplane/rig.hpp"

using namespace espgate;
using namespace espgate::dataplane;

namespace {

constexpr NextHop kTunnel{NextHopKind::tunnel, 0, 0, 3};
constexpr NextHop kPort{NextHopKind::connected, 1, 0, 0};

Rib::Origin learned(std::uint32_t metric) { return {RouteSource::learned, metric}; }

struct Table {
  Table() : routes(rcu, Routes::Size{1000, true}), rib(routes) {}
  [[nodiscard]] NextHop to(const char* address) const { return routes.find_one(*parse_address(address)); }
  void set(const char* prefix, NextHop hop, std::uint32_t metric = 0) {
    REQUIRE(rib.set(*parse_prefix(prefix), learned(metric), hop, hop == kTunnel));
    rib.commit();
  }
  void remove(const char* prefix, std::uint32_t metric = 0) {
    CHECK(rib.remove(*parse_prefix(prefix), learned(metric)));
    rib.commit();
  }
  [[nodiscard]] std::set<std::string> held() const {
    std::set<std::string> words;
    for (const Rib::Held& each : rib.held())
      words.insert(to_string(each.destination) + " for " + to_string(*each.far_end));
    return words;
  }
  const bool eal = (test::start_eal(), true);
  Rcu rcu{1};
  Routes routes;
  Rib rib;
};

using Words = std::set<std::string>;

}  // namespace

TEST_CASE("A learned route into a tunnel is held back while it would be the way to a far end") {
  Table table;
  table.set("10.99.0.0/24", kPort);
  table.set("10.99.0.1/32", kTunnel);
  CHECK(table.to("10.99.0.1") == kTunnel);  // of nobody's interest
  table.rib.set_far_end(*parse_address("10.99.0.1"), true);
  table.rib.commit();
  CHECK(table.to("10.99.0.1") == kPort);
  CHECK(table.held() == Words{"10.99.0.1/32 for 10.99.0.1"});
  const auto news = table.rib.take_held();
  REQUIRE(news.size() == 1);
  CHECK(news[0].far_end == parse_address("10.99.0.1"));
  // One that is a little worse takes its place, if it leads elsewhere.
  table.set("10.99.0.1/32", kPort, 7);
  CHECK(table.to("10.99.0.1") == kPort);
  table.remove("10.99.0.1/32", 7);
  // Nobody's far end any more.
  table.rib.set_far_end(*parse_address("10.99.0.1"), false);
  table.rib.commit();
  CHECK(table.to("10.99.0.1") == kTunnel);
  CHECK(table.held().empty());
}

TEST_CASE("A default route into the tunnel is good for as long as the far end has another way") {
  Table table;
  table.rib.set_far_end(*parse_address("203.0.113.1"), true);
  table.rib.set_far_end(*parse_address("2001:db8::1"), true);
  table.set("203.0.113.0/24", kPort);
  table.set("0.0.0.0/0", kTunnel);
  CHECK(table.to("8.8.8.8") == kTunnel);
  CHECK(table.to("203.0.113.1") == kPort);
  CHECK(table.held().empty());
  table.remove("203.0.113.0/24");
  CHECK(table.to("8.8.8.8") == NextHop{});
  CHECK(table.held() == Words{"0.0.0.0/0 for 203.0.113.1"});
  (void)table.rib.take_held();
  table.set("203.0.113.0/28", kPort);
  CHECK(table.to("8.8.8.8") == kTunnel);
  const auto news = table.rib.take_held();
  REQUIRE(news.size() == 1);
  CHECK_FALSE(news[0].far_end);
  table.set("::/0", kTunnel);
  CHECK(table.held() == Words{"::/0 for 2001:db8::1"});
}

TEST_CASE("Whatever comes and goes, no guarded route is the way to a far end, and no other is held back") {
  const unsigned seed = GENERATE(1U, 2U, 3U, 4U);
  std::mt19937 random(seed);
  const auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
  Table table;
  std::map<std::tuple<IpPrefix, Rib::Origin>, NextHop> model;
  std::set<IpAddress> far_ends;
  const auto address = [&] {
    IpAddress out;
    out.family = below(2) == 0 ? Family::v4 : Family::v6;
    for (std::size_t i = 0; i < 4; i++) out.bytes[i] = static_cast<std::uint8_t>(below(2) * 0x80);
    return out;
  };
  const auto covers = [](const IpPrefix& prefix, const IpAddress& to) {
    return prefix.address.family == to.family && network_of({to, prefix.length}) == prefix;
  };
  for (int step = 0; step < 3000; step++) {
    const IpPrefix prefix = network_of({address(), static_cast<std::uint8_t>(below(33))});
    const Rib::Origin origin{below(4) == 0 ? RouteSource::configured : RouteSource::learned, below(3)};
    const IpAddress far_end = address();
    switch (below(5)) {
      case 0:
      case 1: {
        const NextHop hop = below(2) == 0 && origin.source == RouteSource::learned ? kTunnel : kPort;
        REQUIRE(table.rib.set(prefix, origin, hop, hop == kTunnel));
        model[{prefix, origin}] = hop;
        break;
      }
      case 2:
        CHECK(table.rib.remove(prefix, origin) == (model.erase({prefix, origin}) != 0));
        break;
      case 3:
        if (far_ends.size() > 6) break;
        far_ends.insert(far_end);
        table.rib.set_far_end(far_end, true);
        break;
      default:
        if (far_ends.erase(far_end) != 0) table.rib.set_far_end(far_end, false);
    }
    if (below(3) != 0) continue;
    table.rib.commit();
    // By the meaning of the words: for each far end, in the order of a lookup, all guarded before the first
    // that is not.
    std::set<std::tuple<IpPrefix, Rib::Origin>> held;
    for (const IpAddress& end : far_ends) {
      std::map<std::tuple<int, Rib::Origin>, IpPrefix> ways;
      for (const auto& [place, hop] : model)
        if (covers(std::get<0>(place), end))
          ways[{-std::get<0>(place).length, std::get<1>(place)}] = std::get<0>(place);
      for (const auto& [order, to] : ways) {
        const std::tuple place(to, std::get<1>(order));
        if (model[place] != kTunnel) break;
        held.insert(place);
      }
    }
    CHECK(table.rib.held().size() == held.size());
    std::set<IpAddress> asked = far_ends;
    for (int i = 0; i < 20; i++) asked.insert(address());
    for (const IpAddress& to : asked) {
      std::map<std::tuple<int, Rib::Origin>, NextHop> ways;
      for (const auto& [place, hop] : model)
        if (covers(std::get<0>(place), to) && !held.contains(place))
          ways[{-std::get<0>(place).length, std::get<1>(place)}] = hop;
      CHECK(table.routes.find_one(to) == (ways.empty() ? NextHop{} : ways.begin()->second));
      if (far_ends.contains(to)) CHECK(table.routes.find_one(to) != kTunnel);
    }
  }
}
