// Ways on which no packet could get through: routes into tunnels that may not carry it, and tunnels' packets
// that no port can.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <unordered_map>

#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

constexpr unsigned kIpv4 = 20;
constexpr unsigned kIpv6 = 40;
constexpr unsigned kUdp = 8;
constexpr unsigned kEsp = 8;
constexpr unsigned kTrailer = 2;

using Tunnels = std::unordered_map<std::string_view, const Tunnel*>;

Tunnels by_name(const Configuration& configuration) {
  Tunnels tunnels;
  for (const Tunnel& tunnel : configuration.tunnels) tunnels.emplace(tunnel.name, &tunnel);
  return tunnels;
}

std::string words(const std::vector<SelectorPrefix>& selectors) {
  std::vector<std::string> texts;
  for (const SelectorPrefix& selector : selectors) texts.push_back(to_string(selector));
  return fmt::format("{}", fmt::join(texts, ", "));
}

bool may_carry(const Tunnel& tunnel, const IpPrefix& to) {
  return std::any_of(
      tunnel.remote_selectors.begin(), tunnel.remote_selectors.end(),
      [&](const SelectorPrefix& selector) { return !is_valid(selector) || overlap(selector, to); });
}

// Of names that mean nothing it was told before.
void check_into(Errors& errors, Mark mark, const IpPrefix& to, const std::string& name,
                const Tunnels& tunnels) {
  const auto found = tunnels.find(name);
  if (found == tunnels.end() || found->second->mode == channel::Mode::transport) return;
  const Tunnel& tunnel = *found->second;
  if (may_carry(tunnel, to)) return;
  errors.add(mark, fmt::format("to: {} is nothing that tunnel {} may carry; its remote selectors are: {}",
                               to_string(to), in_quotes(name), words(tunnel.remote_selectors)));
}

// Where the selectors choose, each of the tunnels has its part.
void check_into_some(Errors& errors, Mark mark, const IpPrefix& to, const Group& group,
                     const Tunnels& tunnels) {
  const auto may = [&](const GroupMember& member) {
    const auto found = tunnels.find(member.tunnel);
    return found == tunnels.end() || may_carry(*found->second, to);
  };
  if (std::none_of(group.members.begin(), group.members.end(), may))
    errors.add(mark, fmt::format("to: {} is nothing that a tunnel of group {} may carry", to_string(to),
                                 in_quotes(group.name)));
}

void check_routes(Errors& errors, const Node& root, const Configuration& configuration,
                  const Tunnels& tunnels) {
  std::unordered_map<std::string_view, const Group*> groups;
  for (const Group& group : configuration.groups) groups.emplace(group.name, &group);
  for (std::size_t i = 0; i < configuration.routes.size(); ++i) {
    const Route& route = configuration.routes[i];
    if (!is_valid(route.to)) continue;
    const Mark mark = root.at("routes").at(i).at("to").mark;
    check_into(errors, mark, route.to, route.tunnel, tunnels);
    const auto group = groups.find(route.group);
    if (group == groups.end()) continue;
    if (group->second->by == channel::GroupChoice::selectors) {
      check_into_some(errors, mark, route.to, *group->second, tunnels);
      continue;
    }
    for (const GroupMember& member : group->second->members) {
      if (!member.via) check_into(errors, mark, route.to, member.tunnel, tunnels);
      if (member.via && member.via->is_set() && member.via->family != route.to.address.family)
        errors.add(mark, fmt::format("to: {} and gateway {} of group {} are of different families",
                                     to_string(route.to), to_string(*member.via), in_quotes(route.group)));
    }
  }
}

// Bytes of the outer packet of an inner one, with the suite's least (RFC 4303 section 2).
unsigned outer_length(const Tunnel& tunnel, const crypto::SuiteRow& suite, unsigned inner) {
  const unsigned aligned = (inner + kTrailer + suite.alignment - 1) / suite.alignment * suite.alignment;
  const bool udp = tunnel.encapsulation == Encapsulation::udp || (tunnel.manual && tunnel.manual->udp);
  return (tunnel.local.is_v4() ? kIpv4 : kIpv6) + (udp ? kUdp : 0) + kEsp + suite.iv_length + aligned +
         suite.icv_length;
}

std::vector<crypto::EspSuite> suites_of(const Tunnel& tunnel) {
  if (tunnel.manual) return {tunnel.manual->suite};
  std::vector<crypto::EspSuite> suites;
  for (const EspProposal& proposal : tunnel.esp_proposals)
    suites.insert(suites.end(), proposal.suites.begin(), proposal.suites.end());
  return suites;
}

// 0: no suite is known, which was told before.
unsigned least_outer_length(const Tunnel& tunnel) {
  unsigned least = 0;
  for (const crypto::EspSuite suite : suites_of(tunnel)) {
    const crypto::SuiteRow* const row = crypto::find_suite(suite);
    if (row == nullptr) continue;
    const unsigned length = outer_length(tunnel, *row, tunnel.mtu);
    least = least == 0 ? length : std::min(least, length);
  }
  return least;
}

// Of the ports that routes of a table may lead to: its own, and those of tables that its routes lead out to.
unsigned largest_mtu(const Configuration& configuration, const TableRef& table) {
  const auto leads_there = [&](const Port& port) {
    return port.table.name == table.name ||
           std::any_of(configuration.routes.begin(), configuration.routes.end(), [&](const Route& route) {
             return route.table.name == table.name && route.via_table.name == port.table.name;
           });
  };
  unsigned largest = 0;
  for (const Port& port : configuration.ports)
    if (leads_there(port)) largest = std::max<unsigned>(largest, port.mtu);
  return largest;
}

// By which port a tunnel's packets leave may change with the routes; the largest is what can be had. A table
// without ports is another matter.
void check_mtus(Errors& errors, const Node& root, const Configuration& configuration) {
  for (std::size_t i = 0; i < configuration.tunnels.size(); ++i) {
    const Tunnel& tunnel = configuration.tunnels[i];
    if (tunnel.mtu == 0 || tunnel.fragmentation == Fragmentation::after || !tunnel.local.is_set()) continue;
    const unsigned outer = least_outer_length(tunnel);
    const unsigned largest = largest_mtu(configuration, tunnel.table);
    if (largest == 0 || outer <= largest) continue;
    const std::string where =
        configuration.tables.empty() ? "" : fmt::format(" in table {}", in_quotes(tunnel.table.name));
    errors.add(
        root.at("tunnels").at(i).at("interface").at("mtu").mark,
        fmt::format(
            "mtu: a packet of {} bytes has {} or more when it is encrypted, and no port's MTU{} is above {}; "
            "expected a smaller one, none (then it is derived), or fragmentation: after",
            tunnel.mtu, outer, where, largest));
  }
}

}  // namespace

void check_ways(Errors& errors, const Node& root, const Configuration& configuration) {
  check_routes(errors, root, configuration, by_name(configuration));
  check_mtus(errors, root, configuration);
}

}  // namespace espgate::conf
