#include "dataplane/tables/rib.hpp"

#include <utility>

namespace espgate::dataplane {

bool Rib::set(const IpPrefix& destination, Origin origin, NextHop next_hop) {
  const IpPrefix to = network_of(destination);
  auto& candidates = candidates_[to];
  const bool best = candidates.empty() || origin <= candidates.begin()->first;
  if (best && !routes_.set(to, next_hop)) {
    if (candidates.empty()) candidates_.erase(to);
    return false;
  }
  changed_ = changed_ || best;
  candidates[origin] = next_hop;
  return true;
}

bool Rib::remove(const IpPrefix& destination, Origin origin) {
  const auto found = candidates_.find(network_of(destination));
  if (found == candidates_.end()) return false;
  auto& [to, candidates] = *found;
  const bool best = !candidates.empty() && candidates.begin()->first == origin;
  if (candidates.erase(origin) == 0) return false;
  if (!best) return true;
  changed_ = true;
  // The prefix has its place in the tables already. Only distinct next hops can run out; then it goes
  // altogether.
  if (candidates.empty() || !routes_.set(to, candidates.begin()->second)) (void)routes_.remove(to);
  if (candidates.empty()) candidates_.erase(found);
  return true;
}

const NextHop* Rib::find(const IpPrefix& destination, Origin origin) const {
  const auto found = candidates_.find(network_of(destination));
  if (found == candidates_.end()) return nullptr;
  const auto candidate = found->second.find(origin);
  return candidate == found->second.end() ? nullptr : &candidate->second;
}

bool Rib::commit() {
  routes_.commit();
  return std::exchange(changed_, false);
}

Ribs::Ribs(Forwarding& tables) {
  for (std::size_t table = 0; table < tables.table_count(); table++)
    ribs_.emplace_back(tables.routes(static_cast<TableId>(table)));
}

Ribs::Tables Ribs::commit() {
  Tables changed;
  for (std::size_t table = 0; table < ribs_.size(); table++) changed[table] = ribs_[table].commit();
  return changed;
}

}  // namespace espgate::dataplane
