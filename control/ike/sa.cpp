// Sequence, retransmission and protection: what every exchange shares (RFC 7296 sections 2.1 to 2.3).
#include "control/ike/sa.hpp"

#include <algorithm>
#include <utility>

namespace espgate::ike {
namespace {

constexpr auto kLinger = std::chrono::seconds(30);

// The Fragment Number of an Encrypted Fragment payload that leads its message (RFC 7383 section 2.5).
unsigned fragment_number(Bytes datagram) {
  constexpr std::size_t kAt = Header::kLength + 4;
  return datagram.size() < kAt + 2 ? 0U : static_cast<unsigned>(datagram[kAt]) << 8 | datagram[kAt + 1];
}

NotifyPayload notify_of(const Refusal& refusal) {
  return {Protocol::none, {}, refusal.notify.value_or(NotifyType::invalid_syntax), refusal.notify_data};
}

// Section 2.21.2: a peer that knows the error by itself reads no further; others know a Delete.
Payloads end_payloads(NotifyType why) {
  Payloads out;
  if (why != NotifyType{}) out.emplace_back(NotifyPayload{Protocol::none, {}, why, {}});
  out.emplace_back(DeletePayload{Protocol::ike, {}});
  return out;
}

}  // namespace

IkeSa::IkeSa(Core& core, Role role, std::uint64_t our_spi, const Endpoint& local, const Endpoint& remote)
    : core_(core),
      role_(role),
      local_(local),
      remote_(remote),
      state_(role == Role::initiator ? State::init_sent : State::init_answered),
      retransmission_(core.timers),
      life_(core.timers),
      rekey_(core.timers),
      expire_(core.timers),
      dpd_(core.timers),
      redundant_(core.timers),
      reauth_(core.timers),
      origin_{role, our_spi, core.now, {}, {}},
      last_heard_(core.now) {
  (role == Role::initiator ? spi_initiator_ : spi_responder_) = our_spi;
}

IkeSa::~IkeSa() {
  if (!init_key_.empty()) core_.init_requests.erase(init_key_);
}

std::string IkeSa::peer() const { return to_string(remote_.address) + ":" + std::to_string(remote_.port); }

std::optional<TunnelId> IkeSa::subject() const {
  if (tunnel_ || candidates_.size() != 1 || core_.is_slot(candidates_.front())) return tunnel_;
  return candidates_.front();
}

Header IkeSa::header(Exchange exchange, bool response, std::uint32_t id) const {
  Header out;
  out.spi_initiator = spi_initiator_;
  out.spi_responder = spi_responder_;
  out.exchange = exchange;
  out.from_initiator = role_ == Role::initiator;
  out.response = response;
  out.message_id = id;
  return out;
}

void IkeSa::set_keys(const IkeAlgorithms& algorithms, IkeKeys keys) {
  algorithms_ = algorithms;
  const auto make = [&algorithms](const crypto::SecretBytes& e, const crypto::SecretBytes& a) {
    return crypto::IkeCipher::make(algorithms.cipher, algorithms.key_bits, algorithms.integrity, e.view(),
                                   a.view());
  };
  auto from_initiator = make(keys.sk_ei, keys.sk_ai);
  auto from_responder = make(keys.sk_er, keys.sk_ar);
  const bool initiator = role_ == Role::initiator;
  out_ = std::move(initiator ? from_initiator : from_responder);
  in_ = std::move(initiator ? from_responder : from_initiator);
  keys_.sk_d = std::move(keys.sk_d);
  keys_.sk_pi = std::move(keys.sk_pi);
  keys_.sk_pr = std::move(keys.sk_pr);
}

// Bytes of UDP payload beyond which a message goes in fragments; 0: none.
std::size_t IkeSa::datagram_limit() const {
  if (!peer_fragments_) return 0;
  const std::size_t size = core_.settings.fragment_size;
  return remote_.address.is_v6() ? std::min(size, kFragmentSize6) : size;
}

// ---- our requests

void IkeSa::enqueue(Task task) { tasks_.push_back(std::move(task)); }

void IkeSa::next_task() {
  while (!request_ && !tasks_.empty() && out_ && state_ != State::gone) {
    const Task task = tasks_.front();
    tasks_.pop_front();
    if (begin_task(task)) return;
  }
}

// False: there is nothing to do for it any more.
bool IkeSa::begin_task(const Task& task) {
  using Kind = Task::Kind;
  switch (task.kind) {
    case Kind::init:
    case Kind::auth:
      return false;  // these begin on their own
    case Kind::dpd:
      send_request(task, Exchange::informational, {});
      return true;
    case Kind::create_child:
    case Kind::rekey_child:
      return state_ == State::established && begin_child(task);
    case Kind::rekey_ike:
      return state_ == State::established && begin_ike_rekey(task);
    case Kind::delete_child:
      if (state_ != State::established) return false;
      send_request(task, Exchange::informational, {DeletePayload{Protocol::esp, {task.spi}}});
      return true;
    case Kind::delete_ike:
      send_request(task, Exchange::informational, end_payloads(task.why));
      return true;
  }
  return false;
}

void IkeSa::send_request(const Task& task, Exchange exchange, const Payloads& payloads) {
  const std::uint32_t id = next_id_++;
  core_.note(concerned(task), true, header(exchange, false, id), payloads);
  transmit(seal_message(header(exchange, false, id), payloads, *out_, datagram_limit()), task, exchange, id);
}

void IkeSa::transmit(std::vector<ByteVector> datagrams, const Task& task, Exchange exchange,
                     std::uint32_t id) {
  request_ = Request{task, exchange, id, std::move(datagrams), 0, {}, core_.now};
  responses_.clear();
  for (const ByteVector& datagram : request_->datagrams) core_.host.send(local_, remote_, datagram);
  arm_retransmission();
}

// RFC 7296 section 2.4: the waits grow, and in the end the peer counts as gone.
void IkeSa::arm_retransmission() {
  request_->wait = request_->sent == 0 ? core_.settings.retransmit_first : request_->wait * 3 / 2;
  ++request_->sent;
  retransmission_.set(core_.now + request_->wait, [this] { retransmit(); });
}

void IkeSa::retransmit() {
  if (request_->sent >= core_.settings.retransmit_tries) return give_up();
  for (const ByteVector& datagram : request_->datagrams) core_.host.send(local_, remote_, datagram);
  if (const auto id = concerned(request_->task)) core_.tunnel(*id).story.repeated();
  arm_retransmission();
}

void IkeSa::give_up() {
  const auto silence = std::chrono::duration_cast<std::chrono::seconds>(core_.now - request_->first_sent);
  const bool dpd = request_->task.kind == Task::Kind::dpd;
  const std::string what = dpd ? "DPD" : name_of(request_->exchange);
  const std::string line = "no answer to " + what + " for " + std::to_string(silence.count()) + " s";
  if (is_attempt()) return attempt_over(init_problem_.value_or(Reason{Failure::no_answer, line}));
  if (state_ != State::deleting) log(line + ": " + peer() + " counts as gone");
  close({Failure::dpd_timeout, line});
}

void IkeSa::finish_request() {
  retransmission_.cancel();
  request_.reset();
  responses_.clear();
}

// Whose child SA it is about, where that is known.
std::optional<TunnelId> IkeSa::concerned(const Task& task) const {
  if (task.kind == Task::Kind::create_child) return task.tunnel;
  const ChildSa* child = task.spi != 0 ? core_.find_child(task.spi) : nullptr;
  return child != nullptr ? std::optional(child->install.tunnel) : tunnel_;
}

bool IkeSa::has_child_of(TunnelId tunnel) const {
  return std::any_of(children.begin(), children.end(),
                     [tunnel](const ChildSa* c) { return c->install.tunnel == tunnel; });
}

bool IkeSa::child_under_way(TunnelId tunnel) const {
  using Kind = Task::Kind;
  const auto makes_child = [&](const Task& t) {
    return (t.kind == Kind::create_child || t.kind == Kind::rekey_child) && concerned(t) == tunnel;
  };
  return (request_ && makes_child(request_->task)) || std::any_of(tasks_.begin(), tasks_.end(), makes_child);
}

// ---- what comes in

void IkeSa::received(const Header& header, Bytes datagram, const Endpoint& local, const Endpoint& remote) {
  if (!in_ || header.from_initiator == (role_ == Role::initiator)) return;
  if (header.response) {
    received_response(header, datagram);
  } else {
    received_request(header, datagram, local, remote);
  }
  next_task();
}

// Absent: not authentic, or a fragment with others to come.
std::optional<Result<Payloads>> IkeSa::open(const Header& header, Bytes datagram, Reassembly& reassembly) {
  if (is_fragment(datagram)) {
    const bool authenticated = state_ != State::init_answered && state_ != State::auth_sent;
    Reassembly::Progress progress =
        reassembly.add(header, datagram, *in_, authenticated ? kMaxContent : kMaxContentBeforeAuth);
    if (progress.authentic) last_heard_ = core_.now;
    return std::move(progress.payloads);
  }
  Opened opened = open_message(header, datagram, *in_);
  if (!opened.authentic) return std::nullopt;
  last_heard_ = core_.now;
  return std::move(opened.payloads);
}

void IkeSa::received_request(const Header& header, Bytes datagram, const Endpoint& local,
                             const Endpoint& remote) {
  if (state_ == State::init_sent || state_ == State::auth_sent) return;
  if (responded_id_ == header.message_id) return repeated_request(header, datagram, local, remote);
  if (state_ == State::gone || header.message_id != expected_id_) return;  // section 2.3: outside the window
  // An IKE SA begins with exactly one IKE_AUTH exchange here, and has none later.
  if ((header.exchange == Exchange::ike_auth) != (state_ == State::init_answered)) return;
  const auto content = open(header, datagram, requests_);
  if (!content) return;
  try {
    handle_request(header, *content, local, remote);
  } catch (const KeeperAway& away) {  // only answer_auth asks it
    postpone_auth(away.what());
  }
}

// Section 2.1: a retransmitted request is answered as it was, and changes nothing. It must be authentic, so
// that nobody else can make us send; of a fragmented one the first fragment counts (RFC 7383 section 2.6.1).
void IkeSa::repeated_request(const Header& header, Bytes datagram, const Endpoint& local,
                             const Endpoint& remote) {
  if (is_fragment(datagram)) {
    Reassembly one;
    if (fragment_number(datagram) != 1 || !one.add(header, datagram, *in_).authentic) return;
  } else if (!open_message(header, datagram, *in_).authentic) {
    return;
  }
  for (ChildSa* child : children)
    if (awaits_peer(*child)) core_.send_later(*child);
  send_response(local, remote);
}

// We answered, and do not know yet whether the peer heard it. Where both sides rekeyed the same, the peer's
// new one may have to go again: it is decided first.
bool IkeSa::awaits_peer(const ChildSa& child) const {
  const bool undecided = child_offer_ && child_offer_->rival_spi == child.spi();
  return child.later.pending() && child.state == ChildSa::State::installed && !undecided;
}

void IkeSa::handle_request(const Header& header, const Result<Payloads>& content, const Endpoint& local,
                           const Endpoint& remote) {
  ++expected_id_;
  requests_.clear();
  follow(local, remote);
  // Whoever sends a new request has our last answer, and can receive on what it made.
  std::vector<std::uint32_t> confirmed;
  for (const ChildSa* child : children)
    if (awaits_peer(*child)) confirmed.push_back(child->spi());

  if (const auto* refusal = std::get_if<Refusal>(&content)) {
    const NotifyPayload notify = notify_of(*refusal);
    log("a malformed request from " + peer() + ": " + refusal->words);
    respond(header, {notify}, std::nullopt, local, remote);
    end_if_fatal({notify}, refusal->words);
  } else {
    const Payloads& payloads = std::get<Payloads>(content);
    chosen_by_peer(payloads);
    const auto about = concerned(header, payloads);
    core_.note(about, false, header, payloads);
    const Payloads answer = dispatch_request(header, payloads);
    respond(header, answer, about, local, remote);
    end_if_fatal(answer,
                 "its " + name_of(header.exchange) + " lacks a payload, or has a value that can't be");
  }
  for (const std::uint32_t spi : confirmed) {
    ChildSa* child = core_.find_child(spi);
    const bool stays = child != nullptr && !child->owner->is_closing();
    if (stays && child->state == ChildSa::State::installed) core_.start_sending(*child);
  }
  after_answer();
}

// Section 2.21.3: whoever answers INVALID_SYNTAX to an authentic request has closed the IKE SA.
void IkeSa::end_if_fatal(const Payloads& answer, const std::string& why) {
  if (end_after_answer_ || find_notify(answer, NotifyType::invalid_syntax) == nullptr) return;
  end_after_answer_ = Reason{Failure::protocol_error, "the peer sent a malformed request: " + why};
}

// What had to wait until the answer was on its way.
void IkeSa::after_answer() {
  if (const auto spi = std::exchange(wake_after_answer_, std::nullopt)) {
    if (IkeSa* heir = core_.find_sa(*spi)) heir->next_task();
  }
  const auto reason = std::exchange(end_after_answer_, std::nullopt);
  if (!reason) return;
  if (state_ == State::init_answered) return attempt_over(*reason);
  close(*reason);
}

Payloads IkeSa::dispatch_request(const Header& header, const Payloads& payloads) {
  if (header.exchange == Exchange::ike_auth) return answer_auth(payloads);
  if (header.exchange == Exchange::create_child_sa) return answer_create_child(payloads);
  return answer_informational(payloads);
}

void IkeSa::respond(const Header& request, const Payloads& payloads, std::optional<TunnelId> about,
                    const Endpoint& local, const Endpoint& remote) {
  core_.note(about ? about : subject(), true, header(request.exchange, true, request.message_id), payloads);
  last_response_ =
      seal_message(header(request.exchange, true, request.message_id), payloads, *out_, datagram_limit());
  responded_id_ = request.message_id;
  send_response(local, remote);
}

// Section 2.11: to where the request came from, from where it came to.
void IkeSa::send_response(const Endpoint& local, const Endpoint& remote) {
  for (const ByteVector& datagram : last_response_) core_.host.send(local, remote, datagram);
}

// IKE_AUTH moves to port 4500 when there is a NAT. Later only a peer behind a NAT may move, and only where we
// are not behind one ourselves (section 2.23).
void IkeSa::follow(const Endpoint& local, const Endpoint& remote) {
  if (local == local_ && remote == remote_) return;
  if (state_ == State::init_answered) {
    local_ = local;
    remote_ = remote;
  } else if (may_follow()) {
    local_ = local;
    move_to(remote);
  }
}

// The same, by what the dataplane heard on a child.
void IkeSa::heard_from(const Endpoint& remote) {
  if (remote != remote_ && may_follow()) move_to(remote);
}

bool IkeSa::may_follow() const { return state_ == State::established && nat_.remote && !nat_.local; }

void IkeSa::move_to(const Endpoint& remote) {
  log("the peer moved from " + peer() + " to " + to_string(remote.address) + ":" +
      std::to_string(remote.port));
  remote_ = remote;
  for (ChildSa* child : children) {
    if (!child->install.udp_encapsulation || child->install.remote == remote) continue;
    child->install.remote = remote;
    core_.host.move_child(child->install);
  }
}

void IkeSa::received_response(const Header& header, Bytes datagram) {
  if (!request_ || header.message_id != request_->id || header.exchange != request_->exchange) return;
  const auto content = open(header, datagram, responses_);
  if (!content) return;
  const Request request = std::move(*request_);
  finish_request();
  if (const auto* refusal = std::get_if<Refusal>(&*content)) {
    malformed_response(request, *refusal);
  } else {
    core_.note(concerned(request.task), false, header, std::get<Payloads>(*content));
    dispatch_response(request, std::get<Payloads>(*content));
  }
}

// Section 2.21.3: an error in a response can't be answered in it; the IKE SA is deleted.
void IkeSa::malformed_response(const Request& request, const Refusal& refusal) {
  const Reason reason{Failure::protocol_error, "the peer's answer to " + name_of(request.exchange) +
                                                   " is malformed: " + refusal.words};
  if (is_attempt()) return attempt_over(reason);
  log(reason.summary);
  if (state_ == State::deleting) return close(reason);
  put_back(request.task);
  delete_ike(reason);
}

void IkeSa::dispatch_response(const Request& request, const Payloads& payloads) {
  using Kind = Task::Kind;
  if (!is_attempt() && find_notify(payloads, NotifyType::invalid_syntax) != nullptr) {
    put_back(request.task);
    return close({Failure::protocol_error, "the peer finds our " + name_of(request.exchange) +
                                               " malformed (INVALID_SYNTAX), and has closed the IKE SA"});
  }
  if (request.exchange == Exchange::create_child_sa && !find_notify(payloads, NotifyType::temporary_failure))
    temporary_since_.reset();
  const bool matters = request.task.kind == Kind::delete_ike || request.task.kind == Kind::rekey_ike;
  if (state_ == State::deleting && !matters) return;
  switch (request.task.kind) {
    case Kind::init:
      break;
    case Kind::auth:
      return auth_response(payloads);
    case Kind::create_child:
    case Kind::rekey_child:
      return child_response(request, payloads);
    case Kind::rekey_ike:
      return ike_rekey_response(request, payloads);
    case Kind::dpd:
    case Kind::delete_child:
    case Kind::delete_ike:
      return informational_response(request);
  }
}

// ---- the end

// A child SA of which nothing came is told of as those that were still to be made.
void IkeSa::put_back(const Task& task) {
  if (task.kind == Task::Kind::create_child) tasks_.push_front(task);
}

// The child SAs that were still to be made are not, by this IKE SA.
void IkeSa::drop_tasks(const Reason& reason) {
  std::vector<TunnelId> wanted;
  for (const Task& task : tasks_)
    if (task.kind == Task::Kind::create_child) wanted.push_back(task.tunnel);
  const bool asked = request_ && request_->task.kind == Task::Kind::create_child;
  if (asked && state_ != State::deleting) wanted.push_back(request_->task.tunnel);
  tasks_.clear();
  for (const TunnelId id : wanted)
    if (core_.tunnel(id).sending == nullptr) core_.host.attempt_failed(id, reason);
}

void IkeSa::abandon_offers() {
  if (child_offer_) core_.host.release_spi(child_offer_->spi);
  child_offer_.reset();
  ike_offer_.reset();
}

// The last answer may be lost: it can be had again for a while, and nothing else.
void IkeSa::linger() {
  state_ = State::gone;
  core_.leave_tunnel(*this);
  for (Timer* timer : {&rekey_, &expire_, &dpd_, &redundant_, &reauth_}) timer->cancel();
  if (last_response_.empty()) return core_.bury(*this);
  life_.set(core_.now + kLinger, [this] { core_.bury(*this); });
}

IkeInfo IkeSa::info() const {
  static constexpr const char* kStates[] = {"INIT sent", "INIT answered", "AUTH sent", "established",
                                            "rekeyed",   "deleting",      "gone"};
  IkeInfo out;
  out.tunnel_known = tunnel_.has_value();
  out.tunnel = tunnel_.value_or(0);
  out.spi_initiator = spi_initiator_;
  out.spi_responder = spi_responder_;
  out.initiator = role_ == Role::initiator;
  out.state =
      ike_offer_ && state_ == State::established ? "rekeying" : kStates[static_cast<std::size_t>(state_)];
  if (in_) out.algorithms = describe(algorithms_);
  out.software = software_;
  if (origin_.ppk) out.ppk = ppk().id;
  out.local = local_;
  out.remote = remote_;
  if (tunnel_) {
    out.local_id = config().local_id.text;
    out.remote_id = core_.peer_of(*tunnel_);
  }
  out.nat_local = nat_.local;
  out.nat_remote = nat_.remote;
  out.established = established_;
  out.rekey_at = rekey_at_;
  out.expires_at = expires_at_;
  for (const ChildSa* child : children) {
    const ChildInstall& c = child->install;
    out.children.push_back({c.tunnel, c.inbound_spi, c.outbound_spi, c.suite, child->pfs_group, c.mode, c.esn,
                            c.udp_encapsulation, c.local_selectors, c.remote_selectors, child->established,
                            child->rekey_at, child->expires_at});
  }
  return out;
}

}  // namespace espgate::ike
