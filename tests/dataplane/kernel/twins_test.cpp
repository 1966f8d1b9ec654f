// Twins of ports and tunnels in the kernel: what iproute2 says of them, and packets between the kernel's
// sockets and the workers' rings.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <vector>

#include "dataplane/kernel/twins.hpp"
#include "tests/dataplane/host/desk.hpp"
#include "tests/dataplane/kernel/namespace.hpp"

using namespace espgate;
using namespace espgate::test;
using channel::Command;
using channel::CommandKind;
using channel::CommandStatus;

namespace {

constexpr std::uint8_t kNoPort = dataplane::Note::kNoPort;

Command with_twin(std::uint32_t index, const std::string& name = "") {
  Command command = set_tunnel(index);
  channel::SetTunnel& tunnel = command.body.set_tunnel;
  tunnel.kernel = test::name(name.empty() ? "vti" + std::to_string(index) : name);
  tunnel.addresses[tunnel.address_count++] = *parse_prefix("fd00:" + std::to_string(index) + "::1/64");
  return command;
}

nlohmann::json link(const std::string& name) { return NetworkNamespace::ip("link show dev " + name)[0]; }

bool has_carrier(const std::string& name) {
  const auto flags = link(name)["flags"];
  return std::find(flags.begin(), flags.end(), "LOWER_UP") != flags.end();
}

// A carrier alone is not enough: some moments later the kernel gives the interface its queue.
void wait_ready(const std::string& name) {
  for (int i = 0; i < 500 && link(name)["operstate"] == "DOWN"; i++) usleep(10'000);
  CHECK(link(name)["operstate"] != "DOWN");
}

std::set<std::string> interfaces() {
  std::set<std::string> names;
  for (const auto& each : NetworkNamespace::ip("link")) names.insert(each["ifname"]);
  return names;
}

std::set<std::string> addresses(const std::string& name) {
  std::set<std::string> found;
  const auto shown = NetworkNamespace::ip("addr show dev " + name);
  for (const auto& each : shown[0]["addr_info"])
    found.insert(each["local"].get<std::string>() + "/" + std::to_string(each["prefixlen"].get<int>()));
  return found;
}

// A UDP socket of the kernel.
class Socket {
 public:
  Socket(int family, std::uint16_t port) : fd_(socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    sockaddr_storage own{};
    own.ss_family = static_cast<sa_family_t>(family);
    reinterpret_cast<sockaddr_in&>(own).sin_port = htons(port);  // at the same place in IPv6
    REQUIRE(bind(fd_.get(), reinterpret_cast<sockaddr*>(&own), sizeof own) == 0);
  }
  void send(const std::string& to, std::uint16_t port, const std::string& text) const {
    sockaddr_storage peer{};
    const bool v6 = to.find(':') != to.npos;
    peer.ss_family = v6 ? AF_INET6 : AF_INET;
    reinterpret_cast<sockaddr_in&>(peer).sin_port = htons(port);
    void* const room = v6 ? static_cast<void*>(&reinterpret_cast<sockaddr_in6&>(peer).sin6_addr)
                          : &reinterpret_cast<sockaddr_in&>(peer).sin_addr;
    REQUIRE(inet_pton(peer.ss_family, to.c_str(), room) == 1);
    const auto length = static_cast<socklen_t>(v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in));
    CHECK(sendto(fd_.get(), text.data(), text.size(), 0, reinterpret_cast<sockaddr*>(&peer), length) ==
          static_cast<ssize_t>(text.size()));
  }
  [[nodiscard]] std::string receive() const {
    char room[2048];
    const ssize_t length = recv(fd_.get(), room, sizeof room, 0);
    return length < 0 ? "nothing" : std::string(room, static_cast<std::size_t>(length));
  }

 private:
  channel::Fd fd_;
};

Octets udp(std::uint16_t from, std::uint16_t to, const std::string& text) {
  Octets out(8);
  put16(out, 0, from);
  put16(out, 2, to);
  put16(out, 4, static_cast<unsigned>(8 + text.size()));
  return out + Octets(text.begin(), text.end());
}

Octets udp4(const std::string& from, const std::string& to, std::uint16_t port, const std::string& text) {
  return ipv4_packet({.source = from, .destination = to, .protocol = 17}, udp(5000, port, text));
}

void raise_from_tunnel(Desk& desk, const Octets& ip, std::uint32_t tunnel = 3) {
  desk.raise(Exception::to_host, ip, kNoPort, DropReason{}, 0, tunnel);
}

// Tunnel 3 is up, and so is its twin.
void bring_up(Desk& desk) {
  REQUIRE(desk.run(with_twin(3)) == CommandStatus::ok);
  REQUIRE(desk.run(install_outbound(3, 0xc0000001)) == CommandStatus::ok);
  wait_ready("vti3");
  (void)desk.sent();
}

std::string tail_of(const Octets& packet, std::size_t length) {
  return {packet.end() - static_cast<std::ptrdiff_t>(length), packet.end()};
}

}  // namespace

