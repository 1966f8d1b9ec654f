// Groups: who has the flows, by weight and priority, and who is up; gateways; groups of the dataplane's own.
#include <catch2/catch.hpp>

#include "tests/dataplane/host/desk.hpp"

using namespace espgate;
using namespace espgate::test;
using channel::Command;
using channel::CommandKind;
using channel::CommandStatus;
using channel::MemberState;
using channel::RouteKind;
using dataplane::WeightedHop;

namespace {

using Counts = std::map<std::uint32_t, unsigned>;
const Octets kGatewayMac{2, 0, 0, 0, 9, 9};

WeightedHop to_tunnel(std::uint32_t index, std::uint16_t weight = 1, std::uint8_t priority = 1) {
  return {{NextHopKind::tunnel, 0, 0, index}, weight, priority};
}

struct GroupDesk : Desk {
  explicit GroupDesk(unsigned count = 1) : Desk(count) {
    for (std::uint32_t i = 1; i <= 4; i++) {
      REQUIRE(run(set_tunnel(i)) == CommandStatus::ok);
      up(i);
    }
  }
  void up(std::uint32_t tunnel) {
    REQUIRE(run(install_outbound(tunnel, 0x1000 + tunnel)) == CommandStatus::ok);
  }
  void down(std::uint32_t tunnel) {
    REQUIRE(run(remove_sa(CommandKind::remove_outbound_sa, tunnel, 0x1000 + tunnel)) == CommandStatus::ok);
  }
  void set(const std::vector<WeightedHop>& members) {
    REQUIRE(dataplane::Groups::is_sound(members));
    groups.set(0, members, now);
    (void)groups.settle(now);
  }
  WeightedHop by_gateway(std::uint8_t port, std::string_view address, std::uint16_t weight = 1) {
    const dataplane::NeighbourId id = slow_path.resolver().pin(port, *parse_address(address), now);
    return {{NextHopKind::gateway, port, 0, id}, weight, 1};
  }
  // Two that answer, as the members.
  std::array<WeightedHop, 2> two_gateways() {
    know(kWan, "192.0.2.101", kGatewayMac);
    know(kWan, "192.0.2.102", {2, 0, 0, 0, 9, 10});
    const std::array<WeightedHop, 2> both{by_gateway(kWan, "192.0.2.101"), by_gateway(kWan, "192.0.2.102")};
    set({both[0], both[1]});
    return both;
  }
  // Into the group.
  void route(std::string_view prefix) {
    REQUIRE(ribs[kMainTable].set(*parse_prefix(prefix), {dataplane::RouteSource::configured, 0},
                                 {NextHopKind::group, 0, 0, 0}));
  }
  // As the main thread's round does.
  void turn() {
    if (groups.poll()) commands.settle(now);
  }
  [[nodiscard]] std::uint64_t packets(std::uint32_t group, std::uint32_t place) const {
    const dataplane::Group& shown = *tables.groups[group].load();
    std::uint64_t sum = 0;
    for (std::size_t w = 0; w < workers.size(); w++) sum += shown.packets[w].by_place[place].load();
    return sum;
  }
};

// A UDP packet from a host behind the lan; `flow` makes the source port.
Octets flow(unsigned number, std::string_view destination = "10.2.0.1") {
  const Octets ip = ipv4_packet({.source = "10.1.0.7", .destination = std::string(destination)},
                                udp(1024 + number, 80, filling(8)));
  return ethernet({2, 0, 0, 0, 1, kLan}, 0x0800, ip);
}

}  // namespace

TEST_CASE("weights: members have flows in their proportion, and share those of one that is down") {
  GroupDesk desk;
  desk.set({to_tunnel(1, 2), to_tunnel(2), to_tunnel(3)});
  CHECK(buckets(desk, 0) == Counts{{1, 256}, {2, 128}, {3, 128}});
  desk.down(3);
  CHECK(buckets(desk, 0) == Counts{{1, 341}, {2, 171}});
  desk.up(3);
  CHECK(buckets(desk, 0) == Counts{{1, 256}, {2, 128}, {3, 128}});
}

