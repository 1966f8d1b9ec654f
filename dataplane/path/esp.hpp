// What a received ESP packet says of itself, and where its SA must be.
#pragma once

#include "channel/spi.hpp"
#include "dataplane/path/ways.hpp"

namespace espgate::dataplane {

[[nodiscard]] inline std::uint32_t spi_of(const Packet& packet) noexcept {
  return load32(packet.ip + packet.esp);
}
// From the SPI on.
[[nodiscard]] inline std::uint16_t esp_length(const Packet& packet) noexcept {
  return static_cast<std::uint16_t>(packet.length - packet.esp);
}

// The SPI is the address of the SA's slot. nullptr: it can't be one of this worker's.
[[nodiscard]] inline InboundSa* slot_of(const Worker& worker, const Packet& packet) noexcept {
  if (esp_length(packet) < kEsp) return nullptr;
  const std::uint32_t spi = spi_of(packet);
  const InboundTable& table = worker.tables->inbound[worker.index];
  const std::uint32_t slot = channel::spi_slot(spi);
  // RFC 4303 section 2.1: 0 to 255 are reserved; 0 also marks a free slot.
  if (spi < channel::kFirstFreeSpi || channel::spi_worker(spi) != worker.index || slot >= table.count)
    return nullptr;
  return table.slots + slot;
}

}  // namespace espgate::dataplane
