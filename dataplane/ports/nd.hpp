// Neighbour discovery for IPv6 (RFC 4861): solicitations and advertisements. Main thread only.
#pragma once

#include <cstdint>
#include <vector>

#include "dataplane/ports/interfaces.hpp"
#include "dataplane/ports/outbox.hpp"

namespace espgate::dataplane {

class Resolver;

// Asks the solicited-node group of `target`, or `known` alone, for its MAC.
void send_solicitation(Outbox& outbox, std::uint8_t port, const Interface& interface, const IpAddress& target,
                       const Mac* known) noexcept;
// An unsolicited advertisement to all nodes (RFC 4861 section 7.2.6).
void announce_by_nd(Outbox& outbox, std::uint8_t port, const Interface& interface,
                    const IpAddress& own) noexcept;

// The MAC addresses of the groups that it listens to on an interface: all nodes, all routers, and those of
// which its addresses are solicited nodes.
[[nodiscard]] std::vector<Mac> discovery_groups(const Interface& interface);

// Is this ICMPv6 type one of neighbour discovery's (133..137)?
[[nodiscard]] constexpr bool is_neighbour_discovery(std::uint8_t type) noexcept {
  return type >= 133 && type <= 137;
}

// `packet` (data at the IPv6 header; `icmp` bytes before the ICMPv6 header, `length` bytes in all, checksum
// verified) came in on `port`. Answers, learns, and frees it.
void handle_nd(Outbox& outbox, Resolver& resolver, std::uint8_t port, const Interface& interface,
               rte_mbuf* packet, std::uint16_t icmp, std::uint16_t length, std::uint64_t now);

}  // namespace espgate::dataplane
