// The anti-replay window of RFC 4303 section 3.4.3, as RFC 6479 lays it out: a ring of words of which one is
// spare, so that advancing clears whole words and no bit is ever shifted. 64..16384 packets. One writer: the
// SA's owning worker. `check` before the ICV is verified, `commit` after.
//
// The words of up to kNearPackets lie in the window itself, those of more in memory of their own, so that
// only who wants such a window pays for it. That comes and goes with `reset` and the destructor, the main
// thread's.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

namespace espgate::crypto {

class ReplayWindow {
 public:
  static constexpr std::uint32_t kMinPackets = 64;
  static constexpr std::uint32_t kMaxPackets = 16384;
  static constexpr std::uint32_t kNearPackets = 4096;
  enum class Verdict : std::uint8_t { fresh, duplicate, old };

  ReplayWindow() = default;
  ~ReplayWindow() { release(); }
  ReplayWindow(const ReplayWindow&) = delete;
  ReplayWindow& operator=(const ReplayWindow&) = delete;

  // Is a power of two, kMinPackets..kMaxPackets; or 0, which switches the check off.
  [[nodiscard]] static constexpr bool is_size(std::uint32_t packets) noexcept {
    return packets == 0 || (std::has_single_bit(packets) && packets >= kMinPackets && packets <= kMaxPackets);
  }

  // Begins anew behind `highest`: all up to it counts as received. False: `packets` is no size, or there is
  // no memory for it; the window is as before. The main thread, while no worker uses the window. With up to
  // kNearPackets nothing is allocated.
  [[nodiscard]] bool reset(std::uint32_t packets, std::uint64_t highest = 0) noexcept {
    if (!is_size(packets)) return false;
    std::uint64_t* far = nullptr;
    if (packets > kNearPackets) {
      far = new (std::nothrow) std::uint64_t[words_of(packets)]();
      if (far == nullptr) return false;
    }
    release();
    if (far != nullptr)
      far_ = far;
    else
      near_.fill(0);
    packets_ = packets;
    word_mask_ = packets == 0 ? 0 : words_of(packets) - 1;
    mark_all(highest);
    return true;
  }

  // Whether check and commit may be asked for the near words without a look at where they are.
  [[nodiscard]] bool is_near() const noexcept { return packets_ <= kNearPackets; }

  // Would `sequence` be accepted? Sequence 0 is never (RFC 4303 section 3.4.3), unless the check is off.
  // `kNear`: it is known that is_near().
  template <bool kNear = false>
  [[nodiscard]] Verdict check(std::uint64_t sequence) const noexcept {
    const std::uint64_t newest = highest();
    if (sequence > newest || packets_ == 0) return Verdict::fresh;
    if (sequence == 0) return Verdict::old;
    if (newest - sequence >= packets_) return Verdict::old;
    return (words<kNear>()[place(sequence)] & bit_of(sequence)) != 0 ? Verdict::duplicate : Verdict::fresh;
  }

  // Marks `sequence` as received, after its packet proved authentic. Checks again, because an earlier packet
  // of the same burst may have been its twin.
  template <bool kNear = false>
  [[nodiscard]] Verdict commit(std::uint64_t sequence) noexcept {
    const std::uint64_t newest = highest();
    if (sequence > newest) {
      if ((sequence ^ newest) >= kWordBits) advance(newest, sequence, words<kNear>());
      set_highest(sequence);
    } else {
      const Verdict verdict = check<kNear>(sequence);
      if (verdict != Verdict::fresh) return verdict;
    }
    words<kNear>()[place(sequence)] |= bit_of(sequence);
    return Verdict::fresh;
  }

  // The extended sequence number of which a packet carries the `low` 32 bits: the one within 2^32 from the
  // window's bottom up (RFC 4303 appendix A2.2). Beside the first packets there is nothing below zero. A
  // window of 0 packets has no bottom: not to be asked.
  [[nodiscard]] std::uint64_t infer(std::uint32_t low) const noexcept {
    const std::uint64_t newest = highest();
    const std::uint64_t bottom = newest < packets_ ? 0 : newest - packets_ + 1;
    return bottom + static_cast<std::uint32_t>(low - static_cast<std::uint32_t>(bottom));
  }

  // Any thread.
  [[nodiscard]] std::uint64_t highest() const noexcept { return highest_.load(std::memory_order_relaxed); }
  // Where the word lies that a check of `sequence` will read, for a prefetch.
  template <bool kNear = false>
  [[nodiscard]] const void* place_of(std::uint64_t sequence) const noexcept {
    return words<kNear>() + place(sequence);
  }
  // Bytes before the words.
  static constexpr std::size_t kHead = 16;

 private:
  static constexpr std::uint32_t kWordBits = 64;
  static constexpr std::uint32_t kNearWords = 2 * kNearPackets / kWordBits;
  // Twice the window's: a power of two, so that a mask finds the word, with the spare one among them.
  static constexpr std::uint32_t words_of(std::uint32_t packets) noexcept { return 2 * packets / kWordBits; }

  void set_highest(std::uint64_t sequence) noexcept { highest_.store(sequence, std::memory_order_relaxed); }
  static std::uint64_t bit_of(std::uint64_t sequence) noexcept {
    return std::uint64_t{1} << (sequence % kWordBits);
  }
  [[nodiscard]] std::size_t place(std::uint64_t sequence) const noexcept {
    return (sequence / kWordBits) & word_mask_;
  }
  template <bool kNear = false>
  [[nodiscard]] const std::uint64_t* words() const noexcept {
    return kNear || is_near() ? near_.data() : far_;
  }
  template <bool kNear = false>
  [[nodiscard]] std::uint64_t* words() noexcept {
    return const_cast<std::uint64_t*>(std::as_const(*this).words<kNear>());
  }
  void release() noexcept {
    if (!is_near()) delete[] far_;
  }

  // In a ring of zeros.
  void mark_all(std::uint64_t highest) noexcept {
    set_highest(highest);
    if (highest == 0) return;
    std::fill_n(words(), word_mask_ + std::size_t{1}, ~std::uint64_t{0});
    words()[place(highest)] = bit_of(highest) * 2 - 1;
  }

  // Clears the words that come into the ring between the old highest and the new (RFC 6479 section 2).
  void advance(std::uint64_t newest, std::uint64_t sequence, std::uint64_t* ring) const noexcept {
    const std::uint64_t from = newest / kWordBits;
    const std::uint64_t count =
        std::min<std::uint64_t>(sequence / kWordBits - from, word_mask_ + std::uint64_t{1});
    for (std::uint64_t i = 1; i <= count; ++i) ring[(from + i) & word_mask_] = 0;
  }

  std::atomic<std::uint64_t> highest_{0};  // the main thread reads it for the operator
  std::uint32_t packets_{0};
  std::uint32_t word_mask_{0};
  union {
    std::array<std::uint64_t, kNearWords> near_{};
    std::uint64_t* far_;  // unless is_near()
  };
};

}  // namespace espgate::crypto
