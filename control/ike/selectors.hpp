// Traffic selectors: what the configuration asks for, and narrowing (RFC 7296 section 2.9).
#pragma once

#include <string>
#include <vector>

#include "conf/schema.hpp"
#include "control/ike/payloads.hpp"

namespace espgate::ike {

using Selectors = std::vector<TrafficSelector>;

[[nodiscard]] Selectors selectors_of(const std::vector<conf::SelectorPrefix>& prefixes);

// What both allow, at most channel::kMaxSelectors ranges; empty: nothing.
[[nodiscard]] Selectors narrow(const Selectors& offered, const Selectors& allowed);

// Each of `answer` lies within one of `offer`, and there is at least one.
[[nodiscard]] bool is_subset(const Selectors& answer, const Selectors& offer);

// Each lies within the other.
[[nodiscard]] bool are_same(const Selectors& a, const Selectors& b);

// About how many addresses these are.
[[nodiscard]] double extent(const Selectors& selectors);

// Drops from both sides the families that the other side lacks: an IPv4 source never has an IPv6 destination.
void keep_common_families(Selectors& a, Selectors& b);

// "10.1.0.0/16, 10.2.0.1-10.2.0.9[6/80-90]"
[[nodiscard]] std::string words(const Selectors& selectors);

}  // namespace espgate::ike
