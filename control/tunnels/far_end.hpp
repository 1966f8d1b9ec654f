// What the dataplane says of a watched tunnel's far end, in words.
#pragma once

#include <string>

#include "channel/messages.hpp"

namespace espgate::control {

// "BFD: no packet for 150 ms". `heard` may hold anything.
[[nodiscard]] std::string far_end_words(const channel::TunnelLiveness& heard);
// "192.0.2.2 says that nobody listens on its UDP port 500 (ICMP)". `said` may hold anything.
[[nodiscard]] std::string unreachable_words(const channel::IkeUnreachable& said);
// RFC 5880 section 4.1: "up". `state`: as on the wire.
[[nodiscard]] const char* bfd_state_name(std::uint8_t state) noexcept;

}  // namespace espgate::control
