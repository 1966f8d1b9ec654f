#include "dataplane/tables/buckets.hpp"

namespace espgate::dataplane {

namespace {

// Gives the buckets out, one by one.
class Auction {
 public:
  explicit Auction(const Weights& weights) noexcept : weights_(weights) {
    for (std::uint32_t place = 0; place < weights.size(); place++)
      if (weights[place] != 0) bidders_[count_++] = static_cast<std::uint8_t>(place);
  }

  // Who gets the next bucket; kNobody: nobody is there.
  std::uint8_t next() noexcept {
    if (count_ == 0) return Buckets::kNobody;
    std::uint8_t best = bidders_[0];
    for (std::uint32_t i = 1; i < count_; i++)
      if (is_before(bidders_[i], best)) best = bidders_[i];
    shares_[best]++;
    return best;
  }
  [[nodiscard]] const Shares& shares() const noexcept { return shares_; }

 private:
  // By weight over twice the buckets it has, and one; but those without any first. Of equals the one in the
  // earlier place.
  [[nodiscard]] bool is_before(std::uint8_t a, std::uint8_t b) const noexcept {
    if ((shares_[a] == 0) != (shares_[b] == 0)) return shares_[a] == 0;
    const std::uint32_t of_a = weights_[a] * (2U * shares_[b] + 1);
    const std::uint32_t of_b = weights_[b] * (2U * shares_[a] + 1);
    return of_a != of_b ? of_a > of_b : a < b;
  }

  const Weights& weights_;
  Shares shares_{};
  std::array<std::uint8_t, Group::kMembers> bidders_{};
  std::uint32_t count_{0};
};

// Takes the buckets for their members, as long as these are owed some.
class Taker {
 public:
  Taker(const Buckets& former, const Weights& weights) noexcept
      : former_(former), owed_(shares_of(weights)) {}

  // Those of the former ones that `keep` says may stay.
  template <class Keep>
  void keep(Keep&& keep) noexcept {
    for (std::uint32_t b = 0; b < Buckets::kCount; b++)
      if (keep(b)) give(b, former_.member[b]);
  }
  void give(std::uint32_t bucket, std::uint8_t place) noexcept {
    if (next_.member[bucket] != Buckets::kNobody || place == Buckets::kNobody || owed_[place] == 0) return;
    next_.member[bucket] = place;
    owed_[place]--;
  }
  // What is left goes round among those who are still owed some, so that the flows of one who left spread
  // over all.
  void give_the_rest() noexcept {
    std::array<std::uint8_t, Group::kMembers> takers;
    std::uint32_t count = 0;
    for (std::uint8_t place = 0; place < Group::kMembers; place++)
      if (owed_[place] != 0) takers[count++] = place;
    for (std::uint32_t b = 0, turn = 0; b < Buckets::kCount && count != 0; b++) {
      if (next_.member[b] != Buckets::kNobody) continue;
      turn %= count;
      give(b, takers[turn]);
      if (owed_[takers[turn]] != 0)
        turn++;
      else
        takers[turn] = takers[--count];  // the last takes the place of one that is owed no more
    }
  }
  [[nodiscard]] const Buckets& result() const noexcept { return next_; }

 private:
  const Buckets& former_;
  Shares owed_;
  Buckets next_{nobodys()};
};

}  // namespace

Shares shares_of(const Weights& weights) noexcept {
  Auction auction(weights);
  for (std::uint32_t given = 0; given < Buckets::kCount; given++) (void)auction.next();
  return auction.shares();
}

Buckets home_of(const Weights& weights) noexcept {
  Auction auction(weights);
  Buckets home;
  for (std::uint8_t& place : home.member) place = auction.next();
  return home;
}

// A member that has too many keeps its own first, and then those whose own member is away.
Buckets rebalance(const Buckets& former, const Buckets& home, const Weights& weights) noexcept {
  const auto is_away = [&](std::uint8_t place) { return place == Buckets::kNobody || weights[place] == 0; };
  Taker taker(former, weights);
  taker.keep([&](std::uint32_t b) { return former.member[b] == home.member[b]; });
  taker.keep([&](std::uint32_t b) { return is_away(home.member[b]); });
  taker.keep([](std::uint32_t) { return true; });
  for (std::uint32_t b = 0; b < Buckets::kCount; b++) taker.give(b, home.member[b]);
  taker.give_the_rest();
  return taker.result();
}

}  // namespace espgate::dataplane
