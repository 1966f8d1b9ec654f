// Numbers, durations and tables for a terminal of 80 columns.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace espgate::control {

inline constexpr std::size_t kColumns = 80;

// At most 7 characters: 999999, 1.23M, 45.6G.
[[nodiscard]] std::string short_number(std::uint64_t number);
// At most 9 characters: 45s, 12m03s, 4h12m, 3d04h.
[[nodiscard]] std::string short_duration(std::chrono::seconds duration);

// Words broken at spaces into lines that begin with `indent` blanks and fit kColumns; a word that is longer
// than a line is cut. Each line ends with a newline.
[[nodiscard]] std::string wrapped(std::string_view text, std::size_t indent);

// `text` in exactly `width` columns: filled with blanks, or cut with ".." at its end.
[[nodiscard]] std::string left(std::string_view text, std::size_t width);
[[nodiscard]] std::string right(std::string_view text, std::size_t width);

// Removes the blanks at the end and adds a newline.
[[nodiscard]] std::string line(std::string text);

}  // namespace espgate::control
