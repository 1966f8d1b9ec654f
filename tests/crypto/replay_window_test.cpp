// The replay window against numbered tables, and against a model that remembers every sequence number.
#include "crypto/replay_window.hpp"

#include <catch2/catch.hpp>
#include <random>
#include <unordered_set>
#include <vector>

using espgate::crypto::ReplayWindow;
using Verdict = ReplayWindow::Verdict;

namespace {

struct Step {
  std::uint64_t sequence;
  Verdict verdict;
};

void play(std::uint32_t packets, const std::vector<Step>& steps) {
  ReplayWindow window;
  REQUIRE(window.reset(packets));
  for (std::size_t i = 0; i < steps.size(); ++i) {
    INFO("window " << packets << ", step " << i << ", sequence " << steps[i].sequence);
    CHECK(window.check(steps[i].sequence) == steps[i].verdict);
    CHECK(window.commit(steps[i].sequence) == steps[i].verdict);
  }
}

// RFC 4303 section 3.4.3 in the plainest words.
class Model {
 public:
  explicit Model(std::uint64_t packets) : packets_(packets) {}
  Verdict commit(std::uint64_t sequence) {
    if (sequence == 0 || sequence + packets_ <= highest_) return Verdict::old;
    if (!seen_.insert(sequence).second) return Verdict::duplicate;
    highest_ = std::max(highest_, sequence);
    return Verdict::fresh;
  }

 private:
  std::uint64_t packets_;
  std::uint64_t highest_{0};
  std::unordered_set<std::uint64_t> seen_;
};

// RFC 4303 appendix A2.2 in its own words: T is the highest number authenticated, W the window's size, B its
// bottom. Where it says Th - 1 and Th is 0, there is nothing before, and the packet is ahead.
std::uint64_t rfc4303_a22(std::uint64_t t, std::uint32_t w, std::uint32_t seql) {
  const auto tl = static_cast<std::uint32_t>(t);
  const auto th = static_cast<std::uint32_t>(t >> 32);
  const std::uint32_t bl = tl - w + 1;
  std::uint32_t seqh = th;
  if (tl >= w - 1) {  // case A
    if (seql < bl) seqh = th + 1;
  } else {  // case B
    if (seql >= bl && th != 0) seqh = th - 1;
  }
  return std::uint64_t{seqh} << 32 | seql;
}

constexpr Verdict kFresh = Verdict::fresh, kDuplicate = Verdict::duplicate, kOld = Verdict::old;
constexpr std::uint32_t kSizes[] = {64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};

}  // namespace

TEST_CASE("a window that begins behind a number takes nothing up to it, and all above") {
  const std::uint32_t packets = GENERATE(64U, 1024U);
  const std::uint64_t highest = GENERATE(1U, 63U, 64U, 1000U, 0x1'0000'003fU);
  ReplayWindow window;
  REQUIRE(window.reset(packets, highest));
  for (std::uint64_t back = 0; back < std::min<std::uint64_t>(highest, 3 * packets); ++back)
    CHECK(window.check(highest - back) != kFresh);
  CHECK(window.commit(highest + 5) == kFresh);
  for (const std::uint64_t ahead : {4U, 3U, 2U, 1U, 70U, 69U, 200U})
    CHECK(window.commit(highest + ahead) == kFresh);
  for (std::uint64_t ahead = 1; ahead <= 5; ++ahead) CHECK(window.check(highest + ahead) != kFresh);
}

TEST_CASE("a window of 64, step by step") {
  play(64, {
               {0, kOld},          // 0: never sent (RFC 4303 section 2.2)
               {1, kFresh},        // 1
               {1, kDuplicate},    // 2
               {9, kFresh},        // 3
               {8, kFresh},        // 4: late, inside
               {7, kFresh},        // 5
               {7, kDuplicate},    // 6
               {64, kFresh},       // 7: 1 is the window's last now
               {1, kDuplicate},    // 8
               {65, kFresh},       // 9
               {1, kOld},          // 10
               {2, kFresh},        // 11: the new last
               {2, kDuplicate},    // 12
               {66, kFresh},       // 13
               {2, kOld},          // 14
               {0, kOld},          // 15
               {130, kFresh},      // 16: a jump by exactly the window
               {66, kOld},         // 17
               {67, kFresh},       // 18: not seen, though its bit in the ring was another's
               {1000000, kFresh},  // 19: a jump far beyond the ring
               {130, kOld},        // 20
               {999937, kFresh},   // 21
               {999936, kOld},     // 22
               {999999, kFresh},   // 23
               {1000000, kDuplicate},
           });
}