TEST_CASE("A tunnel's interface is one of the kernel, with its addresses, MTU and state") {
  const NetworkNamespace space;
  Desk desk;
  REQUIRE(desk.run(with_twin(3)) == CommandStatus::ok);
  CHECK(addresses("vti3") == std::set<std::string>{"169.254.3.1/30", "fd00:3::1/64"});
  CHECK(link("vti3")["ifalias"] == "espgate desk vti3");
  CHECK(link("vti3")["mtu"] == desk.tables.tunnels[3].fit.load().mtu);
  CHECK_FALSE(has_carrier("vti3"));

  REQUIRE(desk.run(install_outbound(3, 0xc0000001)) == CommandStatus::ok);
  CHECK(has_carrier("vti3"));
  CHECK(link("vti3")["mtu"] == desk.tables.tunnels[3].fit.load().mtu);
  CHECK(desk.tables.tunnels[3].fit.load().mtu == 1446);

  desk.tables.ports[kWan].up = false;
  desk.commands.port_changed(desk.now);
  CHECK_FALSE(has_carrier("vti3"));

  Command changed = with_twin(3);
  changed.body.set_tunnel.addresses[1] = *parse_prefix("fd00:33::1/64");
  REQUIRE(desk.run(changed) == CommandStatus::ok);
  CHECK(addresses("vti3") == std::set<std::string>{"169.254.3.1/30", "fd00:33::1/64"});

  SECTION("it goes with its tunnel") {
    Command remove = command(CommandKind::remove_tunnel);
    remove.body.remove_tunnel.index = 3;
    REQUIRE(desk.run(remove) == CommandStatus::ok);
    CHECK(interfaces() == std::set<std::string>{"lo"});
  }
  SECTION("it may be called otherwise, or be no more") {
    REQUIRE(desk.run(with_twin(3, "cloud")) == CommandStatus::ok);
    CHECK(interfaces() == std::set<std::string>{"cloud", "lo"});
    REQUIRE(desk.run(set_tunnel(3)) == CommandStatus::ok);
    CHECK(interfaces() == std::set<std::string>{"lo"});
  }
}

