#include "bench/pipeline/latency.hpp"

#include <x86intrin.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

namespace espgate::bench {

PointerChase::PointerChase(std::size_t bytes) : lines_(std::make_unique<Line[]>(bytes / sizeof(Line))) {
  std::vector<std::uint32_t> order(bytes / sizeof(Line));
  std::iota(order.begin(), order.end(), 0U);
  std::shuffle(order.begin(), order.end(), std::mt19937(1));
  for (std::size_t i = 0; i < order.size(); ++i)
    lines_[order[i]].next = &lines_[order[(i + 1) % order.size()]];
}

double PointerChase::cycles_per_load() const noexcept {
  constexpr unsigned kLoads = 200'000;
  const Line* at = lines_.get();
  const std::uint64_t start = __rdtsc();
  for (unsigned i = 0; i < kLoads; ++i) at = at->next;
  const std::uint64_t end = __rdtsc();
  asm volatile("" : : "r"(at));  // it is wanted
  return static_cast<double>(end - start) / kLoads;
}

}  // namespace espgate::bench
