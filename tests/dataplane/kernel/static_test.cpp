// The configured routes as iproute2 finds them in the kernel's table.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <functional>

#include "dataplane/kernel/learned_routes.hpp"
#include "dataplane/kernel/static_routes.hpp"
#include "tests/dataplane/host/desk.hpp"
#include "tests/dataplane/kernel/namespace.hpp"

using namespace espgate;
using namespace espgate::test;
using channel::CommandKind;
using channel::CommandStatus;
using channel::RouteKind;
using dataplane::StaticRoutes;

namespace {

// A gateway with tunnels 3, 4 and 5; all but the last, and the port lan, have twins.
struct Gateway {
  explicit Gateway(std::uint32_t max_routes = 1024) : desk(1, 2047, max_routes) {
    conf::Port port;
    port.kernel = port.name = "lan";
    port.addresses = desk.interfaces[kLan].addresses;
    desk.twins.add_port(kLan, port);
    desk.twins.port_changed(kLan, true);
  }
  // All that the control process says when it comes; `more` says what else.
  void sync(const std::function<void()>& more = [] {}) {
    CHECK(desk.run(command(CommandKind::sync_begin)) == CommandStatus::ok);
    for (const std::uint32_t index : {3U, 4U, 5U}) add_tunnel(index);
    more();
    CHECK(desk.run(command(CommandKind::sync_end)) == CommandStatus::ok);
    serve();
  }
  void add_tunnel(std::uint32_t index) {
    channel::Command command = set_tunnel(index);
    if (index != 5) command.body.set_tunnel.kernel = name("vti" + std::to_string(index));
    CHECK(desk.run(command) == CommandStatus::ok);
    (void)desk.run(install_outbound(index, 0xc0000000 + index));  // it may have it already
    (void)desk.sent();
  }
  void route(std::string_view to, RouteKind kind, std::uint32_t index = 0, std::string_view via = "") {
    CHECK(desk.run(set_route(to, kind, index, via)) == CommandStatus::ok);
    serve();
  }
  void unroute(std::string_view to) {
    channel::Command remove = command(CommandKind::remove_route);
    remove.body.remove_route.destination = *parse_prefix(to);
    CHECK(desk.run(remove) == CommandStatus::ok);
    serve();
  }
  void group(std::uint32_t index, const std::vector<channel::GroupMember>& members) {
    channel::Command set = set_group(index, {});
    for (const channel::GroupMember& member : members)
      set.body.set_group.members[set.body.set_group.member_count++] = member;
    CHECK(desk.run(set) == CommandStatus::ok);
  }
  void serve() {
    do desk.kernel_routes.serve(desk.now);
    while (desk.kernel_routes.busy());
  }
  Desk desk;
};

// Ours, as iproute2 prints them, one after the other.
std::string shown(const char* to = nullptr) {
  const auto all = [&](const std::string& family) {
    return "ip " + family + " route show proto 229" + (to != nullptr ? " exact " + std::string(to) : "") +
           "; ";
  };
  std::string command;
  if (to == nullptr || parse_prefix(to)->address.is_v4()) command += all("-4");
  if (to == nullptr || parse_prefix(to)->address.is_v6()) command += all("-6");
  std::string text = NetworkNamespace::run(
      "(" + command + ") | tr -s '\\n\\t ' ' ' | sed 's/ pref medium//g; s/ linkdown//g; s/ dev lo / /g'");
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

}  // namespace

TEST_CASE("Configured routes are in the kernel's table, where it can say them") {
  const NetworkNamespace space;
  Gateway gateway;
  gateway.sync([&] {
    gateway.route("10.9.0.0/16", RouteKind::tunnel, 3);
    gateway.route("fd00:9::/48", RouteKind::tunnel, 4);
    gateway.route("10.8.0.0/16", RouteKind::gateway, 0, "10.1.0.9");
    gateway.route("fd00:8::/48", RouteKind::gateway, 0, "fd00:1::9");
    gateway.route("10.7.0.0/16", RouteKind::blackhole);
    gateway.route("fd00:7::/48", RouteKind::blackhole);
    gateway.route("10.6.0.0/16", RouteKind::tunnel, 5);                // no twin
    gateway.route("10.5.0.0/16", RouteKind::gateway, 0, "192.0.2.9");  // nor has the port
    CHECK(shown().empty());  // until all is said, to find out what a process before has left
  });
  CHECK(shown("10.9.0.0/16") == "10.9.0.0/16 dev vti3 metric 10");
  CHECK(shown("fd00:9::/48") == "fd00:9::/48 dev vti4 metric 10");
  CHECK(shown("10.8.0.0/16") == "10.8.0.0/16 via 10.1.0.9 dev lan metric 10 onlink");
  CHECK(shown("fd00:8::/48") == "fd00:8::/48 via fd00:1::9 dev lan metric 10 onlink");
  CHECK(shown("10.7.0.0/16") == "blackhole 10.7.0.0/16 metric 10");
  CHECK(shown("fd00:7::/48") == "blackhole fd00:7::/48 metric 10");
  CHECK(shown("10.6.0.0/16").empty());
  CHECK(shown("10.5.0.0/16").empty());
  CHECK(gateway.desk.kernel_routes.refused() == 0);
  SECTION("they are not learned from there") {
    dataplane::LearnedRoutes learned{{gateway.desk.ribs, gateway.desk.slow_path.resolver(),
                                      gateway.desk.interfaces, gateway.desk.groups, gateway.desk.twins},
                                     kMainTable};
    do (void)learned.serve(gateway.desk.now);
    while (learned.busy());
    CHECK(learned.size() == 0);
  }
  SECTION("each kind becomes each other kind") {
    for (const char* to : {"10.9.0.0/16", "fd00:9::/48"}) {
      const bool v4 = to[0] == '1';
      gateway.route(to, RouteKind::blackhole);
      CHECK(shown(to) == "blackhole " + std::string(to) + " metric 10");
      gateway.route(to, RouteKind::gateway, 0, v4 ? "10.1.0.9" : "fd00:1::9");
      CHECK(shown(to).find("via") != std::string::npos);
      gateway.route(to, RouteKind::tunnel, 4);
      CHECK(shown(to) == std::string(to) + " dev vti4 metric 10");
      gateway.route(to, RouteKind::tunnel, 5);
      CHECK(shown(to).empty());
    }
  }
  SECTION("removed") {
    for (const char* to : {"10.9.0.0/16", "fd00:9::/48", "10.8.0.0/16", "10.7.0.0/16", "fd00:7::/48"}) {
      gateway.unroute(to);
      CHECK(shown(to).empty());
    }
  }
  SECTION("a tunnel is removed") {
    channel::Command remove = command(CommandKind::remove_tunnel);
    remove.body.remove_tunnel.index = 3;
    REQUIRE(gateway.desk.run(remove) == CommandStatus::ok);
    gateway.serve();
    CHECK(shown("10.9.0.0/16").empty());
    gateway.add_tunnel(3);
    gateway.route("10.9.0.0/16", RouteKind::tunnel, 3);
    CHECK(shown("10.9.0.0/16") == "10.9.0.0/16 dev vti3 metric 10");
  }
  SECTION("the control process comes again, and says less") {
    gateway.sync([&] { gateway.route("fd00:9::/48", RouteKind::tunnel, 3); });
    CHECK(shown() == "fd00:9::/48 dev vti3 metric 10");
  }
}

TEST_CASE("A route into a group is one to the members that have its flows, with their weights") {
  const NetworkNamespace space;
  Gateway gateway;
  const auto lost = [&](std::uint32_t tunnel) {
    CHECK(gateway.desk.run(remove_sa(CommandKind::remove_outbound_sa, tunnel, 0xc0000000 + tunnel)) ==
          CommandStatus::ok);
    gateway.serve();
  };
  const auto into_group = [&](const std::vector<channel::GroupMember>& members) {
    gateway.sync([&] {
      gateway.group(0, members);
      gateway.route("10.9.0.0/16", RouteKind::group, 0);
      gateway.route("fd00:9::/48", RouteKind::group, 0);
    });
  };
  SECTION("weights") {
    into_group({{3, {}, 1, 1}, {4, {}, 1, 256}, {5, {}, 1, 1}});
    CHECK(shown("10.9.0.0/16") ==
          "10.9.0.0/16 metric 10 nexthop dev vti3 weight 1 nexthop dev vti4 weight 255");
    CHECK(shown("fd00:9::/48") == "fd00:9::/48 dev vti3 metric 10");  // Linux would not take both
    lost(3);
    CHECK(shown("10.9.0.0/16") == "10.9.0.0/16 dev vti4 metric 10");
    CHECK(shown("fd00:9::/48") == "fd00:9::/48 dev vti4 metric 10");
    lost(4);
    lost(5);  // nobody is up: what is sent there must not go elsewhere
    CHECK(shown("10.9.0.0/16").find("nexthop dev vti3 weight 1") != std::string::npos);
    gateway.add_tunnel(3);
    gateway.add_tunnel(4);
    gateway.serve();
    CHECK(shown("fd00:9::/48") == "fd00:9::/48 dev vti3 metric 10");  // Linux would not take both
  }
  SECTION("priorities") {
    into_group({{3, {}, 1, 1}, {4, {}, 2, 1}});
    CHECK(shown("10.9.0.0/16") == "10.9.0.0/16 dev vti3 metric 10");
    lost(3);
    CHECK(shown("10.9.0.0/16") == "10.9.0.0/16 dev vti4 metric 10");
  }
  SECTION("a gateway beside a tunnel, of its own family") {
    into_group({{3, {}, 1, 1}, {0, *parse_address("10.1.0.9"), 1, 1}});
    CHECK(shown("10.9.0.0/16").find("nexthop via 10.1.0.9 dev lan weight 1 onlink") != std::string::npos);
    CHECK(shown("fd00:9::/48") == "fd00:9::/48 dev vti3 metric 10");
  }
  SECTION("gateways") {
    into_group({{0, *parse_address("fd00:1::9"), 1, 1}, {0, *parse_address("fd00:1::8"), 1, 3}});
    CHECK(shown("10.9.0.0/16").empty());
    CHECK(shown("fd00:9::/48") ==
          "fd00:9::/48 metric 10 nexthop via fd00:1::8 dev lan weight 3 onlink nexthop via fd00:1::9 dev lan "
          "weight 1 onlink");
  }
}

TEST_CASE("Routes are found again by the next process, and blackholes go with this one") {
  const NetworkNamespace space;
  const auto table = [](Gateway& gateway, std::uint32_t index) {
    gateway.route("10.9.0.0/16", RouteKind::tunnel, index);
    gateway.group(0, {{3, {}, 1, 1}, {4, {}, 1, 1}});
    gateway.route("fd00:9::/48", RouteKind::group, 0);
    gateway.route("10.7.0.0/16", RouteKind::blackhole);
  };
  std::map<std::string, channel::Fd> kept;
  const auto keep = [&](const std::string& name, int fd) {
    return kept.emplace(name, channel::Fd(dup(fd))).second;
  };
  std::string before;
  {
    Gateway gateway;
    gateway.sync([&] { table(gateway, 3); });
    before = shown();
    gateway.desk.twins.entrust(1, keep);
  }
  CHECK(shown("10.9.0.0/16") == "10.9.0.0/16 dev vti3 metric 10");
  CHECK(shown("10.7.0.0/16").empty());
  (void)NetworkNamespace::run("ip route add blackhole 10.6.0.0/16 proto 229 metric 10");  // after a crash
  (void)NetworkNamespace::run("ip -6 route add fd00:6::/48 dev vti3 proto 229 metric 10");
  (void)NetworkNamespace::run("ip route add blackhole 10.5.0.0/16 proto 229 metric 11");  // not ours
  const std::string others = "blackhole 10.5.0.0/16 metric 11";
  SECTION("the same ones") {
    Gateway gateway;
    gateway.sync([&] { table(gateway, 3); });
    (void)NetworkNamespace::run("ip route del blackhole 10.5.0.0/16 proto 229");
    CHECK(shown() == before);
  }
  SECTION("others") {
    Gateway gateway;
    gateway.sync([&] { gateway.route("10.9.0.0/16", RouteKind::tunnel, 4); });
    CHECK(shown() == others + " 10.9.0.0/16 dev vti4 metric 10");
  }
  SECTION("no twins any more") {
    kept.clear();
    Gateway gateway;
    gateway.sync([&] { table(gateway, 3); });
    CHECK(shown("10.9.0.0/16") == "10.9.0.0/16 dev vti3 metric 10");
    CHECK(shown("fd00:6::/48").empty());
  }
}

TEST_CASE("What the kernel does not take is counted, and tried again") {
  const NetworkNamespace space;
  Gateway gateway;
  gateway.sync();
  (void)NetworkNamespace::run(
      "ip route add 10.9.0.0/16 dev lan proto static metric 10; ip link set vti4 down");
  gateway.route("10.9.0.0/16", RouteKind::tunnel, 3);
  gateway.route("10.8.0.0/16", RouteKind::tunnel, 4);
  CHECK(gateway.desk.kernel_routes.refused() == 2);
  CHECK(shown().empty());
  (void)NetworkNamespace::run("ip route del 10.9.0.0/16 proto static; ip link set vti4 up");
  gateway.desk.now += StaticRoutes::kRetry;
  gateway.serve();
  CHECK(gateway.desk.kernel_routes.refused() == 0);
  CHECK(shown("10.9.0.0/16") == "10.9.0.0/16 dev vti3 metric 10");
  CHECK(shown("10.8.0.0/16") == "10.8.0.0/16 dev vti4 metric 10");
  gateway.unroute("10.9.0.0/16");
  CHECK(shown("10.9.0.0/16").empty());
}

TEST_CASE("Routes that the kernel takes with a link or an address are put there again") {
  const NetworkNamespace space;
  Gateway gateway;
  dataplane::LearnedRoutes learned{{gateway.desk.ribs, gateway.desk.slow_path.resolver(),
                                    gateway.desk.interfaces, gateway.desk.groups, gateway.desk.twins},
                                   kMainTable};
  const auto follow = [&] {
    do (void)learned.serve(gateway.desk.now += kSecond / 10);
    while (learned.busy());
    gateway.serve();
  };
  const auto run = [](const std::string& command) { (void)NetworkNamespace::run(command); };
  gateway.sync([&] {
    gateway.group(0, {{3, {}, 1, 1}, {4, {}, 1, 1}});
    gateway.route("10.9.0.0/16", RouteKind::tunnel, 3);
    gateway.route("fd00:9::/48", RouteKind::tunnel, 3);
    gateway.route("10.6.0.0/16", RouteKind::group, 0);
    gateway.route("10.8.0.0/16", RouteKind::gateway, 0, "10.1.0.9");
    gateway.route("fd00:8::/48", RouteKind::gateway, 0, "fd00:1::9");
    gateway.route("10.7.0.0/16", RouteKind::blackhole);
  });
  follow();
  const std::string before = shown();
  const std::string lan = NetworkNamespace::run("ip -brief addr show dev lan | sed 's/UNKNOWN/UP/'");
  SECTION("down and up at once") {
    for (const char* link : {"vti3", "vti3", "lan"}) {
      run("ip link set " + std::string(link) + " down; ip link set " + link + " up");
      CHECK(shown() != before);
      follow();
      CHECK(shown() == before);
    }
    CHECK(NetworkNamespace::run("ip -brief addr show dev lan | sed 's/UNKNOWN/UP/'") == lan);
  }
  SECTION("down for a while") {
    run("ip link set vti3 down");
    follow();
    CHECK(shown("10.9.0.0/16").empty());
    CHECK(gateway.desk.kernel_routes.refused() == 0);  // there is no hurry
    run("ip link set vti3 up");
    follow();
    CHECK(shown() == before);
  }
  SECTION("every member of a group") {
    run("ip link set vti3 down; ip link set vti4 down");
    follow();
    CHECK(shown("10.6.0.0/16").empty());
    run("ip link set vti3 up; ip link set vti4 up");
    follow();
    CHECK(shown() == before);
  }
  SECTION("the last address goes") {
    run("ip -4 addr flush dev vti3");
    CHECK(shown("10.9.0.0/16").empty());
    follow();
    CHECK(shown("10.9.0.0/16") == "10.9.0.0/16 dev vti3 metric 10");
  }
  SECTION("the configuration has another address") {
    channel::Command other = set_tunnel(3);
    other.body.set_tunnel.kernel = name("vti3");
    other.body.set_tunnel.addresses[0] = *parse_prefix("169.254.77.1/30");
    CHECK(gateway.desk.run(other) == CommandStatus::ok);
    follow();
    CHECK(shown() == before);
  }
  SECTION("somebody else's is in its place meanwhile") {
    run("ip link set vti3 down; ip route add 10.9.0.0/16 dev lan proto static metric 10; ip link set vti3 "
        "up");
    follow();
    CHECK(shown("10.9.0.0/16").empty());
    CHECK(gateway.desk.kernel_routes.refused() == 1);
    run("ip route del 10.9.0.0/16 proto static");
    gateway.desk.now += StaticRoutes::kRetry;
    follow();
    CHECK(shown() == before);
  }
}

TEST_CASE("Configured routes of a table are in the network namespace of its twins") {
  const NetworkNamespace space;
  const NamedNamespace red("espgate-test-red-static");
  constexpr TableId kRed = 1;
  Gateway gateway;
  Desk& desk = gateway.desk;
  desk.twins.settle_in(kRed, red.name);
  const auto route_in = [&](TableId table, std::string_view to, RouteKind kind, std::uint32_t tunnel = 0) {
    channel::Command wanted = set_route(to, kind, tunnel);
    wanted.body.set_route.table = wanted.body.set_route.via_table = table;
    CHECK(desk.run(wanted) == CommandStatus::ok);
  };
  gateway.sync([&] {
    channel::Command tunnel = set_tunnel(6);
    tunnel.body.set_tunnel.overlay = kRed;
    tunnel.body.set_tunnel.kernel = name("vti3");  // as one of the main table's
    CHECK(desk.run(tunnel) == CommandStatus::ok);
    (void)desk.run(install_outbound(6, 0xc0000006));
    gateway.route("10.9.0.0/16", RouteKind::tunnel, 3);
    route_in(kRed, "10.9.0.0/16", RouteKind::tunnel, 6);
    route_in(kRed, "10.8.0.0/16", RouteKind::blackhole);
  });
  const auto shown_in_red = [&] {
    return NetworkNamespace::run(
        red.in("ip route show proto 229 | tr -s '\\n\\t ' ' ' | sed 's/ linkdown//g'"));
  };
  CHECK(shown() == "10.9.0.0/16 dev vti3 metric 10");
  CHECK(shown_in_red() == "blackhole 10.8.0.0/16 metric 10 10.9.0.0/16 dev vti3 metric 10 ");
  channel::Command remove = command(CommandKind::remove_route);
  remove.body.remove_route.destination = *parse_prefix("10.9.0.0/16");
  remove.body.remove_route.table = kRed;
  CHECK(desk.run(remove) == CommandStatus::ok);
  gateway.serve();
  CHECK(shown() == "10.9.0.0/16 dev vti3 metric 10");
  CHECK(shown_in_red() == "blackhole 10.8.0.0/16 metric 10 ");
  SECTION("another process finds what the one before has left there") {
    StaticRoutes next(desk.tables, desk.groups, desk.twins);
    next.complete();
    do next.serve(desk.now);
    while (next.busy());
    CHECK(shown().empty());
    CHECK(shown_in_red().empty());
  }
}

TEST_CASE("Many configured routes are written bit by bit") {
  const NetworkNamespace space;
  constexpr unsigned kMany = 20'000;
  Gateway gateway(kMany + 1024);
  gateway.sync();
  for (unsigned i = 0; i < kMany; i++)
    gateway.desk.kernel_routes.want(kMainTable, *parse_prefix(fmt::format("20.{}.{}.0/24", i / 256, i % 256)),
                                    {NextHopKind::tunnel, 0, 0, 3});
  unsigned calls = 0;
  std::chrono::steady_clock::duration longest{};
  const auto begin = std::chrono::steady_clock::now();
  do {
    const auto before = std::chrono::steady_clock::now();
    gateway.desk.kernel_routes.serve(gateway.desk.now);
    longest = std::max(longest, std::chrono::steady_clock::now() - before);
    calls++;
  } while (gateway.desk.kernel_routes.busy());
  const double all = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  WARN("20,000 routes: " << all << " s; a call at most " << std::chrono::duration<double>(longest).count());
  CHECK(calls > 20);
  CHECK(NetworkNamespace::run("ip route show proto 229 | wc -l") == std::to_string(kMany) + "\n");
}