TEST_CASE("The kernel is a host on a twin, and no router") {
  const NetworkNamespace space;
  (void)NetworkNamespace::run("sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
  Desk desk;
  REQUIRE(desk.run(with_twin(3)) == CommandStatus::ok);
  for (const std::string off :
       {"ipv4.conf.vti3.forwarding", "ipv4.conf.vti3.accept_redirects", "ipv4.conf.vti3.send_redirects",
        "ipv6.conf.vti3.forwarding", "ipv6.conf.vti3.accept_ra", "ipv6.conf.vti3.accept_redirects"})
    CHECK(NetworkNamespace::run("sysctl -n net." + off) == "0\n");
}

TEST_CASE("An IPv6 address keeps the twin's MTU at what IPv6 needs") {
  const NetworkNamespace space;
  Desk desk;
  Command small = with_twin(3);
  small.body.set_tunnel.mtu = 600;
  REQUIRE(desk.run(small) == CommandStatus::ok);
  CHECK(link("vti3")["mtu"] == 1280);
  small.body.set_tunnel.address_count = 1;
  small.body.set_tunnel.index = 4;
  small.body.set_tunnel.kernel = name("vti4");
  small.body.set_tunnel.addresses[0] = *parse_prefix("169.254.4.1/30");
  REQUIRE(desk.run(small) == CommandStatus::ok);
  CHECK(link("vti4")["mtu"] == 600);
}

TEST_CASE("Packets go both ways between the kernel's sockets and the tunnel") {
  const NetworkNamespace space;
  Desk desk;
  bring_up(desk);
  (void)desk.twins.serve(desk.now);
  (void)desk.sent();
  const Socket socket4(AF_INET, 7000);
  raise_from_tunnel(desk, udp4("169.254.3.2", "169.254.3.1", 7000, "hello"));
  CHECK(socket4.receive() == "hello");
  CHECK(desk.all_drops() == 0);

  socket4.send("169.254.3.2", 7001, "and back");
  CHECK(desk.twins.serve(desk.now) == 1);
  auto sent = desk.sent();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].errand == Errand::protect);
  CHECK(slice(sent[0].data, 12, 8) == v4_bytes("169.254.3.1") + v4_bytes("169.254.3.2"));
  CHECK(tail_of(sent[0].data, 8) == "and back");

  const Socket socket6(AF_INET6, 7002);
  socket6.send("fd00:3::2", 7003, "over IPv6");
  (void)desk.twins.serve(desk.now);
  sent = desk.sent();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].errand == Errand::protect);
  CHECK(slice(sent[0].data, 24, 16) == v6_bytes("fd00:3::2"));
  CHECK(tail_of(sent[0].data, 9) == "over IPv6");
  CHECK(desk.buffers_out() == 0);
}

TEST_CASE("Echo requests are answered here, and the answers to the kernel's own are the kernel's") {
  const NetworkNamespace space;
  Desk desk;
  bring_up(desk);
  // The packet that ping sends, turned round.
  (void)NetworkNamespace::run("ping -c 1 -W 1 169.254.3.2 > /dev/null || true");
  (void)desk.twins.serve(desk.now);
  for (const Sent& each : desk.sent()) {
    if (each.data[9] != 1) continue;
    Octets reply = each.data;
    std::swap_ranges(reply.begin() + 12, reply.begin() + 16, reply.begin() + 16);
    raise_from_tunnel(desk, reply);
    const auto answers = desk.sent();
    REQUIRE(answers.size() == 1);
    CHECK(answers[0].data[20] == 0);
    reply[20] = 0;
    put16(reply, 22, 0);
    put16(reply, 22, ~internet_sum(reply, 20, reply.size() - 20) & 0xffff);
    raise_from_tunnel(desk, reply);
  }
  CHECK(NetworkNamespace::run("awk '/^Icmp:/ {print $11}' /proc/self/net/snmp") == "InEchoReps\n1\n");
  CHECK(desk.sent().empty());
  CHECK(desk.drops(DropReason::host_protocol) == 0);
}

TEST_CASE("Without a twin nobody serves it, and the sender is told") {
  const NetworkNamespace space;
  Desk desk;
  REQUIRE(desk.run(with_twin(3)) == CommandStatus::ok);
  REQUIRE(desk.run(set_tunnel(4)) == CommandStatus::ok);
  (void)desk.sent();
  raise_from_tunnel(desk, udp4("169.254.4.2", "169.254.4.1", 7000, "hello"), 4);
  CHECK(desk.drops(DropReason::host_protocol) == 1);
  CHECK(desk.sent().size() == 1);
}

