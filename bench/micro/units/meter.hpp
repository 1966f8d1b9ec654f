// Measures the calls of one unit: in rounds, of which the middle ones make a sample.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/micro/samples.hpp"
#include "bench/micro/spread.hpp"

namespace espgate::bench {

struct Figure {
  Spread cycles;  // a call
  bool noisy;
};

// The result is wanted, and memory may be another before the next call: so the compiler neither leaves a call
// out nor takes it out of its loop.
template <class Result>
void keep(const Result& result) noexcept {
  asm volatile("" : : "r,m"(result) : "memory");
}

// A unit that did something else than it was measured for.
inline void require(bool done, const char* what) {
  if (!done) throw std::runtime_error(what);
}

class Meter {
 public:
  explicit Meter(unsigned samples) : samples_(samples), clock_(sample([] {}, [] {})) {}

  // `work` makes `calls` calls, and can be done again as it is.
  template <class Work>
  Figure repeat(unsigned calls, Work&& work) const {
    unsigned times = 1;
    const auto round = [&] {
      for (unsigned i = 0; i < times; ++i) work();
    };
    while (cycles_of(round) < kRound) require((times *= 2) != 0, "it took no time");
    return after([] {}, times * calls, round);
  }

  // `work` makes `calls` calls, and is a round; before each, `prepare` is done outside the measured time.
  template <class Prepare, class Work>
  Figure after(Prepare&& prepare, unsigned calls, Work&& work) const {
    (void)sample(prepare, work);  // warm
    std::vector<double> samples;
    for (unsigned i = 0; i < samples_; ++i) samples.push_back((sample(prepare, work) - clock_) / calls);
    return {spread(samples), is_noisy(samples)};
  }

 private:
  static constexpr std::uint64_t kRound = 100'000;     // cycles, about: the clock's own cost is nothing to it
  static constexpr std::uint64_t kSample = 3'000'000;  // cycles, at least
  static constexpr std::size_t kRounds = 15;           // of a sample, at least

  template <class Prepare, class Work>
  static double sample(Prepare&& prepare, Work&& work) {
    std::vector<std::uint64_t> rounds;
    for (std::uint64_t total = 0; total < kSample || rounds.size() < kRounds; total += rounds.back()) {
      prepare();
      rounds.push_back(cycles_of(work));
    }
    return middle_mean(rounds);
  }

  // Of the middle half: without the rounds during which the system took the core away, and finer than the
  // steps of the clock, which on some CPUs are 26 cycles.
  static double middle_mean(std::vector<std::uint64_t>& rounds) {
    std::sort(rounds.begin(), rounds.end());
    const auto quarter = static_cast<std::ptrdiff_t>(rounds.size() / 4);
    const auto from = rounds.begin() + quarter, to = rounds.end() - quarter;
    return static_cast<double>(std::accumulate(from, to, std::uint64_t{0})) / static_cast<double>(to - from);
  }

  unsigned samples_;
  double clock_;  // what a measure of nothing takes
};

struct Unit {
  std::string name;
  std::function<Figure(const Meter&)> measure;
};
using Units = std::vector<Unit>;

// One file each.
[[nodiscard]] Units header_units();  // what looks at or changes a packet's headers
[[nodiscard]] Units sa_units();      // what looks at an SA
[[nodiscard]] Units stage_units();   // the stages that have a name outside their file
[[nodiscard]] Units table_units();   // what the main thread changes and workers read
[[nodiscard]] Units thread_units();  // what threads and processes give each other

}  // namespace espgate::bench
