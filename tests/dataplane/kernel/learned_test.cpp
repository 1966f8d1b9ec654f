// Routes that iproute2 puts into the kernel and that lead out of twins: what our own tables make of them.
#include <dlfcn.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>
#include <random>
#include <set>
#include <thread>

#include "dataplane/kernel/learned_routes.hpp"
#include "tests/dataplane/host/desk.hpp"
#include "tests/dataplane/kernel/namespace.hpp"

using namespace espgate;
using namespace espgate::test;
using channel::CommandKind;
using channel::CommandStatus;
using channel::RouteKind;

namespace {

constexpr std::uint64_t kMs = 1'000'000;

// What goes wrong, once, when the kernel is to tell all of its routes.
enum class Fault { none, asked, told, ended };
Fault fault = Fault::none;

// Happens, once, just before the kernel is asked for all of its routes.
std::function<void()> before_asked;

nlmsghdr* spoilt(void* first, int left) {
  for (auto* message = static_cast<nlmsghdr*>(first); NLMSG_OK(message, left);
       message = NLMSG_NEXT(message, left)) {
    const unsigned wanted = fault == Fault::told ? RTM_NEWROUTE : NLMSG_DONE;
    if (message->nlmsg_type == wanted && (message->nlmsg_flags & NLM_F_MULTI) != 0) return message;
  }
  return nullptr;
}

// Until nothing more comes.
void follow(Desk& desk, dataplane::LearnedRoutes& learned) {
  for (int quiet = 0; quiet < 3;) {
    desk.now += 60 * kMs;
    const bool changed = learned.serve(desk.now);
    if (changed) desk.commands.settle(desk.now);
    quiet = changed || learned.busy() ? 0 : quiet + 1;
  }
}

// A gateway with twins of tunnels 3 and 4 and of the port lan.
struct Gateway {
  explicit Gateway(std::uint32_t max_routes = 1024) : desk(1, 2047, max_routes) {
    for (const std::uint32_t index : {3U, 4U}) add_tunnel(index);
    conf::Port port;
    port.kernel = port.name = "lan";
    port.addresses = desk.interfaces[kLan].addresses;
    desk.twins.add_port(kLan, port);
    desk.twins.port_changed(kLan, true);
    follow();
  }
  void add_tunnel(std::uint32_t index) {
    channel::Command command = set_tunnel(index);
    command.body.set_tunnel.kernel = name("vti" + std::to_string(index));
    REQUIRE(desk.run(command) == CommandStatus::ok);
    REQUIRE(desk.run(install_outbound(index, 0xc0000000 + index)) == CommandStatus::ok);
    (void)desk.sent();
  }
  void follow() { ::follow(desk, learned); }
  void run(const std::string& command) {
    (void)NetworkNamespace::run(command);
    follow();
  }
  [[nodiscard]] NextHop to(std::string_view address) const {
    return desk.tables.routes(kMainTable).find_one(*parse_address(address));
  }
  // The members of the group that a route leads to, with their buckets; empty: it leads to no group.
  using Shares = std::map<std::string, unsigned>;
  [[nodiscard]] Shares shares(std::string_view address) const {
    const NextHop hop = to(address);
    if (hop.kind != NextHopKind::group) return {};
    const dataplane::Group* const group = desk.tables.groups[hop.index].load();
    REQUIRE(group != nullptr);
    Shares shares;
    for (const std::uint8_t place : group->buckets.member)
      if (place != dataplane::Buckets::kNobody) shares[name_of(group->members[place])]++;
    return shares;
  }
  [[nodiscard]] std::string name_of(NextHop hop) const {
    if (hop.kind == NextHopKind::tunnel) return "tunnel " + std::to_string(hop.index);
    REQUIRE(hop.kind == NextHopKind::gateway);
    return to_string(desk.tables.neighbours.entry(hop.index).address);
  }
  Desk desk;
  dataplane::LearnedRoutes learned{
      {desk.ribs, desk.slow_path.resolver(), desk.interfaces, desk.groups, desk.twins}, kMainTable};
};

NextHop into(std::uint32_t tunnel) { return {NextHopKind::tunnel, 0, 0, tunnel}; }
const NextHop kNowhere{};

std::string batch(const std::string& verb, unsigned count, const std::string& more) {
  const std::string path = "/tmp/espgate-routes-" + std::to_string(getpid());
  std::ofstream file(path);
  for (unsigned i = 0; i < count; i++)
    file << "route " << verb << " " << 20 + i / 65536 << "." << i / 256 % 256 << "." << i % 256 << ".0/24 "
         << more << "\n";
  return "ip -batch " + path + "; rm " + path;
}

double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

// In place of the C library's, between libnl and the kernel.
extern "C" ssize_t recvmsg(int socket, msghdr* message, int flags) {
  static const auto real = reinterpret_cast<decltype(&recvmsg)>(dlsym(RTLD_NEXT, "recvmsg"));
  const ssize_t length = real(socket, message, flags);
  if (length <= 0 || (fault != Fault::told && fault != Fault::ended)) return length;
  nlmsghdr* const bad = spoilt(message->msg_iov[0].iov_base, static_cast<int>(length));
  if (bad == nullptr) return length;
  const int error = -ENOBUFS;
  if (fault == Fault::told) bad->nlmsg_type = NLMSG_ERROR;
  std::memcpy(NLMSG_DATA(bad), &error, sizeof error);
  fault = Fault::none;
  return length;
}

extern "C" ssize_t sendmsg(int socket, const msghdr* message, int flags) {
  static const auto real = reinterpret_cast<decltype(&sendmsg)>(dlsym(RTLD_NEXT, "sendmsg"));
  const auto* const head = static_cast<const nlmsghdr*>(message->msg_iov[0].iov_base);
  if (before_asked && head->nlmsg_type == RTM_GETROUTE) std::exchange(before_asked, nullptr)();
  if (fault != Fault::asked || head->nlmsg_type != RTM_GETROUTE) return real(socket, message, flags);
  fault = Fault::none;
  errno = ENOBUFS;
  return -1;
}

TEST_CASE("A route out of a tunnel's twin leads into that tunnel") {
  const NetworkNamespace space;
  Gateway gateway;
  gateway.run("ip route add 10.9.0.0/16 dev vti3; ip -6 route add fd00:9::/48 dev vti4 proto bird");
  CHECK(gateway.to("10.9.1.1") == into(3));
  CHECK(gateway.to("fd00:9::1") == into(4));
  gateway.run("ip route add 10.9.7.0/24 via 169.254.4.2");
  CHECK(gateway.to("10.9.7.1") == into(4));
  CHECK(gateway.learned.size() == 3);
  SECTION("replaced") {
    gateway.run("ip route replace 10.9.0.0/16 dev vti4; ip -6 route replace fd00:9::/48 dev vti3");
    CHECK(gateway.to("10.9.1.1") == into(4));
    CHECK(gateway.to("fd00:9::1") == into(3));
    CHECK(gateway.learned.size() == 3);
  }
  SECTION("withdrawn") {
    gateway.run("ip route del 10.9.0.0/16; ip -6 route del fd00:9::/48");
    CHECK(gateway.to("10.9.1.1") == kNowhere);
    CHECK(gateway.to("fd00:9::1") == kNowhere);
  }
  SECTION("the lowest metric counts") {
    gateway.run("ip route add 10.9.0.0/16 dev vti4 metric 20; ip route add 10.8.0.0/16 dev vti3 metric 30");
    gateway.run("ip route add 10.8.0.0/16 dev vti4 metric 20");
    CHECK(gateway.to("10.9.1.1") == into(3));
    CHECK(gateway.to("10.8.1.1") == into(4));
    gateway.run("ip route del 10.9.0.0/16 dev vti3; ip route del 10.8.0.0/16 dev vti4");
    CHECK(gateway.to("10.9.1.1") == into(4));
    CHECK(gateway.to("10.8.1.1") == into(3));
  }
  SECTION("what is configured comes first") {
    REQUIRE(gateway.desk.run(set_route("10.9.0.0/16", RouteKind::tunnel, 4)) == CommandStatus::ok);
    CHECK(gateway.to("10.9.1.1") == into(4));
    channel::Command remove = command(CommandKind::remove_route);
    remove.body.remove_route.destination = *parse_prefix("10.9.0.0/16");
    REQUIRE(gateway.desk.run(remove) == CommandStatus::ok);
    CHECK(gateway.to("10.9.1.1") == into(3));
  }
  SECTION("the interface goes down, of which the kernel tells nothing for each route") {
    gateway.run("ip link set vti3 down");
    CHECK(gateway.to("10.9.1.1") == kNowhere);
    CHECK(gateway.to("10.9.7.1") == into(4));
  }
  SECTION("the tunnel goes, and another one takes its place at once") {
    channel::Command remove = command(CommandKind::remove_tunnel);
    remove.body.remove_tunnel.index = 3;
    REQUIRE(gateway.desk.run(remove) == CommandStatus::ok);
    CHECK(gateway.to("10.9.1.1") == kNowhere);
    gateway.add_tunnel(3);
    gateway.follow();
    CHECK(gateway.to("10.9.1.1") == kNowhere);
  }
}

TEST_CASE("Routes out of a port's twin: by gateways on its link, and nothing else") {
  const NetworkNamespace space;
  Gateway gateway;
  gateway.run("ip route add 10.9.0.0/16 dev lan; ip route add default via 10.1.0.9");
  gateway.run("ip -6 route add fd00:9::/48 via fd00:1::9; ip -6 route add fd00:8::/48 via fe80::9 dev lan");
  CHECK(gateway.to("10.9.1.1").kind == NextHopKind::gateway);  // by the default route
  const auto neighbour = [&](std::string_view address) {
    const NextHop hop = gateway.to(address);
    REQUIRE(hop.kind == NextHopKind::gateway);
    return to_string(gateway.desk.tables.neighbours.entry(hop.index).address);
  };
  CHECK(neighbour("203.0.113.1") == "10.1.0.9");
  CHECK(neighbour("fd00:9::1") == "fd00:1::9");
  CHECK(neighbour("fd00:8::1") == "fe80::9");
  gateway.run("ip route del default");
  CHECK(gateway.to("203.0.113.1") == kNowhere);
  CHECK(gateway.to("10.9.1.1") == kNowhere);
}

TEST_CASE("Blackholes are ours, too, and other people's routes are not") {
  const NetworkNamespace space;
  Gateway gateway;
  gateway.run("ip route add blackhole 10.9.0.0/16; ip -6 route add unreachable fd00:9::/48");
  CHECK(gateway.to("10.9.1.1").kind == NextHopKind::blackhole);
  CHECK(gateway.to("fd00:9::1").kind == NextHopKind::blackhole);
  gateway.run("ip link add other type veth peer name far; ip link set other up; ip link set far up");
  gateway.run("ip route add 10.8.0.0/16 dev other; ip route add 10.7.0.0/16 dev vti3 table 99");
  gateway.run("ip route add 10.6.0.0/16 dev vti3 proto 229");  // we have put it there
  for (const char* address : {"10.8.1.1", "10.7.1.1", "10.6.1.1"}) CHECK(gateway.to(address) == kNowhere);
  gateway.run("ip route replace 10.8.0.0/16 dev vti3");
  CHECK(gateway.to("10.8.1.1") == into(3));
  gateway.run("ip route replace 10.8.0.0/16 dev other");
  CHECK(gateway.to("10.8.1.1") == kNowhere);
}

TEST_CASE("Next-hop objects, and what changes behind a route") {
  const NetworkNamespace space;
  Gateway gateway;
  gateway.run(
      "ip nexthop add id 1 dev vti3; ip route add 10.9.0.0/16 nhid 1; ip route add 10.8.0.0/16 nhid 1");
  CHECK(gateway.to("10.9.1.1") == into(3));
  gateway.run("ip nexthop replace id 1 dev vti4");
  CHECK(gateway.to("10.9.1.1") == into(4));
  CHECK(gateway.to("10.8.1.1") == into(4));
  gateway.run("ip nexthop del id 1");
  CHECK(gateway.to("10.9.1.1") == kNowhere);
  CHECK(gateway.learned.size() == 0);
}

TEST_CASE("Several next hops are a group, with the kernel's weights") {
  const NetworkNamespace space;
  Gateway gateway;
  gateway.run("ip route add 10.9.0.0/16 nexthop dev vti3 weight 3 nexthop dev vti4 weight 1");
  gateway.run("ip -6 route add fd00:9::/48 nexthop via fe80::9 dev vti3 nexthop via fe80::9 dev vti4");
  using Shares = Gateway::Shares;
  const Shares even{{"tunnel 3", 256}, {"tunnel 4", 256}};
  CHECK(gateway.shares("10.9.1.1") == Shares{{"tunnel 3", 384}, {"tunnel 4", 128}});
  CHECK(gateway.shares("fd00:9::1") == even);
  SECTION("those with the same next hops have the same group") {
    gateway.run("ip route add 10.8.0.0/16 nexthop dev vti4 nexthop dev vti3");
    CHECK(gateway.to("10.8.1.1") == gateway.to("fd00:9::1"));
  }
  SECTION("several by one tunnel are one member with the sum of the weights") {
    gateway.run(
        "ip route replace 10.9.0.0/16 nexthop via 169.254.3.2 dev vti3 nexthop via 169.254.3.9 dev vti3 "
        "onlink "
        "nexthop dev vti4 weight 2");
    CHECK(gateway.shares("10.9.1.1") == even);
    gateway.run(
        "ip route replace 10.9.0.0/16 nexthop via 169.254.3.2 nexthop via 169.254.3.9 dev vti3 onlink");
    CHECK(gateway.to("10.9.1.1") == into(3));
  }
  SECTION("replaced by one") {
    gateway.run("ip route replace 10.9.0.0/16 dev vti4; ip -6 route replace fd00:9::/48 dev vti3");
    CHECK(gateway.to("10.9.1.1") == into(4));
    CHECK(gateway.to("fd00:9::1") == into(3));
  }
  SECTION("withdrawn") {
    gateway.run("ip route del 10.9.0.0/16; ip -6 route del fd00:9::/48");
    CHECK(gateway.to("10.9.1.1") == kNowhere);
    CHECK(gateway.to("fd00:9::1") == kNowhere);
  }
  SECTION("one interface is down, and up again") {
    gateway.run("ip link set vti3 down");
    CHECK(gateway.to("10.9.1.1") == into(4));
    CHECK(gateway.to("fd00:9::1") == into(4));
    gateway.run("ip link set vti3 up");
    CHECK(gateway.shares("10.9.1.1") == Shares{{"tunnel 3", 384}, {"tunnel 4", 128}});
  }
  SECTION("one tunnel goes: its flows are the other's at once, whatever the kernel says later") {
    channel::Command remove = command(CommandKind::remove_tunnel);
    remove.body.remove_tunnel.index = 3;
    REQUIRE(gateway.desk.run(remove) == CommandStatus::ok);
    CHECK(gateway.shares("10.9.1.1") == Shares{{"tunnel 4", 512}});
    gateway.add_tunnel(3);
    CHECK(gateway.shares("fd00:9::1") == Shares{{"tunnel 4", 512}});
    gateway.follow();
    gateway.run("ip route replace 10.9.0.0/16 nexthop dev vti3 nexthop dev vti4");
    CHECK(gateway.shares("10.9.1.1") == even);
  }
}

TEST_CASE("A route of three next hops that loses one moves the flows of that one alone") {
  const NetworkNamespace space;
  Gateway gateway;
  gateway.add_tunnel(5);
  const auto flows = [&gateway] {
    const dataplane::Group& group = *gateway.desk.tables.groups[gateway.to("10.9.1.1").index].load();
    std::vector<std::string> found;
    for (const std::uint8_t place : group.buckets.member)
      found.push_back(gateway.name_of(group.members[place]));
    return found;
  };
  gateway.run("ip route add 10.9.0.0/16 nexthop dev vti3 nexthop dev vti4 nexthop dev vti5");
  const auto before = flows();
  gateway.run("ip route replace 10.9.0.0/16 nexthop dev vti5 nexthop dev vti3");
  const auto after = flows();
  for (std::size_t b = 0; b < before.size(); b++)
    if (before[b] != "tunnel 4") REQUIRE(after[b] == before[b]);
  gateway.run("ip route replace 10.9.0.0/16 nexthop dev vti4 nexthop dev vti3 nexthop dev vti5");
  CHECK(flows() == before);
}

TEST_CASE("A group's members may be gateways, and next hops that are not ours are none") {
  const NetworkNamespace space;
  Gateway gateway;
  gateway.run("ip link add other type veth peer name far; ip link set other up; ip link set far up");
  gateway.run(
      "ip route add 10.9.0.0/16 nexthop via 10.1.0.9 weight 2 nexthop dev other nexthop via 10.1.0.10 "
      "nexthop dev vti3");
  CHECK(gateway.shares("10.9.1.1") ==
        Gateway::Shares{{"10.1.0.9", 256}, {"10.1.0.10", 128}, {"tunnel 3", 128}});
  // Nobody answers ARP: the gateways have failed, and the neighbours stay pinned, so that they are asked.
  gateway.desk.wait(5 * kSecond);
  gateway.desk.groups.poll() ? gateway.desk.commands.settle(gateway.desk.now) : void();
  CHECK(gateway.shares("10.9.1.1") == Gateway::Shares{{"tunnel 3", 512}});
  gateway.desk.wait(100 * kSecond);
  CHECK(gateway.desk.tables.neighbours.find(kLan, *parse_address("10.1.0.10")) != dataplane::kNoNeighbour);
  gateway.run("ip route replace 10.9.0.0/16 nexthop dev other nexthop via 10.1.0.10");
  CHECK(gateway.name_of(gateway.to("10.9.1.1")) == "10.1.0.10");
  gateway.desk.wait(100 * kSecond);
  CHECK(gateway.desk.tables.neighbours.find(kLan, *parse_address("10.1.0.10")) != dataplane::kNoNeighbour);
  CHECK(gateway.desk.tables.neighbours.find(kLan, *parse_address("10.1.0.9")) == dataplane::kNoNeighbour);
  gateway.run("ip route del 10.9.0.0/16");
  gateway.desk.wait(100 * kSecond);
  CHECK(gateway.desk.tables.neighbours.find(kLan, *parse_address("10.1.0.10")) == dataplane::kNoNeighbour);
}

TEST_CASE("Groups of next-hop objects") {
  const NetworkNamespace space;
  Gateway gateway;
  gateway.run("ip nexthop add id 1 dev vti3; ip nexthop add id 2 dev vti4");
  gateway.run("ip nexthop add id 10 group 1,3/2,1; ip route add 10.9.0.0/16 nhid 10");
  CHECK(gateway.shares("10.9.1.1") == Gateway::Shares{{"tunnel 3", 384}, {"tunnel 4", 128}});
  gateway.run("ip nexthop replace id 10 group 1/2");
  CHECK(gateway.shares("10.9.1.1") == Gateway::Shares{{"tunnel 3", 256}, {"tunnel 4", 256}});
  gateway.run("ip nexthop replace id 10 group 2");
  CHECK(gateway.to("10.9.1.1") == into(4));
  gateway.run("ip nexthop replace id 10 group 1/2; ip nexthop del id 2");
  CHECK(gateway.to("10.9.1.1") == into(3));
}

TEST_CASE("Next-hop objects go with their link's carrier, of which the kernel tells nothing for each route") {
  const NetworkNamespace space;
  Gateway gateway;
  gateway.run(
      "ip nexthop add id 1 dev vti3; ip route add 10.9.0.0/16 nhid 1; ip route add 10.0.0.0/8 dev vti4");
  CHECK(gateway.to("10.9.1.1") == into(3));
  REQUIRE(gateway.desk.run(remove_sa(CommandKind::remove_outbound_sa, 3, 0xc0000003)) == CommandStatus::ok);
  for (int i = 0; i < 200 && !NetworkNamespace::run("ip route show 10.9.0.0/16").empty(); i++)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  gateway.follow();
  CHECK(gateway.to("10.9.1.1") == into(4));
}

TEST_CASE("Next hops that come and go one by one") {
  const NetworkNamespace space;
  Gateway gateway;
  const Gateway::Shares even{{"tunnel 3", 256}, {"tunnel 4", 256}};
  gateway.run(
      "ip -6 route add fd00:9::/48 via fe80::9 dev vti3; ip -6 route append fd00:9::/48 via fe80::9 dev "
      "vti4");
  CHECK(gateway.shares("fd00:9::1") == even);
  gateway.run("ip -6 route del fd00:9::/48 via fe80::9 dev vti3");
  CHECK(gateway.to("fd00:9::1") == into(4));
  gateway.run("ip -6 route append fd00:9::/48 via fe80::9 dev vti3");
  CHECK(gateway.shares("fd00:9::1") == even);
  gateway.run("ip -6 route del fd00:9::/48 via fe80::9 dev vti4");
  CHECK(gateway.to("fd00:9::1") == into(3));
  gateway.run("ip -6 route del fd00:9::/48 via fe80::9 dev vti3");
  CHECK(gateway.to("fd00:9::1") == kNowhere);
}

TEST_CASE("A route that is replaced by one of a kind that is not followed is gone") {
  const NetworkNamespace space;
  Gateway gateway;
  gateway.run("ip route add 10.9.0.0/16 dev vti3; ip -6 route add fd00:9::/48 via fe80::9 dev vti3");
  REQUIRE(gateway.to("10.9.1.1") == into(3));
  REQUIRE(gateway.to("fd00:9::1") == into(3));
  SECTION("throw") {
    gateway.run("ip route replace throw 10.9.0.0/16; ip -6 route replace throw fd00:9::/48");
    CHECK(gateway.learned.size() == 0);
    CHECK(gateway.to("10.9.1.1") == kNowhere);
    CHECK(gateway.to("fd00:9::1") == kNowhere);
    gateway.run("ip route replace 10.9.0.0/16 dev vti4");
    CHECK(gateway.to("10.9.1.1") == into(4));
  }
  SECTION("something around packets") {
    gateway.run("ip route replace 10.9.0.0/16 encap ip id 5 dst 10.5.5.5 dev vti4");
    CHECK(gateway.to("10.9.1.1") == kNowhere);
    gateway.run("ip route replace 10.9.0.0/16 nexthop encap ip id 5 dst 10.5.5.5 dev vti3 nexthop dev vti4");
    CHECK(gateway.to("10.9.1.1") == into(4));
  }
  SECTION("what is ours in the kernel") {
    gateway.run("ip route replace 10.9.0.0/16 dev vti4 proto 229");
    CHECK(gateway.to("10.9.1.1") == kNowhere);
  }
}

TEST_CASE("Of routes with one destination and metric the kernel's first is used, by events and told anew") {
  const NetworkNamespace space;
  Gateway gateway;
  gateway.run("ip link add other type veth peer name far; ip link set other up; ip link set far up");
  const auto both = [&](NextHop v4, NextHop v6) {
    for (const char* again : {"true", "ip nexthop add id 7 dev lo; ip nexthop del id 7"}) {
      gateway.run(again);
      CHECK(gateway.to("10.9.1.1") == v4);
      CHECK(gateway.to("fd00:9::1") == v6);
    }
  };
  SECTION("appended") {
    gateway.run("ip route add 10.9.0.0/16 dev vti3; ip route append 10.9.0.0/16 dev vti4");
    gateway.run("ip -6 route add fd00:9::/48 dev vti3; ip -6 route append fd00:9::/48 dev vti4");
    both(into(3), into(3));
    gateway.run("ip route del 10.9.0.0/16 dev vti3; ip -6 route del fd00:9::/48 dev vti3");
    both(into(4), into(4));
  }
  SECTION("put before") {
    gateway.run("ip route add 10.9.0.0/16 dev vti3; ip route prepend 10.9.0.0/16 dev vti4");
    both(into(4), kNowhere);
    gateway.run("ip route replace 10.9.0.0/16 dev vti4 proto bird; ip route del 10.9.0.0/16 dev vti4");
    both(into(3), kNowhere);
  }
  SECTION("behind one that is none of ours") {
    gateway.run("ip route add 10.9.0.0/16 dev other; ip route append 10.9.0.0/16 dev vti4");
    both(kNowhere, kNowhere);
    gateway.run("ip route del 10.9.0.0/16 dev other");
    both(into(4), kNowhere);
  }
}

namespace {

// Where the kernel sends what has this destination: the tunnels of its first route.
std::set<std::string> kernel_way(const std::string& family, const std::string& to) {
  const nlohmann::json all = NetworkNamespace::ip(family + " route show " + to);
  if (all.empty()) return {};
  const nlohmann::json& first = all.front();
  const std::string type = first.value("type", "unicast");
  if (type == "blackhole" || type == "unreachable") return {"blackhole"};
  if (type != "unicast" || first.contains("encap")) return {};
  std::set<std::string> tunnels;
  const auto add = [&](const nlohmann::json& hop) {
    const std::string device = hop.value("dev", "");
    if (device.starts_with("vti")) tunnels.insert("tunnel " + device.substr(3));
  };
  add(first);
  for (const nlohmann::json& hop : first.value("nexthops", nlohmann::json::array())) add(hop);
  return tunnels;
}

std::set<std::string> our_way(const Gateway& gateway, const char* address) {
  const NextHop hop = gateway.to(address);
  if (hop.kind == NextHopKind::none) return {};
  if (hop.kind == NextHopKind::blackhole) return {"blackhole"};
  if (hop.kind != NextHopKind::group) return {gateway.name_of(hop)};
  std::set<std::string> members;
  for (const auto& [name, buckets] : gateway.shares(address)) members.insert(name);
  return members;
}

}  // namespace

TEST_CASE(
    "After any sequence of changes, also of those that come while all is told, the kernel's way is ours") {
  const NetworkNamespace space;
  Gateway gateway;
  gateway.run("ip link add other type veth peer name far; ip link set other up; ip link set far up");
  std::mt19937 random(GENERATE(values({1U, 2U, 3U, 17U, 38U})));
  const std::vector<std::string> verbs{"add", "append", "append", "replace", "del", "del"};
  const std::vector<std::string> ways4{"dev vti3",
                                       "dev vti4",
                                       "dev other",
                                       "dev vti3 proto bird",
                                       "dev vti4 src 169.254.3.1",
                                       "nexthop dev vti3 nexthop dev vti4",
                                       "via 169.254.4.2"};
  const std::vector<std::string> ways6{"dev vti3",
                                       "dev vti4",
                                       "dev other",
                                       "via fe80::9 dev vti3",
                                       "via fe80::9 dev vti4",
                                       "nexthop via fe80::8 dev vti3 nexthop via fe80::8 dev vti4"};
  const auto pick = [&](const auto& from) { return from[random() % from.size()]; };
  std::string history;
  for (int step = 0; step < 40; step++) {
    std::string some;
    for (int i = 0; i < 3; i++) {
      std::string verb4 = pick(verbs);
      if (random() % 8 == 0) verb4 = "prepend";
      const std::string kind = random() % 6 == 0 ? pick(std::vector<std::string>{"throw", "blackhole"}) : "";
      const std::string verb6 = pick(verbs);  // one after the other: each compiler's sequence is the same
      const std::string way4 = kind.empty() ? pick(ways4) : "";
      const std::string way6 = kind.empty() ? pick(ways6) : "";
      some += "ip route " + verb4 + " " + kind + " 10.9.0.0/16 " + way4 + " 2>/dev/null; ip -6 route " +
              verb6 + " " + kind + " fd00:9::/48 " + way6 + " 2>/dev/null; ";
    }
    history += some + "\n";
    INFO(history);
    if (random() % 2 == 0) {  // then all is told after them, and they after all
      (void)NetworkNamespace::run("ip nexthop add id 7 dev lo; ip nexthop del id 7");
      before_asked = [&] { (void)NetworkNamespace::run(some + "true"); };
      gateway.follow();
      REQUIRE(before_asked == nullptr);
    } else {
      gateway.run(some + "true");
    }
    CHECK(our_way(gateway, "10.9.1.1") == kernel_way("-4", "10.9.0.0/16"));
    CHECK(our_way(gateway, "fd00:9::1") == kernel_way("-6", "fd00:9::/48"));
    gateway.run("ip nexthop add id 7 dev lo; ip nexthop del id 7");
    CHECK(our_way(gateway, "10.9.1.1") == kernel_way("-4", "10.9.0.0/16"));
    CHECK(our_way(gateway, "fd00:9::1") == kernel_way("-6", "fd00:9::/48"));
  }
}

TEST_CASE("Ten thousand prefixes over one pair of tunnels share one group") {
  const NetworkNamespace space;
  Gateway gateway(20'000);
  (void)NetworkNamespace::run(batch("add", 10'000, "nexthop dev vti3 nexthop dev vti4"));
  gateway.follow();
  const NextHop group = gateway.to("20.0.0.1");
  CHECK(group.kind == NextHopKind::group);
  for (const unsigned i : {1U, 4999U, 9999U})
    CHECK(gateway.to("20.0." + std::to_string(i / 256) + "." + std::to_string(i % 256)) == group);
  CHECK(gateway.learned.ungrouped() == 0);
  gateway.run("ip route flush root 20.0.0.0/7");
  CHECK(gateway.learned.size() == 0);
  CHECK(gateway.desk.tables.groups[group.index].load() == nullptr);
}

TEST_CASE("Routes for which there is no group have their first next hop, until there is one") {
  const NetworkNamespace space;
  Gateway gateway(4096);
  constexpr unsigned kMany = dataplane::Forwarding::kSharedGroups + 10;
  const std::string path = "/tmp/espgate-groups-" + std::to_string(getpid());
  std::ofstream file(path);
  for (unsigned i = 0; i < kMany; i++)  // each with weights of its own: w and w + 1 have no common divisor
    file << "route add 20." << i / 256 << "." << i % 256 << ".0/24 nexthop dev vti3 weight " << 1 + i % 200
         << " nexthop dev vti4 weight " << 201 + i / 200 << "\n";
  file.close();
  gateway.run("ip -batch " + path + "; rm " + path);
  CHECK(gateway.learned.size() == kMany);
  CHECK(gateway.learned.ungrouped() == 10);
  CHECK(gateway.to("20.4.9.1") == into(3));
  gateway.run("ip route flush root 20.0.0.0/16");
  gateway.desk.now += dataplane::LearnedRoutes::kRetry;
  gateway.follow();
  CHECK(gateway.learned.ungrouped() == 0);
  CHECK(gateway.to("20.4.9.1").kind == NextHopKind::group);
}

TEST_CASE("Routes that were there before the gateway are found") {
  const NetworkNamespace space;
  std::vector<channel::Fd> kept;  // by the control process
  {
    Gateway gateway;
    gateway.run("ip route add 10.9.0.0/16 dev vti3");
    gateway.desk.twins.entrust(1, [&](const std::string&, int fd) {
      kept.emplace_back(dup(fd));
      return true;
    });
  }
  Gateway gateway;
  CHECK(gateway.to("10.9.1.1") == into(3));
}

TEST_CASE("Of a telling that fails nothing is believed, and all is asked for again") {
  const NetworkNamespace space;
  Gateway gateway;
  gateway.run("ip route add 10.9.0.0/16 dev vti3; ip -6 route add fd00:9::/48 dev vti3");
  gateway.run("ip route add 10.8.0.0/16 dev vti4");
  (void)NetworkNamespace::run("ip link set vti4 down");  // of which the kernel tells nothing for each route
  fault = GENERATE(Fault::asked, Fault::told, Fault::ended);
  gateway.follow();
  REQUIRE(fault == Fault::none);
  CHECK(gateway.to("10.9.1.1") == into(3));
  CHECK(gateway.to("fd00:9::1") == into(3));
  CHECK(gateway.to("10.8.1.1") == into(4));
  gateway.run("ip route add 10.7.0.0/16 dev vti3");  // changes are followed meanwhile
  CHECK(gateway.to("10.7.1.1") == into(3));
  gateway.desk.now += kSecond;
  gateway.follow();
  CHECK(gateway.to("10.8.1.1") == kNowhere);
  CHECK(gateway.learned.size() == 3);
}

TEST_CASE("Changes do not wait for more than one telling of all, whatever they are") {
  const NetworkNamespace space;
  constexpr unsigned kMany = 3000;
  const dataplane::Space here;
  dataplane::RouteFeed feed(here, [](dataplane::RouteFeed::Link, int) {});
  unsigned tellings = 0;
  unsigned added = 0;
  unsigned tellings_before = 0;  // it was added first
  std::uint64_t now = 0;
  const auto take = [&](dataplane::RouteFeed::Word word, const dataplane::KernelRoute& route) {
    tellings += word == dataplane::RouteFeed::Word::begin ? 1 : 0;
    if (word == dataplane::RouteFeed::Word::remove || route.to.length != 24) return;
    if (added++ == 0) tellings_before = tellings;
  };
  while (feed.serve(now += 60 * kMs, kMs, take)) continue;
  REQUIRE(tellings == 1);
  // After each next-hop object all is to be told, and the route comes after all of them.
  const std::string path = "/tmp/espgate-nexthops-" + std::to_string(getpid());
  std::ofstream file(path);
  for (unsigned i = 1; i <= kMany; i++) file << "nexthop add id " << i << " dev lo\n";
  file << "route add 10.9.9.0/24 dev lo\n";
  file.close();
  (void)NetworkNamespace::run("ip -batch " + path + "; rm " + path);
  for (int i = 0; i < 1'000'000 && added == 0; i++) (void)feed.serve(now += 60 * kMs, kMs / 20, take);
  CHECK(tellings_before == 1);
  while (feed.serve(now += 60 * kMs, kMs, take)) continue;
  CHECK(tellings == 2);
  CHECK(added == 2);
}

TEST_CASE("A hundred thousand routes, their withdrawal, and an overrun") {
  const NetworkNamespace space;
  constexpr unsigned kMany = 100'000;
  Gateway gateway(kMany + 1024);
  (void)NetworkNamespace::run(batch("add", kMany, "dev vti3"));
  const double load = seconds_of([&] { gateway.follow(); });
  CHECK(gateway.learned.size() == kMany);
  CHECK(gateway.to("20.5.6.7") == into(3));
  CHECK(gateway.to("21.133.159.7") == into(3));  // the last one of them is 21.134.159.0/24
  const double one = seconds_of([&] { gateway.run("ip route del 20.5.6.0/24"); });
  CHECK(gateway.to("20.5.6.7") == kNowhere);
  WARN("100,000 routes: " << load << " s; one withdrawn: " << one << " s with the program that does it");
  CHECK(load < 5 * 4);  // also with sanitizers
  (void)NetworkNamespace::run("ip route add 20.5.6.0/24 dev vti3");
  for (int i = 0; i < 6 && gateway.learned.overruns() == 0; i++) {
    const std::uint32_t tunnel = i % 2 == 0 ? 4 : 3;
    for (int times = 0; times < 2; times++) {
      (void)NetworkNamespace::run(batch("del", kMany, "table main"));  // `ip route flush` gives up after 30 s
      (void)NetworkNamespace::run(batch("add", kMany, "dev vti" + std::to_string(tunnel)));
    }
    gateway.follow();
    CHECK(gateway.to("20.5.6.7") == into(tunnel));
  }
  CHECK(gateway.learned.overruns() > 0);
  CHECK(gateway.learned.size() == kMany);
  gateway.run(batch("del", kMany, "table main"));
  CHECK(gateway.learned.size() == 0);
}

TEST_CASE("What was told before an overrun is not taken for what came after") {
  const NetworkNamespace space;
  constexpr unsigned kMany = 100'000;
  Gateway gateway(kMany + 1024);
  for (const char* verb : {"add", "del", "add", "del"})
    (void)NetworkNamespace::run(batch(verb, kMany, "dev vti3"));
  (void)NetworkNamespace::run(batch("add", 1000, "dev vti3"));
  gateway.follow();
  CHECK(gateway.learned.overruns() > 0);
  CHECK(gateway.desk.twins.losses() > 0);  // nor do we know what happened to links
  CHECK(gateway.learned.size() == 1000);
  CHECK(gateway.to("20.0.0.1") == into(3));
}

TEST_CASE("Routes for which there is no room are told of, and tried again when there is") {
  const NetworkNamespace space;
  Gateway gateway(64);
  (void)NetworkNamespace::run(batch("add", 100, "dev vti3"));
  gateway.follow();
  CHECK(gateway.learned.refused() > 0);
  CHECK(gateway.learned.size() + gateway.learned.refused() == 100);
  for (int i = 0; i < 60; i++)
    (void)NetworkNamespace::run("ip route del 20.0." + std::to_string(i) + ".0/24");
  gateway.follow();
  gateway.desk.now += dataplane::LearnedRoutes::kRetry;
  gateway.follow();
  CHECK(gateway.learned.refused() == 0);
  CHECK(gateway.learned.size() == 40);
  CHECK(gateway.to("20.0.99.1") == into(3));
}

TEST_CASE("A table learns what is in the network namespace of its twins") {
  const NetworkNamespace space;
  const NamedNamespace red("espgate-test-red");
  constexpr TableId kRed = 1;
  Gateway gateway;
  Desk& desk = gateway.desk;
  desk.twins.settle_in(kRed, red.name);
  channel::Command wanted = set_tunnel(5);
  wanted.body.set_tunnel.kernel = name("vti3");
  wanted.body.set_tunnel.overlay = kRed;
  REQUIRE(desk.run(wanted) == CommandStatus::ok);
  REQUIRE(desk.run(install_outbound(5, 0xc0000005)) == CommandStatus::ok);
  dataplane::LearnedRoutes learned(
      {desk.ribs, desk.slow_path.resolver(), desk.interfaces, desk.groups, desk.twins}, kRed);
  const auto to = [&](TableId table, const char* address) {
    return desk.tables.routes(table).find_one(*parse_address(address));
  };
  (void)NetworkNamespace::run("ip route add 10.9.0.0/16 dev vti3");
  (void)NetworkNamespace::run(red.in("ip route add 10.8.0.0/16 dev vti3"));
  follow(desk, learned);
  gateway.follow();
  CHECK(to(kMainTable, "10.9.1.1") == into(3));
  CHECK(to(kRed, "10.9.1.1") == kNowhere);
  CHECK(to(kMainTable, "10.8.1.1") == kNowhere);
  CHECK(to(kRed, "10.8.1.1") == into(5));
  channel::Command remove = command(CommandKind::remove_tunnel);
  remove.body.remove_tunnel.index = 5;
  REQUIRE(desk.run(remove) == CommandStatus::ok);
  CHECK(to(kRed, "10.8.1.1") == kNowhere);
}

TEST_CASE("A learned route that would lead a tunnel's packets into a tunnel is held back, and told of") {
  const NetworkNamespace space;
  Gateway gateway;
  Desk& desk = gateway.desk;
  const std::string far_end = to_string(set_tunnel(3).body.set_tunnel.remote);
  const auto told = [&] {
    std::vector<channel::RouteHeld> held;
    for (const channel::Event& event : desk.control.events)
      if (event.kind == channel::EventKind::route_held) held.push_back(event.body.route_held);
    desk.control.events.clear();
    return held;
  };
  const NextHop before = gateway.to(far_end);
  (void)told();
  gateway.run("ip route add " + far_end + "/32 dev vti4");
  CHECK(gateway.learned.size() == 1);
  CHECK(gateway.to(far_end) == before);
  auto held = told();
  REQUIRE(held.size() == 1);
  CHECK(to_string(held[0].destination) == far_end + "/32");
  CHECK(to_string(held[0].far_end) == far_end);
  CHECK(held[0].table == kMainTable);
  // A control process that comes later hears of it, too.
  REQUIRE(desk.run(channel::Command{command(CommandKind::sync_begin)}) == CommandStatus::ok);
  for (const std::uint32_t index : {3U, 4U}) {
    channel::Command again = set_tunnel(index);
    again.body.set_tunnel.kernel = name("vti" + std::to_string(index));
    REQUIRE(desk.run(again) == CommandStatus::ok);
  }
  REQUIRE(desk.run(channel::Command{command(CommandKind::sync_end)}) == CommandStatus::ok);
  CHECK(told().size() == 1);
  // Several next hops of which one is a tunnel, the same.
  gateway.run("ip route add default proto static nexthop dev vti3 nexthop via 10.1.0.10 dev lan");
  CHECK(told().empty());  // the far end's network is a port's
  gateway.run("ip route del " + far_end + "/32 dev vti4");
  held = told();
  REQUIRE(held.size() == 1);
  CHECK_FALSE(held[0].far_end.is_set());
}
