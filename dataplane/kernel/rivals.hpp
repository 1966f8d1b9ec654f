// The kernel's routes with one destination and one metric, in its order: the first is in use, and the others
// wait behind it, also those that lead nowhere here. Those of IPv6 that have gateways are one, with all of
// their next hops. Main thread only.
#pragma once

#include <vector>

#include "dataplane/kernel/route_message.hpp"

namespace espgate::dataplane {

class Rivals {
 public:
  // All as the kernel tells of what has happened.
  void append(const KernelRoute& route);
  void prepend(const KernelRoute& route);
  // False: there was none like it, so that it took the first one's place, or that of one that is not known.
  [[nodiscard]] bool replace(const KernelRoute& route);
  // False: there is no such route.
  bool remove(const KernelRoute& route);
  void clear() noexcept { routes_.clear(); }

  [[nodiscard]] bool contains(const KernelRoute& route) const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return routes_.size(); }
  // There must be one.
  [[nodiscard]] const KernelRoute& first() const noexcept { return routes_.front(); }

 private:
  std::vector<KernelRoute> routes_;
};

}  // namespace espgate::dataplane
