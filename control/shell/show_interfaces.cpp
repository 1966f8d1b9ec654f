#include <fmt/format.h>

#include <algorithm>

#include "control/shell/show.hpp"
#include "control/shell/show_common.hpp"
#include "control/tunnels/printable.hpp"

namespace espgate::control {

namespace {

Traffic port_traffic(const channel::CountersView& page, std::uint32_t port) {
  Traffic traffic;
  if (port >= channel::kMaxPorts) return traffic;
  for (std::uint32_t worker = 0; worker < page.shape().workers; ++worker)
    traffic.add(page.worker(worker).ports[port]);
  traffic.add(page.header().main_thread.ports[port]);
  return traffic;
}

json prefixes(const std::vector<IpPrefix>& addresses) {
  json list = json::array();
  for (const IpPrefix& address : addresses) list.push_back(to_string(address));
  return list;
}

std::string mac_text(std::uint64_t mac) {
  std::string text;
  for (int shift = 40; shift >= 0; shift -= 8)
    text += fmt::format("{}{:02x}", text.empty() ? "" : ":", (mac >> shift) & 0xff);
  return text;
}

// The dataplane's text, which need not end.
template <std::size_t N>
std::string text_from(const std::array<char, N>& text) {
  return printable(std::string(text.begin(), std::find(text.begin(), text.end(), '\0')));
}

json port_row(const conf::Port& port, const channel::CountersView& page, std::uint32_t index, Time now) {
  json row{{"name", printable(port.name)},
           {"kind", "port"},
           {"device", port.parent.empty() ? printable(port.device)
                                          : fmt::format("VLAN {} of {}", port.vlan, printable(port.parent))},
           {"mtu", port.mtu},
           {"state", "missing"},
           {"addresses", prefixes(port.addresses)},
           {"missed", 0}};
  if (index < page.shape().ports && index < channel::kMaxPorts) {
    const channel::PortStatus& status = page.port(index);
    const std::uint32_t flags = status.flags.load(std::memory_order_relaxed);
    const auto is = [flags](channel::PortFlags flag) {
      return (flags & static_cast<std::uint32_t>(flag)) != 0;
    };
    row["state"] = !is(channel::PortFlags::present)  ? "absent"
                   : is(channel::PortFlags::link_up) ? "up"
                                                     : "down";
    const std::uint64_t changed = status.changed_ns.load(std::memory_order_relaxed);
    if (changed != 0 && changed <= static_cast<std::uint64_t>(now.time_since_epoch().count()))
      row["since_seconds"] = seconds_since(Time(std::chrono::nanoseconds(changed)), now);
    row["mac"] = mac_text(status.mac.load(std::memory_order_relaxed));
    row["mtu"] = status.mtu.load(std::memory_order_relaxed);
    row["driver"] = text_from(status.driver);
    row["speed"] = status.speed.load(std::memory_order_relaxed);
    row["receive_queues"] = status.receive_queues.load(std::memory_order_relaxed);
    row["transmit_queues"] = status.transmit_queues.load(std::memory_order_relaxed);
    row["spreading"] = text_from(status.spreading);
    row["missed"] = read(status.missed);
    row["no_buffer"] = read(status.no_buffer);
    row["rx_errors"] = read(status.receive_errors);
    row["tx_errors"] = read(status.transmit_errors);
  }
  port_traffic(page, index).put_into(row);
  return row;
}

json tunnel_interface_row(const Gateway& gateway, const channel::CountersView& page, TunnelId index) {
  const conf::Tunnel& tunnel = gateway.configuration().tunnels[index];
  const bool up = gateway.manager().status(index).state == TunnelState::up;
  json row{{"name", printable(tunnel.interface)},
           {"kind", "tunnel"},
           {"tunnel", printable(tunnel.name)},
           {"state", up ? "up" : "down"},
           {"addresses", prefixes(tunnel.addresses)}};
  if (tunnel.mtu != 0) row["mtu"] = tunnel.mtu;
  tunnel_traffic(page, index).put_into(row);
  return row;
}

}  // namespace

json show_interfaces(Gateway& gateway, const Arguments& arguments, Time now) {
  want_no_arguments(arguments);
  const channel::CountersView& page = want_counters(gateway);
  const conf::Configuration& configuration = gateway.configuration();
  json rows = json::array();
  for (std::uint32_t index = 0; index < configuration.ports.size(); ++index)
    rows.push_back(port_row(configuration.ports[index], page, index, now));
  for (TunnelId index = 0; index < configuration.tunnels.size(); ++index)
    rows.push_back(tunnel_interface_row(gateway, page, index));
  return rows;
}

namespace {

json crypto_device_row(const channel::CountersView& page, std::uint32_t index) {
  const channel::CryptoDeviceStatus& status = page.header().crypto_devices[index];
  const bool works = status.state.load(std::memory_order_relaxed) == channel::CryptoDeviceState::works;
  std::uint64_t opened = 0, sealed = 0, failed = 0, lost = 0;
  for (std::uint32_t worker = 0; worker < page.shape().workers; ++worker) {
    const channel::CryptoDeviceCounters& counters = page.worker(worker).crypto_devices[index];
    opened += read(counters.opened);
    sealed += read(counters.sealed);
    failed += read(counters.failed);
    lost += read(counters.lost);
  }
  return {{"name", text_from(status.name)},
          {"driver", text_from(status.driver)},
          {"state", works ? "works" : "given up"},
          {"suites", text_from(status.suites)},
          {"sessions", status.sessions.load(std::memory_order_relaxed)},
          {"most_sessions", status.most_sessions.load(std::memory_order_relaxed)},
          {"queue_pairs", status.queue_pairs.load(std::memory_order_relaxed)},
          {"opened", opened},
          {"sealed", sealed},
          {"failed", failed},
          {"lost", lost}};
}

}  // namespace

json show_crypto_devices(Gateway& gateway, const Arguments& arguments, Time) {
  want_no_arguments(arguments);
  const channel::CountersView& page = want_counters(gateway);
  json rows = json::array();
  for (std::uint32_t index = 0; index < channel::kMaxCryptoDevices; ++index)
    if (page.header().crypto_devices[index].state.load(std::memory_order_relaxed) !=
        channel::CryptoDeviceState::absent)
      rows.push_back(crypto_device_row(page, index));
  return rows;
}

json show_totals(Gateway& gateway, const Arguments& arguments, Time now) {
  json data{{"interfaces", show_interfaces(gateway, arguments, now)}};
  const channel::CountersView& page = want_counters(gateway);
  std::uint64_t drops = 0;
  for (std::size_t reason = 0; reason < channel::kDropReasons; ++reason) drops += drops_of(page, reason);
  data["drops"] = drops;
  data["time_ns"] = now.time_since_epoch().count();
  return data;
}

namespace {

constexpr std::size_t kMostCharacters = 13;  // of the interface's name: the kernel takes 15

void start_mirror(Gateway& gateway, const std::string& interface, const std::string& name) {
  const conf::Configuration& configuration = gateway.configuration();
  for (std::uint32_t p = 0; p < configuration.ports.size(); ++p) {
    const conf::Port& port = configuration.ports[p];
    if (port.name != interface) continue;
    if (!port.parent.empty())
      throw CommandError(
          fmt::format("the frames of {} are those of {}: mirror that one", interface, port.parent));
    return gateway.mirror(channel::MirrorOf::port, p, name);
  }
  for (std::uint32_t t = 0; t < configuration.tunnels.size(); ++t)
    if (configuration.tunnels[t].interface == interface)
      return gateway.mirror(channel::MirrorOf::tunnel, t, name);
  throw CommandError(fmt::format("there is no interface \"{}\": see show interfaces", printable(interface)));
}

}  // namespace

json mirror(Gateway& gateway, const Arguments& arguments, Time) {
  if (arguments.size() != 1) throw CommandError("which interface? (or: off)");
  want_ready(gateway);
  const std::string interface(arguments.front());
  if (interface == "off") {
    gateway.mirror(channel::MirrorOf::nothing, 0, {});
    return {{"done", "nothing is mirrored"}};
  }
  if (interface.size() > kMostCharacters)
    throw CommandError(
        fmt::format("{} is too long a name: its mirror would have more than the kernel's 15 characters",
                    printable(interface)));
  const std::string name = interface + "-m";
  start_mirror(gateway, interface, name);
  return {{"done", fmt::format("{} is mirrored: tcpdump -i {}; `mirror off` ends it", interface, name)},
          {"mirror", name}};
}

}  // namespace espgate::control
