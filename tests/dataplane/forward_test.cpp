// Where packets go: classified, routed, in clear to a port, cut to fit, or to the main thread with a reason.
#include <catch2/catch.hpp>
#include <random>

#include "tests/dataplane/rig.hpp"

namespace espgate::test {
namespace {

constexpr crypto::EspSuite kSuite = crypto::EspSuite::aes128_gcm16;

// 10.5.0.0/16 and 2001:db8:5::/48 lie behind the outside neighbour, in clear.
struct Router : Rig {
  Router() {
    route("10.5.0.0/16", outside_gateway());
    route("2001:db8:5::/48", outside_gateway());
    set_tunnel(0, 1400, true);
    install_outbound(command(kSuite, 2, false, 0x1234));
    route("10.2.0.0/16", {NextHopKind::tunnel, 0, 0, 0});
    route("2001:db8:2::/48", {NextHopKind::tunnel, 0, 0, 0});
  }
};

bool checksum_is_right(const Octets& ip) { return internet_sum(ip, 0, (ip[0] & 15U) * 4) == 0xffff; }

Raised only(const Output& out) {
  REQUIRE(out.raised.size() == 1);
  return out.raised[0];
}

// The data of all fragments put together, from their offsets.
Octets reassemble(const std::vector<Octets>& packets) {
  Octets data;
  for (const Octets& ip : packets) {
    const std::size_t header = (ip[0] & 15U) * 4;
    const std::size_t offset = (get16(ip, 6) & 0x1fff) * 8;
    if (data.size() < offset + get16(ip, 2) - header) data.resize(offset + get16(ip, 2) - header);
    std::copy(ip.begin() + static_cast<std::ptrdiff_t>(header), ip.end(),
              data.begin() + static_cast<std::ptrdiff_t>(offset));
  }
  return data;
}

std::vector<Octets> without_ethernet(const std::vector<Octets>& frames) {
  std::vector<Octets> packets;
  for (const Octets& frame : frames) packets.push_back(slice(frame, 14));
  return packets;
}

}  // namespace

TEST_CASE("A packet in clear is forwarded with one hop less and a new Ethernet header") {
  Router router;
  const Octets ip = ipv4_packet({.destination = "10.5.0.1", .ttl = 64, .options = {1, 1, 1, 0}}, filling(30));
  // 10 bytes of the frame's padding go.
  const Output out = router.receive(kInside, std::vector<Octets>{router.frame_to(kInside, ip) + Octets(10)});
  REQUIRE(out.frames[kOutside].size() == 1);
  const Octets& frame = out.frames[kOutside][0];
  CHECK(slice(frame, 0, 6) == Octets{2, 0, 0, 0, 0x99, kOutside});
  CHECK(slice(frame, 6, 6) == Octets{2, 0, 0, 0, 1, kOutside});
  CHECK(get16(frame, 12) == 0x0800);
  Octets expected = ip;
  expected[8] = 63;
  fix_ipv4_checksum(expected);
  CHECK(slice(frame, 14) == expected);
  const channel::InterfaceCounters& counters = router.worker().counters->ports[kInside];
  CHECK(counters.rx_packets == 1);
  CHECK(counters.rx_bytes == 14 + ip.size() + 10);
}

TEST_CASE("IPv6 in clear, to a gateway and to a host of a connected network") {
  Router router;
  const Output out = router.receive_ip(kInside, ipv6_packet({.destination = "2001:db8:5::1"}, filling(30)));
  REQUIRE(out.frames[kOutside].size() == 1);
  CHECK(get16(out.frames[kOutside][0], 12) == 0x86dd);
  CHECK(out.frames[kOutside][0][14 + 7] == 63);
  const Output back = router.receive_ip(kOutside, ipv6_packet({.destination = "2001:db8:1::2"}, filling(30)));
  CHECK(back.frames[kInside].size() == 1);
}

TEST_CASE("Every TTL and checksum survives decrementing") {
  Router router;
  for (unsigned ttl = 2; ttl < 256; ++ttl)
    for (const unsigned tos : {0U, 1U, 0xb8U}) {
      const Output out = router.receive_ip(
          kInside, ipv4_packet({.destination = "10.5.0.1", .ttl = ttl, .tos = tos}, filling(ttl)));
      REQUIRE(out.frames[kOutside].size() == 1);
      CHECK(checksum_is_right(slice(out.frames[kOutside][0], 14)));
    }
}

TEST_CASE(
    "A next hop without a link address: the whole packet goes up to be resolved, and comes back by its "
    "route") {
  Router router;
  const Output out =
      router.receive_ip(kOutside, ipv4_packet({.source = "10.5.0.1", .destination = "10.1.7.7"}, filling(8)));
  const Raised raised = only(out);
  CHECK(raised.why == Exception::resolve);
  CHECK(raised.note.next_hop == NextHop{NextHopKind::connected, kInside, 0, 0});
  CHECK(raised.data[8] == 63);
  const std::uint8_t mac[6] = {2, 2, 2, 2, 2, 2};
  const auto id = router.tables().neighbours.ensure(kInside, *parse_address("10.1.7.7"));
  router.tables().neighbours.set_link(id, dataplane::NeighbourState::reachable, mac);
  const Output again =
      router.errand(Errand::route, raised.data, dataplane::Note::kNoTunnel, dataplane::Note::kNoPort);
  REQUIRE(again.frames[kInside].size() == 1);
  CHECK(slice(again.frames[kInside][0], 14) == raised.data);  // the hop was spent before
  CHECK(router.tables().neighbours.entry(id).used == 1);
}

TEST_CASE("A sealed packet that waits for its next hop comes back as it was") {
  Router router;
  router.tables().neighbours.set_state(router.outside_gateway().index, dataplane::NeighbourState::incomplete);
  const Raised raised = only(router.receive_ip(kInside, ipv4_packet({}, udp(1, 2, filling(64)))));
  CHECK(raised.why == Exception::resolve);
  CHECK(raised.data[9] == 50);
  CHECK(raised.note.next_hop == router.outside_gateway());
  router.tables().neighbours.set_state(router.outside_gateway().index, dataplane::NeighbourState::stale);
  const Output out =
      router.errand(Errand::route, raised.data, dataplane::Note::kNoTunnel, dataplane::Note::kNoPort);
  // 192.0.2.2 is a host of the connected network too, and the same neighbour.
  REQUIRE(out.frames[kOutside].size() == 1);
  CHECK(slice(out.frames[kOutside][0], 14) == raised.data);
}

TEST_CASE("What is for this host goes to the main thread, IKE to its own ring") {
  Router router;
  const auto to_us = [](const Octets& payload, unsigned protocol = 17) {
    return ipv4_packet({.source = "192.0.2.2", .destination = "192.0.2.1", .protocol = protocol, .ttl = 1},
                       payload);
  };
  const Octets ike = to_us(udp(500, 500, filling(30)));
  CHECK(router.receive_ip(kOutside, ike).ike == std::vector<Octets>{ike});
  const Octets marked = to_us(udp(4500, 4500, Octets(4) + filling(30)));
  CHECK(router.receive_ip(kOutside, marked).ike == std::vector<Octets>{marked});
  const Raised ping = only(router.receive_ip(kOutside, to_us(filling(16), 1)));
  CHECK(ping.why == Exception::to_host);
  CHECK(ping.note.port == kOutside);
  CHECK(only(router.receive_ip(kOutside, to_us(udp(9, 9, {})))).why == Exception::to_host);
  CHECK(only(router.receive_ip(kInside, ipv6_packet({.destination = "2001:db8:1::1"}, filling(8)))).why ==
        Exception::to_host);
  CHECK(only(router.receive_ip(kInside, ipv6_packet({.destination = "fe80::1"}, filling(8)))).why ==
        Exception::to_host);
  for (const char* group : {"ff02::1", "ff02::2", "ff02::1:ff12:3456"})
    CHECK(only(router.receive_ip(kInside, ipv6_packet({.destination = group}, filling(8)))).why ==
          Exception::to_host);
  const Octets arp = ethernet({255, 255, 255, 255, 255, 255}, 0x0806, filling(46));
  const Raised raised = only(router.receive(kOutside, std::vector<Octets>{arp}));
  CHECK(raised.why == Exception::arp);
  CHECK(raised.data == arp);
}

TEST_CASE("ESP and IKE for somebody else pass through") {
  Router router;
  for (const Octets& payload : {filling(64), udp(4500, 4500, filling(64)), udp(500, 500, filling(64))}) {
    const unsigned protocol = payload.size() == 64 ? 50 : 17;
    const Octets ip = ipv4_packet({.destination = "10.5.0.1", .protocol = protocol}, payload);
    CHECK(router.receive_ip(kInside, ip).frames[kOutside].size() == 1);
  }
  CHECK(router.all_drops() == 0);
}

TEST_CASE("A packet for a port that is too small is cut, or goes back with the size that fits") {
  Router router;
  router.tables().ports[kOutside].mtu = 600;
  const Octets payload = filling(1400);
  const Octets options{0x94, 4, 0, 0,
                       7,    3, 4, 0};  // router alert is copied into each fragment, record route is not
  const Octets ip = ipv4_packet({.destination = "10.5.0.1", .options = options}, payload);
  const std::vector<Octets> pieces = without_ethernet(router.receive_ip(kInside, ip).frames[kOutside]);
  REQUIRE(pieces.size() == 3);
  CHECK(reassemble(pieces) == payload);
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    CHECK(pieces[i].size() <= 600);
    CHECK(checksum_is_right(pieces[i]));
    CHECK(get16(pieces[i], 4) == 0x1234);
    CHECK((get16(pieces[i], 6) & 0x2000) == (i + 1 < pieces.size() ? 0x2000U : 0U));
    CHECK((pieces[i][0] & 15) == (i == 0 ? 7 : 6));
    CHECK(slice(pieces[i], 20, 4) == Octets{0x94, 4, 0, 0});
  }
  const Raised raised =
      only(router.receive_ip(kInside, ipv4_packet({.destination = "10.5.0.1", .fragment = 0x4000}, payload)));
  CHECK(raised.why == Exception::too_big);
  CHECK(raised.note.mtu == 600);
}

