// Child SAs that we ask for, in IKE_AUTH and CREATE_CHILD_SA, and rekey (RFC 7296
// sections 1.3, 2.8, 2.9, 2.17, 2.25.1). A rekey is make-before-break on both sides: who began it uses the
// new pair at once and deletes the old one; who answered goes on sending on the old pair until it knows that
// its answer arrived.
#include <algorithm>
#include <utility>

#include "control/ike/exchange.hpp"
#include "control/ike/sa.hpp"

namespace espgate::ike {
namespace {

constexpr auto kRedundantLife = std::chrono::seconds(60);

ByteVector spi_data(std::uint32_t spi) {
  return {static_cast<std::uint8_t>(spi >> 24), static_cast<std::uint8_t>(spi >> 16),
          static_cast<std::uint8_t>(spi >> 8), static_cast<std::uint8_t>(spi)};
}

crypto::DhGroup first_group(const std::vector<conf::EspProposal>& proposals) {
  const auto& groups = proposals.front().groups;
  return groups.empty() ? crypto::DhGroup::none : groups.front();
}

}  // namespace

ChildSa* IkeSa::child_by_outbound(std::uint32_t spi) const {
  const auto found = std::find_if(children.begin(), children.end(),
                                  [spi](const ChildSa* c) { return c->install.outbound_spi == spi; });
  return found == children.end() ? nullptr : *found;
}

ChildInstall IkeSa::make_install(TunnelId tunnel, const EspChoice& choice, std::uint32_t inbound_spi,
                                 ChildKeys keys, bool we_began) const {
  ChildInstall out;
  out.tunnel = tunnel;
  out.inbound_spi = inbound_spi;
  out.outbound_spi = choice.peer_spi;
  out.suite = choice.suite;
  out.esn = choice.esn;
  out.outbound_keys = std::move(we_began ? keys.to_responder : keys.to_initiator);
  out.inbound_keys = std::move(we_began ? keys.to_initiator : keys.to_responder);
  out.local = local_;
  out.remote = remote_;
  if (const IdPayload* const holder = core_.slots.holder(tunnel)) out.label = peer_label(*holder);
  const bool wanted = nat_.local || nat_.remote || config().encapsulation == conf::Encapsulation::udp;
  out.udp_encapsulation = wanted && nat_.supported && (local_.port == 4500 || remote_.port == 4500);
  out.follow = out.udp_encapsulation && nat_.remote && !nat_.local;
  // Section 2.23: who is behind a NAT keeps its mapping alive. Whom the operator puts into UDP has something
  // on the way that wants it, and that forgets as a NAT does.
  const bool mapped = nat_.local || config().encapsulation == conf::Encapsulation::udp;
  if (out.udp_encapsulation && mapped) out.keepalive = config(tunnel).keepalive;
  return out;
}

// Section 2.23.1: behind a NAT an end does not have the address that the other sends to; what the two ends
// say to each other then goes in tunnel mode.
bool IkeSa::transport_mode(TunnelId tunnel) const {
  const bool nat = nat_.local || nat_.remote || config().encapsulation == conf::Encapsulation::udp;
  return config(tunnel).mode == channel::Mode::transport && !nat;
}

// ---- our requests

std::unique_ptr<IkeSa::ChildOffer> IkeSa::make_offer(TunnelId tunnel, std::uint32_t spi,
                                                     bool with_groups) const {
  const conf::Tunnel& wanted = config(tunnel);
  auto offer = std::make_unique<ChildOffer>();
  offer->tunnel = tunnel;
  offer->spi = spi;
  offer->offer = offer_esp(wanted.esp_proposals, spi, with_groups);
  offer->local = selectors_of(wanted.local_selectors);
  offer->remote = selectors_of(wanted.remote_selectors);
  offer->transport = transport_mode(tunnel);
  if (!offer->transport && wanted.mode == channel::Mode::transport)
    log("there is a NAT between us and the peer: tunnel mode is asked for, although the configuration says "
        "transport");
  return offer;
}

// A slot's peer has its part of what the template allows: it is this that is rekeyed (section 2.9.2).
void IkeSa::keep_selectors(const ChildSa& old, ChildOffer& offer) const {
  if (!core_.is_slot(offer.tunnel)) return;
  offer.local = old.install.local_selectors;
  offer.remote = old.install.remote_selectors;
}

// Nothing came of it on our side.
void IkeSa::release_offer(const ChildOffer& offer, const Payloads& answer) {
  core_.host.release_spi(offer.spi);
  // The peer believes in a child SA that we do not have: it has to hear of it.
  if (find<SaPayload>(answer) != nullptr) enqueue({Task::Kind::delete_child, offer.spi, {}, {}, 0});
}

void IkeSa::create_child(TunnelId tunnel) {
  if (child_under_way(tunnel)) return;
  enqueue({Task::Kind::create_child, 0, {}, {}, 0, tunnel});
  next_task();
}

void IkeSa::rekey_child(ChildSa& child) {
  if (child.state != ChildSa::State::installed || state_ != State::established) return;
  if (is_redundant()) return retry_rekey(child, kRetry);
  child.state = ChildSa::State::rekeying;
  enqueue({Task::Kind::rekey_child, child.spi(), {}, {}, 0});
  next_task();
}

void IkeSa::retry_rekey(ChildSa& child, std::chrono::milliseconds after) {
  child.state = ChildSa::State::installed;
  child.rekey.set(core_.now + core_.retry_after(after, child.expires_at),
                  [&child] { child.owner->rekey_child(child); });
}

// False: what was to be rekeyed is gone, or the child that was to be made is there: the peer was first, while
// we waited for our turn.
bool IkeSa::begin_child(const Task& task) {
  const ChildSa* old = core_.find_child(task.spi);
  const bool rekey = task.kind == Task::Kind::rekey_child;
  if (rekey && (old == nullptr || old->owner != this || old->state != ChildSa::State::rekeying)) return false;
  const TunnelId tunnel = rekey ? old->install.tunnel : task.tunnel;
  const auto is_there = [tunnel](const ChildSa* c) {
    return c->install.tunnel == tunnel && c->state == ChildSa::State::installed;
  };
  if (!rekey && std::any_of(children.begin(), children.end(), is_there)) return false;
  const std::uint32_t spi = core_.host.allocate_spi(tunnel);
  if (spi == 0) {
    child_rejected(tunnel, task.spi,
                   {Failure::dataplane_refused, "the dataplane has no room for another SA"});
    return false;
  }
  child_offer_ = make_offer(tunnel, spi, true);
  ChildOffer& offer = *child_offer_;
  if (rekey) keep_selectors(*old, offer);
  offer.replaces = rekey ? task.spi : 0;
  offer.nonce = fresh_nonce();
  const crypto::DhGroup group =
      task.group != crypto::DhGroup::none ? task.group : first_group(config(tunnel).esp_proposals);

  Payloads payloads;
  if (rekey)
    payloads.emplace_back(NotifyPayload{Protocol::esp, spi_data(task.spi), NotifyType::rekey_sa, {}});
  if (offer.transport) payloads.emplace_back(plain_notify(NotifyType::use_transport_mode));
  payloads.emplace_back(offer.offer);
  payloads.emplace_back(NoncePayload{offer.nonce});
  if (group != crypto::DhGroup::none) {
    offer.dh = crypto::DhKey::generate(group);
    payloads.emplace_back(ke_payload(*offer.dh));
  }
  payloads.emplace_back(TsPayload{true, offer.local});
  payloads.emplace_back(TsPayload{false, offer.remote});
  send_request(task, Exchange::create_child_sa, payloads);
  return true;
}

void IkeSa::child_response(const Request& request, const Payloads& payloads) {
  if (const NotifyPayload* error = find_error(payloads)) return child_error(request, *error);
  child_accept(payloads);
}

void IkeSa::child_error(const Request& request, const NotifyPayload& error) {
  const std::unique_ptr<ChildOffer> offer = std::move(child_offer_);
  core_.host.release_spi(offer->spi);
  ChildSa* old = core_.find_child(offer->replaces);
  if (!offer->rival_nonce.empty()) {  // section 2.8.1: the peer's own rekey was done before it saw ours
    if (old != nullptr && old->state == ChildSa::State::rekeying) leave_to_peer(*old);
    return;
  }
  if (offer->replaces != 0 && (old == nullptr || old->state != ChildSa::State::rekeying)) return;
  const crypto::DhGroup group = asked_group(error);
  if (error.type == NotifyType::invalid_ke_payload && request.task.attempts < kMaxGroupAnswers &&
      offers(config(offer->tunnel).esp_proposals, group))
    return tasks_.push_front(
        {request.task.kind, request.task.spi, {}, group, request.task.attempts + 1, offer->tunnel});
  if (error.type == NotifyType::temporary_failure) {
    temporary_failure(old != nullptr ? old->expires_at : Time{});
    if (old != nullptr) return state_ == State::established ? retry_rekey(*old, kTemporaryRetry) : void();
  }
  if (error.type == NotifyType::child_sa_not_found && old != nullptr) {  // section 2.25: from scratch
    core_.log(offer->tunnel, "the peer does not have the child SA that was to be rekeyed; a new one is made");
    core_.remove_child(*old, Core::Inbound::at_once,
                       {Failure::peer_deleted, "the peer has lost the child SA"});
    return enqueue({Task::Kind::create_child, 0, {}, {}, 0, offer->tunnel});
  }
  child_rejected(offer->tunnel, offer->replaces, refusal(error, *offer));
}

Reason IkeSa::refusal(const NotifyPayload& error, const ChildOffer& offer) const {
  if (error.type == NotifyType::no_proposal_chosen)
    return {Failure::no_esp_proposal, "the peer has no ESP proposal in common: we offered " +
                                          describe(offer.offer) + ", it answered NO_PROPOSAL_CHOSEN"};
  if (error.type == NotifyType::ts_unacceptable)
    return {Failure::ts_unacceptable,
            "the peer accepts none of our traffic selectors (TS_UNACCEPTABLE): we offered " +
                words(offer.local) + " === " + words(offer.remote)};
  if (error.type == NotifyType::no_additional_sas)
    return {Failure::no_additional_child,
            "the peer makes no further child SA by this IKE SA (NO_ADDITIONAL_SAS), which has " +
                std::to_string(children.size())};
  if (error.type == NotifyType::single_pair_required)
    return {Failure::ts_unacceptable,
            "the peer makes a child SA of one pair of networks alone (SINGLE_PAIR_REQUIRED): we offered " +
                words(offer.local) + " === " + words(offer.remote)};
  if (error.type == NotifyType::invalid_ke_payload)
    return {Failure::no_esp_proposal, "the peer wants DH group " +
                                          std::to_string(static_cast<unsigned>(asked_group(error))) +
                                          " for the child SA, and we offered " + describe(offer.offer)};
  return {Failure::protocol_error, "the peer refused the child SA with " + name_of(error.type)};
}

// The SA that is to be replaced was agreed on, but perhaps in IKE_AUTH, where groups count for nothing.
Reason IkeSa::rekey_refusal(Reason reason) {
  reason.summary = "the child SA could not be rekeyed: " + reason.summary;
  if (reason.failure == Failure::no_esp_proposal)
    reason.summary +=
        "; the child SA that is to be rekeyed was agreed on, so it is the group for PFS that does not fit: "
        "set the same one here and at the peer";
  return reason;
}

void IkeSa::child_rejected(TunnelId tunnel, std::uint32_t replaces, const Reason& reason) {
  if (replaces == 0) {
    core_.host.attempt_failed(tunnel, reason);
    return needs_ike_auth(tunnel, reason) ? delete_ike(reason) : void();
  }
  core_.host.rekey_failed(tunnel, rekey_refusal(reason));
  ChildSa* old = core_.find_child(replaces);
  if (old == nullptr) return;
  old->refused = true;
  retry_rekey(*old, kRetry);
  // Section 2.8: it goes with its IKE SA, which another takes the place of first, with a child of its own.
  renew_before(old->expires_at);
  // It is known now; what is tried again is the rekey that is due.
  if (std::exchange(old->verifying, false) && old->rekey_at > core_.now)
    old->rekey.set(old->rekey_at, [old] { old->owner->rekey_child(*old); });
}

// A peer that makes no child SA in CREATE_CHILD_SA, or none with a PFS group of ours, may make one in
// IKE_AUTH: that takes another IKE SA, where this one is of no use.
bool IkeSa::needs_ike_auth(TunnelId tunnel, const Reason& reason) const {
  const bool may_help =
      reason.failure == Failure::no_additional_child || reason.failure == Failure::no_esp_proposal;
  return may_help && tunnel == *tunnel_ && children.empty() && tasks_.empty() && !begins_childless();
}

// An answer to our offer, in IKE_AUTH or CREATE_CHILD_SA: checked against it, and the inbound SA installed.
std::variant<ChildSa*, Reason> IkeSa::install_answer(const Payloads& payloads, const NoncePair& nonces,
                                                     const ChildOffer& offer) {
  if (const NotifyPayload* error = find_error(payloads)) return refusal(*error, offer);
  const auto* sa = find<SaPayload>(payloads);
  const TsPayload* tsi = find_ts(payloads, true);
  const TsPayload* tsr = find_ts(payloads, false);
  if (sa == nullptr || tsi == nullptr || tsr == nullptr)
    return Reason{Failure::protocol_error, "the peer's answer lacks a payload for the child SA"};
  const bool transport = find_notify(payloads, NotifyType::use_transport_mode) != nullptr;
  if (transport != offer.transport)  // section 1.3.1
    return Reason{Failure::mode,
                  offer.transport
                      ? "the peer wants tunnel mode, and we transport mode: set the peer to transport "
                        "mode, or mode: tunnel here"
                      : "the peer answered in transport mode, which we did not ask for"};
  const auto choice = accept_esp(*sa, offer.offer);
  const crypto::SuiteRow* row = choice ? crypto::find_suite(choice->suite) : nullptr;
  if (row == nullptr)
    return Reason{Failure::protocol_error, "the peer chose what we did not offer: " + describe(*sa)};
  if (!is_subset(tsi->selectors, offer.local) || !is_subset(tsr->selectors, offer.remote))  // section 2.9
    return Reason{Failure::ts_unacceptable, "the peer's traffic selectors are not within ours: it answered " +
                                                words(tsi->selectors) + " === " + words(tsr->selectors)};
  if (std::max(tsi->selectors.size(), tsr->selectors.size()) > channel::kMaxSelectors)
    return Reason{Failure::ts_unacceptable,
                  "the peer narrowed our traffic selectors to more than the dataplane can hold, which are " +
                      std::to_string(channel::kMaxSelectors) + ": it answered " + words(tsi->selectors) +
                      " === " + words(tsr->selectors)};
  crypto::SecretBytes secret;
  if (choice->group != crypto::DhGroup::none) {
    const auto* ke = find<KePayload>(payloads);
    const bool fits = ke != nullptr && offer.dh != nullptr && offer.dh->group() == choice->group &&
                      ke->group == static_cast<std::uint16_t>(choice->group);
    auto shared = fits ? offer.dh->shared_secret(ke->data) : std::nullopt;
    if (!shared)
      return Reason{Failure::protocol_error, "the peer's Diffie-Hellman value does not fit its choice"};
    secret = std::move(*shared);
  }
  ChildKeys keys = derive_child_keys(algorithms_.prf, keys_.sk_d.view(), secret.view(), nonces, *row);
  ChildInstall install = make_install(offer.tunnel, *choice, offer.spi, std::move(keys), true);
  install.mode = transport ? channel::Mode::transport : channel::Mode::tunnel;
  install.padding = accepts_padding(offer.tunnel, payloads);
  install.local_selectors = tsi->selectors;
  install.remote_selectors = tsr->selectors;
  return &core_.install_child(*this, std::move(install), choice->group);
}

// Section 1.3.1: what a peer does not accept and is sent all the same would be lost.
bool IkeSa::accepts_padding(TunnelId tunnel, const Payloads& payloads) {
  if (find_notify(payloads, NotifyType::esp_tfc_padding_not_supported) == nullptr) return true;
  if (config(tunnel).tfc_length != 0)
    core_.log(tunnel,
              "the peer does not accept padding (ESP_TFC_PADDING_NOT_SUPPORTED): esp.tfc is not done");
  return false;
}

void IkeSa::child_accept(const Payloads& payloads) {
  const std::unique_ptr<ChildOffer> offer = std::move(child_offer_);
  const auto* nonce = find<NoncePayload>(payloads);
  std::variant<ChildSa*, Reason> outcome = Reason{Failure::protocol_error, "the peer's answer has no nonce"};
  if (nonce != nullptr) outcome = install_answer(payloads, {offer->nonce, nonce->data}, *offer);
  if (const auto* reason = std::get_if<Reason>(&outcome)) {
    release_offer(*offer, payloads);
    return child_rejected(offer->tunnel, offer->replaces, *reason);
  }
  took_over(*std::get<ChildSa*>(outcome), *offer, lower_nonce(offer->nonce, nonce->data));
}

// Our rekey was answered. When the peer rekeyed the same SA at the same time, whoever made the pair with the
// lowest of the four nonces deletes that pair, and the other the old one (section 2.8.1).
void IkeSa::took_over(ChildSa& fresh, ChildOffer& offer, Bytes lower) {
  ChildSa* old = core_.find_child(offer.replaces);
  ChildSa* rival = core_.find_child(offer.rival_spi);
  const Bytes theirs = offer.rival_nonce;
  const bool lost = rival != nullptr &&
                    std::lexicographical_compare(lower.begin(), lower.end(), theirs.begin(), theirs.end());
  if (lost) {
    core_.log(fresh.install.tunnel, "both sides rekeyed the child SA; the peer's new one stays");
    fresh.state = ChildSa::State::deleting;
    if (old != nullptr) leave_to_peer(*old);
    return enqueue({Task::Kind::delete_child, fresh.spi(), {}, {}, 0});
  }
  if (offer.replaces != 0) {
    core_.start_sending(fresh);
  } else {
    settle(fresh, false);
  }
  if (old != nullptr) {
    old->state = ChildSa::State::deleting;
    old->rekey.cancel();
    enqueue({Task::Kind::delete_child, old->spi(), {}, {}, 0});
  }
  if (rival != nullptr) {
    core_.log(fresh.install.tunnel, "both sides rekeyed the child SA; ours stays");
    leave_to_peer(*rival);
  }
}

// The peer is to delete it: it began the rekey, or made what is redundant. One that forgets it is helped.
void IkeSa::leave_to_peer(ChildSa& child) {
  child.state = ChildSa::State::replaced;
  child.rekey.cancel();
  child.later.set(core_.now + kRedundantLife, [&child] {
    child.owner->delete_child(child, {Failure::replaced, "another took its place, and the peer has left it"});
  });
}

// A rekey that is on its way may take as long as any request: the peer may have the new SA already. Limits in
// bytes and packets are the dataplane's, and are not stretched.
void IkeSa::lifetime_over(ChildSa& child) {
  if (child.state == ChildSa::State::rekeying && core_.now < child.expires_at + kOvertime)
    return child.expire.set(core_.now + kOvertimeStep, [&child] { child.owner->lifetime_over(child); });
  child_expired(child, {Failure::lifetime, "the child SA's lifetime ended before it could be rekeyed"});
}

// Section 2.8: an IKE SA by which a child SA can't be rekeyed is closed, but for others that it has.
void IkeSa::child_expired(ChildSa& child, const Reason& reason) {
  const auto stays = [&child](const ChildSa* other) {
    return other != &child && other->state != ChildSa::State::replaced &&
           other->state != ChildSa::State::deleting;
  };
  if (child.refused && std::none_of(children.begin(), children.end(), stays)) return delete_ike(reason);
  delete_child(child, reason);
}

// Out of the dataplane now; the peer is told.
void IkeSa::delete_child(ChildSa& child, const Reason& reason) {
  const std::uint32_t spi = child.spi();
  const bool told = child.state == ChildSa::State::deleting;
  core_.remove_child(child, Core::Inbound::drain, reason);
  if (!told) enqueue({Task::Kind::delete_child, spi, {}, {}, 0});
  next_task();
}

}  // namespace espgate::ike
