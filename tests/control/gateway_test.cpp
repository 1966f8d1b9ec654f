// The control process against a fake dataplane: stating what is wanted, coming up, and above all taking over.
#include <catch2/catch.hpp>

#include "tests/control/gateway_pair.hpp"

using namespace espgate;
using namespace espgate::test;
using control::Gateway;
using control::TunnelState;

TEST_CASE("on attaching it asks for the held SAs first, then states all that is wanted", "[gateway]") {
  Pair pair;
  pair.west.start(pair.now);
  pair.settle();
  const std::vector<CommandKind> expected{CommandKind::list_sas, CommandKind::sync_begin,
                                          CommandKind::set_tunnel, CommandKind::sync_end};
  REQUIRE(pair.west.dataplane.seen.size() >= expected.size());
  CHECK(std::vector<CommandKind>(pair.west.dataplane.seen.begin(), pair.west.dataplane.seen.begin() + 4) ==
        expected);
  CHECK(pair.west.dataplane.tunnels.at(0) == "to-east");
  CHECK(pair.west.gateway->ready());
}

TEST_CASE("a tunnel comes up, and both ends hold matching SAs", "[gateway]") {
  Pair pair;
  pair.start();
  pair.run(200ms);
  CHECK(pair.west.status().state == TunnelState::up);
  CHECK(pair.east.status().state == TunnelState::up);
  CHECK(pair.carries_both_ways());
  CHECK(pair.west.gateway->book().of(0).size() == 1);
  for (const auto& [spi, sa] : pair.west.dataplane.inbound) CHECK(spi >= channel::kFirstFreeSpi);
}

