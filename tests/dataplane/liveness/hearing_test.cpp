// Until when everything was heard, by the rounds of workers that run, rest, stand still and never come back.
#include "dataplane/liveness/hearing.hpp"

#include <catch2/catch.hpp>

using espgate::dataplane::Hearing;

namespace {

constexpr std::uint64_t kMs = 1'000'000;
constexpr std::uint64_t kStart = 1000 * kMs;

// Looks each millisecond while worker 0 does `rounds` in it and worker 1, if there is one, a hundred.
struct Watch {
  explicit Watch(std::size_t count = 1) : hearing(count), workers(count) {}
  void pass(std::uint64_t ms, unsigned rounds) {
    for (std::uint64_t i = 0; i < ms; i++) {
      now += kMs;
      done += rounds;
      look();
    }
  }
  void look() {
    hearing.look(0, done, now);
    if (workers > 1) hearing.look(1, others += 100, now);
  }
  [[nodiscard]] std::uint64_t behind_ms() const { return (now - hearing.until(now)) / kMs; }

  Hearing hearing;
  std::size_t workers;
  std::uint64_t now{kStart};
  std::uint64_t done{0};
  std::uint64_t others{0};
};

}  // namespace

TEST_CASE("hearing: a worker that runs has handed over what came before the last look but one") {
  Watch watch;
  watch.pass(3, 50);
  for (int i = 0; i < 100; i++) {
    watch.pass(1, 50);
    CHECK(watch.behind_ms() == 1);
  }
}

TEST_CASE("hearing: a round a look, because it rests in between, is a few milliseconds") {
  Watch watch;
  watch.pass(5, 1);
  for (int i = 0; i < 100; i++) {
    watch.pass(1, 1);
    CHECK(watch.behind_ms() <= 4);
  }
}

TEST_CASE("hearing: while a worker stands still nothing more is heard, and then it has as long to catch up") {
  Watch watch(GENERATE(1, 2));
  watch.pass(5, 50);
  watch.pass(100, 0);
  CHECK((watch.behind_ms() == 101 || watch.behind_ms() == 102));
  watch.pass(90, 50);
  CHECK((watch.behind_ms() == 191 || watch.behind_ms() == 192));
  watch.pass(15, 50);
  CHECK(watch.behind_ms() == 1);
}

TEST_CASE("hearing: a short rest is no standing still") {
  Watch watch;
  watch.pass(5, 50);
  watch.pass(4, 0);
  watch.pass(1, 50);
  CHECK(watch.behind_ms() <= 5);
  watch.pass(1, 50);
  CHECK(watch.behind_ms() == 1);
}

TEST_CASE("hearing: who looks seldom does not take that for a worker's standing still") {
  Watch watch;
  watch.pass(5, 50);
  const auto sleep = [&](std::uint64_t ms) {
    watch.now += ms * kMs;
    watch.done += 50 * ms;
    watch.look();
  };
  sleep(100);
  CHECK(watch.behind_ms() == 100);
  watch.pass(1, 50);
  CHECK(watch.behind_ms() == 1);
  SECTION("also where the look before saw a round too few") {
    watch.pass(1, 1);
    sleep(100);
    watch.pass(1, 50);
    CHECK(watch.behind_ms() == 1);
  }
}

TEST_CASE("hearing: a worker that does not come back is not waited for for ever") {
  Watch watch(2);
  watch.pass(5, 50);
  watch.pass(2000, 0);
  CHECK(watch.now - watch.hearing.until(watch.now) == Hearing::kPatience);
}

TEST_CASE("hearing: before the first look") {
  const Hearing hearing(1);
  CHECK(hearing.until(kStart) == kStart - Hearing::kPatience);
  CHECK(hearing.until(kMs) == 0);
  CHECK(Hearing(0).until(kStart) == kStart);
}
