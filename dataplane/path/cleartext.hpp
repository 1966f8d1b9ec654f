// Ports that are encrypted-only: what crosses them in clear is between this gateway and others on the
// underlay, and of few kinds.
#pragma once

#include "dataplane/path/burst.hpp"
#include "dataplane/path/headers.hpp"

namespace espgate::dataplane {

// Of an IP packet to or from this gateway itself: ESP, IKE and ESP in UDP; BGP (RFC 4271), BFD (RFC 5881,
// 5883) and OSPF; neighbour discovery and ICMP errors. Later fragments of ESP and UDP, too: what they come to
// is asked again.
[[nodiscard]] bool may_be_in_clear(const std::uint8_t* ip, Family family, std::uint16_t length) noexcept;

// Drops, as cleartext_in, what came by an encrypted-only port and is not for this gateway itself. What is,
// the main thread asks about.
void refuse_cleartext(Worker& worker, Burst& burst) noexcept;

}  // namespace espgate::dataplane
