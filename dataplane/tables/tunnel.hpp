// Virtual tunnel interfaces and groups of them, as the workers see them.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "channel/messages.hpp"
#include "dataplane/tables/sa.hpp"

namespace espgate::dataplane {

// What a worker needs to know of a tunnel apart from its SAs. Replaced whole, retired through Rcu.
struct Tunnel {
  std::uint16_t mtu;  // bytes of inner packet, always set (derived where the configuration says 0)
  bool clamp_mss;
  IpAddress address4;  // the interface's own addresses, source of ICMP errors; may be unset
  IpAddress address6;
};

// One cache line per tunnel; the arrays are as long as max_tunnels.
struct alignas(64) TunnelSlot {
  std::atomic<OutboundSa*> outbound;  // what the tunnel sends on; null: down
  std::atomic<const Tunnel*> tunnel;  // null: no such tunnel
};

// ECMP: a flow's hash picks a bucket; the main thread fills the buckets with the members that are up, and
// moves only the buckets it must when one goes or returns.
struct Group {
  static constexpr std::uint32_t kBuckets = 256;
  static constexpr std::uint32_t kNoTunnel = 0xffffffff;  // in every bucket while no member is up
  std::array<std::uint32_t, kBuckets> buckets;
};

}  // namespace espgate::dataplane
