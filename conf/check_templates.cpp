// The networks of which a template's peers may have a part: nothing else of the gateway's leads into them, so
// that no peer gets packets that are others', nor loses its own.
#include <fmt/format.h>

#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

struct Taken {
  std::string_view table;
  IpPrefix network;
  std::string what;
  bool may_contain;  // as the route that is left when a peer is away
};

std::vector<Taken> all_taken(const Configuration& configuration) {
  std::vector<Taken> taken;
  const auto add_all = [&taken](const auto& interface, std::string_view kind, const std::string& name,
                                const TableRef& table) {
    for (const IpPrefix& own : interface.addresses)
      if (is_valid(own))
        taken.push_back({table.name, network_of(own), fmt::format("{} {}", kind, in_quotes(name)), false});
  };
  for (const Port& port : configuration.ports) add_all(port, "the network of port", port.name, port.table);
  for (const Loopback& loopback : configuration.loopbacks)
    add_all(loopback, "an address of loopback", loopback.name, loopback.table);
  for (const Tunnel& tunnel : configuration.tunnels)
    add_all(tunnel, "the network of tunnel", tunnel.name, tunnel.overlay);
  for (const Route& route : configuration.routes)
    if (is_valid(route.to))
      taken.push_back(
          {route.table.name, route.to, fmt::format("the route on line {}", route.mark.line), true});
  return taken;
}

}  // namespace

void check_templates(Errors& errors, const Node& root, const Configuration& configuration) {
  const std::vector<Taken> taken = all_taken(configuration);
  for (std::size_t i = 0; i < configuration.tunnels.size(); ++i) {
    const Tunnel& tunnel = configuration.tunnels[i];
    if (tunnel.peers == 0) continue;
    const Node& list = root.at("tunnels").at(i).at("selectors").at("remote");
    for (std::size_t s = 0; s < tunnel.remote_selectors.size(); ++s) {
      const IpPrefix& range = tunnel.remote_selectors[s];
      for (const Taken& each : taken) {
        const bool contains = each.may_contain && each.network.length <= range.length;
        if (each.table != tunnel.overlay.name || !is_valid(range) || contains ||
            !overlap(each.network, range))
          continue;
        errors.add(
            list.at(s).mark,
            fmt::format("remote: {} overlaps {} ({}), and peers may have any part of it; expected other "
                        "networks, or another table",
                        to_string(range), to_string(each.network), each.what));
      }
    }
  }
}

}  // namespace espgate::conf
