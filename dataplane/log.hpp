// One line to standard error, with the program's name. Main thread only; never from the packets' ways, never
// a key.
#pragma once

#include <fmt/core.h>

#include <cstdio>
#include <utility>

namespace espgate::dataplane {

template <class... Args>
void log_line(fmt::format_string<Args...> format, Args&&... args) {
  fmt::print(stderr, "espgate-dataplane: {}\n", fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace espgate::dataplane
