#include "dataplane/kernel/learned_routes.hpp"

#include <linux/rtnetlink.h>

#include <algorithm>

#include "dataplane/kernel/own_routes.hpp"
#include "dataplane/log.hpp"

namespace espgate::dataplane {

namespace {

constexpr unsigned kSweptPerCall = 4096;

// Neither the kernel's own nor ours.
bool is_somebodys(const KernelRoute& route) noexcept {
  const std::uint8_t by = route.protocol;
  return by != RTPROT_KERNEL && by != RTPROT_REDIRECT && by != RTPROT_UNSPEC && by != OwnRoutes::kProtocol;
}

Rib::Origin origin_of(std::uint32_t metric) noexcept { return {RouteSource::learned, metric}; }

}  // namespace

LearnedRoutes::LearnedRoutes(const Parts& parts, TableId table)
    : table_(table),
      rib_(parts.ribs[table]),
      resolver_(parts.resolver),
      interfaces_(parts.interfaces),
      groups_(parts.groups),
      twins_(parts.twins) {
  twins_.when_gone(table_, [this](std::uint32_t tunnel) { forget(tunnel); });
}

LearnedRoutes::~LearnedRoutes() { twins_.when_gone(table_, {}); }

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
    feed_ = std::make_unique<RouteFeed>(
        *twins_.space_of(table_),
        [this](RouteFeed::Link what, int interface) { note_link(what, interface); });
    twins_.wake_by(feed_->wake_fd());
    return true;
  } catch (const std::exception& error) {
    log_line("the kernel's routes can't be followed: {}", error.what());
    return false;
  }
}

void LearnedRoutes::note_link(RouteFeed::Link what, int interface) {
  switch (what) {
    case RouteFeed::Link::down:
    case RouteFeed::Link::up:
      return twins_.link_changed(table_, interface, what == RouteFeed::Link::up);
    case RouteFeed::Link::address_gone:
    case RouteFeed::Link::missed:
      return twins_.note_lost(table_, interface);
  }
}

void LearnedRoutes::take(RouteFeed::Word word, const KernelRoute& route) {
  switch (word) {
    case RouteFeed::Word::begin:
      telling_++;
      sweep_from_.reset();
      skipped_.reset();
      return;
    case RouteFeed::Word::end:
      sweep_from_.emplace();
      return tell_refused();
    default:
      break;
  }
  if (route.table != RT_TABLE_MAIN) return;
  word == RouteFeed::Word::remove ? remove(route) : put(word, route);
}

void LearnedRoutes::put(RouteFeed::Word word, const KernelRoute& route) {
  const auto [place, is_new] = routes_.try_emplace({route.to, route.metric});
  auto& [key, learned] = *place;
  const bool told = word == RouteFeed::Word::told;
  if (word == RouteFeed::Word::only || learned.telling != telling_) {
    learned.rivals.clear();
    learned.unsure = false;
  }
  if (word == RouteFeed::Word::only) learned.several = false;
  learned.telling = telling_;
  // One that leads nowhere here is before it.
  if (is_new && (told ? skipped_ == key : word == RouteFeed::Word::append && route.to.address.is_v4()))
    learned.rivals.append({.to = route.to, .hops = {}});
  // What was told of all may be newer, and then has it in its right place.
  const bool again = !told && !feed_->caught_up();
  learned.unsure = learned.unsure || (again && word != RouteFeed::Word::only);
  if (!again || !learned.rivals.contains(route)) switch (word) {
      case RouteFeed::Word::prepend:
        learned.rivals.prepend(route);
        break;
      case RouteFeed::Word::replace:
        learned.several = !learned.rivals.replace(route) || learned.several;
        break;
      default:
        learned.rivals.append(route);
        break;
    }
  // How the kernel orders several is its own business: their order is asked for after each change.
  const bool beside = word == RouteFeed::Word::append || word == RouteFeed::Word::prepend;
  learned.several = learned.several || learned.rivals.size() > 1;
  if (!told && (learned.several || (beside && (is_new || again)))) feed_->tell_all();
  settle(place);
}

void LearnedRoutes::remove(const KernelRoute& route) {
  const Place place = routes_.find({route.to, route.metric});
  if (place == routes_.end()) return;
  Learned& learned = place->second;
  if (!learned.rivals.remove(route) || learned.several || learned.unsure) feed_->tell_all();
  learned.rivals.size() == 0 ? void(drop(place)) : settle(place);
}

void LearnedRoutes::settle(Place place) {
  auto& [key, learned] = *place;
  const KernelRoute& first = learned.rivals.first();
  const Way way = is_somebodys(first) ? way_of(first) : Way{};
  if (way.next_hop.kind != NextHopKind::none) return lead(place, way);
  leave(place);
  if (learned.rivals.size() > 1) return;
  skipped_ = key;
  routes_.erase(place);
}

void LearnedRoutes::lead(Place place, const Way& way) {
  auto& [key, learned] = *place;
  if (!learned.refused && learned.way == way) return let_go(way.next_hop);  // it was held already
  if (learned.way.next_hop.kind == NextHopKind::group) note_room();
  let_go(learned.way.next_hop);
  const bool fits = rib_.set(key.first, origin_of(key.second), way.next_hop, way.by_tunnel);
  if (!fits) rib_.remove(key.first, origin_of(key.second));  // what it led to before is not true any more
  refused_ += static_cast<std::size_t>(!fits) - static_cast<std::size_t>(learned.refused);
  ungrouped_ += static_cast<std::size_t>(way.ungrouped) - static_cast<std::size_t>(learned.way.ungrouped);
  used_ += learned.way.next_hop.kind == NextHopKind::none ? 1 : 0;
  learned.refused = !fits;
  learned.way = way;
  changed_ = true;
}

