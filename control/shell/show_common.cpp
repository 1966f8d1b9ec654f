#include "control/shell/show_common.hpp"

#include <fmt/format.h>

#include "control/tunnels/printable.hpp"

namespace espgate::control {

std::int64_t seconds_since(Time then, Time now) {
  return std::chrono::duration_cast<std::chrono::seconds>(now - then).count();
}

void want_no_arguments(const Arguments& arguments) {
  if (!arguments.empty())
    throw CommandError(fmt::format("nothing is expected after this command, but there is \"{}\"",
                                   printable(arguments.front())));
}

const channel::CountersView& want_counters(const Gateway& gateway) {
  if (!gateway.link().attached())
    throw CommandError("the dataplane is not attached: " + printable(gateway.away_because()));
  return gateway.link().counters();
}

void want_ready(const Gateway& gateway) {
  want_counters(gateway);
  if (!gateway.ready())
    throw CommandError("the dataplane is attached, but does not know all tunnels yet: try again");
}

TunnelId tunnel_named(const Gateway& gateway, const std::string& name) {
  const std::vector<conf::Tunnel>& tunnels = gateway.configuration().tunnels;
  for (TunnelId index = 0; index < tunnels.size(); ++index)
    if (tunnels[index].name == name) return index;
  throw CommandError(fmt::format("there is no tunnel \"{}\"; `show tunnels` lists them", printable(name)));
}

TunnelId one_tunnel(const Gateway& gateway, const Arguments& arguments) {
  if (arguments.empty()) throw CommandError("which tunnel? Its name is wanted");
  if (arguments.size() > 1) throw CommandError("one tunnel's name is wanted, no more");
  return tunnel_named(gateway, arguments.front());
}

std::vector<TunnelId> chosen_tunnels(const Gateway& gateway, const Arguments& arguments) {
  if (!arguments.empty()) return {one_tunnel(gateway, arguments)};
  std::vector<TunnelId> all(gateway.configuration().tunnels.size());
  for (TunnelId index = 0; index < all.size(); ++index) all[index] = index;
  return all;
}

Traffic tunnel_traffic(const channel::CountersView& page, TunnelId tunnel) {
  Traffic traffic;
  if (tunnel >= page.shape().max_tunnels) return traffic;
  traffic.add(page.tunnels()[tunnel]);
  return traffic;
}

std::uint64_t drops_of(const channel::CountersView& page, std::size_t reason) {
  std::uint64_t count = read(page.header().main_thread.drops[reason]);
  for (std::uint32_t worker = 0; worker < page.shape().workers; ++worker)
    count += read(page.worker(worker).drops[reason]);
  return count;
}

}  // namespace espgate::control
