#include "bench/pipeline/plot.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace espgate::bench {

namespace {

constexpr double kLabels = 330;  // all lengths in pixels
constexpr double kBars = 560;
constexpr double kNumbers = 120;
constexpr double kRow = 22;
constexpr double kTop = 56;

std::string label(const Case& which) {
  return fmt::format("{} {} {} B, {} tunnels, {} per SA", name_of(which.way), which.suite->name,
                     which.size.name, which.tunnels, which.per_sa);
}

std::string bar(double y, double width, const char* colour) {
  return fmt::format("<rect x='{}' y='{}' width='{:.1f}' height='{}' fill='{}'/>\n", kLabels, y, width,
                     kRow - 6, colour);
}

std::string text(double x, double y, const char* anchor, const std::string& words) {
  return fmt::format("<text x='{}' y='{}' text-anchor='{}'>{}</text>\n", x, y, anchor, words);
}

}  // namespace

std::string plot(const std::vector<std::pair<Case, Result>>& rows, const std::string& title) {
  double most = 1;
  for (const auto& [which, result] : rows) most = std::max(most, result.cycles_per_packet.median);
  const double height = kTop + kRow * static_cast<double>(rows.size()) + 10;
  std::string out = fmt::format(
      "<svg xmlns='http://www.w3.org/2000/svg' width='{0}' height='{1}' font-family='sans-serif' "
      "font-size='12'>\n"
      "<rect width='{0}' height='{1}' fill='white'/>\n",
      kLabels + kBars + kNumbers, height);
  out += text(10, 20, "start", title);
  out += text(10, 40, "start",
              "TSC cycles a packet: dark, ipsec-mb alone; light, everything else; and their ratio");
  double y = kTop;
  for (const auto& [which, result] : rows) {
    const double whole = kBars * result.cycles_per_packet.median / most;
    out += text(kLabels - 8, y + kRow - 10, "end", label(which));
    out += bar(y, whole, "#9ecae1");
    out += bar(y, kBars * std::min(result.raw_cycles_per_packet.median / most, 1.0), "#3182bd");
    out += text(kLabels + whole + 6, y + kRow - 10, "start",
                fmt::format("{:.0f} ({:.2f})", result.cycles_per_packet.median, result.ratio));
    y += kRow;
  }
  return out + "</svg>\n";
}

}  // namespace espgate::bench
