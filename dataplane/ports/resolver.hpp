// Address resolution: keeps the neighbour table true. Asks (ARP or neighbour solicitation), waits, keeps a
// few packets meanwhile, confirms, ages and forgets. RFC 4861 section 7.3 for both families. Main thread
// only.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <utility>
#include <vector>

#include "dataplane/ports/interfaces.hpp"
#include "dataplane/ports/outbox.hpp"
#include "dataplane/tables/forwarding.hpp"

namespace espgate::dataplane {

class Resolver {
 public:
  static constexpr std::uint64_t kSecond = 1'000'000'000;
  static constexpr std::uint64_t kRetransmit = kSecond;      // RFC 4861 section 10, RetransTimer
  static constexpr unsigned kTries = 3;                      // MAX_MULTICAST_SOLICIT, MAX_UNICAST_SOLICIT
  static constexpr std::uint64_t kReachable = 30 * kSecond;  // REACHABLE_TIME
  static constexpr std::uint64_t kStaleCheck = kSecond;    // how often a stale neighbour is looked at for use
  static constexpr std::uint64_t kForget = 60 * kSecond;   // unused and stale for so long: gone
  static constexpr std::uint64_t kHoldDown = 5 * kSecond;  // a neighbour that did not answer is left alone
  static constexpr std::size_t kQueue = 8;                 // packets that wait for one neighbour
  static constexpr std::size_t kQueueOfAll = 512;          // and for all of them
  static constexpr std::size_t kResolving = 1024;          // neighbours asked for at the same time

  // `unreachable` takes a packet (data at the IP header) whose neighbour does not answer.
  using Unreachable = std::function<void(rte_mbuf* packet, std::uint64_t now)>;
  Resolver(Forwarding& tables, const Interfaces& interfaces, Outbox& outbox, Unreachable unreachable);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // For a next hop that refers to the neighbour: it is resolved at once and stays until unpinned as often as
  // pinned. kNoNeighbour: the table is full.
  [[nodiscard]] NeighbourId pin(std::uint8_t port, const IpAddress& address, std::uint64_t now);
  void unpin(NeighbourId id, std::uint64_t now);

  // Sends `packet` (data at the IP header) to a neighbour, or keeps it until the neighbour has answered.
  void send(std::uint8_t port, const IpAddress& address, rte_mbuf* packet, std::uint64_t now);

  // The neighbour told its link address by asking for one of ours: known, but not proved reachable (7.2.3).
  void heard_request(std::uint8_t port, const IpAddress& address, const Mac& mac, std::uint64_t now);
  // An advertisement or ARP reply (7.2.5). Of a station nobody asked for: ignored.
  struct Answer {
    const Mac* mac;  // null: without a link address
    bool solicited;
    bool override;
  };
  void heard_answer(std::uint8_t port, const IpAddress& address, Answer answer, std::uint64_t now);
  // Is an answer from this address awaited? ARP replies have no flag that says so.
  [[nodiscard]] bool awaits(std::uint8_t port, const IpAddress& address) const noexcept;

  // Another device is behind the port, and its neighbours may have other link addresses now: asks for those
  // that are pinned, and forgets the others.
  void start_over(std::uint8_t port, std::uint64_t now);

  // Retransmits, ages, gives up. A bounded number of neighbours a call.
  void advance(std::uint64_t now);
  [[nodiscard]] std::size_t queued() const noexcept { return queued_; }

 private:
  // What workers need not know of a neighbour.
  struct Life {
    std::uint64_t due{0};  // 0: no timer
    std::uint64_t last_used{0};
    unsigned tries{0};
    unsigned pins{0};
    bool resolving{false};
    std::vector<rte_mbuf*> queue;
  };
  [[nodiscard]] NeighbourState state(NeighbourId id) const noexcept {
    return tables_.neighbours.link(id).state();
  }
  void set_timer(NeighbourId id, std::uint64_t due);
  void set_resolving(NeighbourId id, bool resolving) noexcept;
  void start(NeighbourId id, std::uint64_t now);
  void solicit(NeighbourId id, std::uint64_t now);
  void fire(NeighbourId id, std::uint64_t now);
  void fire_stale(NeighbourId id, std::uint64_t now);
  void fail(NeighbourId id, std::uint64_t now);
  void forget(NeighbourId id);
  void settle(NeighbourId id, NeighbourState state, const Mac& mac, std::uint64_t now);
  void enqueue(NeighbourId id, rte_mbuf* packet) noexcept;
  void flush(NeighbourId id);

  Forwarding& tables_;
  const Interfaces& interfaces_;
  Outbox& outbox_;
  Unreachable unreachable_;
  std::vector<Life> lives_;  // by NeighbourId
  std::set<std::pair<std::uint64_t, NeighbourId>> timers_;
  std::size_t queued_{0};
  std::size_t resolving_{0};
};

}  // namespace espgate::dataplane
