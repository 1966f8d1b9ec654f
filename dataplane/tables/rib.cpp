#include "dataplane/tables/rib.hpp"

#include <algorithm>
#include <utility>

namespace espgate::dataplane {

bool Rib::set(const IpPrefix& destination, Origin origin, NextHop next_hop, bool guarded) {
  const IpPrefix to = network_of(destination);
  note_change(to);
  auto& candidates = candidates_[to];
  const auto first = best(to, candidates);
  const bool wins = !held_.contains({to, origin}) && (first == candidates.end() || origin <= first->first);
  if (wins && !routes_.set(to, next_hop)) {
    if (candidates.empty()) candidates_.erase(to);
    return false;
  }
  changed_ = changed_ || wins;
  candidates[origin] = {next_hop, guarded};
  return true;
}

bool Rib::remove(const IpPrefix& destination, Origin origin) {
  const auto found = candidates_.find(network_of(destination));
  if (found == candidates_.end()) return false;
  auto& [to, candidates] = *found;
  const auto first = best(to, candidates);
  const bool wins = first != candidates.end() && first->first == origin;
  if (candidates.erase(origin) == 0) return false;
  note_change(to);
  if (wins) select(to);
  if (candidates.empty()) candidates_.erase(found);
  return true;
}

const NextHop* Rib::find(const IpPrefix& destination, Origin origin) const {
  const auto found = candidates_.find(network_of(destination));
  if (found == candidates_.end()) return nullptr;
  const auto candidate = found->second.find(origin);
  return candidate == found->second.end() ? nullptr : &candidate->second.next_hop;
}

Rib::Candidates::const_iterator Rib::best(const IpPrefix& to, const Candidates& candidates) const {
  return std::find_if(candidates.begin(), candidates.end(), [&](const auto& each) {
    return !held_.contains({to, each.first});
  });
}

// The prefix has its place in the tables already, or had it. Only distinct next hops can run out, or others
// can have taken it; then it goes altogether.
void Rib::select(const IpPrefix& to) {
  changed_ = true;
  const auto found = candidates_.find(to);
  if (found != candidates_.end())
    if (const auto first = best(to, found->second); first != found->second.end())
      if (routes_.set(to, first->second.next_hop)) return;
  (void)routes_.remove(to);
}

void Rib::set_far_end(const IpAddress& address, bool is_one) {
  if (!is_valid(address)) return;
  unsure_.insert(address);
  if (is_one) {
    far_ends_.try_emplace(address);
    former_.erase(address);
  } else {
    former_.insert(address);
  }
}

void Rib::note_change(const IpPrefix& to) {
  IpAddress begin = to.address;
  begin.family = Family::none;
  for (auto at = far_ends_.lower_bound(begin); at != far_ends_.end(); ++at) {
    const IpAddress& far_end = at->first;
    IpPrefix around{far_end, to.length};
    around.address.family = to.address.family;
    if (network_of(around).address.bytes != to.address.bytes) return;
    if (far_end.family == to.address.family) unsure_.insert(far_end);
  }
}

// The guarded candidates that come before the first other one, in the order of a lookup.
std::vector<Rib::Place> Rib::in_the_way_to(const IpAddress& far_end) const {
  std::vector<Place> guarded;
  for (int length = far_end.is_v4() ? 32 : 128; length >= 0; length--) {
    const auto found = candidates_.find(network_of({far_end, static_cast<std::uint8_t>(length)}));
    if (found == candidates_.end()) continue;
    for (const auto& [origin, candidate] : found->second) {
      if (!candidate.guarded) return guarded;
      guarded.emplace_back(found->first, origin);
    }
  }
  return guarded;
}

void Rib::guard(const IpAddress& far_end) {
  const auto known = far_ends_.find(far_end);
  if (known == far_ends_.end()) return;
  std::set<IpPrefix> touched;
  const bool is_one = former_.erase(far_end) == 0;
  const std::vector<Place> former =
      std::exchange(known->second, is_one ? in_the_way_to(far_end) : std::vector<Place>());
  for (const Place& place : known->second) {
    const auto [held, is_new] = held_.try_emplace(place);
    held->second.insert(far_end);
    if (!is_new) continue;
    touched.insert(place.first);
    news_.push_back({place.first, far_end});
  }
  for (const Place& place : former) {
    if (std::find(known->second.begin(), known->second.end(), place) != known->second.end()) continue;
    const auto held = held_.find(place);
    held->second.erase(far_end);
    if (!held->second.empty()) continue;
    held_.erase(held);
    touched.insert(place.first);
    news_.push_back({place.first, std::nullopt});
  }
  for (const IpPrefix& to : touched) {
    select(to);
    note_change(to);
  }
  if (!is_one) far_ends_.erase(far_end);
}

std::vector<Rib::Held> Rib::held() const {
  std::vector<Held> all;
  for (const auto& [place, far_ends] : held_) all.push_back({place.first, *far_ends.begin()});
  return all;
}

// What is held back, or no more, is that for every far end behind it: none of those is guarded once more.
Rib::Changes Rib::commit() {
  std::set<IpAddress> far_ends = std::exchange(unsure_, {});
  for (const IpAddress& far_end : far_ends) guard(far_end);
  far_ends.merge(std::exchange(unsure_, {}));
  routes_.commit();
  return {std::exchange(changed_, false), std::move(far_ends)};
}

Ribs::Ribs(Forwarding& tables) {
  for (std::size_t table = 0; table < tables.table_count(); table++)
    ribs_.emplace_back(tables.routes(static_cast<TableId>(table)));
}

Ribs::Changes Ribs::commit() {
  Changes all;
  for (std::size_t table = 0; table < ribs_.size(); table++) {
    const Rib::Changes its = ribs_[table].commit();
    all.any = all.any || its.any;
    for (const IpAddress& far_end : its.far_ends)
      all.far_ends.emplace_back(static_cast<TableId>(table), far_end);
  }
  return all;
}

}  // namespace espgate::dataplane
