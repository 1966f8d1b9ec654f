// The control process's log: the last lines in memory for `show log`, each also written to a stream as it
// comes. One thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace espgate::control {

enum class Level : std::uint8_t { info, warning, error };
[[nodiscard]] std::string_view name_of(Level level) noexcept;

struct LogLine {
  std::chrono::system_clock::time_point time;
  Level level{Level::info};
  std::string tunnel;  // empty: of no tunnel
  std::string text;    // printable
};

// "2026-11-21 06:03:39.123 warning east: text", local time.
[[nodiscard]] std::string format_line(const LogLine& line);

class Log {
 public:
  static constexpr std::size_t kKept = 2000;  // lines

  // `sink` may be null (memory alone) and must outlive the log.
  explicit Log(std::FILE* sink) noexcept : sink_(sink) {}

  // Bytes that are not printable are escaped, and a line is cut at 1,000 bytes: a peer may have had its hand
  // in it.
  void add(Level level, std::string_view tunnel, std::string_view text);
  void info(std::string_view text) { add(Level::info, {}, text); }
  void warning(std::string_view text) { add(Level::warning, {}, text); }
  void error(std::string_view text) { add(Level::error, {}, text); }

  // The newest `count` lines, oldest first; of `tunnel` alone unless that is empty.
  [[nodiscard]] std::vector<LogLine> last(std::size_t count, std::string_view tunnel = {}) const;

 private:
  std::FILE* sink_;
  std::deque<LogLine> lines_;
};

// How many lines a second may come from outside: a token bucket that counts what it holds back.
class LineLimit {
 public:
  using Time = std::chrono::steady_clock::time_point;
  LineLimit(double per_second, double burst) noexcept
      : per_second_(per_second), burst_(burst), tokens_(burst) {}

  [[nodiscard]] bool allow(Time now) noexcept;
  // Lines held back since the last call.
  [[nodiscard]] std::uint64_t take_suppressed() noexcept;

 private:
  double per_second_;
  double burst_;
  double tokens_;
  Time last_{};
  std::uint64_t suppressed_{0};
};

}  // namespace espgate::control
