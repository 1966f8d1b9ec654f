#include "dataplane/offload/lookaside.hpp"

#include <fmt/format.h>
#include <rte_errno.h>
#include <rte_mempool.h>

#include <stdexcept>
#include <utility>

#include "dataplane/log.hpp"

namespace espgate::dataplane {

namespace {

using channel::Direction;

constexpr unsigned kOffersAtOnce = 16;
constexpr std::memory_order kRelaxed = std::memory_order_relaxed;

void mark(OutboundSa& sa, bool by_device) noexcept {
  NextHop hop = sa.outer.load(kRelaxed);
  if (hop.kind != NextHopKind::gateway) return;
  hop.card = by_device ? kSealedByDevice : std::uint16_t{0};
  sa.outer.store(hop, std::memory_order_release);
}
void mark(InboundSa& sa, bool by_device) noexcept {
  sa.card.store(by_device ? kOpenedByDevice : std::uint8_t{0}, std::memory_order_release);
}

// A card's, by offload.hpp.
bool is_taken(const OutboundSa& sa) noexcept { return sa.outer.load(kRelaxed).card == kSealedByCard; }
bool is_taken(const InboundSa& sa) noexcept {
  const std::uint8_t card = sa.card.load(kRelaxed);
  return card != 0 && card != kOpenedByDevice;
}

}  // namespace

void FreeOperations::operator()(rte_mempool* pool) const noexcept { rte_mempool_free(pool); }

Lookaside::~Lookaside() {
  tables_.rcu.wait();
  const auto forget = [](Entry& entry) {
    if (entry.held && !entry.given_back && !entry.device->link().given_up.load(kRelaxed))
      entry.device->forget(*entry.held);
  };
  for (auto& [sa, entry] : outbound_) forget(entry);
  for (auto& [sa, entry] : inbound_) forget(entry);
}

void Lookaside::use(std::vector<std::unique_ptr<CryptoDevice>> devices, const std::vector<Worker*>& workers) {
  devices_ = std::move(devices);
  buried_.assign(devices_.size(), false);
  if (devices_.empty()) return;
  std::vector<DeviceLink*> links;
  for (const auto& device : devices_) links.push_back(&device->link());
  for (Worker* const worker : workers) {
    rte_mempool* const pool =
        Flights::make_operations(fmt::format("crypto-operations-{}", worker->index).c_str(),
                                 static_cast<unsigned>(devices_.size()), devices_[0]->socket());
    if (pool == nullptr)
      throw std::runtime_error(fmt::format(
          "no memory for the crypto devices' operations: {}; give `memory` more", rte_strerror(rte_errno)));
    operations_.emplace_back(pool);
    flights_.push_back(std::make_unique<Flights>(links, static_cast<std::uint16_t>(worker->index), pool));
    worker->flights = flights_.back().get();
  }
}

Lookaside::Entry Lookaside::make_entry(const channel::InstallSa& install, Direction direction) {
  return {.sa = describe_for_card(install, direction), .esn = install.esn != 0};
}

void Lookaside::adopt(OutboundSa& sa, const channel::InstallSa& install) {
  Entry entry = make_entry(install, Direction::outbound);
  if (choose(entry) == nullptr) return;
  sa.plain = false;
  outbound_.insert_or_assign(&sa, std::move(entry));
}

void Lookaside::adopt(InboundSa& sa, const channel::InstallSa& install) {
  Entry entry = make_entry(install, Direction::inbound);
  if (choose(entry) == nullptr) return;
  sa.plain = false;
  if (offer(entry)) {
    sa.device.store(entry.held.get(), std::memory_order_release);
    mark(sa, true);
  }
  inbound_.insert_or_assign(&sa, std::move(entry));
}

bool Lookaside::has(OutboundSa& sa) const {
  const auto found = outbound_.find(&sa);
  return found != outbound_.end() && found->second.held != nullptr;
}

bool Lookaside::take(OutboundSa& sa) {
  const auto found = outbound_.find(&sa);
  if (found == outbound_.end()) return false;
  Entry& entry = found->second;
  if (entry.held) return true;
  if (!offer(entry)) return false;
  sa.device.store(entry.held.get(), std::memory_order_release);
  return true;
}

// Packets may still be in the line of the device that had the SA before, so it is that or none; else the one
// with the fewest sessions.
CryptoDevice* Lookaside::choose(const Entry& entry) const noexcept {
  CryptoDevice* chosen = nullptr;
  for (std::size_t i = 0; i < devices_.size(); ++i) {
    CryptoDevice* const device = devices_[i].get();
    if (buried_[i] || device->link().given_up.load(kRelaxed) || !device->can(*entry.sa.suite, entry.esn))
      continue;
    if (entry.device != nullptr && entry.device != device) continue;
    if (chosen == nullptr || device->sessions() < chosen->sessions()) chosen = device;
  }
  return chosen;
}

bool Lookaside::offer(Entry& entry) {
  CryptoDevice* const device = choose(entry);
  std::shared_ptr<HeldByDevice> held = device != nullptr ? device->hold(entry.sa, entry.esn) : nullptr;
  if (!held) return false;
  if (entry.held) tables_.rcu.retire([keep = std::move(entry.held)] {});
  entry.held = std::move(held);
  entry.device = device;
  entry.given_back = false;
  return true;
}

// A worker's packets hold it until the worker's quiet point. What a device that was given up still has of it
// nobody knows: there, sessions stay.
void Lookaside::give_back(Entry& entry) {
  if (!entry.held || std::exchange(entry.given_back, true)) return;
  tables_.rcu.retire([this, device = entry.device, held = entry.held] {
    if (device->link().given_up.load(kRelaxed))
      kept_.push_back(held);
    else
      device->forget(*held);
  });
}

template <class Sa>
void Lookaside::release(std::map<Sa*, Entry>& entries, Sa& sa) {
  const auto found = entries.find(&sa);
  if (found == entries.end()) return;
  give_back(found->second);
  if (found->second.held) tables_.rcu.retire([keep = std::move(found->second.held)] {});
  entries.erase(found);
}
void Lookaside::release(OutboundSa& sa) { release(outbound_, sa); }
void Lookaside::release(InboundSa& sa) { release(inbound_, sa); }

// The lines of the device are empty, so what the engine does from now on overtakes nothing.
template <class Sa>
void Lookaside::vacate(std::map<Sa*, Entry>& entries, const CryptoDevice& device) {
  for (auto& [sa, entry] : entries) {
    if (entry.device != &device) continue;
    mark(*sa, false);
    if (entry.held) kept_.push_back(std::move(entry.held));
    entry = Entry{.sa = std::move(entry.sa), .esn = entry.esn};
  }
}

void Lookaside::watch() {
  for (std::size_t i = 0; i < devices_.size(); ++i) {
    CryptoDevice& device = *devices_[i];
    if (buried_[i] || !device.link().given_up.load(kRelaxed)) continue;
    buried_[i] = true;
    log_line("crypto device {} did not answer for {} ms and is given up; software does its {} SAs",
             device.name(), Flights::kPatience / 1'000'000, device.sessions());
    tables_.rcu.retire([this, &device] {
      vacate(outbound_, device);
      vacate(inbound_, device);
    });
  }
}

template <class Sa>
void Lookaside::poll(std::map<Sa*, Entry>& entries, std::uint64_t now, unsigned& offers) {
  for (auto& [sa, entry] : entries) {
    if (entry.held && !entry.given_back && entry.held->lost.load(kRelaxed)) {
      give_back(entry);
      entry.again.postpone(now);
    }
    const bool held = entry.held && !entry.given_back;
    if (held || is_taken(*sa) || offers == 0 || !entry.again.is_due(now) || choose(entry) == nullptr)
      continue;
    --offers;
    if (!offer(entry)) {
      entry.again.postpone(now);
      continue;
    }
    sa->device.store(entry.held.get(), std::memory_order_release);
    mark(*sa, true);
  }
}

void Lookaside::tell(channel::CountersHeader& page) const {
  for (std::size_t i = 0; i < devices_.size(); ++i) {
    const CryptoDevice& device = *devices_[i];
    channel::CryptoDeviceStatus& status = page.crypto_devices[i];
    if (status.state.load(kRelaxed) == channel::CryptoDeviceState::absent) {
      device.name().copy(status.name.data(), status.name.size() - 1);
      device.driver().copy(status.driver.data(), status.driver.size() - 1);
      device.describe().copy(status.suites.data(), status.suites.size() - 1);
      status.most_sessions.store(device.most_sessions(), kRelaxed);
      status.queue_pairs.store(static_cast<std::uint32_t>(flights_.size()), kRelaxed);
    }
    status.sessions.store(device.sessions(), kRelaxed);
    const bool given_up = device.link().given_up.load(kRelaxed);
    status.state.store(given_up ? channel::CryptoDeviceState::given_up : channel::CryptoDeviceState::works,
                       kRelaxed);
  }
}

void Lookaside::poll(std::uint64_t now) {
  if (devices_.empty()) return;
  watch();
  unsigned offers = kOffersAtOnce;
  poll(outbound_, now, offers);
  poll(inbound_, now, offers);
}

}  // namespace espgate::dataplane
