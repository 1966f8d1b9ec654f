// Addresses: that networks do not collide, that next hops can be reached, and that tunnels end where they
// can.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "conf/comparable.hpp"
#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

constexpr unsigned kLeastIpv6Mtu = 1280;  // RFC 8200 section 5

// An address of an interface, and where the file says so.
enum class Kind : std::uint8_t { port, loopback, tunnel };
struct Connected {
  IpPrefix address;
  std::string interface;
  std::size_t owner;  // of all interfaces, in the file's order
  Kind kind;
  std::string table;
  Mark mark;
};

std::vector<Connected> all_connected(const Node& root, const Configuration& configuration) {
  std::vector<Connected> result;
  for (std::size_t i = 0; i < configuration.ports.size(); ++i) {
    const Port& port = configuration.ports[i];
    const Node& list = root.at("ports").at(i).at("addresses");
    for (std::size_t j = 0; j < port.addresses.size(); ++j)
      result.push_back({port.addresses[j], port.name, i, Kind::port, port.table.name, list.at(j).mark});
  }
  std::size_t owners = configuration.ports.size();
  for (std::size_t i = 0; i < configuration.loopbacks.size(); ++i, ++owners) {
    const Loopback& loopback = configuration.loopbacks[i];
    const Node& list = root.at("loopbacks").at(i).at("addresses");
    for (std::size_t j = 0; j < loopback.addresses.size(); ++j)
      result.push_back({loopback.addresses[j], loopback.name, owners, Kind::loopback, loopback.table.name,
                        list.at(j).mark});
  }
  for (std::size_t i = 0; i < configuration.tunnels.size(); ++i, ++owners) {
    const Tunnel& tunnel = configuration.tunnels[i];
    const Node& list = root.at("tunnels").at(i).at("interface").at("addresses");
    for (std::size_t j = 0; j < tunnel.addresses.size(); ++j)
      result.push_back({tunnel.addresses[j], tunnel.interface, owners, Kind::tunnel, tunnel.overlay.name,
                        list.at(j).mark});
  }
  std::erase_if(result, [](const Connected& each) { return !is_valid(each.address); });
  return result;
}

std::string words(const Connected& each) {
  return fmt::format("{} of {} on line {}", to_string(each.address), in_quotes(each.interface),
                     each.mark.line);
}

void report_overlap(Errors& errors, const Connected& a, const Connected& b) {
  const bool a_first = std::pair(a.mark.line, a.mark.column) < std::pair(b.mark.line, b.mark.column);
  const Connected& first = a_first ? a : b;
  const Connected& second = a_first ? b : a;
  const std::string_view what =
      a.address.address == b.address.address ? "is the same address as" : "overlaps";
  errors.add(second.mark, fmt::format("{} {} {}", to_string(second.address), what, words(first)));
}

// Sorted by table and network, those that contain another come before it: a stack of those that are still
// open finds every overlap without comparing each with each.
void check_overlaps(Errors& errors, std::vector<Connected> all) {
  const auto key = [](const Connected& each) {
    const IpPrefix network = network_of(each.address);
    return std::tuple(each.table, network.address.family, network.address.bytes, network.length);
  };
  std::stable_sort(all.begin(), all.end(), [&](const auto& a, const auto& b) { return key(a) < key(b); });
  std::vector<const Connected*> open;
  for (const Connected& each : all) {
    const auto beside = [&each](const Connected& other) {
      return other.table != each.table || !overlap(other.address, each.address);
    };
    while (!open.empty() && beside(*open.back())) open.pop_back();
    // One interface may have several addresses in one network, but each only once.
    const auto collides = [&](const Connected* other) {
      return other->owner != each.owner || other->address.address == each.address.address;
    };
    const auto found = std::find_if(open.rbegin(), open.rend(), collides);
    if (found != open.rend()) report_overlap(errors, **found, each);
    open.push_back(&each);
  }
}

bool is_own(const std::vector<Connected>& all, const std::string& table, const IpAddress& address) {
  return std::any_of(all.begin(), all.end(), [&](const Connected& each) {
    return each.table == table && each.address.address == address;
  });
}

// " of table "red"": said where there is more than one table.
std::string of_table(const Configuration& configuration, const std::string& table) {
  return configuration.tables.empty() ? "" : " of table " + in_quotes(table);
}

void check_gateway(Errors& errors, const Node& place, const IpAddress& via, const std::string& table,
                   const Configuration& configuration, const std::vector<Connected>& all) {
  if (!via.is_set()) return;
  if (is_own(all, table, via))
    return errors.add(place.mark, fmt::format("via: {} is this gateway's own address", to_string(via)));
  const bool reachable = std::any_of(all.begin(), all.end(), [&](const Connected& each) {
    return each.kind == Kind::port && each.table == table && contains(each.address, via);
  });
  if (!reachable)
    errors.add(place.mark,
               fmt::format("via: {} lies on no port's network{}; expected an address next to one of the "
                           "ports' addresses",
                           to_string(via), of_table(configuration, table)));
}

void check_route_gateway(Errors& errors, const Node& place, const Route& route,
                         const Configuration& configuration, const std::vector<Connected>& all) {
  const IpAddress& via = *route.via;
  if (via.is_set() && route.to.address.is_set() && via.family != route.to.address.family)
    return errors.add(
        place.mark, fmt::format("via: {} is of another family than {}", to_string(via), to_string(route.to)));
  check_gateway(errors, place, via, route.via_table.name, configuration, all);
}

void check_group_gateways(Errors& errors, const Node& root, const Configuration& configuration,
                          const std::vector<Connected>& all) {
  for (std::size_t i = 0; i < configuration.groups.size(); ++i) {
    const Group& group = configuration.groups[i];
    const Node& members = root.at("groups").at(i).at("members");
    for (std::size_t m = 0; m < group.members.size(); ++m)
      if (group.members[m].via)
        check_gateway(errors, members.at(m).at("via"), *group.members[m].via, group.table.name, configuration,
                      all);
  }
}

