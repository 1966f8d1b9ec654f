#include "control/ike/daemon.hpp"

#include <exception>

#include "control/ike/core.hpp"
#include "control/ike/identity.hpp"
#include "control/ike/message.hpp"
#include "control/ike/responder.hpp"
#include "control/ike/sa.hpp"

namespace espgate::ike {
namespace {

constexpr std::uint8_t kFlagInitiator = 0x08;
constexpr std::uint8_t kFlagResponse = 0x20;
constexpr unsigned kTimersAtOnce = 64;

std::uint64_t read_number(Bytes bytes) {
  std::uint64_t out = 0;
  for (const std::uint8_t byte : bytes) out = out << 8 | byte;
  return out;
}

// RFC 7296 section 2.5: a request of a later major version is told which one we speak.
void answer_other_version(Core& core, Bytes datagram, const Refusal& refusal, const Endpoint& local,
                          const Endpoint& remote) {
  if (datagram.size() < Header::kLength || (datagram[19] & kFlagResponse) != 0) return;
  Header head;
  head.spi_initiator = read_number(datagram.subspan(0, 8));
  head.spi_responder = read_number(datagram.subspan(8, 8));
  head.exchange = static_cast<Exchange>(datagram[18]);
  head.from_initiator = (datagram[19] & kFlagInitiator) != 0;
  head.message_id = static_cast<std::uint32_t>(read_number(datagram.subspan(20, 4)));
  reply_unprotected(core, head, {Protocol::none, {}, *refusal.notify, refusal.notify_data}, local, remote);
}

bool speaks_ikev1(Bytes datagram) { return datagram.size() >= Header::kLength && datagram[17] >> 4 == 1; }

// Either it calls us, or it answers so what we asked of it: it is no answer to what it may not understand.
// Anybody can send it, so it only explains what fails anyhow.
void tell_of_ikev1(Core& core, const Endpoint& local, const Endpoint& remote) {
  const Reason reason{Failure::ike_version, "the peer speaks IKEv1, and only IKEv2 is spoken here"};
  for (const TunnelId id : core.between(local, remote.address)) {
    const std::vector<IkeSa*> sas = core.tunnel(id).sas;
    for (IkeSa* sa : sas) sa->other_version(reason);
    if (sas.empty() && core.stranger_log.allows(core.now)) core.host.peer_attempt_failed(id, reason);
  }
  if (core.candidates(local, remote.address).empty())
    core.log_stranger(to_string(remote.address) + " speaks IKEv1, and only IKEv2 is spoken here");
}

bool is_protected(const Header& header) {
  return header.next_payload == PayloadType::encrypted ||
         header.next_payload == PayloadType::encrypted_fragment;
}

bool says_unknown_spi(Core& core, const Header& header, Bytes datagram) {
  if (!header.response) return false;
  const auto parsed = parse_plain(header, datagram);
  const auto* payloads = std::get_if<std::vector<Payload>>(&parsed);
  if (payloads == nullptr || find_notify(*payloads, NotifyType::invalid_ike_spi) == nullptr) return false;
  core.note(std::nullopt, false, header, *payloads);
  return true;
}

void dispatch(Core& core, const Header& header, Bytes datagram, const Endpoint& local,
              const Endpoint& remote) {
  if (header.exchange == Exchange::ike_sa_init) {
    if (!header.response) return receive_init_request(core, header, datagram, local, remote);
    if (IkeSa* sa = core.find_sa(header.spi_initiator)) sa->init_response(header, datagram);
    return;
  }
  const std::uint64_t ours = header.from_initiator ? header.spi_responder : header.spi_initiator;
  const std::uint64_t theirs = header.from_initiator ? header.spi_initiator : header.spi_responder;
  IkeSa* sa = core.find_sa(ours);
  if (sa == nullptr || sa->peer_spi() != theirs) {  // section 2.21.4: only a request is answered
    if (!header.response && is_protected(header))
      reply_unprotected(core, header, {Protocol::none, {}, NotifyType::invalid_ike_spi, {}}, local, remote);
    return;
  }
  if (sa->table() != local.table) return;  // no port of its table has it from its peer
  if (is_protected(header)) return sa->received(header, datagram, local, remote);
  if (says_unknown_spi(core, header, datagram)) sa->unprotected_hint();
}

}  // namespace

struct Daemon::Impl {
  Impl(const std::vector<conf::Tunnel>& tunnels, Keeper& keeper, Host& host, const Settings& settings,
       Time now)
      : core(tunnels, keeper, host, settings, now) {}

