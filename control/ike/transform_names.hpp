// Transforms as operators write them: "aes256", "prfsha384", "x25519".
#pragma once

#include <string>

#include "control/ike/payloads.hpp"

namespace espgate::ike {

// An id without a name: "cipher 99". AES without the mandatory Key Length attribute: "aes (no key length)".
[[nodiscard]] std::string name_of(const Transform& transform);

}  // namespace espgate::ike
