// Route tables: that what leads from one to another says so, and that each tunnel's far end is reached, by no
// tunnel.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

// What refers to nothing was told before.
class Overlays {
 public:
  explicit Overlays(const Configuration& configuration) {
    for (const Tunnel& tunnel : configuration.tunnels) tunnels_.emplace(tunnel.name, &tunnel);
    for (const Group& group : configuration.groups) groups_.emplace(group.name, &group);
  }

  // The tables of the interfaces and of a group's gateways that a route leads to; none of a route to a
  // gateway.
  [[nodiscard]] std::set<std::string_view> of(const Route& route) const {
    std::set<std::string_view> overlays;
    for (const Tunnel* tunnel : into(route)) overlays.insert(tunnel->overlay.name);
    const auto group = groups_.find(route.group);
    if (group != groups_.end())
      for (const GroupMember& member : group->second->members)
        if (member.via) overlays.insert(group->second->table.name);
    return overlays;
  }

  [[nodiscard]] std::vector<const Tunnel*> into(const Route& route) const {
    std::vector<const Tunnel*> tunnels;
    const auto add = [&](const std::string& name) {
      if (const auto found = tunnels_.find(name); found != tunnels_.end()) tunnels.push_back(found->second);
    };
    add(route.tunnel);
    const auto group = groups_.find(route.group);
    if (group != groups_.end())
      for (const GroupMember& member : group->second->members) add(member.tunnel);
    return tunnels;
  }

 private:
  std::unordered_map<std::string_view, const Tunnel*> tunnels_;
  std::unordered_map<std::string_view, const Group*> groups_;
};

void check_leaks(Errors& errors, const Node& root, const Configuration& configuration,
                 const Overlays& overlays) {
  for (std::size_t i = 0; i < configuration.routes.size(); ++i) {
    const Route& route = configuration.routes[i];
    const Node& place = root.at("routes").at(i);
    for (const std::string_view overlay : overlays.of(route)) {
      if (overlay == route.via_table.name) continue;
      const bool tunnel = !route.tunnel.empty();
      errors.add(place.at(tunnel ? "tunnel" : "group").mark,
                 fmt::format("{}: {} has an interface in table {}, and the route is for table {}; expected "
                             "via-table: {}, if it is to lead there",
                             tunnel ? "tunnel" : "group", in_quotes(tunnel ? route.tunnel : route.group),
                             in_quotes(overlay), in_quotes(route.via_table.name), overlay));
    }
  }
}

// The ways by ports, interfaces and static routes, of all tables: the longest prefix wins.
class Ways {
 public:
  struct Way {
    const Route* route;    // null: the network of an interface
    const Tunnel* tunnel;  // whose interface it is; null: a port's
  };

  explicit Ways(const Configuration& configuration) {
    for (const Port& port : configuration.ports)
      for (const IpPrefix& own : port.addresses) add(port.table.name, own, {nullptr, nullptr});
    for (const Tunnel& tunnel : configuration.tunnels)
      for (const IpPrefix& own : tunnel.addresses) add(tunnel.overlay.name, own, {nullptr, &tunnel});
    for (const Route& route : configuration.routes) add(route.table.name, route.to, {&route, nullptr});
  }

  // Null: none.
  [[nodiscard]] const Way* best(std::string_view table, const IpAddress& to) const {
    for (auto length = lengths_.rbegin(); length != lengths_.rend(); ++length) {
      if (*length > (to.is_v4() ? 32 : 128)) continue;
      const auto found = ways_.find({table, network_of({to, *length})});
      if (found != ways_.end()) return &found->second;
    }
    return nullptr;
  }

 private:
  void add(std::string_view table, const IpPrefix& prefix, Way way) {
    if (!is_valid(prefix) || !prefix.address.is_set()) return;
    ways_.try_emplace({table, network_of(prefix)}, way);
    lengths_.insert(prefix.length);
  }

