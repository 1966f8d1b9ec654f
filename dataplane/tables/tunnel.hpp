// Virtual tunnel interfaces, as the workers see them.
#pragma once

#include <atomic>
#include <cstdint>

#include "channel/messages.hpp"
#include "dataplane/tables/sa.hpp"

namespace espgate::dataplane {

// The interface's own addresses, source of ICMP errors; either may be unset. Replaced whole, retired through
// Rcu.
struct Tunnel {
  IpAddress address4;
  IpAddress address6;
  TableId underlay{kMainTable};  // whose routes its outer packets take
  TableId overlay{kMainTable};   // of the interface
};

inline constexpr std::uint16_t kNotCut = 0xffff;

// What every packet into a tunnel must fit. As a word, of which most packets need the first half.
struct alignas(8) Fit {
  std::uint16_t mtu{0};  // bytes of inner packet: up to here the outer one need not be cut; 0: no such tunnel
  bool clamp_mss{false};
  bool spread{false};     // no measure, but every burst asks: other workers may help with the cryptography
  std::uint16_t most{0};  // beyond `mtu` and up to here, an inner packet's outer one is cut; what is
                          // larger is cut before, or its sender is told this size
  std::uint16_t outer{kNotCut};  // bytes of outer packet that the way to the far end is known to carry
};

// What the workers look at; the arrays are as long as max_tunnels.
struct alignas(32) TunnelSlot {
  std::atomic<OutboundSa*> outbound;  // what the tunnel sends on; null: down
  std::atomic<const Tunnel*> tunnel;  // null: no such tunnel
  std::atomic<Fit> fit;
};

}  // namespace espgate::dataplane
