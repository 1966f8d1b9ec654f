// A child SA's traffic selectors against a packet (RFC 4301 section 4.4.1.1, RFC 7296 section 3.13.1).
#pragma once

#include "dataplane/path/headers.hpp"
#include "dataplane/tables/sa.hpp"

namespace espgate::dataplane {

// `outbound`: the packet's source is matched with the local selectors and its destination with the remote
// ones; inbound the other way round.
[[nodiscard]] bool ranges_allow(const SelectorSet& set, const std::uint8_t* ip, Family family,
                                std::uint16_t length, bool outbound) noexcept;

template <class Sa>
[[nodiscard]] bool selectors_allow(const Sa& sa, const std::uint8_t* ip, Family family, std::uint16_t length,
                                   bool outbound) noexcept {
  return sa.any.has(family) || ranges_allow(*sa.selectors, ip, family, length, outbound);
}

}  // namespace espgate::dataplane
