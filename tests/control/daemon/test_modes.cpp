// What a child SA is beside its suite: extended sequence numbers, transport mode, IPv6 end points; and that
// rekeys keep it.
#include <catch2/catch.hpp>

#include "world.hpp"

namespace espgate::test {
namespace {

using channel::Mode;
using conf::Esn;

std::vector<conf::Tunnel> one(conf::Tunnel tunnel) {
  std::vector<conf::Tunnel> out;
  out.push_back(std::move(tunnel));
  return out;
}

conf::Tunnel with_esn(conf::Tunnel tunnel, Esn esn) {
  for (conf::EspProposal& proposal : tunnel.esp_proposals) proposal.esn = esn;
  return tunnel;
}

// Between the end points alone, as the configuration makes it.
conf::Tunnel in(Mode mode, conf::Tunnel tunnel) {
  tunnel.mode = mode;
  const std::uint8_t length = tunnel.local.is_v4() ? 32 : 128;
  tunnel.local_selectors = {{tunnel.local, length}};
  tunnel.remote_selectors = {{tunnel.remote, length}};
  return tunnel;
}

conf::Tunnel over_ipv6(conf::Tunnel tunnel) {
  for (IpAddress* end : {&tunnel.local, &tunnel.remote})
    *end = address(*end == address("192.0.2.1") ? "2001:db8::1" : "2001:db8::2");
  return tunnel;
}

void require_established(World& world) {
  INFO((world.east.failures.empty() ? "" : world.east.failures.front().summary));
  REQUIRE(world.establish());
  CHECK(world.complaints == std::vector<std::string>{});
}

const ike::ChildInstall& child_of(const Gateway& gateway) { return gateway.outbound.begin()->second; }

// The child is replaced by one that is the same but for its SPIs, without a packet lost.
void check_rekey(World& world) {
  const std::uint32_t before = world.east.inbound.begin()->first;
  const Mode mode = child_of(world.east).mode;
  const bool esn = child_of(world.east).esn;
  const auto selectors = child_of(world.east).local_selectors;
  world.start_traffic();
  world.east.daemon->rekey_child(before, world.now);
  world.run(seconds(20));
  REQUIRE(world.settled());
  CHECK(world.east.inbound.begin()->first != before);
  CHECK(child_of(world.east).mode == mode);
  CHECK(child_of(world.east).esn == esn);
  CHECK(child_of(world.east).local_selectors == selectors);
  CHECK(world.lost == 0);
}

TEST_CASE("extended sequence numbers are used where both sides want them or can bear them", "[esn]") {
  struct Row {
    Esn east, west;
    bool esn;
  };
  for (const Row row :
       {Row{Esn::no, Esn::no, false}, Row{Esn::yes, Esn::yes, true}, Row{Esn::either, Esn::either, true},
        Row{Esn::either, Esn::no, false}, Row{Esn::no, Esn::either, false}, Row{Esn::yes, Esn::either, true},
        Row{Esn::either, Esn::yes, true}}) {
    CAPTURE(int(row.east), int(row.west));
    World world(one(with_esn(east_tunnel(), row.east)), one(with_esn(west_tunnel(), row.west)));
    require_established(world);
    CHECK(child_of(world.east).esn == row.esn);
    CHECK(child_of(world.west).esn == row.esn);
    CHECK(world.west.daemon->list().front().children.front().esn == row.esn);
    check_rekey(world);
  }
}

TEST_CASE("one side insists on extended sequence numbers and the other has none: told in words", "[esn]") {
  for (const bool east_insists : {true, false}) {
    World world(one(with_esn(east_tunnel(), east_insists ? Esn::yes : Esn::no)),
                one(with_esn(west_tunnel(), east_insists ? Esn::no : Esn::yes)));
    CHECK_FALSE(world.establish());
    CHECK(world.east.said("NO_PROPOSAL_CHOSEN"));
    CHECK(world.west.said(east_insists
                              ? "no sequence number size in common: they offer esn; we accept noesn"
                              : "no sequence number size in common: they offer noesn; we accept esn"));
    CHECK(world.east.reserved.empty());
    CHECK(world.west.inbound.empty());
  }
}

TEST_CASE("transport mode is asked for, confirmed, and kept by rekeys", "[transport]") {
  for (const bool v6 : {false, true}) {
    conf::Tunnel east = in(Mode::transport, v6 ? over_ipv6(east_tunnel()) : east_tunnel());
    conf::Tunnel west = in(Mode::transport, v6 ? over_ipv6(west_tunnel()) : west_tunnel());
    const IpAddress local = east.local;
    World world(one(std::move(east)), one(std::move(west)));
    require_established(world);
    const ike::ChildInstall& child = child_of(world.east);
    CHECK(child.mode == Mode::transport);
    CHECK(child_of(world.west).mode == Mode::transport);
    REQUIRE(child.local_selectors.size() == 1);
    CHECK(child.local_selectors[0].first == local);
    CHECK(child.local_selectors[0].last == local);
    CHECK_FALSE(child.udp_encapsulation);
    CHECK(world.east.daemon->list().front().children.front().mode == Mode::transport);
    check_rekey(world);
    world.west.daemon->rekey_child(world.west.inbound.begin()->first, world.now);
    world.run(seconds(20));
    CHECK(world.settled());
    CHECK(child_of(world.west).mode == Mode::transport);
  }
}

TEST_CASE("the peer asks for transport mode and we are configured for tunnel mode", "[transport]") {
  World world(one(in(Mode::transport, east_tunnel())), one(in(Mode::tunnel, west_tunnel())));
  CHECK_FALSE(world.establish());
  // The answer was in tunnel mode; who insists on transport mode deletes it, and says what to change.
  CHECK(world.west.said("the peer asks for transport mode; we answer in tunnel mode"));
  CHECK(world.east.said("set the peer to transport mode, or mode: tunnel here"));
  CHECK(world.east.failures.front().failure == Failure::mode);
  CHECK(world.east.inbound.empty());
  CHECK(world.east.reserved.empty());
  CHECK(world.west.inbound.empty());
  CHECK(world.west.outbound.empty());
  CHECK(world.complaints == std::vector<std::string>{});

  SECTION("and again on the IKE SA that is up") {
    world.east.initiate();
    world.run(seconds(20));
    CHECK(world.east.failures.size() >= 2);
    CHECK(world.east.failures.back().failure == Failure::mode);
    CHECK(world.west.inbound.empty());
    CHECK(world.east.reserved.empty());
  }
}

TEST_CASE("the peer asks for tunnel mode and we are configured for transport mode", "[transport]") {
  World world(one(in(Mode::tunnel, east_tunnel())), one(in(Mode::transport, west_tunnel())));
  CHECK_FALSE(world.establish());
  CHECK(world.west.said("192.0.2.1 asks for tunnel mode, and we want transport mode"));
  CHECK(world.west.failures.front().failure == Failure::mode);
  CHECK(world.east.said("NO_PROPOSAL_CHOSEN"));
  CHECK(world.west.inbound.empty());
  CHECK(world.east.reserved.empty());
}

TEST_CASE("across a NAT transport mode is not asked for: tunnel mode, and it is said", "[transport]") {
  const auto nat = [](conf::Tunnel tunnel) {
    tunnel.encapsulation = conf::Encapsulation::udp;  // pretends a NAT, as a peer may
    return tunnel;
  };
  World world(one(in(Mode::transport, east_tunnel())), one(nat(in(Mode::transport, west_tunnel()))));
  require_established(world);
  CHECK(world.east.said("there is a NAT between us and the peer: tunnel mode is asked for"));
  CHECK(child_of(world.east).mode == Mode::tunnel);
  CHECK(child_of(world.west).mode == Mode::tunnel);
  CHECK(child_of(world.east).udp_encapsulation);
  check_rekey(world);
}

TEST_CASE("IKE and its children over IPv6", "[ipv6]") {
  ike::Settings settings = World::quick();
  SECTION("with cookies and rekeys") { settings.cookie_threshold = 0; }
  SECTION("with messages of more than the least MTU: fragments fit into it") {
    settings.fragment_size = 4000;
  }
  conf::Tunnel east = over_ipv6(east_tunnel());
  conf::Tunnel west = over_ipv6(west_tunnel());
  east.local_id = west.remote_id = fqdn(std::string(1300, 'e'));
  World world(one(std::move(east)), one(std::move(west)), settings);
  require_established(world);
  CHECK(world.largest <= 1280 - 40 - 8 - 4);
  CHECK_FALSE(world.east.daemon->list().front().nat_local);
  CHECK_FALSE(world.east.daemon->list().front().nat_remote);
  const ike::ChildInstall& child = child_of(world.east);
  CHECK(child.local == Endpoint{address("2001:db8::1"), 500});
  CHECK(child.remote == Endpoint{address("2001:db8::2"), 500});
  CHECK_FALSE(child.udp_encapsulation);
  CHECK(child.local_selectors.size() == 2);
  check_rekey(world);
  world.east.daemon->rekey_ike(0, world.now);
  world.run(seconds(20));
  CHECK(world.settled());
  CHECK(world.lost == 0);
}

TEST_CASE("a NAT between IPv6 addresses is found", "[ipv6]") {
  conf::Tunnel east = over_ipv6(east_tunnel());
  east.local = address("fd00::1");
  conf::Tunnel west = over_ipv6(west_tunnel());
  World world(one(std::move(east)), one(std::move(west)));
  world.translate = [](Datagram& d) {
    if (d.from.address == address("fd00::1")) d.from.address = address("2001:db8::1");
    if (d.to.address == address("2001:db8::1")) d.to.address = address("fd00::1");
  };
  require_established(world);
  CHECK(world.east.daemon->list().front().nat_local);
  CHECK(world.west.daemon->list().front().nat_remote);
  CHECK(child_of(world.west).udp_encapsulation);
  CHECK(child_of(world.west).remote == Endpoint{address("2001:db8::1"), 4500});
}

}  // namespace
}  // namespace espgate::test
