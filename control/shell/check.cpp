#include "control/shell/check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "conf/credentials.hpp"
#include "conf/load.hpp"

namespace espgate::control {

namespace {

std::string count_of(std::size_t count, std::string_view thing) {
  return fmt::format("{} {}{}", count, thing, count == 1 ? "" : "s");
}

std::string addresses_of(const std::vector<IpPrefix>& addresses) {
  std::string text;
  for (const IpPrefix& address : addresses) text += fmt::format(" {}", to_string(address));
  return text.empty() ? " no address" : text;
}

std::string in_table(const std::string& table) {
  return table == conf::kMainTableName ? "" : ", table " + table;
}

std::string in_tables(const conf::Tunnel& tunnel) {
  if (tunnel.table.id == kMainTable && tunnel.overlay.id == kMainTable) return {};
  return fmt::format(", outside in table {}, inside in table {}", tunnel.table.name, tunnel.overlay.name);
}

std::string ends_of(const conf::Tunnel& tunnel) {
  const std::string local = to_string(tunnel.local);
  const std::string remote = tunnel.first_slot ? "any" : to_string(tunnel.remote);
  if (!tunnel.parent.empty())
    return fmt::format("{} > {}, by the IKE SA of {}", local, remote, tunnel.parent);
  if (!tunnel.manual)
    return fmt::format("{} ({}) > {} ({})", local, tunnel.local_id.text, remote, tunnel.remote_id.text);
  return fmt::format("{} > {}, manual keys, SPIs 0x{:08x} in and 0x{:08x} out", local, remote,
                     tunnel.manual->inbound.spi, tunnel.manual->outbound.spi);
}

}  // namespace

std::string summary(const conf::Configuration& configuration) {
  std::string text = fmt::format(
      "gateway {}: {}, {}, {}, {}, {}\n", configuration.name, count_of(configuration.ports.size(), "port"),
      count_of(configuration.dataplane.workers.size(), "worker"),
      count_of(configuration.tunnels.size(), "tunnel"), count_of(configuration.groups.size(), "group"),
      count_of(configuration.routes.size(), "route"));
  for (const conf::Port& port : configuration.ports)
    text += fmt::format("  port {}: {}, mtu {},{}", port.name, port.device, port.mtu,
                        addresses_of(port.addresses)) +
            in_table(port.table.name) + "\n";
  for (const conf::Loopback& loopback : configuration.loopbacks)
    text += fmt::format("  loopback {}:{}{}\n", loopback.name, addresses_of(loopback.addresses),
                        in_table(loopback.table.name));
  for (std::uint32_t i = 0; i < configuration.tunnels.size(); ++i) {
    const conf::Tunnel& tunnel = configuration.tunnels[i];
    if (tunnel.first_slot.value_or(i) != i) continue;
    text += fmt::format("  tunnel {}: {}, interface {},{}", tunnel.name, ends_of(tunnel), tunnel.interface,
                        addresses_of(tunnel.addresses)) +
            (tunnel.first_slot ? fmt::format(", the first of {} like it", tunnel.peers) : "") +
            in_tables(tunnel) + "\n";
  }
  for (const conf::Group& group : configuration.groups) {
    text += fmt::format("  group {}:", group.name);
    for (const conf::GroupMember& member : group.members)
      text += fmt::format(" {}", member.via ? to_string(*member.via) : member.tunnel);
    text += "\n";
  }
  return text;
}

std::string explanation(const conf::ExplainedFile& file) {
  std::size_t widest = 0;
  for (const conf::ExplainedTunnel& tunnel : file.tunnels)
    for (const conf::Explained& value : tunnel.values) widest = std::max(widest, value.origin.size());
  std::string text;
  for (const conf::ExplainedTunnel& tunnel : file.tunnels) {
    text += fmt::format("  tunnel {}:\n", tunnel.name);
    for (const conf::Explained& value : tunnel.values)
      text += fmt::format("    {:<{}}  {}: {}\n", value.origin, widest, value.key, value.value);
  }
  return text;
}

int check_file(const std::string& path, bool explain) {
  try {
    conf::ExplainedFile file = conf::explain_file(path);
    conf::Configuration& configuration = file.configuration;
    const std::vector<std::string> late = conf::load_credentials(configuration, path, std::time(nullptr));
    for (unsigned index = 0; index < configuration.ports.size(); ++index)
      if (configuration.ports[index].parent.empty())
        static_cast<void>(conf::device_args(configuration.ports[index], index));
    for (const std::string& line : late) fmt::print(stderr, "{}\n", line);
    if (!late.empty()) return 1;
    const std::string legacy = conf::legacy_words(configuration);
    fmt::print("{}: no errors\n{}{}", path, legacy.empty() ? "" : "warning: " + legacy + "\n",
               explain ? explanation(file) : summary(configuration));
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}

}  // namespace espgate::control