TEST_CASE("A fragment that has to be cut again keeps its place in the whole") {
  Router router;
  router.tables().ports[kOutside].mtu = 600;
  const Octets ip = ipv4_packet({.destination = "10.5.0.1", .fragment = 0x2000 | 100}, filling(800));
  const std::vector<Octets> pieces = without_ethernet(router.receive_ip(kInside, ip).frames[kOutside]);
  REQUIRE(pieces.size() == 2);
  CHECK(get16(pieces[0], 6) == (0x2000 | 100));
  CHECK(get16(pieces[1], 6) == (0x2000 | (100 + 576 / 8)));
  CHECK(slice(reassemble(pieces), 800) == filling(800));
}

TEST_CASE("What is larger than a tunnel is cut before it is sealed, in order, and whole again behind it") {
  Pair pair(kSuite);
  const Octets payload = filling(3000);
  std::vector<Octets> frames;
  for (const char* source : {"10.1.0.2", "10.1.0.3"})
    frames.push_back(pair.left.frame_to(kInside, ipv4_packet({.source = source}, payload)));
  const Output outer = pair.left.receive(kInside, frames);
  REQUIRE(outer.frames[kOutside].size() == 6);
  const std::vector<Octets> inner = without_ethernet(Pair::carry(outer, pair.right).frames[kInside]);
  REQUIRE(inner.size() == 6);
  CHECK(reassemble({inner.begin(), inner.begin() + 3}) == payload);
  CHECK(reassemble({inner.begin() + 3, inner.end()}) == payload);
  for (const Octets& piece : inner) CHECK(piece.size() <= 1400);
}

