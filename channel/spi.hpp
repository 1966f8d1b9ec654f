// The SPIs that we choose for inbound SAs are addresses: worker (6 bits) | generation (8) | slot (18).
// The generation tells a slot's present SA from the one it held before, so that a late packet of a removed SA
// is a named drop and not somebody else's integrity failure.
#pragma once

#include <cstdint>

namespace espgate::channel {

inline constexpr std::uint32_t kSpiSlotBits = 18;
inline constexpr std::uint32_t kSpiGenerationBits = 8;
inline constexpr std::uint32_t kMaxSpiSlots = 1U << kSpiSlotBits;
inline constexpr std::uint32_t kMaxSpiWorkers = 1U << (32 - kSpiSlotBits - kSpiGenerationBits);
inline constexpr std::uint32_t kFirstFreeSpi = 256;  // RFC 4303 section 2.1: 0..255 are reserved

[[nodiscard]] constexpr std::uint32_t make_spi(std::uint32_t worker, std::uint32_t generation,
                                               std::uint32_t slot) noexcept {
  return worker << (kSpiSlotBits + kSpiGenerationBits) |
         (generation & ((1U << kSpiGenerationBits) - 1)) << kSpiSlotBits | (slot & (kMaxSpiSlots - 1));
}
[[nodiscard]] constexpr std::uint32_t spi_worker(std::uint32_t spi) noexcept {
  return spi >> (kSpiSlotBits + kSpiGenerationBits);
}
[[nodiscard]] constexpr std::uint32_t spi_generation(std::uint32_t spi) noexcept {
  return (spi >> kSpiSlotBits) & ((1U << kSpiGenerationBits) - 1);
}
[[nodiscard]] constexpr std::uint32_t spi_slot(std::uint32_t spi) noexcept {
  return spi & (kMaxSpiSlots - 1);
}

}  // namespace espgate::channel
