// fit_mtu: what is too large for its tunnel is cut (IPv4 without DF) or goes back to its sender with the size
// that fits; TCP learns a fitting segment size beforehand.
#pragma once

#include "dataplane/path/ways.hpp"

namespace espgate::dataplane {

// What encapsulate and seal take before the inner packet and behind it, at most: Ethernet, IPv4, UDP, ESP and
// a 16-byte IV; 15 bytes of padding, two of trailer and a 16-byte ICV.
inline constexpr std::uint16_t kFront = kEthernet + kIpv4 + kUdp + kEsp + 16;
inline constexpr std::uint16_t kBehind = 15 + 2 + 16;
static_assert(kFront <= kHeadroom);

// A packet that is too large, or may need its MSS lowered. False: it was disposed of.
[[nodiscard]] bool make_fit(Worker& worker, Packet& packet, Fit fit) noexcept;

[[nodiscard]] inline bool fit_mtu(Worker& worker, Packet& packet) noexcept {
  const Fit fit = worker.tables->tunnels[packet.tunnel].fit.load(std::memory_order_relaxed);
  const bool may_be_tcp = packet.family == Family::v6 || packet.ip[9] == kProtocolTcp;
  if ((packet.length > fit.mtu || (fit.clamp_mss && may_be_tcp)) && !make_fit(worker, packet, fit))
      [[unlikely]]
    return false;
  const rte_mbuf& mbuf = *packet.mbuf;
  const std::ptrdiff_t offset = packet.ip - static_cast<const std::uint8_t*>(mbuf.buf_addr);
  if (offset >= kFront && mbuf.buf_len >= offset + packet.length + kBehind) [[likely]]
    return true;
  worker.drop(packet.mbuf, DropReason::no_buffer);
  return false;
}

// Fills the empty burst with the fragments of the next packet that fit_mtu set aside. False: there is none.
[[nodiscard]] bool next_fragments(Worker& worker, Burst& burst) noexcept;

}  // namespace espgate::dataplane
