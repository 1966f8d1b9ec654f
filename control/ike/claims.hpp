// Which slot's peer has which networks: of a template's peers none gets what another one has. Found by
// look-ups, a few for each bit of a prefix, however many there are.
#pragma once

#include <map>
#include <optional>
#include <utility>

#include "control/ike/daemon.hpp"
#include "control/ike/selectors.hpp"

namespace espgate::ike {

class Claims {
 public:
  // `table`: the overlay in which the addresses mean what they do. Each child SA claims its own: what is
  // claimed twice is given up twice.
  void add(TableId table, TunnelId slot, const Selectors& selectors);
  void remove(TableId table, const Selectors& selectors);
  // Another slot that has part of it.
  [[nodiscard]] std::optional<TunnelId> other(TableId table, TunnelId slot, const Selectors& selectors) const;

 private:
  struct Claim {
    TunnelId slot;
    unsigned count;
  };
  [[nodiscard]] std::optional<TunnelId> other(TableId table, TunnelId slot, const IpPrefix& prefix) const;

  std::map<std::pair<TableId, IpPrefix>, Claim> claims_;
};

}  // namespace espgate::ike
