#include "control/tunnels/wanted.hpp"

#include <algorithm>
#include <cstring>

#include "control/tunnels/dataplane_link.hpp"

namespace espgate::control {

using channel::Command;
using channel::CommandKind;

namespace {

std::uint32_t count_of(std::chrono::milliseconds time) noexcept {
  return static_cast<std::uint32_t>(time.count());
}

channel::Watch watch(const conf::Tunnel& from) noexcept {
  channel::Watch to{};
  if (from.bfd) {
    to.bfd_peer = from.bfd->peer;
    to.bfd_interval = count_of(from.bfd->interval) * 1000;
    to.bfd_multiplier = from.bfd->multiplier;
  }
  if (from.probe) {
    to.probe_to = from.probe->to;
    to.probe_interval = count_of(from.probe->interval);
    to.probe_losses = from.probe->losses;
  }
  to.hold_initial = count_of(from.hold_down.initial);
  to.hold_maximum = count_of(from.hold_down.maximum);
  return to;
}

}  // namespace

channel::Name to_name(const std::string& text) noexcept {
  channel::Name name{};
  std::memcpy(name.data(), text.data(), std::min(text.size(), name.size() - 1));
  return name;
}

std::string from_name(const channel::Name& name) { return {name.data(), strnlen(name.data(), name.size())}; }

Wanted::Wanted(const conf::Configuration& configuration) : configuration_(configuration) {
  for (std::uint32_t index = 0; index < configuration.tunnels.size(); ++index)
    tunnels_.emplace(configuration.tunnels[index].name, index);
  for (std::uint32_t index = 0; index < configuration.groups.size(); ++index)
    groups_.emplace(configuration.groups[index].name, index);
}

std::size_t Wanted::size() const noexcept {
  return 2 + configuration_.tunnels.size() + configuration_.groups.size() + configuration_.routes.size();
}

Command Wanted::command(std::size_t position) const {
  if (position == 0) return make_command(CommandKind::sync_begin);
  if (--position < configuration_.tunnels.size()) return tunnel(position);
  position -= configuration_.tunnels.size();
  if (position < configuration_.groups.size()) return group(position);
  position -= configuration_.groups.size();
  if (position < configuration_.routes.size()) return route(position);
  return make_command(CommandKind::sync_end);
}

Command Wanted::tunnel(std::size_t index) const {
  const conf::Tunnel& from = configuration_.tunnels[index];
  Command command = make_command(CommandKind::set_tunnel);
  channel::SetTunnel& to = command.body.set_tunnel;
  to.index = static_cast<std::uint32_t>(index);
  to.name = to_name(from.name);
  to.interface_name = to_name(from.interface);
  to.address_count = static_cast<std::uint32_t>(std::min(from.addresses.size(), to.addresses.size()));
  std::copy_n(from.addresses.begin(), to.address_count, to.addresses.begin());
  to.mtu = from.mtu;
  to.clamp_mss = from.clamp_mss ? 1 : 0;
  to.mode = from.mode;
  to.cut_after = from.fragmentation == conf::Fragmentation::after ? 1 : 0;
  to.spread = from.spread ? 1 : 0;
  to.local = from.local;
  to.remote = from.remote;
  to.underlay = from.table.id;
  to.overlay = from.overlay.id;
  to.watch = watch(from);
  to.kernel = to_name(from.kernel);
  return command;
}

Command Wanted::group(std::size_t index) const {
  const conf::Group& from = configuration_.groups[index];
  Command command = make_command(CommandKind::set_group);
  channel::SetGroup& to = command.body.set_group;
  to.index = static_cast<std::uint32_t>(index);
  to.name = to_name(from.name);
  to.table = from.table.id;
  to.choice = from.by;
  for (const conf::GroupMember& member : from.members) {
    if (to.member_count == to.members.size()) break;
    to.members[to.member_count++] = {member.via ? 0 : tunnels_.at(member.tunnel),
                                     member.via.value_or(IpAddress{}), member.priority, member.weight};
  }
  return command;
}

Command Wanted::route(std::size_t index) const {
  const conf::Route& from = configuration_.routes[index];
  Command command = make_command(CommandKind::set_route);
  channel::SetRoute& to = command.body.set_route;
  to.table = from.table.id;
  to.via_table = from.via_table.id;
  to.destination = from.to;
  if (from.via) {
    to.kind = channel::RouteKind::gateway;
    to.gateway = *from.via;
  } else if (!from.tunnel.empty()) {
    to.kind = channel::RouteKind::tunnel;
    to.index = tunnels_.at(from.tunnel);
  } else if (!from.group.empty()) {
    to.kind = channel::RouteKind::group;
    to.index = groups_.at(from.group);
  } else {
    to.kind = channel::RouteKind::blackhole;
  }
  return command;
}

}  // namespace espgate::control
