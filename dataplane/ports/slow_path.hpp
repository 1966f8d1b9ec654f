// What the workers hand up: ARP, packets to this host, packets that need an ICMP error, packets without a
// resolved neighbour. Each ends here: answered, kept for its neighbour or for its other fragments, or dropped
// by name. Main thread only.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/control_link.hpp"
#include "dataplane/ports/early_esp.hpp"
#include "dataplane/ports/icmp.hpp"
#include "dataplane/ports/interfaces.hpp"
#include "dataplane/ports/outbox.hpp"
#include "dataplane/ports/rate_limit.hpp"
#include "dataplane/ports/reassembly.hpp"
#include "dataplane/ports/resolver.hpp"
#include "dataplane/ports/unknown_spis.hpp"
#include "dataplane/tables/forwarding.hpp"

namespace espgate::dataplane {

class Associations;
class Commands;
class Twins;

class SlowPath {
 public:
  SlowPath(Forwarding& tables, const Interfaces& interfaces, Outbox& outbox, const KnownPeers& peers,
           ControlLink& control, std::uint64_t seed);

  // A packet from the workers' exceptions ring; its note says why. Takes it. `now`: CLOCK_MONOTONIC
  // nanoseconds.
  void handle(rte_mbuf* packet, std::uint64_t now);

  // What is due: neighbours to ask again, ESP whose SA came meanwhile, fragments that waited too long.
  void advance(std::uint64_t now) {
    resolver_.advance(now);
    early_.advance(now);
    reassembly_.advance(now);
    unknown_spis_.advance(now);
  }

  // Tells the link of the port's addresses; after the port came up.
  void announce(std::uint8_t port) noexcept;

  // Who knows the SAs, tunnels and twins, and needs the resolver in turn. Before the first packet.
  void set_owners(Associations& associations, Commands& commands, Twins& twins) noexcept {
    associations_ = &associations;
    commands_ = &commands;
    twins_ = &twins;
  }

  [[nodiscard]] Resolver& resolver() noexcept { return resolver_; }
  [[nodiscard]] const Reassembly& reassembly() const noexcept { return reassembly_; }

 private:
  [[nodiscard]] bool came_in_clear(rte_mbuf* packet) const noexcept;
  [[nodiscard]] bool goes_in_clear(rte_mbuf* packet, NextHop to) const noexcept;
  [[nodiscard]] bool lacks_protection(rte_mbuf* packet) const;
  void to_host(rte_mbuf* packet, std::uint64_t now);
  void to_host4(rte_mbuf* packet, std::uint64_t now);
  void to_host6(rte_mbuf* packet, std::uint64_t now);
  void to_kernel(rte_mbuf* packet, DropReason otherwise, std::uint64_t now);
  void fragment(rte_mbuf* packet, std::uint8_t protocol, std::uint64_t now);
  void fragment6(rte_mbuf* packet, std::uint64_t now);
  void reassembled(rte_mbuf* packet);
  void refuse(rte_mbuf* packet, std::uint8_t protocol, std::uint32_t pointer, std::uint64_t now) noexcept;
  void resolve(rte_mbuf* packet, std::uint64_t now);
  void unreachable_neighbour(rte_mbuf* packet, std::uint64_t now) noexcept;
  void tell_and_drop(rte_mbuf* packet, IcmpError what, std::uint32_t argument, std::uint64_t now) noexcept;
  void too_big(rte_mbuf* packet, std::uint16_t icmp, Family family, std::uint64_t now);
  void undelivered(rte_mbuf* packet, std::uint16_t icmp, Family family, std::uint64_t now);
  void peer_moved(rte_mbuf* word, std::uint64_t now);
  void unknown_spi(rte_mbuf* packet, std::uint64_t now);
  void nobodys_spi(rte_mbuf* packet, std::uint64_t now);

  // Each may cost a walk over many SAs.
  static constexpr RateLimits kTooBigLimits{.rate = 100, .burst = 50, .source_rate = 20, .source_burst = 20};
  Forwarding& tables_;
  const Interfaces& interfaces_;
  Outbox& outbox_;
  const KnownPeers& peers_;
  ControlLink& control_;
  Associations* associations_{nullptr};
  Commands* commands_{nullptr};
  Twins* twins_{nullptr};
  Icmp icmp_;
  Resolver resolver_;
  EarlyEsp early_;
  Reassembly reassembly_;
  UnknownSpis unknown_spis_;
  RateLimiter too_big_limit_;
};

}  // namespace espgate::dataplane
