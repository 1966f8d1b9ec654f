// BFD's state machine and timers against RFC 5880, by tables and with two sessions that talk to each other.
#include "dataplane/liveness/bfd.hpp"

#include <catch2/catch.hpp>
#include <deque>

using namespace espgate::dataplane;
using bfd::Diagnostic;
using bfd::Session;
using bfd::State;

namespace {

constexpr std::uint64_t kMs = 1'000'000;  // ns
constexpr std::uint64_t kStart = 1000 * kMs;
constexpr bfd::Settings kFast{50'000, 50'000, 3};

bfd::ControlPacket from_peer(State state, std::uint32_t your = 1) {
  bfd::ControlPacket packet;
  packet.state = state;
  packet.detect_multiplier = 3;
  packet.my_discriminator = 2;
  packet.your_discriminator = your;
  packet.desired_min_tx = state == State::up ? 50'000 : bfd::kSlowInterval;
  packet.required_min_rx = 50'000;
  return packet;
}

void drain(Session& session, std::uint64_t now) {
  while (session.next_packet(now)) {
  }
}

// A session in the wanted state, that owes nothing.
Session session_in(State state, const bfd::Settings& settings = kFast) {
  Session session(1, settings, 7);
  if (state == State::init || state == State::up) REQUIRE(session.receive(from_peer(State::down), kStart));
  if (state == State::up) {
    REQUIRE(session.receive(from_peer(State::up), kStart));
    drain(session, kStart);
    bfd::ControlPacket answer = from_peer(State::up);
    answer.final = true;
    REQUIRE(session.receive(answer, kStart));
  }
  if (state == State::admin_down) session.disable();
  drain(session, kStart);
  REQUIRE(session.state() == state);
  return session;
}

// Two sessions and a wire between them that takes 1 ms.
class Pair {
 public:
  explicit Pair(const bfd::Settings& a = kFast, const bfd::Settings& b = kFast)
      : ends{{1, a, 3}, {2, b, 4}} {}

  void run(std::uint64_t ns) {
    for (const std::uint64_t end = now + ns; now < end; now += kMs) {
      for (std::size_t side = 0; side < 2; side++) {
        for (; !wires[side].empty() && wires[side].front().first <= now; wires[side].pop_front())
          REQUIRE(ends[side].receive(wires[side].front().second, now));
        ends[side].advance(now);
        while (const auto packet = ends[side].next_packet(now)) {
          sent[side]++;
          polls += packet->poll ? 1 : 0;
          finals += packet->final ? 1 : 0;
          if (!cut[side]) wires[1 - side].emplace_back(now + kMs, *packet);
        }
      }
    }
  }
  [[nodiscard]] bool both(State state) const { return ends[0].state() == state && ends[1].state() == state; }

  std::uint64_t now{kStart};
  Session ends[2];
  std::deque<std::pair<std::uint64_t, bfd::ControlPacket>> wires[2];  // by receiver
  bool cut[2]{};                                                      // by sender
  unsigned sent[2]{};
  unsigned polls{0};
  unsigned finals{0};
};

}  // namespace

TEST_CASE("bfd: every state meets every state of the peer as RFC 5880 section 6.8.6 says") {
  struct Row {
    State before;
    State received;
    State after;
    Diagnostic diagnostic;
  };
  constexpr Diagnostic kNone = Diagnostic::none;
  constexpr Diagnostic kSignalled = Diagnostic::neighbour_signalled_down;
  static constexpr Row kRows[] = {
      {State::down, State::admin_down, State::down, kNone},
      {State::down, State::down, State::init, kNone},
      {State::down, State::init, State::up, kNone},
      {State::down, State::up, State::down, kNone},
      {State::init, State::admin_down, State::down, kSignalled},
      {State::init, State::down, State::init, kNone},
      {State::init, State::init, State::up, kNone},
      {State::init, State::up, State::up, kNone},
      {State::up, State::admin_down, State::down, kSignalled},
      {State::up, State::down, State::down, kSignalled},
      {State::up, State::init, State::up, kNone},
      {State::up, State::up, State::up, kNone},
  };
  for (const Row& row : kRows) {
    Session session = session_in(row.before);
    CAPTURE(static_cast<int>(row.before), static_cast<int>(row.received));
    CHECK(session.receive(from_peer(row.received), kStart + kMs));
    CHECK(session.state() == row.after);
    CHECK(session.diagnostic() == row.diagnostic);
    CHECK(session.remote_state() == row.received);
    const auto packet = session.next_packet(kStart + kMs);
    CHECK(packet.has_value() == (row.before != row.after));  // a change is told at once
    if (packet) CHECK((packet->state == row.after && packet->your_discriminator == 2));
  }
}

TEST_CASE("bfd: a session that is administratively down hears nothing and says so once a second") {
  Session session = session_in(State::admin_down);
  CHECK(session.diagnostic() == Diagnostic::administratively_down);
  for (const State state : {State::admin_down, State::down, State::init, State::up})
    CHECK_FALSE(session.receive(from_peer(state), kStart));
  session.path_down();
  CHECK(session.state() == State::admin_down);
  CHECK_FALSE(session.next_packet(kStart + 740 * kMs));
  const auto packet = session.next_packet(kStart + 1000 * kMs);
  REQUIRE(packet);
  CHECK(packet->state == State::admin_down);
}

