// BFD's control packets in UDP over one hop (RFC 5881). Main thread only.
#pragma once

#include <cstdint>
#include <optional>

#include "dataplane/liveness/bfd.hpp"
#include "dataplane/ports/outbox.hpp"

namespace espgate::dataplane {

inline constexpr std::uint16_t kBfdPort = 3784;
inline constexpr std::uint16_t kFirstBfdSource = 49152;  // up to 65535
inline constexpr std::uint8_t kBfdHops = 255;            // TTL or hop limit, both ways (RFC 5881 section 5)

// Of one family.
struct BfdEnds {
  IpAddress local;
  IpAddress peer;
  std::uint16_t source_port{kFirstBfdSource};
};

// Null: no buffer was free; counted.
[[nodiscard]] rte_mbuf* make_bfd(Outbox& outbox, const BfdEnds& ends,
                                 const bfd::ControlPacket& packet) noexcept;

// What is behind an IP packet's header: its data are at an IP header, a whole packet of one segment. A
// control packet, or why it must be dropped.
struct BfdHeard {
  std::optional<bfd::ControlPacket> packet;
  DropReason reason{};
};
[[nodiscard]] BfdHeard read_bfd(rte_mbuf* packet) noexcept;

}  // namespace espgate::dataplane
