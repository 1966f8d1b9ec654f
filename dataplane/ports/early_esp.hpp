// ESP that comes before its SA. A responder may send on a new SA as soon as it has answered, and its first
// packets may overtake that answer on their way through the control process; so packets for a free slot wait
// here for a moment. Main thread only.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

#include "dataplane/ports/outbox.hpp"
#include "dataplane/tables/forwarding.hpp"

namespace espgate::dataplane {

class EarlyEsp {
 public:
  static constexpr std::size_t kMost = 256;                    // packets, of all SAs together
  static constexpr std::uint64_t kPatienceNs = 1'000'000'000;  // then no SA is expected any more

  // What becomes of a packet for which no SA came; takes the packet.
  using InVain = std::function<void(rte_mbuf* packet, std::uint64_t now)>;
  // All must outlive this.
  EarlyEsp(const Forwarding& tables, Outbox& outbox, InVain in_vain)
      : tables_(tables), outbox_(outbox), in_vain_(std::move(in_vain)) {}
  ~EarlyEsp();
  EarlyEsp(const EarlyEsp&) = delete;
  EarlyEsp& operator=(const EarlyEsp&) = delete;

  // `packet`'s data begin at the outer IP header. True: taken. False: no SA of ours can ever have this SPI's
  // slot now, or there is no room. `now`: CLOCK_MONOTONIC nanoseconds.
  [[nodiscard]] bool keep(rte_mbuf* packet, std::uint32_t spi, std::uint64_t now) noexcept;

  // Gives what an SA has come for to its worker, in the order of arrival, and away what waited in vain.
  void advance(std::uint64_t now);

 private:
  struct Kept {
    rte_mbuf* packet;
    std::uint32_t spi;
    std::uint64_t until;
  };
  [[nodiscard]] std::uint32_t present_spi(std::uint32_t spi) const noexcept;

  const Forwarding& tables_;
  Outbox& outbox_;
  InVain in_vain_;
  std::array<Kept, kMost> kept_{};
  std::size_t count_{0};
};

}  // namespace espgate::dataplane
