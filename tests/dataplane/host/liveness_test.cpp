// Watched tunnels on the main thread: BFD and the probe against a far end of the test's own, what that does
// to groups and what the control process is told, and every packet that must be refused.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <optional>

#include "channel/address.hpp"
#include "dataplane/liveness/bfd.hpp"
#include "dataplane/ports/checksum.hpp"
#include "tests/dataplane/host/desk.hpp"

using namespace espgate;
using namespace espgate::test;
using channel::Command;
using channel::CommandStatus;
using channel::LivenessReason;
using dataplane::bfd::ControlPacket;
using dataplane::bfd::State;

namespace {

constexpr std::uint64_t kMs = 1'000'000;
constexpr std::uint32_t kTunnel = 3;
constexpr std::uint32_t kOther = 4;
constexpr std::uint32_t kGroup = 1;

Command watched_tunnel(std::uint32_t index = kTunnel) {
  Command out = set_tunnel(index);
  channel::Watch& watch = out.body.set_tunnel.watch;
  watch.bfd_peer = *parse_address("169.254.3.2");
  watch.bfd_interval = 50'000;
  watch.bfd_multiplier = 3;
  watch.hold_initial = 1000;
  watch.hold_maximum = 30'000;
  return out;
}

Command probed_tunnel() {
  Command out = set_tunnel(kTunnel);
  channel::Watch& watch = out.body.set_tunnel.watch;
  watch.probe_to = *parse_address("169.254.3.2");
  watch.probe_interval = 200;
  watch.probe_losses = 3;
  return out;
}

Octets ip_packet(std::uint8_t protocol, const Octets& payload, std::uint8_t hops = 255,
                 std::string_view from = "169.254.3.2", std::string_view to = "169.254.3.1") {
  Octets out(20 + payload.size());
  out[0] = 0x45;
  out[3] = static_cast<std::uint8_t>(out.size());
  out[6] = 0x40;
  out[8] = hops;
  out[9] = protocol;
  std::copy_n(parse_address(from)->bytes.begin(), 4, out.begin() + 12);
  std::copy_n(parse_address(to)->bytes.begin(), 4, out.begin() + 16);
  const std::uint16_t sum = dataplane::checksum(out.data(), 20);
  std::memcpy(out.data() + 10, &sum, sizeof sum);
  std::copy(payload.begin(), payload.end(), out.begin() + 20);
  return out;
}

Octets bfd_datagram(const ControlPacket& packet) {
  const auto bytes = dataplane::bfd::encode(packet);
  Octets out(8 + bytes.size());
  out[0] = 0xc0;
  out[2] = 0x0e;
  out[3] = 0xc8;
  out[5] = static_cast<std::uint8_t>(out.size());
  std::copy(bytes.begin(), bytes.end(), out.begin() + 8);
  return out;
}

struct Far {
  Far() {
    desk.know(kWan, "192.0.2.2", {2, 0, 0, 0, 0x99, 2});
    for (const std::uint32_t tunnel : {kTunnel, kOther}) {
      REQUIRE(desk.run(set_tunnel(tunnel)) == CommandStatus::ok);
      REQUIRE(desk.run(install_outbound(tunnel, 0xc0000000 + tunnel)) == CommandStatus::ok);
    }
    REQUIRE(desk.run(set_group(kGroup, {kTunnel, kOther})) == CommandStatus::ok);
    (void)said();
  }

  // As a worker hands it up.
  void hear(const Octets& packet, std::uint32_t tunnel = kTunnel, TableId table = kMainTable) {
    rte_mbuf* const mbuf = desk.make(packet);
    dataplane::note_of(mbuf) = dataplane::Note{
        static_cast<std::uint8_t>(Exception::to_host), dataplane::Note::kNoPort, 0, tunnel, {}, {}, table};
    if (!desk.liveness.receive(mbuf, desk.now)) desk.slow_path.handle(mbuf, desk.now);
    follow();
  }
  void hear(const ControlPacket& packet) { hear(ip_packet(17, bfd_datagram(packet))); }
  void pass(std::uint64_t ns) {
    for (const std::uint64_t end = desk.now + ns; desk.now < end;) {
      desk.now += kMs;
      desk.liveness.advance(desk.now, desk.now);
      follow();
    }
  }
  // A worker does not hand over what it has.
  void pass_unheard(std::uint64_t ns) {
    const std::uint64_t heard_until = desk.now;
    for (const std::uint64_t end = desk.now + ns; desk.now < end;) {
      desk.now += kMs;
      desk.liveness.advance(desk.now, heard_until);
      follow();
    }
  }
  void follow() { desk.commands.follow_liveness(desk.now); }

