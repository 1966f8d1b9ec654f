#include "dataplane/ports/ike.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "channel/region.hpp"
#include "dataplane/path/headers.hpp"
#include "dataplane/path/wire.hpp"
#include "dataplane/ports/checksum.hpp"
#include "dataplane/ports/ip_header.hpp"

namespace espgate::dataplane {

namespace {

constexpr std::uint16_t kMarker = 4;  // RFC 3948 section 2.2: four zero bytes tell IKE from ESP on port 4500
constexpr std::uint32_t kIkeHeader = 28;     // RFC 7296 section 3.1
constexpr std::uint32_t kIkeLength = 24;     // offset of its length field
constexpr std::size_t kIkeResponderSpi = 8;  // and of this SPI

using channel::IkeDatagram;

std::uint16_t checked_ip(const std::uint8_t* ip, std::uint32_t available) noexcept {
  return ip[0] >> 4 == 4 ? checked_ipv4(ip, available) : checked_ipv6(ip, available);
}

// RFC 768: zero means that the sender made no checksum; in IPv6 it must (RFC 8200 section 8.1).
bool checksum_ok(const std::uint8_t* ip, const std::uint8_t* udp, std::uint16_t length) noexcept {
  if (ip[0] >> 4 == 6) return load16(udp + 6) != 0 && checksum6(ipv6(ip), kProtocolUdp, udp, length) == 0;
  return load16(udp + 6) == 0 || checksum4(ipv4(ip), kProtocolUdp, udp, length) == 0;
}

// The UDP header and payload in an IP packet whose header is valid; empty: not a UDP datagram that can be
// right.
std::span<const std::uint8_t> checked_udp(const std::uint8_t* ip, std::uint16_t length) noexcept {
  const UpperLayer upper = ip[0] >> 4 == 4 ? upper_layer4(ip) : upper_layer6(ip, length);
  if (upper.protocol != kProtocolUdp || upper.fragment || length < upper.offset + kUdp) return {};
  const std::uint8_t* udp = ip + upper.offset;
  const std::uint16_t udp_length = load16(udp + 4);
  if (udp_length < kUdp || udp_length > length - upper.offset || !checksum_ok(ip, udp, udp_length)) return {};
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

// RFC 7296 section 3.1: no more than an IKE_SA_INIT request, or what answers one without an IKE SA.
bool is_first(const IkeDatagram& datagram) noexcept {
  return load32(datagram.bytes.data() + kIkeResponderSpi) == 0 &&
         load32(datagram.bytes.data() + kIkeResponderSpi + 4) == 0;
}

// Where one of a datagram's packets lies in it. Whole: at 0, and nothing more.
struct Piece {
  std::size_t at;
  std::size_t length;
  bool more;
  [[nodiscard]] bool whole() const noexcept { return at == 0 && !more; }
};

// In IPv6 with a fragment header (RFC 8200 section 4.5) where it is not whole.
void write_header(std::uint8_t* at, const IkeDatagram& datagram, Piece piece,
                  std::uint32_t identification) noexcept {
  const bool v4 = datagram.remote.is_v4();
  const bool extended = !v4 && !piece.whole();
  write_ip_header(
      at, {.from = datagram.local,
           .to = datagram.remote,
           .protocol = extended ? kProtocolFragment : kProtocolUdp,
           .payload = static_cast<std::uint16_t>((extended ? kFragmentHeader : 0U) + piece.length),
           .identification = static_cast<std::uint16_t>(identification),
           .fragment = static_cast<std::uint16_t>((piece.more ? kMoreFragments : 0U) | piece.at / 8)});
  if (!extended) return;
  at[kIpv6] = kProtocolUdp;
  at[kIpv6 + 1] = 0;
  store16(at + kIpv6 + 2, static_cast<std::uint16_t>(piece.at | (piece.more ? 1U : 0U)));
  store32(at + kIpv6 + 4, identification);
}

std::uint16_t udp_checksum(const IkeDatagram& datagram, const std::uint8_t* udp,
                           std::uint16_t length) noexcept {
  rte_ipv4_hdr pseudo4{};
  rte_ipv6_hdr pseudo6{};
  std::memcpy(&pseudo4.src_addr, datagram.local.bytes.data(), 4);
  std::memcpy(&pseudo4.dst_addr, datagram.remote.bytes.data(), 4);
  std::memcpy(pseudo6.src_addr, datagram.local.bytes.data(), 16);
  std::memcpy(pseudo6.dst_addr, datagram.remote.bytes.data(), 16);
  return datagram.remote.is_v4() ? checksum4(pseudo4, kProtocolUdp, udp, length)
                                 : checksum6(pseudo6, kProtocolUdp, udp, length);
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
  const std::uint16_t sum = udp_checksum(datagram, out, static_cast<std::uint16_t>(length));
  store(out + 6, udp_checksum_field(sum));
  return length;
}

}  // namespace

IkePort::IkePort(Forwarding& tables, Outbox& outbox, const KnownPeers& peers, ControlLink& control,
                 std::uint64_t seed, const Identifications& identifications) noexcept
    : tables_(tables),
      outbox_(outbox),
      peers_(peers),
      control_(control),
      peers_budgets_{{kPeerLimits, seed}, {kPeerLimits, seed}},
      strangers_budgets_{{kStrangerLimits, ~seed}, {kStrangerLimits, ~seed}},
      identifications6_(identifications) {}

void IkePort::receive(std::span<rte_mbuf* const> packets, std::uint64_t now) {
  std::array<rte_mbuf*, kBurst> strangers;
  std::size_t count = 0;
  for (rte_mbuf* packet : packets) {
    const auto* ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
    const bool whole = packet->data_len >= kIpv6 || (packet->data_len >= kIpv4 && ip[0] >> 4 == 4);
    const bool known = whole && peers_.contains(note_of(packet).table, source_of(ip));
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
  if (packet->pkt_len == 0 || packet->pkt_len > packet_.size())
    return outbox_.drop(packet, DropReason::ike_malformed);
  // Copies only what is in several segments.
  const auto* ip =
      static_cast<const std::uint8_t*>(rte_pktmbuf_read(packet, 0, packet->pkt_len, packet_.data()));
  const std::uint16_t length = checked_ip(ip, packet->pkt_len);
  if (length == 0) return outbox_.drop(packet, DropReason::ike_malformed);
  const auto udp = checked_udp(ip, length);
  received_.table = note_of(packet).table;
  if (udp.empty() || !read_ike(ip, udp, received_)) return outbox_.drop(packet, DropReason::ike_malformed);
  if (peers_.ends_elsewhere(received_.table, received_.local))
    return outbox_.drop(packet, DropReason::wrong_table);
  const bool share = known || control_.undelivered() < channel::kIkeSlots / 2;
  Budgets& budgets = known ? peers_budgets_ : strangers_budgets_;
  if (!share || !(is_first(received_) ? budgets.first : budgets.later).take(received_.remote, now))
    return outbox_.drop(packet, DropReason::ike_rate_limited);
  if (!control_.deliver(received_)) return outbox_.drop(packet, DropReason::ike_ring_full);
  rte_pktmbuf_free(packet);
}

bool IkePort::acceptable(const IkeDatagram& datagram) const noexcept {
  if (datagram.length < kIkeHeader || datagram.length > datagram.bytes.size()) return false;
  if (datagram.local_port != kIkePort && datagram.local_port != kNatTraversalPort) return false;
  if (datagram.remote_port == 0) return false;
  if (!is_valid(datagram.local) || datagram.local.family != datagram.remote.family) return false;
  if (!is_valid(datagram.remote) || !is_unicast(datagram.remote)) return false;
  return datagram.table < tables_.table_count() &&
         tables_.routes(datagram.table).find_one(datagram.local).kind == NextHopKind::host;
}

void IkePort::send(const IkeDatagram& datagram, std::uint64_t) {
  if (!acceptable(datagram)) return outbox_.count(DropReason::ike_malformed);
  // IKE never goes into a tunnel: it is what makes the tunnel.
  const NextHop to = tables_.member(tables_.routes(datagram.table).find_one(datagram.remote), 0);
  if (to.kind != NextHopKind::connected && to.kind != NextHopKind::gateway)
    return outbox_.count(DropReason::no_route);
  std::array<std::uint8_t, kUdp + kMarker + channel::kMaxIkeDatagram> udp;
  const std::size_t length = write_udp(datagram, udp.data());
  send_udp(datagram, {udp.data(), length}, tables_.ports[to.port].mtu);
}

void IkePort::send_udp(const IkeDatagram& datagram, std::span<const std::uint8_t> udp, std::uint16_t mtu) {
  const bool v6 = datagram.remote.is_v6();
  const std::uint32_t identification = v6 ? identifications6_.next() : ++identification4_;
  // A source of IPv6 that does not discover the path's MTU sends no more than the least (RFC 8200 section 5).
  const std::size_t room = v6 ? std::min(mtu, kIpv6MinimumMtu) - kIpv6 : mtu - kIpv4;
  const bool fragment_header = v6 && udp.size() > room;
  const std::size_t front = (v6 ? kIpv6 : kIpv4) + (fragment_header ? kFragmentHeader : 0U);
  const std::size_t most = fragment_header ? room - kFragmentHeader : room;
  for (std::size_t at = 0; at < udp.size();) {
    const std::size_t left = udp.size() - at;
    // Fragments but the last are in units of 8 bytes (RFC 791, RFC 8200 section 4.5).
    const std::size_t take = left <= most ? left : most & ~std::size_t{7};
    const Piece piece{at, take, take < left};
    rte_mbuf* packet = outbox_.make(front + take);
    if (packet == nullptr) return;
    auto* out = rte_pktmbuf_mtod(packet, std::uint8_t*);
    write_header(out, datagram, piece, identification);
    std::memcpy(out + front, udp.data() + at, take);
    outbox_.route_ike(packet, datagram.table);
    at += take;
  }
}

}  // namespace espgate::dataplane
