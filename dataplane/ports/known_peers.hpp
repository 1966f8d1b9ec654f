// The outer ends of the tunnels, as the main thread needs them: whose IKE and fragments go ahead of
// strangers', and between which ends this gateway's own packets go in transport mode. Main thread only.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "channel/address.hpp"

namespace espgate::dataplane {

class KnownPeers {
 public:
  void add(TableId table, const IpAddress& address) { counts_[{table, address}]++; }
  void remove(TableId table, const IpAddress& address) {
    const auto found = counts_.find({table, address});
    if (found != counts_.end() && --found->second == 0) counts_.erase(found);
  }
  [[nodiscard]] bool contains(TableId table, const IpAddress& address) const {
    return counts_.contains({table, address});
  }

  void add_transport(TableId table, const IpAddress& local, const IpAddress& remote, std::uint32_t tunnel) {
    transports_[{table, local, remote}] = tunnel;
  }
  void remove_transport(TableId table, const IpAddress& local, const IpAddress& remote,
                        std::uint32_t tunnel) {
    const auto found = transports_.find({table, local, remote});
    if (found != transports_.end() && found->second == tunnel) transports_.erase(found);
  }
  // The tunnel that protects all packets between the two but IKE and neighbour discovery, whether it has an
  // SA just now or not (RFC 4301 section 4.4.1: PROTECT, BYPASS).
  [[nodiscard]] std::optional<std::uint32_t> transport(TableId table, const IpAddress& local,
                                                       const IpAddress& remote) const {
    const auto found = transports_.find({table, local, remote});
    return found == transports_.end() ? std::nullopt : std::optional(found->second);
  }

 private:
  std::map<std::pair<TableId, IpAddress>, unsigned> counts_;
  std::map<std::tuple<TableId, IpAddress, IpAddress>, std::uint32_t> transports_;
};

}  // namespace espgate::dataplane
