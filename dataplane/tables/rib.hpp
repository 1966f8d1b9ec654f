// Which next hop a prefix has when several things want it: an address of ours, a network on a port, a
// tunnel's own network, a configured route, a learned one. The best candidate is what the FIB gets. Main
// thread only.
#pragma once

#include <bitset>
#include <cstdint>
#include <map>
#include <vector>

#include "channel/address.hpp"
#include "dataplane/tables/forwarding.hpp"
#include "dataplane/tables/next_hop.hpp"
#include "dataplane/tables/routes.hpp"

namespace espgate::dataplane {

// The lower wins.
enum class RouteSource : std::uint8_t { host = 0, connected, tunnel, configured, learned };

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

  // False: a table is full, and nothing changed.
  [[nodiscard]] bool set(const IpPrefix& destination, Origin origin, NextHop next_hop);
  // False: there was none.
  bool remove(const IpPrefix& destination, Origin origin);
  // What this origin set; null: nothing.
  [[nodiscard]] const NextHop* find(const IpPrefix& destination, Origin origin) const;

  // Lets the workers see all changes since the last call (one grace period). True: there were any.
  bool commit();

 private:
  Routes& routes_;
  std::map<IpPrefix, std::map<Origin, NextHop>> candidates_;
  bool changed_{false};
};

// Of all tables.
class Ribs {
 public:
  using Tables = std::bitset<kMaxTables>;

  explicit Ribs(Forwarding& tables);
  // `table` < Forwarding::table_count().
  [[nodiscard]] Rib& operator[](TableId table) noexcept { return ribs_[table]; }
  // Which tables had changes.
  Tables commit();

 private:
  std::vector<Rib> ribs_;
};

}  // namespace espgate::dataplane
