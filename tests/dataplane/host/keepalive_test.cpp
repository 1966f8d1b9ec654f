// NAT keepalives (RFC 3948 section 4): when one is sent, for which SA, and its bytes.
#include <rte_cycles.h>
#include <catch2/catch.hpp>

#include "tests/dataplane/host/desk.hpp"

using namespace espgate;
using namespace espgate::test;
using channel::Command;
using channel::CommandKind;
using channel::CommandStatus;

namespace {

constexpr std::uint32_t kSpi = 0xc0000001;

Command in_udp(std::uint32_t tunnel, std::uint32_t spi, std::uint8_t keepalive) {
  Command out = install_outbound(tunnel, spi);
  channel::InstallSa& sa = out.body.install_sa;
  sa.udp_encapsulation = 1;
  sa.local_port = 4500;
  sa.remote_port = 31000;
  sa.keepalive = keepalive;
  return out;
}

struct Gateway {
  Gateway() {
    desk.know(kWan, "192.0.2.2", {2, 0, 0, 0, 0x99, 2});
    REQUIRE(desk.run(set_tunnel(3)) == CommandStatus::ok);
    (void)desk.sent();
  }
  // A quarter of a second, as the main thread counts them; what it gave to workers to route.
  std::vector<Octets> quarter() {
    desk.now += kSecond / 4;
    desk.associations.snapshot(desk.control, desk.now);
    std::vector<Octets> out;
    for (const Sent& sent : desk.sent())
      if (sent.errand == Errand::route) out.push_back(sent.data);
    return out;
  }
  unsigned keepalives(unsigned quarters) {
    unsigned count = 0;
    for (; quarters > 0; quarters--) count += static_cast<unsigned>(quarter().size());
    return count;
  }
  Desk desk;
};

}  // namespace

TEST_CASE("an SA in UDP that has sent nothing for as long as was asked sends a keepalive, again and again") {
  Gateway gateway;
  REQUIRE(gateway.desk.run(in_udp(3, kSpi, 20)) == CommandStatus::ok);
  CHECK(gateway.keepalives(79) == 0);
  const std::vector<Octets> due = gateway.quarter();
  REQUIRE(due.size() == 1);
  CHECK(hex(due[0]) == hex(packet("keepalive")));
  CHECK(gateway.keepalives(79) == 0);
  CHECK(gateway.quarter().size() == 1);
}

TEST_CASE("a packet that was sent puts the keepalive off") {
  Gateway gateway;
  REQUIRE(gateway.desk.run(in_udp(3, kSpi, 20)) == CommandStatus::ok);
  CHECK(gateway.keepalives(79) == 0);
  // To within what the machine takes between here and the snapshot, it is sent now.
  gateway.desk.tables.tunnels[3].outbound.load()->last_used_tsc = rte_rdtsc();
  CHECK(gateway.keepalives(1) == 0);
  gateway.desk.tables.tunnels[3].outbound.load()->last_used_tsc = 1;
  CHECK(gateway.keepalives(1) == 1);
}

TEST_CASE("without UDP, without a time, or without a way to the peer there are no keepalives") {
  Gateway gateway;
  SECTION("no UDP") {
    Command raw = in_udp(3, kSpi, 1);
    raw.body.install_sa.udp_encapsulation = 0;
    REQUIRE(gateway.desk.run(raw) == CommandStatus::ok);
  }
  SECTION("no time") { REQUIRE(gateway.desk.run(in_udp(3, kSpi, 0)) == CommandStatus::ok); }
  SECTION("no way") {
    REQUIRE(gateway.desk.run(set_tunnel(4, "203.0.113.9")) == CommandStatus::ok);
    Command far = in_udp(4, kSpi, 1);
    far.body.install_sa.remote = *parse_address("203.0.113.9");
    REQUIRE(gateway.desk.run(far) == CommandStatus::ok);
  }
  SECTION("it was removed") {
    REQUIRE(gateway.desk.run(in_udp(3, kSpi, 1)) == CommandStatus::ok);
    REQUIRE(gateway.desk.run(remove_sa(CommandKind::remove_outbound_sa, 3, kSpi)) == CommandStatus::ok);
  }
  CHECK(gateway.keepalives(20) == 0);
}

TEST_CASE("of a tunnel's SAs only the one that it sends on keeps the mapping alive") {
  Gateway gateway;
  REQUIRE(gateway.desk.run(in_udp(3, kSpi, 5)) == CommandStatus::ok);
  REQUIRE(gateway.desk.run(in_udp(3, kSpi + 1, 5)) == CommandStatus::ok);
  CHECK(gateway.keepalives(20) == 1);
  REQUIRE(gateway.desk.run(remove_sa(CommandKind::remove_outbound_sa, 3, kSpi + 1)) == CommandStatus::ok);
  CHECK(gateway.keepalives(20) == 1);
}

TEST_CASE("a keepalive leaves by the port, and over IPv6 it has a checksum") {
  Gateway gateway;
  REQUIRE(gateway.desk.run(in_udp(3, kSpi, 1)) == CommandStatus::ok);
  gateway.desk.now += kSecond;
  gateway.desk.associations.snapshot(gateway.desk.control, gateway.desk.now);
  const Output out = gateway.desk.pass(kWan, {});
  REQUIRE(out.frames[kWan].size() == 1);
  CHECK(hex(slice(out.frames[kWan][0], 14)) == hex(packet("keepalive")));

  dataplane::send_keepalive(gateway.desk.outbox,
                            {*parse_address("2001:db8:2::1"), *parse_address("2001:db8:2::2"), 4500, 31000},
                            kMainTable);
  const std::vector<Sent> sent = gateway.desk.sent();
  REQUIRE(sent.size() == 1);
  CHECK(hex(sent[0].data) == hex(packet("keepalive6")));
}
