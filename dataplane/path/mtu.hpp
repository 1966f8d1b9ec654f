// fit_mtu: what is too large for its tunnel is to be cut once it is sealed, where the tunnel has it so; or is
// cut now (IPv4 without DF), or goes back to its sender with the size that is taken. TCP learns beforehand a
// segment size that needs none of this. What comes behind a packet that is cut waits until its fragments are
// on their way, so that no flow is reordered.
#pragma once

#include "dataplane/path/ways.hpp"

namespace espgate::dataplane {

// What encapsulate and seal take before the inner packet and behind it, at most: Ethernet with a tag, IPv6,
// UDP, ESP and the IV; padding, two bytes of trailer and the ICV.
inline constexpr std::uint16_t kFront =
    kEthernet + kVlanTag + kIpv6 + kUdp + kEsp +
    crypto::most_of_suites([](const crypto::SuiteRow& row) { return row.iv_length; });
inline constexpr std::uint16_t kBehind = crypto::most_of_suites(
    [](const crypto::SuiteRow& row) { return row.alignment - 1U + 2U + row.icv_length; });
static_assert(kFront <= kHeadroom);

// buffers.cpp: moves a packet to a buffer with that room. False: it was dropped, as oversized_frame or
// no_buffer.
[[nodiscard]] bool make_room(Worker& worker, Packet& packet) noexcept;

// Sees to it that encapsulate and seal find the room that they need. False: the packet was dropped.
[[nodiscard]] inline bool has_room(Worker& worker, Packet& packet) noexcept {
  const rte_mbuf& mbuf = *packet.mbuf;
  const std::ptrdiff_t offset = packet.ip - static_cast<const std::uint8_t*>(mbuf.buf_addr);
  if (offset >= kFront && mbuf.buf_len >= offset + packet.length + kBehind) [[likely]]
    return true;
  return make_room(worker, packet);
}

// A packet that is too large, or behind one that is, or may need its MSS lowered. False: it was disposed of,
// or deferred.
[[nodiscard]] bool make_fit(Worker& worker, Packet& packet, Fit fit) noexcept;

// Extension headers may stand in front of it.
[[nodiscard]] inline bool may_be_tcp(const Packet& packet) noexcept {
  return packet.family == Family::v6 || packet.ip[9] == kProtocolTcp;
}

// For TCP that came out of a tunnel: the MSS says how large the answers may be, which go into it. Not every
// peer has lowered it.
void clamp_received(Worker& worker, Packet& packet) noexcept;

[[nodiscard]] inline bool fit_mtu(Worker& worker, Packet& packet) noexcept {
  const Fit fit = worker.tables->tunnels[packet.tunnel].fit.load(std::memory_order_relaxed);
  const bool fits = packet.length <= fit.mtu && !(fit.clamp_mss && may_be_tcp(packet));
  if (!fits || !worker.scratch.deferred.empty()) [[unlikely]]
    return make_fit(worker, packet, fit);
  return has_room(worker, packet);
}

// The size to which a packet of the burst that is being sealed is to be cut then, or kNotCut. Only of a
// deferred one does its own record say so.
[[nodiscard]] inline std::uint16_t outer_limit(const Worker& worker, const Packet& packet) noexcept {
  return worker.scratch.next_deferred == 0 ? kNotCut : packet.outer_mtu;
}

// Fills the empty burst with what was deferred, in its order: the fragments of the next packet that is cut
// before it is sealed, or the packets up to there. False: there is nothing more.
[[nodiscard]] bool next_deferred(Worker& worker, Burst& burst) noexcept;

}  // namespace espgate::dataplane
