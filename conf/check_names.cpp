// Names: that each is used once, and that what is referred to exists.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

constexpr std::size_t kMostListed = 10;

// Names of one kind, each with the line of its first use.
class Names {
 public:
  Names(Errors& errors, std::string_view kind) : errors_(errors), kind_(kind) {}

  void define(const std::string& name, const Node& place) {
    if (name.empty()) return;
    const auto [first, is_new] = lines_.emplace(name, place.mark.line);
    if (!is_new)
      errors_.add(place.mark, fmt::format("a second {} is named {}; the first is on line {}", kind_,
                                          in_quotes(name), first->second));
  }

  void refer(const std::string& name, const Node& place) const {
    if (name.empty() || lines_.contains(name)) return;
    errors_.add(place.mark, fmt::format("no {} is named {}{}", kind_, in_quotes(name), instead_of(name)));
  }

 private:
  [[nodiscard]] std::string instead_of(const std::string& name) const {
    std::vector<std::string_view> known;
    for (const auto& [each, line] : lines_) known.push_back(each);
    if (const std::string_view near = nearest(name, known); !near.empty())
      return fmt::format("; did you mean {}?", in_quotes(near));
    if (known.empty() || known.size() > kMostListed) return {};
    return fmt::format("; expected one of: {}", join(known));
  }

  Errors& errors_;
  std::string_view kind_;
  std::map<std::string, int, std::less<>> lines_;
};

void define_interfaces(Errors& errors, const Node& root, const Configuration& configuration) {
  Names interfaces(errors, "interface");
  for (std::size_t i = 0; i < configuration.ports.size(); ++i)
    interfaces.define(configuration.ports[i].name, root.at("ports").at(i).at("name"));
  for (std::size_t i = 0; i < configuration.loopbacks.size(); ++i)
    interfaces.define(configuration.loopbacks[i].name, root.at("loopbacks").at(i).at("name"));
  for (std::size_t i = 0; i < configuration.tunnels.size(); ++i) {
    const Node& tunnel = root.at("tunnels").at(i);
    const Node& interface = tunnel.at("interface");
    const Node& named = interface.at("name");
    // Without a name of its own the interface has the tunnel's.
    interfaces.define(configuration.tunnels[i].interface,
                      &named != &interface && &interface != &tunnel ? named : tunnel.at("name"));
  }
}

// The tunnels into which no route leads, and why.
using Closed = std::map<std::string_view, std::string_view>;

Closed closed_tunnels(const Configuration& configuration) {
  Closed closed;
  for (const Tunnel& tunnel : configuration.tunnels) {
    if (tunnel.mode == channel::Mode::transport)
      closed.emplace(tunnel.name,
                     "in transport mode, which carries only what its two ends say to each other");
    else if (tunnel.peers != 0)
      closed.emplace(tunnel.name,
                     "for many peers (remote: any), and what they may carry are routes by itself");
  }
  return closed;
}

void check_member(Errors& errors, const Node& place, const GroupMember& member, const Names& tunnels,
                  const Closed& closed) {
  if (member.via) return;
  tunnels.refer(member.tunnel, place);
  if (const auto found = closed.find(member.tunnel); found != closed.end())
    errors.add(place.mark, fmt::format("tunnel {} is {}; expected tunnels that can carry the same traffic",
                                       in_quotes(member.tunnel), found->second));
}

void check_members(Errors& errors, const Node& block, const Group& group, const Names& tunnels,
                   const Closed& closed) {
  const bool named = &block.at("tunnels") != &block;
  const Node& list = block.at(named ? "tunnels" : "members");
  std::set<std::string> seen;
  if (&list != &block &&
      (list.kind == NodeKind::null || (list.kind == NodeKind::list && list.children.empty())))
    errors.add(list.mark, named ? "tunnels: expected at least one tunnel" : "members: expected at least one");
  for (std::size_t i = 0; i < group.members.size(); ++i) {
    const GroupMember& member = group.members[i];
    const Node& place = named ? list.at(i) : list.at(i).at(member.via ? "via" : "tunnel");
    check_member(errors, place, member, tunnels, closed);
    const std::string what = member.via ? to_string(*member.via) : member.tunnel;
    if (!what.empty() && !seen.insert((member.via ? "via " : "tunnel ") + what).second)
      errors.add(place.mark, fmt::format("{} {} is in the group already", member.via ? "gateway" : "tunnel",
                                         in_quotes(what)));
  }
}

