// The outer ends of the tunnels, as the main thread needs them: whose IKE and fragments go ahead of
// strangers', in which route tables our ends are, and between which ends this gateway's own packets go in
// transport mode. Main thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "channel/address.hpp"

namespace espgate::dataplane {

class KnownPeers {
 public:
  void add(TableId table, const IpAddress& address) {
    if (counts_[{table, address}]++ == 0 && changed_) changed_(table, address, true);
  }
  void remove(TableId table, const IpAddress& address) {
    const auto found = counts_.find({table, address});
    if (found == counts_.end() || --found->second != 0) return;
    counts_.erase(found);
    if (changed_) changed_(table, address, false);
  }
  // Called when an address has become a peer's, or is no peer's any more.
  using Changed = std::function<void(TableId table, const IpAddress& address, bool is_one)>;
  void when_changed(Changed changed) { changed_ = std::move(changed); }
  [[nodiscard]] bool contains(TableId table, const IpAddress& address) const {
    return counts_.contains({table, address});
  }

  // Where tunnels end here.
  void add_end(TableId table, const IpAddress& local) { ends_[{local, table}]++; }
  void remove_end(TableId table, const IpAddress& local) {
    const auto found = ends_.find({local, table});
    if (found != ends_.end() && --found->second == 0) ends_.erase(found);
  }
  // The address is an end of tunnels in other tables than this one only.
  [[nodiscard]] bool ends_elsewhere(TableId table, const IpAddress& local) const {
    const auto any = ends_.lower_bound({local, kMainTable});
    return any != ends_.end() && any->first.first == local && !ends_.contains({local, table});
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
  Changed changed_;
  std::map<std::pair<TableId, IpAddress>, unsigned> counts_;
  std::map<std::pair<IpAddress, TableId>, unsigned> ends_;
  std::map<std::tuple<TableId, IpAddress, IpAddress>, std::uint32_t> transports_;
};

}  // namespace espgate::dataplane
