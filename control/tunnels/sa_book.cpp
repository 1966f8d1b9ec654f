#include "control/tunnels/sa_book.hpp"

#include <algorithm>

#include "channel/spi.hpp"

namespace espgate::control {

namespace {
const std::vector<ChildRecord> kNone;
}

ChildRecord* SaBook::locate(TunnelId tunnel, std::uint32_t inbound_spi) {
  const auto found = by_tunnel_.find(tunnel);
  if (found == by_tunnel_.end()) return nullptr;
  for (ChildRecord& record : found->second)
    if (record.inbound_spi == inbound_spi) return &record;
  return nullptr;
}

ChildRecord& SaBook::put(const ChildRecord& record) {
  ChildRecord* present = locate(record.tunnel, record.inbound_spi);
  if (present == nullptr) {
    std::vector<ChildRecord>& records = by_tunnel_[record.tunnel];
    records.push_back(record);
    present = &records.back();
    present->remove_at.reset();
  } else {
    const std::optional<Time> remove_at = present->remove_at;
    *present = record;
    present->remove_at = remove_at;
  }
  if (record.remove_at) schedule(*present, *record.remove_at);
  return *present;
}

void SaBook::schedule(ChildRecord& record, Time when) {
  if (record.remove_at) removals_.erase({*record.remove_at, record.tunnel, record.inbound_spi});
  record.remove_at = when;
  removals_.emplace(when, record.tunnel, record.inbound_spi);
}

void SaBook::forget(std::vector<ChildRecord>& records, std::size_t position) {
  const ChildRecord gone = records[position];
  if (gone.remove_at) removals_.erase({*gone.remove_at, gone.tunnel, gone.inbound_spi});
  records.erase(records.begin() + static_cast<std::ptrdiff_t>(position));
  if (records.empty()) by_tunnel_.erase(gone.tunnel);
}

void SaBook::inbound_removed(TunnelId tunnel, std::uint32_t inbound_spi) {
  ChildRecord* record = locate(tunnel, inbound_spi);
  if (record == nullptr) return;
  record->inbound_installed = false;
  if (!record->outbound_installed) erase(tunnel, inbound_spi);
}

void SaBook::outbound_removed(TunnelId tunnel, std::uint32_t outbound_spi) {
  const ChildRecord* found = find_outbound(tunnel, outbound_spi);
  if (found == nullptr) return;
  ChildRecord* record = locate(tunnel, found->inbound_spi);
  record->outbound_installed = false;
  if (!record->inbound_installed) erase(tunnel, record->inbound_spi);
}

void SaBook::erase(TunnelId tunnel, std::uint32_t inbound_spi) {
  const auto found = by_tunnel_.find(tunnel);
  if (found == by_tunnel_.end()) return;
  for (std::size_t position = 0; position < found->second.size(); ++position) {
    if (found->second[position].inbound_spi != inbound_spi) continue;
    forget(found->second, position);
    return;
  }
}

void SaBook::clear() {
  by_tunnel_.clear();
  removals_.clear();
}

const std::vector<ChildRecord>& SaBook::of(TunnelId tunnel) const {
  const auto found = by_tunnel_.find(tunnel);
  return found == by_tunnel_.end() ? kNone : found->second;
}

const ChildRecord* SaBook::find(TunnelId tunnel, std::uint32_t inbound_spi) const {
  for (const ChildRecord& record : of(tunnel))
    if (record.inbound_spi == inbound_spi) return &record;
  return nullptr;
}

const ChildRecord* SaBook::find_outbound(TunnelId tunnel, std::uint32_t outbound_spi) const {
  for (const ChildRecord& record : of(tunnel))
    if (record.outbound_spi == outbound_spi) return &record;
  return nullptr;
}

std::vector<TunnelId> SaBook::tunnels() const {
  std::vector<TunnelId> found;
  for (const auto& [tunnel, records] : by_tunnel_) found.push_back(tunnel);
  std::sort(found.begin(), found.end());
  return found;
}

bool SaBook::carried_by_own(TunnelId tunnel) const {
  const std::vector<ChildRecord>& records = of(tunnel);
  return std::any_of(records.begin(), records.end(),
                     [](const ChildRecord& record) { return !record.adopted && record.outbound_installed; });
}

bool SaBook::carried_by_adopted(TunnelId tunnel) const {
  const std::vector<ChildRecord>& records = of(tunnel);
  return std::any_of(records.begin(), records.end(),
                     [](const ChildRecord& record) { return record.adopted && record.outbound_installed; });
}

bool SaBook::has_adopted(TunnelId tunnel) const {
  const std::vector<ChildRecord>& records = of(tunnel);
  return std::any_of(records.begin(), records.end(),
                     [](const ChildRecord& record) { return record.adopted; });
}

void SaBook::retire_adopted(TunnelId tunnel, Time when) {
  const auto found = by_tunnel_.find(tunnel);
  if (found == by_tunnel_.end()) return;
  for (ChildRecord& record : found->second)
    if (record.adopted && (!record.remove_at || *record.remove_at > when)) schedule(record, when);
}

std::optional<Time> SaBook::next_removal() const {
  if (removals_.empty()) return std::nullopt;
  return std::get<Time>(*removals_.begin());
}

std::vector<ChildRecord> SaBook::due(Time now) const {
  std::vector<ChildRecord> found;
  for (const auto& [when, tunnel, spi] : removals_) {
    if (when > now) break;
    found.push_back(*find(tunnel, spi));
  }
  return found;
}

const channel::SaStatus* inbound_status(const channel::CountersView& page, std::uint32_t spi) {
  const std::uint32_t worker = channel::spi_worker(spi);
  const std::uint32_t slot = channel::spi_slot(spi);
  if (worker >= page.shape().workers || slot >= page.shape().inbound_slots) return nullptr;
  const channel::SaStatus& status = page.inbound(worker)[slot];
  return status.spi.load(std::memory_order_relaxed) == spi ? &status : nullptr;
}

OutboundStatuses::OutboundStatuses(const channel::CountersView& page, std::optional<TunnelId> only) {
  for (std::uint32_t worker = 0; worker < page.shape().workers; ++worker) {
    const channel::SaStatus* slots = page.outbound(worker);
    for (std::uint32_t slot = 0; slot < page.shape().outbound_slots; ++slot) {
      const std::uint32_t spi = slots[slot].spi.load(std::memory_order_relaxed);
      const TunnelId tunnel = slots[slot].tunnel.load(std::memory_order_relaxed);
      if (spi != 0 && (!only || tunnel == *only)) by_spi_[{tunnel, spi}] = &slots[slot];
    }
  }
}

const channel::SaStatus* OutboundStatuses::find(TunnelId tunnel, std::uint32_t spi) const {
  const auto found = by_spi_.find({tunnel, spi});
  return found == by_spi_.end() ? nullptr : found->second;
}

std::optional<Time> last_inbound(const channel::CountersView& page, const std::vector<ChildRecord>& records) {
  std::uint64_t newest = 0;
  for (const ChildRecord& record : records)
    if (const channel::SaStatus* status = inbound_status(page, record.inbound_spi))
      newest = std::max(newest, status->last_used_ns.load(std::memory_order_relaxed));
  if (newest == 0) return std::nullopt;
  // Both clocks are CLOCK_MONOTONIC.
  return Time(std::chrono::nanoseconds(newest));
}

}  // namespace espgate::control
