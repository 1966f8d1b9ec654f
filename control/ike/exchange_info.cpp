// INFORMATIONAL: deletes and dead peer detection (RFC 7296 sections 1.4, 1.4.1, 2.4, 2.25), and how an IKE SA
// ends.
#include <algorithm>

#include "control/ike/sa.hpp"

namespace espgate::ike {
namespace {

// RFC 7296 section 2.25: after "several minutes" of TEMPORARY_FAILURE the two sides are out of step.
constexpr auto kTemporaryLimit = std::chrono::minutes(3);
constexpr auto kTemporaryPause = std::chrono::minutes(2);  // longer than anything waits to be tried again
constexpr auto kHintPause = std::chrono::seconds(1);

}  // namespace

// ---- the peer's

Payloads IkeSa::answer_informational(const Payloads& payloads) {
  Payloads answer;
  for (const Payload& payload : payloads) {
    if (const auto* request = std::get_if<DeletePayload>(&payload)) {
      if (request->protocol == Protocol::ike) {
        peer_deletes_ike();
        return {};
      }
      if (request->protocol == Protocol::esp) peer_deletes_children(*request, answer);
    } else if (const auto* notify = std::get_if<NotifyPayload>(&payload)) {
      if (notify->type == NotifyType::authentication_failed) {  // section 2.21.2
        end_after_answer_ = refused_us();
        return {};
      }
      if (notify->type == NotifyType::auth_lifetime) follow_lifetime(*notify);
      if (is_error(notify->type)) log("the peer reports " + name_of(notify->type));
    }
  }
  return answer;
}

void IkeSa::peer_deletes_children(const DeletePayload& request, Payloads& answer) {
  DeletePayload ours{Protocol::esp, {}};
  for (const std::uint32_t spi : request.spis) {
    ChildSa* child = child_by_outbound(spi);
    if (child == nullptr) continue;
    // Section 1.4.1: both sides delete the same pair: the answer does not repeat what our own request says.
    const bool crossing =
        request_ && request_->task.kind == Task::Kind::delete_child && request_->task.spi == child->spi();
    if (!crossing) ours.spis.push_back(child->spi());
    core_.remove_child(*child, Core::Inbound::drain,
                       {Failure::peer_deleted, "the peer deleted the child SA"});
  }
  if (!ours.spis.empty()) answer.emplace_back(std::move(ours));
}

void IkeSa::peer_deletes_ike() {
  end_after_answer_ = Reason{Failure::peer_deleted, "the peer closed the IKE SA"};
  // Section 2.8.2: the peer rekeyed and did not notice that we did too. Ours is forgotten.
  IkeSa* const rival = ike_offer_ && state_ != State::deleting ? rival_of(*ike_offer_) : nullptr;
  if (rival != nullptr) {
    hand_over_to(*rival);
    wake_after_answer_ = rival->our_spi();
  }
  // With our answer the peer forgets the SAs, so what is sent is on others before.
  for (ChildSa* child : children) core_.step_in_for(*child);
}

// ---- ours

void IkeSa::informational_response(const Request& request) {
  if (request.task.kind == Task::Kind::delete_ike) return close({Failure::replaced, "closed"});
  if (request.task.kind != Task::Kind::delete_child) return;
  if (ChildSa* child = core_.find_child(request.task.spi); child != nullptr && child->owner == this)
    core_.remove_child(*child, Core::Inbound::drain, {Failure::replaced, "rekeyed"});
}

// By IKE, or on any of the child SAs.
Time IkeSa::last_heard() const {
  Time heard = last_heard_;
  core_.for_each_sharing(*tunnel_, [&](TunnelId id) {
    if (const auto inbound = core_.host.last_inbound(id)) heard = std::max(heard, *inbound);
  });
  return heard;
}

void IkeSa::arm_dpd() {
  const auto interval = config().dpd_interval;
  if (interval.count() == 0) return;
  const Time heard = last_heard();
  const bool silent = core_.now - heard >= interval;
  dpd_.set((silent ? core_.now : heard) + interval, [this] { check_peer(); });
}

void IkeSa::check_peer() {
  const auto interval = config().dpd_interval;
  // A request that waits for its answer asks the same.
  if (core_.now - last_heard() >= interval && !request_ && tasks_.empty())
    enqueue({Task::Kind::dpd, 0, {}, {}, 0});
  arm_dpd();
  next_task();
}

// RFC 7296 section 2.4 and 2.21.4: a hint that is not authenticated may only make us ask.
void IkeSa::unprotected_hint() {
  if (state_ != State::established || request_ || !tasks_.empty() || core_.now - last_heard_ < kHintPause)
    return;
  enqueue({Task::Kind::dpd, 0, {}, {}, 0});
  next_task();
}

// `expires`: when what was to be rekeyed ends; none: never. A collision passes soon: what has lasted for as
// long as there is left does not, and another IKE SA takes the place of this one first.
void IkeSa::temporary_failure(Time expires) {
  if (!temporary_since_ || core_.now - temporary_last_ > kTemporaryPause) temporary_since_ = core_.now;
  temporary_last_ = core_.now;
  const Time limit = *temporary_since_ + kTemporaryLimit;
  if (core_.now >= limit)
    return delete_ike({Failure::protocol_error, "the peer has answered TEMPORARY_FAILURE for three minutes"});
  const Time end = expires == Time{} ? limit : std::min(expires, limit);
  if (core_.now - *temporary_since_ >= end - core_.now) renew_before(end);
}

// ---- the end

// Out of the dataplane now; the peer is told.
void IkeSa::delete_ike(const Reason& reason, NotifyType why) {
  if (state_ == State::deleting || state_ == State::gone) return;
  drop_tasks(reason);
  state_ = State::deleting;  // nothing begins on it while its children go
  while (!children.empty()) core_.remove_child(*children.back(), end_of_inbound(*children.back()), reason);
  if (tunnel_ && reason.failure != Failure::replaced)
    log("IKE SA with " + peer() + " closed: " + reason.summary);
  begin_delete(why);
}

// What another IKE SA made redundant: its children stay until the peer has answered, for what it still sends
// on them.
void IkeSa::retire() {
  if (state_ != State::established) return;
  log("a redundant IKE SA with " + peer() + " is closed");
  drop_tasks({Failure::replaced, "another IKE SA takes the place of the one that was to make it"});
  for (ChildSa* child : children) {
    child->state = ChildSa::State::deleting;
    for (Timer* timer : {&child->rekey, &child->expire, &child->later}) timer->cancel();
  }
  begin_delete({});
}

void IkeSa::begin_delete(NotifyType why) {
  tasks_.clear();
  // A rekey of ours that is under way is waited for: what it makes has to be deleted, too.
  std::unique_ptr<IkeOffer> under_way = std::move(ike_offer_);
  abandon_offers();
  ike_offer_ = std::move(under_way);
  state_ = State::deleting;
  IkeSa* rival = ike_offer_ ? rival_of(*ike_offer_) : nullptr;
  if (rival != nullptr) rival->delete_ike({Failure::replaced, "closed while it was rekeyed"});
  for (Timer* timer : {&rekey_, &expire_, &dpd_, &redundant_, &reauth_}) timer->cancel();
  enqueue({Task::Kind::delete_ike, 0, why, {}, 0});
  next_task();
}

void IkeSa::delete_ike_once() {
  if (state_ == State::gone) return;
  if (out_ && state_ != State::init_answered && state_ != State::auth_sent) {
    const auto datagrams = seal_message(header(Exchange::informational, false, next_id_++),
                                        {DeletePayload{Protocol::ike, {}}}, *out_, datagram_limit());
    for (const ByteVector& datagram : datagrams) core_.host.send(local_, remote_, datagram);
  }
  abandon();
}

void IkeSa::abandon() { close({Failure::operator_request, "asked for by the operator"}); }

// The tunnel's other child SAs go on: then what is on its way on this one is still welcome.
Core::Inbound IkeSa::end_of_inbound(const ChildSa& child) const {
  const auto& all = core_.tunnel(child.install.tunnel).children;
  const bool others =
      std::any_of(all.begin(), all.end(), [this](const ChildSa* c) { return c->owner != this; });
  return others ? Core::Inbound::drain : Core::Inbound::at_once;
}

void IkeSa::close(const Reason& reason) {
  if (state_ == State::gone) return;
  drop_tasks(reason);
  finish_request();
  abandon_offers();
  const bool expected = state_ == State::deleting || state_ == State::rekeyed || is_attempt();
  state_ = State::gone;  // nothing begins on it while its children go
  while (!children.empty()) core_.remove_child(*children.back(), end_of_inbound(*children.back()), reason);
  if (!expected && tunnel_) log("IKE SA with " + peer() + " closed: " + reason.summary);
  linger();
}

}  // namespace espgate::ike
