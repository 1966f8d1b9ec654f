#include "channel/ring.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <thread>

#include "channel/messages.hpp"

using namespace espgate::channel;

namespace {

struct Message {
  std::uint64_t number;
  std::array<std::uint8_t, 24> key;
};

constexpr std::uint32_t kSlots = 8;
using Memory = RingMemory<Message, kSlots>;

Message message(std::uint64_t number) {
  Message result{number, {}};
  result.key.fill(0xa5);
  return result;
}

struct Ring {
  std::unique_ptr<Memory> memory = std::make_unique<Memory>();
  Producer<Message, kSlots> producer{*memory};
  Consumer<Message, kSlots> consumer{*memory};
};

bool all_zero(const Message& slot) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&slot);
  return std::all_of(bytes, bytes + sizeof(slot), [](std::uint8_t byte) { return byte == 0; });
}

}  // namespace

TEST_CASE("messages come out in order, once, through many turns of the ring") {
  Ring ring;
  std::uint64_t in = 0;
  std::uint64_t out = 0;
  for (unsigned step = 0; step < 1000; ++step) {
    for (unsigned i = 0; i < 1 + step % kSlots; ++i)
      if (ring.producer.push(message(in)) == RingStatus::ok) ++in;
    Message got{};
    for (unsigned i = 0; i < 1 + step % 5; ++i)
      if (ring.consumer.pop(got) == RingStatus::ok) REQUIRE(got.number == out++);
  }
  CHECK(in - out <= kSlots);
  CHECK(out > 1000);
}

TEST_CASE("an empty ring gives nothing and a full one takes nothing") {
  Ring ring;
  Message got = message(99);
  CHECK(ring.consumer.pop(got) == RingStatus::empty);
  CHECK(got.number == 99);
  CHECK(ring.producer.unread() == 0);
  for (std::uint64_t i = 0; i < kSlots; ++i) CHECK(ring.producer.push(message(i)) == RingStatus::ok);
  CHECK(ring.producer.push(message(100)) == RingStatus::full);
  CHECK(ring.producer.unread() == kSlots);
  CHECK(ring.consumer.waiting() == kSlots);
  CHECK(ring.consumer.pop(got) == RingStatus::ok);
  CHECK(got.number == 0);  // the one that found the ring full overwrote nothing
  CHECK(ring.producer.push(message(100)) == RingStatus::ok);
}

TEST_CASE("a slot is erased once it is read") {
  Ring ring;
  REQUIRE(ring.producer.push(message(7)) == RingStatus::ok);
  CHECK_FALSE(all_zero(ring.memory->slots[0]));
  Message got{};
  REQUIRE(ring.consumer.pop(got) == RingStatus::ok);
  CHECK(got.key == message(7).key);
  CHECK(all_zero(ring.memory->slots[0]));
}

TEST_CASE("a producer whose consumer publishes an impossible index closes for good") {
  // Read what was never written; half a world away; one more than there are slots.
  for (std::uint32_t bad : {1U, 0x80000000U, 0U - kSlots - 1}) {
    CAPTURE(bad);
    Ring ring;
    ring.memory->read = bad;
    CHECK(ring.producer.push(message(0)) == RingStatus::broken);
    CHECK(ring.producer.unread() <= kSlots);
    CHECK(all_zero(ring.memory->slots[0]));
  }
  Ring ring;
  ring.memory->read = 5;
  CHECK(ring.producer.push(message(0)) == RingStatus::broken);
  ring.memory->read = 0;
  CHECK(ring.producer.push(message(0)) == RingStatus::broken);
  CHECK(ring.memory->written == 0);
}

TEST_CASE("a consumer whose producer publishes an impossible index closes for good") {
  for (std::uint32_t bad : {0xffffffffU, kSlots + 1, 0x80000000U}) {
    CAPTURE(bad);
    Ring ring;
    ring.memory->written = bad;
    Message got = message(99);
    CHECK(ring.consumer.pop(got) == RingStatus::broken);
    CHECK(got.number == 99);
    CHECK(ring.consumer.waiting() <= kSlots);
    ring.memory->written = 0;
    CHECK(ring.consumer.pop(got) == RingStatus::broken);
  }
}

TEST_CASE("the counts may run over 32 bits") {
  using Small = RingMemory<std::uint8_t, 256>;
  const auto memory = std::make_unique<Small>();
  memory->written = memory->read = 0xffffff00;
  Producer<std::uint8_t, 256> producer(*memory, 0xffffff00);
  Consumer<std::uint8_t, 256> consumer(*memory, 0xffffff00);
  for (unsigned i = 0; i < 1000; ++i) {
    REQUIRE(producer.push(static_cast<std::uint8_t>(i)) == RingStatus::ok);
    std::uint8_t got = 0;
    REQUIRE(consumer.pop(got) == RingStatus::ok);
    REQUIRE(got == static_cast<std::uint8_t>(i));
  }
}

TEST_CASE("two threads: nothing is lost, doubled or torn") {
  Ring ring;
  constexpr std::uint64_t kMessages = 200'000;
  std::thread producer([&] {
    for (std::uint64_t i = 0; i < kMessages;)
      if (ring.producer.push(message(i)) == RingStatus::ok)
        ++i;
      else
        std::this_thread::yield();
  });
  std::uint64_t wrong = 0;
  Message got{};
  for (std::uint64_t expected = 0; expected < kMessages;) {
    if (ring.consumer.pop(got) != RingStatus::ok) {
      std::this_thread::yield();
      continue;
    }
    if (got.number != expected++ || got.key != message(0).key) ++wrong;
  }
  producer.join();
  CHECK(wrong == 0);
}
