#include "dataplane/kernel/static_routes.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <tuple>
#include <utility>

#include "dataplane/log.hpp"

namespace espgate::dataplane {

namespace {

// What a call may take, some hundred microseconds: a route that is looked at, and one that is written.
constexpr unsigned kPerCall = 1024;
constexpr unsigned kWriteCosts = 8;

void put_in_order(std::vector<KernelHop>& hops) {
  std::sort(hops.begin(), hops.end(), [](const KernelHop& a, const KernelHop& b) {
    return std::tie(a.interface, a.gateway) < std::tie(b.interface, b.gateway);
  });
}

}  // namespace

StaticRoutes::StaticRoutes(const Forwarding& tables, const Groups& groups, const Twins& twins)
    : tables_(tables), groups_(groups), twins_(twins) {}

StaticRoutes::~StaticRoutes() {
  for (const auto& [key, route] : routes_)
    if (route.written && route.written->empty()) (void)kernel_.at(key.first).remove(key.second);
}

void StaticRoutes::want(TableId table, const IpPrefix& to, NextHop next_hop) {
  routes_[{table, to}].wanted = next_hop;
  again_ = true;
}

void StaticRoutes::unwant(TableId table, const IpPrefix& to) {
  const auto route = routes_.find({table, to});
  if (route == routes_.end()) return;
  route->second.wanted.reset();
  again_ = true;
}

void StaticRoutes::serve(std::uint64_t now) {
  if (!complete_ || twins_.changes() == 0) return;
  if (!std::exchange(tried_, true)) open();
  if (kernel_.empty()) return;
  if (std::exchange(twins_seen_, twins_.changes()) != twins_.changes()) again_ = true;
  if (std::exchange(losses_seen_, twins_.losses()) != twins_.losses()) again_ = true;
  if (std::exchange(groups_seen_, groups_.changes()) != groups_.changes()) again_ = true;
  if (retry_ns_ != 0 && now >= retry_ns_) again_ = true;
  finding_in_ ? find() : look(now);
  busy_ = finding_in_ || from_ || again_;
}

void StaticRoutes::open() {
  for (TableId table = 0; table < tables_.table_count(); table++) {
    if (twins_.space_of(table) == nullptr) continue;
    try {
      const Space::Visit visit(*twins_.space_of(table));
      kernel_.try_emplace(table);
    } catch (const std::exception& error) {
      log_line("static routes can't be put into the kernel: {}", error.what());
    }
  }
  if (!kernel_.empty()) finding_in_ = kernel_.begin()->first;
}

void StaticRoutes::find() {
  const auto kernel = kernel_.find(*finding_in_);
  const bool more = kernel->second.find([&](const KernelRoute& route) {
    Hops hops = route.hops;
    put_in_order(hops);
    Route& found = routes_[{kernel->first, route.to}];
    found.written = std::move(hops);
    found.losses = twins_.losses();
  });
  again_ = true;
  if (more) return;
  const auto next = std::next(kernel);
  finding_in_ = next != kernel_.end() ? std::optional(next->first) : std::nullopt;
}

void StaticRoutes::look(std::uint64_t now) {
  if (!from_) {
    if (!std::exchange(again_, false)) return;
    from_.emplace();
    retry_ns_ = 0;
  }
  auto place = routes_.lower_bound(*from_);
  for (unsigned cost = 0; cost < kPerCall && place != routes_.end(); cost++) {
    if (write(place->first, place->second)) cost += kWriteCosts;
    place = !place->second.wanted && !place->second.written ? routes_.erase(place) : std::next(place);
  }
  if (place != routes_.end()) {
    from_ = place->first;
    return;
  }
  from_.reset();
  if (refused_ != 0) retry_ns_ = now + kRetry;
  if (std::exchange(told_refused_, refused_) != refused_ && refused_ != 0)
    log_line("the kernel has not taken {} of the static routes; {}", refused_, refusal_);
}

bool StaticRoutes::write(const Key& key, Route& route) {
  const auto found = kernel_.find(key.first);
  if (found == kernel_.end()) return false;
  const OwnRoutes& kernel = found->second;
  // What may be left of it must not stand in the way, nor what has its place by now be taken for ours.
  if (is_lost(key, route)) {
    (void)kernel.remove(key.second);
    route.written.reset();
  }
  std::optional<Hops> hops = route.wanted ? hops_for(key, *route.wanted) : std::nullopt;
  if (hops == route.written && !route.refused) return false;
  if (!hops) {
    if (route.written) (void)kernel.remove(key.second);
    route.written.reset();
    note(key, route, 0);
    return true;
  }
  KernelRoute there;
  there.to = key.second;
  there.hops = *hops;
  const int error = route.written ? kernel.replace(there) : kernel.add(there);
  route.losses = twins_.losses();
  note(key, route, error);
  if (error == 0) {
    route.written = std::move(hops);
  } else if (route.written) {  // what it says is not true any more
    (void)kernel.remove(key.second);
    route.written.reset();
  }
  return true;
}

void StaticRoutes::note(const Key& key, Route& route, int error) {
  const IpPrefix& to = key.second;
  refused_ += error != 0 ? 1 : 0;
  refused_ -= std::exchange(route.refused, error != 0) ? 1 : 0;
  if (error == EEXIST)
    refusal_ =
        fmt::format("{}: there is one of another owner, with metric {}", to_string(to), OwnRoutes::kMetric);
  else if (error != 0)
    refusal_ = fmt::format("{}: {}", to_string(to), std::strerror(error));
}

// The kernel may have taken it since it was written: an interface of its hops was set down, say.
bool StaticRoutes::is_lost(const Key& key, const Route& route) const {
  return route.written &&
         std::any_of(route.written->begin(), route.written->end(), [&](const KernelHop& hop) {
           return twins_.lost_at(key.first, hop.interface) > route.losses;
         });
}

// nullopt: the kernel has no words for it.
std::optional<StaticRoutes::Hops> StaticRoutes::hops_for(const Key& key, NextHop next_hop) const {
  Hops hops;
  if (next_hop.kind == NextHopKind::blackhole) return hops;
  if (next_hop.kind != NextHopKind::group)
    add_hop(key, {next_hop}, hops);
  else
    for (const WeightedHop& member : groups_.carriers(next_hop.index)) add_hop(key, member, hops);
  if (hops.empty()) return std::nullopt;
  put_in_order(hops);
  // Linux has no IPv6 routes by several interfaces without gateways.
  const auto is_bare = [](const KernelHop& hop) { return !hop.gateway.is_set(); };
  if (key.second.address.is_v6() && std::any_of(hops.begin(), hops.end(), is_bare)) hops.resize(1);
  return hops;
}

void StaticRoutes::add_hop(const Key& key, const WeightedHop& member, Hops& hops) const {
  const int twin = twins_.index_of(key.first, member.hop);
  if (twin == 0) return;
  KernelHop hop{twin, {}, static_cast<std::uint8_t>(std::min<std::uint16_t>(member.weight, 255))};
  if (member.hop.kind == NextHopKind::gateway) {
    hop.gateway = tables_.neighbours.entry(member.hop.index).address;
    if (hop.gateway.family != key.second.address.family) return;
  }
  hops.push_back(hop);
}

}  // namespace espgate::dataplane
