// ICMP (RFC 792, 1122, 1812) and ICMPv6 (RFC 4443): errors about packets that end here, and echo replies.
// Bounded by token buckets. Main thread only.
#pragma once

#include <cstdint>

#include "dataplane/ports/interfaces.hpp"
#include "dataplane/ports/known_peers.hpp"
#include "dataplane/ports/outbox.hpp"
#include "dataplane/ports/rate_limit.hpp"
#include "dataplane/tables/forwarding.hpp"

namespace espgate::dataplane {

class Resolver;

enum class IcmpError : std::uint8_t {
  no_route,
  host_unreachable,
  protocol_unreachable,
  port_unreachable,
  too_big,
  ttl_exceeded,
};

class Icmp {
 public:
  static constexpr RateLimits kErrorLimits{
      .rate = 1000, .burst = 200, .source_rate = 100, .source_burst = 50};
  static constexpr RateLimits kEchoLimits{
      .rate = 20000, .burst = 4000, .source_rate = 5000, .source_burst = 2000};

  Icmp(Forwarding& tables, const Interfaces& interfaces, Outbox& outbox, const KnownPeers& peers,
       std::uint64_t seed) noexcept;

  // Tells the sender of `packet` (data at a valid IP header, its note says where it came from) unless a rule
  // or the rate forbids. `argument`: too_big: the MTU; protocol_unreachable: offset of the next-header field
  // (IPv6). The packet stays the caller's.
  void error(rte_mbuf* packet, IcmpError what, std::uint32_t argument, std::uint64_t now) noexcept;

  // Turns an echo request (data at the IP header, `icmp` bytes before ICMP, `length` bytes in all, checksum
  // verified) into its reply, or drops it. Takes the packet.
  void echo(rte_mbuf* packet, std::uint16_t icmp, std::uint16_t length, std::uint64_t now) noexcept;

  // Replies to link-local neighbours go by way of the resolver, which needs this one in turn.
  void set_resolver(Resolver& resolver) noexcept { resolver_ = &resolver; }

 private:
  [[nodiscard]] bool may_tell(TableId table, const std::uint8_t* ip, std::uint16_t length) const noexcept;
  [[nodiscard]] IpAddress source_address(const std::uint8_t* ip, const Note& note) const noexcept;
  void write_header(std::uint8_t* at, std::uint16_t length, std::uint8_t service, const IpAddress& from,
                    const IpAddress& to) noexcept;
  // `about`: of the packet that is answered.
  void send(const IpAddress& to, const Note& about, rte_mbuf* packet, std::uint64_t now) noexcept;

  Forwarding& tables_;
  const Interfaces& interfaces_;
  Outbox& outbox_;
  const KnownPeers& peers_;
  Resolver* resolver_{nullptr};
  RateLimiter error_limit_;
  RateLimiter echo_limit_;
  std::uint16_t identification_{0};
};

}  // namespace espgate::dataplane
