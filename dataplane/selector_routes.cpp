#include "dataplane/selector_routes.hpp"

namespace espgate::dataplane {

// Guarded: whatever a peer says that is behind it, its own far end and others' are reached by no tunnel.
bool SelectorRoutes::add_one(TableId table, std::uint32_t tunnel, const IpPrefix& prefix) {
  const NextHop into{NextHopKind::tunnel, 0, 0, tunnel};
  unsigned& count = counts_[{tunnel, prefix}];
  if (count == 0 && !ribs_[table].set(prefix, {RouteSource::selectors, tunnel}, into, true)) {
    counts_.erase({tunnel, prefix});
    return false;
  }
  ++count;
  return true;
}

bool SelectorRoutes::add(TableId table, std::uint32_t tunnel, std::uint32_t spi,
                         const channel::Selectors& selectors) {
  const auto sa = of_sas_.try_emplace({tunnel, spi}, OfSa{table, {}}).first;
  for (std::uint32_t i = 0; i < selectors.remote_count; i++)
    for (const IpPrefix& prefix : prefixes_of(selectors.remote[i].first, selectors.remote[i].last)) {
      if (!add_one(table, tunnel, prefix)) {
        (void)remove(sa);
        return false;
      }
      sa->second.prefixes.push_back(prefix);
    }
  return true;
}

SelectorRoutes::OfSas::iterator SelectorRoutes::remove(OfSas::iterator sa) {
  const std::uint32_t tunnel = sa->first.first;
  for (const IpPrefix& prefix : sa->second.prefixes) {
    const auto count = counts_.find({tunnel, prefix});
    if (--count->second != 0) continue;
    counts_.erase(count);
    ribs_[sa->second.table].remove(prefix, {RouteSource::selectors, tunnel});
  }
  return of_sas_.erase(sa);
}

void SelectorRoutes::remove(std::uint32_t tunnel, std::uint32_t spi) {
  if (const auto found = of_sas_.find({tunnel, spi}); found != of_sas_.end()) (void)remove(found);
}

void SelectorRoutes::remove_all_of(std::uint32_t tunnel) {
  for (auto at = of_sas_.lower_bound({tunnel, 0}); at != of_sas_.end() && at->first.first == tunnel;)
    at = remove(at);
}

}  // namespace espgate::dataplane
