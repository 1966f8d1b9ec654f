// Applies the control process's commands. Every field of a command may hold anything: it is checked here, or
// by Associations, before its first use. Main thread only.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "channel/messages.hpp"
#include "conf/schema.hpp"
#include "dataplane/associations.hpp"
#include "dataplane/control_link.hpp"
#include "dataplane/groups.hpp"
#include "dataplane/kernel/mirror.hpp"
#include "dataplane/kernel/static_routes.hpp"
#include "dataplane/kernel/twins.hpp"
#include "dataplane/liveness/liveness.hpp"
#include "dataplane/ports/ike.hpp"
#include "dataplane/ports/interfaces.hpp"
#include "dataplane/ports/resolver.hpp"
#include "dataplane/selector_routes.hpp"
#include "dataplane/tables/forwarding.hpp"
#include "dataplane/tables/rib.hpp"

namespace espgate::dataplane {

// The routes to addresses on no port, at the start. False: a route table is too small for them.
[[nodiscard]] bool add_loopback_routes(Ribs& ribs, const std::vector<conf::Loopback>& loopbacks);
// The ports' own routes, at the start: addresses, connected networks, and no directed broadcast (RFC 2644).
// False: a route table is too small for them.
[[nodiscard]] bool add_port_routes(Ribs& ribs, const Interfaces& interfaces);

class Commands {
 public:
  // All must outlive this.
  struct Parts {
    Forwarding& tables;
    Ribs& ribs;
    Resolver& resolver;
    Associations& associations;
    Groups& groups;
    const Interfaces& interfaces;
    KnownPeers& peers;
    Liveness& liveness;
    Twins& twins;
    StaticRoutes& kernel_routes;
    Mirror& mirror;
    ControlLink& control;
  };
  explicit Commands(const Parts& parts);
  ~Commands();
  Commands(const Commands&) = delete;
  Commands& operator=(const Commands&) = delete;

  // Applies one command and tells the control process how it ended.
  void execute(const channel::Command& command, std::uint64_t now);
  // After each batch: lets the workers see changed routes, outer next hops and groups.
  void settle(std::uint64_t now);
  // A port went up or down: members whose packets leave by it join or leave their groups.
  void port_changed(std::uint64_t now);
  // Far ends were lost or came back: the same.
  void follow_liveness(std::uint64_t now);

  // Gives the tunnels' twins in the kernel the tunnels' state. A few times a second, and after changes.
  void tell_twins(std::uint64_t now) noexcept;

  // ICMP from `said_by` spoke of a packet that was too big. False: it was none that a tunnel here sent. The
  // tunnel's MTU is fitted to the path for ten minutes.
  [[nodiscard]] bool path_too_big(const TooBig& said, const IpAddress& said_by, std::uint64_t now);
  // Forgets what was learned long ago. A few times a second.
  void age_paths(std::uint64_t now);

 private:
  using Status = channel::CommandStatus;
  // What the way to the far end carries less than the port.
  struct Path {
    std::uint16_t mtu{0};  // bytes of outer packet; 0: nothing is known
    IpAddress said_by{};
    std::uint64_t until_ns{0};
  };
  struct TunnelState {
    bool set{false};
    std::uint64_t mark{0};  // the sync during which it was set last
    channel::SetTunnel wanted{};
    IpAddress far_end{};  // of a tunnel to anywhere its last SA's, if it has had one
    Path path{};
  };
  struct GroupState {
    bool set{false};
    std::uint64_t mark{0};
  };
  using RouteKey = std::pair<TableId, IpPrefix>;
  struct StaticRoute {
    std::uint64_t mark{0};
    NextHop next_hop;
    bool pinned{false};  // next_hop is a gateway, whose neighbour is pinned
  };

