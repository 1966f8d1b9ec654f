#include "dataplane/liveness/probe.hpp"

namespace espgate::dataplane {

std::uint16_t Probe::next(std::uint64_t now) noexcept {
  const std::uint16_t number = next_++;
  sent_at_[number % kRemembered] = now;
  if (unanswered_since_ == kNever) unanswered_since_ = now;
  due_ = now + pace();
  return number;
}

// A late answer counts: what matters is that somebody is there. Those before it are no longer waited for.
bool Probe::answered(std::uint16_t number) noexcept {
  const auto ahead = static_cast<std::uint16_t>(number - answered_);
  const auto waiting = static_cast<std::uint16_t>(next_ - 1 - answered_);
  const auto behind = static_cast<std::uint16_t>(next_ - 1 - number);
  if (ahead == 0 || ahead > waiting || behind >= kRemembered) return false;
  answered_ = number;
  const auto following = static_cast<std::uint16_t>(number + 1);
  unanswered_since_ = following == next_ ? kNever : sent_at_[following % kRemembered];
  heard_ = true;
  if (doubtful_) due_ = sent_at_[static_cast<std::uint16_t>(next_ - 1) % kRemembered] + interval_;
  doubtful_ = false;
  return true;
}

void Probe::doubt(std::uint64_t now) noexcept {
  if (doubtful_ || !heard_) return;
  doubtful_ = true;
  // Requests that were sent at leisure are not held against it: from now on it has its time.
  if (interval_ <= kDoubtful) return;
  answered_ = static_cast<std::uint16_t>(next_ - 1);
  unanswered_since_ = kNever;
  due_ = now;
}

void Probe::start_over(std::uint64_t now) noexcept {
  answered_ = static_cast<std::uint16_t>(next_ - 1);
  unanswered_since_ = kNever;
  due_ = now;
  heard_ = doubtful_ = false;
}

}  // namespace espgate::dataplane
