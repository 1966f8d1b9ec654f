// fit_mtu: what is too large for its tunnel is cut (IPv4 without DF) or goes back to its sender with the size
// that fits; TCP learns a fitting segment size beforehand.
#include <algorithm>

#include "dataplane/path/ways.hpp"

namespace espgate::dataplane {

namespace {

// What encapsulate and seal take before the inner packet and behind it, at most: Ethernet, IPv4, UDP, ESP and
// a 16-byte IV; 15 bytes of padding, two of trailer and a 16-byte ICV.
constexpr std::uint16_t kFront = kEthernet + kIpv4 + kUdp + kEsp + 16;
constexpr std::uint16_t kBehind = 15 + 2 + 16;
static_assert(kFront <= kHeadroom);

bool has_room(const rte_mbuf& mbuf) noexcept {
  return mbuf.data_off >= kFront && mbuf.buf_len >= mbuf.data_off + mbuf.data_len + kBehind;
}

// An IPv6 link carries at least 1280 bytes (RFC 8200 section 5); in a smaller tunnel the outer packets are
// cut.
std::uint16_t tunnel_mtu(const Tunnel& tunnel, Family family) noexcept {
  return family == Family::v4 ? tunnel.mtu : std::max(tunnel.mtu, kIpv6MinimumMtu);
}

void clamp(const Tunnel& tunnel, Packet& packet) noexcept {
  const bool v4 = packet.family == Family::v4;
  const auto mss =
      static_cast<std::uint16_t>(tunnel_mtu(tunnel, packet.family) - kTcp - (v4 ? kIpv4 : kIpv6));
  clamp_mss(packet.ip, packet.length, upper_layer(packet.ip, packet.family, packet.length), mss);
}

void too_large(Worker& worker, Packet& packet, std::uint16_t mtu) noexcept {
  if (packet.family == Family::v4 && may_be_fragmented(ipv4(packet.ip))) {
    packet.mtu = mtu;
    worker.scratch->oversized.add() = packet;
    return;
  }
  leave(worker, packet, Exception::too_big, DropReason::too_big, mtu);
}

bool fits(Worker& worker, Packet& packet) noexcept {
  const Tunnel* const tunnel = worker.tables->tunnels[packet.tunnel].tunnel.load(std::memory_order_acquire);
  if (tunnel == nullptr) {
    leave(worker, packet, Exception::unreachable, DropReason::tunnel_down);
    return false;
  }
  const std::uint16_t mtu = tunnel_mtu(*tunnel, packet.family);
  if (packet.length > mtu) {
    too_large(worker, packet, mtu);
    return false;
  }
  if (!has_room(*packet.mbuf)) {
    worker.drop(packet.mbuf, DropReason::no_buffer);
    return false;
  }
  if (tunnel->clamp_mss) clamp(*tunnel, packet);
  return true;
}

}  // namespace

void fit_mtu(Worker& worker, Burst& burst) noexcept {
  keep_if(burst, [&worker](Packet& packet) noexcept { return fits(worker, packet); });
}

bool next_fragments(Worker& worker, Burst& burst) noexcept {
  Burst& oversized = worker.scratch->oversized;
  unsigned& next = worker.scratch->next_oversized;
  while (burst.empty() && next < oversized.count) {
    const Packet& whole = oversized[next++];
    std::array<rte_mbuf*, kBurst> pieces;
    const unsigned count = cut(worker, whole.mbuf, whole.mtu, pieces);
    for (unsigned i = 0; i < count; ++i) {
      Packet& piece = burst.add() = whole;
      piece.mbuf = pieces[i];
      piece.ip = rte_pktmbuf_mtod(pieces[i], std::uint8_t*);
      piece.length = pieces[i]->data_len;
    }
  }
  if (!burst.empty()) return true;
  next = oversized.count = 0;
  return false;
}

}  // namespace espgate::dataplane