void check_table_names(Errors& errors, const Node& root, const Configuration& configuration) {
  Names tables(errors, "route table");
  static const Node kBuiltIn;
  tables.define(kMainTableName, kBuiltIn);
  for (std::size_t i = 0; i < configuration.tables.size(); ++i) {
    const Node& name = root.at("tables").at(i).at("name");
    if (configuration.tables[i].name == kMainTableName)
      errors.add(name.mark, "name: main is there already; its size is dataplane's max-routes");
    else
      tables.define(configuration.tables[i].name, name);
  }
  for (std::size_t i = 0; i < configuration.ports.size(); ++i)
    tables.refer(configuration.ports[i].table.name, root.at("ports").at(i).at("table"));
  for (std::size_t i = 0; i < configuration.loopbacks.size(); ++i)
    tables.refer(configuration.loopbacks[i].table.name, root.at("loopbacks").at(i).at("table"));
  for (std::size_t i = 0; i < configuration.tunnels.size(); ++i) {
    const Node& tunnel = root.at("tunnels").at(i);
    tables.refer(configuration.tunnels[i].table.name, tunnel.at("table"));
    tables.refer(configuration.tunnels[i].overlay.name, tunnel.at("interface").at("table"));
  }
  for (std::size_t i = 0; i < configuration.groups.size(); ++i)
    tables.refer(configuration.groups[i].table.name, root.at("groups").at(i).at("table"));
  for (std::size_t i = 0; i < configuration.routes.size(); ++i) {
    const Route& route = configuration.routes[i];
    tables.refer(route.table.name, root.at("routes").at(i).at("table"));
    if (route.via_table.name != route.table.name)
      tables.refer(route.via_table.name, root.at("routes").at(i).at("via-table"));
  }
}

void check_devices(Errors& errors, const Node& root, const Configuration& configuration) {
  std::map<std::string, int> lines;
  for (std::size_t i = 0; i < configuration.ports.size(); ++i) {
    const Node& place = root.at("ports").at(i).at("device");
    const std::string& device = configuration.ports[i].device;
    // DPDK's options do not make it another device.
    const std::string name = device.substr(0, device.find(','));
    if (name.empty() || name.starts_with("memif:")) continue;
    const auto [first, is_new] = lines.emplace(name, place.mark.line);
    if (!is_new)
      errors.add(place.mark, fmt::format("device {} is another port's already, on line {}", in_quotes(name),
                                         first->second));
  }
}

void check_sub_interface(Errors& errors, const Node& place, const Port& port, const Port& parent) {
  if (!parent.parent.empty())
    errors.add(place.at("parent").mark,
               fmt::format("{} is a sub-interface itself; a frame has one VLAN tag", in_quotes(parent.name)));
  if (port.mtu > parent.mtu)
    errors.add(place.at("mtu").mark,
               fmt::format("mtu: expected at most {}, which is {}'s", parent.mtu, in_quotes(parent.name)));
}

void check_sub_interfaces(Errors& errors, const Node& root, const Configuration& configuration) {
  Names parents(errors, "port");
  std::set<std::string> known;  // a name that comes twice was told of
  for (std::size_t i = 0; i < configuration.ports.size(); ++i)
    if (configuration.ports[i].parent.empty() && known.insert(configuration.ports[i].name).second)
      parents.define(configuration.ports[i].name, root.at("ports").at(i).at("name"));
  std::map<std::pair<std::string, std::uint16_t>, int> lines;
  for (std::size_t i = 0; i < configuration.ports.size(); ++i) {
    const Port& port = configuration.ports[i];
    const Node& place = root.at("ports").at(i);
    if (port.parent.empty() || port.vlan == 0) continue;
    const auto [first, is_new] = lines.emplace(std::pair(port.parent, port.vlan), place.at("vlan").mark.line);
    if (!is_new)
      errors.add(place.at("vlan").mark, fmt::format("vlan: {} of {} is another port's already, on line {}",
                                                    port.vlan, in_quotes(port.parent), first->second));
    const auto parent = std::find_if(configuration.ports.begin(), configuration.ports.end(),
                                     [&](const Port& other) { return other.name == port.parent; });
    if (parent == configuration.ports.end())
      parents.refer(port.parent, place.at("parent"));
    else
      check_sub_interface(errors, place, port, *parent);
  }
}

