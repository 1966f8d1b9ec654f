#include "control/tunnels/manager.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

using namespace espgate;
using namespace std::chrono_literals;
using control::BackOff;
using control::Manager;
using control::TunnelState;
using ike::Failure;
using ike::Reason;
using ike::Time;
using ike::TunnelId;

namespace {

struct Recorder : control::Initiator {
  void initiate(TunnelId tunnel) override { initiated.push_back(tunnel); }
  void terminate(TunnelId tunnel, const Reason&) override { terminated.push_back(tunnel); }
  std::vector<TunnelId> initiated, terminated;
};

struct Fixture {
  Fixture() { tunnels[1].start = conf::Start::wait; }
  // When the next attempt is begun, if that is within `limit`.
  std::optional<std::chrono::milliseconds> next_attempt(std::chrono::seconds limit = 200s) {
    const std::size_t before = recorder.initiated.size();
    const Time begin = now;
    while (now - begin < limit) {
      now += 10ms;
      manager.advance(now);
      if (recorder.initiated.size() > before)
        return std::chrono::duration_cast<std::chrono::milliseconds>(now - begin);
    }
    return std::nullopt;
  }
  std::vector<conf::Tunnel> tunnels = std::vector<conf::Tunnel>(2);
  Recorder recorder;
  Time now{Time(1h)};
  Manager manager{tunnels, recorder, 7, now};
};

}  // namespace

TEST_CASE("tunnels to initiate are begun at once, the others wait", "[manager]") {
  Fixture f;
  f.manager.advance(f.now);
  CHECK(f.recorder.initiated.empty());  // nothing before the dataplane is there
  f.manager.start({}, f.now);
  f.manager.advance(f.now);
  CHECK(f.recorder.initiated == std::vector<TunnelId>{0});
  CHECK(f.manager.status(0).state == TunnelState::connecting);
  CHECK(f.manager.status(1).state == TunnelState::down);
}

TEST_CASE("a template's slot is never begun: not when it was taken over, nor by a reset", "[manager]") {
  Fixture f;
  f.tunnels[0].first_slot = 0;
  f.manager.start({0}, f.now);
  CHECK_FALSE(f.next_attempt(10s));
  CHECK(f.manager.status(0).state == TunnelState::up);
  f.manager.reset(0, {Failure::operator_request, "test"}, f.now);
  CHECK(f.recorder.terminated == std::vector<TunnelId>{0});
  CHECK_FALSE(f.next_attempt(10s));
  f.manager.attempt_failed(0, {Failure::authentication_failed, "test"}, f.now);
  CHECK_FALSE(f.next_attempt(100s));
}

TEST_CASE("attempts come in portions, and few of them are young", "[manager]") {
  constexpr TunnelId kTunnels = 1000;
  const std::vector<conf::Tunnel> tunnels(kTunnels);
  Recorder recorder;
  Time now{1h};
  Manager manager(tunnels, recorder, 7, now);
  manager.start({}, now);
  manager.advance(now);
  CHECK(recorder.initiated.size() == Manager::kPortion);
  CHECK(manager.next_deadline() <= now);  // there is more to begin
  const auto exhaust = [&] {
    while (manager.next_deadline() <= now) manager.advance(now);
  };
  exhaust();
  CHECK(recorder.initiated.size() == Manager::kYoung);
  CHECK(manager.next_deadline() == now + Manager::kYouth);  // whose attempts nobody answers gives way
  now += 200ms;
  for (TunnelId tunnel = 0; tunnel < 10; ++tunnel) manager.tunnel_up(tunnel, now);
  for (TunnelId tunnel = 10; tunnel < 15; ++tunnel)
    manager.attempt_failed(tunnel, {Failure::no_answer, "no answer"}, now);
  exhaust();
  CHECK(recorder.initiated.size() == Manager::kYoung + 15);
  now += Manager::kYouth - 200ms;
  exhaust();
  CHECK(recorder.initiated.size() == 2 * Manager::kYoung);  // 15 of the young ones are younger
  for (int second = 0; second < 4; ++second) {
    now += Manager::kYouth;
    exhaust();
  }
  const std::set<TunnelId> all(recorder.initiated.begin(), recorder.initiated.end());
  CHECK(all.size() == kTunnels);
}

TEST_CASE("a tunnel that an adopted SA carries is begun, whatever it starts by, and shown up", "[manager]") {
  Fixture f;
  f.manager.start({1}, f.now);
  f.manager.advance(f.now);
  CHECK(f.recorder.initiated == std::vector<TunnelId>{0, 1});
  CHECK(f.manager.status(1).state == TunnelState::up);
  f.manager.attempt_failed(1, {Failure::no_answer, "no answer"}, f.now);
  CHECK(f.manager.status(1).state == TunnelState::up);
  CHECK(f.next_attempt().has_value());
  f.manager.adoption_ended(1, f.now);
  f.manager.attempt_failed(1, {Failure::no_answer, "no answer"}, f.now);
  CHECK(f.manager.status(1).state == TunnelState::down);
  CHECK_FALSE(f.manager.status(1).retry_at.has_value());  // from here on it waits, as configured
}

