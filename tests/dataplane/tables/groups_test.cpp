// The buckets of a tunnel group: even, and no more of them move than must.
#include <catch2/catch.hpp>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "dataplane/tables/publish.hpp"

using namespace espgate::dataplane;

namespace {

std::map<std::uint32_t, unsigned> shares(const Group& group) {
  std::map<std::uint32_t, unsigned> counts;
  for (const std::uint32_t tunnel : group.buckets) counts[tunnel]++;
  return counts;
}

void check_even(const Group& group, const std::vector<std::uint32_t>& up) {
  const auto counts = shares(group);
  REQUIRE(counts.size() == up.size());
  const auto least = static_cast<unsigned>(Group::kBuckets / up.size());
  for (const std::uint32_t tunnel : up) {
    CHECK(counts.at(tunnel) >= least);
    CHECK(counts.at(tunnel) <= least + (Group::kBuckets % up.size() != 0 ? 1 : 0));
  }
}

unsigned moved(const Group& before, const Group& after) {
  unsigned count = 0;
  for (std::size_t b = 0; b < Group::kBuckets; b++) count += before.buckets[b] != after.buckets[b];
  return count;
}

}  // namespace

TEST_CASE("nobody up: every bucket says so") {
  const Group group = rebalance(empty_group(), {});
  CHECK(shares(group) == std::map<std::uint32_t, unsigned>{{Group::kNoTunnel, 256}});
}

TEST_CASE(
    "a member that leaves moves its own buckets only, and one that comes takes no more than its share") {
  std::mt19937 random(7);
  std::vector<std::uint32_t> up;
  Group group = empty_group();
  for (int step = 0; step < 2000; step++) {
    const bool leaves = !up.empty() && (up.size() == 16 || random() % 2 == 0);
    const Group before = group;
    if (leaves) {
      const auto index = static_cast<std::ptrdiff_t>(random() % up.size());
      const std::uint32_t gone = up[static_cast<std::size_t>(index)];
      up.erase(up.begin() + index);
      group = rebalance(before, up);
      for (std::size_t b = 0; b < Group::kBuckets; b++)
        if (before.buckets[b] != gone) REQUIRE(group.buckets[b] == before.buckets[b]);
    } else {
      const auto come = static_cast<std::uint32_t>(1000 + step);
      up.push_back(come);
      group = rebalance(before, up);
      for (std::size_t b = 0; b < Group::kBuckets; b++)
        if (group.buckets[b] != come) REQUIRE(group.buckets[b] == before.buckets[b]);
      CHECK(moved(before, group) <= (Group::kBuckets + up.size() - 1) / up.size());
    }
    if (up.empty())
      CHECK(shares(group).begin()->first == Group::kNoTunnel);
    else
      check_even(group, up);
  }
}

TEST_CASE("the flows of one that left spread over all that stay") {
  const std::vector<std::uint32_t> all{1, 2, 3, 4};
  const std::vector<std::uint32_t> left{1, 3, 4};
  const Group before = rebalance(empty_group(), all);
  const Group after = rebalance(before, left);
  std::set<std::uint32_t> takers;
  for (std::size_t b = 0; b < Group::kBuckets; b++)
    if (before.buckets[b] == 2) takers.insert(after.buckets[b]);
  CHECK(takers == std::set<std::uint32_t>{1, 3, 4});
}

TEST_CASE("nothing changes when nobody comes or goes") {
  const std::vector<std::uint32_t> up{5, 6, 7};
  const Group before = rebalance(empty_group(), up);
  const std::vector<std::uint32_t> other_order{7, 5, 6};
  CHECK(moved(before, rebalance(before, other_order)) == 0);
}
