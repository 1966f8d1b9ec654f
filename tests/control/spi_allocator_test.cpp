#include "control/tunnels/spi_allocator.hpp"

#include <catch2/catch.hpp>
#include <set>

#include "channel/spi.hpp"

using espgate::channel::Hello;
using espgate::control::SpiAllocator;
namespace channel = espgate::channel;

namespace {
constexpr Hello shape(std::uint32_t workers, std::uint32_t slots) {
  return {workers, slots, slots, 16, 4, 1};
}
}  // namespace

TEST_CASE("tunnels go to workers round robin, and an SPI names its worker", "[spi]") {
  SpiAllocator allocator(shape(3, 8), 1);
  for (std::uint32_t tunnel = 0; tunnel < 9; ++tunnel)
    CHECK(channel::spi_worker(allocator.allocate(tunnel)) == tunnel % 3);
}

TEST_CASE("every slot is given out once, then there is none", "[spi]") {
  SpiAllocator allocator(shape(1, 8), 2);
  std::set<std::uint32_t> slots;
  for (int count = 0; count < 8; ++count) slots.insert(channel::spi_slot(allocator.allocate(0)));
  CHECK(slots.size() == 8);
  CHECK(allocator.allocate(0) == 0);
}

TEST_CASE("the slot longest free comes next, with another generation", "[spi]") {
  SpiAllocator allocator(shape(1, 4), 3);
  const std::uint32_t first = allocator.allocate(0);
  allocator.release(first);
  for (int count = 0; count < 3; ++count)
    CHECK(channel::spi_slot(allocator.allocate(0)) != channel::spi_slot(first));
  const std::uint32_t again = allocator.allocate(0);
  CHECK(channel::spi_slot(again) == channel::spi_slot(first));
  CHECK(channel::spi_generation(again) == ((channel::spi_generation(first) + 1) & 0xff));
}

TEST_CASE("no SPI is below 256, whatever the generation has come to", "[spi]") {
  SpiAllocator allocator(shape(1, 1), 4);
  for (int count = 0; count < 600; ++count) {
    const std::uint32_t spi = allocator.allocate(0);
    REQUIRE(spi >= channel::kFirstFreeSpi);
    allocator.release(spi);
  }
}

TEST_CASE("releasing twice, or an SPI that was never given out, changes nothing", "[spi]") {
  SpiAllocator allocator(shape(1, 2), 5);
  const std::uint32_t spi = allocator.allocate(0);
  allocator.release(spi);
  allocator.release(spi);
  allocator.release(0xffff'ffff);
  allocator.release(7);
  CHECK(allocator.allocate(0) != 0);
  CHECK(allocator.allocate(0) != 0);
  CHECK(allocator.allocate(0) == 0);
}

TEST_CASE("a claimed SPI is not given out, and comes back when it is released", "[spi]") {
  SpiAllocator allocator(shape(1, 3), 6);
  const std::uint32_t held = channel::make_spi(0, 200, 1);
  CHECK(allocator.claim(held));
  CHECK_FALSE(allocator.claim(held));
  CHECK_FALSE(allocator.claim(channel::make_spi(0, 201, 1)));  // one slot, one SA
  CHECK_FALSE(allocator.claim(channel::make_spi(1, 1, 0)));    // no such worker
  CHECK(channel::spi_slot(allocator.allocate(0)) == 0);
  CHECK(channel::spi_slot(allocator.allocate(0)) == 2);
  CHECK(allocator.allocate(0) == 0);
  allocator.release(held);
  CHECK(allocator.allocate(0) == channel::make_spi(0, 201, 1));
}

TEST_CASE("two runs seldom begin with the same SPI", "[spi]") {
  std::set<std::uint32_t> first;
  for (std::uint64_t seed = 0; seed < 64; ++seed) first.insert(SpiAllocator(shape(1, 4), seed).allocate(0));
  CHECK(first.size() > 32);
}