TEST_CASE("priorities: the lowest number that has a member up carries all") {
  GroupDesk desk;
  desk.set({to_tunnel(1), to_tunnel(2), to_tunnel(3, 1, 2), to_tunnel(4, 3, 2)});
  CHECK(buckets(desk, 0) == Counts{{1, 256}, {2, 256}});
  const dataplane::Buckets at_first = desk.tables.groups[0].load()->buckets;
  desk.down(1);
  CHECK(buckets(desk, 0) == Counts{{2, 512}});
  desk.down(2);
  CHECK(buckets(desk, 0) == Counts{{3, 128}, {4, 384}});
  desk.down(3);
  desk.down(4);
  CHECK(buckets(desk, 0) == Counts{{kNobody, 512}});
  desk.up(4);
  CHECK(buckets(desk, 0) == Counts{{4, 512}});
  desk.up(1);
  CHECK(buckets(desk, 0) == Counts{{1, 512}});
  desk.up(2);
  CHECK(desk.tables.groups[0].load()->buckets == at_first);  // every flow is back where it began
}

TEST_CASE("what can't be a group") {
  CHECK_FALSE(dataplane::Groups::is_sound({}));
  const auto sound = [](WeightedHop member) { return dataplane::Groups::is_sound({&member, 1}); };
  CHECK(sound(to_tunnel(1)));
  CHECK(sound(to_tunnel(1, dataplane::kMostWeight, 255)));
  CHECK_FALSE(sound(to_tunnel(1, 0)));
  CHECK_FALSE(sound(to_tunnel(1, dataplane::kMostWeight + 1)));
  CHECK_FALSE(sound(to_tunnel(1, 1, 0)));
  for (const NextHopKind kind : {NextHopKind::none, NextHopKind::host, NextHopKind::connected,
                                 NextHopKind::group, NextHopKind::blackhole})
    CHECK_FALSE(sound({{kind, 0, 0, 0}, 1, 1}));
  const std::vector<WeightedHop> twice{to_tunnel(1), to_tunnel(2), to_tunnel(1, 2)};
  CHECK_FALSE(dataplane::Groups::is_sound(twice));
  std::vector<WeightedHop> many;
  for (std::uint32_t i = 0; i < 65; i++) many.push_back(to_tunnel(i));
  CHECK_FALSE(dataplane::Groups::is_sound(many));
  many.pop_back();
  CHECK(dataplane::Groups::is_sound(many));
}

TEST_CASE("members that stay keep their flows when others come and go") {
  GroupDesk desk;
  desk.set({to_tunnel(1), to_tunnel(2), to_tunnel(3)});
  const auto before = desk.tables.groups[0].load();
  std::vector<std::uint32_t> tunnels;
  for (const std::uint8_t place : before->buckets.member) tunnels.push_back(before->members[place].index);
  desk.set({to_tunnel(4), to_tunnel(3), to_tunnel(1)});
  CHECK(buckets(desk, 0) == Counts{{1, 171}, {3, 170}, {4, 171}});
  const auto after = desk.tables.groups[0].load();
  for (std::size_t b = 0; b < dataplane::Buckets::kCount; b++)
    if (tunnels[b] != 2) REQUIRE(after->members[after->buckets.member[b]].index == tunnels[b]);
}

TEST_CASE("a group of gateways: packets in clear, by the neighbours that answer and the ports that are up") {
  GroupDesk desk;
  const auto [first, second] = desk.two_gateways();
  desk.route("10.2.0.0/16");
  desk.commands.settle(desk.now);
  (void)desk.sent();  // what was asked about the neighbours
  std::map<std::string, unsigned> by_mac;
  for (unsigned i = 0; i < 400; i++) {
    const Output out = desk.pass(kLan, {flow(i)});
    REQUIRE(out.frames[kWan].size() == 1);
    by_mac[hex({out.frames[kWan][0].begin(), out.frames[kWan][0].begin() + 6})]++;
  }
  REQUIRE(by_mac.size() == 2);
  CHECK(by_mac[hex(kGatewayMac)] > 140);  // of 200 expected; six standard deviations are 60
  CHECK(by_mac[hex(kGatewayMac)] < 260);
  CHECK(desk.packets(0, 0) == by_mac[hex(kGatewayMac)]);
  CHECK(desk.packets(0, 0) + desk.packets(0, 1) == 400);

  desk.tables.neighbours.set_state(first.hop.index, dataplane::NeighbourState::failed);
  desk.turn();
  CHECK(desk.groups.state_of(first.hop) == MemberState::no_neighbour);
  CHECK(buckets(desk, 0) == Counts{{second.hop.index, 512}});
  // Asked for again, but it has not answered yet.
  desk.tables.neighbours.set_state(first.hop.index, dataplane::NeighbourState::incomplete);
  desk.turn();
  CHECK(buckets(desk, 0) == Counts{{second.hop.index, 512}});
  desk.know(kWan, "192.0.2.101", kGatewayMac);
  desk.turn();
  CHECK(buckets(desk, 0) == Counts{{first.hop.index, 256}, {second.hop.index, 256}});
  desk.tables.ports[kWan].up = false;
  desk.commands.port_changed(desk.now);
  CHECK(desk.groups.state_of(first.hop) == MemberState::port_down);
  CHECK(buckets(desk, 0) == Counts{{kNobody, 512}});
  const std::uint64_t before = desk.drops(DropReason::tunnel_down);
  (void)desk.pass(kLan, {flow(1)});
  CHECK(desk.drops(DropReason::tunnel_down) == before + 1);
}

