// Longest-prefix routes, IPv4 and IPv6, on rte_fib and rte_fib6. 22.11's FIBs can't be changed under a
// reader, so there are two of each: the idle one is changed, swapped in, and after a grace period the other
// one is changed too.
//
// A lookup in a large table is one read or two of 16 million entries, of 32 MiB each for two sides and two
// families; a small table looks through a tree of what it has, and takes no more than that.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

#include "channel/address.hpp"
#include "dataplane/tables/next_hop.hpp"
#include "dataplane/tables/rcu.hpp"

struct rte_fib;
struct rte_fib6;

namespace espgate::dataplane {

class Routes {
 public:
  // With fewer different next hops than these a FIB's entries are of 16 bits, which halves its 16 million.
  static constexpr std::uint32_t kNarrow = 32768;

  // Of a tree, up to so many routes: the more, the longer a lookup takes.
  static constexpr std::uint32_t kMostInTree = 4096;
  // Blocks of 256 next hops that the entries of 16 bits can name.
  static constexpr std::uint32_t kNarrowBlocks = 32767;

  struct Size {
    std::uint32_t max_routes;  // of each family
    bool tree{false};
    // A prefix of IPv6 longer than /24 takes a block for each 8 bits beyond that, as DPDK counts, which keeps
    // one. 0: as many as entries of 16 bits can name, or fewer for few routes.
    std::uint32_t blocks6{0};
  };
  // Throws std::runtime_error when DPDK's memory does not suffice.
  Routes(Rcu& rcu, Size size, std::uint32_t max_next_hops = kNarrow - 1);
  Routes(Rcu& rcu, std::uint32_t max_routes, std::uint32_t max_next_hops = kNarrow - 1)
      : Routes(rcu, Size{max_routes}, max_next_hops) {}
  ~Routes();
  Routes(const Routes&) = delete;
  Routes& operator=(const Routes&) = delete;

  // Any worker, between two quiet points. Up to 64 at once. IPv4 addresses in host byte order.
  void find(const std::uint32_t* addresses, NextHop* out, unsigned count) const noexcept;
  void find6(std::uint8_t (*addresses)[16], NextHop* out, unsigned count) const noexcept;

  // Main thread only. Changes take effect at `commit`, which waits for one grace period for all of them
  // together. False: a table is full (routes, distinct next hops, or the FIB's own blocks), and nothing
  // changed.
  [[nodiscard]] bool set(const IpPrefix& destination, NextHop next_hop);
  [[nodiscard]] bool remove(const IpPrefix& destination);  // false: there was none
  void commit();
  // What was set for exactly this prefix.
  [[nodiscard]] const NextHop* exact(const IpPrefix& destination) const;
  // The main thread's own lookup (ICMP, IKE).
  [[nodiscard]] NextHop find_one(const IpAddress& address) const noexcept;

  [[nodiscard]] const std::map<IpPrefix, NextHop>& all() const noexcept { return rib_; }

 private:
  using Value = std::uint32_t;  // what a FIB's entry says, an index into next_hops_; 0 is "no route"
  struct Change {
    IpPrefix destination;
    Value value;  // 0: remove
  };
  [[nodiscard]] bool apply(unsigned side, const Change& change) noexcept;
  [[nodiscard]] bool apply_idle(const Change& change);
  [[nodiscard]] std::vector<Change> at_the_end_of(const IpPrefix& destination) const;
  [[nodiscard]] bool change(const Change& change);
  [[nodiscard]] bool change_or_refresh(const Change& change);
  void refresh(unsigned side);
  void create(unsigned side);
  [[nodiscard]] Value value_of(NextHop next_hop) const;
  [[nodiscard]] Value intern(NextHop next_hop);  // 0: full. Counts one more user
  void release(Value value);
  void free_fibs() noexcept;

  Rcu& rcu_;
  Size size_;
  std::atomic<rte_fib*> live4_{nullptr};
  std::atomic<rte_fib6*> live6_{nullptr};
  rte_fib* fib4_[2]{};
  rte_fib6* fib6_[2]{};
  unsigned live_{0};
  std::vector<NextHop>
      next_hops_;  // what a FIB's value means; never reallocated, an entry in use never changes
  std::vector<std::uint32_t> users_;  // of each value, by routes
  std::vector<Value> unused_;         // values that may be given out again
  std::vector<Value> released_;       // values that a worker may hold until the next commit is done
  std::unordered_map<std::uint64_t, Value> values_;  // NextHop's bytes -> value
  std::map<IpPrefix, NextHop> rib_;
  bool refreshed_{false};  // the idle side is new, so the live one is to be made anew after it
  bool full4_{false};      // a new idle side did not have room either; until something is removed
  bool full6_{false};
  std::vector<Change> pending_;  // done to the idle side, not yet to the live one
};

}  // namespace espgate::dataplane