TEST_CASE("A port's twin: by the route, and to a neighbour's link-local address by that link") {
  const NetworkNamespace space;
  Desk desk;
  conf::Port port;
  port.name = "lan";
  port.kernel = "lan";
  port.addresses = {*parse_prefix("10.1.0.1/24"), *parse_prefix("fd00:1::1/64")};
  desk.twins.add_port(kLan, port);
  CHECK(addresses("lan") == std::set<std::string>{"10.1.0.1/24", "fd00:1::1/64", "fe80::ff:fe00:100/64"});
  CHECK_FALSE(has_carrier("lan"));
  desk.twins.port_changed(kLan, true);
  CHECK(has_carrier("lan"));
  wait_ready("lan");
  (void)desk.twins.serve(desk.now);
  (void)desk.sent();

  const Socket socket(AF_INET, 7000);
  desk.raise(Exception::to_host, udp4("10.1.0.9", "10.1.0.1", 7000, "hello"), kLan);
  CHECK(socket.receive() == "hello");
  socket.send("10.1.0.9", 7001, "and back");
  (void)desk.twins.serve(desk.now);
  auto sent = desk.sent();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].errand == Errand::route);

  (void)NetworkNamespace::run("ping -c 1 -W 1 fe80::9%lan > /dev/null || true");
  (void)desk.twins.serve(desk.now);
  sent = desk.sent();
  REQUIRE(sent.size() == 1);  // who has it, is asked first
  CHECK(sent[0].errand == Errand::frame);
  CHECK(sent[0].port == kLan);

  SECTION("which on an encrypted-only port is asked what it is") {
    desk.tables.ports[kLan].encrypted_only = true;
    (void)NetworkNamespace::run("ping -c 1 -W 1 fe80::8%lan > /dev/null || true");
    (void)desk.twins.serve(desk.now);
    CHECK(desk.sent().empty());
    CHECK(desk.drops(DropReason::cleartext_out) == 1);
    (void)NetworkNamespace::run("timeout 0.2 bash -c ': > /dev/tcp/fe80::8%lan/179' 2> /dev/null || true");
    (void)desk.twins.serve(desk.now);
    CHECK(desk.sent().size() == 1);
    CHECK(desk.drops(DropReason::cleartext_out) == 1);
  }
}

TEST_CASE("The kernel's multicast stays with the kernel, and what is no IP packet goes nowhere") {
  const NetworkNamespace space;
  Desk desk;
  bring_up(desk);
  (void)desk.twins.serve(desk.now);
  (void)desk.sent();
  const std::uint64_t before = desk.drops(DropReason::multicast);
  const Socket socket(AF_INET, 7000);
  (void)NetworkNamespace::run("ip route add 224.0.0.0/4 dev vti3");
  socket.send("224.0.0.5", 7001, "to all");
  (void)desk.twins.serve(desk.now);
  CHECK(desk.drops(DropReason::multicast) > before);
  CHECK(desk.sent().empty());
  CHECK(desk.buffers_out() == 0);
}

TEST_CASE("What the kernel does not take has a name") {
  const NetworkNamespace space;
  Desk desk;
  REQUIRE(desk.run(with_twin(3)) == CommandStatus::ok);
  const Octets packet = udp4("169.254.3.2", "169.254.3.1", 7000, "hello");
  SECTION("more than its share") {
    const unsigned many = dataplane::Twins::kLimits.source_burst + 7;
    for (unsigned i = 0; i < many; i++) raise_from_tunnel(desk, packet);
    CHECK(desk.drops(DropReason::kernel_rate_limited) == 7);
  }
  SECTION("while somebody has set the interface down") {
    (void)NetworkNamespace::run("ip link set vti3 down");
    raise_from_tunnel(desk, packet);
    CHECK(desk.drops(DropReason::kernel_refused) == 1);
  }
  SECTION("when somebody has deleted it") {
    (void)NetworkNamespace::run("ip link del vti3");
    (void)desk.twins.serve(desk.now);
    (void)desk.twins.serve(desk.now);
    raise_from_tunnel(desk, packet);
    CHECK(desk.drops(DropReason::host_protocol) == 1);
  }
  (void)desk.sent();
  CHECK(desk.buffers_out() == 0);
}