TEST_CASE("bfd: the detection time takes Init and Up down, and forgets the peer") {
  for (const State before : {State::init, State::up}) {
    Session session = session_in(before);
    const std::uint64_t detection = before == State::up ? 150 * kMs : 3000 * kMs;
    CHECK(session.detection_time() * 1000 == detection);
    CHECK(session.next_deadline() <= kStart + detection);
    session.advance(kStart + detection - 1);
    CHECK(session.state() == before);
    session.advance(kStart + detection);
    CHECK(session.state() == State::down);
    CHECK(session.diagnostic() == Diagnostic::detection_time_expired);
    const auto packet = session.next_packet(kStart + detection);
    REQUIRE(packet);
    CHECK(packet->your_discriminator == 0);
    CHECK(packet->desired_min_tx == bfd::kSlowInterval);
    CHECK(session.remote_state() == State::down);
  }
}

TEST_CASE("bfd: a packet for another session changes nothing") {
  Session session = session_in(State::up);
  CHECK_FALSE(session.receive(from_peer(State::down, 99), kStart + kMs));
  CHECK(session.state() == State::up);
  CHECK(session.receive(from_peer(State::down, 0), kStart + kMs));  // it began anew and knows us no more
  CHECK(session.state() == State::down);
}

TEST_CASE("bfd: packets in turn come early by up to a quarter, and a tenth at least with multiplier 1") {
  for (const std::uint8_t multiplier : {std::uint8_t{1}, std::uint8_t{3}}) {
    Session session = session_in(State::up, {50'000, 50'000, multiplier});
    std::uint64_t at = kStart;
    std::uint64_t least = ~0ULL;
    std::uint64_t most = 0;
    for (int i = 0; i < 2000; i++) {
      REQUIRE(session.receive(from_peer(State::up), at));
      const std::uint64_t next = session.next_deadline();
      CHECK_FALSE(session.next_packet(next - 1));
      REQUIRE(session.next_packet(next));
      least = std::min(least, next - at);
      most = std::max(most, next - at);
      at = next;
    }
    CHECK(least >= 37'500'000);
    CHECK(least < 38'500'000);
    CHECK(most <= (multiplier == 1 ? 45'000'000 : 50'000'000));
    CHECK(most > (multiplier == 1 ? 44'000'000 : 49'000'000));
  }
}

