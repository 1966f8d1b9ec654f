#include "dataplane/tables/forwarding.hpp"

#include <rte_malloc.h>

#include <memory>
#include <new>

namespace espgate::dataplane {

namespace {

template <class T>
T* make_array(const char* name, std::size_t count) {
  void* memory = rte_zmalloc(name, sizeof(T) * count, alignof(T) < 64 ? 64 : alignof(T));
  if (memory == nullptr) throw std::bad_alloc();
  T* array = static_cast<T*>(memory);
  std::uninitialized_value_construct_n(array, count);
  return array;
}

template <class T>
void erase_and_free(T* slots, std::uint32_t count) noexcept {
  if (slots == nullptr) return;
  for (std::uint32_t i = 0; i < count; i++) explicit_bzero(&slots[i].key, sizeof(slots[i].key));
  std::destroy_n(slots, count);
  rte_free(slots);
}

}  // namespace

Forwarding::Forwarding(const channel::Hello& hello, Routes::Size main, std::span<const Routes::Size> others)
    : shape(hello), rcu(hello.workers), neighbours(rcu) {
  const std::uint32_t next_hops =
      hello.max_tunnels + hello.max_groups + kSharedGroups + Neighbours::kCapacity / 2;
  route_tables_.push_back(std::make_unique<Routes>(rcu, main, next_hops));
  for (const Routes::Size& size : others)
    route_tables_.push_back(std::make_unique<Routes>(rcu, size, next_hops));
  try {
    tunnels = make_array<TunnelSlot>("tunnels", shape.max_tunnels);
    groups = make_array<std::atomic<const Group*>>("groups", shape.max_groups + kSharedGroups);
    for (std::uint32_t w = 0; w < shape.workers; w++) {
      inbound.push_back({make_array<InboundSa>("inbound", shape.inbound_slots), shape.inbound_slots});
      outbound.push_back(make_array<OutboundSa>("outbound", shape.outbound_slots));
    }
  } catch (...) {
    free_arrays();
    throw;
  }
}

Forwarding::~Forwarding() {
  rcu.wait();
  free_arrays();
}

NextHop Forwarding::member(NextHop next_hop, std::uint32_t hash) const noexcept {
  if (next_hop.kind != NextHopKind::group) return next_hop;
  const Group* const group = groups[next_hop.index].load(std::memory_order_relaxed);
  const std::uint8_t place = group == nullptr ? Buckets::kNobody : group->place_of(hash);
  return place == Buckets::kNobody ? NextHop{} : group->members[place];
}

void Forwarding::free_arrays() noexcept {
  for (const InboundTable& table : inbound) erase_and_free(table.slots, table.count);
  for (OutboundSa* slots : outbound) erase_and_free(slots, shape.outbound_slots);
  rte_free(tunnels);
  rte_free(groups);
}

}  // namespace espgate::dataplane
