#include "control/tunnels/far_end.hpp"

#include <fmt/format.h>

#include <array>
#include <string_view>

namespace espgate::control {

namespace {

// RFC 5880 section 4.1, by number.
constexpr std::array<std::string_view, 9> kDiagnostics{
    "no reason given",
    "it had no packet from us for its detection time",
    "its echo function failed",
    "it heard from us that the session is down",
    "its forwarding plane was reset",
    "its path is down",
    "its concatenated path is down",
    "it was taken down by its operator",
    "its reverse concatenated path is down",
};

std::string_view diagnostic(std::uint8_t number) noexcept {
  return number < kDiagnostics.size() ? kDiagnostics[number] : "for a reason of its own";
}

}  // namespace

const char* bfd_state_name(std::uint8_t state) noexcept {
  static constexpr std::array<const char*, 4> kNames{"admin-down", "down", "init", "up"};
  return state < kNames.size() ? kNames[state] : "unknown";
}

std::string far_end_words(const channel::TunnelLiveness& heard) {
  using channel::LivenessReason;
  switch (heard.reason) {
    case LivenessReason::not_watched:
      return "not watched";
    case LivenessReason::up:
      return "it answers";
    case LivenessReason::no_sa:
      return "there is no SA to ask it through";
    case LivenessReason::bfd_waiting:
      return "BFD: the session is not up yet";
    case LivenessReason::bfd_no_packet:
      return fmt::format("BFD: no packet for {} ms", heard.milliseconds);
    case LivenessReason::bfd_peer_down:
      return fmt::format("BFD: the peer signalled down: {}", diagnostic(heard.bfd_remote_diagnostic));
    case LivenessReason::bfd_admin_down:
      return "BFD: the peer signalled administratively down, which says nothing of the path";
    case LivenessReason::probe_waiting:
      return "probe: no answer yet";
    case LivenessReason::probe_lost:
      return fmt::format("probe: no answer for {} ms", heard.milliseconds);
    case LivenessReason::held:
      return fmt::format("it is back, and held down for {} ms", heard.milliseconds);
  }
  return "unknown";
}

std::string unreachable_words(const channel::IkeUnreachable& said) {
  using channel::Unreachable;
  const std::string who = to_string(said.said_by), peer = to_string(said.remote);
  switch (said.what) {
    case Unreachable::port:
      return fmt::format("{} says that nobody listens on UDP port {} of {} (ICMP)", who, said.remote_port,
                         peer);
    case Unreachable::prohibited:
      return fmt::format("{} says that it lets no IKE through to {} (ICMP)", who, peer);
    case Unreachable::network:
    case Unreachable::host:
      break;
  }
  return fmt::format("{} says that it can't reach {} (ICMP)", who, peer);
}

}  // namespace espgate::control
