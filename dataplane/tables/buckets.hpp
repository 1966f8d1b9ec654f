// Shares a group's buckets out among its members. Pure; the groups' owner keeps what was before.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/tables/group.hpp"

namespace espgate::dataplane {

inline constexpr std::uint16_t kMostWeight = channel::kMaxWeight;

// By place among a group's members; 0: nobody is there, or it is not up.
using Weights = std::array<std::uint16_t, Group::kMembers>;
// How many buckets each has.
using Shares = std::array<std::uint16_t, Group::kMembers>;

// Webster's method, but that nobody with a weight goes without: the buckets are given one by one, each to
// the member with the largest weight over twice its buckets and one. What another has, if a member goes, is
// never less than before: this is what lets buckets stay where they are.
[[nodiscard]] Shares shares_of(const Weights& weights) noexcept;

// The buckets for these weights. Of `former` as many as possible stay: when a member goes, only its buckets
// move; when one comes, only those that it gets. Where there is a choice, a member gets those that it has in
// `home`, and gives up others: so flows that never had to move never do.
[[nodiscard]] Buckets rebalance(const Buckets& former, const Buckets& home, const Weights& weights) noexcept;

// What the group has while all are up.
[[nodiscard]] Buckets home_of(const Weights& weights) noexcept;

[[nodiscard]] inline Buckets nobodys() noexcept {
  Buckets buckets;
  buckets.member.fill(Buckets::kNobody);
  return buckets;
}

}  // namespace espgate::dataplane
