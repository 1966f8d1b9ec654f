// What encapsulate writes around a packet. The plain form, IPv4 outside in tunnel mode, is the encrypt way's
// own (encrypt.cpp); here is what it shares with the others, and these.
#pragma once

#include <array>
#include <cstring>

#include "dataplane/path/ways.hpp"

namespace espgate::dataplane {

// RFC 4303 section 2.4: padding to the suite's alignment, its length, and what is inside. Writes 16 bytes at
// `at`, for which fit_mtu made sure there is room. Returns the trailer's length.
inline unsigned write_trailer(std::uint8_t* at, const OutboundSa& sa, unsigned length,
                              unsigned next_header) noexcept {
  static constexpr std::array<std::uint8_t, 16> kPadding{1, 2,  3,  4,  5,  6,  7,  8,
                                                         9, 10, 11, 12, 13, 14, 15, 16};
  const unsigned padding = (0U - length - 2U) & (sa.alignment - 1U);
  std::memcpy(at, kPadding.data(), kPadding.size());
  store(at + padding, static_cast<std::uint16_t>(padding | next_header << 8));
  return padding + 2;
}

// encapsulate for every SA that is not plain: IPv6 outside, transport mode, outer fields of the tunnel's own
// choice, TFC padding, a card that seals. False: disposed of.
[[nodiscard]] bool encapsulate_otherwise(Worker& worker, Packet& packet) noexcept;

// After seal: the UDP checksums that IPv6 wants of ESP in UDP (RFC 8200 section 8.1).
void finish_checksums(Worker& worker, Burst& burst) noexcept;

}  // namespace espgate::dataplane
