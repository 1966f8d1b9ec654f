// The neighbour table (ARP, RFC 826; neighbour discovery, RFC 4861 section 7.3): workers read link addresses,
// the main thread resolves, confirms and ages them. Lookup is rte_hash in its lock-free mode.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "channel/address.hpp"
#include "dataplane/tables/next_hop.hpp"
#include "dataplane/tables/rcu.hpp"

struct rte_hash;

namespace espgate::dataplane {

enum class NeighbourState : std::uint8_t { free = 0, incomplete, reachable, stale, probing, failed };

// A link address and its state in one word, so that a reader never sees half of a change.
// Bits 0..47: the MAC address, first byte in the lowest bits (as it lies in memory). Bits 56..63: the state.
struct Link {
  std::uint64_t word{0};
  [[nodiscard]] NeighbourState state() const noexcept { return static_cast<NeighbourState>(word >> 56); }
  // Good enough to send to: reachable, stale or probing.
  [[nodiscard]] bool usable() const noexcept {
    const NeighbourState s = state();
    return s == NeighbourState::reachable || s == NeighbourState::stale || s == NeighbourState::probing;
  }
};

struct alignas(64) Neighbour {
  std::atomic<std::uint64_t> link;  // Link::word; main thread writes
  std::atomic<std::uint8_t>
      used;  // workers set it when they send (only if it is clear); aging reads and clears it
  std::uint8_t port;
  IpAddress address;
};

class Neighbours {
 public:
  static constexpr std::uint32_t kCapacity = 16384;
  explicit Neighbours(Rcu& rcu);
  ~Neighbours();
  Neighbours(const Neighbours&) = delete;
  Neighbours& operator=(const Neighbours&) = delete;

  // Any worker, lock-free. kNoNeighbour: never heard of; the caller sends the packet up as
  // Exception::resolve.
  [[nodiscard]] NeighbourId find(std::uint8_t port, const IpAddress& address) const noexcept;
  [[nodiscard]] Link link(NeighbourId id) const noexcept {
    return Link{entries_[id].link.load(std::memory_order_acquire)};
  }
  void mark_used(NeighbourId id) noexcept {
    if (entries_[id].used.load(std::memory_order_relaxed) == 0)
      entries_[id].used.store(1, std::memory_order_relaxed);
  }

  // Main thread only.
  [[nodiscard]] NeighbourId ensure(std::uint8_t port,
                                   const IpAddress& address);  // kNoNeighbour: the table is full
  void set_link(NeighbourId id, NeighbourState state, const std::uint8_t mac[6]) noexcept;
  void set_state(NeighbourId id, NeighbourState state) noexcept;
  void remove(NeighbourId id);  // must not be referred to by a NextHop any more
  [[nodiscard]] const Neighbour& entry(NeighbourId id) const noexcept { return entries_[id]; }
  [[nodiscard]] Neighbour& entry(NeighbourId id) noexcept { return entries_[id]; }

 private:
  Rcu& rcu_;
  rte_hash* hash_{nullptr};
  Neighbour* entries_{nullptr};
};

}  // namespace espgate::dataplane