TEST_CASE("the edges of every window") {
  for (const std::uint32_t size : kSizes) {
    const std::uint64_t top = 100'000;
    play(size, {{top, kFresh},
                {top - size, kOld},
                {top - size + 1, kFresh},
                {top - size + 1, kDuplicate},
                {top + 1, kFresh},
                {top - size + 1, kOld},
                {top + 1 + size, kFresh},
                {top + 1, kOld},
                {top + 2, kFresh},
                {top + 2 + 3 * std::uint64_t{size}, kFresh},
                {top + 3 + 2 * std::uint64_t{size}, kFresh}});
  }
}

TEST_CASE("sequence numbers beyond 32 bits and up to the last") {
  const std::uint64_t last = ~std::uint64_t{0};
  play(1024, {{0xffffffff, kFresh},
              {0x100000000, kFresh},
              {0xffffffff, kDuplicate},
              {0x100000000 - 1000, kFresh},
              {last, kFresh},
              {last, kDuplicate},
              {last - 1023, kFresh},
              {last - 1024, kOld},
              {1, kOld}});
}

TEST_CASE("sizes that are no window are refused and change nothing") {
  ReplayWindow window;
  REQUIRE(window.reset(64));
  REQUIRE(window.commit(5) == kFresh);
  for (const std::uint32_t size :
       {1U, 32U, 63U, 65u, 96u, 4095u, 12288u, 16385u, 32768u, 0x80000000u, 0xffffffffu})
    CHECK_FALSE(window.reset(size));
  CHECK(window.commit(5) == kDuplicate);
  CHECK(window.reset(64));
  CHECK(window.commit(5) == kFresh);
}

