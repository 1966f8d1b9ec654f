// Reauthentication (RFC 7296 section 2.8.3), make-before-break: a new IKE SA with a child of its own is set
// up beside the old one, as if both peers had begun at once. What becomes of the two is no different either
// (duplicates.cpp): the new one stays, and who began it closes the old one when the new one works.
#include <algorithm>

#include "control/ike/exchange.hpp"
#include "control/ike/sa.hpp"

namespace espgate::ike {
// Whoever it was that authenticated, from now on it counts for so long.
void IkeSa::arm_reauth() {
  const auto limit = config().ike_reauth;
  if (limit.count() == 0) return;
  reauth_end_ = core_.now + limit;
  set_reauth(core_.is_slot(*tunnel_) ? reauth_end_ : core_.now + core_.rekey_after(limit));
}

// A template's peer is where it is, and behind what it is: it comes itself, if it knows when (RFC 4478).
void IkeSa::tell_lifetime(Payloads& to) const {
  const auto limit = config().ike_reauth;
  if (limit.count() == 0 || !core_.is_slot(*tunnel_)) return;
  const auto seconds =
      static_cast<std::uint32_t>(std::max<std::int64_t>(1, limit.count() - limit.count() / 10));
  to.emplace_back(
      plain_notify(NotifyType::auth_lifetime,
                   {static_cast<std::uint8_t>(seconds >> 24), static_cast<std::uint8_t>(seconds >> 16),
                    static_cast<std::uint8_t>(seconds >> 8), static_cast<std::uint8_t>(seconds)}));
}

void IkeSa::set_reauth(Time at) {
  reauth_at_ = at;
  reauth_.set(at, [this] { reauthenticate(); });
}

// Tried again until this IKE SA is gone.
void IkeSa::reauthenticate() {
  if (state_ != State::established) return;
  const bool limited = reauth_end_ != Time{};
  if (limited && core_.now >= reauth_end_)
    return delete_ike({Failure::lifetime,
                       "the peer was to authenticate anew (reauth), and that did not come about in time"});
  const auto& sas = core_.tunnel(*tunnel_).sas;
  const bool attempted =
      std::any_of(sas.begin(), sas.end(), [](const IkeSa* sa) { return sa->is_attempt(); });
  if (!attempted && !is_redundant() && !core_.is_slot(*tunnel_)) {
    log("authentication is renewed");
    attempt(core_, *tunnel_);
  }
  if (limited) set_reauth(std::min(core_.now + core_.jitter(kRetry, kRetry), reauth_end_));
}

}  // namespace espgate::ike
