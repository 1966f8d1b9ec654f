// What a watched tunnel's sessions come to: may its groups use it, and what is said about that.
#include <algorithm>

#include "dataplane/liveness/liveness.hpp"

namespace espgate::dataplane {

using channel::LivenessReason;

namespace {

constexpr std::uint64_t kNsPerMs = 1'000'000;
constexpr std::uint64_t kUsPerMs = 1000;

bool is_alive(LivenessReason reason) noexcept {
  return reason == LivenessReason::up || reason == LivenessReason::bfd_admin_down;
}

}  // namespace

// A peer that has BFD administratively down says nothing of the path: until it says something else, the
// tunnel counts as if it had no BFD.
LivenessReason Liveness::bfd_complaint(const Watched& watched) noexcept {
  if (!watched.bfd || watched.bfd->state() == bfd::State::up) return LivenessReason::up;
  if (watched.excused) return LivenessReason::bfd_admin_down;
  if (watched.bfd->diagnostic() == bfd::Diagnostic::detection_time_expired)
    return LivenessReason::bfd_no_packet;
  const bool signalled = watched.bfd->diagnostic() == bfd::Diagnostic::neighbour_signalled_down;
  return signalled ? LivenessReason::bfd_peer_down : LivenessReason::bfd_waiting;
}

// What speaks against the tunnel, if anything does.
LivenessReason Liveness::complaint(const Watched& watched) const noexcept {
  if (!watched.has_sa) return LivenessReason::no_sa;
  const LivenessReason said = bfd_complaint(watched);
  if (!is_alive(said) || !watched.probe || watched.probe->alive(heard_until_)) return said;
  return watched.probe->heard() ? LivenessReason::probe_lost : LivenessReason::probe_waiting;
}

void Liveness::judge(Watched& watched, std::uint64_t now) {
  LivenessReason reason = complaint(watched);
  const bool alive = is_alive(reason);
  alive ? watched.hold.alive(now) : watched.hold.lost(now);
  const bool usable = alive && now >= watched.hold.usable_at();
  if (alive && !usable) reason = LivenessReason::held;
  changed_ = changed_ || usable != watched.up;
  watched.up = usable;
  tell(watched, reason, now);
}

// Milliseconds that belong to a reason.
std::uint32_t Liveness::span_of(const Watched& watched, LivenessReason reason, std::uint64_t now) noexcept {
  std::uint64_t span = 0;
  if (reason == LivenessReason::held) span = watched.hold.wait() / kNsPerMs;
  if (reason == LivenessReason::bfd_no_packet) span = watched.silence / kUsPerMs;
  if (reason == LivenessReason::probe_lost) span = watched.probe->silence(now) / kNsPerMs;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(span, UINT32_MAX));
}

// Only what is new; how long a silence was, when it was found out.
void Liveness::tell(Watched& watched, LivenessReason reason, std::uint64_t now) {
  channel::TunnelLiveness state{};
  state.tunnel = watched.tunnel;
  state.up = watched.up ? 1 : 0;
  state.reason = reason;
  if (watched.bfd) {
    state.bfd_state = static_cast<std::uint8_t>(watched.bfd->state());
    state.bfd_remote_state = static_cast<std::uint8_t>(watched.bfd->remote_state());
    state.bfd_remote_diagnostic = static_cast<std::uint8_t>(watched.bfd->remote_diagnostic());
  }
  state.milliseconds =
      reason == watched.told.reason ? watched.told.milliseconds : span_of(watched, reason, now);
  if (state == watched.told) return;
  watched.told = state;
  channel::Event event{};
  event.kind = channel::EventKind::tunnel_liveness;
  event.body.tunnel_liveness = state;
  control_.tell(event);
}

void Liveness::tell_all() {
  for (const auto& [tunnel, watched] : watched_) {
    channel::Event event{};
    event.kind = channel::EventKind::tunnel_liveness;
    event.body.tunnel_liveness = watched.told;
    control_.tell(event);
  }
}

}  // namespace espgate::dataplane