TEST_CASE("a gateway that does not answer leaves its group until it does") {
  GroupDesk desk;
  const WeightedHop gateway = desk.by_gateway(kWan, "192.0.2.101");
  REQUIRE(gateway.hop.index != 4);
  desk.set({gateway, to_tunnel(4)});
  CHECK(buckets(desk, 0) == Counts{{gateway.hop.index, 256}, {4, 256}});  // nothing is known against it yet
  for (int i = 0; i < 20; i++) {                                          // three questions a second apart
    desk.wait(kSecond / 4);
    desk.turn();
  }
  CHECK(desk.groups.state_of(gateway.hop) == MemberState::no_neighbour);
  CHECK(buckets(desk, 0) == Counts{{4, 512}});
  desk.know(kWan, "192.0.2.101", kGatewayMac);
  desk.turn();
  CHECK(buckets(desk, 0) == Counts{{gateway.hop.index, 256}, {4, 256}});
}

TEST_CASE("tunnels whose far ends lie behind a group of gateways leave by one that answers") {
  GroupDesk desk;
  const auto [first, second] = desk.two_gateways();
  desk.route("203.0.113.0/24");
  desk.commands.settle(desk.now);
  std::map<std::uint32_t, unsigned> by_neighbour;
  for (std::uint32_t i = 1; i <= 4; i++) {
    Command install = install_outbound(i, 0x2000);
    install.body.install_sa.remote = *parse_address("203.0.113.9");
    REQUIRE(desk.run(install) == CommandStatus::ok);
    by_neighbour[desk.tables.tunnels[i].outbound.load()->outer.load().index]++;
  }
  CHECK(by_neighbour == Counts{{first.hop.index, 2}, {second.hop.index, 2}});
  desk.tables.neighbours.set_state(first.hop.index, dataplane::NeighbourState::failed);
  desk.turn();
  for (std::uint32_t i = 1; i <= 4; i++)
    CHECK(desk.tables.tunnels[i].outbound.load()->outer.load().index == second.hop.index);
}

TEST_CASE("shared groups: one for the same members, for as long as it has users") {
  GroupDesk desk;
  const std::vector<WeightedHop> members{to_tunnel(1), to_tunnel(2, 3)};
  const std::vector<WeightedHop> other_order{to_tunnel(2, 3), to_tunnel(1)};
  const NextHop group = desk.groups.shared(members, desk.now);
  REQUIRE(group.kind == NextHopKind::group);
  CHECK(group.index >= desk.tables.shape.max_groups);
  CHECK(desk.groups.shared(other_order, desk.now) == group);
  const std::vector<WeightedHop> others{to_tunnel(1), to_tunnel(2)};
  CHECK_FALSE(desk.groups.shared(others, desk.now) == group);
  CHECK(buckets(desk, group.index) == Counts{{1, 128}, {2, 384}});  // before a route can lead into it
  desk.commands.settle(desk.now);
  CHECK(buckets(desk, group.index) == Counts{{1, 128}, {2, 384}});
  desk.groups.release(group, desk.now);
  desk.commands.settle(desk.now);
  CHECK(desk.tables.groups[group.index].load() != nullptr);
  desk.groups.release(group, desk.now);
  SECTION("nobody wants it any more") {
    CHECK(desk.tables.groups[group.index].load() != nullptr);  // until the routes are committed
    desk.commands.settle(desk.now);
    CHECK(desk.tables.groups[group.index].load() == nullptr);
    CHECK_FALSE(desk.groups.shared(members, desk.now) == group);  // the index is the last to be taken again
  }
  SECTION("it is wanted again in time") {
    CHECK(desk.groups.shared(members, desk.now) == group);
    desk.commands.settle(desk.now);
    CHECK(desk.tables.groups[group.index].load() != nullptr);
  }
  desk.groups.release({NextHopKind::tunnel, 0, 0, 1}, desk.now);  // no group: nothing
  desk.groups.release({NextHopKind::group, 0, 0, 0}, desk.now);   // not shared: nothing
  desk.groups.release({NextHopKind::group, 0, 0, 0xffffffff}, desk.now);
}

