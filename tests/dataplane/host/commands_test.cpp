// The commands: what each does to the tables, every status, adoption and the sweep, lifetimes.
#include <catch2/catch.hpp>

#include <algorithm>
#include <map>
#include <set>

#include "channel/spi.hpp"
#include "tests/dataplane/host/desk.hpp"

using namespace espgate;
using namespace espgate::test;
using channel::Command;
using channel::CommandKind;
using channel::CommandStatus;
using channel::RouteKind;

namespace {

const std::uint32_t kInboundSpi = channel::make_spi(0, 1, 5);
constexpr std::uint32_t kOutboundSpi = 0xc0000001;

template <class Spoil>
Command spoilt(Command command, Spoil&& spoil) {
  spoil(command.body);
  return command;
}

Command remove_tunnel(std::uint32_t index) {
  Command out = command(CommandKind::remove_tunnel);
  out.body.remove_tunnel.index = index;
  return out;
}

Command remove_group(std::uint32_t index) {
  Command out = command(CommandKind::remove_group);
  out.body.remove_group.index = index;
  return out;
}

Command remove_route(std::string_view prefix) {
  Command out = command(CommandKind::remove_route);
  out.body.remove_route.destination = *parse_prefix(prefix);
  return out;
}

dataplane::NextHop route_to(Desk& desk, std::string_view address) {
  return desk.tables.routes(kMainTable).find_one(*parse_address(address));
}

std::vector<channel::Event> events_of(Desk& desk, channel::EventKind kind) {
  std::vector<channel::Event> found;
  for (const channel::Event& event : desk.control.events)
    if (event.kind == kind) found.push_back(event);
  desk.control.events.clear();
  return found;
}

}  // namespace

TEST_CASE("a tunnel: its addresses are ours, its network leads into it, its MTU is derived") {
  Desk desk;
  REQUIRE(desk.run(set_tunnel(3)) == CommandStatus::ok);
  CHECK(route_to(desk, "169.254.3.1").kind == NextHopKind::host);
  CHECK(route_to(desk, "169.254.3.2") == NextHop{NextHopKind::tunnel, 0, 0, 3});
  const dataplane::Tunnel* tunnel = desk.tables.tunnels[3].tunnel.load();
  REQUIRE(tunnel != nullptr);
  CHECK(desk.tables.tunnels[3].fit.load().mtu ==
        1406);  // 1500 - IPv4, UDP, ESP, CBC's IV, SHA-512's ICV, in blocks of 16, less the trailer
  CHECK(to_string(tunnel->address4) == "169.254.3.1");
  CHECK(desk.peers.contains(kMainTable, *parse_address("192.0.2.2")));
  REQUIRE(desk.run(spoilt(set_tunnel(3), [](auto& b) { b.set_tunnel.mtu = 1300; })) == CommandStatus::ok);
  CHECK(desk.tables.tunnels[3].fit.load().mtu == 1300);
  REQUIRE(desk.run(remove_tunnel(3)) == CommandStatus::ok);
  CHECK(route_to(desk, "169.254.3.1").kind == NextHopKind::none);
  CHECK(route_to(desk, "169.254.3.2").kind == NextHopKind::none);
  CHECK(desk.tables.tunnels[3].tunnel.load() == nullptr);
  CHECK(desk.tables.tunnels[3].fit.load().mtu == 0);
  CHECK_FALSE(desk.peers.contains(kMainTable, *parse_address("192.0.2.2")));
}

TEST_CASE("an SA pair: published, used by its tunnel, listed, removed") {
  Desk desk;
  REQUIRE(desk.run(set_tunnel(3)) == CommandStatus::ok);
  REQUIRE(desk.run(install_inbound(3, kInboundSpi)) == CommandStatus::ok);
  REQUIRE(desk.run(install_outbound(3, kOutboundSpi)) == CommandStatus::ok);
  dataplane::InboundSa& inbound = desk.tables.inbound[0].slots[5];
  CHECK(inbound.spi == kInboundSpi);
  dataplane::OutboundSa* outbound = desk.tables.tunnels[3].outbound;
  REQUIRE(outbound != nullptr);
  CHECK(outbound->spi == kOutboundSpi);
  // The next hop: the peer itself, on the wan, asked for at once.
  const NextHop outer = outbound->outer;
  CHECK(outer.kind == NextHopKind::gateway);
  CHECK(outer.port == kWan);
  CHECK(outer.index == desk.tables.neighbours.find(kWan, *parse_address("192.0.2.2")));
  CHECK(desk.sent().size() == 1);
  // AES-128-GCM, not in UDP: 1500 - IPv4, ESP, IV and ICV, in words, less the trailer.
  CHECK(desk.tables.tunnels[3].fit.load().mtu == 1446);

  REQUIRE(desk.run(command(CommandKind::list_sas)) == CommandStatus::ok);
  const auto held = events_of(desk, channel::EventKind::sa_held);
  REQUIRE(held.size() == 2);
  CHECK(held[0].body.sa_held.spi == kInboundSpi);
  CHECK(held[1].body.sa_held.spi == kOutboundSpi);
  CHECK(held[1].body.sa_held.tunnel_name == name("tunnel3"));

  REQUIRE(desk.run(remove_sa(CommandKind::remove_outbound_sa, 3, kOutboundSpi)) == CommandStatus::ok);
  REQUIRE(desk.run(remove_sa(CommandKind::remove_inbound_sa, 3, kInboundSpi)) == CommandStatus::ok);
  CHECK(desk.tables.tunnels[3].outbound == nullptr);
  CHECK(inbound.spi == 0);
  CHECK(inbound.former_spi == kInboundSpi);
  desk.tables.rcu.reclaim_ready();
  const auto zero = [](const auto& key) {
    return std::all_of(std::begin(key.storage), std::end(key.storage),
                       [](std::byte b) { return b == std::byte{0}; });
  };
  CHECK(zero(inbound.key));
  CHECK(zero(outbound->key));
}

