// Ports whose devices vanish, and come back.
#include <exception>
#include <utility>

#include "dataplane/log.hpp"
#include "dataplane/ports/ports.hpp"

namespace espgate::dataplane {

void Ports::watch(unsigned index, std::uint64_t now, const Changed& changed) {
  const State& port = ports_[index];
  switch (port.stage) {
    case Stage::present:
      if (port.device->health() != Device::Health::well) take_out(index, now, changed);
      return;
    case Stage::leaving:
      return;
    case Stage::released:
      return let_go(index, now);
    case Stage::absent:
      if (now >= port.retry_ns && port.device->can_return()) look_for(index, now);
      return;
  }
}

// The ports on it are down at once; the device itself stays until no worker can be using it.
void Ports::take_out(unsigned index, std::uint64_t now, const Changed& changed) {
  State& device = ports_[index];
  const bool gone = device.device->health() == Device::Health::gone;
  log_line("port {}: {}", device.name,
           gone ? "its device is gone; it is looked for" : "its device wants a reset");
  device.stage = Stage::leaving;
  for (unsigned p = 0; p < ports_.size(); p++) {
    if (ports_[p].parent != index) continue;
    tables_.ports[p].up.store(false, std::memory_order_relaxed);
    tables_.ports[p].ethdev.store(PortInfo::kNoDevice, std::memory_order_relaxed);
    set_flags(p, false, false, now);
    changed(p, PortChange::absent);
  }
  if (offload_ != nullptr) offload_->port_went(index, false);
  tables_.rcu.retire([&device] { device.stage = Stage::released; });
}

void Ports::let_go(unsigned index, std::uint64_t now) {
  State& port = ports_[index];
  if (offload_ != nullptr) offload_->remove(index);
  const bool reset = port.device->health() == Device::Health::wants_reset;
  port.stage = Stage::absent;
  port.pause = kFirstRetry;
  port.retry_ns = reset ? now : now + kFirstRetry;
  port.said.clear();
  try {
    if (reset) {
      port.device->reset();
      return put_in(index, now);
    }
  } catch (const std::exception& error) {
    log_line("{}", error.what());
  }
  port.device->remove();
}

void Ports::look_for(unsigned index, std::uint64_t now) {
  State& port = ports_[index];
  try {
    port.device->reopen(!port.said.empty());
    return put_in(index, now);
  } catch (const std::exception& error) {
    port.device->remove();
    port.retry_ns = now + port.pause;
    port.pause = std::min(2 * port.pause, kLastRetry);
    if (port.said == error.what()) return;
    port.said = error.what();
    log_line("{}; it is tried again", port.said);
  }
}

// Everything that the start did; only then do the workers see it. Whether it is up, its link tells.
void Ports::put_in(unsigned index, std::uint64_t now) {
  take_address(index);
  bring_up(index);
  offer_card(index);
  publish_device(index);
  ports_[index].stage = Stage::present;
  for (unsigned p = 0; p < ports_.size(); p++) {
    if (ports_[p].parent != index) continue;
    ports_[p].renewed = true;
    set_flags(p, true, false, now);
    tell_spreading(p);
  }
  log_line("port {}: its device is back", ports_[index].name);
}

}  // namespace espgate::dataplane
