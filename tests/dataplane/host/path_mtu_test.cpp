// What ICMP says of the path of outer packets (RFC 4301 section 8.2): what is believed, what follows, and for
// how long. The ICMP messages are scapy's.
#include <catch2/catch.hpp>

#include "dataplane/ports/too_big.hpp"
#include "tests/dataplane/host/desk.hpp"

using namespace espgate;
using namespace espgate::test;
using channel::Command;
using channel::CommandStatus;

namespace {

constexpr std::uint32_t kSpi = 0xc0000001;
constexpr unsigned kRaw1500 = 1446, kRaw1300 = 1246;  // what AES-GCM leaves: 52 bytes and a trailer of 2
constexpr unsigned kUdp1500 = 1438, kUdp1300 = 1238;

// A tunnel that has sent a thousand packets, the last of them number 1000.
struct Gateway {
  explicit Gateway(bool udp = false, std::uint16_t mtu = 0) {
    Command tunnel = set_tunnel(3), out = install_outbound(3, kSpi);
    tunnel.body.set_tunnel.mtu = mtu;
    REQUIRE(desk.run(tunnel) == CommandStatus::ok);
    channel::InstallSa& sa = out.body.install_sa;
    sa.udp_encapsulation = udp ? 1 : 0;
    sa.local_port = 4500;
    sa.remote_port = 31000;
    REQUIRE(desk.run(out) == CommandStatus::ok);
    desk.tables.tunnels[3].outbound.load()->sequence = 1000;
    (void)desk.sent();
  }
  void hear(const std::string& name, std::uint8_t port = kWan) {
    desk.raise(Exception::to_host, packet(name), port);
    CHECK(desk.sent().empty());
    CHECK(desk.buffers_out() == 0);
  }
  [[nodiscard]] unsigned fit() const { return desk.tables.tunnels[3].fit.load().mtu; }
  [[nodiscard]] std::uint64_t unbelieved() const { return desk.drops(DropReason::icmp_unbelieved); }
  [[nodiscard]] std::vector<channel::PathMtu> told() const {
    std::vector<channel::PathMtu> out;
    for (const channel::Event& event : desk.control.events)
      if (event.kind == channel::EventKind::path_mtu) out.push_back(event.body.path_mtu);
    return out;
  }
  Desk desk;
};

}  // namespace

TEST_CASE("a router says that an outer packet was too big: the tunnel's MTU is what the path leaves") {
  Gateway gateway;
  REQUIRE(gateway.fit() == kRaw1500);
  gateway.hear(GENERATE("too_big_raw", "too_big_raw_8"));
  CHECK(gateway.fit() == kRaw1300);
  CHECK(gateway.desk.all_drops() == 0);
  const auto told = gateway.told();
  REQUIRE(told.size() == 1);
  CHECK(told[0].tunnel == 3);
  CHECK(told[0].mtu == 1300);
  CHECK(to_string(told[0].said_by) == "198.51.100.1");

  SECTION("ICMP never raises it, and tells nothing new") {
    gateway.hear("too_big_mtu_1499");
    CHECK(gateway.fit() == kRaw1300);
    CHECK(gateway.told().size() == 1);
    CHECK(gateway.desk.all_drops() == 0);
  }
  SECTION("less is believed again") {
    gateway.hear("too_big_mtu_1200");
    CHECK(gateway.fit() == kRaw1300 - 100);
  }
  SECTION("after ten minutes larger packets are tried again") {
    gateway.desk.now += 599 * kSecond;
    gateway.desk.commands.age_paths(gateway.desk.now);
    CHECK(gateway.fit() == kRaw1300);
    gateway.desk.now += 2 * kSecond;
    gateway.desk.commands.age_paths(gateway.desk.now);
    CHECK(gateway.fit() == kRaw1500);
    REQUIRE(gateway.told().size() == 2);
    CHECK(gateway.told()[1].mtu == 0);
  }
  SECTION("the SA of a rekey has the same path") {
    REQUIRE(gateway.desk.run(install_outbound(3, kSpi + 1)) == CommandStatus::ok);
    CHECK(gateway.fit() == kRaw1300);
  }
  SECTION("a new control process is told") {
    REQUIRE(gateway.desk.run(command(channel::CommandKind::sync_begin)) == CommandStatus::ok);
    REQUIRE(gateway.desk.run(set_tunnel(3)) == CommandStatus::ok);
    gateway.desk.commands.execute(command(channel::CommandKind::sync_end), gateway.desk.now);
    REQUIRE(gateway.told().size() == 2);
    CHECK(gateway.told()[1].mtu == 1300);
    CHECK(gateway.fit() == kRaw1300);
  }
  SECTION("another tunnel in its place knows nothing of it") {
    Command remove = command(channel::CommandKind::remove_tunnel);
    remove.body.remove_tunnel.index = 3;
    REQUIRE(gateway.desk.run(remove) == CommandStatus::ok);
    REQUIRE(gateway.desk.run(set_tunnel(3)) == CommandStatus::ok);
    CHECK(gateway.fit() == 1406);  // as of a tunnel without an SA
    gateway.desk.now += 700 * kSecond;
    gateway.desk.commands.age_paths(gateway.desk.now);
    CHECK(gateway.told().size() == 1);
  }
}

