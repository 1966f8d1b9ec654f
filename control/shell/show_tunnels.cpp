#include <fmt/format.h>

#include <algorithm>

#include "control/shell/show.hpp"
#include "control/shell/show_common.hpp"
#include "control/tunnels/far_end.hpp"
#include "control/tunnels/printable.hpp"

namespace espgate::control {

namespace {

void put_cuts(const channel::CountersView& page, TunnelId tunnel, json& row) {
  const bool known = tunnel < page.shape().max_tunnels;
  row["cut_before"] = known ? read(page.tunnels()[tunnel].cut_before) : 0;
  row["cut_after"] = known ? read(page.tunnels()[tunnel].cut_after) : 0;
}

void put_far_end(const Gateway& gateway, TunnelId tunnel, Time now, json& row) {
  const Gateway::FarEnd* const far_end = gateway.far_end(tunnel);
  if (far_end == nullptr) return;
  row["far_end"] = {{"alive", far_end->last.up != 0},
                    {"reason", far_end_words(far_end->last)},
                    {"since_seconds", seconds_since(far_end->since, now)}};
  if (!gateway.configuration().tunnels[tunnel].bfd) return;
  row["far_end"]["bfd"] = bfd_state_name(far_end->last.bfd_state);
  row["far_end"]["bfd_peer"] = bfd_state_name(far_end->last.bfd_remote_state);
}

// What a template's slots have in common stands with its first.
void put_slot(const Gateway& gateway, TunnelId index, json& row) {
  row["peer"] = printable(gateway.peer_of(index));
  if (gateway.configuration().tunnels[index].first_slot != index) return;
  const ike::SlotCounts counts = gateway.slot_counts(index);
  row["slots"] = counts.slots;
  row["slots_taken"] = counts.taken;
  row["peers_refused"] = counts.refused;
}

// Of a template's slots that nobody has had only the first is worth a line, unless one is asked for.
bool is_idle_slot(const Gateway& gateway, TunnelId index) {
  const auto& first = gateway.configuration().tunnels[index].first_slot;
  return first && *first != index && gateway.manager().status(index).state == TunnelState::down &&
         gateway.manager().status(index).last_error.summary.empty();
}

}  // namespace

json show_tunnels(Gateway& gateway, const Arguments& arguments, Time now) {
  const channel::CountersView& page = want_counters(gateway);
  json rows = json::array();
  for (const TunnelId index : chosen_tunnels(gateway, arguments)) {
    if (arguments.empty() && is_idle_slot(gateway, index)) continue;
    const conf::Tunnel& tunnel = gateway.configuration().tunnels[index];
    const TunnelStatus& status = gateway.manager().status(index);
    json row{{"name", printable(tunnel.name)},
             {"state", name_of(status.state)},
             {"interface", printable(tunnel.interface)},
             {"local", to_string(tunnel.local)},
             {"remote", gateway.remote_of(index)},
             {"adopted", status.adopted},
             {"keys", tunnel.manual ? "manual" : "ike"},
             {"since_seconds", seconds_since(status.since, now)},
             {"attempts", status.attempts},
             {"last_error", printable(status.last_error.summary)}};
    if (tunnel.first_slot) put_slot(gateway, index, row);
    if (!tunnel.parent.empty()) row["parent"] = printable(tunnel.parent);
    if (!status.last_error.summary.empty())
      row["last_error_seconds_ago"] = seconds_since(status.last_error_at, now);
    if (status.retry_at)
      row["retry_in_seconds"] = std::max<std::int64_t>(0, seconds_since(now, *status.retry_at));
    if (const Gateway::Path* const path = gateway.path(index)) {
      row["path_mtu"] = path->mtu;
      row["path_mtu_from"] = to_string(path->said_by);
      row["path_mtu_seconds"] = seconds_since(path->since, now);
    }
    put_far_end(gateway, index, now, row);
    tunnel_traffic(page, index).put_into(row);
    put_cuts(page, index, row);
    rows.push_back(std::move(row));
  }
  return rows;
}

namespace {

void add_connected(json& rows, const std::string& interface, const std::string& table,
                   const std::vector<IpPrefix>& addresses) {
  for (const IpPrefix& address : addresses)
    rows.push_back({{"table", printable(table)},
                    {"destination", to_string(network_of(address))},
                    {"kind", "connected"},
                    {"target", printable(interface)},
                    {"refused", ""}});
}

json static_route(const Gateway& gateway, const conf::Route& route) {
  json row{{"table", printable(route.table.name)},
           {"destination", to_string(route.to)},
           {"kind", "blackhole"},
           {"target", ""},
           {"via_table", printable(route.via_table.name)},
           {"refused", ""}};
  if (route.via) row.update({{"kind", "gateway"}, {"target", to_string(*route.via)}});
  if (!route.tunnel.empty()) row.update({{"kind", "tunnel"}, {"target", printable(route.tunnel)}});
  if (!route.group.empty()) row.update({{"kind", "group"}, {"target", printable(route.group)}});
  if (const std::string* refusal = gateway.route_refusal(route.table.id, route.to)) row["refused"] = *refusal;
  return row;
}

// Of learned routes, those that the dataplane does not use.
void add_held(json& rows, const Gateway& gateway) {
  for (const auto& [place, far_end] : gateway.held_routes()) {
    const auto& [table, destination] = place;
    const auto& tables = gateway.configuration().tables;
    const bool known = table != kMainTable && table <= tables.size();
    const std::string name = printable(known ? tables[table - 1U].name : conf::kMainTableName);
    rows.push_back({{"table", name},
                    {"destination", to_string(destination)},
                    {"kind", "learned"},
                    {"target", ""},
                    {"via_table", name},
                    {"refused", ""},
                    {"held", gateway.held_words(table, far_end)}});
  }
}

}  // namespace

json show_routes(Gateway& gateway, const Arguments& arguments, Time) {
  want_no_arguments(arguments);
  want_ready(gateway);
  json rows = json::array();
  for (const conf::Port& port : gateway.configuration().ports)
    add_connected(rows, port.name, port.table.name, port.addresses);
  for (const conf::Loopback& loopback : gateway.configuration().loopbacks)
    add_connected(rows, loopback.name, loopback.table.name, loopback.addresses);
  for (const conf::Tunnel& tunnel : gateway.configuration().tunnels)
    add_connected(rows, tunnel.interface, tunnel.overlay.name, tunnel.addresses);
  for (const conf::Route& route : gateway.configuration().routes)
    rows.push_back(static_route(gateway, route));
  add_held(rows, gateway);
  return rows;
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
  if (gateway.configuration().tunnels[tunnel].first_slot)
    return {{"done", fmt::format("{} is ended; its peer may come again", arguments.front())}};
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
