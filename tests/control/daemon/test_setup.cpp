// IKE_SA_INIT and IKE_AUTH between two daemons: every group and cipher, cookies, other groups, NAT,
// fragments.
#include <catch2/catch.hpp>

#include "world.hpp"

namespace espgate::test {
namespace {

using crypto::DhGroup;
using crypto::EspSuite;
using crypto::IkeIntegrity;
using crypto::Prf;

std::vector<conf::Tunnel> with(conf::Tunnel tunnel, conf::IkeProposal ike, conf::EspProposal esp) {
  tunnel.ike_proposals = {std::move(ike)};
  tunnel.esp_proposals = {std::move(esp)};
  std::vector<conf::Tunnel> out;
  out.push_back(std::move(tunnel));
  return out;
}

std::vector<conf::Tunnel> one(conf::Tunnel tunnel) {
  std::vector<conf::Tunnel> out;
  out.push_back(std::move(tunnel));
  return out;
}

void require_established(World& world) {
  INFO((world.east.failures.empty() ? "" : world.east.failures.front().summary));
  REQUIRE(world.establish());
  CHECK(world.complaints == std::vector<std::string>{});
  CHECK(world.east.up);
  CHECK(world.west.up);
}

TEST_CASE("every DH group, cipher, PRF and integrity algorithm sets up") {
  const auto gcm_esp = esp(EspSuite::aes128_gcm16);
  for (const DhGroup group :
       {DhGroup::modp1536, DhGroup::modp2048, DhGroup::ecp256, DhGroup::ecp384, DhGroup::curve25519}) {
    World world(with(east_tunnel(), ike_gcm(group), gcm_esp), with(west_tunnel(), ike_gcm(group), gcm_esp));
    require_established(world);
  }
  struct Row {
    IkeIntegrity integrity;
    Prf prf;
    std::uint16_t bits;
  };
  for (const Row row : {Row{IkeIntegrity::hmac_sha256_128, Prf::hmac_sha256, 128},
                        Row{IkeIntegrity::hmac_sha384_192, Prf::hmac_sha384, 256},
                        Row{IkeIntegrity::hmac_sha512_256, Prf::hmac_sha512, 256}}) {
    const auto proposal = ike_cbc(DhGroup::curve25519, row.integrity, row.prf, row.bits);
    World world(with(east_tunnel(), proposal, gcm_esp), with(west_tunnel(), proposal, gcm_esp));
    require_established(world);
  }
  for (const crypto::SuiteRow& row : crypto::kSuites) {
    const auto proposal = ike_gcm(DhGroup::curve25519, Prf::hmac_sha384, 128);
    World world(with(east_tunnel(), proposal, esp(row.suite)), with(west_tunnel(), proposal, esp(row.suite)));
    require_established(world);
    CHECK(world.east.inbound.begin()->second.suite == row.suite);
    CHECK(world.east.inbound.begin()->second.inbound_keys.size() == crypto::key_material_length(row));
  }
}

TEST_CASE("the first set-up takes two round trips and offers any to any") {
  World world;
  require_established(world);
  CHECK(world.sent == 4);
  const ike::ChildInstall& child = world.east.outbound.begin()->second;
  CHECK(child.local_selectors.size() == 2);
  CHECK(child.remote_selectors.size() == 2);
  CHECK(child.udp_encapsulation == false);
  CHECK(child.local.port == 500);
}

TEST_CASE("who keeps the keys is asked once for a set-up, and not for rekeys") {
  World world(one(east_tunnel()), one(west_tunnel()));
  require_established(world);
  CHECK(world.east.keeper.questions == 1);
  CHECK(world.west.keeper.questions == 1);
  world.east.daemon->rekey_ike(0, world.now);
  world.run(seconds(5));
  CHECK(world.east.keeper.questions + world.west.keeper.questions == 2);
  world.east.daemon->reauthenticate(0, world.now);
  world.run(seconds(5));
  CHECK(world.east.keeper.questions == 2);
  CHECK(world.west.keeper.questions == 2);
}

TEST_CASE("a loaded responder asks for a cookie") {
  ike::Settings settings = World::quick();
  settings.cookie_threshold = 0;
  World world({}, {}, settings);
  require_established(world);
  CHECK(world.sent == 6);
}

TEST_CASE("the responder wants another group of the initiator's, in either direction") {
  const auto gcm_esp = esp(EspSuite::aes128_gcm16);
  conf::IkeProposal both = ike_gcm(DhGroup::ecp256);
  both.groups.push_back(DhGroup::curve25519);
  for (const bool east_begins : {true, false}) {
    const auto narrow = ike_gcm(DhGroup::curve25519);
    World world(with(east_tunnel(), east_begins ? both : narrow, gcm_esp),
                with(west_tunnel(), east_begins ? narrow : both, gcm_esp));
    (east_begins ? world.east : world.west).initiate();
    world.run(seconds(5));
    CHECK(world.settled());
    CHECK(world.sent == 6);
  }
}

TEST_CASE("cookie and another group together") {
  ike::Settings settings = World::quick();
  settings.cookie_threshold = 0;
  conf::IkeProposal both = ike_gcm(DhGroup::ecp256);
  both.groups.push_back(DhGroup::curve25519);
  const auto gcm_esp = esp(EspSuite::aes128_gcm16);
  World world(with(east_tunnel(), both, gcm_esp), with(west_tunnel(), ike_gcm(DhGroup::curve25519), gcm_esp),
              settings);
  require_established(world);
  CHECK(world.sent == 8);
}

TEST_CASE("messages larger than the fragment size go in fragments") {
  ike::Settings settings = World::quick();
  settings.fragment_size = 576;
  conf::Tunnel east = east_tunnel();
  conf::Tunnel west = west_tunnel();
  east.local_id = west.remote_id = fqdn(std::string(900, 'e'));  // a message of two fragments at least
  World world(one(std::move(east)), one(std::move(west)), settings);
  require_established(world);
  CHECK(world.sent > 4);
  CHECK(world.largest <= 576);
}

TEST_CASE("a NAT before the initiator moves all to port 4500 and ESP into UDP") {
  conf::Tunnel east = east_tunnel();
  east.local = address("10.0.0.1");
  World world(one(std::move(east)), one([] {
                conf::Tunnel west = west_tunnel();
                west.remote = address("192.0.2.99");
                return west;
              }()));
  world.translate = [](Datagram& d) {
    if (d.from.address == address("10.0.0.1"))
      d.from = {address("192.0.2.99"), std::uint16_t(d.from.port + 20000)};
    else if (d.to.address == address("192.0.2.99"))
      d.to = {address("10.0.0.1"), std::uint16_t(d.to.port - 20000)};
  };
  require_established(world);
  const ike::ChildInstall& out = world.west.outbound.begin()->second;
  const std::uint32_t spi = out.outbound_spi;
  CHECK(out.udp_encapsulation);
  CHECK(out.follow);
  CHECK(out.local == Endpoint{address("192.0.2.2"), 4500});
  CHECK(out.remote == Endpoint{address("192.0.2.99"), 24500});
  CHECK(world.east.outbound.begin()->second.remote == Endpoint{address("192.0.2.2"), 4500});
  CHECK(world.east.outbound.begin()->second.keepalive == seconds(20));  // who is behind the NAT
  CHECK(out.keepalive == seconds(0));
  CHECK(world.east.daemon->list().front().nat_local);
  CHECK(world.west.daemon->list().front().nat_remote);

  SECTION("the NAT forgets and gives another port: the responder follows") {
    world.translate = [](Datagram& d) {
      if (d.from.address == address("10.0.0.1"))
        d.from = {address("192.0.2.99"), std::uint16_t(d.from.port + 30000)};
      else if (d.to.port == 34500)
        d.to = {address("10.0.0.1"), 4500};
      else if (d.to.address == address("192.0.2.99"))
        d.to = {address("203.0.113.1"), 1};  // nowhere
    };
    world.run(seconds(60));
    CHECK(world.settled());
    CHECK(world.west.outbound.begin()->second.remote == Endpoint{address("192.0.2.99"), 34500});
    CHECK(world.west.outbound.begin()->first == spi);  // without a rekey
  }

  SECTION("the dataplane hears ESP from elsewhere: IKE follows, and who is behind the NAT does not") {
    const Endpoint there{address("192.0.2.99"), 34500};
    world.west.daemon->peer_moved(world.west.inbound.begin()->first, there, world.now);
    CHECK(world.west.daemon->list().front().remote == there);
    CHECK(world.west.outbound.begin()->second.remote == there);
    world.east.daemon->peer_moved(world.east.inbound.begin()->first, there, world.now);
    CHECK(world.east.daemon->list().front().remote == Endpoint{address("192.0.2.2"), 4500});
    world.west.daemon->peer_moved(0x12345678, {address("192.0.2.98"), 1}, world.now);  // none of ours
    CHECK(world.west.daemon->list().front().remote == there);
  }
}

TEST_CASE("an address that is in no NAT may ask for ESP in UDP, on either side") {
  for (const bool east_asks : {true, false}) {
    conf::Tunnel east = east_tunnel();
    conf::Tunnel west = west_tunnel();
    (east_asks ? east : west).encapsulation = conf::Encapsulation::udp;
    World world(one(std::move(east)), one(std::move(west)));
    require_established(world);
    CHECK(world.east.outbound.begin()->second.udp_encapsulation);
    CHECK(world.west.outbound.begin()->second.udp_encapsulation);
    CHECK(world.west.outbound.begin()->second.remote.port == 4500);
  }
}

TEST_CASE("the responder narrows the selectors to what both allow") {
  conf::Tunnel east = east_tunnel();
  conf::Tunnel west = west_tunnel();
  west.local_selectors = {*parse_prefix("10.2.0.0/16")};
  west.remote_selectors = {*parse_prefix("10.1.0.0/16"), *parse_prefix("2001:db8::/32")};
  World world(one(std::move(east)), one(std::move(west)));
  require_established(world);
  const ike::ChildInstall& child = world.east.outbound.begin()->second;
  REQUIRE(child.local_selectors.size() == 1);
  CHECK(child.local_selectors[0].first == address("10.1.0.0"));
  CHECK(child.local_selectors[0].last == address("10.1.255.255"));
  REQUIRE(child.remote_selectors.size() == 1);
  CHECK(child.remote_selectors[0].last == address("10.2.255.255"));
}

TEST_CASE("two tunnels between the same addresses are told apart by their identities") {
  std::vector<conf::Tunnel> east, west;
  for (int i = 0; i < 2; ++i) {
    east.push_back(east_tunnel());
    west.push_back(west_tunnel());
  }
  east[1].local_id = west[1].remote_id = fqdn("east2");
  east[1].psk = crypto::SecretBytes(std::string_view("another"));
  west[1].psk = east[1].psk.copy();
  World world(std::move(east), std::move(west));
  world.east.initiate(1);
  world.run(seconds(5));
  REQUIRE(world.settled());
  CHECK(world.west.sending.contains(1));
}

TEST_CASE("both begin at the same time: one IKE SA and one child stay") {
  for (int gap = 0; gap < 60; gap += 3) {
    World world;
    world.east.initiate();
    world.run(milliseconds(gap));
    world.west.initiate();
    world.run(seconds(40));
    world.start_traffic();
    world.run(seconds(120));
    INFO("gap " << gap);
    CHECK(world.settled());
    CHECK(world.lost == 0);
    CHECK(world.complaints == std::vector<std::string>{});
  }
}

TEST_CASE("a peer that lost everything is believed when it says so with proof") {
  World world;
  require_established(world);
  world.run(seconds(5));
  world.east.restart();
  world.east.initiate();
  world.run(seconds(3));
  CHECK(world.settled());
  CHECK(world.west.said("has forgotten the IKE SA from before"));
}

TEST_CASE("a successor of a dead control process does not have the old SAs dropped") {
  World world;
  require_established(world);
  world.run(seconds(5));
  const std::uint32_t before = world.west.inbound.begin()->first;
  // The daemon is new; the dataplane's SAs live on.
  world.east.up = false;
  world.east.up_tunnels.clear();
  world.east.daemon = std::make_unique<ike::Daemon>(world.east.tunnels, world.east.keeper, world.east,
                                                    world.east.settings, world.now);
  world.east.daemon->set_initial_contact(0, false);
  world.start_traffic();
  world.east.initiate();
  world.run(seconds(10));
  CHECK(world.lost == 0);
  CHECK(world.west.inbound.contains(before));
  CHECK(world.west.sending.at(0) != before);
}

TEST_CASE("terminate tells the peer, and all is gone on both sides") {
  World world;
  require_established(world);
  world.east.daemon->terminate(0, {Failure::operator_request, "reset by the operator"}, world.now);
  CHECK(!world.east.up);
  world.run(seconds(2));
  CHECK(world.west.inbound.empty());
  CHECK(world.west.outbound.empty());
  CHECK(world.west.said("the peer closed the IKE SA"));
  CHECK(world.east.ike_sas() == 0);
  CHECK(world.west.ike_sas() == 0);
  world.run(seconds(60));
  CHECK(!world.east.daemon->next_deadline());
  CHECK(!world.west.daemon->next_deadline());
}

TEST_CASE("shutdown sends one delete for each") {
  World world;
  require_established(world);
  const unsigned before = world.sent;
  world.east.daemon->terminate_all(world.now);
  CHECK(world.sent == before + 1);
  CHECK(world.east.inbound.empty());
  world.run(seconds(2));
  CHECK(world.west.inbound.empty());
  SECTION("and nobody gets in again") {
    world.west.initiate();
    world.run(seconds(5));
    CHECK(world.east.ike_sas() == 0);
    CHECK(world.east.daemon->empty());
    CHECK(!world.west.up);
  }
}

TEST_CASE("what the dataplane refuses is taken back, and told") {
  World world;
  require_established(world);
  const std::uint32_t spi = world.east.inbound.begin()->first;
  world.east.daemon->dataplane_refused(0, spi, "no such worker", world.now);
  CHECK(!world.east.up);
  CHECK(world.east.said("no such worker"));
  world.run(seconds(10));
  CHECK(world.west.inbound.empty());
  CHECK(world.west.ike_sas() == 1);
  world.east.initiate();  // on the IKE SA that is still there
  world.run(seconds(3));
  CHECK(world.settled());
}

TEST_CASE("a dataplane without room is no peer's fault") {
  World world;
  world.west.full = true;
  world.east.initiate();
  world.run(seconds(3));
  CHECK(world.west.said("no room"));
  CHECK(world.east.said("NO_ADDITIONAL_SAS"));
  world.west.full = false;
  world.east.initiate();
  world.run(seconds(3));
  CHECK(world.settled());
}

}  // namespace
}  // namespace espgate::test
