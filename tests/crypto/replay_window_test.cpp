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

constexpr Verdict kFresh = Verdict::fresh, kDuplicate = Verdict::duplicate, kOld = Verdict::old;
constexpr std::uint32_t kSizes[] = {64, 128, 256, 512, 1024, 2048, 4096};

}  // namespace

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
  for (const std::uint32_t size : {1u, 32u, 63u, 65u, 96u, 4095u, 8192u, 0x80000000u, 0xffffffffu})
    CHECK_FALSE(window.reset(size));
  CHECK(window.commit(5) == kDuplicate);
  CHECK(window.reset(64));
  CHECK(window.commit(5) == kFresh);
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
