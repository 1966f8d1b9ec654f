// Who sends ESP that no SA takes: counted by source, bounded, told once.
#include <algorithm>
#include <catch2/catch.hpp>

#include "control/shell/show.hpp"
#include "tests/control/gateway_pair.hpp"

using namespace espgate;
using namespace espgate::test;
using control::UnknownSpis;

namespace {

channel::UnknownSpi seen(const std::string& source, std::uint32_t spi, std::uint64_t packets) {
  return {source.empty() ? IpAddress{} : *parse_address(source), *parse_address("192.0.2.1"), spi, packets};
}

}  // namespace

TEST_CASE("sources of unknown SPIs, the last seen first", "[unknown-spis]") {
  UnknownSpis table;
  const Time start{std::chrono::hours(1)};
  CHECK(table.note(seen("198.51.100.7", 0x1000, 1), start));
  CHECK(table.note(seen("2001:db8::7", 0x2000, 1), start + 1s));
  CHECK_FALSE(table.note(seen("198.51.100.7", 0x1001, 41), start + 2s));
  CHECK_FALSE(table.note(seen("", 0, 5), start + 3s));
  const auto rows = table.rows();
  REQUIRE(rows.size() == 2);
  CHECK(to_string(rows[0].source) == "198.51.100.7");
  CHECK(rows[0].packets == 42);
  CHECK(rows[0].last_spi == 0x1001);
  CHECK(rows[0].first_seen == start);
  CHECK(rows[0].last_seen == start + 2s);
  CHECK(to_string(rows[1].source) == "2001:db8::7");
  CHECK(table.others() == 5);
}

TEST_CASE("a flood of forged sources leaves the table as large as it may be, and no packet uncounted",
          "[unknown-spis]") {
  UnknownSpis table;
  Time now{std::chrono::hours(1)};
  for (unsigned i = 0; i < 5000; ++i) {
    now += 1ms;
    table.note(seen("10.0." + std::to_string(i / 250) + "." + std::to_string(1 + i % 250), i, 2), now);
    table.note(seen("198.51.100.7", i, 1), now);  // who goes on stays
  }
  std::uint64_t sum = table.others();
  for (const UnknownSpis::Row& row : table.rows()) sum += row.packets;
  CHECK(table.rows().size() == UnknownSpis::kMost);
  CHECK(sum == 15000);
  const auto rows = table.rows();
  CHECK(
      std::any_of(rows.begin(), rows.end(), [](const UnknownSpis::Row& row) { return row.packets == 5000; }));
}

TEST_CASE("a source of unknown SPIs is told of in one line of the log, and shown", "[unknown-spis]") {
  Pair pair;
  pair.start();
  pair.run(200ms);
  channel::Event event{};
  event.kind = channel::EventKind::unknown_spi;
  for (const std::uint64_t packets : {1U, 500U, 7U}) {
    event.body.unknown_spi = seen("198.51.100.7", 0xbadcafe, packets);
    pair.west.dataplane.tell(event);
    pair.run(100ms);
  }
  unsigned lines = 0;
  for (const control::LogLine& line : pair.west.log.last(1000))
    lines += line.text.find("ESP from 198.51.100.7 with SPI 0badcafe") != std::string::npos ? 1 : 0;
  CHECK(lines == 1);
  const auto shown = control::show_unknown_spis(*pair.west.gateway, {}, pair.now);
  REQUIRE(shown.at("sources").size() == 1);
  CHECK(shown.at("sources")[0].at("packets") == 508);
  CHECK(shown.at("sources")[0].at("last_spi") == "0badcafe");
  CHECK(shown.at("sources")[0].at("destination") == "192.0.2.1");
  CHECK(shown.at("other_packets") == 0);
}