void check_routes(Errors& errors, const Node& root, const Configuration& configuration,
                  const std::vector<Connected>& all) {
  std::map<std::pair<std::string, IpPrefix>, std::string> taken;
  for (const Connected& each : all)
    taken.emplace(std::pair(each.table, network_of(each.address)),
                  fmt::format("the network of {}", words(each)));
  for (std::size_t i = 0; i < configuration.routes.size(); ++i) {
    const Route& route = configuration.routes[i];
    const Node& place = root.at("routes").at(i);
    if (route.via) check_route_gateway(errors, place.at("via"), route, configuration, all);
    if (!is_valid(route.to)) continue;
    const Mark mark = place.at("to").mark;
    const auto [first, is_new] =
        taken.emplace(std::pair(route.table.name, route.to),
                      fmt::format("a route's destination already, on line {}", mark.line));
    if (!is_new) errors.add(mark, fmt::format("to: {} is {}", to_string(route.to), first->second));
  }
}

// An address at which tunnels can end: outer packets come by ports.
bool is_end(const Connected& each, const std::string& table) {
  return each.kind != Kind::tunnel && each.table == table;
}

std::string ends_of(const std::vector<Connected>& all, const std::string& table, Family family) {
  std::string words;
  for (const Connected& each : all)
    if (is_end(each, table) && each.address.address.family == family)
      words += (words.empty() ? "" : ", ") + to_string(each.address.address);
  return words.empty() ? "none" : words;
}

void check_endpoints(Errors& errors, const Node& root, const Configuration& configuration,
                     const std::vector<Connected>& all) {
  std::set<std::pair<std::string, IpAddress>> ends;
  for (const Connected& each : all)
    if (is_end(each, each.table)) ends.emplace(each.table, each.address.address);
  for (std::size_t i = 0; i < configuration.tunnels.size(); ++i) {
    const Tunnel& tunnel = configuration.tunnels[i];
    if (!tunnel.parent.empty()) continue;  // its parent's ends
    const Node& place = root.at("tunnels").at(i);
    if (tunnel.local.is_set() && !ends.contains({tunnel.table.name, tunnel.local}))
      errors.add(
          place.at("local").at("address").mark,
          fmt::format("address: {} is on no port or loopback{}; the IPv{} addresses there are: {}",
                      to_string(tunnel.local), of_table(configuration, tunnel.table.name),
                      tunnel.local.is_v4() ? 4 : 6, ends_of(all, tunnel.table.name, tunnel.local.family)));
    if (tunnel.remote.is_set() && ends.contains({tunnel.table.name, tunnel.remote}))
      errors.add(place.at("remote").at("address").mark,
                 fmt::format("address: {} is this gateway's own", to_string(tunnel.remote)));
    if (tunnel.remote.is_set() && tunnel.local.is_set() && tunnel.remote.family != tunnel.local.family)
      errors.add(place.at("remote").at("address").mark,
                 fmt::format("address: {} is of another family than the local address {}",
                             to_string(tunnel.remote), to_string(tunnel.local)));
  }
}

// A peer is known by its addresses and its identity: two tunnels that agree in all three can't be told apart.
void check_twins(Errors& errors, const Node& root, const Configuration& configuration) {
  std::map<std::tuple<std::string, IpAddress, IpAddress, IdentityType, std::vector<std::uint8_t>>,
           const Tunnel*>
      seen;
  for (std::size_t i = 0; i < configuration.tunnels.size(); ++i) {
    const Tunnel& tunnel = configuration.tunnels[i];
    const bool ends = tunnel.local.is_set() && (tunnel.remote.is_set() || tunnel.remote_id.pattern);
    if (tunnel.manual || !tunnel.parent.empty() || !ends) continue;
    const auto [first, is_new] = seen.emplace(std::tuple(tunnel.table.name, tunnel.local, tunnel.remote,
                                                         tunnel.remote_id.type, comparable(tunnel.remote_id)),
                                              &tunnel);
    if (!is_new)
      errors.add(root.at("tunnels").at(i).mark,
                 fmt::format("tunnel: same local address, remote address and remote id as {} on line {}",
                             in_quotes(first->second->name), first->second->mark.line));
  }
}

void check_mtu(Errors& errors, const Node& place, unsigned mtu, const std::vector<IpPrefix>& addresses) {
  const bool ipv6 = std::any_of(addresses.begin(), addresses.end(),
                                [](const IpPrefix& each) { return each.address.is_v6(); });
  if (ipv6 && mtu != 0 && mtu < kLeastIpv6Mtu)
    errors.add(place.at("mtu").mark,
               fmt::format("mtu: expected at least {}, since there is an IPv6 address", kLeastIpv6Mtu));
}

}  // namespace

void check_addresses(Errors& errors, const Node& root, const Configuration& configuration) {
  const std::vector<Connected> all = all_connected(root, configuration);
  check_overlaps(errors, all);
  check_routes(errors, root, configuration, all);
  check_group_gateways(errors, root, configuration, all);
  check_endpoints(errors, root, configuration, all);
  check_twins(errors, root, configuration);
  for (std::size_t i = 0; i < configuration.ports.size(); ++i)
    check_mtu(errors, root.at("ports").at(i), configuration.ports[i].mtu, configuration.ports[i].addresses);
  for (std::size_t i = 0; i < configuration.tunnels.size(); ++i)
    check_mtu(errors, root.at("tunnels").at(i).at("interface"), configuration.tunnels[i].mtu,
              configuration.tunnels[i].addresses);
}

}  // namespace espgate::conf
