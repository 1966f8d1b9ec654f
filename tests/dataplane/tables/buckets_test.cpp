// The buckets of a group: as many as the weights say, and no more of them move than must.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <set>
#include <vector>

#include "dataplane/tables/buckets.hpp"

using namespace espgate::dataplane;

namespace {

constexpr unsigned kCount = Buckets::kCount;

Shares counted(const Buckets& buckets) {
  Shares shares{};
  for (const std::uint8_t place : buckets.member)
    if (place != Buckets::kNobody) shares.at(place)++;
  return shares;
}

unsigned moved(const Buckets& before, const Buckets& after) {
  unsigned count = 0;
  for (unsigned b = 0; b < kCount; b++) count += before.member[b] != after.member[b];
  return count;
}

// The largest difference between a member's buckets and what its weight is worth.
double largest_error(const Weights& weights, const Shares& shares) {
  const double all = std::accumulate(weights.begin(), weights.end(), 0.0);
  double error = 0;
  for (std::size_t i = 0; i < weights.size(); i++)
    error = std::max(error, std::abs(shares[i] - kCount * weights[i] / all));
  return error;
}

unsigned below(std::mt19937& random, unsigned bound) { return static_cast<unsigned>(random() % bound); }

// Some of the places are taken, by members with weights of 1 to `most`.
Weights random_weights(std::mt19937& random, unsigned members, unsigned most) {
  Weights weights{};
  std::vector<std::size_t> places(weights.size());
  std::iota(places.begin(), places.end(), 0);
  std::shuffle(places.begin(), places.end(), random);
  for (unsigned i = 0; i < members; i++)
    weights[places[i]] = static_cast<std::uint16_t>(1 + below(random, most));
  return weights;
}

}  // namespace

TEST_CASE("nobody up: every bucket says so") {
  CHECK(home_of(Weights{}) == nobodys());
  CHECK(rebalance(home_of(Weights{1, 1}), home_of(Weights{1, 1}), Weights{}) == nobodys());
}

// No method that lets buckets stay keeps every share within one of what it is worth (Balinski and Young);
// this one strays by hardly more.
TEST_CASE("shares are what the weights are worth") {
  CHECK(shares_of(Weights{1, 1}) == Shares{256, 256});
  CHECK(shares_of(Weights{2, 0, 1, 1}) == Shares{256, 0, 128, 128});
  CHECK(shares_of(Weights{1, 1, 1}) == Shares{171, 171, 170});
  CHECK(shares_of(Weights{256, 1}) == Shares{510, 2});
  for (unsigned members = 1; members <= Group::kMembers; members++) {
    Weights weights{};
    std::fill_n(weights.begin(), members, std::uint16_t{9});
    REQUIRE(largest_error(weights, shares_of(weights)) < 1);
  }
  std::mt19937 random(1);
  for (int i = 0; i < 20000; i++) {
    const Weights weights = random_weights(random, 1 + below(random, 16), 1 + below(random, 100));
    REQUIRE(largest_error(weights, shares_of(weights)) < 1.5);
  }
}

TEST_CASE("any weights: all buckets are given, and nobody goes without") {
  std::mt19937 random(2);
  for (int i = 0; i < 3000; i++) {
    const Weights weights = random_weights(random, 1 + below(random, 64), kMostWeight);
    const Shares shares = shares_of(weights);
    REQUIRE(std::accumulate(shares.begin(), shares.end(), 0U) == kCount);
    for (std::size_t place = 0; place < weights.size(); place++)
      REQUIRE((shares[place] != 0) == (weights[place] != 0));
  }
}

// Members with any weights come and go, for ever: of a step, exactly the buckets of the one that went, or
// those that the one that came is due, are another's afterwards.
TEST_CASE(
    "a member that leaves moves its own buckets only, and one that returns takes no more than its share") {
  std::mt19937 random(3);
  for (const unsigned most : {1U, 7U, unsigned{kMostWeight}}) {
    for (int world = 0; world < 30; world++) {
      const Weights all = random_weights(random, 2 + below(random, world % 5 == 0 ? 62 : 10), most);
      const Buckets home = home_of(all);
      Buckets buckets = home;
      Weights up = all;
      for (int step = 0; step < 100; step++) {
        const std::size_t place = below(random, static_cast<unsigned>(all.size()));
        if (all[place] == 0) continue;
        const Buckets before = buckets;
        up[place] = up[place] == 0 ? all[place] : 0;
        buckets = rebalance(before, home, up);
        REQUIRE(counted(buckets) == shares_of(up));
        const bool nobody_was_up = before == nobodys();
        for (unsigned b = 0; b < kCount && !nobody_was_up; b++)
          if (before.member[b] != place && buckets.member[b] != place)
            REQUIRE(buckets.member[b] == before.member[b]);
        REQUIRE(rebalance(buckets, home, up) == buckets);
      }
    }
  }
}

TEST_CASE("one that goes and returns gets its own flows back, and nobody else's are ever moved") {
  std::mt19937 random(4);
  for (int world = 0; world < 200; world++) {
    const Weights all = random_weights(random, 2 + below(random, 15), 1 + below(random, 20));
    const Buckets home = home_of(all);
    for (std::size_t place = 0; place < all.size(); place++) {
      Weights up = all;
      up[place] = 0;
      const Buckets without = rebalance(home, home, up);
      REQUIRE(moved(home, without) == shares_of(all)[place]);
      REQUIRE(rebalance(without, home, all) == home);
    }
  }
}

TEST_CASE("the flows of one that left spread over all that stay") {
  const Weights all{1, 1, 1, 1};
  const Buckets home = home_of(all);
  const Buckets after = rebalance(home, home, Weights{1, 0, 1, 1});
  std::set<unsigned> takers;
  for (unsigned b = 0; b < kCount; b++)
    if (home.member[b] == 1) takers.insert(after.member[b]);
  CHECK(takers == std::set<unsigned>{0, 2, 3});
}

TEST_CASE("with other weights a group moves no more than the difference") {
  const Buckets before = home_of(Weights{1, 1});
  const Weights now{3, 1};
  const Buckets after = rebalance(before, home_of(now), now);
  CHECK(counted(after) == Shares{384, 128});
  CHECK(moved(before, after) == 128);
}
