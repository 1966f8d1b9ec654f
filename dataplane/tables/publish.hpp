// Replaces what workers read by a whole new one. Main thread only.
#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "dataplane/tables/rcu.hpp"

namespace espgate::dataplane {

// Workers see `next` (or nothing, if null) from now on; the former one is deleted after a grace period.
template <class T>
void publish(Rcu& rcu, std::atomic<const T*>& place, std::unique_ptr<const T> next) {
  const T* former = place.exchange(next.release(), std::memory_order_acq_rel);
  if (former != nullptr) rcu.retire([former] { delete former; });
}

}  // namespace espgate::dataplane
