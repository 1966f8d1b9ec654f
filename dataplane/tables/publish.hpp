// Replaces what workers read by a whole new one, and the buckets of a tunnel group. Main thread only.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "dataplane/tables/rcu.hpp"
#include "dataplane/tables/tunnel.hpp"

namespace espgate::dataplane {

// Workers see `next` (or nothing, if null) from now on; the former one is deleted after a grace period.
template <class T>
void publish(Rcu& rcu, std::atomic<const T*>& place, std::unique_ptr<const T> next) {
  const T* former = place.exchange(next.release(), std::memory_order_acq_rel);
  if (former != nullptr) rcu.retire([former] { delete former; });
}

// The buckets for the members that are up (distinct tunnel indices), as even as 256 buckets can be. Of
// `former` as many buckets as possible stay: when a member goes, only its own buckets move; when one comes,
// only those that it gets.
[[nodiscard]] Group rebalance(const Group& former, std::span<const std::uint32_t> up) noexcept;

// A group without members.
[[nodiscard]] Group empty_group() noexcept;

}  // namespace espgate::dataplane