TEST_CASE("Packets do not overtake the fragments of those before them") {
  Pair pair(kSuite);
  std::mt19937 random(7);
  for (unsigned round = 0; round < 200; ++round) {
    std::vector<Octets> frames, sent;
    for (unsigned i = 0; i < 20; ++i) {
      const bool large = random() % 4 == 0;
      Octets ip = ipv4_packet({}, filling(large ? 1400 + random() % 1500 : random() % 1381));
      put16(ip, 4, i);
      fix_ipv4_checksum(ip);
      frames.push_back(pair.left.frame_to(kInside, ip));
      sent.push_back(slice(ip, 20));
    }
    const Output outer = pair.left.receive(kInside, frames);
    std::vector<std::vector<Octets>> pieces;
    unsigned last = 0;
    for (const Octets& inner : without_ethernet(Pair::carry(outer, pair.right).frames[kInside])) {
      const unsigned number = get16(inner, 4);
      REQUIRE(number >= last);
      if (pieces.empty() || number != last) pieces.emplace_back();
      pieces.back().push_back(inner);
      last = number;
    }
    REQUIRE(pieces.size() == sent.size());
    for (unsigned i = 0; i < sent.size(); ++i) REQUIRE(reassemble(pieces[i]) == sent[i]);
  }
}

TEST_CASE("An outer packet larger than its port is cut after it was sealed") {
  Pair pair(kSuite);
  pair.left.tables().ports[kOutside].mtu = 1000;
  const Octets ip = ipv6_packet({}, filling(1200));
  const std::vector<Octets> pieces = without_ethernet(pair.left.receive_ip(kInside, ip).frames[kOutside]);
  REQUIRE(pieces.size() == 2);
  Octets whole = slice(pieces[0], 0, 20) + reassemble(pieces);
  put16(whole, 2, static_cast<unsigned>(whole.size()));
  put16(whole, 6, 0);
  fix_ipv4_checksum(whole);
  CHECK(pair.right.receive_ip(kOutside, whole).frames[kInside].size() == 1);
}