TEST_CASE("an SA is installed with what its tunnel's configuration says", "[gateway]") {
  Pair pair;
  conf::Tunnel& tunnel = pair.west.configuration.tunnels[0];
  tunnel.replay_window = 16384;
  tunnel.child_bytes = 8'000'000;
  tunnel.child_packets = 16'000;
  tunnel.keepalive = 45s;
  tunnel.encapsulation = conf::Encapsulation::udp;
  tunnel.esp_proposals[0].esn = conf::Esn::yes;
  pair.east.configuration.tunnels[0].esp_proposals[0].esn = conf::Esn::either;
  tunnel.outer = {46, channel::EcnMode::compatibility, channel::DontFragment::copy};
  tunnel.tfc_length = channel::kTfcToMtu;
  pair.start();
  pair.run(200ms);
  REQUIRE(pair.carries_both_ways());
  const channel::InstallSa& in = pair.west.dataplane.inbound.begin()->second.asked;
  const channel::InstallSa& out = pair.west.dataplane.outbound.begin()->second.asked;
  CHECK(in.replay_window == 16384);
  for (const channel::InstallSa* sa : {&in, &out}) {
    CHECK(sa->hard_bytes == 8'000'000);
    CHECK(sa->soft_bytes >= 6'000'000);
    CHECK(sa->soft_bytes <= 7'000'000);
    CHECK(sa->hard_packets == 16'000);
    CHECK(sa->soft_packets >= 12'000);
    CHECK(sa->soft_packets <= 14'000);
  }
  CHECK(in.soft_bytes != out.soft_bytes);  // by chance: the two gateways do not begin at once each time
  CHECK(in.esn == 1);
  CHECK(out.esn == 1);
  CHECK(out.mode == channel::Mode::tunnel);
  CHECK(out.keepalive == 45);
  CHECK(out.fixed_dscp == 47);
  CHECK(out.ecn == channel::EcnMode::compatibility);
  CHECK(out.df == channel::DontFragment::copy);
  CHECK(out.tfc_length == channel::kTfcToMtu);

  // The other side's says nothing: a plain tunnel.
  const channel::InstallSa& plain = pair.east.dataplane.outbound.begin()->second.asked;
  CHECK(plain.hard_packets == 0);  // with ESN
  CHECK(plain.hard_bytes == 0);
  CHECK(plain.fixed_dscp == 0);
  CHECK(plain.keepalive == 0);
  CHECK(pair.east.dataplane.inbound.begin()->second.asked.hard_packets == 0);
}

TEST_CASE("without ESN an SA ends with its sequence numbers, and raw ESP needs no keepalives", "[gateway]") {
  Pair pair;
  pair.start();
  pair.run(200ms);
  REQUIRE(pair.carries_both_ways());
  const channel::InstallSa& out = pair.west.dataplane.outbound.begin()->second.asked;
  CHECK(out.esn == 0);
  CHECK(out.hard_packets == 0xffff'ffff);
  CHECK(out.soft_packets < out.hard_packets);
  CHECK(out.keepalive == 0);
  CHECK(pair.west.dataplane.inbound.begin()->second.asked.hard_packets == 0);
}

TEST_CASE("in transport mode the SAs are installed as such", "[gateway]") {
  Pair pair;
  for (Side* side : {&pair.west, &pair.east}) {
    conf::Tunnel& tunnel = side->configuration.tunnels[0];
    tunnel.mode = channel::Mode::transport;
    tunnel.local_selectors = {{tunnel.local, 32}};
    tunnel.remote_selectors = {{tunnel.remote, 32}};
  }
  pair.start();
  pair.run(200ms);
  REQUIRE(pair.carries_both_ways());
  const channel::InstallSa& in = pair.west.dataplane.inbound.begin()->second.asked;
  const channel::InstallSa& out = pair.west.dataplane.outbound.begin()->second.asked;
  CHECK(in.mode == channel::Mode::transport);
  CHECK(out.mode == channel::Mode::transport);
  CHECK(out.selectors.local_count == 1);
  CHECK(out.selectors.remote[0].first == pair.west.configuration.tunnels[0].remote);
}

TEST_CASE("kill -9 of the control process: the SAs carry on, and new ones take over without a gap",
          "[gateway][takeover]") {
  const bool west_restarts = GENERATE(true, false);
  Pair pair;
  pair.start();
  pair.run(20s);
  REQUIRE(pair.carries_both_ways());
  Side& side = west_restarts ? pair.west : pair.east;
  const std::uint32_t old_inbound = side.dataplane.inbound.begin()->first;
  unsigned gaps = 0;
  pair.each_round = [&] { gaps += pair.carries_both_ways() ? 0 : 1; };

  side.kill_control();
  pair.run(3s);
  CHECK(pair.carries_both_ways());
  side.start(pair.now);
  pair.settle();
  CHECK(side.status().state == TunnelState::up);

  pair.run(1s);
  CHECK_FALSE(side.status().adopted);
  CHECK(side.dataplane.inbound.contains(old_inbound));
  pair.run(Gateway::kGrace + 30s);
  CHECK_FALSE(side.dataplane.inbound.contains(old_inbound));
  CHECK(side.dataplane.inbound.size() == 1);
  CHECK(side.dataplane.outbound.size() == 1);
  CHECK(side.status().state == TunnelState::up);
  CHECK(gaps == 0);
}

TEST_CASE("adopted SAs carry on while negotiation fails, until their lifetime ends", "[gateway][takeover]") {
  Pair pair;
  pair.west.configuration.tunnels[0].child_lifetime = 100s;
  pair.start();
  pair.run(1s);
  pair.west.kill_control();
  pair.wire = [](const channel::IkeDatagram&) { return false; };
  pair.east.kill_control();  // a peer that never answers, and never deletes
  pair.west.dataplane.age_ns = 10'000'000'000;
  pair.west.start(pair.now);
  pair.run(80s);
  CHECK(pair.carries_both_ways());
  CHECK(pair.west.status().state == TunnelState::up);
  CHECK(pair.west.status().adopted);
  CHECK(pair.west.status().last_error.failure == ike::Failure::no_answer);
  pair.run(15s);
  CHECK(pair.west.dataplane.inbound.empty());
  CHECK(pair.west.dataplane.outbound.empty());
  CHECK(pair.west.status().state != TunnelState::up);
}

TEST_CASE("held SAs of a tunnel that was renamed are removed", "[gateway][takeover]") {
  Pair pair;
  pair.start();
  pair.run(1s);
  pair.west.kill_control();
  pair.west.configuration.tunnels[0].name = "another";
  pair.wire = [](const channel::IkeDatagram&) { return false; };
  pair.west.start(pair.now);
  pair.run(200ms);
  CHECK(pair.west.dataplane.inbound.empty());
  CHECK(pair.west.dataplane.outbound.empty());
  CHECK(pair.west.status().state == TunnelState::connecting);
}

TEST_CASE("held SAs of a template's slot are kept for the peer that they are of, wherever it is",
          "[gateway][takeover]") {
  const bool same_peer = GENERATE(true, false);
  CAPTURE(same_peer);
  Pair pair;
  conf::Tunnel& slot = pair.east.configuration.tunnels[0];
  slot.remote = {};
  slot.peers = 1;
  slot.first_slot = 0;
  pair.start();
  pair.run(1s);
  REQUIRE(pair.carries_both_ways());
  CHECK(pair.east.gateway->remote_of(0) == "192.0.2.1");
  CHECK(pair.east.gateway->peer_of(0) == "west.example");
  pair.east.kill_control();
  if (!same_peer) slot.remote_id = fqdn("another.example");
  pair.east.start(pair.now);
  pair.settle();
  CHECK(pair.east.status().adopted == same_peer);
  CHECK(pair.east.dataplane.inbound.empty() != same_peer);
  if (!same_peer) return;
  CHECK(pair.east.gateway->slot_counts(0).taken == 1);
  pair.run(120s);  // west finds that nobody knows its IKE SA, and begins anew
  CHECK(pair.carries_both_ways());
  CHECK_FALSE(pair.east.status().adopted);
  CHECK(pair.east.dataplane.inbound.size() == 1);
}

TEST_CASE("the dataplane is restarted: everything is installed anew", "[gateway]") {
  Pair pair;
  pair.start();
  pair.run(1s);
  pair.west.link.detach();
  pair.west.gateway->detached("it ended", pair.now);
  pair.west.dataplane.forget();
  pair.run(500ms);
  pair.west.link.attach(pair.west.dataplane.accept());
  pair.west.gateway->attached(pair.now);
  pair.run(3s);
  CHECK(pair.west.dataplane.tunnels.size() == 1);
  CHECK(pair.west.status().state == TunnelState::up);
  CHECK(pair.carries_both_ways());
}

TEST_CASE("the channel was lost, but not the dataplane: the SAs stay as they are", "[gateway]") {
  Pair pair;
  pair.start();
  pair.run(1s);
  const auto before = pair.west.dataplane.inbound;
  pair.west.link.detach();
  pair.west.gateway->detached("a broken ring", pair.now);
  pair.run(500ms);
  pair.west.link.attach(pair.west.dataplane.accept());
  pair.west.gateway->attached(pair.now);
  pair.run(3s);
  REQUIRE(pair.west.dataplane.inbound.size() == 1);
  CHECK(pair.west.dataplane.inbound.begin()->first == before.begin()->first);
  CHECK(pair.carries_both_ways());
}

TEST_CASE("reset takes a tunnel down and brings up another SA", "[gateway]") {
  Pair pair;
  pair.start();
  pair.run(1s);
  const std::uint32_t old = pair.west.dataplane.inbound.begin()->first;
  const unsigned set_before = pair.west.dataplane.tunnels_set;
  pair.west.gateway->reset(0, pair.now);
  pair.run(2s);
  CHECK(pair.west.dataplane.tunnels_set == set_before + 1);  // so that it is not held down
  CHECK(pair.west.status().state == TunnelState::up);
  CHECK(pair.carries_both_ways());
  CHECK_FALSE(pair.west.dataplane.inbound.contains(old));
}

TEST_CASE("the operator's rekey, and the dataplane's soft lifetime, replace the child SA without a gap",
          "[gateway]") {
  Pair pair;
  pair.start();
  pair.run(1s);
  const std::uint32_t old = pair.west.dataplane.inbound.begin()->first;
  unsigned gaps = 0;
  pair.each_round = [&] { gaps += pair.carries_both_ways() ? 0 : 1; };
  SECTION("rekey") { CHECK(pair.west.gateway->rekey(0, pair.now) == 1); }
  SECTION("soft lifetime of the outbound SA") {
    channel::Event event{};
    event.kind = channel::EventKind::sa_soft_lifetime;
    event.body.sa_lifetime = {0, pair.west.dataplane.sending.at(0), Direction::outbound};
    pair.west.dataplane.tell(event);
  }
  pair.run(10s);
  CHECK(gaps == 0);
  CHECK_FALSE(pair.west.dataplane.inbound.contains(old));
  CHECK(pair.west.dataplane.inbound.size() == 1);
}

TEST_CASE("a lifetime that is passed before its rekey is done: another child SA comes at once", "[gateway]") {
  Pair pair;
  pair.start();
  pair.run(1s);
  const std::uint32_t old = pair.west.dataplane.inbound.begin()->first;
  channel::Event event{};
  event.body.sa_lifetime = {0, pair.west.dataplane.sending.at(0), Direction::outbound};
  for (const auto kind : {channel::EventKind::sa_soft_lifetime, channel::EventKind::sa_hard_lifetime}) {
    event.kind = kind;
    pair.west.dataplane.tell(event);
  }
  pair.run(3s);
  CHECK(pair.carries_both_ways());
  CHECK(pair.west.status().state == TunnelState::up);
  CHECK(pair.east.status().state == TunnelState::up);
  pair.run(30s);  // the old inbound SA stays for what is on its way
  CHECK(pair.carries_both_ways());
  CHECK(pair.west.dataplane.inbound.size() == 1);
  CHECK_FALSE(pair.west.dataplane.inbound.contains(old));
}

TEST_CASE("a wrong key is told in words on both sides, and tried again at a sane pace", "[gateway]") {
  Pair pair;
  pair.east.configuration.tunnels[0].psk = crypto::SecretBytes(std::string_view("another secret"));
  pair.start();
  pair.run(60s);
  CHECK(pair.west.status().state != TunnelState::up);
  CHECK(pair.west.status().last_error.failure == ike::Failure::authentication_failed);
  CHECK(pair.east.status().last_error.failure == ike::Failure::authentication_failed);
  CHECK(pair.west.status().attempts >= 2);
  CHECK(pair.west.status().attempts <= 4);
}

TEST_CASE("an SA that the dataplane refuses takes the tunnel down, with its words", "[gateway]") {
  Pair pair;
  pair.west.dataplane.refuse[CommandKind::install_inbound_sa] = CommandStatus::table_full;
  pair.start();
  pair.run(500ms);
  CHECK(pair.west.status().state != TunnelState::up);
  CHECK(pair.west.status().last_error.summary.find(channel::words(CommandStatus::table_full)) !=
        std::string::npos);
}

TEST_CASE("shutting down deletes the SAs on both sides", "[gateway]") {
  Pair pair;
  pair.start();
  pair.run(1s);
  pair.west.gateway->shut_down(pair.now);
  pair.run(200ms);
  CHECK(pair.west.gateway->quiet());
  CHECK(pair.west.dataplane.inbound.empty());
  CHECK(pair.west.dataplane.outbound.empty());
  CHECK(pair.east.dataplane.outbound.empty());
  CHECK(pair.east.status().state == TunnelState::down);
}

TEST_CASE("dead peer detection takes the time of the last packet from the counters page", "[gateway]") {
  Pair pair;
  pair.start();
  pair.run(1s);
  CHECK_FALSE(pair.west.gateway->last_inbound(0).has_value());
  const std::uint32_t spi = pair.west.dataplane.inbound.begin()->first;
  channel::SaStatus& status =
      pair.west.dataplane.page().inbound(channel::spi_worker(spi))[channel::spi_slot(spi)];
  status.last_used_ns = 5'000'000'000;
  CHECK_FALSE(pair.west.gateway->last_inbound(0).has_value());  // the slot is another SA's
  status.spi = spi;
  REQUIRE(pair.west.gateway->last_inbound(0).has_value());
  CHECK(*pair.west.gateway->last_inbound(0) == Time(5s));
}