// What a routing daemon makes of a far end that died: first the group notices, and then the routes are told
// anew without it; and the same in the other order when it is back.
TEST_CASE("a route that changes its next hops moves no flows but those of the one that left or came") {
  GroupDesk desk;
  const auto hops = [&desk](NextHop group) {
    const dataplane::Group& shown = *desk.tables.groups[group.index].load();
    std::vector<std::uint32_t> found;
    for (const std::uint8_t place : shown.buckets.member) found.push_back(shown.members[place].index);
    return found;
  };
  const auto turn_to = [&desk](NextHop former, const std::vector<WeightedHop>& members) {
    const NextHop next = desk.groups.shared(members, desk.now, former);
    REQUIRE(next.kind == NextHopKind::group);
    desk.groups.release(former, desk.now);
    desk.commands.settle(desk.now);
    return next;
  };
  const NextHop all = desk.groups.shared(std::vector{to_tunnel(3), to_tunnel(1), to_tunnel(2)}, desk.now);
  desk.commands.settle(desk.now);
  const auto at_first = hops(all);
  desk.down(2);
  const auto without = hops(all);
  for (std::size_t b = 0; b < at_first.size(); b++)
    if (at_first[b] != 2) REQUIRE(without[b] == at_first[b]);

  const NextHop two = turn_to(all, {to_tunnel(1), to_tunnel(3)});
  CHECK(hops(two) == without);
  SECTION("and in it who never had to move does not") {
    desk.down(3);
    desk.up(3);
    CHECK(hops(two) == without);
  }
  SECTION("back") {
    desk.up(2);
    const NextHop again = turn_to(two, {to_tunnel(2), to_tunnel(1), to_tunnel(3)});
    CHECK(hops(again) == at_first);
  }
  SECTION("another in its place") {
    const NextHop other = turn_to(two, {to_tunnel(4), to_tunnel(3), to_tunnel(1)});
    const auto shared_out = hops(other);
    for (std::size_t b = 0; b < without.size(); b++)
      if (shared_out[b] != 4) REQUIRE(shared_out[b] == without[b]);
    CHECK(buckets(desk, other.index) == Counts{{1, 171}, {3, 171}, {4, 170}});
  }
  SECTION("one that is removed leaves it, and the others stay") {
    Command remove = command(CommandKind::remove_tunnel);
    remove.body.remove_tunnel.index = 3;
    REQUIRE(desk.run(remove) == CommandStatus::ok);
    CHECK(buckets(desk, two.index) == Counts{{1, 512}});
  }
}

TEST_CASE("there is an end to shared groups, and a place for each that goes") {
  GroupDesk desk;
  std::vector<NextHop> groups;
  for (std::uint32_t i = 0; i < dataplane::Forwarding::kSharedGroups; i++) {
    const std::vector<WeightedHop> members{to_tunnel(1, static_cast<std::uint16_t>(1 + i % 256)),
                                           to_tunnel(2, static_cast<std::uint16_t>(1 + i / 256))};
    groups.push_back(desk.groups.shared(members, desk.now));
    REQUIRE(groups.back().kind == NextHopKind::group);
  }
  const std::vector<WeightedHop> more{to_tunnel(3), to_tunnel(4)};
  CHECK(desk.groups.shared(more, desk.now).kind == NextHopKind::none);
  desk.groups.release(groups[7], desk.now);
  desk.commands.settle(desk.now);
  CHECK(desk.groups.shared(more, desk.now) == groups[7]);
}

TEST_CASE("a tunnel that is removed leaves every group, and whoever takes its index is somebody else") {
  GroupDesk desk;
  const std::vector<WeightedHop> members{to_tunnel(1), to_tunnel(2)};
  const NextHop group = desk.groups.shared(members, desk.now);
  desk.set(members);
  Command remove = command(CommandKind::remove_tunnel);
  remove.body.remove_tunnel.index = 1;
  REQUIRE(desk.run(remove) == CommandStatus::ok);
  REQUIRE(desk.run(set_tunnel(1, "192.0.2.77")) == CommandStatus::ok);
  desk.up(1);
  CHECK(buckets(desk, group.index) == Counts{{2, 512}});
  CHECK(buckets(desk, 0) == Counts{{2, 512}});
  const NextHop anew = desk.groups.shared(members, desk.now);
  CHECK_FALSE(anew == group);
  desk.commands.settle(desk.now);
  CHECK(buckets(desk, anew.index) == Counts{{1, 256}, {2, 256}});
}