  std::map<std::pair<std::string_view, IpPrefix>, Way> ways_;
  std::set<std::uint8_t> lengths_;
};

std::string refusal(const Tunnel& tunnel, std::string_view into, bool itself, const IpPrefix& to) {
  return fmt::format(
      "to: {} leads the packets to {}, the far end of tunnel {}, into {}; expected a longer "
      "prefix for the far end, by a port",
      to_string(to), to_string(tunnel.remote), in_quotes(tunnel.name),
      itself ? "that tunnel itself"
             : fmt::format("tunnel {}, and no tunnel goes through another", in_quotes(into)));
}

// A twin's table may learn what the file does not have.
bool learns(const Configuration& configuration, std::string_view table) {
  return std::any_of(configuration.ports.begin(), configuration.ports.end(),
                     [&](const Port& port) { return port.table.name == table && !port.kernel.empty(); });
}

std::string no_way(const Tunnel& tunnel) {
  return fmt::format(
      "address: nothing of table {} leads to {}; expected a route to there, or a port of that table with a "
      "twin in the "
      "kernel, where a route could be learned",
      in_quotes(tunnel.table.name), to_string(tunnel.remote));
}

// The outer packets of a tunnel leave by a port, never by a tunnel, be it itself or another.
void check_far_ends(Errors& errors, const Node& root, const Configuration& configuration,
                    const Overlays& overlays) {
  const Ways ways(configuration);
  std::set<const Route*> told;
  for (std::size_t i = 0; i < configuration.tunnels.size(); ++i) {
    const Tunnel& tunnel = configuration.tunnels[i];
    if (!tunnel.parent.empty() || !tunnel.remote.is_set() || tunnel.remote.family != tunnel.local.family)
      continue;
    const Mark mark = root.at("tunnels").at(i).at("remote").at("address").mark;
    const Ways::Way* const way = ways.best(tunnel.table.name, tunnel.remote);
    if (way == nullptr) {
      if (!learns(configuration, tunnel.table.name)) errors.add(mark, no_way(tunnel));
      continue;
    }
    if (way->tunnel != nullptr)
      errors.add(mark,
                 fmt::format("address: {} lies on the network of the interface {}; expected an address that "
                             "is reached by a port",
                             to_string(tunnel.remote), in_quotes(way->tunnel->interface)));
    if (way->route == nullptr) continue;
    if (way->route->blackhole)
      errors.add(mark, fmt::format("address: the way to {} is the blackhole {}; expected a route by a port",
                                   to_string(tunnel.remote), to_string(way->route->to)));
    const std::vector<const Tunnel*> into = overlays.into(*way->route);
    if (into.empty() || !told.insert(way->route).second) continue;
    const bool itself = std::find(into.begin(), into.end(), &tunnel) != into.end();
    const auto place = static_cast<std::size_t>(way->route - configuration.routes.data());
    errors.add(root.at("routes").at(place).at("to").mark,
               refusal(tunnel, into.front()->name, itself, way->route->to));
  }
}

void check_transport(Errors& errors, const Node& root, const Configuration& configuration) {
  for (std::size_t i = 0; i < configuration.tunnels.size(); ++i) {
    const Tunnel& tunnel = configuration.tunnels[i];
    if (tunnel.mode != channel::Mode::transport || tunnel.overlay.name == tunnel.table.name) continue;
    errors.add(root.at("tunnels").at(i).at("interface").at("table").mark,
               fmt::format("table: in transport mode inner and outer packets are the same ones; expected {}",
                           in_quotes(tunnel.table.name)));
  }
}

}  // namespace

void check_tables(Errors& errors, const Node& root, const Configuration& configuration) {
  const Overlays overlays(configuration);
  check_leaks(errors, root, configuration, overlays);
  check_far_ends(errors, root, configuration, overlays);
  check_transport(errors, root, configuration);
}

}  // namespace espgate::conf
