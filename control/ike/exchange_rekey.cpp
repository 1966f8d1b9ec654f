// Rekeying the IKE SA itself (RFC 7296 sections 1.3.2, 2.8, 2.8.2, 2.18, 2.25.2). The new IKE SA inherits the
// children; who began the rekey deletes the old one.
#include <algorithm>

#include "control/ike/exchange.hpp"
#include "control/ike/sa.hpp"

namespace espgate::ike {
namespace {

constexpr auto kLeftover = std::chrono::seconds(60);  // how long the peer has for deleting what it should

std::uint64_t read_spi(const ByteVector& bytes) {
  std::uint64_t out = 0;
  for (const std::uint8_t byte : bytes) out = out << 8 | byte;
  return out;
}

}  // namespace

void IkeSa::arm_lifetime() {
  const auto lifetime = config().ike_lifetime;
  if (lifetime.count() == 0) return;
  rekey_at_ = core_.now + core_.rekey_after(lifetime);
  expires_at_ = core_.now + lifetime;
  rekey_.set(rekey_at_, [this] { rekey_ike(); });
  expire_.set(expires_at_, [this] { lifetime_over(); });
}

bool IkeSa::is_rekeying() const {
  const auto is_rekey = [](const Task& t) { return t.kind == Task::Kind::rekey_ike; };
  return ike_offer_ || std::any_of(tasks_.begin(), tasks_.end(), is_rekey);
}

void IkeSa::lifetime_over() {
  if (is_rekeying() && core_.now < expires_at_ + kOvertime)
    return expire_.set(core_.now + kOvertimeStep, [this] { lifetime_over(); });
  delete_ike({Failure::lifetime, "the IKE SA's lifetime ended before it could be rekeyed"});
}

// ---- ours

void IkeSa::rekey_ike() {
  if (state_ != State::established || is_rekeying()) return;
  if (is_redundant()) return retry_ike_rekey(kRetry);
  enqueue({Task::Kind::rekey_ike, 0, {}, {}, 0});
  next_task();
}

void IkeSa::retry_ike_rekey(std::chrono::milliseconds after) {
  rekey_.set(core_.now + core_.retry_after(after, expires_at_), [this] { rekey_ike(); });
}

bool IkeSa::begin_ike_rekey(const Task& task) {
  ike_offer_ = std::make_unique<IkeOffer>();
  IkeOffer& offer = *ike_offer_;
  offer.spi = core_.fresh_ike_spi();
  offer.nonce = fresh_nonce();
  offer.offer = offer_ike(config().ike_proposals, spi_bytes(offer.spi));
  offer.dh = crypto::DhKey::generate(task.group != crypto::DhGroup::none ? task.group : algorithms_.group);
  send_request(task, Exchange::create_child_sa,
               {offer.offer, NoncePayload{offer.nonce}, ke_payload(*offer.dh)});
  return true;
}

void IkeSa::ike_rekey_response(const Request& request, const Payloads& payloads) {
  const std::unique_ptr<IkeOffer> offer = std::move(ike_offer_);
  const bool deleting = state_ == State::deleting;
  if (const NotifyPayload* error = find_error(payloads))
    return deleting ? void() : ike_rekey_error(request, *error, *offer);
  const auto* sa = find<SaPayload>(payloads);
  const auto* ke = find<KePayload>(payloads);
  const auto* nonce = find<NoncePayload>(payloads);
  const auto choice = sa != nullptr ? accept_ike(*sa, offer->offer) : std::nullopt;
  const bool fits = choice && ke != nullptr && nonce != nullptr &&
                    choice->algorithms.group == offer->dh->group() &&
                    ke->group == static_cast<std::uint16_t>(offer->dh->group());
  const auto secret = fits ? offer->dh->shared_secret(ke->data) : std::nullopt;
  if (!secret)  // the peer has moved on to an IKE SA that we can't have
    return delete_ike(
        {Failure::protocol_error, "the peer's answer to the IKE SA's rekey does not fit our offer"});

  const SpiPair spis{offer->spi, read_spi(choice->peer_spi)};
  IkeSa& heir = successor(Role::initiator, spis, *choice,
                          derive_ike_keys(choice->algorithms, secret->view(), {offer->nonce, nonce->data},
                                          spis, RekeyedFrom{keys_.sk_d.view(), algorithms_.prf}));
  // The peer's children have moved to the new one: it goes as this one does.
  if (deleting) return heir.delete_ike({Failure::replaced, "closed while it was rekeyed"});
  const ByteVector lower = lower_nonce(offer->nonce, nonce->data);
  IkeSa* rival = rival_of(*offer);
  if (rival != nullptr &&
      lower < offer->rival_nonce) {  // section 2.8.2: who made the lowest nonce's SA deletes it
    log("both sides rekeyed the IKE SA; the peer's new one stays");
    heir.delete_ike({Failure::replaced, "redundant after both sides rekeyed"});
    return hand_over_to(*rival);
  }
  log(rival != nullptr ? "both sides rekeyed the IKE SA; ours stays" : "IKE SA with " + peer() + " rekeyed");
  hand_over_to(heir);
  delete_ike({Failure::replaced, "rekeyed"});
  heir.next_task();
  if (rival != nullptr) {
    rival->state_ = State::rekeyed;
    rival->redundant_.set(core_.now + kLeftover, [rival] { rival->close({Failure::replaced, "redundant"}); });
  }
}

// What the peer's rekey of the same IKE SA made, unless it was closed meanwhile: then nothing is inherited by
// it.
IkeSa* IkeSa::rival_of(const IkeOffer& offer) const {
  IkeSa* rival = core_.find_sa(offer.rival_spi);
  return rival != nullptr && rival->state_ == State::established ? rival : nullptr;
}

void IkeSa::ike_rekey_error(const Request& request, const NotifyPayload& error, const IkeOffer& offer) {
  if (IkeSa* rival = rival_of(offer)) {  // section 2.8.2: the peer was done before it saw ours
    hand_over_to(*rival);
    return rival->next_task();
  }
  const crypto::DhGroup group = asked_group(error);
  if (error.type == NotifyType::invalid_ke_payload && request.task.attempts < kMaxGroupAnswers &&
      offers(config().ike_proposals, group))
    return tasks_.push_front({Task::Kind::rekey_ike, 0, {}, group, request.task.attempts + 1});
  if (error.type == NotifyType::temporary_failure) {
    temporary_failure(expires_at_);
    return state_ == State::established ? retry_ike_rekey(kTemporaryRetry) : void();
  }
  core_.host.rekey_failed(
      *tunnel_, {Failure::ike_rekey, "the IKE SA could not be rekeyed: we offered " + describe(offer.offer) +
                                         ", and the peer answered " + name_of(error.type)});
  retry_ike_rekey(kRetry);
  renew_before(expires_at_);
}

// ---- the peer's

Payloads IkeSa::answer_ike_rekey(const Payloads& payloads, const SaPayload& offered, Bytes peer_nonce) {
  using Kind = Task::Kind;
  const bool child_busy =
      request_ && (request_->task.kind == Kind::create_child || request_->task.kind == Kind::rekey_child ||
                   request_->task.kind == Kind::delete_child);
  if (child_busy) return {plain_notify(NotifyType::temporary_failure)};  // section 2.25.2
  const auto* ke = find<KePayload>(payloads);
  if (ke == nullptr) return {plain_notify(NotifyType::invalid_syntax)};
  const std::uint64_t spi = core_.fresh_ike_spi();
  const auto choice = choose_ike(offered, config().ike_proposals, spi_bytes(spi));
  if (!choice) {
    const SaPayload ours = offer_ike(config().ike_proposals, {});
    core_.host.rekey_failed(*tunnel_,
                            {Failure::no_ike_proposal,
                             "the peer's rekey of the IKE SA is refused: " + mismatch_words(offered, ours)});
    return {plain_notify(NotifyType::no_proposal_chosen)};
  }
  const crypto::DhGroup group = choice->algorithms.group;
  if (ke->group != static_cast<std::uint16_t>(group))
    return {plain_notify(NotifyType::invalid_ke_payload, group_data(group))};
  const auto dh = crypto::DhKey::generate(choice->algorithms.group);
  const auto secret = dh->shared_secret(ke->data);
  if (!secret) return {plain_notify(NotifyType::invalid_syntax)};

  const ByteVector our_nonce = fresh_nonce();
  const SpiPair spis{read_spi(choice->peer_spi), spi};
  IkeSa& heir = successor(Role::responder, spis, *choice,
                          derive_ike_keys(choice->algorithms, secret->view(), {peer_nonce, our_nonce}, spis,
                                          RekeyedFrom{keys_.sk_d.view(), algorithms_.prf}));
  if (ike_offer_) {  // section 2.8.2: who inherits is known when our own request is answered
    ike_offer_->rival_nonce = lower_nonce(peer_nonce, our_nonce);
    ike_offer_->rival_spi = spi;
    heir.rival_to_ = our_spi();
  } else {
    log("IKE SA with " + peer() + " rekeyed by the peer");
    hand_over_to(heir);
    wake_after_answer_ = spi;
  }
  return {choice->answer, NoncePayload{our_nonce}, ke_payload(*dh)};
}

// Both sides rekeyed, and we still wait for the answer to ours: a peer that goes on over this one has both
// nonces, and knows that this one stays.
void IkeSa::chosen_by_peer(const Payloads& request) {
  IkeSa* old = core_.find_sa(rival_to_);
  const bool undecided = old != nullptr && old->state_ == State::established && old->ike_offer_ &&
                         old->ike_offer_->rival_spi == our_spi();
  const auto* deletes = find<DeletePayload>(request);
  if (!undecided || (deletes != nullptr && deletes->protocol == Protocol::ike)) return;
  log("both sides rekeyed the IKE SA; the peer goes on over its new one");
  old->hand_over_to(*this);
  wake_after_answer_ = our_spi();
}

// ---- both

IkeSa& IkeSa::successor(Role role, SpiPair spis, const IkeChoice& choice, IkeKeys keys) {
  const std::uint64_t ours = role == Role::initiator ? spis.initiator : spis.responder;
  IkeSa& heir = core_.adopt(std::make_unique<IkeSa>(core_, role, ours, local_, remote_));
  heir.spi_initiator_ = spis.initiator;
  heir.spi_responder_ = spis.responder;
  heir.tunnel_ = tunnel_;
  heir.nat_ = nat_;
  heir.peer_fragments_ = peer_fragments_;
  heir.peer_childless_ = peer_childless_;
  heir.software_ = software_;
  heir.set_keys(choice.algorithms, std::move(keys));
  heir.keys_.sk_pi = crypto::SecretBytes{};
  heir.keys_.sk_pr = crypto::SecretBytes{};
  heir.state_ = State::established;
  heir.established_ = core_.now;
  core_.join_tunnel(heir, *tunnel_);
  heir.arm_lifetime();
  heir.origin_ = origin_;
  heir.reauth_end_ = reauth_end_;
  if (reauth_.pending()) heir.set_reauth(reauth_at_);
  heir.retire_by_ = retire_by_;
  if (is_redundant()) heir.set_redundant(redundant_at_);
  heir.arm_dpd();
  return heir;
}

void IkeSa::hand_over_to(IkeSa& heir) {
  using Kind = Task::Kind;
  core_.move_children(*this, heir);
  for (const Task& task : tasks_) {
    if (task.kind == Kind::create_child || task.kind == Kind::rekey_child || task.kind == Kind::delete_child)
      heir.tasks_.push_back(task);
  }
  tasks_.clear();
  state_ = State::rekeyed;
  for (Timer* timer : {&rekey_, &expire_, &dpd_, &reauth_}) timer->cancel();
  redundant_.set(core_.now + kLeftover, [this] { delete_ike({Failure::replaced, "rekeyed"}); });
}

}  // namespace espgate::ike