LearnedRoutes::Way LearnedRoutes::way_of(const KernelRoute& route) {
  if (is_blackhole(route)) return {{NextHopKind::blackhole, 0, 0, 0}};
  const std::vector<WeightedHop> members = members_of(route.hops);
  if (members.empty()) return {};
  const NextHop first = members.front().hop;
  const auto is_tunnel = [](const WeightedHop& member) { return member.hop.kind == NextHopKind::tunnel; };
  if (members.size() == 1) return {first, false, is_tunnel(members.front())};
  const Place former = routes_.find({route.to, route.metric});
  const NextHop group =
      groups_.shared(members, now_, former == routes_.end() ? NextHop{} : former->second.way.next_hop);
  const bool grouped = group.kind == NextHopKind::group;
  for (const WeightedHop& member : members)
    if (grouped || !(member.hop == first)) let_go(member.hop);
  if (!grouped) return {first, true, is_tunnel(members.front())};
  return {group, false, std::any_of(members.begin(), members.end(), is_tunnel)};
}

// The usable ones, each held once. Of more than a group can have, the first.
std::vector<WeightedHop> LearnedRoutes::members_of(const std::vector<KernelHop>& hops) {
  std::vector<WeightedHop> members;
  for (const KernelHop& hop : hops) {
    if (!hop.usable) continue;
    const std::optional<NextHop> behind = twins_.behind(table_, hop.interface);
    if (!behind) continue;
    const NextHop by = behind->kind == NextHopKind::tunnel ? *behind : gateway(behind->port, hop.gateway);
    if (by.kind == NextHopKind::none) continue;
    const auto same = std::find_if(members.begin(), members.end(),
                                   [&](const WeightedHop& other) { return other.hop == by; });
    if (same == members.end() && members.size() < Group::kMembers) {
      if (by.kind == NextHopKind::tunnel) users_[by.index]++;
      members.push_back({by, hop.weight});
      continue;
    }
    if (by.kind == NextHopKind::gateway) resolver_.unpin(by.index, now_);
    if (same == members.end()) break;
    same->weight = std::min<std::uint16_t>(same->weight + hop.weight, kMostWeight);
  }
  return members;
}

// Without a gateway every destination would be a neighbour on the port's link, and those are only where the
// port has a network.
NextHop LearnedRoutes::gateway(std::uint8_t port, const IpAddress& address) {
  if (!on_link(interfaces_[port], address)) return {};
  const NeighbourId id = resolver_.pin(port, address, now_);
  return id == kNoNeighbour ? NextHop{} : NextHop{NextHopKind::gateway, port, 0, id};
}

// The resolver may forget the neighbour at its next turn, and a group goes when groups are settled: both come
// after the commit.
void LearnedRoutes::let_go(NextHop next_hop) {
  if (next_hop.kind == NextHopKind::gateway) resolver_.unpin(next_hop.index, now_);
  if (next_hop.kind == NextHopKind::group) groups_.release(next_hop, now_);
  if (next_hop.kind == NextHopKind::tunnel && --users_[next_hop.index] == 0) users_.erase(next_hop.index);
}

void LearnedRoutes::leave(Place place) {
  auto& [key, learned] = *place;
  const Way way = std::exchange(learned.way, {});
  if (way.next_hop.kind == NextHopKind::none) return;
  let_go(way.next_hop);
  used_--;
  if (way.ungrouped) ungrouped_--;
  if (std::exchange(learned.refused, false))
    refused_--;
  else
    rib_.remove(key.first, origin_of(key.second));
  note_room();
  changed_ = true;
}

LearnedRoutes::Place LearnedRoutes::drop(Place place) {
  leave(place);
  return routes_.erase(place);
}

// Something went: whatever waits for room may find it now.
void LearnedRoutes::note_room() noexcept {
  if (refused_ + ungrouped_ != 0 && retry_ns_ == 0) retry_ns_ = now_ + kRetry;
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
// Groups lose the member by themselves.
void LearnedRoutes::forget(std::uint32_t tunnel) {
  if (!users_.contains(tunnel)) return;
  const NextHop into{NextHopKind::tunnel, 0, 0, tunnel};
  for (Place place = routes_.begin(); place != routes_.end();)
    place = place->second.way.next_hop == into ? drop(place) : std::next(place);
}

void LearnedRoutes::tell_refused() {
  if (std::exchange(told_refused_, refused_) != refused_ && refused_ != 0)
    log_line("the route table is full (max-routes): {} of {} routes learned from the kernel are not used",
             refused_, used_);
  if (std::exchange(told_ungrouped_, ungrouped_) != ungrouped_ && ungrouped_ != 0)
    log_line(
        "there are more than {} different groups of next hops: {} of {} routes learned from the kernel "
        "have but the first of theirs",
        Forwarding::kSharedGroups, ungrouped_, used_);
}

}  // namespace espgate::dataplane
