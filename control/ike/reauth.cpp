// Reauthentication (RFC 7296 section 2.8.3), make-before-break: a new IKE SA with a child of its own is set
// up beside the old one, as if both peers had begun at once. What becomes of the two is no different either
// (duplicates.cpp): the new one stays, and who began it closes the old one when the new one works.
#include <algorithm>

#include "control/ike/cursor.hpp"
#include "control/ike/exchange.hpp"
#include "control/ike/sa.hpp"

namespace espgate::ike {
namespace {

constexpr std::chrono::seconds kLeastTold{5};  // as of ours; whoever means less would keep us busy

}  // namespace

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

// For how long ours counts with a peer that answered us (RFC 4478 section 3), which it may say again later.
void IkeSa::follow_lifetime(const NotifyPayload& told) {
  if (origin_.role != Role::initiator || told.data.size() != 4) return;
  const std::chrono::seconds limit = std::max(kLeastTold, std::chrono::seconds(Cursor(told.data).u32()));
  const Time at = core_.now + core_.rekey_after(limit);
  if (reauth_.pending() && reauth_at_ <= at) return;
  log("our authentication counts with the peer for " + std::to_string(limit.count()) + " s (AUTH_LIFETIME)");
  set_reauth(at);
}

void IkeSa::set_reauth(Time at) {
  reauth_at_ = at;
  reauth_.set(at, [this] { reauthenticate(); });
}

// Tried again until this IKE SA is gone, which the peer sees to whose limit it is.
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
  if (reauth_at_ == Time{}) return;  // asked for, once
  const Time next = core_.now + core_.jitter(kRetry, kRetry);
  set_reauth(limited ? std::min(next, reauth_end_) : next);
}

// What can't be rekeyed ends then, unless another IKE SA has taken the place of this one. It has as long for
// that as a request is sent again and again.
void IkeSa::renew_before(Time end) {
  if (end != Time{} && core_.now + kOvertime > end) reauthenticate();
}

}  // namespace espgate::ike
