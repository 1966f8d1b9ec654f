// Inbound SPIs (RFC 4301's SPI, chosen by the receiver). Ours are addresses of slots in the dataplane's
// per-worker SA tables (channel/spi.hpp), so to allocate one is to choose a worker and a free slot. One
// thread.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "channel/messages.hpp"

namespace espgate::control {

class SpiAllocator {
 public:
  // `shape` as the dataplane told it; counts beyond what an SPI can name are not used. Generations begin at
  // random, from `seed`, so that a packet of a former run seldom finds its old number in use again.
  SpiAllocator(const channel::Hello& shape, std::uint64_t seed);

  // The worker that owns both directions of the tunnel's SAs: tunnels go round robin.
  [[nodiscard]] std::uint32_t worker_of(std::uint32_t tunnel) const noexcept;

  // A slot of the tunnel's worker, the one longest free; 0 when none is. Never below 256 (RFC 4303
  // section 2.1).
  [[nodiscard]] std::uint32_t allocate(std::uint32_t tunnel);
  // No effect on an SPI that is not allocated.
  void release(std::uint32_t spi);
  // An SPI that the dataplane holds already. False: no such slot, or taken.
  bool claim(std::uint32_t spi);
  [[nodiscard]] bool is_allocated(std::uint32_t spi) const noexcept;

 private:
  struct Slot {
    std::uint8_t generation{0};  // of the SPI given out last
    bool taken{false};
    bool queued{true};  // stands in `free`
  };
  struct Worker {
    std::vector<Slot> slots;
    std::deque<std::uint32_t>
        free;  // oldest first; a claimed slot stays here until its turn comes, then is skipped
  };
  [[nodiscard]] const Slot* find(std::uint32_t spi) const noexcept;

  std::vector<Worker> workers_;
};

}  // namespace espgate::control