  // BFD's packets that went into the tunnel since the last call.
  std::vector<ControlPacket> said() {
    std::vector<ControlPacket> out;
    for (const Sent& sent : desk.sent()) {
      if (sent.errand != Errand::protect || sent.data.size() != 52) continue;
      const auto read = dataplane::bfd::parse({sent.data.data() + 28, 24});
      REQUIRE(read);
      CHECK(sent.data[8] == 255);
      CHECK((sent.data[22] == 0x0e && sent.data[23] == 0xc8));
      out.push_back(*read);
    }
    return out;
  }
  std::optional<channel::TunnelLiveness> told() {
    std::optional<channel::TunnelLiveness> last;
    for (const channel::Event& event : desk.control.events)
      if (event.kind == channel::EventKind::tunnel_liveness) last = event.body.tunnel_liveness;
    desk.control.events.clear();
    return last;
  }
  [[nodiscard]] bool in_group(std::uint32_t tunnel) const {
    const dataplane::Group* const group = desk.tables.groups[kGroup].load();
    const auto& buckets = group->buckets.member;
    return std::any_of(buckets.begin(), buckets.end(), [&](std::uint8_t place) {
      return place != dataplane::Buckets::kNobody && group->members[place].index == tunnel;
    });
  }
  ControlPacket answer(State state) {
    ControlPacket packet;
    packet.state = state;
    packet.detect_multiplier = 3;
    packet.my_discriminator = 77;
    packet.your_discriminator = ours;
    packet.desired_min_tx = state == State::up ? 50'000 : 1'000'000;
    packet.required_min_rx = 50'000;
    return packet;
  }
  void bring_up() {
    REQUIRE(desk.run(watched_tunnel()) == CommandStatus::ok);
    const auto first = said();
    REQUIRE(first.size() == 1);
    CHECK(first[0].state == State::down);
    ours = first[0].my_discriminator;
    hear(answer(State::down));
    hear(answer(State::init));
    hear(answer(State::up));
  }

  Desk desk;
  std::uint32_t ours{0};
};

}  // namespace

TEST_CASE("a tunnel with BFD is in its groups while the session is up, and nowhere else") {
  Far far;
  CHECK(far.in_group(kTunnel));
  far.bring_up();
  CHECK(far.in_group(kTunnel));
  CHECK(far.told()->reason == LivenessReason::up);
  for (int i = 0; i < 40; i++) {
    far.pass(40 * kMs);
    far.hear(far.answer(State::up));
  }
  CHECK(far.in_group(kTunnel));
  CHECK_FALSE(far.told());
  far.pass(149 * kMs);
  CHECK(far.in_group(kTunnel));
  far.pass(2 * kMs);
  CHECK_FALSE(far.in_group(kTunnel));
  CHECK(far.in_group(kOther));
  const auto lost = far.told();
  REQUIRE(lost);
  CHECK((lost->reason == LivenessReason::bfd_no_packet && lost->up == 0 && lost->milliseconds == 150));
}

TEST_CASE("what BFD heard while the main thread was away counts before its silence does") {
  Far far;
  far.bring_up();
  far.desk.now += 500 * kMs;  // away
  far.hear(far.answer(State::up));
  far.desk.liveness.advance(far.desk.now, far.desk.now);
  far.follow();
  CHECK(far.in_group(kTunnel));
}