TEST_CASE("bfd: intervals are the larger of what one wants and the other bears") {
  struct Row {
    bfd::Settings ours;
    std::uint32_t their_tx;
    std::uint32_t their_rx;
    std::uint8_t their_multiplier;
    std::uint32_t transmit;
    std::uint64_t detection;
  };
  static constexpr Row kRows[] = {
      {{50'000, 50'000, 3}, 50'000, 50'000, 3, 50'000, 150'000},
      {{50'000, 50'000, 3}, 300'000, 20'000, 5, 50'000, 1'500'000},
      {{50'000, 400'000, 3}, 300'000, 700'000, 2, 700'000, 800'000},
      {{10'000, 10'000, 255}, 1'000, 1'000, 1, 10'000, 10'000},
      {{50'000, 50'000, 3}, 4'294'967'295, 4'294'967'295, 255, 4'294'967'295, 255 * 4'294'967'295ULL},
  };
  for (const Row& row : kRows) {
    Session session = session_in(State::up, row.ours);
    bfd::ControlPacket packet = from_peer(State::up);
    packet.desired_min_tx = row.their_tx;
    packet.required_min_rx = row.their_rx;
    packet.detect_multiplier = row.their_multiplier;
    REQUIRE(session.receive(packet, kStart));
    CHECK(session.transmit_interval() == row.transmit);
    CHECK(session.detection_time() == row.detection);
    CHECK(session.next_deadline() <= kStart + row.transmit * 1000ULL);
  }
}

TEST_CASE("bfd: a poll is answered at once, once, and without a poll of our own in it") {
  Session session = session_in(State::up);
  bfd::ControlPacket poll = from_peer(State::up);
  poll.poll = true;
  const std::uint64_t next = session.next_deadline();
  REQUIRE(session.receive(poll, kStart + kMs));
  session.change({70'000, 70'000, 3});  // our own poll waits
  const auto answer = session.next_packet(kStart + kMs);
  REQUIRE(answer);
  CHECK((answer->final && !answer->poll));
  CHECK_FALSE(session.next_packet(kStart + kMs));
  CHECK(session.next_deadline() == next);  // those in turn are not put off
  const auto regular = session.next_packet(next);
  REQUIRE(regular);
  CHECK((regular->poll && !regular->final));
}

TEST_CASE("bfd: changed intervals count once the peer has answered, where they would do harm before") {
  Session session = session_in(State::up, {50'000, 100'000, 3});
  bfd::ControlPacket final = from_peer(State::up);
  final.final = true;
  REQUIRE(session.detection_time() == 300'000);
  session.change({200'000, 50'000, 3});
  CHECK(session.transmit_interval() == 50'000);
  CHECK(session.detection_time() == 300'000);
  session.change({300'000, 60'000, 3});  // while the first poll runs: its answer says nothing of this one
  REQUIRE(session.receive(final, kStart));
  CHECK(session.transmit_interval() == 50'000);
  CHECK(session.detection_time() == 300'000);
  REQUIRE(session.receive(final, kStart));
  CHECK(session.transmit_interval() == 300'000);
  CHECK(session.detection_time() == 180'000);
  session.change({50'000, 500'000, 3});  // the other way nothing need wait
  CHECK(session.transmit_interval() == 50'000);
  CHECK(session.detection_time() == 1'500'000);
}

TEST_CASE("bfd: a peer that wants no packets, or none but answers, gets none in turn") {
  Session session = session_in(State::up);
  bfd::ControlPacket packet = from_peer(State::up);
  packet.required_min_rx = 0;
  REQUIRE(session.receive(packet, kStart));
  CHECK_FALSE(session.next_packet(kStart + 100 * kMs));
  CHECK(session.next_deadline() == kStart + 150 * kMs);  // it is still listened to
  packet = from_peer(State::up);
  packet.demand = true;
  REQUIRE(session.receive(packet, kStart));
  CHECK_FALSE(session.next_packet(kStart + 100 * kMs));
  packet.poll = true;
  REQUIRE(session.receive(packet, kStart));
  CHECK(session.next_packet(kStart + 100 * kMs)->final);
  session.change({60'000, 60'000, 3});
  CHECK(session.next_packet(kStart + 100 * kMs)->poll);  // and asked
}

TEST_CASE("bfd: two sessions come up slowly, then speed up by polls") {
  Pair pair;
  pair.run(20 * kMs);
  CHECK(pair.both(State::up));  // what changes is said at once
  pair.run(3000 * kMs);
  CHECK(pair.both(State::up));
  CHECK(pair.polls >= 2);
  CHECK(pair.finals == pair.polls);
  for (const Session& end : pair.ends) {
    CHECK(end.transmit_interval() == 50'000);
    CHECK(end.detection_time() == 150'000);
  }
  const unsigned before = pair.sent[0];
  pair.run(10'000 * kMs);
  CHECK(pair.sent[0] - before >= 200);  // 10 s of at most 50 ms, and of at least 37.5 ms
  CHECK(pair.sent[0] - before <= 267);
}

TEST_CASE("bfd: what one side loses both sides know within a detection time") {
  Pair pair;
  pair.run(3000 * kMs);
  REQUIRE(pair.both(State::up));
  pair.cut[0] = true;  // one way only
  pair.run(155 * kMs);
  CHECK(pair.both(State::down));
  CHECK(pair.ends[1].diagnostic() == Diagnostic::detection_time_expired);
  CHECK(pair.ends[0].diagnostic() == Diagnostic::neighbour_signalled_down);
  CHECK(pair.ends[0].remote_diagnostic() == Diagnostic::detection_time_expired);
  pair.run(5000 * kMs);
  CHECK(pair.ends[0].state() != State::up);
  const unsigned before = pair.sent[0];
  pair.run(10'000 * kMs);
  CHECK(pair.sent[0] - before <= 14);  // once a second while down
  pair.cut[0] = false;
  pair.run(2100 * kMs);
  CHECK(pair.both(State::up));
}

TEST_CASE("bfd: of different wishes the slower side's count") {
  Pair pair({20'000, 300'000, 3}, {100'000, 50'000, 5});
  pair.run(4000 * kMs);
  REQUIRE(pair.both(State::up));
  CHECK(pair.ends[0].transmit_interval() == 50'000);
  CHECK(pair.ends[1].transmit_interval() == 300'000);
  CHECK(pair.ends[0].detection_time() == 5 * 300'000);
  CHECK(pair.ends[1].detection_time() == 3 * 50'000);
  pair.ends[0].change({400'000, 20'000, 3});
  pair.run(3000 * kMs);
  CHECK(pair.both(State::up));
  CHECK(pair.ends[1].detection_time() == 3 * 400'000);
  CHECK(pair.ends[1].transmit_interval() == 100'000);
}

TEST_CASE("bfd: an operator's end is no failure to the peer") {
  Pair pair;
  pair.run(3000 * kMs);
  pair.ends[0].disable();
  pair.wires[0].clear();
  const auto word = pair.ends[0].next_packet(pair.now);
  REQUIRE(word);
  CHECK(word->state == State::admin_down);
  REQUIRE(pair.ends[1].receive(*word, pair.now));
  CHECK(pair.ends[1].state() == State::down);
  CHECK(pair.ends[1].remote_state() == State::admin_down);
  pair.ends[1].advance(pair.now + 4000 * kMs);
  CHECK(pair.ends[1].remote_state() == State::down);  // silence is
}
