// Tunnels that share an IKE SA: the peer's request for a child SA tells by its selectors which of them it
// means.
#include <fmt/format.h>

#include <map>
#include <set>
#include <unordered_map>

#include "channel/messages.hpp"
#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

using Selectors = std::pair<std::set<IpPrefix>, std::set<IpPrefix>>;

Selectors selectors_of(const Tunnel& tunnel) {
  return {{tunnel.local_selectors.begin(), tunnel.local_selectors.end()},
          {tunnel.remote_selectors.begin(), tunnel.remote_selectors.end()}};
}

void check_parent(Errors& errors, const Node& place, const Tunnel& child, const Tunnel& parent) {
  if (parent.peers != 0)
    errors.add(place.mark, fmt::format("parent: {} is for many peers (remote: any), each with its own IKE SA",
                                       in_quotes(child.parent)));
  else if (parent.manual)
    errors.add(place.mark, fmt::format("parent: {} has manual keys, and no IKE SA that could be shared",
                                       in_quotes(child.parent)));
  else if (parent.mode == channel::Mode::transport)
    errors.add(place.mark, fmt::format("parent: {} is in transport mode, which is for its two ends alone",
                                       in_quotes(child.parent)));
}

}  // namespace

void check_children(Errors& errors, const Node& root, const Configuration& configuration) {
  const std::vector<Tunnel>& tunnels = configuration.tunnels;
  std::map<std::uint32_t, std::map<Selectors, const Tunnel*>> families;
  for (std::uint32_t i = 0; i < tunnels.size(); ++i) {
    if (!tunnels[i].parent_index) continue;
    const Node& place = root.at("tunnels").at(i);
    const std::uint32_t parent = *tunnels[i].parent_index;
    check_parent(errors, place.at("parent"), tunnels[i], tunnels[parent]);
    auto& family = families[parent];
    if (family.empty()) family.emplace(selectors_of(tunnels[parent]), &tunnels[parent]);
    const auto [first, is_new] = family.emplace(selectors_of(tunnels[i]), &tunnels[i]);
    if (!is_new)
      errors.add(place.at("selectors").mark,
                 fmt::format("selectors: the same as those of {}, with which the tunnel shares an IKE SA; "
                             "expected others",
                             in_quotes(first->second->name)));
  }
}

}  // namespace espgate::conf