TEST_CASE("while a worker stands still nobody is silent, and we are not either") {
  Far far;
  far.bring_up();
  far.pass(100 * kMs);
  (void)far.said();
  far.pass_unheard(300 * kMs);
  CHECK(far.in_group(kTunnel));
  CHECK(far.said().size() >= 6);
  SECTION("what it had counts") {
    far.hear(far.answer(State::up));
    far.pass(149 * kMs);
    CHECK(far.in_group(kTunnel));
  }
  SECTION("it had nothing") {
    far.pass(kMs);
    CHECK_FALSE(far.in_group(kTunnel));
  }
}

TEST_CASE("a far end that comes back is held down, the longer the oftener") {
  Far far;
  far.bring_up();
  far.pass(40 * kMs);
  for (const unsigned wait : {1000U, 2000U, 4000U}) {
    far.hear(far.answer(State::down));  // it signals a loss
    CHECK_FALSE(far.in_group(kTunnel));
    far.hear(far.answer(State::init));
    const auto held = far.told();
    REQUIRE(held);
    CHECK((held->reason == LivenessReason::held && held->milliseconds == wait));
    for (unsigned i = 0; i + 1 < wait / 20; i++) {
      far.pass(20 * kMs);
      far.hear(far.answer(State::up));
    }
    CHECK_FALSE(far.in_group(kTunnel));
    far.pass(40 * kMs);
    CHECK(far.in_group(kTunnel));
    far.hear(far.answer(State::up));
  }
}

TEST_CASE("a tunnel that only IKE watches is held down when it was lost, the longer the oftener") {
  Far far;
  Command held = set_tunnel(kTunnel);
  held.body.set_tunnel.watch.hold_initial = 1000;
  held.body.set_tunnel.watch.hold_maximum = 30'000;
  REQUIRE(far.desk.run(held) == CommandStatus::ok);
  CHECK(far.in_group(kTunnel));
  std::uint32_t spi = 0xc0000000 + kTunnel;
  const auto lose = [&] {
    REQUIRE(far.desk.run(remove_sa(channel::CommandKind::remove_outbound_sa, kTunnel, spi)) ==
            CommandStatus::ok);
    CHECK_FALSE(far.in_group(kTunnel));
    far.pass(100 * kMs);
    far.desk.tables.rcu.reclaim_ready();
  };
  const auto make = [&] { REQUIRE(far.desk.run(install_outbound(kTunnel, ++spi)) == CommandStatus::ok); };
  (void)far.told();
  for (const unsigned wait : {1000U, 2000U}) {
    lose();
    CHECK(far.told()->reason == LivenessReason::no_sa);
    make();
    const auto told = far.told();
    REQUIRE(told);
    CHECK((told->reason == LivenessReason::held && told->milliseconds == wait));
    far.pass((wait - 1) * kMs);
    CHECK_FALSE(far.in_group(kTunnel));
    far.pass(kMs);
    CHECK(far.in_group(kTunnel));
  }
  SECTION("a rekey is no loss") {
    make();
    REQUIRE(far.desk.run(remove_sa(channel::CommandKind::remove_outbound_sa, kTunnel, spi - 1)) ==
            CommandStatus::ok);
    CHECK(far.in_group(kTunnel));
  }
  SECTION("nor is what the operator does: the tunnel is set again, and begins anew") {
    lose();
    held.sequence = command(channel::CommandKind::set_tunnel).sequence;
    REQUIRE(far.desk.run(held) == CommandStatus::ok);
    make();
    CHECK(far.in_group(kTunnel));
    lose();
    make();
    CHECK(far.told()->milliseconds == 1000);
  }
  SECTION("the same said again while there is an SA changes nothing") {
    lose();
    make();
    held.sequence = command(channel::CommandKind::set_tunnel).sequence;
    REQUIRE(far.desk.run(held) == CommandStatus::ok);
    CHECK_FALSE(far.in_group(kTunnel));
  }
  SECTION("without hold-down it is not watched") {
    lose();
    REQUIRE(far.desk.run(set_tunnel(kTunnel)) == CommandStatus::ok);
    make();
    CHECK(far.in_group(kTunnel));
    CHECK(far.told()->reason == LivenessReason::not_watched);
  }
}

