// A picture of what was measured.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "bench/pipeline/measure.hpp"

namespace espgate::bench {

// An SVG with a pair of bars for each case: cycles a packet of the way, and of ipsec-mb alone in it.
[[nodiscard]] std::string plot(const std::vector<std::pair<Case, Result>>& rows, const std::string& title);

}  // namespace espgate::bench
