// Two IKE SAs for one tunnel: both peers began at the same time, one began anew and forgot to say so, or one
// reauthenticates (reauth.cpp). Both
// sides come to the same choice without a word about it: one that was begun well after the other was up stays
// (who began it does not know the other any more: it was restarted); of those that one side began the newer;
// else the one with the greater initiator's SPI. Who began the one that stays closes the other, when its own
// works both ways; so no packet is lost. A peer that leaves the other open is helped after a minute.
#include <algorithm>

#include "control/ike/sa.hpp"

namespace espgate::ike {
namespace {

constexpr auto kCloseSoon = std::chrono::seconds(1);
constexpr auto kCloseForPeer = std::chrono::seconds(60);
constexpr auto kSameTime = std::chrono::seconds(3);  // some retransmissions

}  // namespace

// By what both sides know alike, and rekeys do not change.
bool IkeSa::yields_to(const IkeSa& other) const {
  const Origin& mine = origin_;
  const Origin& its = other.origin_;
  if (its.created > mine.established + kSameTime) return true;
  if (mine.created > its.established + kSameTime) return false;
  if (mine.role == its.role && mine.established != its.established) return mine.established < its.established;
  return mine.spi_initiator < its.spi_initiator;
}

// The first child of this IKE SA is new, and not yet sent on. `answered`: the peer asked for it, and it is
// not known yet whether it has our answer.
void IkeSa::settle(ChildSa& first, bool answered) {
  const TunnelState& state = core_.tunnel(*tunnel_);
  bool redundant = false;
  for (IkeSa* other : state.sas) {
    if (other == this || other->state_ != State::established) continue;
    const bool stays = !yields_to(*other);
    if (!stays && other->children.empty()) continue;  // it is compared when it has one
    IkeSa& survivor = stays ? *this : *other;
    IkeSa& loser = stays ? *other : *this;
    redundant = redundant || !stays;
    const auto wait = survivor.origin_.role == Role::initiator ? kCloseSoon : kCloseForPeer;
    const Time at = core_.now + wait;
    if (!loser.is_redundant() || at < loser.redundant_at_) loser.set_redundant(at);
  }
  if (redundant) return;  // the other's child goes on carrying the traffic; this one would step in for it
  const bool in_use = state.sending != nullptr || !state.initial_contact;
  if (answered && in_use) return core_.send_later(first);
  core_.start_sending(first);
}

void IkeSa::set_redundant(Time at) {
  redundant_at_ = at;
  redundant_.set(at, [this] { close_if_redundant(); });
}

// Only when what stays carries the traffic. If it has gone meanwhile, this one stays. While our own rekey of
// it is under way, the peer may already have the children elsewhere: the one that inherits is closed.
void IkeSa::close_if_redundant() {
  if (ike_offer_) return set_redundant(core_.now + kCloseSoon);
  const auto is_sent_on = [](const ChildSa* child) { return child->sending; };
  bool wait = false;
  for (const IkeSa* other : core_.tunnel(*tunnel_).sas) {
    if (other == this || other->state_ != State::established || !yields_to(*other)) continue;
    if (std::any_of(other->children.begin(), other->children.end(), is_sent_on)) return retire();
    wait = wait || !other->children.empty();
  }
  if (wait) set_redundant(core_.now + kCloseSoon);
}

}  // namespace espgate::ike
