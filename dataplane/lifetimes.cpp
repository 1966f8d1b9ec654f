// What the SAs have carried so far: to the counters page, against their lifetimes, and whether a NAT on the
// way is about to forget them.
#include <rte_cycles.h>

#include <algorithm>

#include "dataplane/associations.hpp"

namespace espgate::dataplane {

namespace {

// RFC 4303 section 3.3.3: an SA is replaced before its sequence numbers run out. Here when 15/16 of them are
// used: without ESN 268 million are left, which last 27 s at 10 million packets a second.
constexpr std::uint64_t soft_of_sequence(bool esn) noexcept { return last_of_sequence(esn) / 16 * 15; }

bool passed(std::uint64_t value, std::uint64_t limit) noexcept { return limit != 0 && value >= limit; }

std::uint64_t load(const channel::Counter& counter) noexcept {
  return counter.load(std::memory_order_relaxed);
}
void store(channel::Counter& counter, std::uint64_t value) noexcept {
  counter.store(value, std::memory_order_relaxed);
}

// The time stamp counters of cores may differ by a little, so "last used" can lie ahead of `tsc`.
std::uint64_t to_ns(std::uint64_t used_tsc, std::uint64_t tsc, std::uint64_t hz, std::uint64_t now) noexcept {
  if (used_tsc == 0) return 0;
  const std::uint64_t ago = tsc > used_tsc ? tsc - used_tsc : 0;
  const double ns = static_cast<double>(ago) * 1e9 / static_cast<double>(hz);
  return ns < static_cast<double>(now) ? now - static_cast<std::uint64_t>(ns) : 1;
}

}  // namespace

void Associations::check_lifetimes(Held& held, const Usage& usage, ControlLink& control) {
  const auto tell = [&](channel::EventKind kind) {
    channel::Event event{};
    event.kind = kind;
    event.body.sa_lifetime = {held.tunnel, held.spi, held.direction};
    control.tell(event);
  };
  const bool soft = passed(usage.bytes, held.soft_bytes) || passed(usage.packets, held.soft_packets) ||
                    usage.sequence >= soft_of_sequence(held.esn);
  const bool hard = passed(usage.bytes, held.hard_bytes) || passed(usage.packets, held.hard_packets) ||
                    usage.sequence >= last_of_sequence(held.esn);
  if (soft && !held.soft_told) tell(channel::EventKind::sa_soft_lifetime);
  if (hard && !held.hard_told) tell(channel::EventKind::sa_hard_lifetime);
  held.soft_told = held.soft_told || soft;
  held.hard_told = held.hard_told || hard;
}

// RFC 3948 section 4. A NAT knows no SAs, so the one that the tunnel sends on speaks for the others.
void Associations::keep_alive(Held& held, std::uint64_t last_used_ns, std::uint64_t now) {
  if (held.keepalive_ns == 0 || keepalives_left_ == 0) return;
  const std::uint64_t silent_since = std::max({last_used_ns, held.kept_alive_ns, held.installed_ns});
  if (now - silent_since < held.keepalive_ns) return;
  const OutboundSa& sa = outbound_at(held);
  if (tables_.tunnels[held.tunnel].outbound.load(std::memory_order_relaxed) != &sa) return;
  if (sa.outer.load(std::memory_order_relaxed) == NextHop{}) return;
  send_keepalive(outbox_, held.ends, held.underlay);
  held.kept_alive_ns = now;
  keepalives_left_--;
}

void Associations::check_limit(const Held& held, std::uint64_t sequence, ControlLink& control) {
  const std::uint64_t limit = held.sequence_limit;
  if (limit == 0 || limit == last_of_sequence(held.esn) || limit - sequence >= channel::kLimitNear) return;
  channel::Event event{};
  event.kind = channel::EventKind::sa_limit_near;
  event.body.sa_limit_near = {held.tunnel, held.spi, sequence, limit};
  control.tell(event);
}

void Associations::snapshot_inbound(Held& held, ControlLink& control, std::uint64_t now, std::uint64_t tsc) {
  const InboundSa& sa = inbound_at(held);
  const Usage usage{load(sa.packets), load(sa.bytes), sa.window.highest()};
  channel::SaStatus& status = page_.inbound(held.worker)[held.slot];
  status.tunnel.store(held.tunnel, std::memory_order_relaxed);
  store(status.packets, usage.packets);
  store(status.bytes, usage.bytes);
  store(status.highest_sequence, usage.sequence);
  store(status.replayed, load(sa.replayed));
  store(status.failed, load(sa.failed));
  store(status.last_used_ns, to_ns(load(sa.last_used_tsc), tsc, tsc_hz_, now));
  store(status.by_card, load(sa.by_card));
  store(status.by_device, load(sa.by_device));
  status.spi.store(held.spi, std::memory_order_release);
  check_lifetimes(held, usage, control);
}

void Associations::snapshot_outbound(Held& held, ControlLink& control, std::uint64_t now, std::uint64_t tsc) {
  const OutboundSa& sa = outbound_at(held);
  const std::uint64_t sequence = load(sa.sequence);
  const Usage usage{sequence - held.last_before, load(sa.bytes), sequence};
  channel::SaStatus& status = page_.outbound(held.worker)[held.slot];
  status.tunnel.store(held.tunnel, std::memory_order_relaxed);
  store(status.packets, usage.packets);
  store(status.bytes, usage.bytes);
  store(status.highest_sequence, usage.sequence);
  const std::uint64_t last_used_ns = to_ns(load(sa.last_used_tsc), tsc, tsc_hz_, now);
  store(status.last_used_ns, last_used_ns);
  store(status.by_card, load(sa.by_card));
  store(status.by_device, load(sa.by_device));
  status.spi.store(held.spi, std::memory_order_release);
  check_lifetimes(held, usage, control);
  keep_alive(held, last_used_ns, now);
  check_limit(held, sequence, control);
}

void Associations::add(Carried& carried, const InboundSa& sa) noexcept {
  carried.rx_packets += load(sa.packets);
  carried.rx_bytes += load(sa.bytes);
  carried.rx_ipsec += load(sa.by_card);
  carried.rx_crypto += load(sa.by_device);
}

void Associations::add(Carried& carried, const OutboundSa& sa, std::uint64_t last_before) noexcept {
  carried.tx_packets += load(sa.sequence) - last_before;
  carried.tx_bytes += load(sa.bytes);
  carried.tx_ipsec += load(sa.by_card);
  carried.tx_crypto += load(sa.by_device);
  carried.cut_before += load(sa.cut_before);
  carried.cut_after += load(sa.cut_after);
}

// What a tunnel carries is what its SAs carry, so the workers need not count it. An SA that is removed counts
// again once the last worker has let go of it; until then the tunnel's counters stand still.
void Associations::snapshot_tunnels() noexcept {
  totals_ = carried_;
  for (const auto& [spi, held] : inbound_) add(totals_[held.tunnel], inbound_at(held));
  for (const auto& [key, held] : outbound_) add(totals_[held.tunnel], outbound_at(held), held.last_before);
  channel::InterfaceCounters* counters = page_.tunnels();
  for (const Carried& total : totals_) {
    const auto raise = [](channel::Counter& counter, std::uint64_t to) {
      if (load(counter) < to) store(counter, to);
    };
    raise(counters->rx_packets, total.rx_packets);
    raise(counters->rx_bytes, total.rx_bytes);
    raise(counters->tx_packets, total.tx_packets);
    raise(counters->tx_bytes, total.tx_bytes);
    raise(counters->rx_ipsec, total.rx_ipsec);
    raise(counters->tx_ipsec, total.tx_ipsec);
    raise(counters->rx_crypto, total.rx_crypto);
    raise(counters->tx_crypto, total.tx_crypto);
    raise(counters->cut_before, total.cut_before);
    raise(counters->cut_after, total.cut_after);
    counters++;
  }
}

void Associations::snapshot(ControlLink& control, std::uint64_t now) {
  const std::uint64_t tsc = rte_rdtsc();
  keepalives_left_ = kKeepalivesAtOnce;
  for (auto& [spi, held] : inbound_) snapshot_inbound(held, control, now, tsc);
  for (auto& [key, held] : outbound_) snapshot_outbound(held, control, now, tsc);
  snapshot_tunnels();
}

}  // namespace espgate::dataplane
