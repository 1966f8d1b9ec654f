// Tunnels to wherever their SAs lead: routes to what the SAs' selectors have, as long as there are these SAs.
#include <catch2/catch.hpp>

#include "tests/dataplane/host/desk.hpp"

using namespace espgate;
using namespace espgate::test;
using channel::Command;
using channel::CommandKind;
using channel::CommandStatus;
using dataplane::NextHop;
using dataplane::NextHopKind;

namespace {

constexpr std::uint32_t kSpi = 0xc0000001;

Command anywhere(std::uint32_t index) {
  Command out = set_tunnel(index);
  out.body.set_tunnel.remote = {};
  return out;
}

Command sa(std::uint32_t tunnel, std::uint32_t spi, std::string_view first, std::string_view last,
           std::string_view far_end = "192.0.2.2") {
  Command out = install_outbound(tunnel, spi);
  out.body.install_sa.remote = *parse_address(far_end);
  channel::Selectors& selectors = out.body.install_sa.selectors;
  selectors.remote_count = 1;
  selectors.remote[0].first = *parse_address(first);
  selectors.remote[0].last = *parse_address(last);
  return out;
}

NextHop route_to(Desk& desk, std::string_view address) {
  return desk.tables.routes(kMainTable).find_one(*parse_address(address));
}

NextHop into(std::uint32_t tunnel) { return {NextHopKind::tunnel, 0, 0, tunnel}; }

}  // namespace

TEST_CASE("what an outbound SA's remote selectors have leads into its tunnel, until the last such SA goes") {
  Desk desk;
  REQUIRE(desk.run(anywhere(1)) == CommandStatus::ok);
  REQUIRE(desk.run(anywhere(2)) == CommandStatus::ok);
  CHECK(route_to(desk, "10.64.1.5").kind == NextHopKind::none);
  REQUIRE(desk.run(sa(1, kSpi, "10.64.1.0", "10.64.1.255")) == CommandStatus::ok);
  REQUIRE(desk.run(sa(2, kSpi, "10.64.2.3", "10.64.2.10", "192.0.2.3")) == CommandStatus::ok);
  CHECK(route_to(desk, "10.64.1.5") == into(1));
  CHECK(desk.peers.contains(kMainTable, *parse_address("192.0.2.3")));
  // A range that is no prefix, to its very ends.
  CHECK(route_to(desk, "10.64.2.3") == into(2));
  CHECK(route_to(desk, "10.64.2.10") == into(2));
  CHECK(route_to(desk, "10.64.2.2").kind == NextHopKind::none);
  CHECK(route_to(desk, "10.64.2.11").kind == NextHopKind::none);
  // A rekey: the new SA has the same.
  REQUIRE(desk.run(sa(1, kSpi + 1, "10.64.1.0", "10.64.1.255")) == CommandStatus::ok);
  REQUIRE(desk.run(remove_sa(CommandKind::remove_outbound_sa, 1, kSpi)) == CommandStatus::ok);
  CHECK(route_to(desk, "10.64.1.5") == into(1));
  REQUIRE(desk.run(remove_sa(CommandKind::remove_outbound_sa, 1, kSpi + 1)) == CommandStatus::ok);
  CHECK(route_to(desk, "10.64.1.5").kind == NextHopKind::none);
  CHECK(route_to(desk, "10.64.2.5") == into(2));
  Command gone = command(CommandKind::remove_tunnel);
  gone.body.remove_tunnel.index = 2;
  REQUIRE(desk.run(gone) == CommandStatus::ok);
  CHECK(route_to(desk, "10.64.2.5").kind == NextHopKind::none);
}

TEST_CASE("tunnels with a far end have no such routes, and configured ones come before") {
  Desk desk;
  REQUIRE(desk.run(set_tunnel(1)) == CommandStatus::ok);
  REQUIRE(desk.run(sa(1, kSpi, "10.64.1.0", "10.64.1.255")) == CommandStatus::ok);
  CHECK(route_to(desk, "10.64.1.5").kind == NextHopKind::none);
  REQUIRE(desk.run(anywhere(2)) == CommandStatus::ok);
  REQUIRE(desk.run(set_route("10.64.0.0/16", channel::RouteKind::blackhole, 0)) == CommandStatus::ok);
  REQUIRE(desk.run(sa(2, kSpi, "10.64.0.0", "10.64.255.255")) == CommandStatus::ok);
  CHECK(route_to(desk, "10.64.1.5").kind == NextHopKind::blackhole);
  REQUIRE(desk.run(sa(2, kSpi + 1, "10.64.1.0", "10.64.1.255")) == CommandStatus::ok);
  CHECK(route_to(desk, "10.64.1.5") == into(2));
}

TEST_CASE("what a peer says is behind it is never the way to a far end") {
  Desk desk;
  REQUIRE(desk.run(anywhere(1)) == CommandStatus::ok);
  REQUIRE(desk.run(set_route("0.0.0.0/0", channel::RouteKind::gateway, 0, "192.0.2.254")) ==
          CommandStatus::ok);
  REQUIRE(desk.run(sa(1, kSpi, "203.0.113.0", "203.0.113.255", "203.0.113.9")) == CommandStatus::ok);
  CHECK(route_to(desk, "203.0.113.9").kind == NextHopKind::gateway);
  const dataplane::OutboundSa* const outbound = desk.tables.tunnels[1].outbound;
  CHECK(outbound->outer.load().kind == NextHopKind::gateway);
}

TEST_CASE("the sweep leaves SAs' routes alone, and a table that is full refuses the SA") {
  Desk desk(1, 2047, 24);
  REQUIRE(desk.run(anywhere(1)) == CommandStatus::ok);
  REQUIRE(desk.run(sa(1, kSpi, "10.64.1.0", "10.64.1.255")) == CommandStatus::ok);
  REQUIRE(desk.run(command(CommandKind::sync_begin)) == CommandStatus::ok);
  REQUIRE(desk.run(anywhere(1)) == CommandStatus::ok);
  REQUIRE(desk.run(command(CommandKind::sync_end)) == CommandStatus::ok);
  CHECK(route_to(desk, "10.64.1.5") == into(1));
  REQUIRE(desk.run(anywhere(2)) == CommandStatus::ok);
  CHECK(desk.run(sa(2, kSpi, "10.65.0.1", "10.65.255.254")) == CommandStatus::table_full);  // 30 prefixes
  CHECK(desk.tables.tunnels[2].outbound == nullptr);
  CHECK(route_to(desk, "10.65.9.9").kind == NextHopKind::none);
  CHECK(route_to(desk, "10.64.1.5") == into(1));
}

TEST_CASE("a far end that is not set goes with tunnel mode alone") {
  Desk desk;
  Command transport = anywhere(1);
  transport.body.set_tunnel.mode = channel::Mode::transport;
  transport.body.set_tunnel.address_count = 0;
  CHECK(desk.run(transport) == CommandStatus::bad_address);
  Command nowhere = anywhere(1);
  nowhere.body.set_tunnel.local = {};
  CHECK(desk.run(nowhere) == CommandStatus::bad_address);
}