TEST_CASE("A name that is another interface's is refused, and the tunnel works without a twin") {
  const NetworkNamespace space;
  (void)NetworkNamespace::run("ip link add vti3 type veth peer name other");
  (void)NetworkNamespace::run("ip tuntap add mode tun name vti4");
  Desk desk;
  for (const std::uint32_t index : {3U, 4U}) {
    CHECK(desk.run(with_twin(index)) == CommandStatus::kernel_refused);
    raise_from_tunnel(desk, udp4("169.254.3.2", "169.254.3.1", 7000, "hello"), index);
    CHECK(desk.tables.tunnels[index].tunnel.load() != nullptr);
  }
  CHECK(desk.drops(DropReason::host_protocol) == 2);
  CHECK(interfaces() == std::set<std::string>{"lo", "other", "vti3", "vti4"});
  for (const std::string bad : {"a/b", "..", "sixteen-letters-", "a b"})
    CHECK(desk.run(with_twin(5, bad)) == CommandStatus::bad_name);
}

TEST_CASE("Twins live as long as this process or whoever keeps them for it") {
  const NetworkNamespace space;
  const auto index = [] { return link("vti3")["ifindex"].get<int>(); };
  std::map<std::string, channel::Fd> kept;
  std::vector<std::string> given;
  bool takes = true;
  const auto give = [&](const std::string& name, int fd) {
    if (takes) given.push_back(name);
    if (takes) kept[name] = channel::Fd(dup(fd));
    return takes;
  };
  const auto entrusted = [&](Desk& desk, std::uint64_t receiver) {
    given.clear();
    desk.twins.entrust(receiver, give);
    return std::set<std::string>(given.begin(), given.end());
  };
  using Names = std::set<std::string>;
  int first = 0;
  {
    Desk desk;
    REQUIRE(desk.run(with_twin(3)) == CommandStatus::ok);
    REQUIRE(desk.run(install_outbound(3, 0xc0000001)) == CommandStatus::ok);
    CHECK(entrusted(desk, 1) == Names{"0:vti3"});
    CHECK(entrusted(desk, 1).empty());
    takes = false;
    REQUIRE(desk.run(with_twin(4)) == CommandStatus::ok);
    CHECK(entrusted(desk, 1).empty());
    takes = true;
    CHECK(entrusted(desk, 1) == Names{"0:vti4"});
    CHECK(entrusted(desk, 2) == Names{"0:vti3", "0:vti4"});  // another one knows of nothing
    first = index();
    // What is removed goes, whoever keeps it.
    REQUIRE(desk.run(with_twin(5)) == CommandStatus::ok);
    CHECK(entrusted(desk, 2) == Names{"0:vti5"});
    Command remove = command(CommandKind::remove_tunnel);
    remove.body.remove_tunnel.index = 5;
    REQUIRE(desk.run(remove) == CommandStatus::ok);
    CHECK(interfaces() == Names{"lo", "vti3", "vti4"});
    REQUIRE(desk.run(with_twin(6)) == CommandStatus::ok);
    CHECK(entrusted(desk, 2) == Names{"0:vti6"});
    SECTION("nobody keeps them") { kept.clear(); }
    SECTION("somebody does") {}
  }
  if (kept.empty()) {
    CHECK(interfaces() == Names{"lo"});
    return;
  }
  REQUIRE(interfaces() == Names{"lo", "vti3", "vti4", "vti6"});
  CHECK(has_carrier("vti3"));
  (void)NetworkNamespace::run("ip addr add 10.99.0.1/32 dev vti3; ip route add 10.98.0.0/16 dev vti3");

  Desk desk;
  REQUIRE(desk.run(command(CommandKind::sync_begin)) == CommandStatus::ok);
  REQUIRE(desk.run(with_twin(3)) == CommandStatus::ok);
  REQUIRE(desk.run(with_twin(4)) == CommandStatus::ok);
  CHECK_FALSE(has_carrier("vti4"));  // nor had it before
  REQUIRE(desk.run(command(CommandKind::sync_begin)) == CommandStatus::ok);
  REQUIRE(desk.run(with_twin(3)) == CommandStatus::ok);
  REQUIRE(desk.run(command(CommandKind::sync_end)) == CommandStatus::ok);
  CHECK(interfaces() == Names{"lo", "vti3"});  // nobody wants the other one
  CHECK(index() == first);
  CHECK(addresses("vti3") == Names{"169.254.3.1/30", "fd00:3::1/64"});
  CHECK(NetworkNamespace::run("ip route").find("10.98.0.0/16 dev vti3") != std::string::npos);
  CHECK(entrusted(desk, 1) == Names{"0:vti3"});
  // Packets come to this process alone.
  wait_ready("vti3");
  const Socket sender(AF_INET, 7000);
  for (std::uint16_t i = 0; i < 20; i++) sender.send("10.98.0.1", static_cast<std::uint16_t>(9000 + i), "on");
  unsigned served = 0;
  for (int i = 0; i < 500 && served < 20; i++) {
    served += desk.twins.serve(desk.now);
    usleep(1000);
  }
  CHECK(served >= 20);
  // Routing daemons see no change while the tunnel is set up anew; but they do if it is not.
  CHECK(has_carrier("vti3"));
  desk.commands.tell_twins(desk.now + dataplane::Twins::kPatience - 1);
  CHECK(has_carrier("vti3"));
  desk.commands.tell_twins(desk.now + dataplane::Twins::kPatience);
  CHECK_FALSE(has_carrier("vti3"));
}

