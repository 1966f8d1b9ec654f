// Text that came from elsewhere (identities, vendor strings, words of an error) made safe for a terminal and
// a log.
#pragma once

#include <string>
#include <string_view>

namespace espgate::control {

// Printable ASCII as it is; every other byte as \xNN, and a backslash doubled, so that the original can be
// told.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace espgate::control
