#include "dataplane/kernel/learned_routes.hpp"

#include <linux/rtnetlink.h>

#include <algorithm>

#include "dataplane/kernel/own_routes.hpp"
#include "dataplane/log.hpp"

namespace espgate::dataplane {

namespace {

constexpr unsigned kSweptPerCall = 4096;

Rib::Origin origin_of(std::uint32_t metric) noexcept { return {RouteSource::learned, metric}; }

}  // namespace

LearnedRoutes::LearnedRoutes(const Parts& parts)
    : rib_(parts.ribs[kMainTable]),
      resolver_(parts.resolver),
      interfaces_(parts.interfaces),
      twins_(parts.twins) {
  twins_.when_gone(kMainTable, [this](std::uint32_t tunnel) { forget(tunnel); });
}

LearnedRoutes::~LearnedRoutes() { twins_.when_gone(kMainTable, {}); }

bool LearnedRoutes::serve(std::uint64_t now) {
  if (twins_.changes() == 0) return false;
  now_ = now;
  if (!feed_ && !open()) return false;
  // Routes by a twin that was not ours before were of no use then.
  if (std::exchange(twins_seen_, twins_.changes()) != twins_.changes()) feed_->tell_all();
  if (retry_ns_ != 0 && now >= retry_ns_) {
    retry_ns_ = 0;
    feed_->tell_all();
  }
  busy_ = feed_->serve(now, kBudget,
                       [this](RouteFeed::Word word, const KernelRoute& route) { take(word, route); });
  sweep();
  busy_ = busy_ || sweep_from_.has_value();
  return std::exchange(changed_, false);
}

bool LearnedRoutes::open() {
  if (std::exchange(tried_, true)) return false;
  try {
    feed_ = std::make_unique<RouteFeed>();
    twins_.wake_by(feed_->wake_fd());
    return true;
  } catch (const std::exception& error) {
    log_line("the kernel's routes can't be followed: {}", error.what());
    return false;
  }
}

void LearnedRoutes::take(RouteFeed::Word word, const KernelRoute& route) {
  switch (word) {
    case RouteFeed::Word::begin:
      telling_++;
      sweep_from_.reset();
      return;
    case RouteFeed::Word::end:
      sweep_from_.emplace();
      return tell_refused();
    case RouteFeed::Word::set:
    case RouteFeed::Word::append:
    case RouteFeed::Word::remove:
      break;
  }
  if (route.table != RT_TABLE_MAIN || route.protocol == OwnRoutes::kProtocol) return;
  if (word == RouteFeed::Word::set) return set(route);
  word == RouteFeed::Word::append ? append(route) : remove(route);
}

void LearnedRoutes::set(const KernelRoute& route) {
  const Key key{route.to, route.metric};
  bool pinned = false;
  const NextHop next_hop = next_hop_of(route, pinned);
  if (next_hop.kind != NextHopKind::none) return put(key, route.hops, next_hop, pinned);
  const Place former = routes_.find(key);
  if (former != routes_.end()) drop(former);
}

// Of IPv4 routes that agree in prefix and metric the first counts, and a second waits behind it.
void LearnedRoutes::append(const KernelRoute& route) {
  const Place former = routes_.find({route.to, route.metric});
  if (former == routes_.end()) return set(route);
  if (route.to.address.is_v4()) return;
  KernelRoute whole = route;
  whole.hops = former->second.hops;
  for (const KernelHop& hop : route.hops)
    if (std::find(whole.hops.begin(), whole.hops.end(), hop) == whole.hops.end()) whole.hops.push_back(hop);
  set(whole);
}

// Of an IPv6 route single next hops may go; one without any is meant whole.
void LearnedRoutes::remove(const KernelRoute& route) {
  const Place former = routes_.find({route.to, route.metric});
  if (former == routes_.end()) return;
  KernelRoute rest = route;
  rest.hops = former->second.hops;
  std::erase_if(rest.hops, [&](const KernelHop& hop) {
    return std::any_of(route.hops.begin(), route.hops.end(), [&](const KernelHop& gone) {
      return gone.interface == hop.interface && gone.gateway == hop.gateway;
    });
  });
  const bool another =
      route.to.address.is_v4() && !route.hops.empty() && rest.hops.size() == former->second.hops.size();
  if (another) return;
  if (rest.hops.empty() || route.hops.empty() || route.to.address.is_v4())
    drop(former);
  else
    set(rest);
}

void LearnedRoutes::put(const Key& key, std::vector<KernelHop> hops, NextHop next_hop, bool pinned) {
  Learned& learned = routes_[key];
  const bool same = learned.telling != 0 && !learned.refused && learned.next_hop == next_hop;
  learned.telling = telling_;
  learned.hops = std::move(hops);
  if (same) {
    if (pinned) resolver_.unpin(next_hop.index, now_);  // it was already
    return;
  }
  release(learned);
  const bool fits = rib_.set(key.first, origin_of(key.second), next_hop);
  if (!fits) rib_.remove(key.first, origin_of(key.second));  // what it led to before is not true any more
  if (learned.refused) refused_--;
  if (!fits) refused_++;
  learned.refused = !fits;
  learned.next_hop = next_hop;
  learned.pinned = pinned;
  if (next_hop.kind == NextHopKind::tunnel) users_[next_hop.index]++;
  changed_ = true;
}

NextHop LearnedRoutes::next_hop_of(const KernelRoute& route, bool& pinned) {
  if (route.blackhole) return {NextHopKind::blackhole, 0, 0, 0};
  for (const KernelHop& hop : route.hops) {
    const std::optional<NextHop> behind = twins_.behind(kMainTable, hop.interface);
    if (!behind) continue;
    if (behind->kind == NextHopKind::tunnel) return *behind;
    const NextHop by = gateway(behind->port, hop.gateway, pinned);
    if (by.kind != NextHopKind::none) return by;
  }
  return {};
}

// Without a gateway every destination would be a neighbour on the port's link, and those are only where the
// port has a network.
NextHop LearnedRoutes::gateway(std::uint8_t port, const IpAddress& address, bool& pinned) {
  if (!on_link(interfaces_[port], address)) return {};
  const NeighbourId id = resolver_.pin(port, address, now_);
  if (id == kNoNeighbour) return {};
  pinned = true;
  return {NextHopKind::gateway, port, 0, id};
}

// The resolver may forget the neighbour at its next turn, which comes after the commit.
void LearnedRoutes::release(const Learned& learned) {
  if (learned.pinned) resolver_.unpin(learned.next_hop.index, now_);
  if (learned.next_hop.kind == NextHopKind::tunnel && --users_[learned.next_hop.index] == 0)
    users_.erase(learned.next_hop.index);
}

LearnedRoutes::Place LearnedRoutes::drop(Place place) {
  const auto& [key, learned] = *place;
  release(learned);
  if (learned.refused)
    refused_--;
  else
    rib_.remove(key.first, origin_of(key.second));
  if (refused_ != 0 && retry_ns_ == 0) retry_ns_ = now_ + kRetry;
  changed_ = true;
  return routes_.erase(place);
}

void LearnedRoutes::sweep() {
  if (!sweep_from_) return;
  Place place = routes_.lower_bound(*sweep_from_);
  for (unsigned i = 0; i < kSweptPerCall && place != routes_.end(); i++)
    place = place->second.telling == telling_ ? std::next(place) : drop(place);
  if (place == routes_.end())
    sweep_from_.reset();
  else
    sweep_from_ = place->first;
}

// The tunnel's number may be another's at once, so this can't wait for the kernel to say that they have gone.
void LearnedRoutes::forget(std::uint32_t tunnel) {
  if (!users_.contains(tunnel)) return;
  const NextHop into{NextHopKind::tunnel, 0, 0, tunnel};
  for (Place place = routes_.begin(); place != routes_.end();)
    place = place->second.next_hop == into ? drop(place) : std::next(place);
}

void LearnedRoutes::tell_refused() {
  if (std::exchange(told_refused_, refused_) != refused_ && refused_ != 0)
    log_line("the route table is full (max-routes): {} of {} routes learned from the kernel are not used",
             refused_, routes_.size());
}

}  // namespace espgate::dataplane
