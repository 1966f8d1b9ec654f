// The anti-replay window of RFC 4303 section 3.4.3, as RFC 6479 lays it out: a ring of words of which one is
// spare, so that advancing clears whole words and no bit is ever shifted. 64..4096 packets. One writer: the
// SA's owning worker. `check` before the ICV is verified, `commit` after.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace espgate::crypto {

class ReplayWindow {
 public:
  static constexpr std::uint32_t kMinPackets = 64;
  static constexpr std::uint32_t kMaxPackets = 4096;
  enum class Verdict : std::uint8_t { fresh, duplicate, old };

  // Forgets everything. `packets`: a power of two, 64..kMaxPackets; 0 switches the check off. False: neither;
  // the window is as before.
  [[nodiscard]] bool reset(std::uint32_t packets) noexcept {
    const bool size_fits = std::has_single_bit(packets) && packets >= kMinPackets && packets <= kMaxPackets;
    if (packets != 0 && !size_fits) return false;
    packets_ = packets;
    word_mask_ = packets == 0 ? 0 : 2 * packets / kWordBits - 1;
    set_highest(0);
    words_.fill(0);
    return true;
  }

  // Would `sequence` be accepted? Sequence 0 is never (RFC 4303 section 3.4.3), unless the check is off.
  [[nodiscard]] Verdict check(std::uint64_t sequence) const noexcept {
    if (packets_ == 0) return Verdict::fresh;
    if (sequence == 0) return Verdict::old;
    const std::uint64_t newest = highest();
    if (sequence > newest) return Verdict::fresh;
    if (newest - sequence >= packets_) return Verdict::old;
    return (word_of(sequence) & bit_of(sequence)) != 0 ? Verdict::duplicate : Verdict::fresh;
  }

  // Marks `sequence` as received, after its packet proved authentic. Checks again, because an earlier packet
  // of the same burst may have been its twin.
  [[nodiscard]] Verdict commit(std::uint64_t sequence) noexcept {
    if (sequence > highest()) {
      advance(sequence);
    } else {
      const Verdict verdict = check(sequence);
      if (verdict != Verdict::fresh) return verdict;
    }
    words_[(sequence / kWordBits) & word_mask_] |= bit_of(sequence);
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
  [[nodiscard]] const void* place_of(std::uint64_t sequence) const noexcept {
    return &words_[(sequence / kWordBits) & word_mask_];
  }
  // Bytes before the words.
  static constexpr std::size_t kHead = 16;

 private:
  static constexpr std::uint32_t kWordBits = 64;
  static constexpr std::uint32_t kMaxWords = 2 * kMaxPackets / kWordBits;

  void set_highest(std::uint64_t sequence) noexcept { highest_.store(sequence, std::memory_order_relaxed); }
  static std::uint64_t bit_of(std::uint64_t sequence) noexcept {
    return std::uint64_t{1} << (sequence % kWordBits);
  }
  [[nodiscard]] std::uint64_t word_of(std::uint64_t sequence) const noexcept {
    return words_[(sequence / kWordBits) & word_mask_];
  }

  // Clears the words that come into the ring between the old highest and the new (RFC 6479 section 2). The
  // ring has twice the window's words: a power of two, so that a mask finds the word, with the spare one
  // among them.
  void advance(std::uint64_t sequence) noexcept {
    const std::uint64_t from = highest() / kWordBits;
    const std::uint64_t words =
        std::min<std::uint64_t>(sequence / kWordBits - from, word_mask_ + std::uint64_t{1});
    for (std::uint64_t i = 1; i <= words; ++i) words_[(from + i) & word_mask_] = 0;
    set_highest(sequence);
  }

  std::atomic<std::uint64_t> highest_{0};  // the main thread reads it for the operator
  std::uint32_t packets_{0};
  std::uint32_t word_mask_{0};
  std::array<std::uint64_t, kMaxWords> words_{};
};

}  // namespace espgate::crypto
