// Until when all that far ends have said was heard: a worker that had no CPU has what came since. Silence is
// judged by this, not by the clock. Main thread only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "channel/counters.hpp"

namespace espgate::dataplane {

// Times in nanoseconds of a clock that never goes back.
class Hearing {
 public:
  // A worker that does not come back must not keep every far end alive: for so long it is waited for.
  static constexpr std::uint64_t kPatience = 500'000'000;

  explicit Hearing(std::size_t workers) : seen_(workers) {}

  // How many rounds a worker has finished; asked before what it handed over is taken. One that stood still is
  // given as long again to work off what came meanwhile. How long nobody looked does not count as that.
  void look(std::size_t worker, std::uint64_t rounds, std::uint64_t now) noexcept {
    Seen& seen = seen_[worker];
    if (rounds - seen.rounds < kRounds) {
      if (seen.stands_since == 0) seen.stands_since = now;
      seen.stands_until = now;
      return;
    }
    const std::uint64_t stood = seen.stands_until - seen.stands_since;
    if (stood >= channel::kPauseNs) seen.behind_until = now + stood;
    if (now >= seen.behind_until) seen.heard_until = seen.looked_at;
    seen.rounds = rounds;
    seen.looked_at = now;
    seen.stands_since = seen.stands_until = 0;
  }

  [[nodiscard]] std::uint64_t until(std::uint64_t now) const noexcept {
    std::uint64_t least = now;
    for (const Seen& seen : seen_) least = std::min(least, seen.heard_until);
    return std::max(least, now - std::min(now, kPatience));
  }

 private:
  // The round that went on at the last look may have begun before it; the one after that has not.
  static constexpr std::uint64_t kRounds = 2;

  struct Seen {
    std::uint64_t rounds{0};
    std::uint64_t looked_at{0};  // when it had finished so many
    std::uint64_t stands_since{0};
    std::uint64_t stands_until{0};
    std::uint64_t behind_until{0};
    std::uint64_t heard_until{0};
  };
  std::vector<Seen> seen_;
};

}  // namespace espgate::dataplane
