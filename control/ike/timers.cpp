#include "control/ike/timers.hpp"

namespace espgate::ike {

std::optional<Time> Timers::next() const {
  if (waiting_.empty()) return std::nullopt;
  return waiting_.begin()->first.first;
}

std::optional<Timers::Action> Timers::take_due(Time now) {
  if (waiting_.empty() || waiting_.begin()->first.first > now) return std::nullopt;
  auto node = waiting_.extract(waiting_.begin());
  return std::move(node.mapped());
}

void Timer::set(Time deadline, Timers::Action action) {
  cancel();
  key_ = {deadline, ++timers_->serial_};
  timers_->waiting_.emplace(key_, std::move(action));
}

void Timer::cancel() { timers_->waiting_.erase(key_); }

bool Timer::pending() const { return timers_->waiting_.contains(key_); }

}  // namespace espgate::ike
