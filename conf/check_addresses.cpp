// Addresses: that networks do not collide, that next hops can be reached, and that tunnels end where they
// can.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

constexpr unsigned kLeastIpv6Mtu = 1280;  // RFC 8200 section 5

// An address of an interface, and where the file says so.
struct Connected {
  IpPrefix address;
  std::string interface;
  std::size_t owner;  // of all interfaces, in the file's order
  bool port;
  Mark mark;
};

std::vector<Connected> all_connected(const Node& root, const Configuration& configuration) {
  std::vector<Connected> result;
  for (std::size_t i = 0; i < configuration.ports.size(); ++i) {
    const Port& port = configuration.ports[i];
    const Node& list = root.at("ports").at(i).at("addresses");
    for (std::size_t j = 0; j < port.addresses.size(); ++j)
      result.push_back({port.addresses[j], port.name, i, true, list.at(j).mark});
  }
  for (std::size_t i = 0; i < configuration.tunnels.size(); ++i) {
    const Tunnel& tunnel = configuration.tunnels[i];
    const Node& list = root.at("tunnels").at(i).at("interface").at("addresses");
    for (std::size_t j = 0; j < tunnel.addresses.size(); ++j)
      result.push_back(
          {tunnel.addresses[j], tunnel.interface, configuration.ports.size() + i, false, list.at(j).mark});
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

// Sorted by network, those that contain another come before it: a stack of those that are still open finds
// every overlap without comparing each with each.
void check_overlaps(Errors& errors, std::vector<Connected> all) {
  const auto key = [](const Connected& each) {
    const IpPrefix network = network_of(each.address);
    return std::tuple(network.address.family, network.address.bytes, network.length);
  };
  std::stable_sort(all.begin(), all.end(), [&](const auto& a, const auto& b) { return key(a) < key(b); });
  std::vector<const Connected*> open;
  for (const Connected& each : all) {
    while (!open.empty() && !overlap(open.back()->address, each.address)) open.pop_back();
    // One interface may have several addresses in one network, but each only once.
    const auto collides = [&](const Connected* other) {
      return other->owner != each.owner || other->address.address == each.address.address;
    };
    const auto found = std::find_if(open.rbegin(), open.rend(), collides);
    if (found != open.rend()) report_overlap(errors, **found, each);
    open.push_back(&each);
  }
}

bool is_own(const std::vector<Connected>& all, const IpAddress& address) {
  return std::any_of(all.begin(), all.end(),
                     [&](const Connected& each) { return each.address.address == address; });
}

void check_gateway(Errors& errors, const Node& place, const Route& route, const std::vector<Connected>& all) {
  const IpAddress& via = *route.via;
  if (!via.is_set()) return;
  if (route.to.address.is_set() && via.family != route.to.address.family)
    return errors.add(
        place.mark, fmt::format("via: {} is of another family than {}", to_string(via), to_string(route.to)));
  if (is_own(all, via))
    return errors.add(place.mark, fmt::format("via: {} is this gateway's own address", to_string(via)));
  const bool reachable = std::any_of(all.begin(), all.end(), [&](const Connected& each) {
    return each.port && contains(each.address, via);
  });
  if (!reachable)
    errors.add(place.mark,
               fmt::format("via: {} lies on no port's network; expected an address next to one of the "
                           "ports' addresses",
                           to_string(via)));
}

void check_routes(Errors& errors, const Node& root, const Configuration& configuration,
                  const std::vector<Connected>& all) {
  std::map<IpPrefix, std::string> taken;
  for (const Connected& each : all)
    taken.emplace(network_of(each.address), fmt::format("the network of {}", words(each)));
  for (std::size_t i = 0; i < configuration.routes.size(); ++i) {
    const Route& route = configuration.routes[i];
    const Node& place = root.at("routes").at(i);
    if (route.via) check_gateway(errors, place.at("via"), route, all);
    if (!is_valid(route.to)) continue;
    const Mark mark = place.at("to").mark;
    const auto [first, is_new] =
        taken.emplace(route.to, fmt::format("a route's destination already, on line {}", mark.line));
    if (!is_new) errors.add(mark, fmt::format("to: {} is {}", to_string(route.to), first->second));
  }
}

std::string port_addresses(const std::vector<Connected>& all, Family family) {
  std::string words;
  for (const Connected& each : all)
    if (each.port && each.address.address.family == family)
      words += (words.empty() ? "" : ", ") + to_string(each.address.address);
  return words.empty() ? "none" : words;
}

void check_endpoints(Errors& errors, const Node& root, const Configuration& configuration,
                     const std::vector<Connected>& all) {
  std::set<IpAddress> ports;
  for (const Connected& each : all)
    if (each.port) ports.insert(each.address.address);
  for (std::size_t i = 0; i < configuration.tunnels.size(); ++i) {
    const Tunnel& tunnel = configuration.tunnels[i];
    const Node& place = root.at("tunnels").at(i);
    if (tunnel.local.is_set() && !ports.contains(tunnel.local))
      errors.add(place.at("local").at("address").mark,
                 fmt::format("address: {} is on no port; the ports' IPv{} addresses are: {}",
                             to_string(tunnel.local), tunnel.local.is_v4() ? 4 : 6,
                             port_addresses(all, tunnel.local.family)));
    if (tunnel.remote.is_set() && ports.contains(tunnel.remote))
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
  std::map<std::tuple<IpAddress, IpAddress, IdentityType, std::vector<std::uint8_t>>, const Tunnel*> seen;
  for (std::size_t i = 0; i < configuration.tunnels.size(); ++i) {
    const Tunnel& tunnel = configuration.tunnels[i];
    if (tunnel.manual || !tunnel.local.is_set() || !tunnel.remote.is_set()) continue;
    const auto [first, is_new] = seen.emplace(
        std::tuple(tunnel.local, tunnel.remote, tunnel.remote_id.type, tunnel.remote_id.data), &tunnel);
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
  check_endpoints(errors, root, configuration, all);
  check_twins(errors, root, configuration);
  for (std::size_t i = 0; i < configuration.ports.size(); ++i)
    check_mtu(errors, root.at("ports").at(i), configuration.ports[i].mtu, configuration.ports[i].addresses);
  for (std::size_t i = 0; i < configuration.tunnels.size(); ++i)
    check_mtu(errors, root.at("tunnels").at(i).at("interface"), configuration.tunnels[i].mtu,
              configuration.tunnels[i].addresses);
}

}  // namespace espgate::conf
