// `espgate check FILE.yaml`: what the gateway would make of a configuration, without starting anything.
#pragma once

#include <string>

#include "conf/schema.hpp"

namespace espgate::control {

// Prints a summary, or with `explain` each tunnel's values and where they come from, to standard output, or
// the errors to standard error. The exit status: 0 or 1.
int check_file(const std::string& path, bool explain);

[[nodiscard]] std::string summary(const conf::Configuration& configuration);

}  // namespace espgate::control
