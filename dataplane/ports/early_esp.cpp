#include "dataplane/ports/early_esp.hpp"

#include "channel/spi.hpp"

namespace espgate::dataplane {

EarlyEsp::~EarlyEsp() {
  for (std::size_t i = 0; i < count_; i++) rte_pktmbuf_free(kept_[i].packet);
}

// Of the SA in the slot that `spi` names; 0: the slot is free. The worker and slot must exist.
std::uint32_t EarlyEsp::present_spi(std::uint32_t spi) const noexcept {
  const InboundTable& table = tables_.inbound[channel::spi_worker(spi)];
  return table.slots[channel::spi_slot(spi)].spi.load(std::memory_order_relaxed);
}

bool EarlyEsp::keep(rte_mbuf* packet, std::uint32_t spi, std::uint64_t now) noexcept {
  const bool exists = channel::spi_worker(spi) < tables_.shape.workers &&
                      channel::spi_slot(spi) < tables_.shape.inbound_slots;
  if (count_ == kMost || !exists || spi < channel::kFirstFreeSpi) return false;
  const std::uint32_t present = present_spi(spi);
  if (present != 0 && present != spi) return false;
  kept_[count_++] = {packet, spi, now + kPatienceNs};
  return true;
}

void EarlyEsp::advance(std::uint64_t now) {
  std::size_t left = 0;
  for (std::size_t i = 0; i < count_; i++) {
    const Kept kept = kept_[i];
    if (present_spi(kept.spi) == kept.spi)
      outbox_.decrypt(channel::spi_worker(kept.spi), kept.packet);
    else if (now >= kept.until)
      in_vain_(kept.packet, now);
    else
      kept_[left++] = kept;
  }
  count_ = left;
}

}  // namespace espgate::dataplane