TEST_CASE("while a worker may hold an SA its key stays; a new one for the slot waits for that") {
  Desk desk;
  REQUIRE(desk.run(set_tunnel(3)) == CommandStatus::ok);
  REQUIRE(desk.run(spoilt(install_inbound(3, kInboundSpi), [](auto& b) {
    b.install_sa.replay_window = crypto::ReplayWindow::kMaxPackets;  // in memory of its own
  })) == CommandStatus::ok);
  dataplane::InboundSa& inbound = desk.tables.inbound[0].slots[5];
  REQUIRE(inbound.window.commit(20'000) == crypto::ReplayWindow::Verdict::fresh);
  desk.tables.rcu.online(0);
  // Without `settle`, which would wait for the worker.
  desk.commands.execute(remove_sa(CommandKind::remove_inbound_sa, 3, kInboundSpi), desk.now);
  desk.tables.rcu.reclaim_ready();
  const auto any = [&] {
    return std::any_of(std::begin(inbound.key.storage), std::end(inbound.key.storage),
                       [](std::byte b) { return b != std::byte{0}; });
  };
  CHECK(any());
  CHECK(inbound.window.check(20'000) == crypto::ReplayWindow::Verdict::duplicate);
  desk.tables.rcu.quiet(0);
  desk.tables.rcu.reclaim_ready();
  CHECK_FALSE(any());
  desk.tables.rcu.offline(0);
  CHECK(desk.run(install_inbound(3, channel::make_spi(0, 2, 5))) == CommandStatus::ok);
}

TEST_CASE("a rekey: the new outbound SA takes over at once, the former stays until removed") {
  Desk desk;
  REQUIRE(desk.run(set_tunnel(3)) == CommandStatus::ok);
  REQUIRE(desk.run(install_outbound(3, kOutboundSpi)) == CommandStatus::ok);
  const dataplane::OutboundSa* first = desk.tables.tunnels[3].outbound;
  desk.now += kSecond;
  REQUIRE(desk.run(install_outbound(3, kOutboundSpi + 1)) == CommandStatus::ok);
  const dataplane::OutboundSa* second = desk.tables.tunnels[3].outbound;
  CHECK(second != first);
  CHECK(first->spi == kOutboundSpi);
  SECTION("the old one goes") {
    REQUIRE(desk.run(remove_sa(CommandKind::remove_outbound_sa, 3, kOutboundSpi)) == CommandStatus::ok);
    CHECK(desk.tables.tunnels[3].outbound == second);
  }
  SECTION("the new one goes") {
    REQUIRE(desk.run(remove_sa(CommandKind::remove_outbound_sa, 3, kOutboundSpi + 1)) == CommandStatus::ok);
    CHECK(desk.tables.tunnels[3].outbound == first);
  }
}

TEST_CASE("a tunnel is out of its groups while the port of its packets is down") {
  Desk desk;
  REQUIRE(desk.run(set_tunnel(1, "192.0.2.2")) == CommandStatus::ok);
  REQUIRE(desk.run(set_tunnel(2, "10.1.0.9")) == CommandStatus::ok);
  REQUIRE(desk.run(set_group(0, {1, 2})) == CommandStatus::ok);
  Command far = install_outbound(2, 0x2000);
  far.body.install_sa.local = *parse_address("10.1.0.1");
  far.body.install_sa.remote = *parse_address("10.1.0.9");
  REQUIRE(desk.run(install_outbound(1, 0x1000)) == CommandStatus::ok);
  REQUIRE(desk.run(far) == CommandStatus::ok);
  CHECK(buckets(desk, 0).size() == 2);
  desk.tables.ports[kWan].up = false;
  desk.commands.port_changed(desk.now);
  CHECK(buckets(desk, 0).contains(2));
  CHECK(buckets(desk, 0).size() == 1);
  desk.tables.ports[kLan].up = false;
  desk.commands.port_changed(desk.now);
  CHECK(buckets(desk, 0).contains(kNobody));
  desk.tables.ports[kWan].up = true;
  desk.tables.ports[kLan].up = true;
  desk.commands.port_changed(desk.now);
  CHECK(buckets(desk, 0).size() == 2);
  CHECK_FALSE(buckets(desk, 0).contains(kNobody));
}

TEST_CASE("a group spreads over the members that are up") {
  Desk desk;
  for (std::uint32_t i : {1U, 2U, 3U}) REQUIRE(desk.run(set_tunnel(i)) == CommandStatus::ok);
  REQUIRE(desk.run(set_group(0, {1, 2, 3})) == CommandStatus::ok);
  CHECK(buckets(desk, 0) == std::map<std::uint32_t, unsigned>{{kNobody, 512}});
  REQUIRE(desk.run(install_outbound(2, kOutboundSpi)) == CommandStatus::ok);
  CHECK(buckets(desk, 0) == std::map<std::uint32_t, unsigned>{{2, 512}});
  REQUIRE(desk.run(install_outbound(1, kOutboundSpi)) == CommandStatus::ok);
  CHECK(buckets(desk, 0) == std::map<std::uint32_t, unsigned>{{1, 256}, {2, 256}});
  REQUIRE(desk.run(remove_sa(CommandKind::remove_outbound_sa, 2, kOutboundSpi)) == CommandStatus::ok);
  CHECK(buckets(desk, 0) == std::map<std::uint32_t, unsigned>{{1, 512}});
  REQUIRE(desk.run(set_route("10.2.0.0/16", RouteKind::group, 0)) == CommandStatus::ok);
  CHECK(route_to(desk, "10.2.0.1") == NextHop{NextHopKind::group, 0, 0, 0});
  REQUIRE(desk.run(remove_tunnel(1)) == CommandStatus::ok);
  CHECK(buckets(desk, 0) == std::map<std::uint32_t, unsigned>{{kNobody, 512}});
  REQUIRE(desk.run(remove_group(0)) == CommandStatus::ok);
  CHECK(desk.tables.groups[0].load() == nullptr);
  CHECK(route_to(desk, "10.2.0.1").kind == NextHopKind::none);
}

TEST_CASE("routes: by a gateway, into a tunnel, nowhere") {
  Desk desk;
  REQUIRE(desk.run(set_tunnel(3)) == CommandStatus::ok);
  REQUIRE(desk.run(set_route("203.0.113.0/24", RouteKind::gateway, 0, "192.0.2.254")) == CommandStatus::ok);
  const NextHop gateway = route_to(desk, "203.0.113.9");
  CHECK(gateway.kind == NextHopKind::gateway);
  CHECK(gateway.port == kWan);
  CHECK(desk.tables.neighbours.entry(gateway.index).address == *parse_address("192.0.2.254"));
  REQUIRE(desk.run(set_route("10.2.0.0/16", RouteKind::tunnel, 3)) == CommandStatus::ok);
  CHECK(route_to(desk, "10.2.3.4") == NextHop{NextHopKind::tunnel, 0, 0, 3});
  REQUIRE(desk.run(set_route("10.2.9.0/24", RouteKind::blackhole, 0)) == CommandStatus::ok);
  CHECK(route_to(desk, "10.2.9.4").kind == NextHopKind::blackhole);
  REQUIRE(desk.run(remove_route("10.2.9.0/24")) == CommandStatus::ok);
  CHECK(route_to(desk, "10.2.9.4").kind == NextHopKind::tunnel);
  REQUIRE(desk.run(set_route("203.0.113.0/24", RouteKind::tunnel, 3)) == CommandStatus::ok);
  CHECK(route_to(desk, "203.0.113.9").kind == NextHopKind::tunnel);
  REQUIRE(desk.run(remove_tunnel(3)) == CommandStatus::ok);
  CHECK(route_to(desk, "10.2.3.4").kind == NextHopKind::none);
}

TEST_CASE("an SA's outer next hop follows the routes") {
  Desk desk;
  REQUIRE(desk.run(set_tunnel(3, "203.0.113.9")) == CommandStatus::ok);
  Command install = install_outbound(3, kOutboundSpi);
  install.body.install_sa.remote = *parse_address("203.0.113.9");
  REQUIRE(desk.run(install) == CommandStatus::ok);
  const dataplane::OutboundSa* sa = desk.tables.tunnels[3].outbound;
  CHECK(sa->outer.load().kind == NextHopKind::none);
  REQUIRE(desk.run(set_route("0.0.0.0/0", RouteKind::gateway, 0, "192.0.2.254")) == CommandStatus::ok);
  CHECK(sa->outer.load() == route_to(desk, "203.0.113.9"));
  REQUIRE(desk.run(set_route("203.0.113.0/24", RouteKind::gateway, 0, "10.1.0.77")) == CommandStatus::ok);
  CHECK(sa->outer.load().port == kLan);
  // Never into a tunnel, its own least of all.
  REQUIRE(desk.run(set_route("203.0.113.9/32", RouteKind::tunnel, 3)) == CommandStatus::ok);
  CHECK(sa->outer.load().kind == NextHopKind::none);
}

TEST_CASE("the ports' own routes") {
  Desk desk;
  CHECK(route_to(desk, "10.1.0.1").kind == NextHopKind::host);
  CHECK(route_to(desk, "fd00:1::1").kind == NextHopKind::host);
  CHECK(route_to(desk, "10.1.0.7") == NextHop{NextHopKind::connected, kLan, 0, 0});
  CHECK(route_to(desk, "fd00:1::7") == NextHop{NextHopKind::connected, kLan, 0, 0});
  CHECK(route_to(desk, "10.1.0.255").kind == NextHopKind::blackhole);  // no directed broadcast
  CHECK(route_to(desk, "10.1.0.0").kind == NextHopKind::blackhole);
  // A configured route does not take a port's own network away.
  REQUIRE(desk.run(set_route("10.1.0.0/24", RouteKind::blackhole, 0)) == CommandStatus::ok);
  CHECK(route_to(desk, "10.1.0.7").kind == NextHopKind::connected);
}

TEST_CASE("mark and sweep: what was not set between sync_begin and sync_end goes") {
  Desk desk;
  CHECK(desk.run(command(CommandKind::sync_end)) == CommandStatus::unknown_command);
  for (std::uint32_t i : {1U, 2U}) REQUIRE(desk.run(set_tunnel(i)) == CommandStatus::ok);
  REQUIRE(desk.run(set_group(0, {1, 2})) == CommandStatus::ok);
  REQUIRE(desk.run(set_group(1, {1})) == CommandStatus::ok);
  REQUIRE(desk.run(set_route("10.2.0.0/16", RouteKind::group, 0)) == CommandStatus::ok);
  REQUIRE(desk.run(set_route("10.3.0.0/16", RouteKind::tunnel, 1)) == CommandStatus::ok);
  REQUIRE(desk.run(install_outbound(1, kOutboundSpi)) == CommandStatus::ok);
  REQUIRE(desk.run(install_outbound(2, kOutboundSpi)) == CommandStatus::ok);

  REQUIRE(desk.run(command(CommandKind::sync_begin)) == CommandStatus::ok);
  REQUIRE(desk.run(set_tunnel(1)) == CommandStatus::ok);
  REQUIRE(desk.run(set_group(0, {1})) == CommandStatus::ok);
  REQUIRE(desk.run(set_route("10.2.0.0/16", RouteKind::group, 0)) == CommandStatus::ok);
  CHECK(route_to(desk, "10.3.0.1").kind == NextHopKind::tunnel);  // nothing goes before the end
  REQUIRE(desk.run(command(CommandKind::sync_end)) == CommandStatus::ok);
  CHECK(desk.tables.tunnels[1].outbound != nullptr);  // adopted, SA and all
  CHECK(desk.tables.tunnels[2].tunnel == nullptr);
  CHECK(desk.tables.tunnels[2].outbound == nullptr);
  CHECK(desk.tables.groups[0] != nullptr);
  CHECK(desk.tables.groups[1] == nullptr);
  CHECK(route_to(desk, "10.2.0.1").kind == NextHopKind::group);
  CHECK(route_to(desk, "10.3.0.1").kind == NextHopKind::none);
  CHECK(route_to(desk, "10.1.0.7").kind == NextHopKind::connected);
  CHECK(desk.associations.count() == 1);
}

TEST_CASE("another tunnel in the same place does not inherit SAs or routes") {
  Desk desk;
  REQUIRE(desk.run(set_tunnel(1)) == CommandStatus::ok);
  REQUIRE(desk.run(install_outbound(1, kOutboundSpi)) == CommandStatus::ok);
  REQUIRE(desk.run(set_route("10.3.0.0/16", RouteKind::tunnel, 1)) == CommandStatus::ok);
  REQUIRE(desk.run(spoilt(set_tunnel(1), [](auto& b) { b.set_tunnel.name = name("another"); })) ==
          CommandStatus::ok);
  CHECK(desk.tables.tunnels[1].outbound == nullptr);
  CHECK(desk.associations.count() == 0);
  CHECK(route_to(desk, "10.3.0.1").kind == NextHopKind::none);
}

TEST_CASE("lifetimes are told once each, and counters reach the page") {
  Desk desk;
  REQUIRE(desk.run(set_tunnel(3)) == CommandStatus::ok);
  Command install = install_outbound(3, kOutboundSpi);
  install.body.install_sa.soft_bytes = 1000;
  install.body.install_sa.hard_packets = 20;
  REQUIRE(desk.run(install) == CommandStatus::ok);
  dataplane::OutboundSa* sa = desk.tables.tunnels[3].outbound;
  const auto snapshot = [&] { desk.associations.snapshot(desk.control, desk.now); };
  snapshot();
  CHECK(desk.control.events.empty());
  sa->bytes = 1000;
  sa->sequence = 19;
  snapshot();
  snapshot();
  const auto soft = events_of(desk, channel::EventKind::sa_soft_lifetime);
  REQUIRE(soft.size() == 1);
  CHECK(soft[0].body.sa_lifetime.spi == kOutboundSpi);
  CHECK(soft[0].body.sa_lifetime.direction == channel::Direction::outbound);
  sa->sequence = 20;
  snapshot();
  snapshot();
  CHECK(events_of(desk, channel::EventKind::sa_hard_lifetime).size() == 1);
  const auto slot = static_cast<std::size_t>(sa - desk.tables.outbound[0]);
  const channel::SaStatus& status = desk.page.outbound(0)[slot];
  CHECK(status.spi == kOutboundSpi);
  CHECK(status.tunnel == 3);
  CHECK(status.bytes == 1000);
  CHECK(status.packets == 20);
  CHECK(status.highest_sequence == 20);
  REQUIRE(desk.run(remove_sa(CommandKind::remove_outbound_sa, 3, kOutboundSpi)) == CommandStatus::ok);
  CHECK(status.spi == 0);
}

TEST_CASE("both lifetimes passed between two snapshots: the soft one is told first, and again to who lists") {
  Desk desk;
  REQUIRE(desk.run(set_tunnel(3)) == CommandStatus::ok);
  const bool inbound = GENERATE(true, false);
  Command install = inbound ? install_inbound(3, kInboundSpi) : install_outbound(3, kOutboundSpi);
  install.body.install_sa.soft_bytes = 700;
  install.body.install_sa.hard_bytes = 800;
  REQUIRE(desk.run(install) == CommandStatus::ok);
  (inbound ? desk.tables.inbound[0].slots[5].bytes : desk.tables.tunnels[3].outbound.load()->bytes) = 900;
  desk.control.events.clear();
  const auto told = [&] {
    desk.associations.snapshot(desk.control, desk.now);
    std::vector<channel::EventKind> kinds;
    for (const channel::Event& event : desk.control.events) kinds.push_back(event.kind);
    desk.control.events.clear();
    return kinds;
  };
  const std::vector<channel::EventKind> both{channel::EventKind::sa_soft_lifetime,
                                             channel::EventKind::sa_hard_lifetime};
  CHECK(told() == both);
  CHECK(told().empty());
  REQUIRE(desk.run(command(CommandKind::list_sas)) == CommandStatus::ok);  // another control process
  desk.control.events.clear();
  CHECK(told() == both);
}

TEST_CASE("a tunnel has carried what its SAs have, those of the past among them") {
  Desk desk;
  REQUIRE(desk.run(set_tunnel(3)) == CommandStatus::ok);
  const channel::InterfaceCounters& counters = desk.page.tunnels()[3];
  const auto install = [&](std::uint32_t inbound, std::uint32_t outbound) {
    REQUIRE(desk.run(install_inbound(3, inbound)) == CommandStatus::ok);
    REQUIRE(desk.run(install_outbound(3, outbound)) == CommandStatus::ok);
  };
  const auto carry = [&](std::uint32_t inbound, std::uint64_t packets) {
    dataplane::OutboundSa& out = *desk.tables.tunnels[3].outbound;
    dataplane::InboundSa& in = desk.tables.inbound[0].slots[channel::spi_slot(inbound)];
    out.sequence = packets;
    out.bytes = 100 * packets;
    in.packets = 2 * packets;
    in.bytes = 200 * packets;
  };
  const auto shows = [&](std::uint64_t packets) {
    desk.associations.snapshot(desk.control, desk.now);
    CHECK(counters.tx_packets == packets);
    CHECK(counters.tx_bytes == 100 * packets);
    CHECK(counters.rx_packets == 2 * packets);
    CHECK(counters.rx_bytes == 200 * packets);
  };
  install(kInboundSpi, kOutboundSpi);
  shows(0);
  carry(kInboundSpi, 10);
  shows(10);

  const std::uint32_t next = channel::make_spi(0, 1, 9);
  install(next, kOutboundSpi + 1);
  carry(next, 5);
  shows(15);  // both pairs at once, as in a rekey
  // While a worker may still use the removed ones, the counters stand still; they never fall.
  desk.tables.rcu.online(0);
  desk.commands.execute(remove_sa(CommandKind::remove_outbound_sa, 3, kOutboundSpi), desk.now);
  desk.commands.execute(remove_sa(CommandKind::remove_inbound_sa, 3, kInboundSpi), desk.now);
  shows(15);
  desk.tables.rcu.quiet(0);
  desk.tables.rcu.reclaim_ready();
  shows(15);
  carry(next, 6);
  shows(16);
  desk.tables.rcu.offline(0);
}

TEST_CASE("sequence numbers that run low ask for a rekey") {
  Desk desk;
  REQUIRE(desk.run(set_tunnel(3)) == CommandStatus::ok);
  REQUIRE(desk.run(install_outbound(3, kOutboundSpi)) == CommandStatus::ok);
  desk.tables.tunnels[3].outbound.load()->sequence = 0xf0000000;
  desk.associations.snapshot(desk.control, desk.now);
  CHECK(events_of(desk, channel::EventKind::sa_soft_lifetime).size() == 1);
  desk.tables.tunnels[3].outbound.load()->sequence = 0xffffffff;
  desk.associations.snapshot(desk.control, desk.now);
  CHECK(events_of(desk, channel::EventKind::sa_hard_lifetime).size() == 1);
}

TEST_CASE("an SA with a sequence limit asks for more in time, and is extended") {
  Desk desk;
  REQUIRE(desk.run(set_tunnel(3)) == CommandStatus::ok);
  Command install = install_outbound(3, kOutboundSpi);
  install.body.install_sa.last_sequence = 1'000'000;
  install.body.install_sa.sequence_limit = 41'000'000;
  install.body.install_sa.label = 99;
  REQUIRE(desk.run(install) == CommandStatus::ok);
  dataplane::OutboundSa& sa = *desk.tables.tunnels[3].outbound.load();
  const auto asks = [&] {
    desk.associations.snapshot(desk.control, desk.now);
    return events_of(desk, channel::EventKind::sa_limit_near);
  };
  const auto extend = [&](std::uint64_t limit) {
    Command out = command(CommandKind::extend_sa);
    out.body.extend_sa = {3, kOutboundSpi, limit};
    return desk.run(out);
  };
  CHECK(asks().empty());
  sa.sequence = 16'000'000;
  CHECK(asks().empty());
  CHECK(desk.page.tunnels()[3].tx_packets == 15'000'000);
  sa.sequence = 16'000'001;
  const auto asked = asks();
  REQUIRE(asked.size() == 1);
  CHECK(asked[0].body.sa_limit_near.spi == kOutboundSpi);
  CHECK(asked[0].body.sa_limit_near.sequence == 16'000'001);
  CHECK(asked[0].body.sa_limit_near.sequence_limit == 41'000'000);
  CHECK(asks().size() == 1);  // until it is answered
  REQUIRE(extend(40'000'000) == CommandStatus::ok);
  CHECK(sa.last_sequence == 41'000'000);
  REQUIRE(extend(50'000'000) == CommandStatus::ok);
  CHECK(sa.last_sequence == 50'000'000);
  CHECK(asks().empty());
  REQUIRE(extend(~std::uint64_t{0}) == CommandStatus::ok);
  CHECK(sa.last_sequence == 0xffffffff);  // no ESN
  sa.sequence = 0xfffffffe;
  CHECK(asks().empty());  // there are no more to be had

  REQUIRE(desk.run(command(CommandKind::list_sas)) == CommandStatus::ok);
  const auto held = events_of(desk, channel::EventKind::sa_held);
  REQUIRE(held.size() == 1);
  CHECK(held[0].body.sa_held.label == 99);
  CHECK(held[0].body.sa_held.sequence_limit == 0xffffffff);
}

TEST_CASE("every status, by a command with one thing wrong") {
  Desk desk;
  std::set<CommandStatus> seen{CommandStatus::ok};
  const auto expect = [&](CommandStatus status, const Command& wrong) {
    const CommandStatus got = desk.run(wrong);
    CAPTURE(channel::words(status), channel::words(got), static_cast<int>(wrong.kind));
    CHECK(got == status);
    seen.insert(got);
  };
  const auto tunnel = [&](CommandStatus status, auto&& spoil) {
    expect(status, spoilt(set_tunnel(4), spoil));
  };
  const auto inbound = [&](CommandStatus status, auto&& spoil) {
    expect(status, spoilt(install_inbound(3, channel::make_spi(0, 1, 6)), spoil));
  };
  const auto outbound = [&](CommandStatus status, auto&& spoil) {
    expect(status, spoilt(install_outbound(3, kOutboundSpi + 1), spoil));
  };
  const auto route = [&](CommandStatus status, auto&& spoil) {
    expect(status, spoilt(set_route("10.7.0.0/16", RouteKind::gateway, 0, "192.0.2.9"), spoil));
  };
  REQUIRE(desk.run(set_tunnel(3)) == CommandStatus::ok);
  REQUIRE(desk.run(set_group(0, {3})) == CommandStatus::ok);
  REQUIRE(desk.run(install_inbound(3, kInboundSpi)) == CommandStatus::ok);
  REQUIRE(desk.run(install_outbound(3, kOutboundSpi)) == CommandStatus::ok);
  using S = CommandStatus;

  expect(S::unknown_command, command(CommandKind::none));
  expect(S::unknown_command, command(static_cast<CommandKind>(999)));
  tunnel(S::bad_index, [](auto& b) { b.set_tunnel.index = 9; });
  tunnel(S::bad_name, [](auto& b) { b.set_tunnel.name = {}; });
  tunnel(S::bad_name, [](auto& b) { b.set_tunnel.name.fill('x'); });  // no closing zero
  tunnel(S::bad_name, [](auto& b) { b.set_tunnel.name[2] = '\033'; });
  tunnel(S::bad_name, [](auto& b) { b.set_tunnel.interface_name[0] = ' '; });
  tunnel(S::bad_count, [](auto& b) { b.set_tunnel.address_count = 5; });
  tunnel(S::bad_prefix, [](auto& b) { b.set_tunnel.addresses[0].length = 33; });
  tunnel(S::bad_prefix, [](auto& b) { b.set_tunnel.addresses[0].address = *parse_address("224.0.0.1"); });
  tunnel(S::bad_prefix, [](auto& b) { b.set_tunnel.address_count = 2; });
  tunnel(S::bad_mtu, [](auto& b) { b.set_tunnel.mtu = 575; });
  tunnel(S::bad_mtu, [](auto& b) { b.set_tunnel.mtu = 9001; });
  tunnel(S::bad_option, [](auto& b) { b.set_tunnel.cut_after = 2; });
  tunnel(S::bad_option, [](auto& b) {
    b.set_tunnel.cut_after = 1;
    b.set_tunnel.mode = channel::Mode::transport;
  });
  tunnel(S::bad_address, [](auto& b) { b.set_tunnel.remote.family = static_cast<Family>(9); });
  tunnel(S::bad_address, [](auto& b) { b.set_tunnel.local.bytes[9] = 1; });
  tunnel(S::bad_address, [](auto& b) { b.set_tunnel.remote = *parse_address("2001:db8::1"); });
  expect(S::bad_index, remove_tunnel(4));
  expect(S::bad_index, remove_tunnel(0xffffffff));
  expect(S::bad_index, set_group(4, {3}));
  expect(S::bad_index, set_group(1, {4}));
  expect(S::bad_member, set_group(1, {3, 3}));
  const auto member = [&](CommandStatus status, auto&& spoil) {
    expect(status, spoilt(set_group(1, {3}), [&](auto& b) { spoil(b.set_group.members[0]); }));
  };
  member(S::bad_member, [](auto& m) { m.weight = 0; });
  member(S::bad_member, [](auto& m) { m.weight = 257; });
  member(S::bad_member, [](auto& m) { m.priority = 0; });
  member(S::unreachable, [](auto& m) { m.gateway = *parse_address("198.51.100.1"); });
  member(S::bad_address, [](auto& m) { m.gateway.family = static_cast<Family>(9); });
  expect(S::bad_table, spoilt(set_group(1, {3}), [](auto& b) { b.set_group.table = 2; }));
  expect(S::bad_count, set_group(1, {}));
  expect(S::bad_count, spoilt(set_group(1, {3}), [](auto& b) { b.set_group.member_count = 65; }));
  expect(S::bad_name, spoilt(set_group(1, {3}), [](auto& b) { b.set_group.name = {}; }));
  expect(S::bad_index, remove_group(3));
  route(S::bad_prefix, [](auto& b) { b.set_route.destination.length = 33; });
  route(S::bad_prefix, [](auto& b) { b.set_route.destination.address = {}; });
  route(S::bad_address, [](auto& b) { b.set_route.gateway = *parse_address("fd00:1::9"); });
  route(S::bad_address, [](auto& b) { b.set_route.gateway = {}; });
  route(S::unreachable, [](auto& b) { b.set_route.gateway = *parse_address("203.0.113.1"); });
  route(S::unreachable, [](auto& b) { b.set_route.gateway = *parse_address("192.0.2.1"); });    // ourselves
  route(S::unreachable, [](auto& b) { b.set_route.gateway = *parse_address("192.0.2.255"); });  // everybody
  route(S::unknown_command, [](auto& b) { b.set_route.kind = static_cast<RouteKind>(77); });
  expect(S::bad_index, set_route("10.7.0.0/16", RouteKind::tunnel, 4));
  expect(S::bad_index, set_route("10.7.0.0/16", RouteKind::group, 3));
  expect(S::no_such_route, remove_route("10.7.0.0/16"));
  expect(S::bad_prefix,
         spoilt(remove_route("10.7.0.0/16"), [](auto& b) { b.remove_route.destination.length = 200; }));
  inbound(S::bad_index, [](auto& b) { b.install_sa.tunnel = 4; });
  inbound(S::bad_suite, [](auto& b) { b.install_sa.suite = 0; });
  inbound(S::bad_suite, [](auto& b) { b.install_sa.suite = 0xffff; });
  inbound(S::bad_address, [](auto& b) { b.install_sa.remote = *parse_address("2001:db8::1"); });
  inbound(S::bad_address, [](auto& b) { b.install_sa.local = *parse_address("0.0.0.0"); });
  inbound(S::bad_address, [](auto& b) { b.install_sa.udp_encapsulation = 1; });  // and no ports
  inbound(S::bad_spi, [](auto& b) { b.install_sa.spi = 255; });
  inbound(S::bad_spi, [](auto& b) { b.install_sa.spi = channel::make_spi(1, 1, 6); });
  inbound(S::bad_spi, [](auto& b) { b.install_sa.spi = channel::make_spi(0, 1, 512); });
  inbound(S::spi_in_use, [](auto& b) { b.install_sa.spi = channel::make_spi(0, 9, 5); });
  inbound(S::bad_option, [](auto& b) { b.install_sa.mode = static_cast<channel::Mode>(2); });
  inbound(S::bad_option, [](auto& b) { b.install_sa.esn = 2; });
  inbound(S::bad_option, [](auto& b) {  // nothing tells the high bits of a sequence number
    b.install_sa.esn = 1;
    b.install_sa.replay_window = 0;
  });
  outbound(S::bad_option, [](auto& b) { b.install_sa.df = static_cast<channel::DontFragment>(3); });
  outbound(S::bad_option, [](auto& b) { b.install_sa.ecn = static_cast<channel::EcnMode>(2); });
  outbound(S::bad_option, [](auto& b) { b.install_sa.fixed_dscp = 65; });
  outbound(S::bad_option, [](auto& b) {  // a receiver could not tell the padding from the packet
    b.install_sa.mode = channel::Mode::transport;
    b.install_sa.tfc_length = 100;
  });
  inbound(S::bad_window, [](auto& b) { b.install_sa.replay_window = 65; });
  inbound(S::bad_window, [](auto& b) { b.install_sa.replay_window = 32768; });
  inbound(S::bad_count, [](auto& b) { b.install_sa.selectors.local_count = 0; });
  inbound(S::bad_count, [](auto& b) { b.install_sa.selectors.remote_count = 9; });
  inbound(S::bad_selector, [](auto& b) {
    std::swap(b.install_sa.selectors.local[0].first_port, b.install_sa.selectors.local[0].last_port);
  });
  inbound(S::bad_selector, [](auto& b) {
    std::swap(b.install_sa.selectors.remote[0].first, b.install_sa.selectors.remote[0].last);
  });
  outbound(S::bad_index, [](auto& b) { b.install_sa.worker = 1; });
  outbound(S::spi_in_use, [](auto& b) { b.install_sa.spi = kOutboundSpi; });
  outbound(S::bad_spi, [](auto& b) { b.install_sa.spi = 0; });
  outbound(S::bad_option, [](auto& b) { b.install_sa.last_sequence = 1ULL << 32; });
  outbound(S::bad_option, [](auto& b) {
    b.install_sa.last_sequence = 9;
    b.install_sa.sequence_limit = 8;
  });
  outbound(S::bad_option, [](auto& b) {
    b.install_sa.hard_packets = 9;
    b.install_sa.sequence_limit = 8;
  });
  const auto extend = [](std::uint32_t spi) {
    Command out = command(CommandKind::extend_sa);
    out.body.extend_sa = {3, spi, 1000};
    return out;
  };
  expect(S::no_such_sa, extend(kOutboundSpi + 9));
  expect(S::bad_option, extend(kOutboundSpi));
  expect(S::no_such_sa, remove_sa(CommandKind::remove_inbound_sa, 2, kInboundSpi));
  expect(S::no_such_sa, remove_sa(CommandKind::remove_inbound_sa, 3, kInboundSpi + 1));
  expect(S::no_such_sa, remove_sa(CommandKind::remove_outbound_sa, 3, kOutboundSpi + 9));
  for (std::uint32_t i = 1; i < 16; i++) REQUIRE(desk.run(install_outbound(3, kOutboundSpi + i)) == S::ok);
  expect(S::table_full, install_outbound(3, kOutboundSpi + 99));

  for (int status = 0; status <= static_cast<int>(S::table_full); status++) {
    CAPTURE(channel::words(static_cast<S>(status)));
    CHECK(seen.contains(static_cast<S>(status)));
  }
  CHECK(desk.tables.inbound[0].slots[6].spi == 0);
  CHECK(desk.tables.tunnels[4].tunnel == nullptr);
}

TEST_CASE("a full route table refuses routes and tunnels, and nothing of them stays") {
  Desk desk(1, 2047, 12);
  unsigned set = 0;
  for (std::uint32_t i = 0; i < 20; i++) {
    const std::string prefix = "10." + std::to_string(100 + i) + ".0.0/16";
    set += desk.run(set_route(prefix, RouteKind::blackhole, 0)) == CommandStatus::ok;
  }
  CHECK(set > 0);
  CHECK(set < 20);
  CHECK(desk.run(set_tunnel(1)) == CommandStatus::table_full);
  CHECK(desk.tables.tunnels[1].tunnel == nullptr);
  CHECK(desk.run(remove_route("10.100.0.0/16")) == CommandStatus::ok);
  CHECK(desk.run(set_route("10.150.0.0/16", RouteKind::blackhole, 0)) == CommandStatus::ok);
}