TEST_CASE("why a member has no flows") {
  GroupDesk desk;
  const NextHop tunnel{NextHopKind::tunnel, 0, 0, 1};
  CHECK(desk.groups.state_of(tunnel) == MemberState::up);
  desk.tables.ports[kWan].up = false;
  CHECK(desk.groups.state_of(tunnel) == MemberState::port_down);
  desk.tables.tunnels[1].outbound.load()->outer = NextHop{};
  CHECK(desk.groups.state_of(tunnel) == MemberState::no_route);
  desk.down(1);
  CHECK(desk.groups.state_of(tunnel) == MemberState::no_sa);
  CHECK(desk.groups.state_of({NextHopKind::tunnel, 0, 0, 8}) == MemberState::no_tunnel);
}

TEST_CASE("packets are counted for each member, by every worker") {
  GroupDesk desk(2);
  desk.set({to_tunnel(1, 3), to_tunnel(2)});
  REQUIRE(desk.run(set_route("10.2.0.0/16", RouteKind::group, 0)) == CommandStatus::bad_index);
  desk.route("10.2.0.0/16");
  desk.know(kWan, "192.0.2.2", kGatewayMac);
  desk.commands.settle(desk.now);
  (void)desk.sent();
  unsigned sent = 0;
  for (unsigned i = 0; i < 400; i++) {
    const Output out = desk.pass(kLan, {flow(i)}, i % 2);
    sent += static_cast<unsigned>(out.frames[kWan].size());
  }
  CHECK(sent == 400);
  CHECK(desk.packets(0, 0) + desk.packets(0, 1) == 400);
  CHECK(desk.packets(0, 0) > 240);  // of 300 expected
  CHECK(desk.packets(0, 0) < 360);
}

TEST_CASE("the control process is told who has how much, member by member") {
  GroupDesk desk;
  desk.know(kWan, "192.0.2.2", kGatewayMac);
  Command wanted = set_group(0, {2, 1, 3});
  wanted.body.set_group.members[0].weight = 3;
  wanted.body.set_group.members[2].priority = 2;
  wanted.body.set_group.members[3] = {0, *parse_address("192.0.2.101"), 2, 5};
  wanted.body.set_group.member_count = 4;
  REQUIRE(desk.run(wanted) == CommandStatus::ok);
  REQUIRE(desk.run(set_route("10.2.0.0/16", RouteKind::group, 0)) == CommandStatus::ok);
  (void)desk.sent();
  for (unsigned i = 0; i < 100; i++) (void)desk.pass(kLan, {flow(i)});
  const auto& told = desk.page.group(0).members;
  const auto packets = [&] { return told[0].packets.load() + told[1].packets.load(); };
  desk.groups.tell(desk.page);
  CHECK(told[0].buckets == 384);
  CHECK(told[1].buckets == 128);
  CHECK(told[2].buckets == 0);
  CHECK(told[2].state == MemberState::up);
  CHECK(told[3].state == MemberState::up);
  CHECK(told[4].state == MemberState::absent);
  CHECK(packets() == 100);
  CHECK(told[0].packets > told[1].packets);
  desk.down(2);
  desk.groups.tell(desk.page);
  CHECK(told[0].state == MemberState::no_sa);
  CHECK(told[1].buckets == 512);
  // Another member in its place begins at nothing; who stays goes on.
  const std::uint64_t stays = told[1].packets;
  REQUIRE(desk.run(set_group(0, {1, 4})) == CommandStatus::ok);
  desk.groups.tell(desk.page);
  CHECK(told[0].packets == stays);
  CHECK(told[1].packets == 0);
  CHECK(told[1].state == MemberState::up);
  CHECK(told[2].state == MemberState::absent);
  Command remove = command(CommandKind::remove_group);
  remove.body.remove_group.index = 0;
  REQUIRE(desk.run(remove) == CommandStatus::ok);
  desk.groups.tell(desk.page);
  CHECK(told[0].state == MemberState::absent);
}

