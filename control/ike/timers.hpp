// Deadlines in order. Setting, cancelling and finding the next one cost the logarithm of how many wait, so
// that ten thousand tunnels cost no more per event than ten.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>

namespace espgate::ike {

using Time = std::chrono::steady_clock::time_point;

class Timers {
 public:
  using Action = std::function<void()>;

  [[nodiscard]] std::optional<Time> next() const;
  // Takes out the first action that is due at `now`, or nullopt. Equal deadlines: in the order they were set.
  [[nodiscard]] std::optional<Action> take_due(Time now);

 private:
  friend class Timer;
  using Key = std::pair<Time, std::uint64_t>;
  std::map<Key, Action> waiting_;
  std::uint64_t serial_{0};
};

// One deadline, cancelled when it goes: an action may refer to the object that holds the timer.
class Timer {
 public:
  explicit Timer(Timers& timers) : timers_(&timers) {}
  ~Timer() { cancel(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  void set(Time deadline, Timers::Action action);  // replaces what was set before
  void cancel();
  [[nodiscard]] bool pending() const;

 private:
  Timers* timers_;
  Timers::Key key_{};
};

}  // namespace espgate::ike
