// What several samples of one thing say.
#pragma once

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <vector>

namespace espgate::bench {

struct Spread {
  double median;
  double min;
  double max;
};

inline Spread spread(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

// The samples lie so far apart that the figures say little.
inline bool is_noisy(std::vector<double> values) {
  constexpr double kNoise = 0.2;  // of the median, between the quickest and the slowest sample but one
  std::sort(values.begin(), values.end());
  const double slowest = values[values.size() - std::min<std::size_t>(values.size(), 2)];
  return slowest - values.front() > kNoise * values[values.size() / 2];
}

inline void to_json(nlohmann::json& out, const Spread& spread) {
  out = {{"median", spread.median}, {"min", spread.min}, {"max", spread.max}};
}

}  // namespace espgate::bench
