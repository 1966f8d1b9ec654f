// A PPK in the keys of an IKE SA (RFC 8784 sections 3 and 4): from the first message on, which each side
// signs, so nobody on the way can talk two peers out of it.
#include <algorithm>

#include "control/ike/exchange.hpp"
#include "control/ike/identity.hpp"
#include "control/ike/ppk.hpp"
#include "control/ike/sa.hpp"

namespace espgate::ike {

bool IkeSa::requires_ppk() const {
  return !config().ppks.empty() && config().ppk_use == conf::PpkUse::required;
}

const conf::Ppk& IkeSa::ppk() const { return config().ppks.at(*origin_.ppk); }

// ---- initiator

// Which one this IKE SA is to have, if any.
std::optional<Reason> IkeSa::choose_ppk() {
  if (config().ppks.empty()) return std::nullopt;
  const std::int64_t now = core_.host.unix_time();
  origin_.ppk = first_valid_ppk(config(), now);
  const std::string objections = ppk_objections(config(), now);
  if (origin_.ppk) {
    if (!objections.empty()) log("PPKs that are not used: " + objections);
    return std::nullopt;
  }
  if (requires_ppk())
    return Reason{Failure::ppk_not_valid,
                  "none of our PPKs is valid now, and one is required: " + objections};
  log("none of our PPKs is valid now, so we begin without: " + objections);
  return std::nullopt;
}

// Whether the peer's answer to IKE_SA_INIT may be the one, which nothing shows yet: others may follow.
std::optional<Reason> IkeSa::refuse_without_ppk(const Payloads& payloads) const {
  if (!requires_ppk() || find_notify(payloads, NotifyType::use_ppk) != nullptr) return std::nullopt;
  return Reason{Failure::no_ppk_there, "the peer uses no PPK (RFC 8784), and we require one"};
}

// The answer was taken.
void IkeSa::begin_ppk(const Payloads& payloads) {
  if (!origin_.ppk) return;
  if (find_notify(payloads, NotifyType::use_ppk) != nullptr) return mix_ppk();
  log("the peer uses no PPK (RFC 8784); we go on without");
  origin_.ppk.reset();
}

// From now on AUTH and all later keys have it in them.
void IkeSa::mix_ppk() {
  without_ppk_ = std::make_unique<IkeKeys>();
  without_ppk_->sk_d = keys_.sk_d.copy();
  without_ppk_->sk_pi = keys_.sk_pi.copy();
  without_ppk_->sk_pr = keys_.sk_pr.copy();
  core_.keeper.mix_ppk(*tunnel_, *origin_.ppk, algorithms_.prf, keys_);
}

void IkeSa::go_without_ppk() {
  keys_ = std::move(*without_ppk_);
  without_ppk_.reset();
  origin_.ppk.reset();
}

// NO_PPK_AUTH only where the peer may do without (section 4).
std::optional<Reason> IkeSa::name_ppk(const IdPayload& us, Payloads& to) {
  if (!origin_.ppk) return std::nullopt;
  to.emplace_back(plain_notify(NotifyType::ppk_identity, ppk_identity(ppk())));
  if (requires_ppk()) return std::nullopt;
  const auto auth = make_auth(us, *without_ppk_);
  if (const auto* reason = std::get_if<Reason>(&auth)) return *reason;
  to.emplace_back(plain_notify(NotifyType::no_ppk_auth, std::get<AuthPayload>(auth).data));
  return std::nullopt;
}

// What the peer made of it: it has the same, or goes on without.
std::optional<Reason> IkeSa::settle_ppk(const Payloads& payloads) {
  if (!origin_.ppk || find_notify(payloads, NotifyType::ppk_identity) != nullptr) return std::nullopt;
  const std::string words = "the peer does not have our PPK " + ppk_words(ppk());
  if (requires_ppk()) return Reason{Failure::ppk_unknown, words + ", and we require one"};
  log(words + "; we go on without");
  go_without_ppk();
  return std::nullopt;
}

// ---- responder

bool IkeSa::answers_ppk(const Payloads& request) {
  peer_has_ppk_ = find_notify(request, NotifyType::use_ppk) != nullptr;
  ppk_negotiated_ = peer_has_ppk_ && std::ranges::any_of(candidates_, [this](TunnelId id) {
                      return !core_.tunnel(id).config->ppks.empty();
                    });
  return ppk_negotiated_;
}

// The PPK that the peer names, if we have it and it is valid.
std::optional<Reason> IkeSa::agree_on_ppk(const Payloads& payloads, const IdPayload& id) {
  const NotifyPayload* named = ppk_negotiated_ ? find_notify(payloads, NotifyType::ppk_identity) : nullptr;
  if (named == nullptr) {
    if (!requires_ppk()) return std::nullopt;
    return Reason{Failure::no_ppk_there, words(id) + " uses no PPK (RFC 8784), and we require one"};
  }
  origin_.ppk = find_ppk(config(), named->data);
  const std::string objection = origin_.ppk ? ppk_objection(ppk(), core_.host.unix_time()) : std::string();
  if (origin_.ppk && objection.empty()) {
    mix_ppk();
    return std::nullopt;
  }
  const Failure failure = origin_.ppk ? Failure::ppk_not_valid : Failure::ppk_unknown;
  const std::string what = words(id) + " uses the PPK " + ppk_words(named->data) +
                           (origin_.ppk ? ", which here " + objection : ", which we do not have");
  origin_.ppk.reset();
  if (requires_ppk()) return Reason{failure, what + "; we require one"};
  if (find_notify(payloads, NotifyType::no_ppk_auth) == nullptr)
    return Reason{failure, what + "; it requires one"};
  log(what + "; both sides go on without");
  return std::nullopt;
}

// AUTH, or where the peer named a PPK that we do not use, what it would be without: that has no method of its
// own (section 4).
AuthPayload IkeSa::claimed_auth(const Payloads& payloads, const AuthPayload& auth) const {
  const bool named = ppk_negotiated_ && find_notify(payloads, NotifyType::ppk_identity) != nullptr;
  const NotifyPayload* without = find_notify(payloads, NotifyType::no_ppk_auth);
  if (!named || origin_.ppk || without == nullptr) return auth;
  return {auth.method, without->data};
}

// AUTH is wrong, with a PPK in it. Where the peer also shows who it is without, it tells which of the two
// secrets it is.
Reason IkeSa::blame_ppk(const Payloads& payloads, const AuthPayload& auth, const IdPayload& id,
                        const Reason& refused) {
  const std::string name = ppk_words(ppk());
  const NotifyPayload* without = find_notify(payloads, NotifyType::no_ppk_auth);
  if (without == nullptr)
    return {refused.failure, refused.summary + "; or its PPK " + name + " is another one than ours"};
  const Shown shown = check_auth(payloads, {auth.method, without->data}, id, *without_ppk_);
  if (std::holds_alternative<Reason>(shown)) return refused;
  return {Failure::ppk_differs, "the PPK " + name + " of " + words(id) + " is not the one that we have"};
}

// It began, and did not like our answer.
void IkeSa::gave_up_half_way() {
  std::string line = peer() + " began an IKE SA and did not go on to IKE_AUTH";
  const bool lacks_ppk = peer_has_ppk_ && !ppk_negotiated_;
  if (lacks_ppk) line += ": it uses a PPK (RFC 8784), perhaps requires one, and we have none for it";
  const std::optional<TunnelId> id = subject();
  if (!lacks_ppk || !id) return core_.log_stranger(line);
  if (core_.stranger_log.allows(core_.now)) core_.host.peer_attempt_failed(*id, {Failure::no_ppk_here, line});
}

}  // namespace espgate::ike
