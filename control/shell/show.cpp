#include "control/shell/show.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "control/tunnels/printable.hpp"

namespace espgate::control {

namespace {

using channel::Counter;

std::uint64_t read(const Counter& counter) noexcept { return counter.load(std::memory_order_relaxed); }

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

// The tunnel that was named, or all.
std::vector<TunnelId> chosen_tunnels(const Gateway& gateway, const Arguments& arguments) {
  if (!arguments.empty()) return {one_tunnel(gateway, arguments)};
  std::vector<TunnelId> all(gateway.configuration().tunnels.size());
  for (TunnelId index = 0; index < all.size(); ++index) all[index] = index;
  return all;
}

struct Traffic {
  std::uint64_t rx_packets{0}, rx_bytes{0}, tx_packets{0}, tx_bytes{0}, rx_ipsec{0}, tx_ipsec{0},
      rx_crypto{0}, tx_crypto{0};
  void add(const channel::InterfaceCounters& counters) noexcept {
    rx_packets += read(counters.rx_packets);
    rx_bytes += read(counters.rx_bytes);
    tx_packets += read(counters.tx_packets);
    tx_bytes += read(counters.tx_bytes);
    rx_ipsec += read(counters.rx_ipsec);
    tx_ipsec += read(counters.tx_ipsec);
    rx_crypto += read(counters.rx_crypto);
    tx_crypto += read(counters.tx_crypto);
  }
  void put_into(json& row) const {
    row["rx_packets"] = rx_packets;
    row["rx_bytes"] = rx_bytes;
    row["tx_packets"] = tx_packets;
    row["tx_bytes"] = tx_bytes;
    row["rx_ipsec"] = rx_ipsec;
    row["tx_ipsec"] = tx_ipsec;
    row["rx_crypto"] = rx_crypto;
    row["tx_crypto"] = tx_crypto;
  }
};

Traffic tunnel_traffic(const channel::CountersView& page, TunnelId tunnel) {
  Traffic traffic;
  if (tunnel >= page.shape().max_tunnels) return traffic;
  traffic.add(page.tunnels()[tunnel]);
  return traffic;
}

void put_cuts(const channel::CountersView& page, TunnelId tunnel, json& row) {
  const bool known = tunnel < page.shape().max_tunnels;
  row["cut_before"] = known ? read(page.tunnels()[tunnel].cut_before) : 0;
  row["cut_after"] = known ? read(page.tunnels()[tunnel].cut_after) : 0;
}

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

}  // namespace

json show_tunnels(Gateway& gateway, const Arguments& arguments, Time now) {
  const channel::CountersView& page = want_counters(gateway);
  json rows = json::array();
  for (const TunnelId index : chosen_tunnels(gateway, arguments)) {
    const conf::Tunnel& tunnel = gateway.configuration().tunnels[index];
    const TunnelStatus& status = gateway.manager().status(index);
    json row{{"name", printable(tunnel.name)},
             {"state", name_of(status.state)},
             {"interface", printable(tunnel.interface)},
             {"local", to_string(tunnel.local)},
             {"remote", to_string(tunnel.remote)},
             {"adopted", status.adopted},
             {"keys", tunnel.manual ? "manual" : "ike"},
             {"since_seconds", seconds_since(status.since, now)},
             {"attempts", status.attempts},
             {"last_error", printable(status.last_error.summary)}};
    if (!status.last_error.summary.empty())
      row["last_error_seconds_ago"] = seconds_since(status.last_error_at, now);
    if (status.retry_at)
      row["retry_in_seconds"] = std::max<std::int64_t>(0, seconds_since(now, *status.retry_at));
    if (const Gateway::Path* const path = gateway.path(index)) {
      row["path_mtu"] = path->mtu;
      row["path_mtu_from"] = to_string(path->said_by);
      row["path_mtu_seconds"] = seconds_since(path->since, now);
    }
    tunnel_traffic(page, index).put_into(row);
    put_cuts(page, index, row);
    rows.push_back(std::move(row));
  }
  return rows;
}

json show_ike_sa(Gateway& gateway, const Arguments& arguments, Time now) {
  want_counters(gateway);
  const std::vector<TunnelId> chosen = chosen_tunnels(gateway, arguments);
  json rows = json::array();
  for (const ike::IkeInfo& sa : gateway.ike_sas()) {
    if (!arguments.empty() && (!sa.tunnel_known || sa.tunnel != chosen.front())) continue;
    json row{{"tunnel", sa.tunnel_known ? printable(gateway.configuration().tunnels.at(sa.tunnel).name) : ""},
             {"initiator_spi", fmt::format("{:016x}", sa.spi_initiator)},
             {"responder_spi", fmt::format("{:016x}", sa.spi_responder)},
             {"role", sa.initiator ? "initiator" : "responder"},
             {"state", sa.state},
             {"algorithms", sa.algorithms},
             {"local", fmt::format("{}:{}", to_string(sa.local.address), sa.local.port)},
             {"remote", fmt::format("{}:{}", to_string(sa.remote.address), sa.remote.port)},
             {"local_id", printable(sa.local_id)},
             {"remote_id", printable(sa.remote_id)},
             {"nat_local", sa.nat_local},
             {"nat_remote", sa.nat_remote},
             {"children", sa.children.size()}};
    if (sa.established != Time{}) {
      row["established_seconds"] = seconds_since(sa.established, now);
      row["rekey_in_seconds"] = seconds_since(now, sa.rekey_at);
      row["expires_in_seconds"] = seconds_since(now, sa.expires_at);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

namespace {

using ChildTimes = std::map<std::uint32_t, ike::ChildInfo>;

ChildTimes child_times(const Gateway& gateway) {
  ChildTimes times;
  for (const ike::IkeInfo& sa : gateway.ike_sas())
    for (const ike::ChildInfo& child : sa.children) times[child.inbound_spi] = child;
  return times;
}

IpAddress last_of(const IpPrefix& prefix) {
  IpAddress last = prefix.address;
  const std::size_t bits = last.is_v4() ? 32 : 128;
  for (std::size_t bit = prefix.length; bit < bits; ++bit)
    last.bytes[bit / 8] = static_cast<std::uint8_t>(last.bytes[bit / 8] | 0x80U >> bit % 8);
  return last;
}

// As a prefix where the range is one.
std::string range_text(const IpAddress& first, const IpAddress& last) {
  const std::uint8_t bits = first.is_v4() ? 32 : 128;
  for (std::uint8_t length = 0; length <= bits; ++length) {
    const IpPrefix prefix{first, length};
    if (network_of(prefix).address == first && last_of(prefix) == last) return to_string(prefix);
  }
  return fmt::format("{}-{}", to_string(first), to_string(last));
}

std::string selector_text(const ike::TrafficSelector& selector) {
  std::string text = range_text(selector.first, selector.last);
  if (selector.protocol != 0) text += fmt::format(" protocol {}", selector.protocol);
  if (selector.first_port != 0 || selector.last_port != 65535)
    text += fmt::format(" ports {}-{}", selector.first_port, selector.last_port);
  return text;
}

json selector_list(const std::vector<ike::TrafficSelector>& selectors) {
  json list = json::array();
  for (const ike::TrafficSelector& selector : selectors) list.push_back(selector_text(selector));
  return list;
}

void put_status(json& row, const channel::SaStatus* inbound, const channel::SaStatus* outbound) {
  row["inbound_packets"] = inbound != nullptr ? read(inbound->packets) : 0;
  row["inbound_bytes"] = inbound != nullptr ? read(inbound->bytes) : 0;
  row["inbound_sequence"] = inbound != nullptr ? read(inbound->highest_sequence) : 0;
  row["replayed"] = inbound != nullptr ? read(inbound->replayed) : 0;
  row["integrity_failed"] = inbound != nullptr ? read(inbound->failed) : 0;
  row["rx_ipsec"] = inbound != nullptr ? read(inbound->by_card) : 0;
  row["rx_crypto"] = inbound != nullptr ? read(inbound->by_device) : 0;
  row["outbound_packets"] = outbound != nullptr ? read(outbound->packets) : 0;
  row["outbound_bytes"] = outbound != nullptr ? read(outbound->bytes) : 0;
  row["outbound_sequence"] = outbound != nullptr ? read(outbound->highest_sequence) : 0;
  row["tx_ipsec"] = outbound != nullptr ? read(outbound->by_card) : 0;
  row["tx_crypto"] = outbound != nullptr ? read(outbound->by_device) : 0;
}

json child_row(const Gateway& gateway, const ChildRecord& record, const ChildTimes& times, Time now) {
  const crypto::SuiteRow* suite = crypto::find_suite(record.suite);
  json row{{"tunnel", printable(gateway.configuration().tunnels.at(record.tunnel).name)},
           {"inbound_spi", fmt::format("{:08x}", record.inbound_spi)},
           {"outbound_spi", fmt::format("{:08x}", record.outbound_spi)},
           {"inbound_installed", record.inbound_installed},
           {"outbound_installed", record.outbound_installed},
           {"suite", suite != nullptr ? std::string(suite->name) : "unknown"},
           {"local", to_string(record.local)},
           {"remote", to_string(record.remote)},
           {"udp_encapsulation", record.udp_encapsulation},
           {"adopted", record.adopted},
           {"manual", record.manual},
           {"age_seconds", seconds_since(record.installed, now)}};
  if (record.remove_at) row["expires_in_seconds"] = seconds_since(now, *record.remove_at);
  const auto known = times.find(record.inbound_spi);
  if (known == times.end() || record.adopted) return row;
  row["rekey_in_seconds"] = seconds_since(now, known->second.rekey_at);
  row["expires_in_seconds"] = seconds_since(now, known->second.expires_at);
  row["mode"] = known->second.mode == channel::Mode::transport ? "transport" : "tunnel";
  row["esn"] = known->second.esn;
  row["local_selectors"] = selector_list(known->second.local_selectors);
  row["remote_selectors"] = selector_list(known->second.remote_selectors);
  return row;
}

}  // namespace

json show_ipsec_sa(Gateway& gateway, const Arguments& arguments, Time now) {
  const channel::CountersView& page = want_counters(gateway);
  const OutboundStatuses outbound(page);
  const ChildTimes times = child_times(gateway);
  json rows = json::array();
  for (const TunnelId tunnel : chosen_tunnels(gateway, arguments)) {
    for (const ChildRecord& record : gateway.book().of(tunnel)) {
      json row = child_row(gateway, record, times, now);
      put_status(row, inbound_status(page, record.inbound_spi), outbound.find(tunnel, record.outbound_spi));
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

namespace {

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

namespace {

void add_connected(json& rows, const std::string& interface, const std::vector<IpPrefix>& addresses) {
  for (const IpPrefix& address : addresses)
    rows.push_back({{"destination", to_string(network_of(address))},
                    {"kind", "connected"},
                    {"target", printable(interface)},
                    {"refused", ""}});
}

json static_route(const Gateway& gateway, const conf::Route& route) {
  json row{{"destination", to_string(route.to)}, {"kind", "blackhole"}, {"target", ""}, {"refused", ""}};
  if (route.via) row.update({{"kind", "gateway"}, {"target", to_string(*route.via)}});
  if (!route.tunnel.empty()) row.update({{"kind", "tunnel"}, {"target", printable(route.tunnel)}});
  if (!route.group.empty()) row.update({{"kind", "group"}, {"target", printable(route.group)}});
  if (const std::string* refusal = gateway.route_refusal(route.to)) row["refused"] = *refusal;
  return row;
}

}  // namespace

json show_routes(Gateway& gateway, const Arguments& arguments, Time) {
  want_no_arguments(arguments);
  want_ready(gateway);
  json rows = json::array();
  for (const conf::Port& port : gateway.configuration().ports) add_connected(rows, port.name, port.addresses);
  for (const conf::Tunnel& tunnel : gateway.configuration().tunnels)
    add_connected(rows, tunnel.interface, tunnel.addresses);
  for (const conf::Route& route : gateway.configuration().routes)
    rows.push_back(static_route(gateway, route));
  return rows;
}

json show_groups(Gateway& gateway, const Arguments& arguments, Time) {
  want_no_arguments(arguments);
  want_ready(gateway);
  json rows = json::array();
  for (const conf::Group& group : gateway.configuration().groups) {
    json members = json::array();
    unsigned up = 0;
    for (const std::string& name : group.tunnels) {
      const TunnelState state = gateway.manager().status(tunnel_named(gateway, name)).state;
      up += state == TunnelState::up ? 1 : 0;
      members.push_back({{"name", printable(name)}, {"state", name_of(state)}});
    }
    rows.push_back({{"name", printable(group.name)}, {"members", std::move(members)}, {"members_up", up}});
  }
  return rows;
}

json show_drops(Gateway& gateway, const Arguments& arguments, Time) {
  const bool nonzero = !arguments.empty() && arguments.front() == "--nonzero";
  if (!nonzero) want_no_arguments(arguments);
  const channel::CountersView& page = want_counters(gateway);
  json rows = json::array();
  for (std::size_t reason = 0; reason < channel::kDropReasons; ++reason) {
    std::uint64_t count = read(page.header().main_thread.drops[reason]);
    for (std::uint32_t worker = 0; worker < page.shape().workers; ++worker)
      count += read(page.worker(worker).drops[reason]);
    if (nonzero && count == 0) continue;
    const channel::DropReasonText& text = channel::kDropReasonText[reason];
    rows.push_back({{"name", text.name}, {"count", count}, {"help", text.help}});
  }
  return rows;
}

json show_unknown_spis(Gateway& gateway, const Arguments& arguments, Time now) {
  want_no_arguments(arguments);
  json rows = json::array();
  for (const UnknownSpis::Row& row : gateway.unknown_spis().rows())
    rows.push_back({{"source", to_string(row.source)},
                    {"destination", to_string(row.destination)},
                    {"packets", row.packets},
                    {"last_spi", fmt::format("{:08x}", row.last_spi)},
                    {"first_seen_seconds_ago", seconds_since(row.first_seen, now)},
                    {"last_seen_seconds_ago", seconds_since(row.last_seen, now)}});
  return {{"sources", std::move(rows)}, {"other_packets", gateway.unknown_spis().others()}};
}

namespace {

std::size_t number_argument(const std::string& text) {
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number == 0)
    throw CommandError(fmt::format("\"{}\" is not a number of lines", printable(text)));
  return number;
}

}  // namespace

json show_log(Gateway& gateway, const Arguments& arguments, Time) {
  std::size_t count = 20;
  std::string tunnel;
  for (std::size_t at = 0; at < arguments.size(); at += 2) {
    const bool has_value = at + 1 < arguments.size();
    if (arguments[at] == "-n" && has_value)
      count = number_argument(arguments[at + 1]);
    else if (arguments[at] == "tunnel" && has_value)
      tunnel = gateway.configuration().tunnels[tunnel_named(gateway, arguments[at + 1])].name;
    else
      throw CommandError("expected: show log [-n N] [tunnel NAME]");
  }
  json lines = json::array();
  for (const LogLine& log_line : gateway.log_lines().last(count, printable(tunnel)))
    lines.push_back(format_line(log_line));
  return {{"lines", std::move(lines)}};
}

json show_version(Gateway& gateway, const Arguments& arguments, Time now) {
  want_no_arguments(arguments);
  json data{{"version", ESPGATE_VERSION},
            {"name", printable(gateway.configuration().name)},
            {"channel_version", channel::kVersion},
            {"dataplane_attached", gateway.link().attached()}};
  if (!gateway.link().attached()) {
    data["dataplane_away"] = printable(gateway.away_because());
    return data;
  }
  const channel::CountersHeader& header = gateway.link().counters().header();
  const Time heartbeat(std::chrono::nanoseconds(header.heartbeat_ns.load(std::memory_order_relaxed)));
  data["dataplane_heartbeat_ms"] =
      std::chrono::duration_cast<std::chrono::milliseconds>(now - heartbeat).count();
  data["lost_events"] = read(header.lost_events);
  data["reassembled"] = read(header.main_thread.reassembled);
  data["workers"] = json::array();
  const channel::CountersView& page = gateway.link().counters();
  for (std::uint32_t worker = 0; worker < page.shape().workers; ++worker)
    data["workers"].push_back({{"loops", read(page.worker(worker).loops)},
                               {"busy_loops", read(page.worker(worker).busy_loops)},
                               {"handed_off", read(page.worker(worker).handed_off)}});
  return data;
}

json show_totals(Gateway& gateway, const Arguments& arguments, Time now) {
  json data{{"interfaces", show_interfaces(gateway, arguments, now)}};
  const channel::CountersView& page = want_counters(gateway);
  std::uint64_t drops = 0;
  for (std::size_t reason = 0; reason < channel::kDropReasons; ++reason) {
    drops += read(page.header().main_thread.drops[reason]);
    for (std::uint32_t worker = 0; worker < page.shape().workers; ++worker)
      drops += read(page.worker(worker).drops[reason]);
  }
  data["drops"] = drops;
  data["time_ns"] = now.time_since_epoch().count();
  return data;
}

namespace {

TunnelId negotiated_tunnel(const Gateway& gateway, const Arguments& arguments) {
  const TunnelId tunnel = one_tunnel(gateway, arguments);
  if (gateway.configuration().tunnels[tunnel].manual)
    throw CommandError(
        fmt::format("{} has manual keys, so there is nothing to negotiate: new ones are taken "
                    "from its key files when the gateway begins anew",
                    arguments.front()));
  return tunnel;
}

}  // namespace

json reset_tunnel(Gateway& gateway, const Arguments& arguments, Time now) {
  const TunnelId tunnel = negotiated_tunnel(gateway, arguments);
  want_ready(gateway);
  gateway.reset(tunnel, now);
  return {{"done", fmt::format("{} is being negotiated anew", arguments.front())}};
}

json rekey_tunnel(Gateway& gateway, const Arguments& arguments, Time now) {
  const TunnelId tunnel = negotiated_tunnel(gateway, arguments);
  want_ready(gateway);
  const unsigned count = gateway.rekey(tunnel, now);
  if (count == 0) throw CommandError(fmt::format("{} has no child SA to rekey", arguments.front()));
  return {{"done", fmt::format("{} child SA{} of {} being rekeyed", count, count == 1 ? "" : "s",
                               arguments.front())}};
}

}  // namespace espgate::control
