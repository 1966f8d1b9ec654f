// The commands about tunnels and groups: what a valid one is, and what follows from it.
#include <net/if.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "dataplane/commands.hpp"
#include "dataplane/tables/publish.hpp"

namespace espgate::dataplane {

using channel::CommandStatus;

namespace {

constexpr std::uint16_t kMinMtu = 576;
constexpr std::uint16_t kMaxMtu = 9000;
// Owners of host routes: ports have those below.
constexpr std::uint32_t kLoopbackOwners = 1U << 8;
constexpr std::uint32_t kTunnelOwners = 1U << 16;

// Printable, closed by a zero, not empty: it is shown to the operator.
bool is_name(const channel::Name& name) noexcept {
  const auto end = std::find(name.begin(), name.end(), '\0');
  return end != name.begin() && end != name.end() &&
         std::all_of(name.begin(), end, [](char c) { return c > ' ' && c < '\x7f'; });
}

IpPrefix host_route(const IpAddress& address) noexcept {
  return {address, static_cast<std::uint8_t>(address.is_v4() ? 32 : 128)};
}

bool is_interface_address(const IpPrefix& prefix) noexcept {
  return is_valid(prefix) && is_unicast(prefix.address);
}

bool is_outer(const IpAddress& address) noexcept {
  return is_valid(address) && address.is_set() && is_unicast(address);
}

// Of an interface of the kernel, which puts it into paths; empty: there is none.
bool is_kernel_name(const channel::Name& name) noexcept {
  if (name[0] == '\0') return true;
  const std::string_view text(name.data(), strnlen(name.data(), name.size()));
  return is_name(name) && text.size() < IFNAMSIZ && text != "." && text != ".." &&
         text.find('/') == text.npos;
}

bool same_tunnel(const channel::SetTunnel& a, const channel::SetTunnel& b) noexcept {
  return a.name == b.name && a.local == b.local && a.remote == b.remote && a.underlay == b.underlay &&
         a.overlay == b.overlay;
}

}  // namespace

bool add_port_routes(Ribs& ribs, const Interfaces& interfaces) {
  for (std::uint32_t p = 0; p < interfaces.size(); p++) {
    Rib& rib = ribs[interfaces[p].table];
    const NextHop host{NextHopKind::host, static_cast<std::uint8_t>(p), 0, 0};
    const NextHop connected{NextHopKind::connected, static_cast<std::uint8_t>(p), 0, 0};
    for (const IpPrefix& own : interfaces[p].addresses) {
      const IpPrefix alone = host_route(own.address);
      if (!rib.set(alone, {RouteSource::host, p}, host)) return false;
      if (own == alone) continue;
      if (!rib.set(own, {RouteSource::connected, p}, connected)) return false;
      if (!own.address.is_v4() || own.length > 30) continue;
      const std::uint32_t first = v4_host_order(network_of(own).address);
      for (const std::uint32_t a : {first, first | (0xffffffffU >> own.length)})
        if (!rib.set({v4_from_host_order(a), 32}, {RouteSource::connected, p},
                     {NextHopKind::blackhole, 0, 0, 0}))
          return false;
    }
  }
  return true;
}

bool add_loopback_routes(Ribs& ribs, const std::vector<conf::Loopback>& loopbacks) {
  std::uint32_t owner = kLoopbackOwners;
  for (const conf::Loopback& loopback : loopbacks)
    for (const IpPrefix& own : loopback.addresses)
      if (!ribs[loopback.table.id].set(host_route(own.address), {RouteSource::host, owner++},
                                       {NextHopKind::host, Note::kNoPort, 0, 0}))
        return false;
  return true;
}

CommandStatus Commands::check_tunnel(const channel::SetTunnel& wanted) const noexcept {
  if (wanted.index >= tunnels_.size()) return CommandStatus::bad_index;
  if (!is_name(wanted.name) || !is_name(wanted.interface_name) || !is_kernel_name(wanted.kernel))
    return CommandStatus::bad_name;
  if (!is_table(wanted.underlay) || !is_table(wanted.overlay)) return CommandStatus::bad_table;
  if (wanted.address_count > channel::kMaxTunnelAddresses) return CommandStatus::bad_count;
  for (std::uint32_t i = 0; i < wanted.address_count; i++)
    if (!is_interface_address(wanted.addresses[i])) return CommandStatus::bad_prefix;
  if (wanted.mode > channel::Mode::transport || wanted.cut_after > 1) return CommandStatus::bad_option;
  if (wanted.cut_after == 1 && wanted.mode == channel::Mode::transport) return CommandStatus::bad_option;
  if (wanted.mtu != 0 && (wanted.mtu < kMinMtu || wanted.mtu > kMaxMtu)) return CommandStatus::bad_mtu;
  const bool anywhere = wanted.remote == IpAddress{} && wanted.mode == channel::Mode::tunnel;
  const bool there = is_outer(wanted.remote) && wanted.local.family == wanted.remote.family;
  return is_outer(wanted.local) && (anywhere || there) ? Liveness::check(wanted) : CommandStatus::bad_address;
}

CommandStatus Commands::check_group(const channel::SetGroup& wanted) const noexcept {
  if (wanted.index >= group_states_.size()) return CommandStatus::bad_index;
  if (!is_name(wanted.name)) return CommandStatus::bad_name;
  if (wanted.member_count == 0 || wanted.member_count > channel::kMaxGroupMembers)
    return CommandStatus::bad_count;
  if (!is_table(wanted.table)) return CommandStatus::bad_table;
  if (wanted.choice != channel::GroupChoice::flow && wanted.choice != channel::GroupChoice::selectors)
    return CommandStatus::bad_member;
  for (std::uint32_t i = 0; i < wanted.member_count; i++)
    if (wanted.choice == channel::GroupChoice::selectors && wanted.members[i].gateway.is_set())
      return CommandStatus::bad_member;
  for (std::uint32_t i = 0; i < wanted.member_count; i++)
    if (!wanted.members[i].gateway.is_set() && !is_tunnel(wanted.members[i].tunnel))
      return CommandStatus::bad_index;
  return CommandStatus::ok;
}

CommandStatus Commands::set_tunnel(const channel::SetTunnel& wanted, std::uint64_t now) {
  if (const CommandStatus status = check_tunnel(wanted); status != CommandStatus::ok) return status;
  TunnelState& tunnel = tunnels_[wanted.index];
  // Another tunnel in the same place: the former one's SAs and routes must not become this one's.
  if (tunnel.set && !same_tunnel(tunnel.wanted, wanted)) (void)remove_tunnel(wanted.index, now);
  if (tunnel.set) {
    remove_tunnel_routes(tunnel.wanted);
    forget_peer(tunnel.wanted);
  }
  tunnel.set = true;
  tunnel.mark = mark_;
  tunnel.wanted = wanted;
  if (wanted.remote.is_set()) {
    peers_.add(wanted.underlay, wanted.remote);
    set_far_end(tunnel, wanted.remote);
  }
  peers_.add_end(wanted.underlay, wanted.local);
  if (wanted.mode == channel::Mode::transport)
    peers_.add_transport(wanted.underlay, wanted.local, wanted.remote, wanted.index);
  publish_tunnel(tunnel);
  liveness_.watch(wanted, now);
  if (!add_tunnel_routes(wanted)) {
    (void)remove_tunnel(wanted.index, now);
    return CommandStatus::table_full;
  }
  const std::uint16_t mtu = tables_.tunnels[wanted.index].fit.load(std::memory_order_relaxed).mtu;
  return twins_.set_tunnel(wanted, mtu, now) ? CommandStatus::ok : CommandStatus::kernel_refused;
}

CommandStatus Commands::set_mirror(const channel::SetMirror& wanted) {
  const bool of_port = wanted.what == channel::MirrorOf::port;
  const bool of_tunnel = wanted.what == channel::MirrorOf::tunnel;
  if (!of_port && !of_tunnel && wanted.what != channel::MirrorOf::nothing) return CommandStatus::bad_option;
  // A sub-interface's frames are its parent's.
  if (of_port && (wanted.index >= interfaces_.size() || tables_.ports[wanted.index].vlan != 0))
    return CommandStatus::bad_index;
  if (of_tunnel && !is_tunnel(wanted.index)) return CommandStatus::bad_index;
  if ((of_port || of_tunnel) && (wanted.name[0] == '\0' || !is_kernel_name(wanted.name)))
    return CommandStatus::bad_name;
  return mirror_.set(wanted) ? CommandStatus::ok : CommandStatus::kernel_refused;
}

CommandStatus Commands::remove_tunnel(std::uint32_t index, std::uint64_t now) {
  if (!is_tunnel(index)) return CommandStatus::bad_index;
  TunnelState& tunnel = tunnels_[index];
  remove_routes_to({NextHopKind::tunnel, 0, 0, index}, now);
  remove_tunnel_routes(tunnel.wanted);
  selector_routes_.remove_all_of(index);
  associations_.remove_all_of(index, now);
  liveness_.forget(index, now);
  forget_peer(tunnel.wanted);
  set_far_end(tunnel, {});
  twins_.remove_tunnel(index);
  tunnel = TunnelState{};
  learned_.erase(index);
  tables_.tunnels[index].fit.store(Fit{}, std::memory_order_relaxed);
  publish(tables_.rcu, tables_.tunnels[index].tunnel, {});
  groups_.forget_tunnel(index, now);
  return CommandStatus::ok;
}

void Commands::forget_peer(const channel::SetTunnel& tunnel) {
  peers_.remove(tunnel.underlay, tunnel.remote);
  peers_.remove_end(tunnel.underlay, tunnel.local);
  peers_.remove_transport(tunnel.underlay, tunnel.local, tunnel.remote, tunnel.index);
}

void Commands::set_far_end(TunnelState& tunnel, const IpAddress& far_end) {
  const TableId underlay = tunnel.wanted.underlay;
  const auto [first, last] = tunnels_to_.equal_range({underlay, tunnel.far_end});
  const auto known =
      std::find_if(first, last, [&](const auto& to) { return to.second == tunnel.wanted.index; });
  if (known != last) tunnels_to_.erase(known);
  tunnel.far_end = far_end;
  if (far_end.is_set()) tunnels_to_.emplace(Ribs::FarEnd{underlay, far_end}, tunnel.wanted.index);
}

bool Commands::add_tunnel_routes(const channel::SetTunnel& tunnel) {
  Rib& rib = ribs_[tunnel.overlay];
  const NextHop into{NextHopKind::tunnel, 0, 0, tunnel.index};
  for (std::uint32_t i = 0; i < tunnel.address_count; i++) {
    const IpPrefix& own = tunnel.addresses[i];
    const IpPrefix alone = host_route(own.address);
    if (!rib.set(alone, {RouteSource::host, kTunnelOwners + tunnel.index}, {NextHopKind::host, 0, 0, 0}))
      return false;
    if (own != alone && !rib.set(own, {RouteSource::tunnel, tunnel.index}, into)) return false;
  }
  return true;
}

void Commands::remove_tunnel_routes(const channel::SetTunnel& tunnel) {
  Rib& rib = ribs_[tunnel.overlay];
  for (std::uint32_t i = 0; i < tunnel.address_count; i++) {
    rib.remove(host_route(tunnel.addresses[i].address), {RouteSource::host, kTunnelOwners + tunnel.index});
    rib.remove(tunnel.addresses[i], {RouteSource::tunnel, tunnel.index});
  }
}

// The outer port's MTU; while the peer has no route, that of the underlay's smallest port. Less where ICMP
// said so.
std::uint16_t Commands::outer_mtu(const TunnelState& tunnel) const noexcept {
  const TableId underlay = tunnel.wanted.underlay;
  NextHop to;
  if (tunnel.far_end.is_set()) to = tables_.member(tables_.routes(underlay).find_one(tunnel.far_end), 0);
  std::uint16_t outer = kMaxMtu;
  if (to.kind == NextHopKind::connected || to.kind == NextHopKind::gateway)
    outer = tables_.ports[to.port].mtu;
  else
    for (std::size_t p = 0; p < interfaces_.size(); p++)
      if (interfaces_[p].table == underlay) outer = std::min(outer, tables_.ports[p].mtu);
  return tunnel.path.mtu != 0 ? std::min(outer, tunnel.path.mtu) : outer;
}

// What is left of that under the SA that the tunnel sends on; while it has none, under the largest suite in
// UDP.
std::uint16_t Commands::derived_mtu(const TunnelState& tunnel, std::uint16_t outer) const noexcept {
  const channel::SetTunnel& wanted = tunnel.wanted;
  std::uint16_t least = kMaxMtu;
  if (const OutboundSa* const sa = tables_.tunnels[wanted.index].outbound.load(std::memory_order_relaxed))
    least = inner_mtu(outer, around(*sa));
  else
    for (const crypto::SuiteRow& row : crypto::kSuites)
      least = std::min(least, inner_mtu(outer, {wanted.local.family, false, true, row.suite}));
  return std::max(least, std::uint16_t{68});  // RFC 791: every link carries 68
}

void Commands::fit_tunnel(TunnelState& tunnel) noexcept {
  const channel::SetTunnel& wanted = tunnel.wanted;
  const std::uint16_t most = wanted.mtu != 0 ? wanted.mtu : kMaxMtu;
  const std::uint16_t outer = outer_mtu(tunnel);
  const std::uint16_t uncut = std::min(most, derived_mtu(tunnel, outer));
  const Fit fit{uncut, wanted.clamp_mss != 0, wanted.spread != 0, wanted.cut_after != 0 ? most : uncut,
                outer};
  tables_.tunnels[wanted.index].fit.store(fit, std::memory_order_relaxed);
  twins_.set_mtu(wanted.index, uncut);
}

void Commands::publish_tunnel(TunnelState& tunnel) {
  const channel::SetTunnel& wanted = tunnel.wanted;
  Tunnel next{{}, {}, wanted.underlay, wanted.overlay};
  for (std::uint32_t i = wanted.address_count; i > 0; i--) {
    const IpAddress& own = wanted.addresses[i - 1].address;
    (own.is_v4() ? next.address4 : next.address6) = own;
  }
  publish<Tunnel>(tables_.rcu, tables_.tunnels[wanted.index].tunnel, std::make_unique<const Tunnel>(next));
  fit_tunnel(tunnel);
}

}  // namespace espgate::dataplane
