// When something that was refused is offered again: after a second, then after twice as long, and so on.
#pragma once

#include <algorithm>
#include <cstdint>

namespace espgate::dataplane {

class BackOff {
 public:
  static constexpr std::uint64_t kFirst = 1'000'000'000;  // ns
  static constexpr std::uint64_t kLast = 60'000'000'000;  // ns

  [[nodiscard]] bool is_due(std::uint64_t now) const noexcept { return now >= due_ns_; }
  void postpone(std::uint64_t now) noexcept {
    due_ns_ = now + pause_;
    pause_ = std::min(2 * pause_, kLast);
  }
  // The next refusal is a first one again.
  void shorten() noexcept { pause_ = kFirst; }
  // And the next offer is due.
  void forget() noexcept { *this = BackOff{}; }

 private:
  std::uint64_t due_ns_{0};
  std::uint64_t pause_{kFirst};
};

}  // namespace espgate::dataplane
