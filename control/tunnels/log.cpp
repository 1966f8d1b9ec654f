#include "control/tunnels/log.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "control/tunnels/printable.hpp"

namespace espgate::control {

namespace {
constexpr std::size_t kMaxText = 1000;
}

std::string_view name_of(Level level) noexcept {
  switch (level) {
    case Level::info:
      return "info";
    case Level::warning:
      return "warning";
    case Level::error:
      return "error";
  }
  return "info";
}

std::string format_line(const LogLine& line) {
  using std::chrono::milliseconds;
  const auto since = std::chrono::duration_cast<milliseconds>(line.time.time_since_epoch()).count() % 1000;
  const std::time_t seconds = std::chrono::system_clock::to_time_t(line.time);
  std::tm local{};
  localtime_r(&seconds, &local);
  return fmt::format("{:%Y-%m-%d %H:%M:%S}.{:03} {:7} {}{}{}", local, since, name_of(line.level), line.tunnel,
                     line.tunnel.empty() ? "" : ": ", line.text);
}

void Log::add(Level level, std::string_view tunnel, std::string_view text) {
  LogLine line{std::chrono::system_clock::now(), level, printable(tunnel),
               printable(text.substr(0, kMaxText))};
  if (text.size() > kMaxText) line.text += "...";
  if (sink_ != nullptr) {
    fmt::print(sink_, "{}\n", format_line(line));
    std::fflush(sink_);
  }
  lines_.push_back(std::move(line));
  if (lines_.size() > kKept) lines_.pop_front();
}

std::vector<LogLine> Log::last(std::size_t count, std::string_view tunnel) const {
  std::vector<LogLine> found;
  for (auto line = lines_.rbegin(); line != lines_.rend() && found.size() < count; ++line)
    if (tunnel.empty() || line->tunnel == tunnel) found.push_back(*line);
  std::reverse(found.begin(), found.end());
  return found;
}

bool LineLimit::allow(Time now) noexcept {
  const double seconds = std::chrono::duration<double>(now - last_).count();
  if (seconds > 0) tokens_ = std::min(burst_, tokens_ + seconds * per_second_);
  last_ = now;
  if (tokens_ < 1) {
    ++suppressed_;
    return false;
  }
  tokens_ -= 1;
  return true;
}

std::uint64_t LineLimit::take_suppressed() noexcept { return std::exchange(suppressed_, 0); }

}  // namespace espgate::control
