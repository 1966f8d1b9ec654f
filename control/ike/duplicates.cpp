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
// What stays may not get all the child SAs that this one has: the peer refuses them, or forgets them.
constexpr auto kPatience = std::chrono::seconds(60);
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
  const TunnelId tunnel = first.install.tunnel;
  const TunnelState& state = core_.tunnel(tunnel);
  bool redundant = false;
  for (IkeSa* other : core_.tunnel(*tunnel_).sas) {
    if (other == this || other->state_ != State::established) continue;
    const bool stays = !yields_to(*other);
    if (!stays && other->children.empty()) continue;  // it is compared when it has one
    IkeSa& survivor = stays ? *this : *other;
    IkeSa& loser = stays ? *other : *this;
    redundant = redundant || (!stays && other->has_child_of(tunnel));
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
  if (retire_by_ == Time{}) retire_by_ = at + kPatience;
  redundant_.set(at, [this] { close_if_redundant(); });
}

// Only when what stays carries the traffic. If it has gone meanwhile, this one stays. While our own rekey of
// it is under way, the peer may already have the children elsewhere: the one that inherits is closed.
void IkeSa::close_if_redundant() {
  if (ike_offer_) return set_redundant(core_.now + kCloseSoon);
  const auto is_sent_on = [](const ChildSa* child) { return child->sending; };
  bool works = false, wait = false;
  for (const IkeSa* other : core_.tunnel(*tunnel_).sas) {
    if (other == this || other->state_ != State::established || !yields_to(*other)) continue;
    works = works || std::any_of(other->children.begin(), other->children.end(), is_sent_on);
    wait = wait || !other->children.empty();
  }
  if (works && (!carries_alone() || core_.now >= retire_by_)) return retire();
  if (wait) return set_redundant(core_.now + kCloseSoon);
  retire_by_ = {};
}

// A tunnel of those that share it has no child SA to send on by an IKE SA that stays.
bool IkeSa::carries_alone() const {
  const auto stays = [this](const ChildSa* child) {
    const IkeSa& owner = *child->owner;
    return child->sending && &owner != this && owner.state_ == State::established && yields_to(owner);
  };
  return std::any_of(children.begin(), children.end(), [&](const ChildSa* mine) {
    const auto& all = core_.tunnel(mine->install.tunnel).children;
    return mine->sending && std::none_of(all.begin(), all.end(), stays);
  });
}

}  // namespace espgate::ike
