// The outer addresses of the tunnels' far ends: whose IKE and fragments go ahead of strangers'. Main thread
// only.
#pragma once

#include <map>

#include "channel/address.hpp"

namespace espgate::dataplane {

class KnownPeers {
 public:
  void add(const IpAddress& address) { counts_[address]++; }
  void remove(const IpAddress& address) {
    const auto found = counts_.find(address);
    if (found != counts_.end() && --found->second == 0) counts_.erase(found);
  }
  [[nodiscard]] bool contains(const IpAddress& address) const { return counts_.contains(address); }

 private:
  std::map<IpAddress, unsigned> counts_;
};

}  // namespace espgate::dataplane