TEST_CASE("Too big for a tunnel: the sender is told the tunnel's size, IPv6 at least 1280") {
  Router router;
  const Raised v4 = only(router.receive_ip(kInside, ipv4_packet({.fragment = 0x4000}, filling(1381))));
  CHECK(v4.why == Exception::too_big);
  CHECK(v4.note.mtu == 1400);
  CHECK(
      router.receive_ip(kInside, ipv4_packet({.fragment = 0x4000}, filling(1380))).frames[kOutside].size() ==
      1);
  router.set_tunnel(0, 800);
  CHECK(only(router.receive_ip(kInside, ipv6_packet({}, filling(1241)))).note.mtu == 1280);
  CHECK(router.receive_ip(kInside, ipv6_packet({}, filling(1240))).frames[kOutside].size() == 1);
}

TEST_CASE("The MSS of a SYN is lowered to what the tunnel carries, into it or out of it, and its checksum") {
  const auto pseudo_sum = [](const Octets& ip) {
    const bool v4 = ip[0] >> 4 == 4;
    const std::size_t header = v4 ? 20 : 40;
    const std::size_t addresses = v4 ? 8 : 32;
    const unsigned sum = internet_sum(ip, header - addresses, addresses, 6 + ip.size() - header);
    return internet_sum(ip, header, ip.size() - header, sum);
  };
  for (const bool v4 : {true, false})
    for (const auto& [odd, into] : {std::pair(false, true), {true, true}, {false, false}, {true, false}})
      for (const unsigned mss : {536U, 1340U, 1460U, 65535U})
        for (const unsigned flags : {2U, 18U, 16U}) {
          INFO("IPv" << (v4 ? 4 : 6) << (into ? ", into" : ", out of") << (odd ? ", at an odd offset" : "")
                     << ", MSS " << mss << ", flags " << flags);
          Pair pair(kSuite);
          (into ? pair.left : pair.right).set_tunnel(0, 1400, true);
          Octets tcp(20);
          tcp[12] = 0x70;
          tcp[13] = static_cast<std::uint8_t>(flags);
          const Octets option{2, 4, static_cast<std::uint8_t>(mss >> 8), static_cast<std::uint8_t>(mss)};
          tcp = tcp + (odd ? Octets{1} + option + Octets{1, 1, 0} : option + Octets{1, 1, 1, 0});
          Octets ip = v4 ? ipv4_packet({.protocol = 6}, tcp) : ipv6_packet({.next_header = 6}, tcp);
          const std::size_t header = v4 ? 20 : 40;
          put16(ip, header + 16, ~pseudo_sum(ip) & 0xffff);
          const Output out = Pair::carry(pair.left.receive_ip(kInside, ip), pair.right);
          REQUIRE(out.frames[kInside].size() == 1);
          const Octets inner = slice(out.frames[kInside][0], 14);
          const unsigned fits = v4 ? 1360 : 1340;
          const unsigned expected = (flags & 2) != 0 && mss > fits ? fits : mss;
          CHECK(get16(inner, header + 20 + (odd ? 3 : 2)) == expected);
          CHECK(pseudo_sum(inner) == 0xffff);
        }
}

TEST_CASE("Any beginning of a frame is looked at no further than it goes") {
  Router router;
  const Octets syn = Octets(12) + Octets{0x60, 2, 0, 0, 0, 0, 0, 0} + Octets{2, 4, 5, 0xb4};
  const std::vector<Octets> packets{
      ipv4_packet({.protocol = 6}, syn), ipv6_packet({.next_header = 6}, syn),
      ipv6_packet({.next_header = 0}, Octets{43, 0, 0, 0, 0, 0, 0, 0, 60, 1, 0, 0, 0, 0, 0, 0} + filling(20)),
      ipv4_packet({.source = "192.0.2.2", .destination = "192.0.2.1", .protocol = 50}, filling(40)),
      ipv4_packet({.source = "192.0.2.2", .destination = "192.0.2.1"}, udp(4500, 4500, filling(40)))};
  for (const Octets& packet : packets)
    for (std::size_t length = 0; length <= packet.size(); ++length) {
      Octets ip = slice(packet, 0, length);
      if (length >= 40 && ip[0] >> 4 == 6) put16(ip, 4, static_cast<unsigned>(length - 40));
      if (length >= 20 && ip[0] >> 4 == 4) {
        put16(ip, 2, static_cast<unsigned>(length));
        fix_ipv4_checksum(ip);
      }
      // Not a byte behind the frame: the sanitizer watches. What is to be sealed has no room then, and is
      // moved.
      const std::uint8_t port = packet[9] == 50 || packet[12] == 192 ? kOutside : kInside;
      (void)router.receive(port, std::vector<rte_mbuf*>{router.make(router.frame_to(port, ip), 128, 0)});
      CHECK(router.buffers_out() == 0);
    }
}

}  // namespace espgate::test
