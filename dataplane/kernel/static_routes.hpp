// The configured routes of tables whose twins have a place in the kernel, there too, so that programs of this
// machine reach what is behind tunnels: those into tunnels, and by gateways on ports, that have twins; of a
// group its members that have the flows; and blackholes. Main thread only.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/groups.hpp"
#include "dataplane/kernel/own_routes.hpp"
#include "dataplane/kernel/twins.hpp"
#include "dataplane/tables/forwarding.hpp"

namespace espgate::dataplane {

class StaticRoutes {
 public:
  // What the kernel did not take is tried again after so long.
  static constexpr std::uint64_t kRetry = 10'000'000'000;  // ns

  // All must outlive this.
  StaticRoutes(const Forwarding& tables, const Groups& groups, const Twins& twins);
  // Those that would outlive the twins go.
  ~StaticRoutes();
  StaticRoutes(const StaticRoutes&) = delete;
  StaticRoutes& operator=(const StaticRoutes&) = delete;

  // The table's route to this network.
  void want(TableId table, const IpPrefix& to, NextHop next_hop);
  void unwant(TableId table, const IpPrefix& to);
  // All that is wanted has been said once: what a process before has left and is not among it goes.
  void complete() noexcept { complete_ = true; }

  // Writes some of what has changed.
  void serve(std::uint64_t now);
  // Not all is written yet.
  [[nodiscard]] bool busy() const noexcept { return busy_; }
  // Wanted ones that the kernel has not taken.
  [[nodiscard]] std::size_t refused() const noexcept { return refused_; }

 private:
  using Key = std::pair<TableId, IpPrefix>;
  using Hops = std::vector<KernelHop>;  // in order; none: a blackhole
  struct Route {
    std::optional<NextHop> wanted;
    std::optional<Hops> written;
    std::uint64_t losses{0};  // the twins', when it was written
    bool refused{false};
  };

  void open();
  void find();
  void look(std::uint64_t now);
  // True: it took a call of the kernel.
  bool write(const Key& key, Route& route);
  void note(const Key& key, Route& route, int error);
  [[nodiscard]] bool is_lost(const Key& key, const Route& route) const;
  [[nodiscard]] std::optional<Hops> hops_for(const Key& key, NextHop next_hop) const;
  void add_hop(const Key& key, const WeightedHop& member, Hops& hops) const;

  const Forwarding& tables_;
  const Groups& groups_;
  const Twins& twins_;
  std::map<TableId, OwnRoutes> kernel_;  // once there is a twin
  std::map<Key, Route> routes_;
  std::optional<Key> from_;            // all from here on are to be looked at
  std::optional<TableId> finding_in_;  // what is there; those of later tables then
  std::uint64_t twins_seen_{0};
  std::uint64_t losses_seen_{0};
  std::uint64_t groups_seen_{0};
  std::uint64_t retry_ns_{0};
  std::size_t refused_{0};
  std::size_t told_refused_{0};
  std::string refusal_;  // the last one, in words
  bool complete_{false};
  bool busy_{false};
  bool tried_{false};  // to open the kernel's tables
  bool again_{false};  // all, from the first on
};

}  // namespace espgate::dataplane
