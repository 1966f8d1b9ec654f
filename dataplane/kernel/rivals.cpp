#include "dataplane/kernel/rivals.hpp"

#include <algorithm>

namespace espgate::dataplane {

namespace {

bool is_same_hop(const KernelHop& a, const KernelHop& b) noexcept {
  return a.interface == b.interface && a.gateway == b.gateway;
}

// Whether the kernel takes it together with others like it.
bool is_shared(const KernelRoute& route) noexcept {
  return route.to.address.is_v6() && !route.by_object && !route.hops.empty() &&
         route.hops.front().gateway.is_set();
}

bool is_same(const KernelRoute& a, const KernelRoute& b) noexcept {
  return a.type == b.type && a.protocol == b.protocol && a.by_object == b.by_object &&
         std::equal(a.hops.begin(), a.hops.end(), b.hops.begin(), b.hops.end(), is_same_hop);
}

template <typename Routes>
auto find_shared(Routes& routes) noexcept {
  return std::find_if(routes.begin(), routes.end(), is_shared);
}

}  // namespace

// Of shared next hops the kernel tells all, whichever is new.
void Rivals::append(const KernelRoute& route) {
  const auto shared = is_shared(route) ? find_shared(routes_) : routes_.end();
  if (shared != routes_.end())
    *shared = route;
  else
    routes_.push_back(route);
}

void Rivals::prepend(const KernelRoute& route) { routes_.insert(routes_.begin(), route); }

bool Rivals::replace(const KernelRoute& route) {
  if (routes_.empty()) return append(route), true;
  const auto alike = std::find_if(routes_.begin(), routes_.end(), [&](const KernelRoute& other) {
    return is_shared(other) == is_shared(route);
  });
  const bool found = alike != routes_.end();
  *(found ? alike : routes_.begin()) = route;
  return found;
}

// Shared next hops go one by one, or all.
bool Rivals::remove(const KernelRoute& route) {
  const auto found = is_shared(route)
                         ? find_shared(routes_)
                         : std::find_if(routes_.begin(), routes_.end(),
                                        [&](const KernelRoute& other) { return is_same(other, route); });
  if (found == routes_.end()) return false;
  if (is_shared(route))
    std::erase_if(found->hops, [&](const KernelHop& hop) {
      return std::any_of(route.hops.begin(), route.hops.end(),
                         [&](const KernelHop& gone) { return is_same_hop(gone, hop); });
    });
  if (!is_shared(route) || found->hops.empty()) routes_.erase(found);
  return true;
}

bool Rivals::contains(const KernelRoute& route) const noexcept {
  return std::any_of(routes_.begin(), routes_.end(),
                     [&](const KernelRoute& other) { return is_same(other, route); });
}

}  // namespace espgate::dataplane