TEST_CASE("ESP in UDP: the ports are enough where no more is quoted, and IKE's path is the same") {
  Gateway gateway(true);
  REQUIRE(gateway.fit() == kUdp1500);
  gateway.hear(GENERATE("too_big_udp", "too_big_udp_8", "too_big_ike"));
  CHECK(gateway.fit() == kUdp1300);
  CHECK(gateway.desk.all_drops() == 0);
}

TEST_CASE("the sizes that are said, and what they are taken for") {
  const auto after = [](const char* name) {
    Gateway gateway;
    gateway.hear(name);
    return std::pair(gateway.fit(), gateway.unbelieved());
  };
  using Result = std::pair<unsigned, std::uint64_t>;
  CHECK(after("too_big_mtu_0") == Result{1492 - 54, 0});  // RFC 1191 section 7.1: the plateau below 1500
  CHECK(after("too_big_mtu_68") == Result{576 - 54, 0});
  CHECK(after("too_big_mtu_575") == Result{576 - 54, 0});
  CHECK(after("too_big_mtu_1499") == Result{1499 - 57, 0});  // in units of 4 bytes
  CHECK(after("too_big_mtu_40") == Result{kRaw1500, 1});
  CHECK(after("too_big_mtu_1500") == Result{kRaw1500, 1});  // it fitted, then
}

TEST_CASE("an interface's own MTU stays the upper bound") {
  Gateway small(false, 1000);
  small.hear("too_big_raw");
  CHECK(small.fit() == 1000);
  Gateway large(false, 1400);
  large.hear("too_big_raw");
  CHECK(large.fit() == kRaw1300);
}

TEST_CASE("with fragments behind encryption the path's MTU bounds the pieces, and the MSS") {
  Gateway gateway(false, 4000);
  Command tunnel = set_tunnel(3);
  tunnel.body.set_tunnel.mtu = 4000;
  tunnel.body.set_tunnel.cut_after = 1;
  REQUIRE(gateway.desk.run(tunnel) == CommandStatus::ok);
  const auto fit = [&gateway] { return gateway.desk.tables.tunnels[3].fit.load(); };
  CHECK(fit().mtu == kRaw1500);
  CHECK(fit().most == 4000);
  CHECK(fit().outer == 1500);
  gateway.hear("too_big_raw");
  CHECK(fit().mtu == kRaw1300);
  CHECK(fit().most == 4000);
  CHECK(fit().outer == 1300);
  tunnel.body.set_tunnel.mtu = 0;
  REQUIRE(gateway.desk.run(tunnel) == CommandStatus::ok);
  CHECK(fit().most == 9000);
  tunnel.body.set_tunnel.mtu = 1000;
  REQUIRE(gateway.desk.run(tunnel) == CommandStatus::ok);
  CHECK(fit().mtu == 1000);
  CHECK(fit().most == 1000);
  tunnel.body.set_tunnel.cut_after = 0;
  tunnel.body.set_tunnel.mtu = 4000;
  REQUIRE(gateway.desk.run(tunnel) == CommandStatus::ok);
  CHECK(fit().mtu == kRaw1300);
  CHECK(fit().most == kRaw1300);
}

