#include "dataplane/ports/resolver.hpp"

#include "dataplane/ports/arp.hpp"
#include "dataplane/ports/nd.hpp"

namespace espgate::dataplane {

namespace {

constexpr unsigned kFiresPerCall = 256;

Mac mac_of(Link link) noexcept {
  Mac mac;
  for (unsigned i = 0; i < 6; i++) mac[i] = static_cast<std::uint8_t>(link.word >> (8 * i));
  return mac;
}

}  // namespace

Resolver::Resolver(Forwarding& tables, const Interfaces& interfaces, Outbox& outbox, Unreachable unreachable)
    : tables_(tables),
      interfaces_(interfaces),
      outbox_(outbox),
      unreachable_(std::move(unreachable)),
      lives_(Neighbours::kCapacity + 1) {}

Resolver::~Resolver() {
  for (Life& life : lives_)
    for (rte_mbuf* packet : life.queue) rte_pktmbuf_free(packet);
}

void Resolver::set_timer(NeighbourId id, std::uint64_t due) {
  Life& life = lives_[id];
  if (life.due != 0) timers_.erase({life.due, id});
  life.due = due;
  if (due != 0) timers_.emplace(due, id);
}

void Resolver::set_resolving(NeighbourId id, bool resolving) noexcept {
  Life& life = lives_[id];
  if (life.resolving == resolving) return;
  life.resolving = resolving;
  resolving ? resolving_++ : resolving_--;
}

void Resolver::start(NeighbourId id, std::uint64_t now) {
  tables_.neighbours.set_state(id, NeighbourState::incomplete);
  set_resolving(id, true);
  lives_[id].tries = 0;
  lives_[id].last_used = now;
  solicit(id, now);
}

void Resolver::solicit(NeighbourId id, std::uint64_t now) {
  const Neighbour& neighbour = tables_.neighbours.entry(id);
  const Link link = tables_.neighbours.link(id);
  const bool unicast = link.state() == NeighbourState::probing;
  const Mac mac = mac_of(link);
  const Interface& interface = interfaces_[neighbour.port];
  if (neighbour.address.is_v4())
    send_arp_request(outbox_, neighbour.port, interface, neighbour.address, unicast ? &mac : nullptr);
  else
    send_solicitation(outbox_, neighbour.port, interface, neighbour.address, unicast ? &mac : nullptr);
  lives_[id].tries++;
  set_timer(id, now + kRetransmit);
}

NeighbourId Resolver::pin(std::uint8_t port, const IpAddress& address, std::uint64_t now) {
  const NeighbourId id = tables_.neighbours.ensure(port, address);
  if (id == kNoNeighbour) return id;
  lives_[id].pins++;
  if (lives_[id].due == 0) start(id, now);
  return id;
}

void Resolver::unpin(NeighbourId id, std::uint64_t now) {
  // Its ordinary aging takes it away when nobody uses it.
  if (lives_[id].pins > 0) lives_[id].pins--;
  lives_[id].last_used = now;
}

void Resolver::send(std::uint8_t port, const IpAddress& address, rte_mbuf* packet, std::uint64_t now) {
  NeighbourId id = tables_.neighbours.find(port, address);
  if (id == kNoNeighbour) {
    if (resolving_ >= kResolving || !on_link(interfaces_[port], address)) return unreachable_(packet, now);
    id = tables_.neighbours.ensure(port, address);
    if (id == kNoNeighbour) return unreachable_(packet, now);
    start(id, now);
  }
  const Link link = tables_.neighbours.link(id);
  if (link.usable()) {
    tables_.neighbours.mark_used(id);
    return outbox_.send_ip_to(port, interfaces_[port], mac_of(link), packet);
  }
  if (link.state() == NeighbourState::incomplete) return enqueue(id, packet);
  unreachable_(packet, now);
}

void Resolver::enqueue(NeighbourId id, rte_mbuf* packet) noexcept {
  Life& life = lives_[id];
  if (life.queue.size() >= kQueue) {  // the oldest goes: the newest is the likeliest to be still wanted
    outbox_.drop(life.queue.front(), DropReason::neighbour_unresolved);
    life.queue.erase(life.queue.begin());
    queued_--;
  }
  if (queued_ >= kQueueOfAll) return outbox_.drop(packet, DropReason::neighbour_unresolved);
  life.queue.push_back(packet);
  queued_++;
}

void Resolver::flush(NeighbourId id) {
  const Neighbour& neighbour = tables_.neighbours.entry(id);
  const Mac mac = mac_of(tables_.neighbours.link(id));
  std::vector<rte_mbuf*> queue = std::exchange(lives_[id].queue, {});
  queued_ -= queue.size();
  for (rte_mbuf* packet : queue) outbox_.send_ip_to(neighbour.port, interfaces_[neighbour.port], mac, packet);
}

void Resolver::settle(NeighbourId id, NeighbourState to, const Mac& mac, std::uint64_t now) {
  tables_.neighbours.set_link(id, to, mac.data());
  tables_.neighbours.entry(id).used.store(0, std::memory_order_relaxed);
  set_resolving(id, false);
  lives_[id].last_used = now;
  set_timer(id, now + (to == NeighbourState::reachable ? kReachable : kStaleCheck));
  flush(id);
}

void Resolver::heard_request(std::uint8_t port, const IpAddress& address, const Mac& mac, std::uint64_t now) {
  if (!on_link(interfaces_[port], address)) return;
  const NeighbourId id = tables_.neighbours.ensure(port, address);
  if (id == kNoNeighbour) return;
  const Link link = tables_.neighbours.link(id);
  if (link.usable() && mac_of(link) == mac) return;
  settle(id, NeighbourState::stale, mac, now);
}

bool Resolver::awaits(std::uint8_t port, const IpAddress& address) const noexcept {
  const NeighbourId id = tables_.neighbours.find(port, address);
  return id != kNoNeighbour &&
         (state(id) == NeighbourState::incomplete || state(id) == NeighbourState::probing);
}

void Resolver::heard_answer(std::uint8_t port, const IpAddress& address, Answer answer, std::uint64_t now) {
  const NeighbourId id = tables_.neighbours.find(port, address);
  if (id == kNoNeighbour) return;
  const Link link = tables_.neighbours.link(id);
  const auto reached = answer.solicited ? NeighbourState::reachable : NeighbourState::stale;
  if (!link.usable()) {
    if (answer.mac != nullptr) settle(id, reached, *answer.mac, now);
    return;
  }
  const bool changed = answer.mac != nullptr && *answer.mac != mac_of(link);
  if (changed && !answer.override) {
    // RFC 4861 section 7.2.5 (I): a reachable neighbour is to be asked again, any other stays as it is.
    if (link.state() == NeighbourState::reachable) settle(id, NeighbourState::stale, mac_of(link), now);
    return;
  }
  if (answer.solicited || changed) settle(id, reached, changed ? *answer.mac : mac_of(link), now);
}

void Resolver::start_over(std::uint8_t port, std::uint64_t now) {
  for (NeighbourId id = 0; id < Neighbours::kCapacity; id++) {
    if (state(id) == NeighbourState::free || tables_.neighbours.entry(id).port != port) continue;
    if (lives_[id].pins > 0) {
      start(id, now);
      continue;
    }
    fail(id, now);
    set_timer(id, 0);
    forget(id);
  }
}

void Resolver::advance(std::uint64_t now) {
  for (unsigned i = 0; i < kFiresPerCall && !timers_.empty() && timers_.begin()->first <= now; i++)
    fire(timers_.begin()->second, now);
}

void Resolver::fire(NeighbourId id, std::uint64_t now) {
  Life& life = lives_[id];
  set_timer(id, 0);
  switch (state(id)) {
    case NeighbourState::incomplete:
      return life.tries < kTries ? solicit(id, now) : fail(id, now);
    case NeighbourState::probing:
      // No answer to its own address: the station may have another one now, so ask everybody.
      return life.tries < kTries ? solicit(id, now) : start(id, now);
    case NeighbourState::reachable:
      tables_.neighbours.set_state(id, NeighbourState::stale);
      tables_.neighbours.entry(id).used.store(0, std::memory_order_relaxed);
      life.last_used = now;
      return set_timer(id, now + kStaleCheck);
    case NeighbourState::stale:
      return fire_stale(id, now);
    case NeighbourState::failed:
      return life.pins > 0 ? start(id, now) : forget(id);
    case NeighbourState::free:
      return;
  }
}

void Resolver::fire_stale(NeighbourId id, std::uint64_t now) {
  Life& life = lives_[id];
  if (tables_.neighbours.entry(id).used.exchange(0, std::memory_order_relaxed) != 0) {
    tables_.neighbours.set_state(id, NeighbourState::probing);
    life.tries = 0;
    return solicit(id, now);
  }
  if (life.pins == 0 && now - life.last_used >= kForget) return forget(id);
  set_timer(id, now + kStaleCheck);
}

void Resolver::fail(NeighbourId id, std::uint64_t now) {
  tables_.neighbours.set_state(id, NeighbourState::failed);
  set_resolving(id, false);
  set_timer(id, now + kHoldDown);
  const std::vector<rte_mbuf*> queue = std::exchange(lives_[id].queue, {});
  queued_ -= queue.size();
  for (rte_mbuf* packet : queue) unreachable_(packet, now);
}

void Resolver::forget(NeighbourId id) {
  lives_[id] = Life{};
  tables_.neighbours.remove(id);
}

}  // namespace espgate::dataplane