TEST_CASE("by selectors: each packet goes to the first that is up and may have it") {
  GroupDesk desk;
  desk.know(kWan, "192.0.2.2", kGatewayMac);
  const auto may = [&desk](std::uint32_t tunnel, const char* first, const char* last) {
    desk.down(tunnel);
    Command install = install_outbound(tunnel, 0x1000 + tunnel);
    channel::Selectors& selectors = install.body.install_sa.selectors;
    selectors.local_count = 1;
    selectors.local[0].first = *parse_address(first);
    selectors.local[0].last = *parse_address(last);
    REQUIRE(desk.run(install) == CommandStatus::ok);
  };
  may(1, "10.1.0.7", "10.1.0.7");
  may(2, "10.1.0.0", "10.1.0.255");
  may(3, "10.1.1.0", "10.1.1.255");
  Command wanted = set_group(0, {2, 1, 3});
  wanted.body.set_group.choice = channel::GroupChoice::selectors;
  REQUIRE(desk.run(wanted) == CommandStatus::ok);
  REQUIRE(desk.run(set_route("10.2.0.0/16", RouteKind::group, 0)) == CommandStatus::ok);
  const auto& told = desk.page.group(0).members;
  const auto send = [&](const char* source) {
    std::array<std::uint64_t, 3> before{told[0].packets, told[1].packets, told[2].packets};
    for (unsigned i = 0; i < 10; i++) {
      const Octets ip = ipv4_packet({.source = source, .destination = "10.2.0.1"},
                                    udp(static_cast<std::uint16_t>(1024 + i), 80, filling(8)));
      (void)desk.pass(kLan, {ethernet({2, 0, 0, 0, 1, kLan}, 0x0800, ip)});
    }
    desk.groups.tell(desk.page);
    return std::array<std::uint64_t, 3>{told[0].packets - before[0], told[1].packets - before[1],
                                        told[2].packets - before[2]};
  };
  using Sent = std::array<std::uint64_t, 3>;
  desk.groups.tell(desk.page);
  CHECK(send("10.1.0.7") == Sent{10, 0, 0});  // as they are named
  CHECK(send("10.1.1.1") == Sent{0, 0, 10});
  CHECK(told[0].buckets == 0);
  // A lower number goes first.
  wanted.body.set_group.members[0].priority = 2;
  REQUIRE(desk.run(wanted) == CommandStatus::ok);
  desk.commands.settle(desk.now);
  CHECK(send("10.1.0.7") == Sent{0, 10, 0});
  CHECK(send("10.1.0.8") == Sent{10, 0, 0});
  CHECK(send("10.1.1.1") == Sent{0, 0, 10});
  desk.down(1);
  CHECK(send("10.1.0.7") == Sent{10, 0, 0});
  // Nobody has it, and nobody is up.
  const auto outside = [&desk] {
    constexpr auto kReason = static_cast<std::size_t>(channel::DropReason::outside_selectors_out);
    return desk.workers[0]->counters->drops[kReason].load();
  };
  CHECK(outside() == 0);
  CHECK(send("10.1.9.1") == Sent{});
  CHECK(outside() == 10);
  desk.down(2);
  desk.down(3);
  CHECK(send("10.1.1.1") == Sent{});
  CHECK(outside() == 10);
  // The same members by flow again.
  desk.up(2);
  wanted.body.set_group.choice = channel::GroupChoice::flow;
  REQUIRE(desk.run(wanted) == CommandStatus::ok);
  desk.commands.settle(desk.now);
  CHECK(buckets(desk, 0) == Counts{{2, 512}});
  wanted.body.set_group.choice = channel::GroupChoice::selectors;
  wanted.body.set_group.members[0] = {0, *parse_address("192.0.2.101"), 1, 1};
  CHECK(desk.run(wanted) == CommandStatus::bad_member);
  wanted.body.set_group.choice = static_cast<channel::GroupChoice>(7);
  CHECK(desk.run(wanted) == CommandStatus::bad_member);
}

TEST_CASE("a group with a member that can't be is refused, and nothing is left of it") {
  GroupDesk desk;
  Command wanted = set_group(0, {1});
  wanted.body.set_group.members[1] = {0, *parse_address("192.0.2.101"), 1, 0};
  wanted.body.set_group.member_count = 2;
  CHECK(desk.run(wanted) == CommandStatus::bad_member);
  CHECK(desk.run(set_route("10.2.0.0/16", RouteKind::group, 0)) == CommandStatus::bad_index);
  wanted.body.set_group.members[1] = {0, *parse_address("198.51.100.7"), 1, 1};
  CHECK(desk.run(wanted) == CommandStatus::unreachable);
  desk.groups.tell(desk.page);
  CHECK(desk.page.group(0).members[0].state == MemberState::absent);
}
