// Route tables on the main thread: tunnels of two tables, routes that lead from one to another, and IKE.
#include <catch2/catch.hpp>

#include "tests/dataplane/host/desk.hpp"

namespace espgate::test {

using channel::CommandStatus;
using channel::RouteKind;

namespace {

constexpr TableId kNone = 9;
constexpr std::uint32_t kOutboundSpi = 0x1234;

channel::Command tunnel_in(std::uint32_t index, TableId underlay, TableId overlay) {
  channel::Command out = set_tunnel(index);
  out.body.set_tunnel.underlay = underlay;
  out.body.set_tunnel.overlay = overlay;
  return out;
}

channel::Command route_in(TableId table, TableId via, std::string_view prefix, RouteKind kind,
                          std::uint32_t index, std::string_view gateway = "") {
  channel::Command out = set_route(prefix, kind, index, gateway);
  out.body.set_route.table = table;
  out.body.set_route.via_table = via;
  return out;
}

NextHop route_to(Desk& desk, TableId table, std::string_view address) {
  return desk.tables.routes(table).find_one(*parse_address(address));
}

}  // namespace

TEST_CASE("a tunnel's interface is in its overlay table, and its outer packets take the underlay's routes") {
  Desk desk;
  REQUIRE(desk.run(tunnel_in(3, kMainTable, kRed)) == CommandStatus::ok);
  CHECK(route_to(desk, kRed, "169.254.3.1").kind == NextHopKind::host);
  CHECK(route_to(desk, kRed, "169.254.3.2") == NextHop{NextHopKind::tunnel, 0, 0, 3});
  CHECK(route_to(desk, kMainTable, "169.254.3.1").kind == NextHopKind::none);
  REQUIRE(desk.run(install_outbound(3, kOutboundSpi)) == CommandStatus::ok);
  const dataplane::OutboundSa* sa = desk.tables.tunnels[3].outbound;
  CHECK(sa->outer.load().port == kWan);
  CHECK(sa->outer.load().kind == NextHopKind::gateway);

  SECTION("of another underlay it is another tunnel: without SAs, and its peer has no route") {
    REQUIRE(desk.run(tunnel_in(3, kRed, kRed)) == CommandStatus::ok);
    CHECK(desk.tables.tunnels[3].outbound.load() == nullptr);
    REQUIRE(desk.run(install_outbound(3, kOutboundSpi)) == CommandStatus::ok);
    CHECK(desk.tables.tunnels[3].outbound.load()->outer.load().kind == NextHopKind::none);
  }
  SECTION("with it its addresses go") {
    channel::Command remove = command(channel::CommandKind::remove_tunnel);
    remove.body.remove_tunnel.index = 3;
    REQUIRE(desk.run(remove) == CommandStatus::ok);
    CHECK(route_to(desk, kRed, "169.254.3.1").kind == NextHopKind::none);
  }
}

TEST_CASE("routes of a table, and those that lead out of it") {
  Desk desk;
  REQUIRE(desk.run(tunnel_in(3, kMainTable, kRed)) == CommandStatus::ok);
  REQUIRE(desk.run(tunnel_in(4, kMainTable, kMainTable)) == CommandStatus::ok);
  CHECK(desk.run(route_in(kRed, kRed, "10.2.0.0/16", RouteKind::tunnel, 3)) == CommandStatus::ok);
  CHECK(desk.run(route_in(kMainTable, kMainTable, "10.2.0.0/16", RouteKind::tunnel, 4)) == CommandStatus::ok);
  CHECK(route_to(desk, kRed, "10.2.0.1").index == 3);
  CHECK(route_to(desk, kMainTable, "10.2.0.1").index == 4);

  CHECK(desk.run(route_in(kMainTable, kMainTable, "10.3.0.0/16", RouteKind::tunnel, 3)) ==
        CommandStatus::bad_table);
  CHECK(desk.run(route_in(kMainTable, kRed, "10.3.0.0/16", RouteKind::tunnel, 3)) == CommandStatus::ok);
  CHECK(route_to(desk, kMainTable, "10.3.0.1").index == 3);
  CHECK(desk.run(route_in(kRed, kRed, "10.4.0.0/16", RouteKind::gateway, 0, "192.0.2.254")) ==
        CommandStatus::unreachable);
  CHECK(desk.run(route_in(kRed, kMainTable, "10.4.0.0/16", RouteKind::gateway, 0, "192.0.2.254")) ==
        CommandStatus::ok);
  CHECK(route_to(desk, kRed, "10.4.0.1").port == kWan);
  CHECK(route_to(desk, kMainTable, "10.4.0.1").kind == NextHopKind::none);

  channel::Command remove = command(channel::CommandKind::remove_route);
  remove.body.remove_route = {kRed, *parse_prefix("10.2.0.0/16")};
  CHECK(desk.run(remove) == CommandStatus::ok);
  CHECK(desk.run(remove) == CommandStatus::no_such_route);
  CHECK(route_to(desk, kRed, "10.2.0.1").kind == NextHopKind::none);
  CHECK(route_to(desk, kMainTable, "10.2.0.1").index == 4);
}

TEST_CASE("a table that does not exist is refused") {
  Desk desk;
  CHECK(desk.run(tunnel_in(3, kNone, kMainTable)) == CommandStatus::bad_table);
  CHECK(desk.run(tunnel_in(3, kMainTable, kNone)) == CommandStatus::bad_table);
  CHECK(desk.run(route_in(kNone, kMainTable, "10.2.0.0/16", RouteKind::blackhole, 0)) ==
        CommandStatus::bad_table);
  CHECK(desk.run(route_in(kMainTable, kNone, "10.2.0.0/16", RouteKind::blackhole, 0)) ==
        CommandStatus::bad_table);
  channel::IkeDatagram datagram{};
  datagram.table = kNone;
  datagram.local = *parse_address("192.0.2.1");
  datagram.remote = *parse_address("192.0.2.2");
  datagram.local_port = datagram.remote_port = 500;
  datagram.length = 28;
  desk.ike.send(datagram, desk.now);
  CHECK(desk.drops(DropReason::ike_malformed) == 1);
}

TEST_CASE("IKE is taken where its tunnels end, and says by which table it came") {
  Desk desk;
  SECTION("in the main table") {
    REQUIRE(desk.run(tunnel_in(3, kMainTable, kRed)) == CommandStatus::ok);
    desk.receive_ike({packet("ike_500")});
    REQUIRE(desk.control.datagrams.size() == 1);
    CHECK(desk.control.datagrams[0].table == kMainTable);
  }
  SECTION("in another one alone") {
    REQUIRE(desk.run(tunnel_in(3, kRed, kRed)) == CommandStatus::ok);
    desk.receive_ike({packet("ike_500")});
    CHECK(desk.control.datagrams.empty());
    CHECK(desk.drops(DropReason::wrong_table) == 1);
  }
}

// What is for the gateway itself is asked about here; the ways' part is in cleartext_test.cpp.
TEST_CASE("an encrypted-only port answers no ping, and finds its neighbours") {
  Desk desk;
  desk.raise(Exception::to_host, packet("echo4"), kLan);
  CHECK(desk.sent().size() == 1);
  desk.tables.ports[kLan].encrypted_only = true;
  desk.raise(Exception::to_host, packet("echo4"), kLan);
  CHECK(desk.sent().empty());
  CHECK(desk.drops(DropReason::cleartext_in) == 1);
  desk.raise(Exception::arp, packet("arp_request"), kLan);
  CHECK(desk.sent().size() == 1);
}

TEST_CASE("a packet that waited for the main thread does not leave in clear because its route has moved") {
  Desk desk;
  const auto resolve = [&desk](const Octets& ip) {
    rte_mbuf* packet = desk.make(ip);
    dataplane::note_of(packet) = dataplane::Note{};
    dataplane::note_of(packet).why = static_cast<std::uint8_t>(Exception::resolve);
    dataplane::note_of(packet).next_hop = {NextHopKind::connected, kLan, 0, 0};  // what a worker was told
    desk.slow_path.handle(packet, desk.now);
    return desk.sent().size();
  };
  const auto to_wan = [](unsigned protocol) {
    return ipv4_packet({.source = "10.1.0.2", .destination = "192.0.2.9", .protocol = protocol}, filling(40));
  };
  CHECK(resolve(to_wan(17)) == 1);  // asks for the neighbour
  desk.tables.ports[kWan].encrypted_only = true;
  CHECK(resolve(to_wan(17)) == 0);
  CHECK(desk.drops(DropReason::cleartext_out) == 1);
  CHECK(resolve(to_wan(50)) == 0);  // waits for the neighbour
  CHECK(desk.all_drops() == 1);
}

}  // namespace espgate::test
