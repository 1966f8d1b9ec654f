#include "control/tunnels/spi_allocator.hpp"

#include <algorithm>
#include <random>

#include "channel/spi.hpp"

namespace espgate::control {

SpiAllocator::SpiAllocator(const channel::Hello& shape, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  workers_.resize(std::clamp(shape.workers, 1U, channel::kMaxSpiWorkers));
  for (Worker& worker : workers_) {
    worker.slots.resize(std::min(shape.inbound_slots, channel::kMaxSpiSlots));
    for (std::uint32_t slot = 0; slot < worker.slots.size(); ++slot) {
      worker.slots[slot].generation = static_cast<std::uint8_t>(random());
      worker.free.push_back(slot);
    }
  }
}

std::uint32_t SpiAllocator::worker_of(std::uint32_t tunnel) const noexcept {
  return tunnel % static_cast<std::uint32_t>(workers_.size());
}

std::uint32_t SpiAllocator::allocate(std::uint32_t tunnel) {
  const std::uint32_t worker = worker_of(tunnel);
  auto& [slots, free] = workers_[worker];
  while (!free.empty()) {
    const std::uint32_t index = free.front();
    free.pop_front();
    Slot& slot = slots[index];
    slot.queued = false;
    if (slot.taken) continue;
    slot.taken = true;
    ++slot.generation;
    if (channel::make_spi(worker, slot.generation, index) < channel::kFirstFreeSpi) ++slot.generation;
    return channel::make_spi(worker, slot.generation, index);
  }
  return 0;
}

const SpiAllocator::Slot* SpiAllocator::find(std::uint32_t spi) const noexcept {
  const std::uint32_t worker = channel::spi_worker(spi);
  const std::uint32_t slot = channel::spi_slot(spi);
  if (worker >= workers_.size() || slot >= workers_[worker].slots.size()) return nullptr;
  return &workers_[worker].slots[slot];
}

bool SpiAllocator::is_allocated(std::uint32_t spi) const noexcept {
  const Slot* slot = find(spi);
  return slot != nullptr && slot->taken && slot->generation == channel::spi_generation(spi);
}

void SpiAllocator::release(std::uint32_t spi) {
  if (!is_allocated(spi)) return;
  Worker& worker = workers_[channel::spi_worker(spi)];
  Slot& slot = worker.slots[channel::spi_slot(spi)];
  slot.taken = false;
  if (slot.queued) return;
  slot.queued = true;
  worker.free.push_back(channel::spi_slot(spi));
}

bool SpiAllocator::claim(std::uint32_t spi) {
  const Slot* found = find(spi);
  if (found == nullptr || found->taken) return false;
  Slot& slot = workers_[channel::spi_worker(spi)].slots[channel::spi_slot(spi)];
  slot.taken = true;
  slot.generation = static_cast<std::uint8_t>(channel::spi_generation(spi));
  return true;
}

}  // namespace espgate::control