  [[nodiscard]] Status apply(const channel::Command& command, std::uint64_t now);
  [[nodiscard]] Status sync_begin() noexcept;
  [[nodiscard]] Status sync_end(std::uint64_t now);
  [[nodiscard]] Status set_mirror(const channel::SetMirror& wanted);
  [[nodiscard]] Status set_tunnel(const channel::SetTunnel& wanted, std::uint64_t now);
  [[nodiscard]] Status remove_tunnel(std::uint32_t index, std::uint64_t now);
  [[nodiscard]] Status set_group(const channel::SetGroup& wanted, std::uint64_t now);
  [[nodiscard]] Status remove_group(std::uint32_t index, std::uint64_t now);
  [[nodiscard]] Status set_route(const channel::SetRoute& wanted, std::uint64_t now);
  [[nodiscard]] Status remove_route(const channel::RemoveRoute& unwanted, std::uint64_t now);
  [[nodiscard]] Status next_hop_of(const channel::SetRoute& wanted, std::uint64_t now, StaticRoute& out);
  [[nodiscard]] Status gateway_hop(TableId table, const IpAddress& gateway, std::uint64_t now, NextHop& out);
  [[nodiscard]] Status check_tunnel(const channel::SetTunnel& wanted) const noexcept;
  [[nodiscard]] Status check_group(const channel::SetGroup& wanted) const noexcept;
  [[nodiscard]] bool is_tunnel(std::uint32_t index) const noexcept {
    return index < tunnels_.size() && tunnels_[index].set;
  }
  [[nodiscard]] bool is_table(TableId table) const noexcept { return table < tables_.table_count(); }
  [[nodiscard]] bool is_group(std::uint32_t index) const noexcept {
    return index < group_states_.size() && group_states_[index].set;
  }
  [[nodiscard]] bool add_tunnel_routes(const channel::SetTunnel& tunnel);
  void forget_peer(const channel::SetTunnel& tunnel);
  void remove_tunnel_routes(const channel::SetTunnel& tunnel);
  void remove_routes_to(NextHop next_hop, std::uint64_t now);
  void drop_route(std::map<RouteKey, StaticRoute>::iterator route, std::uint64_t now);
  [[nodiscard]] Status install_outbound(const channel::InstallSa& install, std::uint64_t now);
  [[nodiscard]] Status remove_outbound(const channel::RemoveSa& remove, std::uint64_t now);
  [[nodiscard]] std::uint16_t outer_mtu(const TunnelState& tunnel) const noexcept;
  [[nodiscard]] std::uint16_t derived_mtu(const TunnelState& tunnel, std::uint16_t outer) const noexcept;
  // What is held back of learned routes: news of it, or all.
  void tell_held(bool all);
  void refresh_outer(const Ribs::FarEnd& far_end, std::uint64_t now);
  void refresh_all_outer(std::uint64_t now);
  // Where the tunnel's packets go from now on, for refresh_outer. Not set: nowhere.
  void set_far_end(TunnelState& tunnel, const IpAddress& far_end);
  void tell_path(const TunnelState& tunnel);
  void fit_tunnel(TunnelState& tunnel) noexcept;
  void publish_tunnel(TunnelState& tunnel);

  Forwarding& tables_;
  Ribs& ribs_;
  Resolver& resolver_;
  Associations& associations_;
  Groups& groups_;
  const Interfaces& interfaces_;
  KnownPeers& peers_;
  Liveness& liveness_;
  Twins& twins_;
  StaticRoutes& kernel_routes_;
  Mirror& mirror_;
  ControlLink& control_;
  std::vector<TunnelState> tunnels_;
  std::multimap<Ribs::FarEnd, std::uint32_t> tunnels_to_;  // indices
  std::vector<GroupState> group_states_;
  std::map<RouteKey, StaticRoute> routes_;
  SelectorRoutes selector_routes_;
  std::set<std::uint32_t> learned_;  // tunnels whose path is known
  std::uint64_t mark_{1};
  bool syncing_{false};
};

}  // namespace espgate::dataplane