TEST_CASE("the wait after a failure doubles from one second to a minute", "[manager]") {
  std::mt19937_64 random(3);
  BackOff back_off;
  std::chrono::milliseconds expected = 1s;
  for (int count = 0; count < 12; ++count) {
    const auto wait = back_off.next(Failure::no_answer, random);
    CHECK(wait >= expected * 8 / 10);
    CHECK(wait <= expected * 12 / 10);
    expected = std::min<std::chrono::milliseconds>(2 * expected, 60s);
  }
  back_off.reset();
  CHECK(back_off.next(Failure::no_answer, random) <= 1200ms);
}

TEST_CASE("what only an operator can mend is tried again after ten seconds at first", "[manager]") {
  std::mt19937_64 random(3);
  for (const Failure failure : {Failure::authentication_failed, Failure::no_ike_proposal,
                                Failure::no_esp_proposal, Failure::ts_unacceptable, Failure::peer_identity}) {
    BackOff back_off;
    CHECK(back_off.next(failure, random) >= 8s);
    CHECK(back_off.next(failure, random) >= 16s);
  }
}

TEST_CASE("the jitter keeps many tunnels from trying in step", "[manager]") {
  std::mt19937_64 random(3);
  std::set<std::int64_t> waits;
  for (int count = 0; count < 50; ++count) waits.insert(BackOff().next(Failure::no_answer, random).count());
  CHECK(waits.size() > 25);
}

TEST_CASE("what somebody begins in the peer's name explains, and postpones nothing", "[manager]") {
  Fixture f;
  f.manager.start({}, f.now);
  f.manager.advance(f.now);
  const Reason theirs{Failure::no_ike_proposal, "theirs"};
  f.manager.peer_attempt_failed(0, theirs, f.now);
  CHECK(f.manager.status(0).state == TunnelState::connecting);  // our own attempt goes on
  f.manager.attempt_failed(0, {Failure::no_answer, "ours"}, f.now);
  const auto due = f.manager.next_deadline();
  for (int count = 0; count < 10; ++count) f.manager.peer_attempt_failed(0, theirs, f.now);
  CHECK(f.manager.status(0).last_error.summary == "theirs");
  CHECK(f.manager.next_deadline() == due);
  REQUIRE(f.next_attempt(2s).has_value());
  f.manager.tunnel_up(0, f.now);
  f.manager.peer_attempt_failed(0, theirs, f.now);
  CHECK(f.manager.status(0).last_error.summary.empty());
  CHECK(f.manager.status(0).attempts == 0);
}

TEST_CASE("failures are counted and told, and coming up clears them", "[manager]") {
  Fixture f;
  f.manager.start({}, f.now);
  f.manager.advance(f.now);
  f.manager.attempt_failed(0, {Failure::no_answer, "the peer does not answer"}, f.now);
  CHECK(f.manager.status(0).state == TunnelState::down);
  CHECK(f.manager.status(0).attempts == 1);
  CHECK(f.manager.status(0).last_error.summary == "the peer does not answer");
  REQUIRE(f.next_attempt().has_value());
  f.manager.tunnel_up(0, f.now);
  CHECK(f.manager.status(0).state == TunnelState::up);
  CHECK(f.manager.status(0).attempts == 0);
  CHECK(f.manager.status(0).last_error.summary.empty());
  CHECK_FALSE(f.manager.next_deadline().has_value());
}

TEST_CASE("a tunnel that was up for long starts again quickly; one that only flickered waits longer",
          "[manager]") {
  Fixture f;
  f.manager.start({}, f.now);
  f.manager.advance(f.now);
  for (int count = 0; count < 4; ++count) f.manager.attempt_failed(0, {Failure::no_answer, ""}, f.now);
  f.manager.tunnel_up(0, f.now);
  SECTION("long") {
    f.now += Manager::kStable;
    f.manager.tunnel_down(0, {Failure::dpd_timeout, "gone"}, f.now);
    CHECK(*f.next_attempt() <= 1300ms);
  }
  SECTION("a flicker") {
    f.now += 100ms;
    f.manager.tunnel_down(0, {Failure::peer_deleted, "deleted"}, f.now);
    CHECK(*f.next_attempt() >= 10s);
  }
}

TEST_CASE("an attempt that says nothing more is begun anew", "[manager]") {
  Fixture f;
  f.manager.start({}, f.now);
  f.manager.advance(f.now);
  CHECK(f.next_attempt() >= Manager::kAttemptLimit - 1s);
}

TEST_CASE("reset terminates and begins at once, also a tunnel that waits", "[manager]") {
  Fixture f;
  f.manager.start({}, f.now);
  f.manager.tunnel_up(1, f.now);
  f.manager.reset(1, {Failure::operator_request, "reset"}, f.now);
  CHECK(f.recorder.terminated == std::vector<TunnelId>{1});
  f.manager.advance(f.now);
  CHECK(std::count(f.recorder.initiated.begin(), f.recorder.initiated.end(), 1U) == 1);
}

TEST_CASE("nothing is begun while the dataplane is away", "[manager]") {
  Fixture f;
  f.manager.start({}, f.now);
  f.manager.advance(f.now);
  f.manager.stop(f.now);
  f.manager.attempt_failed(0, {Failure::no_answer, ""}, f.now);
  CHECK_FALSE(f.next_attempt().has_value());
  f.manager.start({}, f.now);
  f.manager.advance(f.now);
  CHECK(f.recorder.initiated.size() == 2);
}
