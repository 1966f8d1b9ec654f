#include "dataplane/ports/ike.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "channel/region.hpp"
#include "dataplane/path/wire.hpp"
#include "dataplane/ports/checksum.hpp"

namespace espgate::dataplane {

namespace {

constexpr std::uint16_t kMarker = 4;  // RFC 3948 section 2.2: four zero bytes tell IKE from ESP on port 4500
constexpr std::uint32_t kIkeHeader = 28;  // RFC 7296 section 3.1
constexpr std::uint32_t kIkeLength = 24;  // offset of its length field

using channel::IkeDatagram;

// The UDP header and payload in `ip`, checked; empty: not a UDP datagram that can be right.
std::span<const std::uint8_t> checked_udp(const std::uint8_t* ip, std::uint16_t length) noexcept {
  const std::uint16_t header = ipv4_header_length(ipv4(ip));
  if (ipv4(ip).next_proto_id != kProtocolUdp || length < header + kUdp) return {};
  const std::uint8_t* udp = ip + header;
  const std::uint16_t udp_length = load16(udp + 4);
  if (udp_length < kUdp || udp_length > length - header) return {};
  // RFC 768: zero means that the sender made no checksum.
  if (load16(udp + 6) != 0 && checksum4(ipv4(ip), kProtocolUdp, udp, udp_length) != 0) return {};
  return {udp, udp_length};
}

// Fills `out` from a UDP datagram; false: it can't be IKE.
bool read_ike(const std::uint8_t* ip, std::span<const std::uint8_t> udp, IkeDatagram& out) noexcept {
  out.local = destination_of(ip);
  out.remote = source_of(ip);
  out.remote_port = load16(udp.data());
  out.local_port = load16(udp.data() + 2);
  if (out.remote_port == 0 || !is_unicast(out.remote)) return false;
  std::span<const std::uint8_t> payload = udp.subspan(kUdp);
  if (out.local_port == kNatTraversalPort) {
    if (payload.size() < kMarker || load32(payload.data()) != 0) return false;
    payload = payload.subspan(kMarker);
  } else if (out.local_port != kIkePort) {
    return false;
  }
  if (payload.size() < kIkeHeader || payload.size() > out.bytes.size()) return false;
  if (load32(payload.data() + kIkeLength) != payload.size()) return false;
  out.length = static_cast<std::uint32_t>(payload.size());
  std::copy(payload.begin(), payload.end(), out.bytes.begin());
  return true;
}

void write_header(std::uint8_t* at, const IkeDatagram& datagram, std::uint16_t identification,
                  std::uint16_t total, std::uint16_t fragment) noexcept {
  rte_ipv4_hdr ip{};
  ip.version_ihl = 0x45;
  ip.total_length = __builtin_bswap16(total);
  ip.packet_id = __builtin_bswap16(identification);
  ip.fragment_offset = __builtin_bswap16(fragment);
  ip.time_to_live = 64;
  ip.next_proto_id = kProtocolUdp;
  std::memcpy(&ip.src_addr, datagram.local.bytes.data(), 4);
  std::memcpy(&ip.dst_addr, datagram.remote.bytes.data(), 4);
  ip.hdr_checksum = checksum(&ip, sizeof(ip));
  std::memcpy(at, &ip, sizeof(ip));
}

// The whole UDP datagram into `out`; its length.
std::size_t write_udp(const IkeDatagram& datagram, std::uint8_t* out) noexcept {
  const bool marked = datagram.local_port == kNatTraversalPort || datagram.remote_port == kNatTraversalPort;
  const std::size_t front = kUdp + (marked ? kMarker : 0U);
  const std::size_t length = front + datagram.length;
  std::memset(out, 0, front);
  store16(out, datagram.local_port);
  store16(out + 2, datagram.remote_port);
  store16(out + 4, static_cast<std::uint16_t>(length));
  std::memcpy(out + front, datagram.bytes.data(), datagram.length);
  rte_ipv4_hdr pseudo{};
  std::memcpy(&pseudo.src_addr, datagram.local.bytes.data(), 4);
  std::memcpy(&pseudo.dst_addr, datagram.remote.bytes.data(), 4);
  const std::uint16_t sum = checksum4(pseudo, kProtocolUdp, out, static_cast<std::uint16_t>(length));
  store<std::uint16_t>(out + 6, sum == 0 ? std::uint16_t{0xffff} : sum);  // RFC 768: 0 would mean none
  return length;
}

}  // namespace

IkePort::IkePort(Forwarding& tables, Outbox& outbox, const KnownPeers& peers, ControlLink& control,
                 std::uint64_t seed) noexcept
    : tables_(tables),
      outbox_(outbox),
      peers_(peers),
      control_(control),
      peer_limit_(kPeerLimits, seed),
      stranger_limit_(kStrangerLimits, ~seed) {}

void IkePort::receive(std::span<rte_mbuf* const> packets, std::uint64_t now) {
  std::array<rte_mbuf*, kBurst> strangers;
  std::size_t count = 0;
  for (rte_mbuf* packet : packets) {
    const auto* ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
    const bool known = packet->data_len >= kIpv4 && peers_.contains(source_of(ip));
    if (known)
      deliver(packet, true, now);
    else if (count < strangers.size())
      strangers[count++] = packet;
    else
      outbox_.drop(packet, DropReason::ike_rate_limited);
  }
  for (std::size_t i = 0; i < count; i++) deliver(strangers[i], false, now);
}

void IkePort::deliver(rte_mbuf* packet, bool known, std::uint64_t now) {
  if (packet->pkt_len > packet_.size()) return outbox_.drop(packet, DropReason::ike_malformed);
  // Copies only what is in several segments.
  const auto* ip =
      static_cast<const std::uint8_t*>(rte_pktmbuf_read(packet, 0, packet->pkt_len, packet_.data()));
  const std::uint16_t length = checked_ipv4(ip, packet->pkt_len);
  if (length == 0 || is_fragment(ipv4(ip))) return outbox_.drop(packet, DropReason::ike_malformed);
  const auto udp = checked_udp(ip, length);
  if (udp.empty() || !read_ike(ip, udp, received_)) return outbox_.drop(packet, DropReason::ike_malformed);
  const bool share = known || control_.undelivered() < channel::kIkeSlots / 2;
  if (!share || !(known ? peer_limit_ : stranger_limit_).take(received_.remote, now))
    return outbox_.drop(packet, DropReason::ike_rate_limited);
  if (!control_.deliver(received_)) return outbox_.drop(packet, DropReason::ike_ring_full);
  rte_pktmbuf_free(packet);
}

bool IkePort::acceptable(const IkeDatagram& datagram) const noexcept {
  if (datagram.length < kIkeHeader || datagram.length > datagram.bytes.size()) return false;
  if (datagram.local_port != kIkePort && datagram.local_port != kNatTraversalPort) return false;
  if (datagram.remote_port == 0) return false;
  if (!datagram.local.is_v4() || !datagram.remote.is_v4() || !is_unicast(datagram.remote)) return false;
  return tables_.routes.find_one(datagram.local).kind == NextHopKind::host;
}

void IkePort::send(const IkeDatagram& datagram, std::uint64_t) {
  if (!acceptable(datagram)) return outbox_.count(DropReason::ike_malformed);
  // IKE never goes into a tunnel: it is what makes the tunnel.
  const NextHop to = tables_.routes.find_one(datagram.remote);
  if (to.kind != NextHopKind::connected && to.kind != NextHopKind::gateway)
    return outbox_.count(DropReason::no_route);
  std::array<std::uint8_t, kUdp + kMarker + channel::kMaxIkeDatagram> udp;
  const std::size_t length = write_udp(datagram, udp.data());
  send_udp(datagram, {udp.data(), length}, tables_.ports[to.port].mtu);
}

void IkePort::send_udp(const IkeDatagram& datagram, std::span<const std::uint8_t> udp, std::uint16_t mtu) {
  const std::uint16_t identification = ++identification_;
  const std::size_t whole = mtu - kIpv4;
  const std::size_t piece =
      whole & ~std::size_t{7};  // RFC 791: fragments but the last are in units of 8 bytes
  std::size_t at = 0;
  while (at < udp.size()) {
    const std::size_t left = udp.size() - at;
    const std::size_t take = left <= whole ? left : piece;
    rte_mbuf* packet = outbox_.make(kIpv4 + take);
    if (packet == nullptr) return;
    const std::uint16_t more = take < left ? 0x2000 : 0;
    auto* out = rte_pktmbuf_mtod(packet, std::uint8_t*);
    write_header(out, datagram, identification, static_cast<std::uint16_t>(kIpv4 + take),
                 static_cast<std::uint16_t>(more | at / 8));
    std::memcpy(out + kIpv4, udp.data() + at, take);
    outbox_.route(packet);
    at += take;
  }
}

}  // namespace espgate::dataplane
