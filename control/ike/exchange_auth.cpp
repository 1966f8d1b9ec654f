// IKE_AUTH, both sides (RFC 7296 sections 1.2, 2.15, 2.21.2, 3.5).
#include <algorithm>
#include <utility>

#include "control/ike/exchange.hpp"
#include "control/ike/identity.hpp"
#include "control/ike/ppk.hpp"
#include "control/ike/sa.hpp"

namespace espgate::ike {
namespace {

// What IKE_SA_INIT chose when the peer was only an address must also be allowed by its own tunnel.
bool allows(const std::vector<conf::IkeProposal>& wanted, const IkeAlgorithms& chosen) {
  const auto has = [](const auto& list, const auto& value) {
    return std::find(list.begin(), list.end(), value) != list.end();
  };
  return std::any_of(wanted.begin(), wanted.end(), [&](const conf::IkeProposal& p) {
    const bool cipher = std::any_of(p.ciphers.begin(), p.ciphers.end(), [&](const conf::IkeCipherChoice& c) {
      return c.id == chosen.cipher && c.key_bits == chosen.key_bits;
    });
    const bool integrity =
        chosen.integrity == crypto::IkeIntegrity::none || has(p.integrity, chosen.integrity);
    return cipher && integrity && has(p.prfs, chosen.prf) && has(p.groups, chosen.group);
  });
}

}  // namespace

// ---- initiator

// Section 2.4: only when nothing else of ours is up between the two identities.
bool IkeSa::first_contact() const {
  const auto alone = [this](TunnelId tunnel) {
    const auto& sas = core_.tunnel(tunnel).sas;
    bool none = std::none_of(sas.begin(), sas.end(), [this](const IkeSa* sa) {
      return sa != this && sa->state() == State::established;
    });
    core_.for_each_sharing(tunnel, [&](TunnelId id) { none = none && core_.tunnel(id).initial_contact; });
    return none;
  };
  const auto& others = core_.tunnel(*tunnel_).same_identities;
  return alone(*tunnel_) && std::all_of(others.begin(), others.end(), alone);
}

void IkeSa::send_auth() {
  const IdPayload us = id_payload(config().local_id, true);
  Payloads payloads{us};
  add_certificates(payloads);
  if (first_contact()) payloads.emplace_back(plain_notify(NotifyType::initial_contact));
  request_certificates({*tunnel_}, payloads);
  payloads.emplace_back(id_payload(config().remote_id, false));
  const auto auth = make_auth(us, keys_);
  if (const auto* reason = std::get_if<Reason>(&auth)) return attempt_over(*reason);
  payloads.emplace_back(std::get<AuthPayload>(auth));
  if (const auto reason = name_ppk(us, payloads)) return attempt_over(*reason);
  if (!offer_first_child(payloads))
    return attempt_over({Failure::dataplane_refused, "the dataplane has no room for another SA"});
  const Task task{Task::Kind::auth, 0, {}, {}, 0};
  send_request(task, Exchange::ike_auth, payloads);
}

Reason IkeSa::refused_us() const {
  const bool by_key = config().local_auth.by == conf::Auth::psk;
  std::string line = std::string("the peer refused us (AUTHENTICATION_FAILED): it ") +
                     (by_key ? "does not have our pre-shared key for "
                             : "does not take our certificate, key or signature for ") +
                     words(config().local_id) + ", or is not " + words(config().remote_id);
  if (origin_.ppk) line += ", or does not have our PPK " + ppk_words(ppk());
  return {Failure::authentication_failed, std::move(line)};
}

void IkeSa::auth_response(const Payloads& payloads) {
  const IdPayload* id = find_id(payloads, false);
  const AuthPayload* auth = find<AuthPayload>(payloads);
  const NotifyPayload* error = find_error(payloads);
  if (id == nullptr || auth == nullptr) {
    if (error == nullptr)
      return attempt_over({Failure::protocol_error, "the peer's answer to IKE_AUTH lacks a payload"});
    if (error->type == NotifyType::authentication_failed) return attempt_over(refused_us());
    return attempt_over({Failure::protocol_error, "the peer refused IKE_AUTH with " + name_of(error->type)});
  }
  std::optional<Reason> refusal = settle_ppk(payloads);
  if (!refusal) refusal = judge_peer(payloads, *id);
  if (!is_identity(*id, config().remote_id))
    refusal = Reason{Failure::peer_identity,
                     "the peer says it is " + words(*id) + "; we expect " + words(config().remote_id)};
  if (refusal) {
    // Section 2.21.2: the peer believes the SA to be up, so it is told. That it has failed only if it has.
    const Reason reason = *refusal;
    const bool its_fault = reason.failure != Failure::keys_away;
    core_.host.attempt_failed(*tunnel_, reason);
    fail_waiting(reason);
    abandon_offers();
    return delete_ike(reason, its_fault ? NotifyType::authentication_failed : NotifyType{});
  }
  become_established();
  if (const NotifyPayload* told = find_notify(payloads, NotifyType::auth_lifetime)) follow_lifetime(*told);
  first_child_answered(payloads);
}

std::optional<Reason> IkeSa::judge_peer(const Payloads& payloads, const IdPayload& id) {
  try {
    return check_peer_auth(payloads, id);
  } catch (const KeeperAway& away) {
    return Reason{Failure::keys_away, away.what()};
  }
}

// An attempt came to nothing. The peer may still want our last answer.
void IkeSa::attempt_over(const Reason& reason) {
  const std::optional<TunnelId> id = subject();
  finish_request();
  tasks_.clear();
  abandon_offers();
  linger();
  if (!id) return core_.log_stranger(reason.summary);
  if (role_ == Role::responder) return core_.host.peer_attempt_failed(*id, reason);
  core_.host.attempt_failed(*id, reason);
  fail_waiting(reason);
}

// The tunnels that waited for this IKE SA are as far as before.
void IkeSa::fail_waiting(const Reason& reason) {
  for (const TunnelId id : core_.tunnel(*tunnel_).siblings)
    if (std::exchange(core_.tunnel(id).awaits_ike, false)) core_.host.attempt_failed(id, reason);
}

// ---- responder

std::optional<TunnelId> IkeSa::match_tunnel(const IdPayload& peer_id, const IdPayload* us) {
  const auto fits = [&](TunnelId id) {
    const conf::Tunnel& tunnel = *core_.tunnel(id).config;
    return (us == nullptr || is_identity(*us, tunnel.local_id)) && allows(tunnel.ike_proposals, algorithms_);
  };
  for (const TunnelId id : candidates_)
    if (!core_.is_slot(id) && is_identity(peer_id, core_.tunnel(id).config->remote_id) && fits(id)) return id;
  for (const TunnelId first : core_.templates(local_))
    if (core_.slots.admits(first, peer_id) && fits(first))
      return core_.slots.next(first, peer_id).value_or(first);
  return std::nullopt;
}

// The peer has shown who it is. False: its template has no slot for it.
bool IkeSa::take_slot(const IdPayload& id) {
  if (!core_.is_slot(*tunnel_)) return true;
  const IdPayload* const former = core_.slots.holder(*tunnel_);
  const bool another = former == nullptr || words(*former) != words(id);
  if (!core_.slots.take(*config().first_slot, id)) return false;
  if (another) core_.tunnel(*tunnel_).story = {};
  log("the tunnel of " + words(id) + ", which is at " + peer());
  return true;
}

Payloads IkeSa::no_slot(const IdPayload& id) {
  const SlotCounts counts = core_.slots.counts(*config().first_slot);
  return refuse_auth({Failure::no_slot, words(id) + " at " + peer() +
                                            " is refused: as many peers as there may be, " +
                                            std::to_string(counts.slots) + ", are there already (" +
                                            config().name + " and the others)"});
}

Payloads IkeSa::refuse_auth(const Reason& reason) {
  end_after_answer_ = reason;
  return {plain_notify(NotifyType::authentication_failed)};
}

Payloads IkeSa::identity_refusal(const IdPayload& peer_id, const IdPayload* us) {
  std::string line = to_string(remote_.address) + " says it is " + words(peer_id);
  if (us != nullptr) line += " and wants " + words(*us);
  if (subject()) {
    const conf::Tunnel& tunnel = *core_.tunnel(candidates_.front()).config;
    line += "; we are " + words(tunnel.local_id) + " and expect " + words(tunnel.remote_id);
  } else {
    line += "; no tunnel with this address has such identities";
  }
  return refuse_auth({Failure::peer_identity, line});
}

// A slot is the peer's when it has shown who it is, and not before.
Payloads IkeSa::answer_auth(const Payloads& payloads) {
  Payloads answer = authenticate_peer(payloads);
  if (!end_after_answer_ || !tunnel_ || !core_.is_slot(*tunnel_)) return answer;
  if (core_.slots.of(*config().first_slot, *find_id(payloads, true)) != tunnel_) tunnel_.reset();
  return answer;
}

Payloads IkeSa::authenticate_peer(const Payloads& payloads) {
  const IdPayload* peer_id = find_id(payloads, true);
  const IdPayload* us = find_id(payloads, false);
  if (peer_id == nullptr || !child_payloads_whole(payloads)) {
    end_after_answer_ = Reason{Failure::protocol_error, "the peer's IKE_AUTH request lacks a payload"};
    return {plain_notify(NotifyType::invalid_syntax)};
  }
  const auto matched = match_tunnel(*peer_id, us);
  if (!matched) return identity_refusal(*peer_id, us);
  tunnel_ = matched;
  if (find<SaPayload>(payloads) == nullptr && config().childless == conf::Childless::never) {
    end_after_answer_ = Reason{Failure::protocol_error,
                               "the peer asks for an IKE SA without a child SA, and childless is never"};
    return {plain_notify(NotifyType::invalid_syntax)};
  }
  if (const auto refused = agree_on_ppk(payloads, *peer_id)) return refuse_auth(*refused);
  if (const auto refused = check_peer_auth(payloads, *peer_id)) return refuse_auth(*refused);
  note_certificate_requests(payloads);
  const IdPayload our_id = id_payload(config().local_id, false);
  const auto auth = make_auth(our_id, keys_);
  if (const auto* reason = std::get_if<Reason>(&auth)) return refuse_auth(*reason);

  if (!take_slot(*peer_id)) return no_slot(*peer_id);
  core_.join_tunnel(*this, *tunnel_);
  if (find_notify(payloads, NotifyType::initial_contact) != nullptr) drop_older();
  Payloads answer{our_id};
  add_certificates(answer);
  answer.emplace_back(std::get<AuthPayload>(auth));
  if (origin_.ppk) answer.emplace_back(plain_notify(NotifyType::ppk_identity));
  tell_lifetime(answer);
  become_established();
  answer_first_child(payloads, answer);
  return answer;
}

// Who keeps our keys gave no answer, and so do we: the peer sends its request again, which then is as if it
// came for the first time.
void IkeSa::postpone_auth(const std::string& why) {
  --expected_id_;
  if (without_ppk_) go_without_ppk();
  origin_.ppk.reset();
  const TunnelId id = *std::exchange(tunnel_, std::nullopt);
  if (core_.is_slot(id)) return core_.log_stranger(why);  // of nobody yet
  if (core_.tunnel(id).sas.empty() && core_.stranger_log.allows(core_.now))
    core_.host.peer_attempt_failed(id, {Failure::keys_away, why});
}

// INITIAL_CONTACT (section 2.4). What was established after this IKE SA was begun is no leftover: both sides
// began at the same time.
void IkeSa::drop_older() {
  core_.tunnel(*tunnel_).initial_contact = true;  // nor do those of a former daemon carry anything any more
  const std::vector<IkeSa*> sas = core_.tunnel(*tunnel_).sas;
  for (IkeSa* other : sas) {
    const bool older = other != this && !other->is_attempt() && other->origin_.established < origin_.created;
    if (!older) continue;
    other->log("the peer has forgotten the IKE SA from before");
    other->close({Failure::replaced, "the peer began anew and has forgotten the SAs from before"});
  }
}

void IkeSa::become_established() {
  state_ = State::established;
  established_ = origin_.established = core_.now;
  life_.cancel();
  half_open_.reset();
  candidates_.clear();
  for (ByteVector* done : {&init_sent_, &init_received_, &cookie_}) *done = {};
  offer_ = {};
  keys_.sk_pi = crypto::SecretBytes{};
  keys_.sk_pr = crypto::SecretBytes{};
  without_ppk_.reset();
  foreseen_.reset();
  log("IKE SA established with " + peer() + ": " + describe(algorithms_) +
      (origin_.ppk ? ", with the PPK " + ppk_words(ppk()) : ""));
  arm_lifetime();
  arm_reauth();
  arm_dpd();
}

}  // namespace espgate::ike