TEST_CASE("not believed: about no packet of a live SA") {
  Gateway gateway;
  SECTION("another packet") {
    for (const char* name : {"too_big_other_source", "too_big_other_destination", "too_big_other_protocol",
                             "too_big_other_later", "too_big_other_spi", "too_big_other_short"}) {
      CAPTURE(name);
      const std::uint64_t before = gateway.unbelieved();
      gateway.hear(name);
      CHECK(gateway.unbelieved() == before + 1);
    }
  }
  SECTION("a sequence number that was not used") { gateway.hear("too_big_other_sequence"); }
  SECTION("nothing was sent at all") {
    gateway.desk.tables.tunnels[3].outbound.load()->sequence = 0;
    gateway.hear("too_big_raw");
  }
  SECTION("sent long ago") {
    gateway.desk.tables.tunnels[3].outbound.load()->sequence = 992 + (1U << 20);
    gateway.hear("too_big_raw");
  }
  SECTION("in UDP, which the SA is not") { gateway.hear("too_big_udp"); }
  SECTION("out of a tunnel") { gateway.hear("too_big_raw", dataplane::Note::kNoPort); }
  SECTION("the SA is gone") {
    REQUIRE(gateway.desk.run(remove_sa(channel::CommandKind::remove_outbound_sa, 3, kSpi)) ==
            CommandStatus::ok);
    gateway.hear("too_big_raw");
    CHECK(gateway.unbelieved() == 1);
    return;
  }
  CHECK(gateway.unbelieved() >= 1);
  CHECK(gateway.fit() == kRaw1500);
  CHECK(gateway.told().empty());
}

TEST_CASE("so many of them are looked at, and no more") {
  Gateway gateway;
  for (int i = 0; i < 100; i++) gateway.hear("too_big_other_spi");
  CHECK(gateway.unbelieved() == 20);
  CHECK(gateway.desk.drops(DropReason::icmp_rate_limited) == 80);
  gateway.desk.now += kSecond;
  gateway.hear("too_big_raw");
  CHECK(gateway.fit() == kRaw1300);
}

TEST_CASE("ICMPv6: never below 1280, nor what fitted") {
  const auto read = [](const char* name) {
    const Octets& ip = packet(name);
    return dataplane::read_too_big({ip.data() + 40, ip.size() - 40}, Family::v6);
  };
  const auto said = read("too_big6_1400");
  REQUIRE(said);
  CHECK(to_string(said->ends.local) == "2001:db8:2::1");
  CHECK(to_string(said->ends.remote) == "2001:db8:2::2");
  CHECK(said->ends.local_port == 0);
  CHECK(said->mtu == 1400);
  CHECK(said->spi == kSpi);
  CHECK(said->sequence == 992U);
  CHECK(read("too_big6_1280")->mtu == 1280);
  CHECK_FALSE(read("too_big6_1279"));
  CHECK_FALSE(read("too_big6_1500"));

  Gateway gateway;
  gateway.hear("too_big6_1400");  // no SA over IPv6 here
  CHECK(gateway.unbelieved() == 1);
}

TEST_CASE("an ICMP message that ends anywhere says nothing that it does not hold") {
  const Octets& ip = packet("too_big_udp");
  for (std::size_t length = 0; length <= ip.size() - 20; length++) {
    const Octets cut = slice(ip, 20, length);  // of its own, so that a sanitizer sees its end
    const auto said = dataplane::read_too_big(cut, Family::v4);
    CHECK(said.has_value() == (length >= 8 + 20 + 8));
    if (said) CHECK(said->spi.has_value() == (length >= 8 + 20 + 8 + 4));
    if (said) CHECK(said->sequence.has_value() == (length >= 8 + 20 + 8 + 8));
  }
}