TEST_CASE("a window may grow, shrink and grow again; each begins empty") {
  ReplayWindow window;
  for (const std::uint32_t size : {64u, 16384u, 8192u, 16384u, 4096u, 0u, 16384u, 64u}) {
    REQUIRE(window.reset(size));
    INFO(size);
    CHECK(window.highest() == 0);
    for (const std::uint64_t sequence : {40'000u, 40'001u, 39'990u}) {
      CHECK(window.commit(sequence) == kFresh);
      CHECK(window.commit(sequence) == (size == 0 ? kFresh : kDuplicate));
    }
    CHECK_FALSE(window.reset(3));
    CHECK(window.check(40'000) == (size == 0 ? kFresh : kDuplicate));
  }
}

TEST_CASE("0 switches the check off") {
  play(
      0,
      {{5, kFresh}, {5, kFresh}, {1, kFresh}, {1'000'000, kFresh}, {5, kFresh}, {~std::uint64_t{0}, kFresh}});
}

TEST_CASE("millions of random arrivals agree with the model") {
  std::mt19937_64 random(6479);
  for (const std::uint32_t size : kSizes) {
    ReplayWindow window;
    REQUIRE(window.reset(size));
    Model model(size);
    // In order with loss, reordering around the window's edges, replays, and now and then a jump.
    std::uint64_t next = 1;
    for (int i = 0; i < 500'000; ++i) {
      std::uint64_t sequence = next;
      switch (random() % 16) {
        case 0:
          sequence = next - std::min<std::uint64_t>(next, random() % (size + size / 8 + 2));
          break;
        case 1:
          sequence = next - std::min<std::uint64_t>(next, random() % 70);
          break;
        case 2:
          sequence = next + random() % 3;
          break;
        case 3:
          if (random() % 64 == 0) sequence = next + random() % (4 * size);
          break;
        default:
          break;
      }
      next = std::max(next, sequence + 1);
      const Verdict expected = model.commit(sequence);
      REQUIRE(window.check(sequence) == expected);
      REQUIRE(window.commit(sequence) == expected);
    }
  }
}

TEST_CASE("the high 32 bits are inferred, step by step") {
  struct Step {
    std::uint64_t highest;
    std::uint32_t low;
    std::uint64_t inferred;
  };
  const Step steps[] = {
      {0, 1, 1},                                             // 0: the first packet
      {0, 0xffffffff, 0xffffffff},                           // 1: nothing is before zero
      {63, 0xffffffff, 0xffffffff},                          // 2: the window begins at 0
      {64, 0, 0x100000000},                                  // 3: and now at 1
      {0xffffffff, 0, 0x100000000},                          // 4
      {0xffffffff, 0xffffffc0, 0xffffffc0},                  // 5: the window's last
      {0xffffffff, 0xffffffbf, 0x1ffffffbf},                 // 6: before it, so a cycle ahead
      {0x100000000, 0xffffffff, 0xffffffff},                 // 7: late, from before the wrap
      {0x10000003e, 0xffffffff, 0xffffffff},                 // 8: the same, at the very end
      {0x10000003f, 0xffffffff, 0x1ffffffff},                // 9: no longer
      {0x8765432100000005, 0xffffffff, 0x87654320ffffffff},  // 10
      {0x8765432100000005, 6, 0x8765432100000006},           // 11
      {0xfffffffffffffff0, 5, 5},  // 12: past the last there is none; this one is old
  };
  for (const Step& step : steps) {
    ReplayWindow window;
    REQUIRE(window.reset(64));
    if (step.highest != 0) REQUIRE(window.commit(step.highest) == kFresh);
    INFO("step " << &step - steps);
    CHECK(window.infer(step.low) == step.inferred);
  }
}

TEST_CASE("the high 32 bits are inferred as RFC 4303 has it, wherever the window is") {
  std::mt19937_64 random(4303);
  for (const std::uint32_t size : kSizes) {
    ReplayWindow window;
    REQUIRE(window.reset(size));
    for (int i = 0; i < 300'000; ++i) {
      // Near the ends of the low 32 bits and of the window, where the cases meet, and anywhere.
      const std::uint64_t highest = window.highest();
      const auto near = [&](std::uint64_t to) { return static_cast<std::uint32_t>(to + random() % 5 - 2); };
      const std::uint32_t lows[] = {near(0), near(highest), near(highest - size), near(highest - size / 2),
                                    static_cast<std::uint32_t>(random())};
      for (const std::uint32_t low : lows) REQUIRE(window.infer(low) == rfc4303_a22(highest, size, low));
      const std::uint64_t to_wrap = 0x100000000 - static_cast<std::uint32_t>(highest);
      const std::uint64_t jumps[] = {1, random() % (2 * size) + 1,
                                     to_wrap - random() % std::min<std::uint64_t>(to_wrap, size),
                                     random() % 0xf0000000 + 1};
      REQUIRE(window.commit(highest + jumps[random() % 4]) == kFresh);
    }
    CHECK(window.highest() >> 32 > 1000);
  }
}

TEST_CASE("a receiver of low halves recovers every number that is in its window or less than a cycle ahead") {
  std::mt19937_64 random(4304);
  for (const std::uint32_t size : kSizes) {
    ReplayWindow window;
    REQUIRE(window.reset(size));
    std::uint64_t newest = 0xfffffff0 - size;
    REQUIRE(window.commit(newest) == kFresh);
    for (int i = 0; i < 200'000; ++i) {
      const bool late = random() % 4 == 0;
      const std::uint64_t ahead = random() % 16 == 0 ? random() % (0x100000000 - size) : random() % 3;
      const std::uint64_t sent = late ? newest - random() % size : newest + ahead;
      REQUIRE(window.infer(static_cast<std::uint32_t>(sent)) == sent);
      if (window.commit(sent) == kFresh) newest = std::max(newest, sent);
      REQUIRE(window.highest() == newest);
    }
  }
}
