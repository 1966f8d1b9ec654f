#include "control/ike/claims.hpp"

namespace espgate::ike {
namespace {

template <class F>
void for_each_prefix(const Selectors& selectors, F&& f) {
  for (const TrafficSelector& selector : selectors)
    for (const IpPrefix& prefix : prefixes_of(selector.first, selector.last)) f(prefix);
}

}  // namespace

void Claims::add(TableId table, TunnelId slot, const Selectors& selectors) {
  for_each_prefix(selectors, [&](const IpPrefix& prefix) {
    ++claims_.try_emplace({table, prefix}, Claim{slot, 0}).first->second.count;
  });
}

void Claims::remove(TableId table, const Selectors& selectors) {
  for_each_prefix(selectors, [&](const IpPrefix& prefix) {
    const auto found = claims_.find({table, prefix});
    if (found != claims_.end() && --found->second.count == 0) claims_.erase(found);
  });
}

std::optional<TunnelId> Claims::other(TableId table, TunnelId slot, const Selectors& selectors) const {
  std::optional<TunnelId> found;
  for_each_prefix(selectors, [&](const IpPrefix& prefix) {
    if (!found) found = other(table, slot, prefix);
  });
  return found;
}

// What contains it, and what it contains: prefixes overlap in no other way.
std::optional<TunnelId> Claims::other(TableId table, TunnelId slot, const IpPrefix& prefix) const {
  for (unsigned length = 0; length < prefix.length; ++length) {
    const auto around =
        claims_.find({table, network_of({prefix.address, static_cast<std::uint8_t>(length)})});
    if (around != claims_.end() && around->second.slot != slot) return around->second.slot;
  }
  for (auto at = claims_.lower_bound({table, prefix}); at != claims_.end(); ++at) {
    if (at->first.first != table || !contains(prefix, at->first.second.address)) break;
    if (at->second.slot != slot) return at->second.slot;
  }
  return std::nullopt;
}

}  // namespace espgate::ike
