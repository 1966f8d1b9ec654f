// Ports that are encrypted-only: what crosses them in clear is between this gateway and others on the
// underlay, and of few kinds.
#pragma once

#include "dataplane/path/burst.hpp"
#include "dataplane/path/headers.hpp"

namespace espgate::dataplane {

// Of an IP packet to this gateway itself, or made here: ESP, IKE and ESP in UDP to or from our ports of it;
// BGP (RFC 4271), BFD (RFC 5881, 5883) and OSPF; neighbour discovery and ICMP errors. Later fragments of ESP;
// of UDP those that come in: what they make up is asked again.
[[nodiscard]] bool may_come_in_clear(const std::uint8_t* ip, Family family, std::uint16_t length) noexcept;
[[nodiscard]] bool may_go_in_clear(const std::uint8_t* ip, Family family, std::uint16_t length) noexcept;

// Drops, as cleartext_in, what came by an encrypted-only port and is not for this gateway itself. What is,
// the main thread asks about.
void refuse_cleartext(Worker& worker, Burst& burst) noexcept;

}  // namespace espgate::dataplane
