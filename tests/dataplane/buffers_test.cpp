// Packets in buffers that are not as the pool's: in segments, without room, with another sender's marks.
#include <catch2/catch.hpp>
#include <random>

#include "tests/dataplane/rig.hpp"

namespace espgate::test {
namespace {

using crypto::EspSuite;

constexpr EspSuite kSuite = EspSuite::aes128_gcm16;

rte_mbuf* in_two(Rig& rig, const Octets& frame, std::size_t at) {
  return rig.make_chain({slice(frame, 0, at), slice(frame, at)});
}

// What the sealed packets of one frame decrypt to, none of which may be lost. The outer ones, too, arrive in
// two segments, cut at `at`.
Octets through(Pair& pair, rte_mbuf* frame, std::size_t at) {
  const Output outer = pair.left.receive(kInside, std::vector{frame});
  REQUIRE(outer.frames[kOutside].size() == 1);
  Octets sealed = outer.frames[kOutside][0];
  const Mac mac = pair.right.mac(kOutside);
  std::copy(mac.begin(), mac.end(), sealed.begin());
  const Output out = pair.right.receive(kOutside, std::vector{in_two(pair.right, sealed, at)});
  REQUIRE(out.frames[kInside].size() == 1);
  return slice(out.frames[kInside][0], 14);
}

// As a router leaves it: with one hop less.
Octets forwarded(Octets ip) {
  if (ip[0] >> 4 == 6) return ip[7]--, ip;
  ip[8]--;
  fix_ipv4_checksum(ip);
  return ip;
}
// Twice: by either gateway.
Octets carried(const Octets& ip) { return forwarded(forwarded(ip)); }

Octets inner_packet(bool v4, std::size_t payload) {
  return v4 ? ipv4_packet({}, udp(7, 9, filling(payload))) : ipv6_packet({}, udp(7, 9, filling(payload)));
}

void make_jumbo(Rig& rig) {
  for (const std::uint8_t port : {kOutside, kInside}) rig.tables().ports[port].mtu = 9000;
  rig.set_tunnel(0, 8900);
}

}  // namespace

TEST_CASE("A frame cut anywhere into two segments is sealed, and what is sealed is opened") {
  for (const bool udp_outside : {false, true})
    for (const bool v4 : {true, false}) {
      INFO((udp_outside ? "in UDP" : "raw") << ", IPv" << (v4 ? 4 : 6) << " inside");
      Pair pair(kSuite, {.udp = udp_outside});
      const Octets ip = inner_packet(v4, 60);
      const Octets frame = pair.left.frame_to(kInside, ip);
      for (std::size_t at = 0; at <= frame.size(); ++at) {
        INFO("cut at " << at);
        CHECK(through(pair, in_two(pair.left, frame, at), at) == carried(ip));
      }
      CHECK(pair.left.all_drops() + pair.right.all_drops() == 0);
    }
}

TEST_CASE("A frame cut anywhere into two segments is forwarded in clear, and what is for us is handed up") {
  Rig rig;
  for (const Octets& ip :
       {ipv4_packet({.source = "192.0.2.2", .destination = "10.1.0.2"}, udp(1, 2, filling(40))),
        ipv6_packet({.source = "2001:db8:9::1", .destination = "2001:db8:1::2"}, udp(1, 2, filling(40)))})
    for (std::size_t at = 0; at <= 14 + ip.size(); ++at) {
      const Output out = rig.receive(kOutside, std::vector{in_two(rig, rig.frame_to(kOutside, ip), at)});
      REQUIRE(out.frames[kInside].size() == 1);
      CHECK(slice(out.frames[kInside][0], 14) == forwarded(ip));
    }
  const Octets arp = ethernet({255, 255, 255, 255, 255, 255}, 0x0806, filling(46));
  const Octets ike =
      ipv4_packet({.source = "192.0.2.2", .destination = "192.0.2.1"}, udp(500, 500, filling(60)));
  for (std::size_t at = 0; at <= arp.size(); ++at) {
    const Output up = rig.receive(kOutside, std::vector{in_two(rig, arp, at)});
    REQUIRE(up.raised.size() == 1);
    CHECK(up.raised[0].data == arp);
    CHECK(rig.receive(kOutside, std::vector{in_two(rig, rig.frame_to(kOutside, ike), at)}).ike ==
          std::vector<Octets>{ike});
  }
  CHECK(rig.all_drops() == 0);
}

TEST_CASE("Frames of up to 9000 bytes go through a tunnel, whole or in any number of segments") {
  std::mt19937 random(11);
  for (const bool v4 : {true, false}) {
    Pair pair(kSuite);
    make_jumbo(pair.left);
    make_jumbo(pair.right);
    for (unsigned round = 0; round < 60; ++round) {
      const Octets ip = inner_packet(v4, round == 0 ? 8900U - (v4 ? 28 : 48) : 1 + random() % 8800);
      const Octets frame = pair.left.frame_to(kInside, ip);
      std::vector<Octets> segments;
      for (std::size_t from = 0; from < frame.size();) {
        const std::size_t length = std::min<std::size_t>(frame.size() - from, random() % 2048);
        segments.push_back(slice(frame, from, length));
        from += length;
      }
      rte_mbuf* const mbuf = round % 3 == 0 ? pair.left.make(frame) : pair.left.make_chain(segments);
      CHECK(through(pair, mbuf, random() % 200) == carried(ip));
    }
    CHECK(pair.left.all_drops() + pair.right.all_drops() == 0);
  }
}

TEST_CASE("A buffer without room before or behind the packet is left for another") {
  Pair pair(kSuite);
  const Octets ip = inner_packet(true, 100);
  const Octets frame = pair.left.frame_to(kInside, ip);
  for (std::uint16_t room = 0; room < 80; ++room) {
    CHECK(through(pair, pair.left.make(frame, room, 64), 14) == carried(ip));
    CHECK(through(pair, pair.left.make(frame, 128, room), 14) == carried(ip));
  }
}

TEST_CASE("What another sender wanted of a card is not handed to our port") {
  Pair pair(kSuite);
  for (const Octets& ip : {inner_packet(true, 60), ipv4_packet({.destination = "10.1.0.2"}, filling(60))}) {
    rte_mbuf* const frame = pair.left.make(pair.left.frame_to(kInside, ip));
    frame->ol_flags |= RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_VLAN |
                       RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_RX_IP_CKSUM_BAD;
    rte_mbuf* frames[] = {frame};
    process_received(pair.left.worker(), kInside, frames);
    unsigned sent = 0;
    for (const auto& buffer : pair.left.worker().transmit)
      for (unsigned i = 0; i < buffer.count; ++i, ++sent)
        CHECK((buffer.packets[i]->ol_flags & RTE_MBUF_F_TX_OFFLOAD_MASK) == 0);
    CHECK(sent == 1);
    (void)pair.left.collect();
  }
}

}  // namespace espgate::test
