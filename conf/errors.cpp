#include "conf/errors.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "conf/load.hpp"

namespace espgate::conf {
namespace {

constexpr std::size_t kMostReported = 50;
constexpr std::size_t kMostQuoted = 60;  // characters

// Levenshtein's distance, with a swap of neighbours as one step ("adress", "remtoe").
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> steps(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) steps[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) steps[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i)
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = steps[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      steps[i][j] = std::min({change, steps[i - 1][j] + 1, steps[i][j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        steps[i][j] = std::min(steps[i][j], steps[i - 2][j - 2] + 1);
    }
  return steps[a.size()][b.size()];
}

}  // namespace

void Errors::add(Mark mark, std::string what) { entries_.push_back({mark, std::move(what)}); }

void Errors::raise() const {
  if (entries_.empty()) return;
  std::vector<Entry> sorted = entries_;
  std::stable_sort(sorted.begin(), sorted.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.mark.line, a.mark.column) < std::pair(b.mark.line, b.mark.column);
  });
  std::string lines;
  for (std::size_t i = 0; i < std::min(sorted.size(), kMostReported); ++i)
    lines += fmt::format("{}{}:{}:{}: {}", i == 0 ? "" : "\n", file_, sorted[i].mark.line,
                         sorted[i].mark.column, sorted[i].what);
  if (sorted.size() > kMostReported)
    lines += fmt::format("\n{}: and {} more", file_, sorted.size() - kMostReported);
  throw Error(lines);
}

std::string in_quotes(std::string_view text) {
  std::string result = "\"";
  for (const char c : text.substr(0, kMostQuoted)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f)
      result += fmt::format("\\x{:02x}", byte);
    else
      result += c;
  }
  return result + (text.size() > kMostQuoted ? "...\"" : "\"");
}

std::string join(std::span<const std::string_view> words) {
  return fmt::format("{}", fmt::join(words, ", "));
}

std::string_view nearest(std::string_view text, std::span<const std::string_view> candidates) {
  if (text.size() > 40) return {};
  std::string_view best;
  std::size_t least = text.size() + 1;
  for (std::string_view candidate : candidates) {
    const std::size_t steps = distance(text, candidate);
    const std::size_t most = std::max<std::size_t>(1, std::max(text.size(), candidate.size()) / 3);
    if (steps >= least || steps > most) continue;
    least = steps;
    best = candidate;
  }
  return best;
}

}  // namespace espgate::conf
