#include "dataplane/path/mtu.hpp"

#include <algorithm>

namespace espgate::dataplane {

namespace {

// An IPv6 link carries at least 1280 bytes (RFC 8200 section 5); in a smaller tunnel the outer packets are
// cut.
std::uint16_t at_least(std::uint16_t mtu, Family family) noexcept {
  return family == Family::v4 ? mtu : std::max(mtu, kIpv6MinimumMtu);
}

void clamp(Fit fit, Packet& packet) noexcept {
  const bool v4 = packet.family == Family::v4;
  const auto mss = static_cast<std::uint16_t>(at_least(fit.mtu, packet.family) - kTcp - (v4 ? kIpv4 : kIpv6));
  clamp_mss(packet.ip, packet.length, upper_layer(packet.ip, packet.family, packet.length), mss);
}

void defer(Worker& worker, Packet& packet, std::uint16_t mtu, std::uint16_t outer_mtu) noexcept {
  packet.mtu = mtu;
  packet.outer_mtu = outer_mtu;
  worker.scratch.deferred.add() = packet;
}

// A packet that must be cut before it is sealed, to the size with which its outer packets need not be, or
// whose sender is to be told how large it may be.
void too_large(Worker& worker, Packet& packet, std::uint16_t mtu, std::uint16_t most) noexcept {
  if (packet.family == Family::v6 || !may_be_fragmented(ipv4(packet.ip)))
    return leave(worker, packet, Exception::too_big, DropReason::too_big, most);
  set_data(packet.mbuf, packet.ip, packet.length);
  defer(worker, packet, mtu, kNotCut);
}

// One that is larger than what its outer packet need not be cut for. False: it was disposed of, or deferred.
bool take_excess(Worker& worker, Packet& packet, Fit fit) noexcept {
  const std::uint16_t most = at_least(std::max(fit.mtu, fit.most), packet.family);
  if (packet.length > most && !packet.outbound->transport) {
    too_large(worker, packet, fit.mtu, most);
    return false;
  }
  // A card seals only what leaves as it is.
  if (packet.next_hop.card == kSealedByCard) packet.next_hop.card = 0;
  return true;
}

}  // namespace

void clamp_received(Worker& worker, Packet& packet) noexcept {
  const Fit fit = worker.tables->tunnels[packet.tunnel].fit.load(std::memory_order_relaxed);
  if (fit.clamp_mss && fit.mtu != 0) clamp(fit, packet);
}

bool make_fit(Worker& worker, Packet& packet, Fit fit) noexcept {
  if (fit.mtu == 0) {
    leave(worker, packet, Exception::unreachable, DropReason::tunnel_down);
    return false;
  }
  const bool fits = packet.length <= fit.mtu;
  if (!fits && !take_excess(worker, packet, fit)) return false;
  if (fit.clamp_mss) clamp(fit, packet);
  if (!has_room(worker, packet)) return false;
  if (fits && worker.scratch.deferred.empty()) return true;
  defer(worker, packet, 0, fits ? kNotCut : fit.outer);
  return false;
}

namespace {

void add_fragments(Worker& worker, const Packet& whole, Burst& burst) noexcept {
  std::array<rte_mbuf*, kBurst> pieces;
  const unsigned count = cut(worker, whole.mbuf, whole.mtu, pieces);
  if (count != 0) channel::add(whole.outbound->cut_before, 1);
  for (unsigned i = 0; i < count; ++i) {
    Packet& piece = burst.add() = whole;
    piece.mbuf = pieces[i];
    piece.ip = rte_pktmbuf_mtod(pieces[i], std::uint8_t*);
    piece.length = pieces[i]->data_len;
  }
}

}  // namespace

bool next_deferred(Worker& worker, Burst& burst) noexcept {
  Burst& deferred = worker.scratch.deferred;
  unsigned& next = worker.scratch.next_deferred;
  while (burst.empty() && next < deferred.count) {
    if (deferred[next].mtu != 0)
      add_fragments(worker, deferred[next++], burst);
    else
      while (next < deferred.count && deferred[next].mtu == 0) burst.add() = deferred[next++];
  }
  if (!burst.empty()) return true;
  next = deferred.count = 0;
  return false;
}

}  // namespace espgate::dataplane
