#include "dataplane/commands.hpp"

#include <algorithm>

#include "dataplane/tables/publish.hpp"

namespace espgate::dataplane {

using channel::Command;
using channel::CommandKind;
using channel::CommandStatus;

Commands::Commands(const Parts& parts)
    : tables_(parts.tables),
      ribs_(parts.ribs),
      resolver_(parts.resolver),
      associations_(parts.associations),
      groups_(parts.groups),
      interfaces_(parts.interfaces),
      peers_(parts.peers),
      liveness_(parts.liveness),
      twins_(parts.twins),
      kernel_routes_(parts.kernel_routes),
      mirror_(parts.mirror),
      control_(parts.control),
      tunnels_(parts.tables.shape.max_tunnels),
      group_states_(parts.tables.shape.max_groups),
      selector_routes_(parts.ribs) {
  peers_.when_changed([this](TableId table, const IpAddress& address, bool is_one) {
    ribs_[table].set_far_end(address, is_one);
  });
}

Commands::~Commands() {
  peers_.when_changed({});
  for (std::uint32_t i = 0; i < tunnels_.size(); i++) publish(tables_.rcu, tables_.tunnels[i].tunnel, {});
  tables_.rcu.wait();
}

void Commands::execute(const Command& command, std::uint64_t now) {
  channel::Event event{};
  event.kind = channel::EventKind::command_done;
  event.body.command_done = {command.sequence, apply(command, now)};
  control_.tell(event);
}

CommandStatus Commands::apply(const Command& command, std::uint64_t now) {
  const auto& body = command.body;
  switch (command.kind) {
    case CommandKind::sync_begin:
      return sync_begin();
    case CommandKind::sync_end:
      return sync_end(now);
    case CommandKind::set_tunnel:
      return set_tunnel(body.set_tunnel, now);
    case CommandKind::remove_tunnel:
      return remove_tunnel(body.remove_tunnel.index, now);
    case CommandKind::set_group:
      return set_group(body.set_group, now);
    case CommandKind::remove_group:
      return remove_group(body.remove_group.index, now);
    case CommandKind::set_route:
      return set_route(body.set_route, now);
    case CommandKind::remove_route:
      return remove_route(body.remove_route, now);
    case CommandKind::install_inbound_sa:
      if (!is_tunnel(body.install_sa.tunnel)) return CommandStatus::bad_index;
      return associations_.install_inbound(body.install_sa, now);
    case CommandKind::install_outbound_sa:
      return install_outbound(body.install_sa, now);
    case CommandKind::remove_inbound_sa:
      return associations_.remove_inbound(body.remove_sa, now);
    case CommandKind::remove_outbound_sa:
      return remove_outbound(body.remove_sa, now);
    case CommandKind::extend_sa:
      return associations_.extend_outbound(body.extend_sa);
    case CommandKind::move_outbound_sa:
      return associations_.move_outbound(body.move_sa, now);
    case CommandKind::set_mirror:
      return set_mirror(body.set_mirror);
    case CommandKind::list_sas:
      associations_.list([this](std::uint32_t tunnel) { return tunnels_[tunnel].wanted.name; }, control_,
                         now);
      return CommandStatus::ok;
    case CommandKind::none:
      break;
  }
  return CommandStatus::unknown_command;
}

CommandStatus Commands::install_outbound(const channel::InstallSa& install, std::uint64_t now) {
  if (!is_tunnel(install.tunnel)) return CommandStatus::bad_index;
  TunnelState& tunnel = tunnels_[install.tunnel];
  const CommandStatus status = associations_.install_outbound(install, now);
  if (status != CommandStatus::ok) return status;
  if (!tunnel.wanted.remote.is_set()) {
    set_far_end(tunnel, install.remote);
    if (!selector_routes_.add(tunnel.wanted.overlay, install.tunnel, install.spi, install.selectors)) {
      (void)associations_.remove_outbound({install.tunnel, install.spi}, now);
      return CommandStatus::table_full;
    }
  }
  fit_tunnel(tunnel);
  return CommandStatus::ok;
}

CommandStatus Commands::remove_outbound(const channel::RemoveSa& remove, std::uint64_t now) {
  selector_routes_.remove(remove.tunnel, remove.spi);
  return associations_.remove_outbound(remove, now);
}

CommandStatus Commands::sync_begin() noexcept {
  mark_++;
  syncing_ = true;
  return CommandStatus::ok;
}

// Routes before groups before tunnels: what refers to a thing goes before it.
CommandStatus Commands::sync_end(std::uint64_t now) {
  if (!syncing_) return CommandStatus::unknown_command;
  syncing_ = false;
  for (auto route = routes_.begin(); route != routes_.end();) {
    const auto present = route++;
    if (present->second.mark != mark_) drop_route(present, now);
  }
  for (std::uint32_t i = 0; i < group_states_.size(); i++)
    if (group_states_[i].set && group_states_[i].mark != mark_) (void)remove_group(i, now);
  for (std::uint32_t i = 0; i < tunnels_.size(); i++)
    if (tunnels_[i].set && tunnels_[i].mark != mark_) (void)remove_tunnel(i, now);
  twins_.end_others();
  kernel_routes_.complete();
  for (const std::uint32_t tunnel : learned_) tell_path(tunnels_[tunnel]);  // this process may be a new one
  liveness_.tell_all();
  tell_held(true);
  return CommandStatus::ok;
}

void Commands::settle(std::uint64_t now) {
  const Ribs::Changes changes = ribs_.commit();
  tell_held(false);
  if (changes.any) groups_.member_changed();  // tunnels' packets may leave by other ports now
  for (const Ribs::FarEnd& far_end : changes.far_ends) refresh_outer(far_end, now);
  if (associations_.take_changed()) {
    groups_.member_changed();
    liveness_.look(now);
  }
  if (liveness_.take_changed()) groups_.member_changed();
  if (!groups_.settle(now)) return tell_twins(now);
  // Far ends that are reached through a group may be behind another gateway now.
  refresh_all_outer(now);
  groups_.member_changed();
  (void)groups_.settle(now);
  tell_twins(now);
}

void Commands::tell_held(bool all) {
  for (std::size_t table = 0; table < tables_.table_count(); table++) {
    Rib& rib = ribs_[static_cast<TableId>(table)];
    for (const Rib::Held& held : all ? rib.held() : rib.take_held()) {
      channel::Event event{};
      event.kind = channel::EventKind::route_held;
      event.body.route_held = {held.destination, held.far_end.value_or(IpAddress{}),
                               static_cast<TableId>(table)};
      control_.tell(event);
    }
  }
}

void Commands::refresh_outer(const Ribs::FarEnd& far_end, std::uint64_t now) {
  associations_.refresh_outer(far_end, now);
  const auto [first, last] = tunnels_to_.equal_range(far_end);
  for (auto at = first; at != last; ++at) fit_tunnel(tunnels_[at->second]);
}

void Commands::refresh_all_outer(std::uint64_t now) {
  associations_.refresh_all_outer(now);
  for (TunnelState& tunnel : tunnels_)
    if (tunnel.set) fit_tunnel(tunnel);
}

void Commands::tell_twins(std::uint64_t now) noexcept {
  const auto is_up = [this](std::uint32_t tunnel) {
    return groups_.state_of({NextHopKind::tunnel, 0, 0, tunnel}) == MemberState::up;
  };
  twins_.follow(is_up, now);
}

void Commands::port_changed(std::uint64_t now) {
  groups_.member_changed();
  settle(now);
}

void Commands::follow_liveness(std::uint64_t now) {
  if (!liveness_.take_changed()) return;
  groups_.member_changed();
  settle(now);
}

CommandStatus Commands::set_group(const channel::SetGroup& wanted, std::uint64_t now) {
  if (const CommandStatus status = check_group(wanted); status != CommandStatus::ok) return status;
  std::vector<WeightedHop> members;
  std::vector<NeighbourId> pinned;  // until the group has them
  CommandStatus status = CommandStatus::ok;
  for (std::uint32_t m = 0; m < wanted.member_count && status == CommandStatus::ok; m++) {
    const channel::GroupMember& from = wanted.members[m];
    NextHop hop{NextHopKind::tunnel, 0, 0, from.tunnel};
    if (from.gateway.is_set()) status = gateway_hop(wanted.table, from.gateway, now, hop);
    if (hop.kind == NextHopKind::gateway) pinned.push_back(hop.index);
    members.push_back({hop, from.weight, from.priority});
  }
  if (status == CommandStatus::ok && !Groups::is_sound(members)) status = CommandStatus::bad_member;
  if (status == CommandStatus::ok) {
    groups_.set(wanted.index, members, now, wanted.choice);
    group_states_[wanted.index] = {true, mark_};
  }
  for (const NeighbourId neighbour : pinned) resolver_.unpin(neighbour, now);
  return status;
}

CommandStatus Commands::remove_group(std::uint32_t index, std::uint64_t now) {
  if (!is_group(index)) return CommandStatus::bad_index;
  remove_routes_to({NextHopKind::group, 0, 0, index}, now);
  groups_.remove(index, now);
  group_states_[index] = GroupState{};
  return CommandStatus::ok;
}

CommandStatus Commands::next_hop_of(const channel::SetRoute& wanted, std::uint64_t now, StaticRoute& out) {
  switch (wanted.kind) {
    case channel::RouteKind::tunnel:
      if (!is_tunnel(wanted.index)) return CommandStatus::bad_index;
      if (tunnels_[wanted.index].wanted.overlay != wanted.via_table) return CommandStatus::bad_table;
      out.next_hop = {NextHopKind::tunnel, 0, 0, wanted.index};
      return CommandStatus::ok;
    case channel::RouteKind::group:
      if (!is_group(wanted.index)) return CommandStatus::bad_index;
      out.next_hop = {NextHopKind::group, 0, 0, wanted.index};
      return CommandStatus::ok;
    case channel::RouteKind::blackhole:
      out.next_hop = {NextHopKind::blackhole, 0, 0, 0};
      return CommandStatus::ok;
    case channel::RouteKind::gateway:
      break;
    case channel::RouteKind::none:
    default:
      return CommandStatus::unknown_command;
  }
  if (wanted.gateway.family != wanted.destination.address.family) return CommandStatus::bad_address;
  const CommandStatus status = gateway_hop(wanted.via_table, wanted.gateway, now, out.next_hop);
  out.pinned = status == CommandStatus::ok;
  return status;
}

// Pins its neighbour.
CommandStatus Commands::gateway_hop(TableId table, const IpAddress& gateway, std::uint64_t now,
                                    NextHop& out) {
  if (!is_valid(gateway)) return CommandStatus::bad_address;
  const auto is_there = [&](const Interface& i) { return i.table == table; };
  const auto port = std::find_if(interfaces_.begin(), interfaces_.end(),
                                 [&](const Interface& i) { return is_there(i) && on_link(i, gateway); });
  // A link-local gateway is on every link; which one is meant can be told only when there is one.
  const bool which =
      !is_link_local(gateway) || std::count_if(interfaces_.begin(), interfaces_.end(), is_there) == 1;
  if (port == interfaces_.end() || !which) return CommandStatus::unreachable;
  const auto index = static_cast<std::uint8_t>(port - interfaces_.begin());
  const NeighbourId id = resolver_.pin(index, gateway, now);
  if (id == kNoNeighbour) return CommandStatus::table_full;
  out = {NextHopKind::gateway, index, 0, id};
  return CommandStatus::ok;
}

CommandStatus Commands::set_route(const channel::SetRoute& wanted, std::uint64_t now) {
  if (!is_valid(wanted.destination) || !wanted.destination.address.is_set()) return CommandStatus::bad_prefix;
  if (!is_table(wanted.table) || !is_table(wanted.via_table)) return CommandStatus::bad_table;
  StaticRoute route{.mark = mark_, .next_hop = {}, .pinned = false};
  if (const CommandStatus status = next_hop_of(wanted, now, route); status != CommandStatus::ok)
    return status;
  const RouteKey key{wanted.table, network_of(wanted.destination)};
  if (!ribs_[key.first].set(key.second, {RouteSource::configured, 0}, route.next_hop)) {
    if (route.pinned) resolver_.unpin(route.next_hop.index, now);
    return CommandStatus::table_full;
  }
  const auto former = routes_.find(key);
  if (former != routes_.end() && former->second.pinned) resolver_.unpin(former->second.next_hop.index, now);
  routes_[key] = route;
  kernel_routes_.want(key.first, key.second, route.next_hop);
  return CommandStatus::ok;
}

CommandStatus Commands::remove_route(const channel::RemoveRoute& unwanted, std::uint64_t now) {
  const IpPrefix& destination = unwanted.destination;
  if (!is_valid(destination) || !destination.address.is_set()) return CommandStatus::bad_prefix;
  const auto found = routes_.find({unwanted.table, network_of(destination)});
  if (found == routes_.end()) return CommandStatus::no_such_route;
  drop_route(found, now);
  return CommandStatus::ok;
}

void Commands::drop_route(std::map<RouteKey, StaticRoute>::iterator route, std::uint64_t now) {
  const auto& [table, destination] = route->first;
  ribs_[table].remove(destination, {RouteSource::configured, 0});
  kernel_routes_.unwant(table, destination);
  // The resolver may forget it at its next turn, which comes after `settle`: then no worker has the route any
  // more.
  if (route->second.pinned) resolver_.unpin(route->second.next_hop.index, now);
  routes_.erase(route);
}

void Commands::remove_routes_to(NextHop next_hop, std::uint64_t now) {
  for (auto route = routes_.begin(); route != routes_.end();) {
    const auto present = route++;
    if (present->second.next_hop == next_hop) drop_route(present, now);
  }
}

}  // namespace espgate::dataplane
