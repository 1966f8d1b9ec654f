#include "control/ike/responder.hpp"

#include <algorithm>
#include <functional>
#include <string_view>

#include "control/ike/exchange.hpp"
#include "control/ike/sa.hpp"

namespace espgate::ike {
namespace {

struct Stranger {
  const Header& header;
  Bytes datagram;
  const Endpoint& local;
  const Endpoint& remote;
  std::optional<TunnelId> tunnel;  // where its addresses tell
};

// The first of a template's slots stands for all of its peers.
std::optional<TunnelId> only(const Core& core, const std::vector<TunnelId>& candidates) {
  const bool one = candidates.size() == 1 && !core.is_slot(candidates.front());
  return one ? std::optional(candidates.front()) : std::nullopt;
}

std::string text(const Endpoint& e) { return to_string(e.address); }

// Section 2.1: the same request, bit for bit, from the same place.
std::string request_key(const Stranger& s) {
  std::string key(reinterpret_cast<const char*>(s.datagram.data()), Header::kLength);
  const std::string_view whole(reinterpret_cast<const char*>(s.datagram.data()), s.datagram.size());
  return key + to_string(s.remote.address) + ":" + std::to_string(s.remote.port) + "/" +
         std::to_string(std::hash<std::string_view>{}(whole));
}

std::vector<conf::IkeProposal> proposals_of(Core& core, const std::vector<TunnelId>& candidates) {
  std::vector<conf::IkeProposal> out;
  for (const TunnelId id : candidates) {
    const auto& wanted = core.tunnel(id).config->ike_proposals;
    out.insert(out.end(), wanted.begin(), wanted.end());
  }
  return out;
}

// To a configured peer, without a limit: the answer is smaller than the question.
void reply(Core& core, const Stranger& s, NotifyType type, ByteVector data = {}) {
  Header head = s.header;
  head.version = 0x20;
  head.from_initiator = false;
  head.response = true;
  const Payloads payloads{NotifyPayload{Protocol::none, {}, type, std::move(data)}};
  core.note(s.tunnel, true, head, payloads);
  core.host.send(s.local, s.remote, encode_plain(head, payloads));
}

void refuse_proposals(Core& core, const Stranger& s, const SaPayload& offered,
                      const std::vector<conf::IkeProposal>& wanted, const std::vector<TunnelId>& candidates) {
  reply(core, s, NotifyType::no_proposal_chosen);
  if (!core.stranger_log.allows(core.now)) return;
  const SaPayload accepted = offer_ike(wanted, {});
  const Reason reason{Failure::no_ike_proposal, "no IKE proposal in common: " + text(s.remote) + " offered " +
                                                    describe(offered) + "; we accept " + describe(accepted) +
                                                    ": " + mismatch_words(offered, accepted)};
  if (const auto tunnel = only(core, candidates)) {
    core.host.peer_attempt_failed(*tunnel, reason);
  } else {
    core.log(std::nullopt, reason.summary);
  }
}

// True when the initiator has shown that it receives what is sent to its address, or need not.
bool passes_cookie(Core& core, const Stranger& s, const Payloads& payloads, const NoncePayload& nonce) {
  if (core.half_open.count() < core.settings.cookie_threshold) return true;
  const NotifyPayload* cookie = find_notify(payloads, NotifyType::cookie);
  const std::uint64_t spi = s.header.spi_initiator;
  if (cookie != nullptr && core.cookies.is_ours(cookie->data, nonce.data, s.remote, spi, core.now))
    return true;
  reply(core, s, NotifyType::cookie, core.cookies.bake(nonce.data, s.remote, spi, core.now));
  return false;
}

bool has_place(Core& core, const Stranger& s) {
  switch (core.half_open.judge(s.remote)) {
    case HalfOpen::Verdict::room:
      return true;
    case HalfOpen::Verdict::full:
      core.log_stranger("too many half-open IKE SAs; " + text(s.remote) + " is not answered");
      return false;
    case HalfOpen::Verdict::share_taken:
      core.log_stranger("too many half-open IKE SAs from " + text(s.remote) + "; it is not answered");
      return false;
  }
  return false;
}

void answer(Core& core, const Stranger& s, const Payloads& payloads, std::string key) {
  core.note(s.tunnel, false, s.header, payloads);
  const auto* sa = find<SaPayload>(payloads);
  const auto* ke = find<KePayload>(payloads);
  const auto* nonce = find<NoncePayload>(payloads);
  if (sa == nullptr || ke == nullptr || nonce == nullptr) {
    core.log_stranger(text(s.remote) + " sent an IKE_SA_INIT request that lacks a payload");
    return reply_unprotected(core, s.header, {Protocol::none, {}, NotifyType::invalid_syntax, {}}, s.local,
                             s.remote);
  }
  std::vector<TunnelId> candidates = core.candidates(s.local, s.remote.address);
  if (candidates.empty()) {
    core.log_stranger("no tunnel is configured between " + text(s.local) + " and " + text(s.remote) +
                      ", which wants one");
    return reply_unprotected(core, s.header, {Protocol::none, {}, NotifyType::no_proposal_chosen, {}},
                             s.local, s.remote);
  }
  if (!passes_cookie(core, s, payloads, *nonce)) return;
  if (!has_place(core, s)) return;
  const auto wanted = proposals_of(core, candidates);
  const auto choice = choose_ike(*sa, wanted, {});
  if (!choice) return refuse_proposals(core, s, *sa, wanted, candidates);
  const crypto::DhGroup group = choice->algorithms.group;
  if (ke->group != static_cast<std::uint16_t>(group))  // section 1.2
    return reply(core, s, NotifyType::invalid_ke_payload, group_data(group));
  IkeSa& fresh = core.adopt(
      std::make_unique<IkeSa>(core, IkeSa::Role::responder, core.fresh_ike_spi(), s.local, s.remote));
  fresh.answer_init({s.header, s.datagram, payloads, std::move(key)}, *choice, std::move(candidates));
}

}  // namespace

void reply_unprotected(Core& core, const Header& request, const NotifyPayload& notify, const Endpoint& local,
                       const Endpoint& remote) {
  if (!core.stranger_replies.allows(core.now)) return;
  Header head = request;
  head.version = 0x20;
  head.from_initiator = !request.from_initiator;
  head.response = true;
  core.note(std::nullopt, true, head, {notify});
  core.host.send(local, remote, encode_plain(head, {notify}));
}

void receive_init_request(Core& core, const Header& header, Bytes datagram, const Endpoint& local,
                          const Endpoint& remote) {
  // Section 3.1: the initiator's first message, and only it, has message ID 0 and no responder's SPI.
  if (header.message_id != 0 || header.spi_responder != 0 || !header.from_initiator) return;
  if (core.ending) return;
  const Stranger stranger{header, datagram, local, remote, only(core, core.between(local, remote.address))};
  std::string key = request_key(stranger);
  if (const auto known = core.init_requests.find(key); known != core.init_requests.end()) {
    if (IkeSa* sa = core.find_sa(known->second)) sa->init_again();
    return;
  }
  const Result<Payloads> parsed = parse_plain(header, datagram);
  if (const auto* refusal = std::get_if<Refusal>(&parsed)) {
    core.log_stranger("a malformed IKE_SA_INIT request from " + text(remote) + ": " + refusal->words);
    if (refusal->notify)
      reply_unprotected(core, header, {Protocol::none, {}, *refusal->notify, refusal->notify_data}, local,
                        remote);
    return;
  }
  answer(core, stranger, std::get<Payloads>(parsed), std::move(key));
}

}  // namespace espgate::ike
