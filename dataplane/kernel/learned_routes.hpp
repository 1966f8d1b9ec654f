// The routes that others (routing daemons, `ip route`) have put into the kernel and that lead out of twins,
// in our own tables. Among candidates for one prefix they come last, and of them the one with the lowest
// metric counts. Several next hops of one are a group. The kernel's main table is ours. Main thread only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dataplane/groups.hpp"
#include "dataplane/kernel/rivals.hpp"
#include "dataplane/kernel/route_feed.hpp"
#include "dataplane/kernel/twins.hpp"
#include "dataplane/ports/interfaces.hpp"
#include "dataplane/ports/resolver.hpp"
#include "dataplane/tables/rib.hpp"

namespace espgate::dataplane {

class LearnedRoutes {
 public:
  // The time that a call of `serve` takes for reading what the kernel has told; what follows from it takes as
  // long again.
  static constexpr std::uint64_t kBudget = 1'500'000;  // ns
  // Routes that found no room in the tables, or no group, are tried again, when others have gone.
  static constexpr std::uint64_t kRetry = 10'000'000'000;  // ns

  // All must outlive this.
  struct Parts {
    Ribs& ribs;
    Resolver& resolver;
    const Interfaces& interfaces;
    Groups& groups;
    Twins& twins;
  };
  // Those of one table, whose twins have a space.
  LearnedRoutes(const Parts& parts, TableId table);
  ~LearnedRoutes();
  LearnedRoutes(const LearnedRoutes&) = delete;
  LearnedRoutes& operator=(const LearnedRoutes&) = delete;

  // Takes in some of what the kernel has told. True: our tables have changed, and are to be committed.
  [[nodiscard]] bool serve(std::uint64_t now);
  // Not all is taken in yet.
  [[nodiscard]] bool busy() const noexcept { return busy_; }

  // What is in our tables, and what found no room there.
  [[nodiscard]] std::size_t size() const noexcept { return used_ - refused_; }
  [[nodiscard]] std::size_t refused() const noexcept { return refused_; }
  // Those with several next hops that have but the first, because there is no group left.
  [[nodiscard]] std::size_t ungrouped() const noexcept { return ungrouped_; }
  [[nodiscard]] std::uint64_t overruns() const noexcept { return feed_ ? feed_->overruns() : 0; }

 private:
  using Key = std::pair<IpPrefix, std::uint32_t>;  // destination and metric
  // Where a route leads. The neighbour of a gateway is pinned, and of a group this is a user, until `let_go`.
  struct Way {
    NextHop next_hop;
    bool ungrouped{false};  // it is but the first of several
    bool by_tunnel{false};  // or some of it
    bool operator==(const Way&) const = default;
  };
  struct Learned {
    Rivals rivals;
    Way way;              // of the first
    bool refused{false};  // our tables have no room for it
    bool unsure{false};   // the kernel may have others behind the first
    // There were several. When the kernel tells all, it leaves out those of IPv6 that lie between next hops
    // that it shows as one route (Linux 6.1), so those that it tells need not be all.
    bool several{false};
    std::uint32_t telling{0};
  };
  using Place = std::map<Key, Learned>::iterator;

  [[nodiscard]] bool open();
  void note_link(RouteFeed::Link what, int interface);
  void take(RouteFeed::Word word, const KernelRoute& route);
  void put(RouteFeed::Word word, const KernelRoute& route);
  void remove(const KernelRoute& route);
  void settle(Place place);
  void lead(Place place, const Way& way);
  [[nodiscard]] Way way_of(const KernelRoute& route);
  [[nodiscard]] std::vector<WeightedHop> members_of(const std::vector<KernelHop>& hops);
  [[nodiscard]] NextHop gateway(std::uint8_t port, const IpAddress& address);
  void let_go(NextHop next_hop);
  void leave(Place place);
  Place drop(Place place);
  void sweep();
  void forget(std::uint32_t tunnel);
  void note_room() noexcept;
  void tell_refused();

  TableId table_;
  Rib& rib_;
  Resolver& resolver_;
  const Interfaces& interfaces_;
  Groups& groups_;
  Twins& twins_;
  std::unique_ptr<RouteFeed> feed_;  // once there is a twin
  std::map<Key, Learned> routes_;  // also those of which the first leads nowhere here, but not if it is alone
  std::optional<Key> skipped_;     // what was seen last of those that are alone and lead nowhere
  std::unordered_map<std::uint32_t, std::size_t> users_;  // of each tunnel: routes straight into it
  std::uint32_t telling_{0};
  std::optional<Key> sweep_from_;  // what was not told again goes, from here on
  std::uint64_t twins_seen_{0};
  std::uint64_t now_{0};
  std::uint64_t retry_ns_{0};
  std::size_t used_{0};  // those of which the first leads somewhere
  std::size_t refused_{0};
  std::size_t ungrouped_{0};
  std::size_t told_refused_{0};
  std::size_t told_ungrouped_{0};
  bool tried_{false};  // to open the feed
  bool changed_{false};
  bool busy_{false};
};

}  // namespace espgate::dataplane
