// The clock of all benchmarks, and what a sample is.
#pragma once

#include <x86intrin.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace espgate::bench {

// Cycles of the time stamp counter. What was begun before is done, and what comes after has not begun.
inline std::uint64_t now() noexcept {
  unsigned core;
  const std::uint64_t time = __rdtscp(&core);
  _mm_lfence();
  return time;
}

template <class Work>
std::uint64_t cycles_of(Work&& work) {
  const std::uint64_t start = now();
  work();
  return now() - start;
}

// A sample's median stands for it: a measure during which the system took the core away says nothing about
// the code.
inline std::uint64_t median(std::vector<std::uint64_t>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// What a measure of nothing takes; to be taken off each.
inline std::uint64_t clock_cost() {
  std::vector<std::uint64_t> costs(1000);
  for (std::uint64_t& cost : costs) cost = cycles_of([] {});
  return median(costs);
}

}  // namespace espgate::bench
