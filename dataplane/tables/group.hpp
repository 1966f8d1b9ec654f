// ECMP groups as the workers see them: a flow's hash picks a bucket, and the bucket names a member. Where the
// members' selectors choose, each is asked in turn.
#pragma once

#include <array>
#include <cstdint>

#include "channel/counters.hpp"
#include "dataplane/tables/next_hop.hpp"

namespace espgate::dataplane {

// Which member has which bucket. The main thread moves only the buckets it must when a member goes or
// returns.
struct Buckets {
  static constexpr std::uint32_t kCount = channel::kGroupBuckets;
  static constexpr std::uint8_t kNobody = 0xff;  // in every bucket while no member is up
  std::array<std::uint8_t, kCount> member;       // places among the group's members
  bool operator==(const Buckets&) const = default;
};

struct GroupPackets;

// Replaced whole, retired through Rcu. What every packet needs of a small group are two cache lines of it.
struct alignas(64) Group {
  static constexpr std::uint32_t kMembers = channel::kMaxGroupMembers;
  GroupPackets* packets{nullptr};           // [worker]
  bool by_selectors{false};                 // tunnels alone: `asked` counts, and not the buckets
  std::array<NextHop, kMembers> members{};  // tunnels and gateways
  Buckets buckets{};
  std::array<std::uint8_t, kMembers> asked{};  // places of those that are up, in order; behind them kNobody

  // The member's place; kNobody: none is up.
  [[nodiscard]] std::uint8_t place_of(std::uint32_t hash) const noexcept {
    return buckets.member[hash % Buckets::kCount];
  }
};

// A worker's own, of one group: packets sent into each of its members.
struct alignas(64) GroupPackets {
  std::array<channel::Counter, Group::kMembers> by_place{};
};

}  // namespace espgate::dataplane