TEST_CASE("The twins of a table's interfaces are in its network namespace") {
  const NetworkNamespace space;
  const NamedNamespace red("espgate-test-red");
  Desk desk;
  constexpr TableId kRed = 1;
  Command wanted = with_twin(3);
  wanted.body.set_tunnel.overlay = kRed;
  CHECK(desk.run(wanted) == CommandStatus::kernel_refused);
  CHECK(interfaces() == std::set<std::string>{"lo"});
  CHECK_THROWS_WITH(desk.twins.settle_in(kRed, "nowhere"), Catch::Contains("ip netns add nowhere"));
  desk.twins.settle_in(kRed, red.name);
  REQUIRE(desk.run(wanted) == CommandStatus::ok);
  REQUIRE(desk.run(with_twin(4, "vti3")) == CommandStatus::ok);  // of the same name, in the main table
  CHECK(interfaces() == std::set<std::string>{"lo", "vti3"});
  const auto inside = [&](const std::string& argv) { return red.ip(argv); };
  CHECK(inside("link show dev vti3")[0]["ifalias"] == "espgate desk vti3");
  CHECK(inside("addr show dev vti3")[0]["addr_info"][0]["local"] == "169.254.3.1");
  CHECK(inside("link show dev vti3")[0]["mtu"] == desk.tables.tunnels[3].fit.load().mtu);
  CHECK(NetworkNamespace::run(red.in("sysctl -n net.ipv6.conf.vti3.accept_ra")) == "0\n");

  const int in_red = inside("link show dev vti3")[0]["ifindex"];
  CHECK(desk.twins.behind(kRed, in_red)->index == 3);
  CHECK(desk.twins.behind(kMainTable, link("vti3")["ifindex"])->index == 4);
  // What the kernel sends there goes into that tunnel.
  REQUIRE(desk.run(install_outbound(3, 0xc0000001)) == CommandStatus::ok);
  unsigned served = 0;
  for (int i = 0; i < 100 && served == 0; i++) {  // what it sends before the queue is there is lost
    (void)NetworkNamespace::run(red.in("ping -c 1 -W 0.1 169.254.3.2 >/dev/null || true"));
    served = desk.twins.serve(desk.now);
  }
  CHECK(served > 0);
  Command remove = command(CommandKind::remove_tunnel);
  remove.body.remove_tunnel.index = 3;
  REQUIRE(desk.run(remove) == CommandStatus::ok);
  CHECK(inside("link").size() == 1);
  CHECK(interfaces() == std::set<std::string>{"lo", "vti3"});
}
