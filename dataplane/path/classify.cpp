// The first look at a frame: ours or not, what it carries, and which way it goes. From here on the packet is
// the IP packet alone, without Ethernet header and padding.
#include <rte_prefetch.h>

#include <cstring>

#include "dataplane/path/esp.hpp"

namespace espgate::dataplane {

namespace {

constexpr unsigned kPrefetchAhead = 4;
constexpr std::uint64_t kMacMask = 0xffffffffffffULL;

bool is_group_mac(const std::uint8_t* frame) noexcept { return (frame[0] & 1) != 0; }

// Class D, class E and 255.255.255.255: nothing that a router forwards (RFC 1812 sections 5.2.3 and 5.3.7).
bool is_multicast4(const rte_ipv4_hdr& header) noexcept {
  return (header.dst_addr & __builtin_bswap32(0xe0000000)) == __builtin_bswap32(0xe0000000);
}

// The groups that neighbour discovery sends to: all-nodes, all-routers and solicited-node (RFC 4861
// section 2.3).
bool is_discovery_group(const std::uint8_t* address) noexcept {
  static constexpr std::uint8_t kLinkScope[13] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
  if (std::memcmp(address, kLinkScope, sizeof kLinkScope) == 0) return true;
  return std::memcmp(address, kLinkScope, 11) == 0 && address[11] == 0 && load16(address + 12) == 0 &&
         address[14] == 0 && (address[15] == 1 || address[15] == 2);
}

// Where the SPI would be, from the IP header, if this is ESP, raw or in UDP (RFC 3948 section 2.2: the four
// bytes behind the UDP header are zero in IKE). 0: it is not. `own`: where the packet's payload begins.
std::uint16_t esp_offset(const std::uint8_t* ip, std::uint16_t length, std::uint8_t protocol,
                         std::uint16_t own) noexcept {
  if (protocol == kProtocolEsp) return own;
  if (protocol != kProtocolUdp || length < own + kUdp + kEsp) return 0;
  const std::uint8_t* const udp = ip + own;
  if (load16(udp + 2) != kNatTraversalPort || load<std::uint32_t>(udp + kUdp) == 0) return 0;
  return static_cast<std::uint16_t>(own + kUdp);
}
std::uint16_t esp_offset4(const std::uint8_t* ip, std::uint16_t length) noexcept {
  const rte_ipv4_hdr& header = ipv4(ip);
  if (is_fragment(header)) return 0;
  return esp_offset(ip, length, header.next_proto_id, ipv4_header_length(header));
}
std::uint16_t esp_offset6(const std::uint8_t* ip, std::uint16_t length) noexcept {
  const UpperLayer upper = upper_layer6(ip, length);
  return upper.fragment ? std::uint16_t{0} : esp_offset(ip, length, upper.protocol, upper.offset);
}

void start(Packet& packet, rte_mbuf* mbuf, std::uint8_t* ip, std::uint16_t length, Family family,
           Origin origin) noexcept {
  packet.mbuf = mbuf;
  packet.ip = ip;
  packet.tunnel = Note::kNoTunnel;
  packet.length = length;
  packet.family = family;
  packet.port = origin.port;
  packet.table = origin.table;
  packet.forwarded = origin.forwarded;
  packet.handed_over = false;
}

// Here already, so that the lines that every packet needs of its SA are on their way while the rest of the
// burst is looked at. The window's word and the key are fetched when more is known.
void address_sa(const Worker& worker, Packet& packet) noexcept {
  packet.inbound = slot_of(worker, packet);
  if (packet.inbound == nullptr) return;
  rte_prefetch0(packet.inbound);
  rte_prefetch0(&packet.inbound->spi);
}

// Inline where frames are sorted: as a call it costs 20 instructions more.
[[gnu::always_inline]] inline void sort_ipv4(Worker& worker, rte_mbuf* mbuf, std::uint8_t* ip,
                                             std::uint32_t available, Origin origin) noexcept {
  const std::uint16_t length = checked_ipv4(ip, available);
  if (length == 0) return worker.drop(mbuf, DropReason::malformed_ipv4);
  if (is_multicast4(ipv4(ip))) return worker.drop(mbuf, DropReason::multicast);
  const std::uint16_t esp = origin.port == Note::kNoPort ? std::uint16_t{0} : esp_offset4(ip, length);
  if (esp == 0) {
    start(worker.scratch.plain.add(), mbuf, ip, length, Family::v4, origin);
    return;
  }
  Packet& packet = worker.scratch.esp.add();
  start(packet, mbuf, ip, length, Family::v4, origin);
  packet.esp = esp;
  address_sa(worker, packet);
}

void sort_ipv6(Worker& worker, rte_mbuf* mbuf, std::uint8_t* ip, std::uint32_t available,
               Origin origin) noexcept {
  const std::uint16_t length = checked_ipv6(ip, available);
  if (length == 0) return worker.drop(mbuf, DropReason::malformed_ipv6);
  Packet packet{};
  start(packet, mbuf, ip, length, Family::v6, origin);
  const std::uint8_t* const to = ipv6(ip).dst_addr;
  if (to[0] == 0xff) {
    if (origin.port == Note::kNoPort || !is_discovery_group(to))
      return worker.drop(mbuf, DropReason::multicast);
    return leave(worker, packet, Exception::to_host, DropReason{});
  }
  // A link-local address means a host of that link, and nothing is forwarded to one (RFC 4291 section 2.5.6):
  // what comes for one is for us or for nobody.
  if (origin.port != Note::kNoPort && to[0] == 0xfe && (to[1] & 0xc0) == 0x80)
    return leave(worker, packet, Exception::to_host, DropReason{});
  packet.esp = origin.port == Note::kNoPort ? std::uint16_t{0} : esp_offset6(ip, length);
  if (packet.esp == 0) {
    worker.scratch.plain.add() = packet;
    return;
  }
  address_sa(worker, packet);
  worker.scratch.esp.add() = packet;
}

// What is rarely said of a frame, and not to be overlooked: that its VLAN tag stands beside it, or what the
// sender behind a ring or a virtual device wanted a card to do. The latter is not the wish of this gateway,
// whose own cards would do it to the packet as it leaves.
constexpr std::uint64_t kStripped = RTE_MBUF_F_RX_VLAN_STRIPPED | RTE_MBUF_F_RX_QINQ_STRIPPED;
constexpr std::uint64_t kMarked = kStripped | RTE_MBUF_F_TX_OFFLOAD_MASK;

[[gnu::always_inline]] inline void sort_frame(Worker&, std::uint8_t port, std::uint64_t own_mac, rte_mbuf*,
                                              bool tagged) noexcept;

// IEEE 802.1Q: a frame of this VLAN, its tag taken out. VLAN 0 is a priority alone, and belongs to the port.
[[gnu::noinline]] void enter_vlan(Worker& worker, std::uint8_t port, std::uint64_t own_mac, rte_mbuf* frame,
                                  std::uint16_t vlan) noexcept {
  if (vlan != 0) {
    const std::uint8_t place = worker.tables->vlans[port][vlan];
    if (place == 0) return worker.drop(frame, DropReason::unknown_vlan);
    port = static_cast<std::uint8_t>(place - 1);
    channel::add(worker.counters->ports[port].rx_packets, 1);
    channel::add(worker.counters->ports[port].rx_bytes, frame->pkt_len);
  }
  sort_frame(worker, port, own_mac, frame, true);
}

[[gnu::noinline]] void take_tag_out(Worker& worker, std::uint8_t port, std::uint64_t own_mac,
                                    rte_mbuf* frame) noexcept {
  if (frame->data_len < kEthernet + kVlanTag) return worker.drop(frame, DropReason::runt_frame);
  std::uint8_t* const ethernet = rte_pktmbuf_mtod(frame, std::uint8_t*);
  const std::uint16_t vlan = load16(ethernet + kEthernet) & kVlanMask;
  std::memmove(ethernet + kVlanTag, ethernet, kEthernet - 2);
  set_data(frame, ethernet + kVlanTag, static_cast<std::uint16_t>(frame->data_len - kVlanTag));
  enter_vlan(worker, port, own_mac, frame, vlan);
}

[[gnu::noinline]] void sort_marked(Worker& worker, std::uint8_t port, std::uint64_t own_mac,
                                   rte_mbuf* frame) noexcept {
  const std::uint64_t marks = frame->ol_flags & kStripped;
  frame->ol_flags &= ~kMarked;
  if ((marks & RTE_MBUF_F_RX_QINQ_STRIPPED) != 0) return worker.drop(frame, DropReason::stacked_vlan);
  if (marks == 0) return sort_frame(worker, port, own_mac, frame, false);
  enter_vlan(worker, port, own_mac, frame, frame->vlan_tci & kVlanMask);
}

inline void classify_frame(Worker& worker, std::uint8_t port, std::uint64_t own_mac,
                           rte_mbuf* frame) noexcept {
  if (frame->nb_segs != 1) [[unlikely]]
    if ((frame = in_one_buffer(worker, frame)) == nullptr) return;
  if ((frame->ol_flags & kMarked) != 0) [[unlikely]]
    return sort_marked(worker, port, own_mac, frame);
  sort_frame(worker, port, own_mac, frame, false);
}

[[gnu::always_inline]] inline void sort_frame(Worker& worker, std::uint8_t port, std::uint64_t own_mac,
                                              rte_mbuf* frame, bool tagged) noexcept {
  if (frame->data_len < kEthernet) return worker.drop(frame, DropReason::runt_frame);
  std::uint8_t* const ethernet = rte_pktmbuf_mtod(frame, std::uint8_t*);
  const bool own = (load<std::uint64_t>(ethernet) & kMacMask) == own_mac;
  if (!own && !is_group_mac(ethernet)) return worker.drop(frame, DropReason::other_mac);
  std::uint8_t* const ip = ethernet + kEthernet;
  const std::uint32_t available = std::uint32_t{frame->data_len} - kEthernet;
  const Origin origin{port, worker.tables->ports[port].table, true};
  switch (load16(ethernet + 12)) {
    case RTE_ETHER_TYPE_IPV4:
      // RFC 1812 section 5.3.4: an IP packet that came as a link-layer broadcast is not forwarded; nor is
      // there any IPv4 service here that listens to one.
      if (!own) return worker.drop(frame, DropReason::multicast);
      return sort_ipv4(worker, frame, ip, available, origin);
    case RTE_ETHER_TYPE_IPV6:
      if (!own && (available < kIpv6 || ip[24] != 0xff)) return worker.drop(frame, DropReason::multicast);
      return sort_ipv6(worker, frame, ip, available, origin);
    case RTE_ETHER_TYPE_ARP: {
      Packet packet{};
      start(packet, frame, ethernet, frame->data_len, Family::none, origin);
      return leave(worker, packet, Exception::arp, DropReason{});
    }
    case RTE_ETHER_TYPE_VLAN:
      if (!tagged) return take_tag_out(worker, port, own_mac, frame);
      [[fallthrough]];
    case RTE_ETHER_TYPE_QINQ:
      return worker.drop(frame, DropReason::stacked_vlan);
    default:
      return worker.drop(frame, DropReason::unknown_ethertype);
  }
}

}  // namespace

void sort_ip(Worker& worker, rte_mbuf* mbuf, Origin origin) noexcept {
  if (mbuf->nb_segs != 1) [[unlikely]]
    if ((mbuf = in_one_buffer(worker, mbuf)) == nullptr) return;
  std::uint8_t* const ip = rte_pktmbuf_mtod(mbuf, std::uint8_t*);
  if (mbuf->data_len != 0 && ip[0] >> 4 == 6) return sort_ipv6(worker, mbuf, ip, mbuf->data_len, origin);
  sort_ipv4(worker, mbuf, ip, mbuf->data_len, origin);
}

void classify(Worker& worker, std::uint8_t port, std::span<rte_mbuf*> frames) noexcept {
  std::uint64_t own_mac = 0;
  std::memcpy(&own_mac, worker.tables->ports[port].mac.data(), 6);
  std::uint64_t bytes = 0;
  const std::size_t count = frames.size();
  for (std::size_t i = 0; i < count && i < kPrefetchAhead; ++i)
    rte_prefetch0(rte_pktmbuf_mtod(frames[i], const void*));
  for (std::size_t i = 0; i < count; ++i) {
    if (i + kPrefetchAhead < count) rte_prefetch0(rte_pktmbuf_mtod(frames[i + kPrefetchAhead], const void*));
    bytes += frames[i]->pkt_len;
    classify_frame(worker, port, own_mac, frames[i]);
  }
  channel::InterfaceCounters& counters = worker.counters->ports[port];
  channel::add(counters.rx_packets, count);
  channel::add(counters.rx_bytes, bytes);
}

}  // namespace espgate::dataplane
