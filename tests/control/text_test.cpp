#include "control/shell/text.hpp"

#include <catch2/catch.hpp>

#include "control/tunnels/log.hpp"
#include "control/tunnels/printable.hpp"

using namespace espgate::control;
using namespace std::chrono_literals;

TEST_CASE("numbers keep to seven characters", "[text]") {
  CHECK(short_number(0) == "0");
  CHECK(short_number(999'999) == "999999");
  CHECK(short_number(1'000'000) == "1.00M");
  CHECK(short_number(12'345'678) == "12.3M");
  CHECK(short_number(999'600'000) == "1.00G");
  for (std::uint64_t number = 1; number < (std::uint64_t{1} << 63); number = number * 7 + 3) {
    CHECK(short_number(number).size() <= 7);
    if (number > (std::uint64_t{1} << 60)) break;
  }
  CHECK(short_number(~std::uint64_t{0}) == "18.4E");
}

TEST_CASE("durations", "[text]") {
  CHECK(short_duration(-5s) == "0s");
  CHECK(short_duration(59s) == "59s");
  CHECK(short_duration(723s) == "12m03s");
  CHECK(short_duration(4h + 12min) == "4h12m");
  CHECK(short_duration(76h) == "3d04h");
}

TEST_CASE("words are broken at blanks, and a long word is cut", "[text]") {
  CHECK(wrapped("a few words", 4) == "    a few words\n");
  const std::string text = wrapped(std::string(200, 'x') + " end", 4);
  std::istringstream lines(text);
  std::string one;
  std::size_t letters = 0;
  while (std::getline(lines, one)) {
    CHECK(one.size() <= kColumns);
    letters += static_cast<std::size_t>(std::count(one.begin(), one.end(), 'x'));
  }
  CHECK(letters == 200);
  CHECK(wrapped("", 4).empty());
}

TEST_CASE("columns are filled or cut", "[text]") {
  CHECK(left("ab", 4) == "ab  ");
  CHECK(right("ab", 4) == "  ab");
  CHECK(left("abcdef", 4) == "ab..");
}

TEST_CASE("no byte of a peer's reaches the terminal as a control", "[text]") {
  std::string every;
  for (int byte = 0; byte < 256; ++byte) every += static_cast<char>(byte);
  for (const char character : printable(every)) {
    CHECK(static_cast<unsigned char>(character) >= 0x20);
    CHECK(static_cast<unsigned char>(character) < 0x7f);
  }
  CHECK(printable("\x1b[2J") == "\\x1b[2J");
  CHECK(printable("a\\b") == "a\\\\b");
}

TEST_CASE("the log keeps its newest lines, and those of one tunnel can be asked for", "[log]") {
  Log log(nullptr);
  for (std::size_t count = 0; count < Log::kKept + 10; ++count)
    log.add(Level::info, count % 2 == 0 ? "east" : "west", std::to_string(count));
  CHECK(log.last(100'000).size() == Log::kKept);
  CHECK(log.last(100'000).front().text == "10");
  CHECK(log.last(1).front().text == std::to_string(Log::kKept + 9));
  for (const LogLine& line : log.last(50, "east")) CHECK(line.tunnel == "east");
}

TEST_CASE("a log line is printable and bounded", "[log]") {
  Log log(nullptr);
  log.add(Level::error, "east\n", "peer says \x1b]0;owned\x07\r\n" + std::string(5000, 'a'));
  const std::string line = format_line(log.last(1).front());
  CHECK(line.find('\x1b') == std::string::npos);
  CHECK(line.find('\n') == std::string::npos);
  CHECK(line.size() < 1200);
}

TEST_CASE("lines from outside have a bounded rate, and what was held back is counted", "[log]") {
  LineLimit limit(10, 5);
  LineLimit::Time now{1h};
  unsigned allowed = 0;
  for (int count = 0; count < 1000; ++count) allowed += limit.allow(now) ? 1 : 0;
  CHECK(allowed == 5);
  CHECK(limit.take_suppressed() == 995);
  now += 1s;
  CHECK(limit.allow(now));
  CHECK(limit.take_suppressed() == 0);
}
