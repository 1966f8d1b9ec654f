// Hold-down with back-off: who flaps waits longer, who was steady begins anew.
#include "dataplane/liveness/hold_down.hpp"

#include <catch2/catch.hpp>

using espgate::dataplane::HoldDown;

namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

}  // namespace

TEST_CASE("hold-down: the first time there is nothing to wait for") {
  HoldDown hold(kSecond, 30 * kSecond);
  hold.lost(5 * kSecond);  // it was never alive
  hold.alive(6 * kSecond);
  CHECK(hold.usable_at() == 6 * kSecond);
}

TEST_CASE("hold-down: each further loss doubles the wait, up to the maximum") {
  HoldDown hold(kSecond, 30 * kSecond);
  std::uint64_t now = 100 * kSecond;
  hold.alive(now);
  for (const std::uint64_t wait : {1, 2, 4, 8, 16, 30, 30}) {
    now += kSecond;
    hold.lost(now);
    hold.lost(now + 1);  // once lost is lost
    now += 3 * kSecond;
    hold.alive(now);
    CHECK(hold.wait() == wait * kSecond);
    CHECK(hold.usable_at() == now + wait * kSecond);
    hold.alive(now + 1);
    CHECK(hold.usable_at() == now + wait * kSecond);
  }
}

TEST_CASE("hold-down: whoever was alive for the maximum begins with the initial wait again") {
  HoldDown hold(kSecond, 30 * kSecond);
  hold.alive(kSecond);
  hold.lost(2 * kSecond);
  hold.alive(3 * kSecond);
  hold.lost(4 * kSecond);
  CHECK(hold.wait() == 2 * kSecond);
  hold.alive(5 * kSecond);
  hold.lost(35 * kSecond - 1);
  CHECK(hold.wait() == 4 * kSecond);
  hold.alive(36 * kSecond);
  hold.lost(66 * kSecond);
  CHECK(hold.wait() == kSecond);
}

TEST_CASE("hold-down: zero is never") {
  HoldDown hold(0, 0);
  for (std::uint64_t now = 1; now < 10; now += 2) {
    hold.alive(now);
    CHECK(hold.usable_at() == now);
    hold.lost(now + 1);
  }
}
