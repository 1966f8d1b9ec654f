// How long a tunnel that was lost stays out of its groups once it is alive again: the longer, the oftener it
// was lost lately.
#pragma once

#include <algorithm>
#include <cstdint>

namespace espgate::dataplane {

// Times in nanoseconds of a clock that never goes back.
class HoldDown {
 public:
  HoldDown() = default;
  // `initial`: after the first loss; 0: never. Doubled with each further loss, up to `maximum`. Who was alive
  // for `maximum` begins with `initial` again.
  HoldDown(std::uint64_t initial, std::uint64_t maximum) noexcept : initial_(initial), maximum_(maximum) {}

  // It was alive until now. Losses before `alive` was ever called do not count.
  void lost(std::uint64_t now) noexcept {
    if (!alive_) return;
    const bool again = wait_ != 0 && now - alive_since_ < maximum_;
    wait_ = again ? std::min(2 * wait_, maximum_) : initial_;
    alive_ = false;
  }
  void alive(std::uint64_t now) noexcept {
    if (alive_) return;
    alive_ = true;
    alive_since_ = now;
  }
  // While it is alive: it may be used from then on.
  [[nodiscard]] std::uint64_t usable_at() const noexcept { return alive_since_ + wait_; }
  [[nodiscard]] std::uint64_t wait() const noexcept { return wait_; }

 private:
  std::uint64_t initial_{0};
  std::uint64_t maximum_{0};
  std::uint64_t wait_{0};
  std::uint64_t alive_since_{0};
  bool alive_{false};
};

}  // namespace espgate::dataplane
