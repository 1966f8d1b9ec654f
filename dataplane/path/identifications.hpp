// What tells the fragments of one IPv6 packet from those of another (RFC 8200 section 4.5).
#pragma once

#include <array>
#include <cstdint>

#include "channel/counters.hpp"

namespace espgate::dataplane {

// Whoever makes fragments has one of these, of the same `secret` and with a place of its own, and needs no
// lock: of all places together no number comes twice before one of them has used 2^27, so no two packets to
// one peer share theirs while they may still be on their way. Who has seen some can't tell which come next
// (RFC 7739 section 3): they are a keyed permutation of a count, by a Feistel network of four rounds.
class Identifications {
 public:
  static constexpr std::uint32_t kPlaces = 32;
  static constexpr std::uint32_t kMainThread = channel::kMaxWorkers;  // the place behind those of the workers
  static_assert(kMainThread < kPlaces);

  Identifications() noexcept : Identifications(0, 0) {}
  // `place`: of a worker, its index.
  Identifications(std::uint64_t secret, std::uint32_t place) noexcept : next_(place) {
    for (Round& round : rounds_) round = {mixed(secret += kStep) | 1, mixed(secret += kStep)};
  }

  [[nodiscard]] std::uint32_t next() noexcept {
    const std::uint32_t number = next_;
    next_ += kPlaces;
    return permuted(number);
  }

 private:
  static constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15ULL;
  struct Round {
    std::uint64_t factor, summand;
  };

  // Spreads each bit over all: what follows from the secret is as good as independent.
  static constexpr std::uint64_t mixed(std::uint64_t word) noexcept {
    word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9ULL;
    word = (word ^ word >> 27) * 0x94d049bb133111ebULL;
    return word ^ word >> 31;
  }
  [[nodiscard]] std::uint32_t permuted(std::uint32_t number) const noexcept {
    std::uint32_t left = number >> 16;
    std::uint32_t right = number & 0xffff;
    for (const Round& round : rounds_) {
      const std::uint64_t key = mixed(right * round.factor + round.summand);
      const std::uint32_t other = left ^ static_cast<std::uint32_t>(key >> 48);
      left = right;
      right = other;
    }
    return left << 16 | right;
  }

  std::array<Round, 4> rounds_;
  std::uint32_t next_;
};

}  // namespace espgate::dataplane
