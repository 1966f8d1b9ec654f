// Every reason for which the ways drop a packet, provoked: one packet in, exactly that reason counted once,
// and nothing lost. The reasons of the slow path have their tests with it.
#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <vector>

#include "channel/spi.hpp"
#include "tests/dataplane/rig.hpp"

namespace espgate::test {
namespace {

using crypto::EspSuite;

constexpr EspSuite kSuite = EspSuite::aes128_gcm16;
const std::uint32_t kSpi = channel::make_spi(0, 1, 3);

// A gateway with a tunnel to 192.0.2.2 that carries 10.2.0.0/16 and 2001:db8:2::/48.
struct Gateway : Rig {
  explicit Gateway(unsigned workers = 1) : Rig(1, workers) {
    set_tunnel(0);
    outbound = command(kSuite, 2, false, 0x1234);
    inbound = command(kSuite, 2, false, kSpi, 2);
    out = &install_outbound(outbound);
    in = &install_inbound(inbound);
    route("10.2.0.0/16", {NextHopKind::tunnel, 0, 0, 0});
    route("2001:db8:2::/48", {NextHopKind::tunnel, 0, 0, 0});
  }
  Output send(const Octets& ip) { return receive_ip(kInside, ip); }
  Output open(std::uint32_t sequence, const Octets& plaintext, unsigned tos = 0) {
    return receive_ip(kOutside, sealed(inbound, sequence, plaintext, tos));
  }
  channel::InstallSa outbound, inbound;
  dataplane::OutboundSa* out;
  dataplane::InboundSa* in;
};

const Octets kInner = ipv4_packet({.source = "10.2.0.2", .destination = "10.1.0.2"}, udp(1, 2, filling(40)));
Octets good() { return with_trailer(kInner, kSuite, 4); }
Octets to_tunnel(unsigned size = 100) { return ipv4_packet({}, udp(1, 2, filling(size))); }
Octets to_us(unsigned protocol, const Octets& payload) {
  return ipv4_packet({.source = "192.0.2.2", .destination = "192.0.2.1", .protocol = protocol}, payload);
}
Octets broken(Octets bytes, std::size_t at, std::uint8_t value) {
  bytes.at(at) = value;
  return bytes;
}

// Receives a frame on the inside while the pool has nothing left.
Output without_buffers(Gateway& g, rte_mbuf* frame) {
  std::vector<rte_mbuf*> held;
  while (rte_mbuf* const mbuf = rte_pktmbuf_alloc(frame->pool)) held.push_back(mbuf);
  Output out = g.receive(kInside, std::vector{frame});
  rte_pktmbuf_free_bulk(held.data(), static_cast<unsigned>(held.size()));
  return out;
}

struct Row {
  DropReason reason;
  const char* what;
  std::function<Output(Gateway&)> provoke;
};

void fill_ring(rte_ring* ring, Gateway& g) {
  while (rte_ring_free_count(ring) != 0) rte_ring_enqueue(ring, g.make({}));
}
// Provokes with a ring that is full, and empties it again.
template <class Provoke>
Output with_full(Gateway& g, rte_ring* ring, Provoke provoke) {
  fill_ring(ring, g);
  Output out = provoke();
  out = Output{};
  void* object = nullptr;
  while (rte_ring_dequeue(ring, &object) == 0) rte_pktmbuf_free(static_cast<rte_mbuf*>(object));
  return out;
}

using G = Gateway&;
const std::vector<Row> kRows{
    {DropReason::runt_frame, "no whole Ethernet header",
     [](G g) { return g.receive(kInside, std::vector<Octets>{Octets(13)}); }},
    {DropReason::other_mac, "a unicast frame to another station",
     [](G g) {
       return g.receive(kInside, std::vector<Octets>{ethernet({2, 0, 0, 0, 1, 9}, 0x0800, to_tunnel())});
     }},
    {DropReason::unknown_ethertype, "IPX",
     [](G g) {
       return g.receive(kInside, std::vector<Octets>{ethernet(g.mac(kInside), 0x8137, to_tunnel())});
     }},
    {DropReason::unknown_vlan, "a tag that no sub-interface has",
     [](G g) {
       g.add_vlan(kInside, 100);
       return g.receive(kInside, std::vector<Octets>{with_tag(g.frame_to(kInside, to_tunnel()), 101)});
     }},
    {DropReason::unknown_vlan, "a tag of another port's sub-interface",
     [](G g) {
       g.add_vlan(kInside, 100);
       return g.receive(kOutside, std::vector<Octets>{with_tag(g.frame_to(kOutside, to_tunnel()), 100)});
     }},
    {DropReason::stacked_vlan, "two tags",
     [](G g) {
       g.add_vlan(kInside, 100);
       const Octets once = with_tag(g.frame_to(kInside, to_tunnel()), 100);
       return g.receive(kInside, std::vector<Octets>{with_tag(once, 100)});
     }},
    {DropReason::stacked_vlan, "a priority tag before another",
     [](G g) {
       g.add_vlan(kInside, 100);
       const Octets once = with_tag(g.frame_to(kInside, to_tunnel()), 100);
       return g.receive(kInside, std::vector<Octets>{with_tag(once, 0)});
     }},
    {DropReason::stacked_vlan, "a service tag",
     [](G g) {
       return g.receive(kInside, std::vector<Octets>{with_tag(g.frame_to(kInside, to_tunnel()), 0, 0x88a8)});
     }},
    {DropReason::stacked_vlan, "two tags that the card took out",
     [](G g) {
       rte_mbuf* const frame = g.make(g.frame_to(kInside, to_tunnel()));
       frame->ol_flags |= RTE_MBUF_F_RX_QINQ_STRIPPED | RTE_MBUF_F_RX_VLAN_STRIPPED;
       return g.receive(kInside, std::vector{frame});
     }},
    {DropReason::runt_frame, "an end within the tag",
     [](G g) {
       const Octets frame = with_tag(g.frame_to(kInside, to_tunnel()), 100);
       return g.receive(kInside, std::vector<Octets>{slice(frame, 0, 17)});
     }},
    {DropReason::malformed_ipv4, "a wrong header checksum",
     [](G g) { return g.send(broken(to_tunnel(), 10, 0)); }},
    {DropReason::malformed_ipv4, "a total length beyond the frame",
     [](G g) {
       Octets ip = to_tunnel();
       put16(ip, 2, static_cast<unsigned>(ip.size() + 1));
       fix_ipv4_checksum(ip);
       return g.send(ip);
     }},
    {DropReason::malformed_ipv4, "a header length of 16",
     [](G g) {
       Octets ip = broken(to_tunnel(), 0, 0x44);
       fix_ipv4_checksum(ip);
       return g.send(ip);
     }},
    {DropReason::malformed_ipv6, "a payload length beyond the frame",
     [](G g) {
       Octets ip = ipv6_packet({}, filling(10));
       put16(ip, 4, 11);
       return g.send(ip);
     }},
    {DropReason::multicast, "IPv4 multicast",
     [](G g) { return g.send(ipv4_packet({.destination = "224.0.0.5"}, filling(8))); }},
    {DropReason::multicast, "a limited broadcast in a broadcast frame",
     [](G g) {
       const Mac all{255, 255, 255, 255, 255, 255};
       return g.receive(
           kInside, std::vector<Octets>{
                        ethernet(all, 0x0800, ipv4_packet({.destination = "255.255.255.255"}, filling(8)))});
     }},
    {DropReason::multicast, "a unicast packet in a broadcast frame",
     [](G g) {
       const Mac all{255, 255, 255, 255, 255, 255};
       return g.receive(kInside, std::vector<Octets>{ethernet(all, 0x0800, to_tunnel())});
     }},
    {DropReason::multicast, "IPv6 multicast of no neighbour discovery",
     [](G g) { return g.send(ipv6_packet({.destination = "ff02::5"}, filling(8))); }},
    {DropReason::multicast, "multicast out of a tunnel",
     [](G g) {
       return g.open(1, with_trailer(ipv4_packet({.destination = "224.0.0.5"}, filling(8)), kSuite, 4));
     }},
    {DropReason::no_route, "no route to the destination",
     [](G g) { return g.send(ipv4_packet({.destination = "198.51.100.1"}, filling(8))); }},
    {DropReason::no_route, "no route to the tunnel's far end",
     [](G g) {
       g.out->outer = NextHop{};
       return g.send(to_tunnel());
     }},
    {DropReason::no_route, "a link-local source that wants to leave its link",
     [](G g) { return g.send(ipv6_packet({.source = "fe80::1"}, filling(8))); }},
    {DropReason::blackhole, "a blackhole route",
     [](G g) {
       g.route("10.9.0.0/16", {NextHopKind::blackhole, 0, 0, 0});
       return g.send(ipv4_packet({.destination = "10.9.1.1"}, filling(8)));
     }},
    {DropReason::ttl_exceeded, "TTL 1, IPv4",
     [](G g) { return g.send(ipv4_packet({.ttl = 1}, filling(8))); }},
    {DropReason::ttl_exceeded, "hop limit 0, IPv6",
     [](G g) { return g.send(ipv6_packet({.hop_limit = 0}, filling(8))); }},
    {DropReason::too_big, "DF set, larger than the tunnel",
     [](G g) { return g.send(ipv4_packet({.fragment = 0x4000}, filling(1400))); }},
    {DropReason::too_big, "IPv6 larger than the tunnel",
     [](G g) { return g.send(ipv6_packet({}, filling(1400))); }},
    {DropReason::too_big, "DF set, larger than the port to leave by",
     [](G g) {
       return g.open(
           1, with_trailer(ipv4_packet({.source = "10.2.0.2", .destination = "10.1.0.2", .fragment = 0x4000},
                                       filling(1600)),
                           kSuite, 4));
     }},
    {DropReason::tunnel_down, "a tunnel without an SA",
     [](G g) {
       g.tables().tunnels[0].outbound = nullptr;
       return g.send(to_tunnel());
     }},
    {DropReason::tunnel_down, "a group without a member that is up",
     [](G g) {
       static dataplane::Group group;
       group.buckets.member.fill(dataplane::Buckets::kNobody);
       g.tables().groups[0] = &group;
       g.route("10.3.0.0/16", {NextHopKind::group, 0, 0, 0});
       return g.send(ipv4_packet({.destination = "10.3.0.1"}, filling(8)));
     }},
    {DropReason::tunnel_down, "a tunnel that goes while a packet is on its way",
     [](G g) {
       g.tables().tunnels[0].fit = dataplane::Fit{};
       return g.send(to_tunnel());
     }},
    {DropReason::outside_selectors_out, "a destination outside the remote selector",
     [](G g) {
       g.outbound.selectors.remote[0] = selector("10.2.1.0", "10.2.1.255");
       g.install_outbound(g.outbound, 1);
       return g.send(to_tunnel());
     }},
    {DropReason::outside_selectors_in, "a source outside the remote selector",
     [](G g) {
       g.inbound.selectors.remote[0] = selector("10.2.1.0", "10.2.1.255");
       g.install_inbound(g.inbound);
       return g.open(1, good());
     }},
    {DropReason::sequence_exhausted, "after the last sequence number",
     [](G g) {
       g.out->sequence = 0xffffffff;
       return g.send(to_tunnel());
     }},
    {DropReason::sequence_unreserved, "after the last reserved sequence number",
     [](G g) {
       g.outbound.last_sequence = 77;
       g.outbound.sequence_limit = 78;
       g.install_outbound(g.outbound, 1);
       g.send(to_tunnel());
       return g.send(to_tunnel());
     }},
    {DropReason::lifetime_hard, "outbound: the hard limit in packets",
     [](G g) {
       g.outbound.hard_packets = 1;
       g.install_outbound(g.outbound, 1);
       g.send(to_tunnel());
       return g.send(to_tunnel());
     }},
    {DropReason::lifetime_hard, "outbound: the hard limit in bytes",
     [](G g) {
       g.outbound.hard_bytes = 100;
       g.install_outbound(g.outbound, 1);
       g.send(to_tunnel());
       return g.send(to_tunnel());
     }},
    {DropReason::lifetime_hard, "inbound: the hard limit in packets",
     [](G g) {
       g.inbound.hard_packets = 1;
       g.install_inbound(g.inbound);
       g.open(1, good());
       return g.open(2, good());
     }},
    {DropReason::lifetime_hard, "inbound: the hard limit in bytes",
     [](G g) {
       g.inbound.hard_bytes = 60;
       g.install_inbound(g.inbound);
       g.open(1, good());
       return g.open(2, good());
     }},
    {DropReason::esp_truncated, "protocol 50 with 7 bytes",
     [](G g) { return g.receive_ip(kOutside, to_us(50, filling(7))); }},
    {DropReason::esp_truncated, "too short for IV and ICV",
     [](G g) {
       return g.receive_ip(kOutside, to_us(50, slice(slice(sealed(g.inbound, 1, good()), 20), 0, 35)));
     }},
    {DropReason::esp_truncated, "a ciphertext that is not whole blocks",
     [](G g) {
       return g.receive_ip(kOutside, to_us(50, slice(sealed(g.inbound, 1, good()), 20) + Octets{0}));
     }},
    {DropReason::unknown_spi, "an SPI that nobody has",
     [](G g) {
       g.inbound.spi = channel::make_spi(0, 9, 3);
       return g.open(1, good());
     }},
    {DropReason::unknown_spi, "an SPI of a worker that does not exist",
     [](G g) {
       g.inbound.spi = channel::make_spi(7, 1, 3);
       return g.open(1, good());
     }},
    {DropReason::unknown_spi, "SPI 0, with which a free slot is marked",
     [](G g) {
       g.inbound.spi = 0;
       return g.open(1, good());
     }},
    {DropReason::stale_spi, "the SPI of an SA that was removed",
     [](G g) {
       g.remove_inbound(kSpi);
       return g.open(1, good());
     }},
    {DropReason::outer_mismatch, "another source than the SA's",
     [](G g) {
       g.inbound.remote = *parse_address("192.0.2.77");
       return g.open(1, good());
     }},
    {DropReason::outer_mismatch, "another of our addresses than the SA's",
     [](G g) {
       g.inbound.local = *parse_address("10.1.0.1");
       return g.open(1, good());
     }},
    {DropReason::wrong_table, "by a port of another route table than the SA's",
     [](G g) {
       g.in->underlay = 1;
       return g.open(1, good());
     }},
    {DropReason::outer_mismatch, "in UDP, though the SA is not",
     [](G g) {
       g.inbound.udp_encapsulation = 1;
       return g.open(1, good());
     }},
    {DropReason::replay_duplicate, "the same packet again",
     [](G g) {
       g.open(1, good());
       return g.open(1, good());
     }},
    {DropReason::replay_duplicate, "twins in one burst",
     [](G g) {
       const Octets frame = g.frame_to(kOutside, sealed(g.inbound, 1, good()));
       return g.receive(kOutside, std::vector<Octets>{frame, frame});
     }},
    {DropReason::replay_old, "left of the window",
     [](G g) {
       g.open(100, good());
       return g.open(36, good());
     }},
    {DropReason::replay_old, "sequence 0", [](G g) { return g.open(0, good()); }},
    {DropReason::integrity, "one bit of the ciphertext",
     [](G g) {
       Octets ip = sealed(g.inbound, 1, good());
       ip[50] ^= 1;
       return g.receive_ip(kOutside, ip);
     }},
    {DropReason::bad_padding, "padding that is not 1, 2, 3",
     [](G g) {
       return g.open(1, kInner + Octets{1, 3, 2, 4});
     }},
    {DropReason::bad_padding, "a pad length beyond the payload",
     [](G g) {
       return g.open(1, Octets{1, 2, 3, 4, 5, 6, 9, 4});
     }},
    {DropReason::bad_next_header, "UDP in tunnel mode",
     [](G g) { return g.open(1, with_trailer(kInner, kSuite, 17)); }},
    {DropReason::dummy, "next header 59", [](G g) { return g.open(1, with_trailer(kInner, kSuite, 59)); }},
    {DropReason::malformed_inner, "IPv4 announced, IPv6 inside",
     [](G g) { return g.open(1, with_trailer(broken(kInner, 0, 0x65), kSuite, 4)); }},
    {DropReason::malformed_inner, "IPv6 announced, too short for its header",
     [](G g) { return g.open(1, with_trailer(Octets{0x60}, kSuite, 41)); }},
    {DropReason::ecn_illegal, "congestion marked on a packet that is not ECN-capable",
     [](G g) { return g.open(1, good(), 3); }},
    {DropReason::nat_keepalive, "one byte 0xff to port 4500",
     [](G g) { return g.receive_ip(kOutside, to_us(17, udp(4500, 4500, {0xff}))); }},
    {DropReason::udp_encap_unknown, "two bytes to port 4500",
     [](G g) {
       return g.receive_ip(kOutside, to_us(17, udp(4500, 4500, {1, 2})));
     }},
    {DropReason::ike_ring_full, "IKE while nobody takes it",
     [](G g) {
       return with_full(g, g.worker().ike,
                        [&] { return g.receive_ip(kOutside, to_us(17, udp(500, 500, filling(40)))); });
     }},
    {DropReason::liveness_full, "BFD out of a tunnel while nobody takes it",
     [](G g) {
       return with_full(g, g.worker().liveness, [&] {
         return g.open(1, with_trailer(to_us(17, udp(49152, 3784, filling(24))), kSuite, 4));
       });
     }},
    {DropReason::exception_full, "ARP while nobody takes it",
     [](G g) {
       return with_full(g, g.worker().exceptions, [&] {
         return g.receive(kInside, std::vector<Octets>{ethernet(g.mac(kInside), 0x0806, filling(28))});
       });
     }},
    {DropReason::hand_off_full, "another worker's SA, whose inbox is full",
     [](G g) {
       g.inbound.spi = channel::make_spi(1, 1, 3);
       return with_full(g, g.worker(1).inbox, [&] { return g.open(1, good()); });
     }},
    {DropReason::wrong_worker, "handed over for an SA that is still another's",
     [](G g) {
       g.out->worker = 1;
       return g.errand(Errand::encrypt, to_tunnel(), 0, kInside);
     }},
    {DropReason::port_down, "the port to leave by is down",
     [](G g) {
       g.tables().ports[kOutside].up = false;
       return g.send(to_tunnel());
     }},
    {DropReason::transport_fragment, "a fragment for an SA in transport mode",
     [](G g) {
       g.outbound.mode = channel::Mode::transport;
       g.install_outbound(g.outbound);
       return g.send(fragment_of(to_tunnel(), 0, 64));
     }},
    {DropReason::no_buffer, "no room for the outer header, and no other buffer",
     [](G g) { return without_buffers(g, g.make(g.frame_to(kInside, to_tunnel()), 32)); }},
    {DropReason::no_buffer, "no room for trailer and ICV, and no other buffer",
     [](G g) { return without_buffers(g, g.make(g.frame_to(kInside, to_tunnel()), 128, 8)); }},
    {DropReason::no_buffer, "in two segments, and no other buffer",
     [](G g) {
       return without_buffers(g, g.make_chain({g.frame_to(kInside, to_tunnel()), filling(10)}));
     }},
    {DropReason::oversized_frame, "in segments, of more than a packet buffer",
     [](G g) {
       return g.receive(kInside, std::vector{g.make_chain({filling(kRigRoom), filling(10)})});
     }},
    {DropReason::oversized_frame, "where it is, but too large for a buffer in which it could be sealed",
     [](G g) {
       g.set_tunnel(0, 9250);
       return g.receive(kInside, std::vector{g.make(g.frame_to(kInside, to_tunnel(9200)), 16, 0)});
     }},
    {DropReason::neighbour_unresolved, "the far end's link address is not known",
     [](G g) {
       g.tables().neighbours.set_state(g.outside_gateway().index, dataplane::NeighbourState::failed);
       return g.send(to_tunnel());
     }},
};

// Counted elsewhere: by the slow path, at the port's queue (worker_test.cpp), with crypto devices
// (offload/lookaside_failures_test.cpp), and at encrypted-only ports (cleartext_test.cpp).
constexpr DropReason kNotTheWays[] = {
    DropReason::ike_malformed,
    DropReason::ike_rate_limited,
    DropReason::host_protocol,
    DropReason::icmp_rate_limited,
    DropReason::icmp_error_quiet,
    DropReason::arp_malformed,
    DropReason::nd_malformed,
    DropReason::inject_full,
    DropReason::transmit_full,
    DropReason::host_fragment,
    DropReason::reassembly_malformed,
    DropReason::reassembly_too_big,
    DropReason::reassembly_full,
    DropReason::reassembly_timeout,
    DropReason::unprotected,
    DropReason::icmp_unbelieved,
    DropReason::crypto_device_full,
    DropReason::crypto_device_failed,
    DropReason::crypto_device_lost,
    DropReason::cleartext_in,
    DropReason::cleartext_out,
    DropReason::bfd_malformed,
    DropReason::bfd_hops,
    DropReason::bfd_no_session,
    DropReason::kernel_rate_limited,
    DropReason::kernel_refused,
    DropReason::mirror_full,
};

}  // namespace

TEST_CASE("Each drop reason of the ways is counted once for the packet that provokes it") {
  for (const Row& row : kRows) {
    const auto text = channel::kDropReasonText[static_cast<std::size_t>(row.reason)];
    DYNAMIC_SECTION(text.name << ": " << row.what) {
      Gateway gateway(2);
      const Output out = row.provoke(gateway);
      std::uint64_t reported = 0;
      for (const Raised& raised : out.raised) {
        CHECK(raised.note.reason == row.reason);
        ++reported;
      }
      CHECK(gateway.drops(row.reason) + reported == 1);
      CHECK(gateway.all_drops() + reported == 1);
      CHECK(gateway.buffers_out() == 0);
    }
  }
}

TEST_CASE("No drop reason is without a test") {
  for (std::size_t i = 0; i < channel::kDropReasons; ++i) {
    const auto reason = static_cast<DropReason>(i);
    const bool here =
        std::any_of(kRows.begin(), kRows.end(), [&](const Row& row) { return row.reason == reason; });
    const bool elsewhere =
        std::find(std::begin(kNotTheWays), std::end(kNotTheWays), reason) != std::end(kNotTheWays);
    INFO(channel::kDropReasonText[i].name);
    CHECK(here != elsewhere);
  }
}

}  // namespace espgate::test