TEST_CASE("the first time that IKE brings a tunnel up there is nothing to wait for") {
  Far far;
  Command held = set_tunnel(7);
  held.body.set_tunnel.watch.hold_initial = 1000;
  held.body.set_tunnel.watch.hold_maximum = 30'000;
  REQUIRE(far.desk.run(held) == CommandStatus::ok);
  CHECK_FALSE(far.desk.liveness.up(7));
  far.pass(5000 * kMs);
  REQUIRE(far.desk.run(install_outbound(7, 0xc0000007)) == CommandStatus::ok);
  CHECK(far.desk.liveness.up(7));
}

TEST_CASE("a peer that has BFD administratively down says nothing against the tunnel") {
  Far far;
  far.bring_up();
  far.hear(far.answer(State::admin_down));
  CHECK(far.in_group(kTunnel));
  CHECK(far.told()->reason == LivenessReason::bfd_admin_down);
  far.pass(20'000 * kMs);
  CHECK(far.in_group(kTunnel));
  ControlPacket anew = far.answer(State::down);
  anew.your_discriminator = 0;
  far.hear(anew);
  CHECK_FALSE(far.in_group(kTunnel));
}

TEST_CASE("without an SA nothing is sent, and with a new one at once") {
  Far far;
  far.bring_up();
  REQUIRE(far.desk.run(remove_sa(channel::CommandKind::remove_outbound_sa, kTunnel, 0xc0000003)) ==
          CommandStatus::ok);
  CHECK(far.told()->reason == LivenessReason::no_sa);
  (void)far.said();
  far.pass(5000 * kMs);
  CHECK(far.said().empty());
  far.desk.tables.rcu.reclaim_ready();
  REQUIRE(far.desk.run(install_outbound(kTunnel, 0xc0000009)) == CommandStatus::ok);
  CHECK(far.said().size() == 1);
  CHECK_FALSE(far.in_group(kTunnel));
}

TEST_CASE("a watch that ends tells the peer so, and the groups use the tunnel as before") {
  Far far;
  REQUIRE(far.desk.run(watched_tunnel()) == CommandStatus::ok);
  CHECK_FALSE(far.in_group(kTunnel));
  (void)far.said();
  REQUIRE(far.desk.run(set_tunnel(kTunnel)) == CommandStatus::ok);
  CHECK(far.in_group(kTunnel));
  const auto last = far.said();
  REQUIRE(last.size() == 1);
  CHECK(last[0].state == State::admin_down);
  CHECK(far.told()->reason == LivenessReason::not_watched);
  REQUIRE(far.desk.run(watched_tunnel()) == CommandStatus::ok);
  Command remove = command(channel::CommandKind::remove_tunnel);
  remove.body.remove_tunnel.index = kTunnel;
  REQUIRE(far.desk.run(remove) == CommandStatus::ok);
  far.pass(5000 * kMs);
}

// RFC 5880 section 6.8.16: one packet may be lost.
TEST_CASE("a peer is told for its detection time that a watch has ended") {
  Far far;
  far.bring_up();
  (void)far.said();
  REQUIRE(far.desk.run(set_tunnel(kTunnel)) == CommandStatus::ok);
  REQUIRE(far.said().size() == 1);
  SECTION("and no longer") {
    far.pass(3100 * kMs);
    const auto more = far.said();
    CHECK((more.size() >= 2 && more.size() <= 4));
    for (const ControlPacket& packet : more) CHECK(packet.state == State::admin_down);
    far.pass(5000 * kMs);
    CHECK(far.said().empty());
  }
  SECTION("or until there is another one") {
    REQUIRE(far.desk.run(watched_tunnel()) == CommandStatus::ok);
    far.pass(3000 * kMs);
    for (const ControlPacket& packet : far.said()) CHECK(packet.state == State::down);
  }
  SECTION("or until there is no tunnel") {
    Command remove = command(channel::CommandKind::remove_tunnel);
    remove.body.remove_tunnel.index = kTunnel;
    REQUIRE(far.desk.run(remove) == CommandStatus::ok);
    far.pass(5000 * kMs);
    CHECK(far.said().empty());
  }
}

TEST_CASE("the same watch again changes nothing; another interval is told by a poll") {
  Far far;
  far.bring_up();
  ControlPacket final = far.answer(State::up);
  final.final = true;
  far.hear(final);
  (void)far.said();
  REQUIRE(far.desk.run(watched_tunnel()) == CommandStatus::ok);
  CHECK(far.said().empty());
  Command slower = watched_tunnel();
  slower.body.set_tunnel.watch.bfd_interval = 60'000;
  REQUIRE(far.desk.run(slower) == CommandStatus::ok);
  far.pass(50 * kMs);
  const auto polls = far.said();
  REQUIRE(polls.size() == 1);
  CHECK((polls[0].poll && polls[0].desired_min_tx == 60'000 && polls[0].state == State::up));
  CHECK(far.in_group(kTunnel));
}

TEST_CASE("a new control process is told how watched tunnels are") {
  Far far;
  far.bring_up();
  (void)far.told();
  REQUIRE(far.desk.run(command(channel::CommandKind::sync_begin)) == CommandStatus::ok);
  for (const Command& wanted : {watched_tunnel(), set_tunnel(kOther), set_group(kGroup, {kTunnel, kOther})})
    REQUIRE(far.desk.run(wanted) == CommandStatus::ok);
  CHECK_FALSE(far.told());
  REQUIRE(far.desk.run(command(channel::CommandKind::sync_end)) == CommandStatus::ok);
  CHECK(far.told()->reason == LivenessReason::up);
}

TEST_CASE("BFD that is not the peer's is dropped by name") {
  Far far;
  far.bring_up();
  const auto dropped = [&](const Octets& packet) {
    const auto all = far.desk.all_drops();
    far.hear(packet);
    CHECK(far.desk.all_drops() == all + 1);
    CHECK(far.in_group(kTunnel));
  };
  const Octets good = bfd_datagram(far.answer(State::down));
  dropped(ip_packet(17, good, 254));
  CHECK(far.desk.drops(DropReason::bfd_hops) == 1);
  dropped(ip_packet(17, good, 255, "169.254.3.9"));
  dropped(ip_packet(17, good, 255, "169.254.3.2", "169.254.4.1"));
  ControlPacket stranger = far.answer(State::down);
  stranger.your_discriminator = far.ours + 1;
  dropped(ip_packet(17, bfd_datagram(stranger)));
  CHECK(far.desk.drops(DropReason::bfd_no_session) == 3);
  Octets bad = good;
  bad[9] |= 4;  // with authentication
  dropped(ip_packet(17, bad));
  bad = good;
  bad[6] = 1;  // a checksum that is wrong
  dropped(ip_packet(17, bad));
  bad.resize(31);
  dropped(ip_packet(17, bad));
  bad = good;
  bad[5] = 200;  // a UDP length beyond the packet
  dropped(ip_packet(17, bad));
  CHECK(far.desk.drops(DropReason::bfd_malformed) == 4);
  const auto before = far.desk.drops(DropReason::host_protocol);
  far.hear(ip_packet(17, good), kOther);  // no session there: as any other datagram to us
  CHECK(far.desk.drops(DropReason::host_protocol) == before + 1);
}

TEST_CASE("watches that can't be are refused") {
  Far far;
  const auto refused = [&](auto&& spoil) {
    Command wanted = watched_tunnel();
    spoil(wanted.body.set_tunnel);
    return far.desk.run(wanted);
  };
  using channel::SetTunnel;
  CHECK(refused([](SetTunnel& t) { t.watch.bfd_interval = 9'999; }) == CommandStatus::bad_option);
  CHECK(refused([](SetTunnel& t) { t.watch.bfd_interval = 10'000'001; }) == CommandStatus::bad_option);
  CHECK(refused([](SetTunnel& t) { t.watch.bfd_multiplier = 0; }) == CommandStatus::bad_option);
  CHECK(refused([](SetTunnel& t) { t.watch.hold_maximum = 999; }) == CommandStatus::bad_option);
  CHECK(refused([](SetTunnel& t) { t.watch.hold_maximum = 3'600'001; }) == CommandStatus::bad_option);
  CHECK(refused([](SetTunnel& t) { t.mode = channel::Mode::transport; }) == CommandStatus::bad_option);
  CHECK(refused([](SetTunnel& t) { t.watch.bfd_peer = *parse_address("169.254.3.1"); }) ==
        CommandStatus::bad_address);
  CHECK(refused([](SetTunnel& t) { t.watch.bfd_peer = *parse_address("fd00::2"); }) ==
        CommandStatus::bad_address);
  CHECK(refused([](SetTunnel& t) { t.watch.bfd_peer = *parse_address("224.0.0.1"); }) ==
        CommandStatus::bad_address);
  CHECK(refused([](SetTunnel& t) { t.watch.bfd_peer.family = static_cast<Family>(9); }) ==
        CommandStatus::bad_address);
  CHECK(refused([](SetTunnel& t) {
          t.watch.probe_to = t.watch.bfd_peer;
          t.watch.probe_interval = 49;
          t.watch.probe_losses = 3;
        }) == CommandStatus::bad_option);
  CHECK(far.in_group(kTunnel));
}

namespace {

// Answers what the probe asks, as a host would: the same message with another type.
void answer_probes(Far& far, bool answering, std::uint32_t by = kTunnel, TableId table = kMainTable) {
  for (const Sent& sent : far.desk.sent()) {
    if (sent.errand != Errand::protect || sent.data.size() != 28 || sent.data[20] != 8 || !answering)
      continue;
    Octets icmp(sent.data.begin() + 20, sent.data.end());
    icmp[0] = 0;
    const unsigned sum = (icmp[2] << 8 | icmp[3]) + 0x0800U;  // RFC 1624, for the type
    const unsigned folded = (sum & 0xffff) + (sum >> 16);
    icmp[2] = static_cast<std::uint8_t>(folded >> 8);
    icmp[3] = static_cast<std::uint8_t>(folded);
    far.hear(ip_packet(1, icmp, 64), by, table);
  }
}

}  // namespace

TEST_CASE("a tunnel with a probe is in its groups while the far end answers") {
  Far far;
  REQUIRE(far.desk.run(probed_tunnel()) == CommandStatus::ok);
  CHECK_FALSE(far.in_group(kTunnel));
  CHECK(far.told()->reason == LivenessReason::probe_waiting);
  for (int i = 0; i < 100; i++) {
    answer_probes(far, true);
    CHECK(far.in_group(kTunnel));
    far.pass(50 * kMs);
  }
  CHECK(far.told()->reason == LivenessReason::up);
  answer_probes(far, true);
  for (int i = 0; i < 13; i++) {
    far.pass(50 * kMs);
    answer_probes(far, false);
  }
  far.pass(160 * kMs);
  CHECK_FALSE(far.in_group(kTunnel));
  const auto lost = far.told();
  REQUIRE(lost);
  CHECK((lost->reason == LivenessReason::probe_lost && lost->milliseconds >= 600));
  CHECK(lost->milliseconds <= 620);
}

TEST_CASE("while a worker stands still no probe is lost") {
  Far far;
  REQUIRE(far.desk.run(probed_tunnel()) == CommandStatus::ok);
  answer_probes(far, true);
  far.pass(250 * kMs);  // the request that is not answered is as old as that at most
  far.pass_unheard(500 * kMs);
  CHECK(far.in_group(kTunnel));
  SECTION("what it had counts") {
    answer_probes(far, true);
    far.pass(100 * kMs);
    CHECK(far.in_group(kTunnel));
  }
  SECTION("it had nothing") {
    far.pass(60 * kMs);
    CHECK_FALSE(far.in_group(kTunnel));
  }
}

TEST_CASE("a probe's answer may come by another tunnel of the table") {
  Far far;
  REQUIRE(far.desk.run(probed_tunnel()) == CommandStatus::ok);
  answer_probes(far, true, kOther, kRed);
  CHECK_FALSE(far.in_group(kTunnel));
  far.pass(250 * kMs);
  answer_probes(far, true, kOther);
  CHECK(far.in_group(kTunnel));
  REQUIRE(far.desk.run(set_tunnel(kTunnel)) == CommandStatus::ok);
  REQUIRE(far.desk.run(probed_tunnel()) == CommandStatus::ok);
  CHECK_FALSE(far.in_group(kTunnel));
  answer_probes(far, true, kOther);
  CHECK(far.in_group(kTunnel));
}

TEST_CASE("the far end is spoken to from the address on its network") {
  Far far;
  const auto among_others = [](Command wanted) {
    channel::SetTunnel& tunnel = wanted.body.set_tunnel;
    const IpPrefix own = tunnel.addresses[0];
    tunnel.addresses[0] = *parse_prefix("10.0.0.1/30");
    tunnel.addresses[1] = own;
    tunnel.addresses[2] = *parse_prefix("169.254.0.9/16");
    tunnel.address_count = 3;
    return wanted;
  };
  const auto spoken_from = [&far] {
    const auto sent = far.desk.sent();
    REQUIRE(sent.size() == 1);
    return to_string(dataplane::source_of(sent[0].data.data()));
  };
  SECTION("BFD") {
    REQUIRE(far.desk.run(among_others(watched_tunnel())) == CommandStatus::ok);
    CHECK(spoken_from() == "169.254.3.1");
    far.hear(far.answer(State::down));
    CHECK(far.desk.drops(DropReason::bfd_no_session) == 0);
  }
  SECTION("the probe") {
    REQUIRE(far.desk.run(among_others(probed_tunnel())) == CommandStatus::ok);
    CHECK(spoken_from() == "169.254.3.1");
  }
  SECTION("to a host behind it, from the first") {
    Command behind = among_others(probed_tunnel());
    behind.body.set_tunnel.watch.probe_to = *parse_address("10.2.0.1");
    REQUIRE(far.desk.run(behind) == CommandStatus::ok);
    CHECK(spoken_from() == "10.0.0.1");
  }
  SECTION("but to none of our own") {
    Command ours = among_others(probed_tunnel());
    ours.body.set_tunnel.watch.probe_to = *parse_address("169.254.0.9");
    CHECK(far.desk.run(ours) == CommandStatus::bad_address);
  }
}

TEST_CASE("packets that only go out of a probed tunnel make it ask at once") {
  Far far;
  Command wanted = probed_tunnel();
  wanted.body.set_tunnel.watch.probe_interval = 60'000;
  REQUIRE(far.desk.run(wanted) == CommandStatus::ok);
  answer_probes(far, true);
  REQUIRE(far.in_group(kTunnel));
  channel::InterfaceCounters counters[kOther + 1]{};
  const auto quarter = [&](std::uint64_t sent, std::uint64_t received) {
    counters[kTunnel].tx_packets.store(counters[kTunnel].tx_packets.load() + sent);
    counters[kTunnel].rx_packets.store(counters[kTunnel].rx_packets.load() + received);
    far.desk.liveness.look_at_traffic(counters, far.desk.now);
    far.follow();
    far.pass(250 * kMs);
  };
  for (int i = 0; i < 20; i++) quarter(10, 1);
  for (int i = 0; i < 20; i++) quarter(0, 0);
  CHECK(far.desk.sent().empty());
  for (int i = 0; i < 4; i++) quarter(10, 0);
  CHECK(far.desk.sent().size() == 2);  // at once, and 200 ms later
  CHECK(far.in_group(kTunnel));
  far.pass(400 * kMs);
  CHECK_FALSE(far.in_group(kTunnel));
  answer_probes(far, true);
  CHECK(far.in_group(kTunnel));  // hold-down is 0 here
}
