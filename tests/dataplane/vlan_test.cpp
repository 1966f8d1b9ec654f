// Sub-interfaces: frames with a VLAN tag (IEEE 802.1Q), in the frame or taken out by the card.
#include <catch2/catch.hpp>

#include "tests/dataplane/rig.hpp"

namespace espgate::test {
namespace {

constexpr crypto::EspSuite kSuite = crypto::EspSuite::aes128_gcm16;
constexpr std::uint16_t kVlan = 100;

// What the rig sends to the neighbour on its VLAN.
Octets frame_on_vlan(const Rig& rig, const Octets& ip) {
  Octets frame = ethernet({2, 0, 0, 0, 0x99, kOnVlan}, 0x0800, ip);
  const Mac mac = rig.mac(kInside);
  std::copy(mac.begin(), mac.end(), frame.begin() + 6);
  return with_tag(frame, kVlan);
}

Octets one_hop_later(Octets ip) {
  ip[8]--;
  fix_ipv4_checksum(ip);
  return ip;
}

rte_mbuf* stripped(Rig& rig, const Octets& frame, unsigned control) {
  rte_mbuf* const mbuf = rig.make(frame);
  mbuf->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
  mbuf->vlan_tci = static_cast<std::uint16_t>(control);
  return mbuf;
}

}  // namespace

TEST_CASE("A packet for a VLAN's neighbour leaves in a frame with the tag") {
  Rig rig;
  rig.add_vlan(kInside, kVlan);
  const Octets ip = ipv4_packet({.source = "192.0.2.2", .destination = "10.9.0.2"}, udp(1, 2, filling(50)));
  const Output out = rig.receive_ip(kOutside, ip);
  REQUIRE(out.frames[kOnVlan].size() == 1);
  CHECK(out.frames[kOnVlan][0] == frame_on_vlan(rig, one_hop_later(ip)));
}

TEST_CASE("Frames of a VLAN are received, with the tag in them or beside them, whatever their priority") {
  const Octets ip = ipv4_packet({.source = "10.9.0.2", .destination = "192.0.2.2"}, udp(1, 2, filling(50)));
  for (const unsigned priority : {0U, 1U << 12, 5U << 13, 0xf000U}) {
    Rig rig;
    rig.add_vlan(kInside, kVlan);
    const Octets frame = rig.frame_to(kInside, ip);
    for (rte_mbuf* const mbuf :
         {rig.make(with_tag(frame, kVlan | priority)), stripped(rig, frame, kVlan | priority)}) {
      const Output out = rig.receive(kInside, std::vector{mbuf});
      REQUIRE(out.frames[kOutside].size() == 1);
      CHECK(slice(out.frames[kOutside][0], 14) == one_hop_later(ip));
    }
    CHECK(rig.counters(kOnVlan).rx_packets == 2);
    CHECK(rig.counters(kOnVlan).rx_bytes == 2 * frame.size());
    CHECK(rig.counters(kInside).rx_packets == 2);
    CHECK(rig.all_drops() == 0);
  }
}

TEST_CASE("VLAN 0 is a priority, and its frames are the port's own") {
  Rig rig;
  rig.add_vlan(kInside, kVlan);
  const Octets ip = ipv4_packet({.source = "10.1.0.2", .destination = "192.0.2.2"}, udp(1, 2, filling(50)));
  const Octets frame = rig.frame_to(kInside, ip);
  for (rte_mbuf* const mbuf : {rig.make(with_tag(frame, 6U << 13)), stripped(rig, frame, 6U << 13)}) {
    const Output out = rig.receive(kInside, std::vector{mbuf});
    REQUIRE(out.frames[kOutside].size() == 1);
    CHECK(slice(out.frames[kOutside][0], 14) == one_hop_later(ip));
  }
  CHECK(rig.counters(kOnVlan).rx_packets == 0);
}

TEST_CASE("What the main thread gets of a VLAN has no tag, and says which port it is") {
  Rig rig;
  rig.add_vlan(kInside, kVlan);
  const Octets arp = ethernet({255, 255, 255, 255, 255, 255}, 0x0806, filling(46));
  const Output out = rig.receive(kInside, std::vector<Octets>{with_tag(arp, kVlan)});
  REQUIRE(out.raised.size() == 1);
  CHECK(out.raised[0].why == Exception::arp);
  CHECK(out.raised[0].note.port == kOnVlan);
  CHECK(out.raised[0].data == arp);
  const Octets echo =
      ipv4_packet({.source = "10.9.0.2", .destination = "10.9.0.1", .protocol = 1}, filling(16));
  const Output up = rig.receive(kInside, std::vector<Octets>{with_tag(rig.frame_to(kInside, echo), kVlan)});
  REQUIRE(up.raised.size() == 1);
  CHECK(up.raised[0].note.port == kOnVlan);
  CHECK(up.raised[0].data == echo);
}

TEST_CASE("A frame with a tag may be cut anywhere into segments") {
  Rig rig;
  rig.add_vlan(kInside, kVlan);
  const Octets ip = ipv4_packet({.source = "10.9.0.2", .destination = "192.0.2.2"}, udp(1, 2, filling(50)));
  const Octets frame = with_tag(rig.frame_to(kInside, ip), kVlan);
  for (std::size_t at = 0; at <= frame.size(); ++at) {
    const Output out =
        rig.receive(kInside, std::vector{rig.make_chain({slice(frame, 0, at), slice(frame, at)})});
    REQUIRE(out.frames[kOutside].size() == 1);
    CHECK(slice(out.frames[kOutside][0], 14) == one_hop_later(ip));
  }
}

TEST_CASE("ESP by a VLAN, both ways") {
  Pair pair(kSuite);
  // The far ends move to a VLAN of the outside port: the same neighbours, behind a tag.
  for (Rig* const rig : {&pair.left, &pair.right}) rig->add_vlan(kOutside, kVlan);
  auto& outbound = *pair.left.tables().tunnels[0].outbound.load();
  const auto neighbour = pair.left.tables().neighbours.find(kOnVlan, *parse_address("10.9.0.2"));
  outbound.outer = NextHop{NextHopKind::gateway, kOnVlan, 0, neighbour};
  const Octets ip = ipv4_packet({}, udp(1, 2, filling(64)));
  const Output outer = pair.left.receive_ip(kInside, ip);
  REQUIRE(outer.frames[kOnVlan].size() == 1);
  Octets frame = outer.frames[kOnVlan][0];
  CHECK(get16(frame, 12) == 0x8100);
  CHECK(get16(frame, 14) == kVlan);
  CHECK(get16(frame, 16) == 0x0800);
  const Mac mac = pair.right.mac(kOutside);
  std::copy(mac.begin(), mac.end(), frame.begin());
  const Output inner = pair.right.receive(kOutside, std::vector<Octets>{frame});
  REQUIRE(inner.frames[kInside].size() == 1);
  CHECK(slice(inner.frames[kInside][0], 14) == one_hop_later(one_hop_later(ip)));
}

}  // namespace espgate::test
