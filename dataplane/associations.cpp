#include "dataplane/associations.hpp"

#include <rte_cycles.h>

#include <algorithm>
#include <limits>

#include "channel/spi.hpp"

namespace espgate::dataplane {

namespace {

using channel::CommandStatus;
using channel::Direction;
using channel::InstallSa;

// RFC 7296 section 3.13.1. OPAQUE ports (65535..0) are not matched here, so they are refused rather than
// ignored.
bool is_sound(const channel::Selector& selector) noexcept {
  return is_valid(selector.first) && is_valid(selector.last) && selector.first.is_set() &&
         selector.first.family == selector.last.family && selector.first.bytes <= selector.last.bytes &&
         selector.first_port <= selector.last_port;
}

CommandStatus check_selectors(const channel::Selectors& selectors) noexcept {
  const auto count_ok = [](std::uint32_t count) { return count >= 1 && count <= channel::kMaxSelectors; };
  if (!count_ok(selectors.local_count) || !count_ok(selectors.remote_count)) return CommandStatus::bad_count;
  const auto all_sound = [](const auto& list, std::uint32_t count) {
    return std::all_of(list.begin(), list.begin() + count, is_sound);
  };
  const bool sound = all_sound(selectors.local, selectors.local_count) &&
                     all_sound(selectors.remote, selectors.remote_count);
  return sound ? CommandStatus::ok : CommandStatus::bad_selector;
}

bool is_outer_address(const IpAddress& address) noexcept {
  return is_valid(address) && address.is_set() && is_unicast(address);
}

bool options_ok(const InstallSa& install) noexcept {
  return install.mode <= channel::Mode::transport && install.esn <= 1 && install.follow <= 1 &&
         (install.follow == 0 || (install.udp_encapsulation == 1 && install.mode == channel::Mode::tunnel)) &&
         install.df <= channel::DontFragment::copy && install.ecn <= channel::EcnMode::compatibility &&
         install.fixed_dscp <= channel::kDscps &&
         (install.mode == channel::Mode::tunnel || install.tfc_length == 0);
}

bool sequence_ok(const InstallSa& install) noexcept {
  const bool possible = install.last_sequence <= last_of_sequence(install.esn != 0);
  if (install.sequence_limit == 0) return possible;
  return possible && install.sequence_limit >= install.last_sequence && install.hard_packets == 0;
}

}  // namespace

Associations::Associations(Forwarding& tables, Resolver& resolver, Outbox& outbox, Offload& offload,
                           KnownPeers& peers, channel::CountersPage& page, const crypto::BulkEngine& engine,
                           RefusedSuites refused)
    : tables_(tables),
      resolver_(resolver),
      outbox_(outbox),
      offload_(offload),
      peers_(peers),
      page_(page),
      engine_(engine),
      refused_(refused),
      carried_(tables.shape.max_tunnels),
      tsc_hz_(rte_get_tsc_hz()) {
  for (std::uint32_t w = 0; w < tables.shape.workers; w++) {
    inbound_retiring_.emplace_back(tables.shape.inbound_slots);
    std::vector<std::uint32_t>& free = free_outbound_.emplace_back();
    for (std::uint32_t slot = tables.shape.outbound_slots; slot > 0; slot--) free.push_back(slot - 1);
  }
}

Associations::~Associations() { tables_.rcu.wait(); }

CommandStatus Associations::check(const InstallSa& install) const noexcept {
  const auto suite = static_cast<crypto::EspSuite>(install.suite);
  if (crypto::find_suite(suite) == nullptr || refused_[install.suite % refused_.size()])
    return CommandStatus::bad_suite;
  const bool one_family = install.local.family == install.remote.family;
  if (!one_family || !is_outer_address(install.local) || !is_outer_address(install.remote))
    return CommandStatus::bad_address;
  const bool ports = install.local_port != 0 && install.remote_port != 0;
  if (install.udp_encapsulation > 1 || (install.udp_encapsulation == 1 && !ports))
    return CommandStatus::bad_address;
  if (install.spi < channel::kFirstFreeSpi) return CommandStatus::bad_spi;
  if (!options_ok(install) || !sequence_ok(install)) return CommandStatus::bad_option;
  return check_selectors(install.selectors);
}

// It exists, as callers have checked.
const Tunnel& Associations::tunnel_of(const InstallSa& install) const noexcept {
  return *tables_.tunnels[install.tunnel].tunnel.load(std::memory_order_relaxed);
}

Associations::Held Associations::make_held(const InstallSa& install, Direction direction,
                                           std::uint64_t now) const {
  Held held{};
  held.direction = direction;
  held.tunnel = install.tunnel;
  held.underlay = tunnel_of(install).underlay;
  held.spi = install.spi;
  held.partner_spi = install.partner_spi;
  held.suite = install.suite;
  const bool udp = install.udp_encapsulation != 0;
  held.ends = {install.local, install.remote, udp ? install.local_port : std::uint16_t{0},
               udp ? install.remote_port : std::uint16_t{0}};
  held.follow = install.follow != 0;
  held.keepalive_ns = udp ? std::uint64_t{install.keepalive} * 1'000'000'000 : 0;
  held.esn = install.esn != 0;
  held.soft_bytes = install.soft_bytes;
  held.hard_bytes = install.hard_bytes;
  held.soft_packets = install.soft_packets;
  held.hard_packets = install.hard_packets;
  held.last_before = install.last_sequence;
  held.label = install.label;
  if (direction == Direction::outbound)
    held.sequence_limit = std::min(install.sequence_limit, last_of_sequence(held.esn));
  held.installed_ns = now;
  held.selectors = std::make_shared<const SelectorSet>(make_selector_set(install.selectors));
  held.neighbour = kNoNeighbour;
  return held;
}

CommandStatus Associations::install_inbound(const InstallSa& install, std::uint64_t now) {
  if (const CommandStatus status = check(install); status != CommandStatus::ok) return status;
  if (!crypto::ReplayWindow::is_size(install.replay_window)) return CommandStatus::bad_window;
  // RFC 4303 appendix A: the high half of a sequence number is told from the window.
  if (install.esn != 0 && install.replay_window == 0) return CommandStatus::bad_option;
  const std::uint32_t worker = channel::spi_worker(install.spi);
  const std::uint32_t slot = channel::spi_slot(install.spi);
  if (worker >= tables_.shape.workers || slot >= tables_.shape.inbound_slots) return CommandStatus::bad_spi;
  if (inbound_retiring_[worker][slot]) tables_.rcu.wait();
  InboundSa& sa = tables_.inbound[worker].slots[slot];
  if (sa.spi.load(std::memory_order_relaxed) != 0) return CommandStatus::spi_in_use;

  Held held = make_held(install, Direction::inbound, now);
  held.worker = worker;
  held.slot = slot;
  // All that can be wrong was checked; left is that there is no memory for a large window.
  if (!prepare(sa, install, *held.selectors, engine_)) return CommandStatus::table_full;
  sa.underlay = held.underlay;
  sa.overlay = tunnel_of(install).overlay;
  offload_.adopt(sa, install);
  sa.spi.store(install.spi, std::memory_order_release);
  inbound_.emplace(install.spi, std::move(held));
  return CommandStatus::ok;
}

CommandStatus Associations::install_outbound(const InstallSa& install, std::uint64_t now) {
  if (const CommandStatus status = check(install); status != CommandStatus::ok) return status;
  if (install.worker >= tables_.shape.workers) return CommandStatus::bad_index;
  if (outbound_.contains({install.tunnel, install.spi})) return CommandStatus::spi_in_use;
  std::vector<std::uint32_t>& free = free_outbound_[install.worker];
  if (free.empty()) tables_.rcu.wait();  // some may be on their way back
  if (free.empty()) return CommandStatus::table_full;

  Held held = make_held(install, Direction::outbound, now);
  held.worker = install.worker;
  held.slot = free.back();
  OutboundSa& sa = outbound_at(held);
  if (!prepare(sa, install, *held.selectors, engine_)) return CommandStatus::bad_suite;
  free.pop_back();
  sa.underlay = held.underlay;
  offload_.adopt(sa, install);
  aim(held, now);
  sa.spi.store(install.spi, std::memory_order_release);
  tables_.tunnels[install.tunnel].outbound.store(&sa, std::memory_order_release);
  changed_ = true;
  note_far_end(held);
  outbound_.emplace(OutboundKey{install.tunnel, install.spi}, std::move(held));
  return CommandStatus::ok;
}

CommandStatus Associations::extend_outbound(const channel::ExtendSa& extend) noexcept {
  const auto found = outbound_.find({extend.tunnel, extend.spi});
  if (found == outbound_.end()) return CommandStatus::no_such_sa;
  Held& held = found->second;
  if (held.sequence_limit == 0) return CommandStatus::bad_option;
  const std::uint64_t wanted = std::min(extend.sequence_limit, last_of_sequence(held.esn));
  held.sequence_limit = std::max(held.sequence_limit, wanted);
  outbound_at(held).last_sequence.store(held.sequence_limit, std::memory_order_relaxed);
  return CommandStatus::ok;
}

CommandStatus Associations::remove_inbound(const channel::RemoveSa& remove, std::uint64_t) {
  const auto found = inbound_.find(remove.spi);
  if (found == inbound_.end() || found->second.tunnel != remove.tunnel) return CommandStatus::no_such_sa;
  retire_inbound(found->second);
  inbound_.erase(found);
  return CommandStatus::ok;
}

CommandStatus Associations::remove_outbound(const channel::RemoveSa& remove, std::uint64_t now) {
  const auto found = outbound_.find({remove.tunnel, remove.spi});
  if (found == outbound_.end()) return CommandStatus::no_such_sa;
  const Held held = std::move(found->second);
  outbound_.erase(found);
  if (tables_.tunnels[held.tunnel].outbound.load(std::memory_order_relaxed) == &outbound_at(held))
    choose_outbound(held.tunnel);
  retire_outbound(held, now);
  return CommandStatus::ok;
}

// The tunnel's youngest SA that is left, or none.
void Associations::choose_outbound(std::uint32_t tunnel) noexcept {
  OutboundSa* chosen = nullptr;
  std::uint64_t installed = 0;
  for (auto at = outbound_.lower_bound({tunnel, 0}); at != outbound_.end() && at->first.first == tunnel;
       ++at) {
    if (chosen != nullptr && at->second.installed_ns < installed) continue;
    chosen = &outbound_at(at->second);
    installed = at->second.installed_ns;
  }
  tables_.tunnels[tunnel].outbound.store(chosen, std::memory_order_release);
  changed_ = true;
}

void Associations::retire_inbound(const Held& held) {
  InboundSa& sa = inbound_at(held);
  sa.former_spi.store(held.spi, std::memory_order_relaxed);
  sa.spi.store(0, std::memory_order_release);
  page_.inbound(held.worker)[held.slot].spi.store(0, std::memory_order_relaxed);
  offload_.release(sa);
  inbound_retiring_[held.worker][held.slot] = true;
  // The selectors go with the last worker that may look at them.
  tables_.rcu.retire([this, &sa, worker = held.worker, slot = held.slot, keep = held.selectors] {
    add(carried_[sa.tunnel], sa);
    erase(sa);
    inbound_retiring_[worker][slot] = false;
  });
}

void Associations::retire_outbound(const Held& held, std::uint64_t now) {
  OutboundSa& sa = outbound_at(held);
  sa.spi.store(0, std::memory_order_release);
  page_.outbound(held.worker)[held.slot].spi.store(0, std::memory_order_relaxed);
  offload_.release(sa);
  if (held.neighbour != kNoNeighbour) resolver_.unpin(held.neighbour, now);
  forget_far_end(held);
  tables_.rcu.retire(
      [this, &sa, worker = held.worker, slot = held.slot, before = held.last_before, keep = held.selectors] {
        add(carried_[sa.tunnel], sa, before);
        erase(sa);
        free_outbound_[worker].push_back(slot);
      });
}

void Associations::remove_all_of(std::uint32_t tunnel, std::uint64_t now) {
  tables_.tunnels[tunnel].outbound.store(nullptr, std::memory_order_release);
  changed_ = true;
  for (auto at = outbound_.lower_bound({tunnel, 0}); at != outbound_.end() && at->first.first == tunnel;) {
    retire_outbound(at->second, now);
    at = outbound_.erase(at);
  }
  for (auto at = inbound_.begin(); at != inbound_.end();) {
    if (at->second.tunnel != tunnel) {
      ++at;
      continue;
    }
    retire_inbound(at->second);
    at = inbound_.erase(at);
  }
}

void Associations::list(const std::function<channel::Name(std::uint32_t)>& name_of, ControlLink& control,
                        std::uint64_t now) {
  const auto tell = [&](Held& held) {
    channel::Event event{};
    event.kind = channel::EventKind::sa_held;
    event.body.sa_held = {held.tunnel,
                          name_of(held.tunnel),
                          held.spi,
                          held.partner_spi,
                          held.suite,
                          held.direction,
                          0,
                          now - held.installed_ns,
                          held.ends.local,
                          held.ends.remote,
                          held.sequence_limit,
                          held.label};
    control.tell(event);
    held.soft_told = false;
    held.hard_told = false;
  };
  for (auto& [spi, held] : inbound_) tell(held);
  for (auto& [key, held] : outbound_) tell(held);
}

// A tunnel's packets never go into a tunnel: only a neighbour on a port is an answer. Pinned before the
// former one is let go, so that an unchanged one is never forgotten between.
NextHop Associations::resolve_outer(Held& held, std::uint64_t now) {
  const NextHop to = tables_.member(tables_.routes(held.underlay).find_one(held.ends.remote), held.tunnel);
  NeighbourId id = kNoNeighbour;
  if (to.kind == NextHopKind::connected) id = resolver_.pin(to.port, held.ends.remote, now);
  if (to.kind == NextHopKind::gateway) {
    const Neighbour& gateway = tables_.neighbours.entry(to.index);
    id = resolver_.pin(gateway.port, gateway.address, now);
  }
  if (held.neighbour != kNoNeighbour) resolver_.unpin(held.neighbour, now);
  held.neighbour = id;
  return id == kNoNeighbour ? NextHop{} : NextHop{NextHopKind::gateway, to.port, 0, id};
}

void Associations::aim(Held& held, std::uint64_t now) {
  OutboundSa& sa = outbound_at(held);
  sa.outer.store(offload_.with_card(sa, resolve_outer(held, now)), std::memory_order_release);
}

void Associations::refresh_outer(const Ribs::FarEnd& far_end, std::uint64_t now) {
  const auto [first, last] = outbound_to_.equal_range(far_end.second);
  for (auto at = first; at != last; ++at)
    if (Held& held = outbound_.at(at->second); held.underlay == far_end.first) aim(held, now);
}

void Associations::refresh_all_outer(std::uint64_t now) {
  for (auto& [key, held] : outbound_) aim(held, now);
}

bool Associations::take_changed() noexcept { return std::exchange(changed_, false); }

}  // namespace espgate::dataplane
