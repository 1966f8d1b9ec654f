// IKE datagrams between the wire and the control process: UDP ports 500 and 4500 (RFC 7296 section 2.23, RFC
// 3948). Main thread only.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "channel/messages.hpp"
#include "dataplane/control_link.hpp"
#include "dataplane/path/identifications.hpp"
#include "dataplane/ports/known_peers.hpp"
#include "dataplane/ports/outbox.hpp"
#include "dataplane/ports/rate_limit.hpp"
#include "dataplane/tables/forwarding.hpp"

namespace espgate::dataplane {

class IkePort {
 public:
  // Each twice: for what has no responder's SPI yet (IKE_SA_INIT requests), and for all else. Whoever asks
  // for new IKE SAs in a peer's name leaves alone what those live by that the peer has.
  static constexpr RateLimits kPeerLimits{
      .rate = 10000, .burst = 2000, .source_rate = 500, .source_burst = 200};
  static constexpr RateLimits kStrangerLimits{
      .rate = 1000, .burst = 200, .source_rate = 50, .source_burst = 30};

  IkePort(Forwarding& tables, Outbox& outbox, const KnownPeers& peers, ControlLink& control,
          std::uint64_t seed, const Identifications& identifications) noexcept;

  // Packets from the ring (data at the outer IP header, in one segment or, reassembled, in several, the first
  // of which has the whole header). Takes them. Known peers go first, and strangers may fill only half of the
  // ring to the control process.
  void receive(std::span<rte_mbuf* const> packets, std::uint64_t now);

  // From the control process, unchecked. In fragments when it is larger than the port's MTU, or than 1280
  // bytes in IPv6.
  void send(const channel::IkeDatagram& datagram, std::uint64_t now);

 private:
  // IP header with options or a few extension headers, UDP header, marker and message.
  static constexpr std::size_t kMaxPacket = 256 + 8 + 4 + channel::kMaxIkeDatagram;
  void deliver(rte_mbuf* packet, bool known, std::uint64_t now);
  [[nodiscard]] bool acceptable(const channel::IkeDatagram& datagram) const noexcept;
  void send_udp(const channel::IkeDatagram& datagram, std::span<const std::uint8_t> udp, std::uint16_t mtu);

  Forwarding& tables_;
  Outbox& outbox_;
  const KnownPeers& peers_;
  ControlLink& control_;
  struct Budgets {
    RateLimiter first;
    RateLimiter later;
  };
  Budgets peers_budgets_;
  Budgets strangers_budgets_;
  std::uint32_t identification4_{0};
  Identifications identifications6_;
  // One at a time; too large for the stack.
  channel::IkeDatagram received_{};
  std::array<std::uint8_t, kMaxPacket> packet_;  // what came in several segments
};

}  // namespace espgate::dataplane
