// A single-producer single-consumer ring of fixed slots in memory that the other process can write at will.
//
// Nothing shared is trusted: each side keeps its own index privately and only *publishes* it; the peer's
// index is read, checked against what is possible, and a slot is copied out before anything in it is looked
// at. There is no pointer, size or mask in shared memory. A peer that publishes an impossible index gets the
// ring closed (broken).
//
// A hostile peer may write a slot while it is copied out. The copy may then be a mixture of two messages, but
// it is the copy that is validated and used, and the peer could have sent that mixture as well; the slot is
// never read twice. What the peer puts into a slot after its erasure it knew anyway.
//
// The slots of a ring may carry keys. `pop` erases the slot; the caller of `push` and `pop` erases its own
// message.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace espgate::channel {

enum class RingStatus : std::uint8_t { ok, empty, full, broken };

template <class T, std::uint32_t Slots>
requires(std::is_trivially_copyable_v<T>&& std::has_single_bit(Slots)) struct RingMemory {
  alignas(64) std::atomic<std::uint32_t> written;  // free-running count; the producer's
  alignas(64) std::atomic<std::uint32_t> read;     // free-running count; the consumer's
  alignas(64) T slots[Slots];
};
static_assert(std::atomic<std::uint32_t>::is_always_lock_free, "a lock would not work between processes");

// The producer's end. One thread of one process. `memory` stays mapped for as long as this lives; both of its
// counts are `first`.
template <class T, std::uint32_t Slots>
class Producer {
 public:
  explicit Producer(RingMemory<T, Slots>& memory, std::uint32_t first = 0) noexcept
      : memory_(&memory), written_(first) {}

  // Copies `message` into the next slot. `full` leaves the ring as it was.
  [[nodiscard]] RingStatus push(const T& message) noexcept {
    const std::uint32_t read = memory_->read.load(std::memory_order_acquire);
    const std::uint32_t used = written_ - read;
    if (broken_ || used > Slots) {
      broken_ = true;
      return RingStatus::broken;
    }
    if (used == Slots) return RingStatus::full;
    std::memcpy(&memory_->slots[written_ % Slots], &message, sizeof(T));
    memory_->written.store(++written_, std::memory_order_release);
    return RingStatus::ok;
  }

  // Messages that the peer has not read yet, as far as its index can be believed: 0..Slots.
  [[nodiscard]] std::uint32_t unread() const noexcept {
    const std::uint32_t used = written_ - memory_->read.load(std::memory_order_acquire);
    return used < Slots ? used : Slots;
  }

 private:
  RingMemory<T, Slots>* memory_;
  std::uint32_t written_;
  bool broken_{false};
};

// The consumer's end. One thread of one process.
template <class T, std::uint32_t Slots>
class Consumer {
 public:
  explicit Consumer(RingMemory<T, Slots>& memory, std::uint32_t first = 0) noexcept
      : memory_(&memory), read_(first) {}

  // Copies the oldest slot to `message` and erases the slot, which may have held keys.
  [[nodiscard]] RingStatus pop(T& message) noexcept {
    const std::uint32_t written = memory_->written.load(std::memory_order_acquire);
    const std::uint32_t waiting = written - read_;
    if (broken_ || waiting > Slots) {
      broken_ = true;
      return RingStatus::broken;
    }
    if (waiting == 0) return RingStatus::empty;
    T& slot = memory_->slots[read_ % Slots];
    std::memcpy(&message, &slot, sizeof(T));
    // From here the compiler may not assume that the copy still equals the slot and read the slot again in
    // its place.
    asm volatile("" : : "r"(&message) : "memory");
    explicit_bzero(&slot, sizeof(T));
    memory_->read.store(++read_, std::memory_order_release);
    return RingStatus::ok;
  }

  // Messages that wait to be popped, as far as the peer's index can be believed: 0..Slots.
  [[nodiscard]] std::uint32_t waiting() const noexcept {
    const std::uint32_t waiting = memory_->written.load(std::memory_order_acquire) - read_;
    return waiting < Slots ? waiting : Slots;
  }

 private:
  RingMemory<T, Slots>* memory_;
  std::uint32_t read_;
  bool broken_{false};
};

}  // namespace espgate::channel