void check_parents(Errors& errors, const Node& root, const Configuration& configuration) {
  Names parents(errors, "tunnel without a parent");
  std::set<std::string> known;  // a name that comes twice was told of
  for (std::size_t i = 0; i < configuration.tunnels.size(); ++i) {
    const Node& place = root.at("tunnels").at(i);
    const std::string& name = configuration.tunnels[i].name;
    if (!is_child(place) && known.insert(name).second) parents.define(name, place.at("name"));
  }
  for (std::size_t i = 0; i < configuration.tunnels.size(); ++i)
    parents.refer(configuration.tunnels[i].parent, root.at("tunnels").at(i).at("parent"));
}

// Each address of an interface takes two routes: its network, and itself.
std::size_t routes_of(const Configuration& configuration, std::string_view table) {
  std::size_t count = 0;
  for (const Route& route : configuration.routes) count += route.table.name == table ? 1 : 0;
  for (const Port& port : configuration.ports)
    count += port.table.name == table ? 2 * port.addresses.size() : 0;
  for (const Loopback& loopback : configuration.loopbacks)
    count += loopback.table.name == table ? loopback.addresses.size() : 0;
  for (const Tunnel& tunnel : configuration.tunnels)
    count += tunnel.overlay.name == table ? 2 * tunnel.addresses.size() : 0;
  return count;
}

void check_sizes(Errors& errors, const Node& root, const Configuration& configuration) {
  const auto limit = [&](std::string_view list, std::size_t count, std::size_t most, std::string_view why) {
    if (count > most)
      errors.add(root.at(list).mark,
                 fmt::format("{}: expected at most {} ({}), not {}", list, most, why, count));
  };
  const Dataplane& room = configuration.dataplane;
  std::size_t tunnels = 0;
  for (const Tunnel& tunnel : configuration.tunnels) tunnels += std::max(tunnel.peers, 1U);
  limit("tunnels", tunnels, room.max_tunnels, "dataplane's max-tunnels");
  limit("routes", routes_of(configuration, kMainTableName), room.max_routes,
        "dataplane's max-routes, of which each address of an interface takes two");
  for (const Table& table : configuration.tables)
    limit("routes", routes_of(configuration, table.name), table.max_routes,
          fmt::format("max-routes of table {}, of which each address of an interface takes two",
                      in_quotes(table.name)));
  limit("groups", configuration.groups.size(), max_groups(room), "64, or half of dataplane's max-tunnels");
}

}  // namespace

void check_names(Errors& errors, const Node& root, const Configuration& configuration) {
  define_interfaces(errors, root, configuration);
  Names tunnels(errors, "tunnel");
  for (std::size_t i = 0; i < configuration.tunnels.size(); ++i)
    tunnels.define(configuration.tunnels[i].name, root.at("tunnels").at(i).at("name"));
  check_parents(errors, root, configuration);
  const Closed closed = closed_tunnels(configuration);
  Names groups(errors, "group");
  for (std::size_t i = 0; i < configuration.groups.size(); ++i) {
    const Node& group = root.at("groups").at(i);
    groups.define(configuration.groups[i].name, group.at("name"));
    check_members(errors, group, configuration.groups[i], tunnels, closed);
  }
  for (std::size_t i = 0; i < configuration.routes.size(); ++i) {
    const Node& route = root.at("routes").at(i);
    tunnels.refer(configuration.routes[i].tunnel, route.at("tunnel"));
    if (const auto found = closed.find(configuration.routes[i].tunnel); found != closed.end())
      errors.add(route.at("tunnel").mark, fmt::format("tunnel {} is {}; no route leads into it",
                                                      in_quotes(found->first), found->second));
    groups.refer(configuration.routes[i].group, route.at("group"));
  }
  check_table_names(errors, root, configuration);
  check_devices(errors, root, configuration);
  check_sub_interfaces(errors, root, configuration);
  check_sizes(errors, root, configuration);
}

}  // namespace espgate::conf