  // Runs `work` at `now`. What fails for want of memory or in OpenSSL costs one message, not the process.
  template <class F>
  void at(Time now, F&& work) {
    core.now = std::max(core.now, now);
    try {
      work();
    } catch (const std::exception& error) {
      core.log(std::nullopt, std::string("IKE: ") + error.what());
    }
    core.empty_graveyard();
  }

  // The IKE SAs of a tunnel, which may change under the caller.
  std::vector<IkeSa*> sas(TunnelId tunnel) {
    return core.exists(tunnel) ? core.tunnel(tunnel).sas : std::vector<IkeSa*>{};
  }

  Core core;
};

Daemon::Daemon(const std::vector<conf::Tunnel>& tunnels, Keeper& keeper, Host& host, Settings settings,
               Time now)
    : impl_(std::make_unique<Impl>(tunnels, keeper, host, settings, now)) {}

Daemon::~Daemon() = default;

void Daemon::received(const Endpoint& local, const Endpoint& remote, Bytes datagram, Time now) {
  Core& core = impl_->core;
  impl_->at(now, [&] {
    const Result<Header> parsed = parse_header(datagram);
    if (const auto* header = std::get_if<Header>(&parsed))
      return dispatch(core, *header, datagram, local, remote);
    const Refusal& refusal = std::get<Refusal>(parsed);
    if (speaks_ikev1(datagram)) return tell_of_ikev1(core, local, remote);
    core.log_stranger("not an IKE message, from " + to_string(remote.address) + ": " + refusal.words);
    if (refusal.notify) answer_other_version(core, datagram, refusal, local, remote);
  });
}

void Daemon::initiate(TunnelId tunnel, Time now) {
  if (!impl_->core.exists(tunnel) || impl_->core.is_slot(tunnel)) return;  // its peer begins
  impl_->at(now, [&] {
    Core& core = impl_->core;
    const TunnelId ike = core.ike_of(tunnel);
    bool attempted = false;
    IkeSa* maker = nullptr;
    for (IkeSa* sa : impl_->sas(ike)) {
      attempted = attempted || sa->is_attempt();
      if (sa->state() != IkeSa::State::established) continue;
      if (sa->has_child_of(tunnel)) return;
      if (maker == nullptr || maker->is_redundant()) maker = sa;
    }
    if (!attempted && maker != nullptr) return maker->create_child(tunnel);
    core.tunnel(tunnel).awaits_ike = tunnel != ike;
    if (!attempted) IkeSa::attempt(core, ike);
  });
}

void Daemon::terminate(TunnelId tunnel, const Reason& reason, Time now) {
  if (!impl_->core.exists(tunnel)) return;
  impl_->at(now, [&] {
    Core& core = impl_->core;
    for (IkeSa* sa : impl_->sas(tunnel)) {  // none of a tunnel that has a parent
      if (sa->is_attempt()) {
        sa->abandon();
      } else {
        sa->delete_ike(reason);
      }
    }
    core.tunnel(tunnel).awaits_ike = false;
    if (core.ike_of(tunnel) != tunnel)
      for (ChildSa* child : std::vector<ChildSa*>(core.tunnel(tunnel).children))
        child->owner->delete_child(*child, reason);
    core.flush_drains(tunnel);
  });
}

void Daemon::rekey_child(std::uint32_t inbound_spi, Time now) {
  impl_->at(now, [&] {
    if (ChildSa* child = impl_->core.find_child(inbound_spi)) child->owner->rekey_child(*child);
  });
}

void Daemon::rekey_ike(TunnelId tunnel, Time now) {
  impl_->at(now, [&] {
    for (IkeSa* sa : impl_->sas(impl_->core.ike_of(tunnel)))
      if (!sa->children.empty()) sa->rekey_ike();
  });
}

void Daemon::reauthenticate(TunnelId tunnel, Time now) {
  impl_->at(now, [&] {
    for (IkeSa* sa : impl_->sas(impl_->core.ike_of(tunnel)))
      if (!sa->children.empty()) sa->reauthenticate();
  });
}

void Daemon::dataplane_refused(TunnelId tunnel, std::uint32_t spi, const std::string& words, Time now) {
  if (!impl_->core.exists(tunnel)) return;
  impl_->at(now, [&] {
    TunnelState& state = impl_->core.tunnel(tunnel);
    const Reason reason{Failure::dataplane_refused, "the dataplane refused the child SA: " + words};
    for (ChildSa* child : state.children) {
      if (child->install.inbound_spi != spi && child->install.outbound_spi != spi) continue;
      const bool was_up = state.sending != nullptr;
      child->owner->delete_child(*child, reason);
      if (!was_up) impl_->core.host.attempt_failed(tunnel, reason);
      return;
    }
  });
}

void Daemon::child_expired(std::uint32_t inbound_spi, Time now) {
  impl_->at(now, [&] {
    ChildSa* child = impl_->core.find_child(inbound_spi);
    if (child == nullptr) return;
    child->owner->child_expired(
        *child, {Failure::lifetime,
                 "the child SA's limit of bytes or packets was reached before it could be rekeyed"});
  });
}

void Daemon::peer_moved(std::uint32_t inbound_spi, const Endpoint& remote, Time now) {
  impl_->at(now, [&] {
    if (ChildSa* child = impl_->core.find_child(inbound_spi)) child->owner->heard_from(remote);
  });
}

void Daemon::unreachable(const Endpoint& local, const IpAddress& remote, const Reason& reason, Time now) {
  impl_->at(now, [&] {
    Core& core = impl_->core;
    for (const TunnelId id : core.between(local, remote))
      for (IkeSa* sa : core.tunnel(id).sas) sa->unreachable(reason);
  });
}

void Daemon::terminate_all(Time now) {
  impl_->core.ending = true;
  impl_->at(now, [&] {
    std::vector<IkeSa*> all;
    impl_->core.for_each_sa([&all](IkeSa& sa) { all.push_back(&sa); });
    for (IkeSa* sa : all) sa->delete_ike_once();
  });
}

std::optional<Time> Daemon::next_deadline() const { return impl_->core.timers.next(); }

void Daemon::advance(Time now) {
  for (unsigned count = 0; count < kTimersAtOnce; ++count) {
    const auto action = impl_->core.timers.take_due(now);
    if (!action) return;
    impl_->at(now, *action);
  }
}

void Daemon::set_initial_contact(TunnelId tunnel, bool send) {
  if (!impl_->core.exists(tunnel)) return;
  impl_->core.tunnel(tunnel).initial_contact = send;
  impl_->core.settle_slot(tunnel);
}

void Daemon::keep_slot(TunnelId tunnel, std::uint64_t label) {
  set_initial_contact(tunnel, false);
  impl_->core.slots.keep(tunnel, label);
}

std::string Daemon::slot_holder(TunnelId tunnel) const {
  const IdPayload* const holder = impl_->core.slots.holder(tunnel);
  return holder == nullptr ? std::string() : text_of(*holder);
}

SlotCounts Daemon::slot_counts(TunnelId first) const { return impl_->core.slots.counts(first); }

const Story& Daemon::story(TunnelId tunnel) const { return impl_->core.tunnel(tunnel).story; }

const NotifyCounters& Daemon::notify_counters() const { return impl_->core.notifies; }

const HalfOpenRefusals& Daemon::half_open_refusals() const { return impl_->core.half_open.refused(); }

std::vector<IkeInfo> Daemon::list() const {
  std::vector<IkeInfo> out;
  impl_->core.for_each_sa([&out](const IkeSa& sa) {
    if (sa.state() != IkeSa::State::gone) out.push_back(sa.info());
  });
  return out;
}

std::vector<IkeInfo> Daemon::list(TunnelId tunnel) const {
  std::vector<IkeInfo> out;
  if (!impl_->core.exists(tunnel)) return out;
  for (const IkeSa* sa : impl_->core.tunnel(impl_->core.ike_of(tunnel)).sas)
    if (sa->state() != IkeSa::State::gone) out.push_back(sa->info());
  return out;
}

bool Daemon::empty() const {
  return !impl_->core.any_sa([](const IkeSa& sa) { return sa.state() != IkeSa::State::gone; });
}

}  // namespace espgate::ike
