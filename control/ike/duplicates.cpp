// Two IKE SAs for one tunnel: both peers began at the same time, or one began anew and forgot to say so. Both
// sides come to the same choice without a word about it: one that was begun well after the other was up stays
// (who began it does not know the other any more: it was restarted); of those that one side began the newer;
// else the one with the greater initiator's SPI. Who began the one that stays closes the other, when its own
// works both ways; so no packet is lost. A peer that leaves the other open is helped after a minute.
#include "control/ike/sa.hpp"

namespace espgate::ike {
namespace {

constexpr auto kCloseSoon = std::chrono::seconds(1);
constexpr auto kCloseForPeer = std::chrono::seconds(60);
constexpr auto kSameTime = std::chrono::seconds(3);  // some retransmissions

}  // namespace

bool IkeSa::yields_to(const IkeSa& other) const {
  if (other.created_ > established_ + kSameTime) return true;
  if (created_ > other.established_ + kSameTime) return false;
  if (role_ == other.role_ && established_ != other.established_) return established_ < other.established_;
  return spi_initiator_ < other.spi_initiator_;
}

// This IKE SA is new, and so is its first child, not yet sent on.
void IkeSa::settle(ChildSa& first) {
  const TunnelState& state = core_.tunnel(*tunnel_);
  bool redundant = false;
  for (IkeSa* other : state.sas) {
    if (other == this || other->state_ != State::established || other->children.empty()) continue;
    const bool stays = !yields_to(*other);
    IkeSa& survivor = stays ? *this : *other;
    IkeSa& loser = stays ? *other : *this;
    redundant = redundant || !stays;
    const auto wait = survivor.role_ == Role::initiator ? kCloseSoon : kCloseForPeer;
    const std::uint64_t spi = survivor.our_spi();
    loser.redundant_.set(core_.now + wait, [&loser, spi] { loser.close_if_redundant(spi); });
  }
  if (redundant) return;  // the other's child goes on carrying the traffic; this one would step in for it
  const bool in_use = state.sending != nullptr || !state.initial_contact;
  if (role_ == Role::responder && in_use) return core_.send_later(first);
  core_.start_sending(first);
}

void IkeSa::close_if_redundant(std::uint64_t survivor_spi) {
  const IkeSa* survivor = core_.find_sa(survivor_spi);
  if (survivor == nullptr || survivor->state_ != State::established) return;
  for (const ChildSa* child : survivor->children)
    if (child->sending) return retire();
}

}  // namespace espgate::ike
