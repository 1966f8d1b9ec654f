// What the dataplane does with the groups: who is in them, who is up, and who gets how much.
#include <fmt/format.h>

#include "control/shell/show.hpp"
#include "control/shell/show_common.hpp"
#include "control/tunnels/printable.hpp"

namespace espgate::control {

namespace {

using channel::MemberState;

// The page is the dataplane's: it may hold any number.
const char* words(MemberState state) noexcept {
  switch (state) {
    case MemberState::up:
      return "up";
    case MemberState::no_sa:
      return "down: no SA to send on";
    case MemberState::no_route:
      return "down: no route to the far end";
    case MemberState::port_down:
      return "down: the port is down";
    case MemberState::no_neighbour:
      return "down: no answer to ARP or ND";
    case MemberState::far_end_lost:
      return "down: the far end is lost";
    case MemberState::absent:
    case MemberState::no_tunnel:
      break;
  }
  return "not known to the dataplane";
}

json member_row(const conf::GroupMember& member, const channel::GroupMemberStatus& status) {
  const MemberState state = status.state.load(std::memory_order_relaxed);
  return {{"name", member.via ? to_string(*member.via) : printable(member.tunnel)},
          {"kind", member.via ? "gateway" : "tunnel"},
          {"up", state == MemberState::up},
          {"state", words(state)},
          {"weight", member.weight},
          {"priority", member.priority},
          {"buckets", status.buckets.load(std::memory_order_relaxed)},
          {"packets", read(status.packets)}};
}

json group_row(const Gateway& gateway, std::uint32_t index) {
  const conf::Group& group = gateway.configuration().groups[index];
  const channel::GroupStatus& status = want_counters(gateway).group(index);
  json members = json::array();
  unsigned up = 0;
  for (std::size_t i = 0; i < group.members.size() && i < channel::kMaxGroupMembers; ++i) {
    members.push_back(member_row(group.members[i], status.members[i]));
    up += members.back().at("up").get<bool>() ? 1 : 0;
  }
  return {{"name", printable(group.name)},
          {"members", std::move(members)},
          {"by", group.by == channel::GroupChoice::selectors ? "selectors" : "flow"},
          {"members_up", up},
          {"buckets", channel::kGroupBuckets}};
}

std::uint32_t group_named(const Gateway& gateway, const Arguments& arguments) {
  if (arguments.size() != 1) throw CommandError("one group's name is wanted");
  const std::vector<conf::Group>& groups = gateway.configuration().groups;
  for (std::uint32_t index = 0; index < groups.size(); ++index)
    if (groups[index].name == arguments.front()) return index;
  throw CommandError(
      fmt::format("there is no group \"{}\"; `show groups` lists them", printable(arguments.front())));
}

void want_room(const Gateway& gateway) {
  want_ready(gateway);
  if (gateway.configuration().groups.size() > want_counters(gateway).shape().max_groups)
    throw CommandError("the dataplane has no room for all groups");
}

}  // namespace

json show_groups(Gateway& gateway, const Arguments& arguments, Time) {
  want_no_arguments(arguments);
  want_room(gateway);
  json rows = json::array();
  for (std::uint32_t index = 0; index < gateway.configuration().groups.size(); ++index)
    rows.push_back(group_row(gateway, index));
  return rows;
}

json show_group(Gateway& gateway, const Arguments& arguments, Time) {
  const std::uint32_t index = group_named(gateway, arguments);
  want_room(gateway);
  return group_row(gateway, index);
}

}  // namespace espgate::control
