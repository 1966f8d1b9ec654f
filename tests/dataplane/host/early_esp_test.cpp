// ESP that overtakes the command that installs its SA.
#include <catch2/catch.hpp>

#include "channel/spi.hpp"
#include "tests/dataplane/host/desk.hpp"

using namespace espgate;
using namespace espgate::test;
using dataplane::EarlyEsp;

namespace {

const std::uint32_t kSpi = channel::make_spi(0, 1, 3);

Octets esp(std::uint32_t spi, std::uint32_t sequence) {
  Octets out = packet("esp");
  put32(out, 20, spi);
  put32(out, 24, sequence);
  return out;
}

void raise(Desk& desk, std::uint32_t spi, std::uint32_t sequence = 1) {
  desk.raise(Exception::unknown_spi, esp(spi, sequence), kWan, DropReason::unknown_spi);
}

void install(Desk& desk, std::uint32_t spi) {
  REQUIRE(desk.run(set_tunnel(0)) == channel::CommandStatus::ok);
  REQUIRE(desk.run(install_inbound(0, spi)) == channel::CommandStatus::ok);
}

}  // namespace

TEST_CASE("ESP for a free slot waits, and goes to its worker in order once the SA is there") {
  Desk desk;
  for (std::uint32_t sequence = 1; sequence <= 5; sequence++) raise(desk, kSpi, sequence);
  desk.slow_path.advance(desk.now + EarlyEsp::kPatienceNs - 1);
  CHECK(desk.sent().empty());
  install(desk, kSpi);
  desk.slow_path.advance(desk.now + EarlyEsp::kPatienceNs - 1);
  const auto sent = desk.sent();
  REQUIRE(sent.size() == 5);
  for (std::uint32_t i = 0; i < 5; i++) {
    CHECK(sent[i].errand == Errand::decrypt);
    CHECK(sent[i].data == esp(kSpi, i + 1));
  }
  CHECK(desk.all_drops() == 0);
  CHECK(desk.control.events.empty());
}

TEST_CASE("ESP whose SA does not come is dropped by name and told") {
  Desk desk;
  raise(desk, kSpi);
  CHECK(desk.drops(DropReason::unknown_spi) == 0);
  desk.slow_path.advance(desk.now + EarlyEsp::kPatienceNs);
  CHECK(desk.drops(DropReason::unknown_spi) == 1);
  REQUIRE(desk.control.events.size() == 1);
  CHECK(desk.control.events[0].body.unknown_spi.spi == kSpi);
  desk.slow_path.advance(desk.now + 2 * EarlyEsp::kPatienceNs);
  CHECK(desk.all_drops() == 1);
}

TEST_CASE("no more than so many wait, and what can have no SA does not wait at all") {
  Desk desk;
  SECTION("too many") {
    for (std::uint32_t i = 0; i < EarlyEsp::kMost + 7; i++) raise(desk, kSpi, i);
    CHECK(desk.drops(DropReason::unknown_spi) == 7);
  }
  SECTION("a worker or slot that is not there, a reserved SPI") {
    raise(desk, channel::make_spi(1, 1, 3));
    raise(desk, channel::make_spi(0, 1, 512));
    raise(desk, 255);
    CHECK(desk.drops(DropReason::unknown_spi) == 3);
  }
  SECTION("the slot has another SA") {
    install(desk, kSpi);
    raise(desk, channel::make_spi(0, 2, 3));
    CHECK(desk.drops(DropReason::unknown_spi) == 1);
  }
}

TEST_CASE("the slot may get another SA than the one waited for") {
  Desk desk;
  raise(desk, kSpi);
  install(desk, channel::make_spi(0, 2, 3));
  desk.slow_path.advance(desk.now + 1);
  CHECK(desk.sent().empty());
  desk.slow_path.advance(desk.now + EarlyEsp::kPatienceNs);
  CHECK(desk.drops(DropReason::unknown_spi) == 1);
}
