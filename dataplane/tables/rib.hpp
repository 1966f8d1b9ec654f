// Which next hop a prefix has when several things want it: an address of ours, a network on a port, a
// tunnel's own network, a configured route, what an SA's selectors have, a learned one. The best candidate is
// what the FIB gets. A guarded one, which leads into a tunnel, is held back while it would be the way to some
// tunnel's far end. Main thread only.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "channel/address.hpp"
#include "dataplane/tables/forwarding.hpp"
#include "dataplane/tables/next_hop.hpp"
#include "dataplane/tables/routes.hpp"

namespace espgate::dataplane {

// The lower wins.
enum class RouteSource : std::uint8_t { host = 0, connected, tunnel, configured, selectors, learned };

// Of one table.
class Rib {
 public:
  // `owner` tells candidates of one source apart (a port or tunnel index, a metric); the lower wins.
  struct Origin {
    RouteSource source;
    std::uint32_t owner;
    auto operator<=>(const Origin&) const = default;
  };

  explicit Rib(Routes& routes) noexcept : routes_(routes) {}

  // False: a table is full, and nothing changed. `guarded`: it must not become the way to a far end.
  [[nodiscard]] bool set(const IpPrefix& destination, Origin origin, NextHop next_hop, bool guarded = false);
  // False: there was none.
  bool remove(const IpPrefix& destination, Origin origin);
  // What this origin set; null: nothing.
  [[nodiscard]] const NextHop* find(const IpPrefix& destination, Origin origin) const;

  // Whether the outer packets of a tunnel go to this address, so that no tunnel may be the way there.
  void set_far_end(const IpAddress& address, bool is_one);

  struct Changes {
    bool any{false};               // that workers see
    std::set<IpAddress> far_ends;  // to which the way may be another now
  };
  // Lets the workers see all changes since the last call (one grace period).
  Changes commit();

  // A guarded destination that a commit has begun to hold back, or (without `far_end`) holds back no more.
  struct Held {
    IpPrefix destination;
    std::optional<IpAddress> far_end;
  };
  [[nodiscard]] std::vector<Held> take_held() { return std::exchange(news_, {}); }
  // All that are held back now.
  [[nodiscard]] std::vector<Held> held() const;

 private:
  struct Candidate {
    NextHop next_hop;
    bool guarded;
  };
  using Candidates = std::map<Origin, Candidate>;
  using Place = std::pair<IpPrefix, Origin>;

  [[nodiscard]] Candidates::const_iterator best(const IpPrefix& to, const Candidates& candidates) const;
  void select(const IpPrefix& to);
  void note_change(const IpPrefix& to);  // the way to far ends in there may be another
  [[nodiscard]] std::vector<Place> in_the_way_to(const IpAddress& far_end) const;
  void guard(const IpAddress& far_end);

  Routes& routes_;
  std::map<IpPrefix, Candidates> candidates_;
  std::map<IpAddress, std::vector<Place>> far_ends_;  // with what is held back for each
  std::set<IpAddress> unsure_;                        // far ends to which the way may be another now
  std::map<Place, std::set<IpAddress>> held_;         // for whose sake
  std::set<IpAddress> former_;                        // far ends that are none any more
  std::vector<Held> news_;
  bool changed_{false};
};

// Of all tables.
class Ribs {
 public:
  using FarEnd = std::pair<TableId, IpAddress>;  // in an underlay table
  struct Changes {
    bool any{false};
    std::vector<FarEnd> far_ends;
  };

  explicit Ribs(Forwarding& tables);
  // `table` < Forwarding::table_count().
  [[nodiscard]] Rib& operator[](TableId table) noexcept { return ribs_[table]; }
  Changes commit();

 private:
  std::vector<Rib> ribs_;
};

}  // namespace espgate::dataplane
