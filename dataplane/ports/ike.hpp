// IKE datagrams between the wire and the control process: UDP ports 500 and 4500 (RFC 7296 section 2.23, RFC
// 3948). Main thread only.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>

#include "channel/messages.hpp"
#include "dataplane/control_link.hpp"
#include "dataplane/ports/outbox.hpp"
#include "dataplane/ports/rate_limit.hpp"
#include "dataplane/tables/forwarding.hpp"

namespace espgate::dataplane {

// The outer addresses of the tunnels' far ends.
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

class IkePort {
 public:
  static constexpr RateLimits kPeerLimits{
      .rate = 10000, .burst = 2000, .source_rate = 500, .source_burst = 200};
  static constexpr RateLimits kStrangerLimits{
      .rate = 1000, .burst = 200, .source_rate = 50, .source_burst = 30};

  IkePort(Forwarding& tables, Outbox& outbox, const KnownPeers& peers, ControlLink& control,
          std::uint64_t seed) noexcept;

  // Packets from the workers' ring (data at the outer IP header). Takes them. Known peers go first, and
  // strangers may fill only half of the ring to the control process.
  void receive(std::span<rte_mbuf* const> packets, std::uint64_t now);

  // From the control process, unchecked. In fragments when it is larger than the port's MTU.
  void send(const channel::IkeDatagram& datagram, std::uint64_t now);

 private:
  void deliver(rte_mbuf* packet, bool known, std::uint64_t now);
  [[nodiscard]] bool acceptable(const channel::IkeDatagram& datagram) const noexcept;
  void send_udp(const channel::IkeDatagram& datagram, std::span<const std::uint8_t> udp, std::uint16_t mtu);

  Forwarding& tables_;
  Outbox& outbox_;
  const KnownPeers& peers_;
  ControlLink& control_;
  RateLimiter peer_limit_;
  RateLimiter stranger_limit_;
  std::uint16_t identification_{0};
  channel::IkeDatagram received_{};  // one at a time; too large for the stack
};

}  // namespace espgate::dataplane
