// The child SA that is made in IKE_AUTH, both sides; or that is not, in a childless set-up (RFC 6023), where
// an exchange of its own follows.
#include <algorithm>
#include <utility>

#include "control/ike/exchange.hpp"
#include "control/ike/sa.hpp"

namespace espgate::ike {
namespace {

constexpr auto kVerifyAfter = std::chrono::milliseconds(2000);
constexpr auto kOthersAfter = std::chrono::milliseconds(2000);

}  // namespace

// ---- initiator

bool IkeSa::begins_childless() const {
  const auto wanted = config().childless;
  return peer_childless_ && (wanted == conf::Childless::prefer || wanted == conf::Childless::require);
}

// False: there is no room for it.
bool IkeSa::offer_first_child(Payloads& payloads) {
  if (begins_childless()) return true;
  const std::uint32_t spi = core_.host.allocate_spi(*tunnel_);
  if (spi == 0) return false;
  child_offer_ = make_offer(*tunnel_, spi, false);
  if (child_offer_->transport) payloads.emplace_back(plain_notify(NotifyType::use_transport_mode));
  payloads.emplace_back(child_offer_->offer);
  payloads.emplace_back(TsPayload{true, child_offer_->local});
  payloads.emplace_back(TsPayload{false, child_offer_->remote});
  return true;
}

void IkeSa::first_child_answered(const Payloads& payloads) {
  const std::unique_ptr<ChildOffer> offer = std::move(child_offer_);
  const ByteVector ours = std::exchange(nonce_, {});
  const ByteVector theirs = std::exchange(peer_nonce_, {});
  if (!offer) {
    create_child(*tunnel_);
    return create_other_children();
  }
  const auto outcome = install_answer(payloads, {ours, theirs}, *offer);
  if (const auto* reason = std::get_if<Reason>(&outcome)) {
    release_offer(*offer, payloads);
    log("the IKE SA is up, without a child SA");
    core_.host.attempt_failed(*tunnel_, *reason);
  } else {
    ChildSa& child = *std::get<ChildSa*>(outcome);
    settle(child, false);
    verify(child);
  }
  create_other_children();
}

// ---- responder

// All that a child SA takes, or nothing of it.
bool IkeSa::child_payloads_whole(const Payloads& payloads) {
  const int there = (find<SaPayload>(payloads) != nullptr ? 1 : 0) +
                    (find_ts(payloads, true) != nullptr ? 1 : 0) +
                    (find_ts(payloads, false) != nullptr ? 1 : 0);
  return there == 0 || there == 3;
}

void IkeSa::answer_first_child(const Payloads& payloads, Payloads& answer) {
  const ByteVector ours = std::exchange(nonce_, {});
  const ByteVector theirs = std::exchange(peer_nonce_, {});
  const auto* sa = find<SaPayload>(payloads);
  // Who began the IKE SA makes the others as well, as a rule: what it leaves out comes later.
  if (!core_.tunnel(*tunnel_).siblings.empty())
    life_.set(core_.now + core_.jitter(kOthersAfter, kOthersAfter), [this] { create_other_children(); });
  if (sa == nullptr) return log("the IKE SA is up, without a child SA, as the peer asked");
  const bool transport = find_notify(payloads, NotifyType::use_transport_mode) != nullptr;
  const TsPayload& tsi = *find_ts(payloads, true);
  const TsPayload& tsr = *find_ts(payloads, false);
  const TunnelId tunnel = tunnel_for(tsi, tsr);
  ChildAnswer child = answer_child({tunnel,
                                    sa,
                                    &tsi,
                                    &tsr,
                                    {theirs, ours},
                                    nullptr,
                                    false,
                                    transport,
                                    accepts_padding(tunnel, payloads),
                                    false},
                                   {});
  answer.insert(answer.end(), child.payloads.begin(), child.payloads.end());
  if (child.refused) {
    log("the IKE SA is up, without a child SA");
    return core_.host.attempt_failed(tunnel, *child.refused);
  }
  settle(*child.child, true);
  verify(*child.child);
}

// ---- both

// Of the other tunnels that share the IKE SA: those that waited for it, and those that are carried by another
// one, whose place this one is to take. Where it is to go itself, the one that stays makes what was waited
// for.
void IkeSa::create_other_children() {
  if (state_ != State::established) return;
  IkeSa* maker = this;
  for (IkeSa* other : core_.tunnel(*tunnel_).sas)
    if (maker->is_redundant() && other->state_ == State::established) maker = other;
  core_.for_each_sharing(*tunnel_, [&](TunnelId id) {
    TunnelState& state = core_.tunnel(id);
    const auto elsewhere = [this](const ChildSa* child) { return child->owner != this; };
    const bool inherits = id != *tunnel_ && role_ == Role::initiator && maker == this &&
                          std::any_of(state.children.begin(), state.children.end(), elsewhere);
    const bool awaited = std::exchange(state.awaits_ike, false);
    if ((awaited || inherits) && !maker->has_child_of(id)) maker->create_child(id);
  });
}

// This child has no key exchange of its own: that one fits both sides is known when it was rekeyed.
void IkeSa::verify(ChildSa& first) {
  if (!config().verify_rekey) return;
  first.verifying = true;
  first.rekey.set(core_.now + core_.jitter(kVerifyAfter, kVerifyAfter),
                  [&first] { first.owner->rekey_child(first); });
}

}  // namespace espgate::ike
