// Two proposals against each other. Inside proposal_choice and its words only.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "control/ike/payloads.hpp"

namespace espgate::ike {

inline constexpr std::array kTransformTypes{TransformType::cipher, TransformType::integrity,
                                            TransformType::prf, TransformType::dh, TransformType::esn};

[[nodiscard]] std::vector<Transform> of_type(const std::vector<Transform>& transforms, TransformType type);

// What two lists of one type come to. `agreed` without `chosen`: the type does not appear in the answer.
struct TypeMatch {
  bool agreed{false};
  std::optional<Transform> chosen;
};
[[nodiscard]] TypeMatch match_type(TransformType type, const std::vector<Transform>& theirs,
                                   const std::vector<Transform>& ours);

// The transforms to answer `theirs` with, one of each type there; nullopt: they do not agree.
[[nodiscard]] std::optional<std::vector<Transform>> match(const Proposal& theirs, const Proposal& ours);

// A transform type that RFC 7296 does not define.
[[nodiscard]] std::optional<unsigned> unknown_type(const Proposal& proposal);

}  // namespace espgate::ike
