// The probe in virtual time: answers, losses, late answers, numbers that wrap, and doubt.
#include "dataplane/liveness/probe.hpp"

#include <catch2/catch.hpp>
#include <deque>

using espgate::dataplane::Probe;

namespace {

constexpr std::uint64_t kMs = 1'000'000;

// A far end that answers after `delay`, or not at all.
struct World {
  explicit World(Probe asked) : probe(asked) { probe.start_over(now); }

  void run(std::uint64_t ns) {
    for (const std::uint64_t end = now + ns; now < end; now += kMs) {
      for (; !answers.empty() && answers.front().first <= now; answers.pop_front())
        (void)probe.answered(answers.front().second);
      alive = probe.alive(now);
      if (probe.due() > now) continue;
      const std::uint16_t number = probe.next(now);
      sent++;
      if (answering) answers.emplace_back(now + delay, number);
    }
  }

  Probe probe;
  std::uint64_t now{1000 * kMs};
  std::uint64_t delay{10 * kMs};
  bool answering{true};
  bool alive{false};
  unsigned sent{0};
  std::deque<std::pair<std::uint64_t, std::uint16_t>> answers;
};

}  // namespace

TEST_CASE("probe: alive with the first answer, lost when so many in a row had their time") {
  World world(Probe(200 * kMs, 3));
  world.run(9 * kMs);
  CHECK_FALSE(world.alive);
  CHECK_FALSE(world.probe.heard());
  world.run(5 * kMs);
  CHECK(world.alive);
  world.run(5000 * kMs);
  CHECK(world.alive);
  CHECK(world.sent == 26);
  world.answering = false;
  world.run(600 * kMs);
  CHECK(world.alive);
  world.run(200 * kMs);
  CHECK_FALSE(world.alive);
  CHECK(world.probe.heard());
  CHECK(world.probe.silence(world.now) >= 600 * kMs);
  world.answering = true;
  world.run(212 * kMs);
  CHECK(world.alive);
}

TEST_CASE("probe: answers that take longer than an interval are answers") {
  World world(Probe(200 * kMs, 3));
  world.delay = 450 * kMs;
  world.run(460 * kMs);
  for (int i = 0; i < 100; i++) {
    world.run(97 * kMs);
    CHECK(world.alive);
  }
}

TEST_CASE("probe: two losses of three are borne") {
  World world(Probe(200 * kMs, 3));
  world.run(500 * kMs);
  for (int i = 0; i < 50; i++) {
    world.answering = i % 3 == 0;
    world.run(200 * kMs);
    CHECK(world.alive);
  }
}

TEST_CASE("probe: an answer to what was not asked, or was answered, is none") {
  Probe probe(200 * kMs, 3);
  probe.start_over(0);
  CHECK_FALSE(probe.answered(0));
  const std::uint16_t first = probe.next(0);
  const std::uint16_t second = probe.next(200 * kMs);
  CHECK_FALSE(probe.answered(static_cast<std::uint16_t>(second + 1)));
  CHECK(probe.answered(second));
  CHECK_FALSE(probe.answered(second));
  CHECK_FALSE(probe.answered(first));  // older than what is known already
  probe.start_over(300 * kMs);
  CHECK_FALSE(probe.answered(second));
  CHECK_FALSE(probe.alive(300 * kMs));
}

TEST_CASE("probe: numbers begin again after 65535") {
  World world(Probe(50 * kMs, 3));
  world.delay = 120 * kMs;
  world.run(200 * kMs);
  while (world.sent < 66000) {
    world.run(50 * kMs);
    REQUIRE(world.alive);
  }
  world.answering = false;
  world.run(400 * kMs);
  CHECK_FALSE(world.alive);
}

TEST_CASE("probe: doubt asks at once and soon again, until there is an answer") {
  World world(Probe(10'000 * kMs, 3));
  world.run(100 * kMs);
  REQUIRE(world.alive);
  REQUIRE(world.sent == 1);
  world.probe.doubt(world.now);
  world.run(100 * kMs);
  CHECK(world.sent == 2);
  world.run(3000 * kMs);
  CHECK(world.sent == 2);  // answered: at leisure again
  CHECK(world.alive);
  world.answering = false;
  world.probe.doubt(world.now);
  world.run(590 * kMs);
  CHECK(world.alive);
  world.run(20 * kMs);
  CHECK_FALSE(world.alive);
}
