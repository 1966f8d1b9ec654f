// Requests at intervals and their answers, by number: whether somebody still answers. Knows no packets.
#pragma once

#include <array>
#include <cstdint>

namespace espgate::dataplane {

// `now`: nanoseconds of a clock that never goes back. The caller sends when `due`, and asks `alive` after
// that and after each answer.
class Probe {
 public:
  static constexpr std::uint64_t kNever = ~std::uint64_t{0};
  // While traffic gives reason to doubt, requests come as often as this at least, nanoseconds.
  static constexpr std::uint64_t kDoubtful = 200'000'000;

  Probe() = default;
  // `interval`: nanoseconds. `losses`: so many requests in a row that were not answered within an interval.
  Probe(std::uint64_t interval, unsigned losses) noexcept : interval_(interval), losses_(losses) {}

  // The number of the request that is to be sent now.
  [[nodiscard]] std::uint16_t next(std::uint64_t now) noexcept;
  [[nodiscard]] std::uint64_t due() const noexcept { return due_; }
  // An answer came. False: to none of the requests that are waited for.
  bool answered(std::uint16_t number) noexcept;
  // Somebody sends into the tunnel and nothing comes back: asks at once, and oftener until there is an
  // answer.
  void doubt(std::uint64_t now) noexcept;
  // The way is new, or gone: nothing is known, and nothing waited for.
  void start_over(std::uint64_t now) noexcept;

  // At a time at which it is due, what was asked until then has had its time.
  [[nodiscard]] bool alive(std::uint64_t now) const noexcept { return heard_ && now < lost_at(); }
  // When who answered so far is no longer alive unless an answer comes; kNever: nothing is waited for.
  [[nodiscard]] std::uint64_t lost_at() const noexcept {
    return unanswered_since_ == kNever ? kNever : unanswered_since_ + losses_ * pace();
  }
  // Has there been any answer since it started over?
  [[nodiscard]] bool heard() const noexcept { return heard_; }
  // Nanoseconds since the first request that was not answered was sent.
  [[nodiscard]] std::uint64_t silence(std::uint64_t now) const noexcept {
    return unanswered_since_ == kNever ? 0 : now - unanswered_since_;
  }

 private:
  static constexpr std::size_t kRemembered = 64;
  [[nodiscard]] std::uint64_t pace() const noexcept {
    return doubtful_ && kDoubtful < interval_ ? kDoubtful : interval_;
  }

  std::uint64_t interval_{0};
  std::uint64_t losses_{1};
  std::array<std::uint64_t, kRemembered> sent_at_{};  // by number
  std::uint16_t next_{0};
  std::uint16_t answered_{0xffff};  // the newest that was
  std::uint64_t unanswered_since_{kNever};
  std::uint64_t due_{0};
  bool heard_{false};
  bool doubtful_{false};
};

}  // namespace espgate::dataplane
