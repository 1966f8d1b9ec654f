#include "dataplane/ports/ports.hpp"

#include <rte_ethdev.h>

#include <algorithm>
#include <set>
#include <stdexcept>

#include "dataplane/log.hpp"
#include "dataplane/ports/nd.hpp"

namespace espgate::dataplane {

namespace {

constexpr std::uint16_t kFrameExtra = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN + RTE_VLAN_HLEN;

// The configuration was checked: there is a port of that name, with a device.
unsigned parent_of(const std::vector<conf::Port>& ports, unsigned index) {
  if (ports[index].parent.empty()) return index;
  const auto named = [&](const conf::Port& port) { return port.name == ports[index].parent; };
  return static_cast<unsigned>(std::find_if(ports.begin(), ports.end(), named) - ports.begin());
}

}  // namespace

std::uint16_t buffer_size(const conf::Configuration& configuration) noexcept {
  std::uint16_t largest = 0;
  for (const conf::Port& port : configuration.ports) largest = std::max(largest, port.mtu);
  // Larger than the ports' are packets that come out of their fragments.
  for (const conf::Tunnel& tunnel : configuration.tunnels)
    if (tunnel.fragmentation == conf::Fragmentation::after) largest = std::max(largest, tunnel.mtu);
  // ESP's trailer and ICV go behind the packet.
  const unsigned needed = largest + kFrameExtra + 128U;
  // Cards with registers for it (ixgbe) count buffers in KiB, and would not use what is beyond.
  return static_cast<std::uint16_t>(std::max(2048U, (needed + 1023U) / 1024U * 1024U));
}

Ports::Ports(const std::vector<conf::Port>& wanted, Forwarding& tables, Interfaces& interfaces,
             channel::CountersPage& page, rte_mempool* pool, unsigned workers)
    : tables_(tables), interfaces_(interfaces), page_(page), workers_(workers) {
  for (unsigned i = 0; i < wanted.size(); i++) {
    State port{.name = wanted[i].name,
               .parent = parent_of(wanted, i),
               .device = nullptr,
               .must_offload = wanted[i].offload == conf::Offload::require,
               .said = {}};
    if (port.parent == i) port.device = std::make_unique<Device>(wanted[i], i, workers, pool);
    ports_.push_back(std::move(port));
  }
  for (unsigned i = 0; i < wanted.size(); i++) publish(i, wanted[i]);
  for (unsigned i = 0; i < wanted.size(); i++)
    if (ports_[i].device) {
      take_address(i);
      publish_device(i);
    }
}

Ports::~Ports() {
  tables_.rcu.wait();
  for (State& port : ports_)
    if (port.device) port.device->close();
}

// What does not change with the device.
void Ports::publish(unsigned index, const conf::Port& wanted) {
  interfaces_.push_back({.name = wanted.name,
                         .mac = {},
                         .addresses = wanted.addresses,
                         .link_local = {},
                         .vlan = wanted.vlan,
                         .table = wanted.table.id});
  PortInfo& info = tables_.ports[index];
  info.mtu = wanted.mtu;
  info.vlan = wanted.vlan;
  info.table = wanted.table.id;
  info.encrypted_only = wanted.encrypted_only;
  tables_.some_encrypted_only = tables_.some_encrypted_only || wanted.encrypted_only;
  info.parent = static_cast<std::uint8_t>(ports_[index].parent);
  if (wanted.vlan != 0) tables_.vlans[info.parent][wanted.vlan] = static_cast<std::uint8_t>(index + 1);
  for (const IpPrefix& own : wanted.addresses) {
    IpAddress& first = own.address.is_v4() ? info.address4 : info.address6;
    if (!first.is_set()) first = own.address;
  }
  channel::PortStatus& status = page_.port(index);
  wanted.name.copy(status.name.data(), status.name.size() - 1);
  status.mtu.store(wanted.mtu, std::memory_order_relaxed);
  status.flags.store(static_cast<std::uint32_t>(channel::PortFlags::present), std::memory_order_relaxed);
}

// No worker uses the port yet, or any more.
void Ports::take_address(unsigned device) {
  const Mac mac = ports_[device].device->mac();
  std::uint64_t number = 0;
  for (const std::uint8_t byte : mac) number = number << 8 | byte;
  for (unsigned p = 0; p < ports_.size(); p++) {
    if (ports_[p].parent != device) continue;
    interfaces_[p].mac = mac;
    interfaces_[p].link_local = link_local_of(mac);
    page_.port(p).mac.store(number, std::memory_order_relaxed);
    tables_.ports[p].mac = mac;
  }
}

// From here on workers may use it.
void Ports::publish_device(unsigned device) noexcept {
  for (unsigned p = 0; p < ports_.size(); p++)
    if (ports_[p].parent == device)
      tables_.ports[p].ethdev.store(ports_[device].device->ethdev(), std::memory_order_release);
}

// So that ports of one queue spread over the workers. The receive queues that are polled and those that the
// card steers to must agree.
std::uint32_t Ports::worker_of(unsigned port, unsigned queue) const noexcept {
  return (queue + port) % workers_;
}

void Ports::wire(std::vector<Worker*>& workers) const {
  for (unsigned p = 0; p < ports_.size(); p++) {
    const auto port = static_cast<std::uint8_t>(p);
    if (ports_[p].device)
      for (std::uint16_t q = 0; q < ports_[p].device->receive_queues(); q++)
        workers[worker_of(p, q)]->receive.push_back({port, q});
    const unsigned device = ports_[p].parent;
    for (unsigned w = 0; w < workers_; w++) {
      const unsigned place = (w + workers_ - device % workers_) % workers_;
      const auto queue = static_cast<std::uint16_t>(place % device_of(p).transmit_queues());
      workers[w]->transmit_queues[p] = {queue, static_cast<std::uint16_t>(worker_of(device, queue))};
    }
  }
}

void Ports::start() {
  for (unsigned p = 0; p < ports_.size(); p++)
    if (ports_[p].device) bring_up(p);
  for (unsigned p = 0; p < ports_.size(); p++) tell_spreading(p);
}

void Ports::bring_up(unsigned index) {
  Device& device = *ports_[index].device;
  device.start();
  // Neighbour discovery comes by multicast.
  std::set<Mac> groups;
  for (unsigned p = 0; p < ports_.size(); p++)
    if (ports_[p].parent == index)
      for (const Mac& group : discovery_groups(interfaces_[p])) groups.insert(group);
  device.listen_to(groups);
  if (device.receive_queues() == 1) return;
  std::vector<std::uint32_t> workers;
  for (std::uint16_t q = 0; q < device.receive_queues(); q++) workers.push_back(worker_of(index, q));
  device.steer(workers);
}

// For `show interfaces`.
void Ports::tell_spreading(unsigned index) {
  const Device& device = device_of(index);
  channel::PortStatus& status = page_.port(index);
  device.driver().copy(status.driver.data(), status.driver.size() - 1);
  status.receive_queues.store(device.receive_queues(), std::memory_order_relaxed);
  status.transmit_queues.store(device.transmit_queues(), std::memory_order_relaxed);
  device.spreading().copy(status.spreading.data(), status.spreading.size() - 1);
}

void Ports::offer_cards(Offload& offload) {
  offload_ = &offload;
  for (unsigned p = 0; p < ports_.size(); p++)
    if (ports_[p].device) offer_card(p);  // a card's ESP does not look behind a tag
}

void Ports::offer_card(unsigned index) {
  if (offload_ == nullptr) return;
  const State& port = ports_[index];
  const Device& device = *port.device;
  std::unique_ptr<Card> card = Card::probe(port.name, static_cast<std::uint8_t>(index), device.ethdev(),
                                           device.opens(), device.seals());
  if (!card && port.must_offload)
    throw std::runtime_error(fmt::format(
        "port {}: offload is required, and its card or driver has no inline IPsec cryptography", port.name));
  if (!card) return;
  log_line("port {}: the card does ESP: {}", port.name, card->describe());
  offload_->add(std::move(card), [this, index](std::uint32_t worker) -> std::optional<std::uint16_t> {
    for (std::uint16_t q = 0; q < ports_[index].device->receive_queues(); q++)
      if (worker_of(index, q) == worker) return q;
    return {};
  });
}

void Ports::read_statistics(unsigned index) noexcept {
  const Device& device = *ports_[index].device;
  channel::PortStatus& status = page_.port(index);
  rte_eth_stats stats{};
  if (rte_eth_stats_get(device.ethdev(), &stats) == 0) {
    status.missed.store(stats.imissed, std::memory_order_relaxed);
    status.no_buffer.store(stats.rx_nombuf, std::memory_order_relaxed);
    status.receive_errors.store(stats.ierrors, std::memory_order_relaxed);
    status.transmit_errors.store(stats.oerrors, std::memory_order_relaxed);
  }
  rte_eth_link link{};
  // Drivers over kernel interfaces make their speed up.
  if (device.over_kernel() || rte_eth_link_get_nowait(device.ethdev(), &link) != 0) return;
  const bool known = link.link_speed != RTE_ETH_SPEED_NUM_UNKNOWN;
  status.speed.store(known ? link.link_speed : 0, std::memory_order_relaxed);
}

void Ports::poll(std::uint64_t now, const Changed& changed) {
  for (unsigned p = 0; p < ports_.size(); p++)
    if (ports_[p].device) watch(p, now, changed);
  for (unsigned p = 0; p < ports_.size(); p++) {
    if (ports_[ports_[p].parent].stage != Stage::present) continue;
    if (ports_[p].device) read_statistics(p);
    poll_link(p, now, changed);
  }
}

void Ports::poll_link(unsigned index, std::uint64_t now, const Changed& changed) {
  const bool up = device_of(index).link_up();
  if (up == tables_.ports[index].up.load(std::memory_order_relaxed)) return;
  tables_.ports[index].up.store(up, std::memory_order_release);
  set_flags(index, true, up, now);
  if (!up) return changed(index, PortChange::down);
  changed(index, std::exchange(ports_[index].renewed, false) ? PortChange::renewed : PortChange::up);
}

void Ports::set_flags(unsigned index, bool present, bool up, std::uint64_t now) noexcept {
  using channel::PortFlags;
  const auto bit = [](PortFlags flag, bool set) { return set ? static_cast<std::uint32_t>(flag) : 0; };
  channel::PortStatus& status = page_.port(index);
  status.changed_ns.store(now, std::memory_order_relaxed);
  status.flags.store(bit(PortFlags::present, present) | bit(PortFlags::link_up, up),
                     std::memory_order_relaxed);
}

}  // namespace espgate::dataplane
