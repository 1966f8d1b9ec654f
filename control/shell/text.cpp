#include "control/shell/text.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace espgate::control {

std::string short_number(std::uint64_t number) {
  if (number < 1'000'000) return std::to_string(number);
  auto value = static_cast<double>(number);
  std::string_view units = "kMGTPE";
  std::size_t unit = 0;
  value /= 1000;
  while (value >= 999.5 && unit + 1 < units.size()) {
    value /= 1000;
    ++unit;
  }
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f}{}", value, decimals, units[unit]);
}

std::string short_duration(std::chrono::seconds duration) {
  const auto seconds = std::max<std::int64_t>(0, duration.count());
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (seconds < 3600) return fmt::format("{}m{:02}s", seconds / 60, seconds % 60);
  if (seconds < 86400) return fmt::format("{}h{:02}m", seconds / 3600, seconds / 60 % 60);
  return fmt::format("{}d{:02}h", seconds / 86400, seconds / 3600 % 24);
}

std::string wrapped(std::string_view text, std::size_t indent) {
  const std::size_t width = kColumns - std::min(indent, kColumns - 20);
  std::string out;
  while (true) {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    if (text.empty()) return out;
    std::size_t length = std::min(width, text.size());
    if (length < text.size()) {
      const std::size_t blank = text.rfind(' ', length);
      if (blank != std::string_view::npos && blank > 0) length = blank;
    }
    out += line(std::string(indent, ' ') + std::string(text.substr(0, length)));
    text.remove_prefix(length);
  }
}

namespace {

std::string cut(std::string_view text, std::size_t width) {
  if (text.size() <= width) return std::string(text);
  if (width <= 2) return std::string(text.substr(0, width));
  return std::string(text.substr(0, width - 2)) + "..";
}

}  // namespace

std::string left(std::string_view text, std::size_t width) {
  return fmt::format("{:<{}}", cut(text, width), width);
}

std::string right(std::string_view text, std::size_t width) {
  return fmt::format("{:>{}}", cut(text, width), width);
}

std::string line(std::string text) {
  const std::size_t end = text.find_last_not_of(' ');
  text.resize(end == std::string::npos ? 0 : end + 1);
  text += '\n';
  return text;
}

}  // namespace espgate::control
