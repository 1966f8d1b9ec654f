// IKE_SA_INIT, both sides (RFC 7296 sections 1.2, 2.6, 2.6.1, 2.23). Nothing here is authenticated: an error
// is noted and told only when no proper answer comes.
#include <algorithm>

#include "control/ike/exchange.hpp"
#include "control/ike/sa.hpp"

namespace espgate::ike {
namespace {

constexpr unsigned kMaxInitRetries = 4;  // cookies and groups in all
constexpr std::size_t kMaxCookie = 64;   // RFC 7296 section 2.6
constexpr std::uint16_t kNattPort = 4500;
// An attacker can send NO_PROPOSAL_CHOSEN faster than the peer its answer (section 2.21.1).
constexpr auto kPatience = std::chrono::seconds(2);

}  // namespace

// ---- initiator

void IkeSa::attempt(Core& core, TunnelId tunnel) {
  constexpr std::uint16_t kIkePort = 500;
  const conf::Tunnel& wanted = *core.tunnel(tunnel).config;
  IkeSa& fresh = core.adopt(std::make_unique<IkeSa>(core, Role::initiator, core.fresh_ike_spi(),
                                                    Endpoint{wanted.local, kIkePort, wanted.table.id},
                                                    Endpoint{wanted.remote, kIkePort, wanted.table.id}));
  fresh.begin(tunnel);
}

void IkeSa::begin(TunnelId id) {
  tunnel_ = id;
  core_.join_tunnel(*this, id);
  nonce_ = fresh_nonce();
  offer_ = offer_ike(config().ike_proposals, {});
  dh_ = crypto::DhKey::generate(config().ike_proposals.front().groups.front());
  if (const auto reason = choose_ppk()) return attempt_over(*reason);
  send_init();
}

void IkeSa::send_init() {
  const Header head = header(Exchange::ike_sa_init, false, 0);
  Payloads payloads;
  if (!cookie_.empty())
    payloads.emplace_back(plain_notify(NotifyType::cookie, cookie_));  // first (section 2.6)
  payloads.emplace_back(offer_);
  payloads.emplace_back(ke_payload(*dh_));
  payloads.emplace_back(NoncePayload{nonce_});
  const bool pretend = config().encapsulation == conf::Encapsulation::udp;
  add_nat_notifies(payloads, head, local_, remote_, pretend);
  payloads.emplace_back(plain_notify(NotifyType::fragmentation_supported));
  if (uses_signatures(config())) payloads.emplace_back(hashes_notify());
  if (origin_.ppk) payloads.emplace_back(plain_notify(NotifyType::use_ppk));
  core_.note(tunnel_, true, head, payloads);
  init_sent_ = encode_plain(head, payloads);
  transmit({init_sent_}, {Task::Kind::init, 0, {}, {}, 0}, Exchange::ike_sa_init, 0);
}

void IkeSa::init_response(const Header& head, Bytes datagram) {
  if (state_ != State::init_sent || !request_ || head.message_id != 0 || head.from_initiator) return;
  const Result<Payloads> parsed = parse_plain(head, datagram);
  if (const auto* refusal = std::get_if<Refusal>(&parsed))
    return init_refused(
        {Failure::protocol_error, "the peer's answer to IKE_SA_INIT is malformed: " + refusal->words});
  const Payloads& payloads = std::get<Payloads>(parsed);
  core_.note(tunnel_, false, head, payloads);
  const NotifyPayload* cookie = find_notify(payloads, NotifyType::cookie);
  if (const NotifyPayload* error = find_error(payloads)) return init_error(*error);
  if (cookie != nullptr && find<SaPayload>(payloads) == nullptr) {
    if (cookie->data.empty() || cookie->data.size() > kMaxCookie || cookie->data == cookie_) return;
    if (++init_retries_ > kMaxInitRetries) return;
    cookie_ = cookie->data;
    finish_request();
    return send_init();
  }
  init_accept(head, datagram, payloads);
}

void IkeSa::init_error(const NotifyPayload& error) {
  switch (error.type) {
    case NotifyType::invalid_ke_payload:
      return retry_group(error);
    case NotifyType::no_proposal_chosen:
      return init_refused({Failure::no_ike_proposal, "the peer has no IKE proposal in common: we offered " +
                                                         describe(offer_) +
                                                         ", it answered NO_PROPOSAL_CHOSEN"});
    case NotifyType::invalid_major_version:
      return init_refused({Failure::ike_version,
                           "the peer speaks another version of IKE, and only IKEv2 is "
                           "spoken here: it answered INVALID_MAJOR_VERSION"});
    default:
      return init_refused(
          {Failure::protocol_error, "the peer refused IKE_SA_INIT with " + name_of(error.type)});
  }
}

void IkeSa::other_version(const Reason& reason) {
  if (state_ == State::init_sent) init_refused(reason);
}

// RFC 7296 section 2.4: ICMP may not end an attempt; it is tried as often as otherwise.
void IkeSa::unreachable(const Reason& reason) {
  if (!is_attempt() || init_problem_) return;
  log("not authenticated: " + reason.summary);
  init_problem_ = reason;
}

void IkeSa::init_refused(Reason reason) {
  if (init_problem_ && init_problem_->failure != Failure::unreachable) return;
  log("from " + peer() + ", not authenticated: " + reason.summary);
  init_problem_ = std::move(reason);
  life_.set(core_.now + kPatience, [this] { attempt_over(*init_problem_); });
}

// Section 1.2: the peer wants another group of those we offered.
void IkeSa::retry_group(const NotifyPayload& notify) {
  const crypto::DhGroup group = asked_group(notify);
  const std::string number = std::to_string(static_cast<unsigned>(group));
  if (group == dh_->group()) return;  // the answer to a request from before came twice
  if (!offers(config().ike_proposals, group) || ++init_retries_ > kMaxInitRetries)
    return init_refused({Failure::invalid_ke, "the peer asks for DH group " + number +
                                                  ", which we did not offer: we offered " +
                                                  describe(offer_)});
  log("the peer prefers DH group " + number);
  dh_ = crypto::DhKey::generate(group);
  finish_request();
  send_init();  // with the cookie, if there was one (section 2.6.1)
}

void IkeSa::init_accept(const Header& head, Bytes datagram, const Payloads& payloads) {
  const auto* sa = find<SaPayload>(payloads);
  const auto* ke = find<KePayload>(payloads);
  const auto* nonce = find<NoncePayload>(payloads);
  if (sa == nullptr || ke == nullptr || nonce == nullptr || head.spi_responder == 0)
    return init_refused({Failure::protocol_error, "the peer's answer to IKE_SA_INIT lacks a payload"});
  if (config().childless == conf::Childless::require &&
      find_notify(payloads, NotifyType::childless_ikev2_supported) == nullptr)
    return init_refused({Failure::protocol_error,
                         "the peer does not set up IKE SAs without a child SA (RFC 6023), and that is what "
                         "childless: require asks for"});
  if (const auto reason = refuse_without_ppk(payloads)) return init_refused(*reason);
  const auto choice = accept_ike(*sa, offer_);
  if (!choice)
    return init_refused({Failure::protocol_error, "the peer chose what we did not offer: " + describe(*sa)});
  const bool same_group =
      choice->algorithms.group == dh_->group() && ke->group == static_cast<std::uint16_t>(dh_->group());
  const auto secret = same_group ? dh_->shared_secret(ke->data) : std::nullopt;
  if (!secret) return init_refused({Failure::protocol_error, "the peer's Diffie-Hellman value is not valid"});

  finish_request();
  life_.cancel();
  init_problem_.reset();
  spi_responder_ = head.spi_responder;
  peer_nonce_ = nonce->data;
  init_received_.assign(datagram.begin(), datagram.end());
  note_extensions(payloads, head);
  note_certificate_requests(payloads);
  set_keys(choice->algorithms, derive_ike_keys(choice->algorithms, secret->view(), {nonce_, peer_nonce_},
                                               {spi_initiator_, spi_responder_}));
  dh_.reset();
  next_id_ = 1;
  const bool pretend = config().encapsulation == conf::Encapsulation::udp;
  if (nat_.supported && (nat_.local || nat_.remote || pretend)) {  // section 2.23: all moves to port 4500
    local_.port = kNattPort;
    remote_.port = kNattPort;
  }
  state_ = State::auth_sent;
  try {
    begin_ppk(payloads);
    send_auth();
  } catch (const KeeperAway& away) {
    attempt_over({Failure::keys_away, away.what()});
  }
}

void IkeSa::note_extensions(const Payloads& payloads, const Header& head) {
  nat_ = detect_nat(payloads, head, local_, remote_);
  peer_fragments_ = find_notify(payloads, NotifyType::fragmentation_supported) != nullptr;
  software_ = software_of(payloads);
  if (const auto id = subject()) core_.tunnel(*id).story.nat(nat_.local, nat_.remote);
  peer_childless_ = find_notify(payloads, NotifyType::childless_ikev2_supported) != nullptr;
  peer_hashes_ = hashes_in(payloads);
}

// ---- responder

void IkeSa::answer_init(const InitRequest& request, const IkeChoice& choice,
                        std::vector<TunnelId> candidates) {
  const auto& ke = *find<KePayload>(request.payloads);
  candidates_ = std::move(candidates);
  spi_initiator_ = origin_.spi_initiator = request.header.spi_initiator;
  peer_nonce_ = find<NoncePayload>(request.payloads)->data;
  init_received_.assign(request.datagram.begin(), request.datagram.end());
  note_extensions(request.payloads, request.header);
  nonce_ = fresh_nonce();
  dh_ = crypto::DhKey::generate(choice.algorithms.group);
  const auto secret = dh_->shared_secret(ke.data);
  if (!secret) {
    core_.log_stranger(peer() + " sent a Diffie-Hellman value that is not valid");
    return core_.bury(*this);
  }
  const Header head = header(Exchange::ike_sa_init, true, 0);
  Payloads answer{choice.answer};
  answer.emplace_back(ke_payload(*dh_));
  answer.emplace_back(NoncePayload{nonce_});
  const bool pretend = std::any_of(candidates_.begin(), candidates_.end(), [this](TunnelId id) {
    return core_.tunnel(id).config->encapsulation == conf::Encapsulation::udp;
  });
  if (nat_.supported) add_nat_notifies(answer, head, local_, remote_, pretend);
  if (peer_fragments_) answer.emplace_back(plain_notify(NotifyType::fragmentation_supported));
  const bool childless = std::any_of(candidates_.begin(), candidates_.end(), [this](TunnelId id) {
    return core_.tunnel(id).config->childless != conf::Childless::never;
  });
  if (childless) answer.emplace_back(plain_notify(NotifyType::childless_ikev2_supported));
  const bool signatures = std::any_of(candidates_.begin(), candidates_.end(), [this](TunnelId id) {
    return uses_signatures(*core_.tunnel(id).config);
  });
  if (signatures && !peer_hashes_.empty()) answer.emplace_back(hashes_notify());
  if (answers_ppk(request.payloads)) answer.emplace_back(plain_notify(NotifyType::use_ppk));
  request_certificates(candidates_, answer);
  core_.note(subject(), true, head, answer);
  init_sent_ = encode_plain(head, answer);
  set_keys(choice.algorithms, derive_ike_keys(choice.algorithms, secret->view(), {peer_nonce_, nonce_},
                                              {spi_initiator_, spi_responder_}));
  dh_.reset();
  expected_id_ = 1;
  half_open_.emplace(core_.half_open, remote_);
  init_key_ = request.key;
  core_.init_requests.emplace(init_key_, our_spi());
  life_.set(core_.now + kHalfOpenLife, [this] {
    gave_up_half_way();
    core_.bury(*this);
  });
  core_.host.send(local_, remote_, init_sent_);
}

void IkeSa::init_again() {
  if (state_ == State::init_answered) core_.host.send(local_, remote_, init_sent_);
}

}  // namespace espgate::ike
