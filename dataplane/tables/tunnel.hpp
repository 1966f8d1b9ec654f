// Virtual tunnel interfaces and groups of them, as the workers see them.
#pragma once

#include <array>
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
};

// What every packet into a tunnel must fit.
struct alignas(4) Fit {
  std::uint16_t mtu{0};  // bytes of inner packet (derived where the configuration says 0); 0: no such tunnel
  bool clamp_mss{false};
  bool spread{false};  // no measure, but every burst asks: other workers may help with the cryptography
};

// What the workers look at; the arrays are as long as max_tunnels.
struct alignas(32) TunnelSlot {
  std::atomic<OutboundSa*> outbound;  // what the tunnel sends on; null: down
  std::atomic<const Tunnel*> tunnel;  // null: no such tunnel
  std::atomic<Fit> fit;
};

// ECMP: a flow's hash picks a bucket; the main thread fills the buckets with the members that are up, and
// moves only the buckets it must when one goes or returns.
struct Group {
  static constexpr std::uint32_t kBuckets = 256;
  static constexpr std::uint32_t kNoTunnel = 0xffffffff;  // in every bucket while no member is up
  std::array<std::uint32_t, kBuckets> buckets;
};

}  // namespace espgate::dataplane
