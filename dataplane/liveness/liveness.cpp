#include "dataplane/liveness/liveness.hpp"

#include <algorithm>

#include "dataplane/liveness/echo.hpp"
#include "dataplane/path/headers.hpp"
#include "dataplane/ports/checksum.hpp"

namespace espgate::dataplane {

using channel::CommandStatus;
using channel::LivenessReason;

namespace {

constexpr std::uint64_t kNever = bfd::Session::kNever;
constexpr std::uint64_t kNsPerMs = 1'000'000;
constexpr std::uint64_t kNsPerUs = 1000;
// Until it is asked again whether all was heard that came before somebody's time was over.
constexpr std::uint64_t kSoon = kNsPerMs;
// Looks at the counters, four a second, at which packets only went out.
constexpr unsigned kOneWayLooks = 4;

bool is_watched(const channel::Watch& wanted) noexcept {
  return wanted.bfd_peer.is_set() || wanted.probe_to.is_set() || wanted.hold_initial != 0;
}

// The interface's address on the far end's network, which is what the far end takes for its neighbour's; or
// else the first that its packets can have as their destination.
IpAddress own_address(const channel::SetTunnel& wanted, const IpAddress& far) noexcept {
  const IpPrefix* best = nullptr;
  for (std::uint32_t i = 0; i < wanted.address_count; i++) {
    const IpPrefix& own = wanted.addresses[i];
    if (own.address.family != far.family) continue;
    const bool nearer =
        contains(own, far) && (best == nullptr || !contains(*best, far) || own.length > best->length);
    if (best == nullptr || nearer) best = &own;
  }
  return best == nullptr ? IpAddress{} : best->address;
}

bool is_far(const channel::SetTunnel& wanted, const IpAddress& address) noexcept {
  if (!is_valid(address) || !is_unicast(address)) return false;
  const auto end = wanted.addresses.begin() + wanted.address_count;
  const bool ours =
      std::any_of(wanted.addresses.begin(), end, [&](const IpPrefix& own) { return own.address == address; });
  return own_address(wanted, address).is_set() && !ours;
}

bfd::Settings settings_of(const channel::Watch& wanted) noexcept {
  return {wanted.bfd_interval, wanted.bfd_interval, wanted.bfd_multiplier};
}

}  // namespace

Liveness::Liveness(Forwarding& tables, Outbox& outbox, ControlLink& control, std::uint64_t seed)
    : tables_(tables), outbox_(outbox), control_(control), random_(seed) {}

CommandStatus Liveness::check(const channel::SetTunnel& wanted) noexcept {
  const channel::Watch& watch = wanted.watch;
  if (!is_watched(watch)) return CommandStatus::ok;
  if (wanted.mode != channel::Mode::tunnel || watch.hold_initial > watch.hold_maximum ||
      watch.hold_maximum > channel::kLongestHold)
    return CommandStatus::bad_option;
  const bool bfd = watch.bfd_interval >= channel::kLeastBfdInterval &&
                   watch.bfd_interval <= channel::kMostBfdInterval && watch.bfd_multiplier != 0;
  const bool probe = watch.probe_interval >= channel::kLeastProbeInterval &&
                     watch.probe_interval <= channel::kMostProbeInterval && watch.probe_losses != 0;
  if ((watch.bfd_peer.is_set() && !bfd) || (watch.probe_to.is_set() && !probe))
    return CommandStatus::bad_option;
  const bool far = (!watch.bfd_peer.is_set() || is_far(wanted, watch.bfd_peer)) &&
                   (!watch.probe_to.is_set() || is_far(wanted, watch.probe_to));
  return far ? CommandStatus::ok : CommandStatus::bad_address;
}

std::uint32_t Liveness::new_discriminator() {
  for (;;) {
    const auto picked = static_cast<std::uint32_t>(random_());
    if (picked != 0 && discriminators_.insert(picked).second) return picked;
  }
}

// Nobody else's, while there are any.
std::uint16_t Liveness::new_identifier() {
  for (;;) {
    const auto picked = static_cast<std::uint16_t>(random_());
    if (!probes_.contains(picked) || probes_.size() > 0x8000) return picked;
  }
}

void Liveness::watch(const channel::SetTunnel& wanted, std::uint64_t now) {
  const channel::Watch& watch = wanted.watch;
  if (!is_watched(watch)) return forget(wanted.index, now);
  farewells_.erase(wanted.index);
  const auto [entry, is_new] = watched_.try_emplace(wanted.index);
  Watched& watched = entry->second;
  watched.tunnel = wanted.index;
  const bool other =
      watch.hold_initial != watched.wanted.hold_initial || watch.hold_maximum != watched.wanted.hold_maximum;
  // Whoever sets a tunnel that has no SA has taken it down, or begins anew: that was no loss.
  if (is_new || other || !has_outbound(wanted.index))
    watched.hold = {watch.hold_initial * kNsPerMs, watch.hold_maximum * kNsPerMs};
  set_bfd(watched, watch, own_address(wanted, watch.bfd_peer));
  set_probe(watched, wanted);
  watched.wanted = watch;
  note_sa(watched, now);
  changed_ = changed_ || is_new;  // until now it was taken to be up
  serve(watched, now);
}

// The same peer hears of other settings; another one has a session of its own.
void Liveness::set_bfd(Watched& watched, const channel::Watch& wanted, const IpAddress& local) {
  const bool same = watched.bfd && watched.wanted.bfd_peer == wanted.bfd_peer && watched.local == local;
  if (same) return watched.bfd->change(settings_of(wanted));
  if (watched.bfd) discriminators_.erase(watched.bfd->discriminator());
  watched.bfd.reset();
  watched.local = local;
  watched.excused = false;
  if (!wanted.bfd_peer.is_set()) return;
  watched.bfd.emplace(new_discriminator(), settings_of(wanted), static_cast<std::uint32_t>(random_()));
}

void Liveness::set_probe(Watched& watched, const channel::SetTunnel& wanted) {
  const channel::Watch& watch = wanted.watch;
  const IpAddress from = own_address(wanted, watch.probe_to);
  const bool same = watched.probe && watched.wanted.probe_to == watch.probe_to &&
                    watched.probe_from == from && watched.wanted.probe_interval == watch.probe_interval &&
                    watched.wanted.probe_losses == watch.probe_losses;
  if (same) return;
  end_probe(watched);
  watched.probe_from = from;
  if (!watch.probe_to.is_set()) return;
  watched.identifier = new_identifier();
  watched.probe.emplace(watch.probe_interval * kNsPerMs, watch.probe_losses);
  probes_.emplace(watched.identifier, watched.tunnel);
}

void Liveness::end_probe(Watched& watched) {
  if (!watched.probe) return;
  watched.probe.reset();
  const auto [first, last] = probes_.equal_range(watched.identifier);
  probes_.erase(std::find_if(first, last, [&](const auto& each) { return each.second == watched.tunnel; }));
}

// Where there still is a way, the peer is told that this is no failure: so often that it has heard it before
// it would miss us, of whom it expects slow packets from the first of them on.
void Liveness::forget(std::uint32_t tunnel, std::uint64_t now) {
  farewells_.erase(tunnel);  // the tunnel may be another one by now
  const auto found = watched_.find(tunnel);
  if (found == watched_.end()) return;
  Watched& watched = found->second;
  note_sa(watched, now);
  if (watched.bfd) {
    watched.bfd->disable();
    discriminators_.erase(watched.bfd->discriminator());
    const std::uint64_t expected = std::uint64_t{watched.bfd->transmit_interval()} * kNsPerUs;
    const std::uint64_t until = now + watched.bfd->settings().detect_multiplier * expected;
    if (watched.has_sa)
      farewells_.insert({tunnel, {*watched.bfd, watched.local, watched.wanted.bfd_peer, until}});
    say_farewells(now);
  }
  end_probe(watched);
  schedule(watched, kNever);
  watched.up = true;
  tell(watched, LivenessReason::not_watched, now);
  watched_.erase(found);
  changed_ = true;
}

void Liveness::look(std::uint64_t now) {
  for (auto& [tunnel, watched] : watched_) {
    const bool had_sa = watched.has_sa;
    note_sa(watched, now);
    if (watched.has_sa != had_sa) serve(watched, now);
  }
}

bool Liveness::has_outbound(std::uint32_t tunnel) const noexcept {
  return tables_.tunnels[tunnel].outbound.load(std::memory_order_relaxed) != nullptr;
}

void Liveness::note_sa(Watched& watched, std::uint64_t now) {
  const bool has_sa = has_outbound(watched.tunnel);
  if (has_sa == watched.has_sa) return;
  watched.has_sa = has_sa;
  if (watched.bfd) has_sa ? watched.bfd->hurry() : watched.bfd->path_down();
  if (watched.probe) watched.probe->start_over(now);
}

bool Liveness::receive(rte_mbuf* packet, std::uint64_t now) {
  if (packet->nb_segs != 1) return false;
  const auto* const ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  const Family family = *ip >> 4 == 4 ? Family::v4 : Family::v6;
  if (upper_layer(ip, family, packet->data_len).protocol != kProtocolUdp) return receive_echo(packet, now);
  const auto found = watched_.find(note_of(packet).tunnel);
  if (found == watched_.end()) return false;
  Watched& watched = found->second;
  if (watched.bfd) receive_bfd(watched, packet, now);
  return watched.bfd.has_value();
}

// The far end may answer by another tunnel of the same route table. Others may ask as well: their answers are
// theirs.
bool Liveness::receive_echo(rte_mbuf* packet, std::uint64_t now) {
  if (probes_.empty()) return false;
  const std::optional<Echo> echo = read_echo_reply(packet);
  if (!echo) return false;
  const auto* const ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  const auto [first, last] = probes_.equal_range(echo->identifier);
  const auto asked = std::find_if(first, last, [&](const auto& each) {
    const Watched& watched = watched_.at(each.second);
    const Tunnel* const tunnel = tables_.tunnels[each.second].tunnel.load(std::memory_order_relaxed);
    return tunnel != nullptr && tunnel->overlay == note_of(packet).table &&
           source_of(ip) == watched.wanted.probe_to && destination_of(ip) == watched.probe_from;
  });
  if (asked == last) return false;
  Watched& watched = watched_.at(asked->second);
  if (!watched.probe->answered(echo->number)) return false;
  rte_pktmbuf_free(packet);
  serve(watched, now);
  return true;
}

// RFC 5881 section 3 and RFC 5880 section 6.8.6: a tunnel has one session, with one peer.
void Liveness::receive_bfd(Watched& watched, rte_mbuf* packet, std::uint64_t now) {
  const BfdHeard heard = read_bfd(packet);
  if (!heard.packet) return outbox_.drop(packet, heard.reason);
  const auto* const ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  const bool ours = source_of(ip) == watched.wanted.bfd_peer && destination_of(ip) == watched.local;
  if (!ours || !watched.bfd->receive(*heard.packet, now))
    return outbox_.drop(packet, DropReason::bfd_no_session);
  watched.excused = heard.packet->state == bfd::State::admin_down;
  rte_pktmbuf_free(packet);
  serve(watched, now);
}

void Liveness::advance(std::uint64_t now, std::uint64_t heard_until) {
  heard_until_ = heard_until;
  while (!deadlines_.empty() && deadlines_.begin()->first <= now)
    serve(watched_.at(deadlines_.begin()->second), now);
  say_farewells(now);
}

std::uint64_t Liveness::next_deadline() const noexcept {
  std::uint64_t next = deadlines_.empty() ? kNever : deadlines_.begin()->first;
  for (const auto& [tunnel, farewell] : farewells_) next = std::min(next, farewell.bfd.next_deadline());
  return next;
}

bool Liveness::up(std::uint32_t tunnel) const noexcept {
  const auto found = watched_.find(tunnel);
  return found == watched_.end() || found->second.up;
}

// Without an SA there is no way to the peer and nothing is sent.
void Liveness::serve(Watched& watched, std::uint64_t now) {
  if (watched.bfd && watched.has_sa) {
    const bfd::State before = watched.bfd->state();
    const std::uint64_t detection = watched.bfd->detection_time();
    watched.bfd->advance(heard_until_);
    if (watched.bfd->state() != before) watched.silence = detection;
    send_bfd(watched, now);
  }
  judge(watched, now);
  if (watched.has_sa) send_probe(watched, now);
  std::uint64_t next = kNever;
  if (watched.bfd && watched.has_sa) next = watched.bfd->next_deadline();
  if (watched.probe && watched.has_sa) next = std::min(next, watched.probe->due());
  if (watched.probe && watched.has_sa && watched.probe->alive(heard_until_))
    next = std::min(next, watched.probe->lost_at());
  if (watched.told.reason == LivenessReason::held) next = std::min(next, watched.hold.usable_at());
  schedule(watched, next > now ? next : now + kSoon);
}

// Judged before: the next request is sent when those before it have had their time.
void Liveness::send_probe(Watched& watched, std::uint64_t now) {
  if (!watched.probe || watched.probe->due() > now) return;
  const Echo echo{watched.identifier, watched.probe->next(now)};
  if (rte_mbuf* const mbuf = make_echo(outbox_, watched.probe_from, watched.wanted.probe_to, echo))
    outbox_.protect(watched.tunnel, mbuf);
}

void Liveness::look_at_traffic(const channel::InterfaceCounters* tunnels, std::uint64_t now) {
  for (auto& [tunnel, watched] : watched_)
    note_traffic(watched, tunnels[tunnel].tx_packets.load(std::memory_order_relaxed),
                 tunnels[tunnel].rx_packets.load(std::memory_order_relaxed), now);
}

// What returns may come by another tunnel, so this is no proof: it is a reason to ask.
void Liveness::note_traffic(Watched& watched, std::uint64_t sent, std::uint64_t received, std::uint64_t now) {
  const bool one_way = sent != watched.sent && received == watched.received;
  if (one_way) watched.one_way++;
  if (received != watched.received) watched.one_way = 0;
  watched.sent = sent;
  watched.received = received;
  if (watched.one_way < kOneWayLooks || !watched.probe || !watched.has_sa) return;
  watched.one_way = 0;
  watched.probe->doubt(now);
  serve(watched, now);
}

void Liveness::send_bfd(Watched& watched, std::uint64_t now) {
  say(*watched.bfd, watched.tunnel, watched.local, watched.wanted.bfd_peer, now);
}

void Liveness::say(bfd::Session& bfd, std::uint32_t tunnel, const IpAddress& local, const IpAddress& peer,
                   std::uint64_t now) {
  constexpr std::uint32_t kSources = 65536 - kFirstBfdSource;
  const auto source = static_cast<std::uint16_t>(kFirstBfdSource + tunnel % kSources);
  while (const auto packet = bfd.next_packet(now))
    if (rte_mbuf* const mbuf = make_bfd(outbox_, {local, peer, source}, *packet))
      outbox_.protect(tunnel, mbuf);
}

void Liveness::say_farewells(std::uint64_t now) {
  for (auto at = farewells_.begin(); at != farewells_.end();) {
    auto& [tunnel, farewell] = *at;
    const bool way = has_outbound(tunnel);
    if (way) say(farewell.bfd, tunnel, farewell.local, farewell.peer, now);
    at = way && now < farewell.until ? std::next(at) : farewells_.erase(at);
  }
}

void Liveness::schedule(Watched& watched, std::uint64_t when) {
  if (when == watched.deadline) return;
  auto place = watched.deadline == kNever ? decltype(deadlines_)::node_type{}
                                          : deadlines_.extract({watched.deadline, watched.tunnel});
  watched.deadline = when;
  if (when == kNever) return;
  if (place.empty()) {
    deadlines_.insert({when, watched.tunnel});
    return;
  }
  place.value() = {when, watched.tunnel};  // moved, not made anew
  deadlines_.insert(std::move(place));
}

}  // namespace espgate::dataplane
