// The tables that both processes, the shell and the documentation share.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <set>
#include <string>

#include "channel/counters.hpp"
#include "channel/drop_reasons.hpp"
#include "channel/messages.hpp"
#include "channel/region.hpp"
#include "channel/spi.hpp"

using namespace espgate::channel;

TEST_CASE("an SPI is worker, generation and slot, and gives them back") {
  for (std::uint32_t worker : {0U, 1U, kMaxSpiWorkers - 1})
    for (std::uint32_t generation : {0U, 1U, 128U, 255U})
      for (std::uint32_t slot : {0U, 1U, 255U, 256U, kMaxSpiSlots - 1}) {
        const std::uint32_t spi = make_spi(worker, generation, slot);
        CAPTURE(worker, generation, slot, spi);
        CHECK(spi_worker(spi) == worker);
        CHECK(spi_generation(spi) == generation);
        CHECK(spi_slot(spi) == slot);
      }
  CHECK(make_spi(1, 1, 1) == 0x04040001);
  CHECK(make_spi(0, 256, 5) == make_spi(0, 0, 5));  // generations come round
  CHECK(kMaxWorkers <= kMaxSpiWorkers);
}

TEST_CASE("every drop reason has a name of its own and a help text") {
  std::set<std::string_view> names;
  for (const DropReasonText& reason : kDropReasonText) {
    CAPTURE(reason.name);
    CHECK(names.insert(reason.name).second);
    CHECK(reason.help.size() >= 10);
    CHECK(std::all_of(reason.name.begin(), reason.name.end(),
                      [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; }));
    CHECK(reason.name.front() != '-');
    CHECK(reason.name.back() != '-');
  }
  CHECK(kDropReasonText[static_cast<std::size_t>(DropReason::wrong_worker)].name == "wrong-worker");
}

TEST_CASE("every command status has words of its own") {
  std::set<std::string> seen;
  for (std::uint16_t i = 0; i <= static_cast<std::uint16_t>(CommandStatus::kernel_refused); ++i)
    CHECK(seen.insert(words(static_cast<CommandStatus>(i))).second);
  CHECK(seen.insert(words(static_cast<CommandStatus>(60000))).second);  // from a peer of another mind
}

TEST_CASE("the counters page keeps each block apart and starts at zero") {
  const Hello shape{
      .workers = 2, .inbound_slots = 8, .outbound_slots = 4, .max_tunnels = 3, .max_groups = 1, .ports = 2};
  CountersPage page(shape);
  for (std::uint32_t worker = 0; worker < 2; ++worker) {
    CHECK(page.worker(worker).loops.load() == 0);
    add(page.worker(worker).drops[kDropReasons - 1], 1 + worker);
    page.tunnels()[2].tx_bytes = 10;
    page.inbound(worker)[7].spi = 20 + worker;
    page.outbound(worker)[3].spi = 30 + worker;
  }
  page.port(0).mtu = 40;
  page.port(1).mtu = 41;
  for (std::uint32_t worker = 0; worker < 2; ++worker) {
    CHECK(page.worker(worker).drops[kDropReasons - 1].load() == 1 + worker);
    CHECK(page.tunnels()[2].tx_bytes.load() == 10);
    CHECK(page.inbound(worker)[7].spi.load() == 20 + worker);
    CHECK(page.outbound(worker)[3].spi.load() == 30 + worker);
  }
  CHECK(page.port(0).mtu.load() == 40);
  CHECK(page.port(1).mtu.load() == 41);
  const auto* end = reinterpret_cast<const char*>(&page.outbound(1)[3] + 1);
  CHECK(end - reinterpret_cast<const char*>(&page.header()) ==
        static_cast<std::ptrdiff_t>(page.header().size));
}

TEST_CASE("a counters page of an impossible shape is refused") {
  const Hello good{
      .workers = 1, .inbound_slots = 1, .outbound_slots = 1, .max_tunnels = 1, .max_groups = 1, .ports = 1};
  Hello bad = good;
  bad.workers = kMaxWorkers + 1;
  CHECK_THROWS_AS(CountersPage(bad), std::invalid_argument);
  bad = good;
  bad.workers = 0;
  CHECK_THROWS_AS(CountersPage(bad), std::invalid_argument);
  bad = good;
  bad.inbound_slots = 0xffffffff;
  CHECK_THROWS_AS(CountersPage(bad), std::invalid_argument);
  bad = good;
  bad.max_tunnels = 0xffffffff;
  CHECK_THROWS_AS(CountersPage(bad), std::invalid_argument);
}
