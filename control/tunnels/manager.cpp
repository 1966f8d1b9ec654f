#include "control/tunnels/manager.hpp"

#include <algorithm>
#include <utility>

namespace espgate::control {

using namespace std::chrono_literals;
using ike::Failure;
using ike::Reason;

const char* name_of(TunnelState state) noexcept {
  switch (state) {
    case TunnelState::down:
      return "down";
    case TunnelState::connecting:
      return "connecting";
    case TunnelState::up:
      return "up";
  }
  return "down";
}

namespace {

// Trying again soon will fail in the same way.
bool needs_operator(Failure failure) noexcept {
  switch (failure) {
    case Failure::no_ike_proposal:
    case Failure::no_esp_proposal:
    case Failure::no_additional_child:
    case Failure::authentication_failed:
    case Failure::peer_identity:
    case Failure::no_ppk_here:
    case Failure::no_ppk_there:
    case Failure::ppk_unknown:
    case Failure::ppk_not_valid:
    case Failure::ppk_differs:
    case Failure::ts_unacceptable:
    case Failure::mode:
    case Failure::invalid_ke:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::chrono::milliseconds BackOff::next(Failure failure, std::mt19937_64& random) {
  constexpr std::chrono::milliseconds kLongest = 60s;
  const std::chrono::milliseconds first = needs_operator(failure) ? 10s : 1s;
  const auto wait = std::min(kLongest, first * (1 << std::min(tries_, 6U)));
  ++tries_;
  std::uniform_real_distribution<double> jitter(0.8, 1.2);
  return std::chrono::milliseconds(
      static_cast<std::int64_t>(static_cast<double>(wait.count()) * jitter(random)));
}

Manager::Manager(const std::vector<conf::Tunnel>& tunnels, Initiator& initiator, std::uint64_t seed, Time now)
    : tunnels_(tunnels), initiator_(initiator), random_(seed), entries_(tunnels.size()) {
  for (Entry& entry : entries_) entry.status.since = now;
}

bool Manager::can_begin(TunnelId tunnel) const {
  return !tunnels_[tunnel].manual && !tunnels_[tunnel].first_slot;  // a slot's peer begins
}

bool Manager::wanted(TunnelId tunnel) const {
  return running_ && can_begin(tunnel) &&
         (tunnels_[tunnel].start == conf::Start::initiate || entries_[tunnel].status.adopted);
}

void Manager::schedule(TunnelId tunnel, std::optional<Time> when) {
  Entry& entry = entries_[tunnel];
  if (entry.due) deadlines_.erase({*entry.due, tunnel});
  entry.due = when;
  if (when) deadlines_.emplace(*when, tunnel);
  entry.status.retry_at = entry.attempting ? std::nullopt : when;
}

// Recomputes what the operator sees; `since` moves only when the state does.
void Manager::show_state(TunnelId tunnel, Time now) {
  Entry& entry = entries_[tunnel];
  TunnelState state = TunnelState::down;
  if (entry.child_up || entry.status.adopted)
    state = TunnelState::up;
  else if (entry.attempting)
    state = TunnelState::connecting;
  if (state == entry.status.state) return;
  entry.status.state = state;
  entry.status.since = now;
}

void Manager::start(const std::vector<TunnelId>& adopted, Time now) {
  running_ = true;
  for (const TunnelId tunnel : adopted) entries_.at(tunnel).status.adopted = true;
  for (TunnelId tunnel = 0; tunnel < entries_.size(); ++tunnel) {
    if (wanted(tunnel) && !entries_[tunnel].child_up) schedule(tunnel, now);
    show_state(tunnel, now);
  }
}

void Manager::stop(Time now) {
  running_ = false;
  for (TunnelId tunnel = 0; tunnel < entries_.size(); ++tunnel) {
    attempt_over(entries_[tunnel]);
    entries_[tunnel].status.adopted = false;
    schedule(tunnel, std::nullopt);
    show_state(tunnel, now);
  }
}

void Manager::retry(TunnelId tunnel, Failure failure, Time now) {
  Entry& entry = entries_[tunnel];
  attempt_over(entry);
  if (entry.child_up || !wanted(tunnel))
    schedule(tunnel, std::nullopt);
  else
    schedule(tunnel, now + entry.back_off.next(failure, random_));
}

void Manager::tunnel_up(TunnelId tunnel, Time now) {
  Entry& entry = entries_.at(tunnel);
  entry.child_up = true;
  attempt_over(entry);
  entry.status.adopted = false;
  entry.status.attempts = 0;
  entry.status.last_error = {};
  schedule(tunnel, std::nullopt);
  // Also when adopted SAs carried it until now: its own history begins here.
  entry.status.state = TunnelState::up;
  entry.status.since = now;
}

void Manager::tunnel_down(TunnelId tunnel, const Reason& reason, Time now) {
  Entry& entry = entries_.at(tunnel);
  if (entry.child_up && now - entry.status.since >= kStable) entry.back_off.reset();
  entry.child_up = false;
  note_error(tunnel, reason, now);
  retry(tunnel, reason.failure, now);
  show_state(tunnel, now);
}

void Manager::attempt_failed(TunnelId tunnel, const Reason& reason, Time now) {
  Entry& entry = entries_.at(tunnel);
  ++entry.status.attempts;
  note_error(tunnel, reason, now);
  retry(tunnel, reason.failure, now);
  show_state(tunnel, now);
}

void Manager::peer_attempt_failed(TunnelId tunnel, const Reason& reason, Time now) {
  if (entries_.at(tunnel).status.state == TunnelState::up) return;
  ++entries_.at(tunnel).status.attempts;
  note_error(tunnel, reason, now);
}

void Manager::adoption_ended(TunnelId tunnel, Time now) {
  Entry& entry = entries_.at(tunnel);
  const bool was_wanted = wanted(tunnel);
  entry.status.adopted = false;
  if (was_wanted && !wanted(tunnel) && !entry.attempting) schedule(tunnel, std::nullopt);
  show_state(tunnel, now);
}

void Manager::note_error(TunnelId tunnel, const Reason& reason, Time now) {
  entries_.at(tunnel).status.last_error = reason;
  entries_.at(tunnel).status.last_error_at = now;
}

void Manager::reset(TunnelId tunnel, const Reason& reason, Time now) {
  initiator_.terminate(tunnel, reason);
  Entry& entry = entries_.at(tunnel);
  entry.back_off.reset();
  entry.status.adopted = false;
  entry.status.attempts = 0;
  attempt_over(entry);
  if (running_ && can_begin(tunnel)) schedule(tunnel, now);
  show_state(tunnel, now);
}

void Manager::begin_attempt(TunnelId tunnel, Time now) {
  Entry& entry = entries_[tunnel];
  attempt_over(entry);
  entry.attempting = true;
  entry.young = now;
  ++young_;
  begun_.emplace_back(now, tunnel);
  schedule(tunnel, now + kAttemptLimit);
  show_state(tunnel, now);
  initiator_.initiate(tunnel);
}

void Manager::attempt_over(Entry& entry) {
  entry.attempting = false;
  if (std::exchange(entry.young, std::nullopt)) --young_;
}

void Manager::age(Time now) {
  for (; !begun_.empty() && begun_.front().first + kYouth <= now; begun_.pop_front()) {
    Entry& entry = entries_[begun_.front().second];
    if (entry.young != begun_.front().first) continue;
    entry.young.reset();
    --young_;
  }
}

std::optional<Time> Manager::next_deadline() const {
  if (deadlines_.empty()) return std::nullopt;
  const Time due = deadlines_.begin()->first;
  return young_ < kYoung ? due : std::max(due, begun_.front().first + kYouth);
}

void Manager::advance(Time now) {
  age(now);
  for (unsigned begun = 0; begun < kPortion && young_ < kYoung; ++begun) {
    if (deadlines_.empty() || deadlines_.begin()->first > now) return;
    begin_attempt(deadlines_.begin()->second, now);
  }
}

}  // namespace espgate::control
