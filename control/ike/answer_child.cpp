// Child SAs that the peer asks for, in IKE_AUTH and CREATE_CHILD_SA (RFC 7296
// sections 1.3, 2.8, 2.9, 2.17, 2.25.1).
#include <algorithm>

#include "control/ike/exchange.hpp"
#include "control/ike/sa.hpp"

namespace espgate::ike {
namespace {

constexpr std::ptrdiff_t kMaxChildren = 16;  // of one tunnel, by one IKE SA

// How well a tunnel's selectors fit an offer; of two that fit alike the first counts.
struct Fit {
  bool exact;      // nothing is narrowed on either side
  double common;   // addresses that both have
  double surplus;  // that the tunnel has beyond
  bool down;       // it has no child SA yet

  [[nodiscard]] bool better_than(const Fit& other) const {
    if (exact != other.exact) return exact;
    if (common != other.common) return common > other.common;
    if (surplus != other.surplus) return surplus < other.surplus;
    return down && !other.down;
  }
};

std::optional<Fit> fit_of(const Selectors& offered_local, const Selectors& offered_remote,
                          const TunnelState& tunnel) {
  const Selectors our_local = selectors_of(tunnel.config->local_selectors);
  const Selectors our_remote = selectors_of(tunnel.config->remote_selectors);
  Selectors local = narrow(offered_local, our_local);
  Selectors remote = narrow(offered_remote, our_remote);
  keep_common_families(local, remote);
  if (local.empty() || remote.empty()) return std::nullopt;
  const bool exact = are_same(offered_local, our_local) && are_same(offered_remote, our_remote);
  const double common = extent(local) * extent(remote);
  return Fit{exact, common, extent(our_local) * extent(our_remote) - common, tunnel.children.empty()};
}

std::uint32_t read_spi(const ByteVector& bytes) {
  std::uint32_t out = 0;
  for (const std::uint8_t byte : bytes) out = out << 8 | byte;
  return out;
}

}  // namespace

// Which of the tunnels that share the IKE SA the peer means (RFC 7296 section 2.9 lets it offer more than we
// take): that with the same selectors, or else with which it has most in common. The IKE SA's own, if nothing
// fits.
TunnelId IkeSa::tunnel_for(const TsPayload& tsi, const TsPayload& tsr) const {
  TunnelId best = *tunnel_;
  if (core_.tunnel(best).siblings.empty()) return best;
  std::optional<Fit> of_best;
  core_.for_each_sharing(*tunnel_, [&](TunnelId id) {
    const auto fit = fit_of(tsr.selectors, tsi.selectors, core_.tunnel(id));
    if (!fit || (of_best && !fit->better_than(*of_best))) return;
    of_best = fit;
    best = id;
  });
  return best;
}

// The peer's request may be about any of the tunnels that share the IKE SA.
std::optional<TunnelId> IkeSa::concerned(const Header& request, const Payloads& payloads) const {
  const bool one = !tunnel_ || core_.tunnel(*tunnel_).siblings.empty();
  if (one || request.exchange != Exchange::create_child_sa) return subject();
  const NotifyPayload* rekey = find_notify(payloads, NotifyType::rekey_sa);
  const ChildSa* old = rekey != nullptr ? child_by_outbound(read_spi(rekey->spi)) : nullptr;
  if (old != nullptr) return old->install.tunnel;
  const TsPayload* tsi = find_ts(payloads, true);
  const TsPayload* tsr = find_ts(payloads, false);
  return tsi != nullptr && tsr != nullptr ? tunnel_for(*tsi, *tsr) : tunnel_;
}

// "10.2.0.0/16 === 10.1.0.0/16", of all tunnels that share the IKE SA.
std::string IkeSa::accepted_selectors(TunnelId tunnel) const {
  std::string text;
  core_.for_each_sharing(tunnel, [&](TunnelId id) {
    text += (text.empty() ? "" : "; or ") + words(selectors_of(config(id).remote_selectors)) +
            " === " + words(selectors_of(config(id).local_selectors));
  });
  return text;
}

IkeSa::ChildAnswer IkeSa::refused(NotifyType type, Failure failure, std::string line, ByteVector data) {
  return {{plain_notify(type, std::move(data))}, nullptr, Reason{failure, std::move(line)}};
}

// What the peer's proposals and selectors come to with ours.
std::variant<IkeSa::ChildTerms, IkeSa::ChildAnswer> IkeSa::agree_on_child(const ChildRequest& request) const {
  const std::string who = to_string(remote_.address);
  const conf::Tunnel& tunnel = config(request.tunnel);
  const auto& wanted = tunnel.esp_proposals;
  const auto choice = choose_esp(*request.sa, wanted, 0, request.with_groups);
  if (!choice || crypto::find_suite(choice->suite) == nullptr) {
    const SaPayload ours = offer_esp(wanted, 0, request.with_groups);
    return refused(NotifyType::no_proposal_chosen, Failure::no_esp_proposal,
                   who + " offered ESP " + describe(*request.sa) + "; we accept " + describe(ours) + ": " +
                       mismatch_words(*request.sa, ours));
  }
  if (transport_mode(request.tunnel) &&
      !request.transport)  // section 1.3.1: who asks decides; we need not go along
    return refused(
        NotifyType::no_proposal_chosen, Failure::mode,
        who +
            " asks for tunnel mode, and we want transport mode: set the peer to transport mode, or "
            "mode: tunnel here");
  const Selectors our_remote = selectors_of(tunnel.remote_selectors);
  const Selectors our_local = selectors_of(tunnel.local_selectors);
  const Selectors theirs = part_of_range(request.tsi->selectors, request.tunnel);
  ChildTerms terms{
      choice->group, narrow(request.tsr->selectors, our_local), narrow(theirs, our_remote), {}, nullptr};
  keep_common_families(terms.local, terms.remote);
  if (terms.local.empty() || terms.remote.empty())
    return refused(NotifyType::ts_unacceptable, Failure::ts_unacceptable,
                   "the traffic selectors do not overlap: " + who + " offers " +
                       words(request.tsi->selectors) + " === " + words(request.tsr->selectors) +
                       "; we accept " + accepted_selectors(*tunnel_) +
                       (core_.is_slot(request.tunnel) ? ", or a part of it" : ""));
  if (auto refusal = refuse_claimed(request, terms)) return std::move(*refusal);
  if (auto refusal = refuse_beside(request, terms)) return std::move(*refusal);
  return terms;
}

// Of the networks that are for many peers nobody gets all by asking for more than there is.
Selectors IkeSa::part_of_range(const Selectors& offered, TunnelId tunnel) const {
  if (!core_.is_slot(tunnel)) return offered;
  Selectors part = offered;
  const Selectors range = selectors_of(config(tunnel).remote_selectors);
  std::erase_if(part, [&range](const TrafficSelector& asked) {
    return std::any_of(range.begin(), range.end(), [&asked](const TrafficSelector& whole) {
      const bool same = asked.first == whole.first && asked.last == whole.last;
      return !same && asked.first.family == whole.first.family && asked.first <= whole.first &&
             whole.last <= asked.last;
    });
  });
  return part;
}

std::optional<IkeSa::ChildAnswer> IkeSa::refuse_claimed(const ChildRequest& request,
                                                        const ChildTerms& terms) const {
  if (!core_.is_slot(request.tunnel)) return std::nullopt;
  const auto other = core_.claims.other(config(request.tunnel).overlay.id, request.tunnel, terms.remote);
  if (!other) return std::nullopt;
  return refused(NotifyType::ts_unacceptable, Failure::ts_unacceptable,
                 to_string(remote_.address) + " offers " + words(terms.remote) + ", of which " +
                     config(*other).name + ", the tunnel of \"" + core_.peer_of(*other) +
                     "\", has a part already");
}

// A tunnel has one pair. A second one would take the traffic of the first, so it must be for all of that.
std::optional<IkeSa::ChildAnswer> IkeSa::refuse_beside(const ChildRequest& request,
                                                       const ChildTerms& terms) const {
  const auto carries_more = [&](const ChildSa* child) {
    const ChildInstall& has = child->install;
    const bool stays = child->state == ChildSa::State::installed || child->state == ChildSa::State::rekeying;
    return stays && has.tunnel == request.tunnel &&
           !(is_subset(has.local_selectors, terms.local) && is_subset(has.remote_selectors, terms.remote));
  };
  if (request.rekeys) return std::nullopt;
  const auto first = std::find_if(children.begin(), children.end(), carries_more);
  if (first == children.end()) return std::nullopt;
  const ChildInstall& has = (*first)->install;
  return refused(NotifyType::no_additional_sas, Failure::ts_unacceptable,
                 to_string(remote_.address) + " wants a second child SA, for " + words(terms.remote) +
                     " === " + words(terms.local) + " beside " + words(has.remote_selectors) +
                     " === " + words(has.local_selectors) +
                     ", and a tunnel has one: add a tunnel for the second, with parent: " + config().name +
                     ", or let the peer ask for all networks by one");
}

// The key exchange of a child with PFS; nothing to do without.
std::optional<IkeSa::ChildAnswer> IkeSa::exchange_keys(const ChildRequest& request, ChildTerms& terms) {
  if (terms.group == crypto::DhGroup::none) return std::nullopt;
  if (request.ke == nullptr || request.ke->group != static_cast<std::uint16_t>(terms.group))  // section 1.3
    return refused(NotifyType::invalid_ke_payload, Failure::invalid_ke, "another DH group is asked for",
                   group_data(terms.group));
  terms.dh = crypto::DhKey::generate(terms.group);
  auto shared = terms.dh->shared_secret(request.ke->data);
  if (!shared)
    return refused(NotifyType::invalid_syntax, Failure::invalid_ke, "the peer's DH value is not valid");
  terms.secret = std::move(*shared);
  return std::nullopt;
}

// Chooses, narrows, derives and installs inbound. In IKE_AUTH the nonces are those of IKE_SA_INIT.
IkeSa::ChildAnswer IkeSa::answer_child(const ChildRequest& request, Bytes our_nonce) {
  auto agreed = agree_on_child(request);
  if (auto* refusal = std::get_if<ChildAnswer>(&agreed)) return std::move(*refusal);
  ChildTerms& terms = std::get<ChildTerms>(agreed);
  if (auto refusal = exchange_keys(request, terms)) return std::move(*refusal);
  const std::uint32_t spi = core_.host.allocate_spi(request.tunnel);
  if (spi == 0)
    return refused(NotifyType::no_additional_sas, Failure::dataplane_refused,
                   "the dataplane has no room for another SA");
  const EspChoice choice =
      *choose_esp(*request.sa, config(request.tunnel).esp_proposals, spi, request.with_groups);
  ChildKeys keys = derive_child_keys(algorithms_.prf, keys_.sk_d.view(), terms.secret.view(), request.nonces,
                                     *crypto::find_suite(choice.suite));
  ChildInstall install = make_install(request.tunnel, choice, spi, std::move(keys), false);
  // What is not confirmed is tunnel mode (section 1.3.1).
  const bool transport = request.transport && transport_mode(request.tunnel);
  if (request.transport && !transport) log("the peer asks for transport mode; we answer in tunnel mode");
  install.mode = transport ? channel::Mode::transport : channel::Mode::tunnel;
  install.padding = request.padding;
  install.local_selectors = terms.local;
  install.remote_selectors = terms.remote;
  ChildAnswer out;
  out.child = &core_.install_child(*this, std::move(install), terms.group);
  if (transport) out.payloads.emplace_back(plain_notify(NotifyType::use_transport_mode));
  out.payloads.emplace_back(choice.answer);
  if (!our_nonce.empty()) out.payloads.emplace_back(NoncePayload{{our_nonce.begin(), our_nonce.end()}});
  if (terms.dh) out.payloads.emplace_back(ke_payload(*terms.dh));
  out.payloads.emplace_back(TsPayload{true, terms.remote});
  out.payloads.emplace_back(TsPayload{false, terms.local});
  return out;
}

Payloads IkeSa::answer_create_child(const Payloads& payloads) {
  const auto* sa = find<SaPayload>(payloads);
  const auto* nonce = find<NoncePayload>(payloads);
  if (sa == nullptr || sa->proposals.empty() || nonce == nullptr)
    return {plain_notify(NotifyType::invalid_syntax)};
  if (state_ != State::established) return {plain_notify(NotifyType::temporary_failure)};  // section 2.25
  if (sa->proposals.front().protocol == Protocol::ike) return answer_ike_rekey(payloads, *sa, nonce->data);
  if (ike_offer_ || is_redundant()) return {plain_notify(NotifyType::temporary_failure)};  // section 2.25.2
  return answer_child_exchange(payloads, nonce->data);
}

Payloads IkeSa::answer_child_exchange(const Payloads& payloads, const Bytes& peer_nonce) {
  const TsPayload* tsi = find_ts(payloads, true);
  const TsPayload* tsr = find_ts(payloads, false);
  if (tsi == nullptr || tsr == nullptr) return {plain_notify(NotifyType::invalid_syntax)};
  const NotifyPayload* rekey = find_notify(payloads, NotifyType::rekey_sa);
  ChildSa* old = nullptr;
  if (rekey != nullptr) {  // section 2.25.1
    old = child_by_outbound(read_spi(rekey->spi));
    // It may be what our own request has made at the peer, whose answer is on its way.
    if (old == nullptr && child_offer_) return {plain_notify(NotifyType::temporary_failure)};
    if (old == nullptr) return {NotifyPayload{Protocol::esp, rekey->spi, NotifyType::child_sa_not_found, {}}};
    const bool going = old->state == ChildSa::State::deleting || old->state == ChildSa::State::replaced;
    if (going) return {plain_notify(NotifyType::temporary_failure)};
  }
  const TunnelId tunnel = old != nullptr ? old->install.tunnel : tunnel_for(*tsi, *tsr);
  const auto has = std::count_if(children.begin(), children.end(),
                                 [tunnel](const ChildSa* c) { return c->install.tunnel == tunnel; });
  if (has >= kMaxChildren) return {plain_notify(NotifyType::no_additional_sas)};
  const ByteVector our_nonce = fresh_nonce();
  const bool transport = find_notify(payloads, NotifyType::use_transport_mode) != nullptr;
  ChildAnswer answer = answer_child({tunnel,
                                     find<SaPayload>(payloads),
                                     tsi,
                                     tsr,
                                     {peer_nonce, our_nonce},
                                     find<KePayload>(payloads),
                                     true,
                                     transport,
                                     accepts_padding(tunnel, payloads),
                                     old != nullptr},
                                    our_nonce);
  if (answer.refused) {
    core_.log(tunnel, "a child SA is refused: " + answer.refused->summary);
    if (old != nullptr && answer.refused->failure != Failure::invalid_ke)
      core_.host.rekey_failed(tunnel, rekey_refusal(*answer.refused));
    if (old == nullptr && answer.refused->failure != Failure::invalid_ke &&
        core_.tunnel(tunnel).sending == nullptr)
      core_.host.attempt_failed(tunnel, *answer.refused);
    return std::move(answer.payloads);
  }
  temporary_since_.reset();  // the two are in step
  begin_sending(*answer.child, old, lower_nonce(peer_nonce, our_nonce));
  return std::move(answer.payloads);
}

// When to send on a child that the peer asked for.
void IkeSa::begin_sending(ChildSa& child, ChildSa* old, Bytes lower) {
  if (old != nullptr) {
    core_.send_later(child);
  } else {
    settle(child, true);
  }
  // Both ask for the same: it is decided when our own request is answered, and `old` stays "rekeying".
  if (child_offer_ && child_offer_->tunnel == child.install.tunnel &&
      child_offer_->replaces == (old != nullptr ? old->spi() : 0)) {
    child_offer_->rival_nonce.assign(lower.begin(), lower.end());
    child_offer_->rival_spi = child.spi();
  } else if (old != nullptr) {
    leave_to_peer(*old);
  } else {
    leave_others(child);
  }
}

// A peer that makes a second pair for all that the first is for, without a word about that, has lost it: so
// does strongSwan 5.9.8 when its rekey came too late and is answered with CHILD_SA_NOT_FOUND.
void IkeSa::leave_others(const ChildSa& fresh) {
  for (ChildSa* other : children)
    if (other != &fresh && other->install.tunnel == fresh.install.tunnel &&
        other->state == ChildSa::State::installed)
      leave_to_peer(*other);
}

}  // namespace espgate::ike
