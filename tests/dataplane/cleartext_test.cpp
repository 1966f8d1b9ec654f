// Ports that are encrypted-only: what crosses them, in and out, and what is dropped by name.
#include <catch2/catch.hpp>

#include "channel/spi.hpp"
#include "dataplane/path/cleartext.hpp"
#include "tests/dataplane/rig.hpp"

namespace espgate::test {
namespace {

constexpr crypto::EspSuite kSuite = crypto::EspSuite::aes128_gcm16;
const std::uint32_t kSpi = channel::make_spi(0, 1, 3);

// The outside of a gateway is encrypted-only, and has a tunnel to 192.0.2.2 for 10.2.0.0/16.
struct Gateway {
  Gateway() {
    rig.tables().ports[kOutside].encrypted_only = true;
    rig.tables().some_encrypted_only = true;
    rig.set_tunnel(0);
    inbound = rig.command(kSuite, 2, false, kSpi);
    rig.install_inbound(inbound);
    rig.install_outbound(rig.command(kSuite, 2, false, 0x1234));
    rig.route("10.2.0.0/16", {NextHopKind::tunnel, 0, 0, 0});
    rig.route("10.3.0.0/16", rig.outside_gateway());
  }
  Rig rig;
  channel::InstallSa inbound;
};

Octets from_outside(unsigned protocol, const Octets& payload, const char* to = "192.0.2.1") {
  return ipv4_packet({.source = "192.0.2.2", .destination = to, .protocol = protocol}, payload);
}
Octets from_inside(const char* to) {
  return ipv4_packet({.source = "10.1.0.2", .destination = to}, udp(1, 2, filling(30)));
}
enum Flags : std::uint8_t { kSyn = 2, kRst = 4, kAck = 16 };
Octets tcp(std::uint16_t from, std::uint16_t to, unsigned flags = kAck) {
  Octets out(20);
  out[0] = static_cast<std::uint8_t>(from >> 8);
  out[1] = static_cast<std::uint8_t>(from);
  out[2] = static_cast<std::uint8_t>(to >> 8);
  out[3] = static_cast<std::uint8_t>(to);
  out[12] = 0x50;
  out[13] = static_cast<std::uint8_t>(flags);
  return out;
}
Octets icmp(int type) {
  Octets out(8);
  out[0] = static_cast<std::uint8_t>(type);
  return out;
}
using May = bool (*)(const std::uint8_t* ip, Family family, std::uint16_t length) noexcept;
constexpr May kIn = dataplane::may_come_in_clear;
constexpr May kOut = dataplane::may_go_in_clear;
bool may(May which, const Octets& ip) {
  const bool v4 = ip[0] >> 4 == 4;
  return which(ip.data(), v4 ? Family::v4 : Family::v6, static_cast<std::uint16_t>(ip.size()));
}
bool may(const Octets& ip) {
  CHECK(may(kIn, ip) == may(kOut, ip));
  return may(kIn, ip);
}
Octets later_fragment(unsigned protocol) {
  return ipv4_packet(
      {.source = "192.0.2.1", .destination = "10.3.0.2", .protocol = protocol, .fragment = 0x00b9},
      filling(40));
}

}  // namespace

TEST_CASE("An encrypted-only port carries tunnels, and nothing through the gateway in clear") {
  Gateway g;
  CHECK(g.rig.receive_ip(kInside, from_inside("10.2.0.2")).frames[kOutside].size() == 1);
  const Octets inner = ipv4_packet({.source = "10.2.0.2", .destination = "10.1.0.2"}, udp(1, 2, filling(40)));
  const Octets esp = sealed(g.inbound, 1, with_trailer(inner, kSuite, 4));
  CHECK(g.rig.receive_ip(kOutside, esp).frames[kInside].size() == 1);
  CHECK(g.rig.all_drops() == 0);

  SECTION("out") {
    // A burst of two, so that the second meets the way of the first.
    const Octets frame = g.rig.frame_to(kInside, from_inside("10.3.0.2"));
    const Output out = g.rig.receive(kInside, std::vector<Octets>{frame, frame});
    CHECK(out.frames[kOutside].empty());
    CHECK(g.rig.drops(DropReason::cleartext_out) == 2);
  }
  SECTION("out again, having been in a tunnel") {
    const Octets through =
        ipv4_packet({.source = "10.2.0.2", .destination = "10.3.0.2"}, udp(1, 2, filling(40)));
    (void)g.rig.receive_ip(kOutside, sealed(g.inbound, 2, with_trailer(through, kSuite, 4)));
    CHECK(g.rig.drops(DropReason::cleartext_out) == 1);
  }
  SECTION("in") {
    CHECK(g.rig.receive_ip(kOutside, from_outside(17, udp(1, 2, filling(9)), "10.1.0.2"))
              .frames[kInside]
              .empty());
    CHECK(g.rig.drops(DropReason::cleartext_in) == 1);
  }
  SECTION("nor others' ESP through it, and whatever might be IKE") {
    (void)g.rig.receive_ip(kOutside, from_outside(50, filling(60), "10.1.0.2"));
    (void)g.rig.receive_ip(kOutside, from_outside(17, udp(500, 500, filling(60)), "10.1.0.2"));
    CHECK(g.rig.drops(DropReason::cleartext_in) == 2);
  }
  SECTION("while the other port is as ever") {
    g.rig.tables().ports[kOutside].encrypted_only = false;
    g.rig.tables().ports[kInside].encrypted_only = true;
    (void)g.rig.receive_ip(kInside, from_inside("10.3.0.2"));
    CHECK(g.rig.drops(DropReason::cleartext_in) == 1);
  }
}

TEST_CASE(
    "What the gateway itself says leaves by an encrypted-only port if it is of the underlay's protocols") {
  Gateway g;
  const auto send = [&](unsigned protocol, const Octets& payload) {
    const Octets ip =
        ipv4_packet({.source = "192.0.2.1", .destination = "10.3.0.2", .protocol = protocol}, payload);
    return g.rig.errand(Errand::route, ip, dataplane::Note::kNoTunnel, dataplane::Note::kNoPort)
        .frames[kOutside]
        .size();
  };
  CHECK(send(17, udp(500, 500, filling(40))) == 1);
  CHECK(send(6, tcp(40000, 179)) == 1);
  CHECK(send(1, {11, 0, 0, 0, 0, 0, 0, 0}) == 1);
  CHECK(g.rig.all_drops() == 0);
  CHECK(send(1, {0, 0, 0, 0, 0, 0, 0, 0}) == 0);
  CHECK(send(17, udp(53, 5353, filling(40))) == 0);
  CHECK(g.rig.drops(DropReason::cleartext_out) == 2);
}

TEST_CASE("Of what the gateway itself says, later fragments leave if they are ESP's or its own IKE's") {
  Gateway g;
  const auto send = [&](Errand errand, unsigned protocol) {
    return g.rig
        .errand(errand, later_fragment(protocol), dataplane::Note::kNoTunnel, dataplane::Note::kNoPort)
        .frames[kOutside]
        .size();
  };
  CHECK(send(Errand::ike, 17) == 1);
  CHECK(send(Errand::route, 50) == 1);
  CHECK(g.rig.all_drops() == 0);
  CHECK(send(Errand::route, 17) == 0);
  CHECK(g.rig.drops(DropReason::cleartext_out) == 1);
  g.rig.tables().ports[kOutside].encrypted_only = false;
  CHECK(send(Errand::route, 17) == 1);
}

TEST_CASE("Which packets between the gateway and others may be in clear") {
  CHECK(may(from_outside(50, filling(40))));
  CHECK(may(from_outside(89, filling(40))));
  for (const unsigned port : {3784U, 3785U, 4784U, 6784U}) CHECK(may(from_outside(17, udp(50000, port, {}))));
  CHECK(may(from_outside(6, tcp(40000, 179))));
  for (const int error : {3, 11, 12}) CHECK(may(from_outside(1, icmp(error))));
  CHECK_FALSE(may(from_outside(1, {8, 0, 0, 0, 0, 0, 0, 0})));
  CHECK_FALSE(may(from_outside(1, {5, 0, 0, 0, 0, 0, 0, 0})));
  CHECK_FALSE(may(from_outside(17, udp(3784, 53, {}))));
  CHECK_FALSE(may(from_outside(6, tcp(22, 40000))));
  CHECK_FALSE(may(from_outside(47, filling(20))));
  CHECK_FALSE(may(from_outside(6, {1})));
  const auto icmp6 = [](int type) { return ipv6_packet({.next_header = 58}, icmp(type)); };
  for (const int type : {1, 2, 3, 4, 133, 135, 136}) CHECK(may(icmp6(type)));
  for (const int type : {128, 129, 138}) CHECK_FALSE(may(icmp6(type)));
}

// A port number of IKE is worth something on our side alone: the peer's may be any, and so may a stranger's.
TEST_CASE("IKE is what comes to our ports of it, and what leaves from there") {
  for (const unsigned port : {500U, 4500U}) {
    const Octets to = from_outside(17, udp(31000, port, filling(1)));
    const Octets from = from_outside(17, udp(port, 161, filling(1)));
    CHECK(may(kIn, to));
    CHECK_FALSE(may(kOut, to));
    CHECK_FALSE(may(kIn, from));
    CHECK(may(kOut, from));
  }
  CHECK(may(kIn, later_fragment(17)));
  CHECK_FALSE(may(kOut, later_fragment(17)));
  CHECK_FALSE(may(later_fragment(6)));
}

TEST_CASE("BGP's port opens no connection to another service, whichever side has it") {
  CHECK(may(from_outside(6, tcp(40000, 179, kSyn))));
  CHECK(may(from_outside(6, tcp(179, 179, kSyn))));
  for (const unsigned answer : {kSyn | kAck, kAck + 0, kRst + 0, kRst | kAck})
    CHECK(may(from_outside(6, tcp(179, 40000, answer))));
  CHECK_FALSE(may(from_outside(6, tcp(179, 40000, kSyn))));
  CHECK_FALSE(may(from_outside(6, tcp(179, 22, kSyn))));
  CHECK_FALSE(may(from_outside(6, tcp(179, 22, kAck))));
  const Octets whole = tcp(179, 40000, kAck);
  CHECK_FALSE(may(from_outside(6, slice(whole, 0, 12))));  // its flags are elsewhere
}

}  // namespace espgate::test
