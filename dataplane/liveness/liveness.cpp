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
// Looks at the counters, four a second, at which packets only went out.
constexpr unsigned kOneWayLooks = 4;

bool is_watched(const channel::Watch& wanted) noexcept {
  return wanted.bfd_peer.is_set() || wanted.probe_to.is_set();
}

// The first address of the interface that the peer's packets can have as their destination.
IpAddress own_address(const channel::SetTunnel& wanted, Family family) noexcept {
  for (std::uint32_t i = 0; i < wanted.address_count; i++)
    if (wanted.addresses[i].address.family == family) return wanted.addresses[i].address;
  return {};
}

bool is_far(const channel::SetTunnel& wanted, const IpAddress& address) noexcept {
  if (!is_valid(address) || !is_unicast(address)) return false;
  const IpAddress own = own_address(wanted, address.family);
  return own.is_set() && own != address;
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

void Liveness::watch(const channel::SetTunnel& wanted, std::uint64_t now) {
  const channel::Watch& watch = wanted.watch;
  if (!is_watched(watch)) return forget(wanted.index, now);
  const auto [entry, is_new] = watched_.try_emplace(wanted.index);
  Watched& watched = entry->second;
  watched.tunnel = wanted.index;
  if (is_new || watch.hold_initial != watched.wanted.hold_initial ||
      watch.hold_maximum != watched.wanted.hold_maximum)
    watched.hold = {watch.hold_initial * kNsPerMs, watch.hold_maximum * kNsPerMs};
  set_bfd(watched, watch, own_address(wanted, watch.bfd_peer.family));
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
  const IpAddress from = own_address(wanted, watch.probe_to.family);
  const bool same = watched.probe && watched.wanted.probe_to == watch.probe_to &&
                    watched.probe_from == from && watched.wanted.probe_interval == watch.probe_interval &&
                    watched.wanted.probe_losses == watch.probe_losses;
  if (same) return;
  watched.probe.reset();
  watched.probe_from = from;
  watched.identifier = static_cast<std::uint16_t>(random_());
  if (watch.probe_to.is_set()) watched.probe.emplace(watch.probe_interval * kNsPerMs, watch.probe_losses);
}

// Where there still is a way, the peer is told that this is no failure.
void Liveness::forget(std::uint32_t tunnel, std::uint64_t now) {
  const auto found = watched_.find(tunnel);
  if (found == watched_.end()) return;
  Watched& watched = found->second;
  note_sa(watched, now);
  if (watched.bfd) {
    watched.bfd->disable();
    if (watched.has_sa) send_bfd(watched, now);
    discriminators_.erase(watched.bfd->discriminator());
  }
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

void Liveness::note_sa(Watched& watched, std::uint64_t now) {
  const bool has_sa = tables_.tunnels[watched.tunnel].outbound.load(std::memory_order_relaxed) != nullptr;
  if (has_sa == watched.has_sa) return;
  watched.has_sa = has_sa;
  if (watched.bfd) has_sa ? watched.bfd->hurry() : watched.bfd->path_down();
  if (watched.probe) watched.probe->start_over(now);
}

bool Liveness::receive(rte_mbuf* packet, std::uint64_t now) {
  const auto found = watched_.find(note_of(packet).tunnel);
  if (found == watched_.end() || packet->nb_segs != 1) return false;
  Watched& watched = found->second;
  const auto* const ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  const Family family = *ip >> 4 == 4 ? Family::v4 : Family::v6;
  if (upper_layer(ip, family, packet->data_len).protocol != kProtocolUdp)
    return receive_echo(watched, packet, now);
  if (watched.bfd) receive_bfd(watched, packet, now);
  return watched.bfd.has_value();
}

// Others may ask through the same tunnel: their answers are theirs.
bool Liveness::receive_echo(Watched& watched, rte_mbuf* packet, std::uint64_t now) {
  if (!watched.probe) return false;
  const auto* const ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  const std::optional<Echo> echo = read_echo_reply(packet);
  if (!echo || echo->identifier != watched.identifier || source_of(ip) != watched.wanted.probe_to ||
      destination_of(ip) != watched.probe_from || !watched.probe->answered(echo->number))
    return false;
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

void Liveness::advance(std::uint64_t now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now)
    serve(watched_.at(deadlines_.begin()->second), now);
}

std::uint64_t Liveness::next_deadline() const noexcept {
  return deadlines_.empty() ? kNever : deadlines_.begin()->first;
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
    watched.bfd->advance(now);
    if (watched.bfd->state() != before) watched.silence = detection;
    send_bfd(watched, now);
  }
  judge(watched, now);
  if (watched.has_sa) send_probe(watched, now);
  std::uint64_t next = kNever;
  if (watched.bfd && watched.has_sa) next = watched.bfd->next_deadline();
  if (watched.probe && watched.has_sa) next = std::min(next, watched.probe->due());
  if (watched.told.reason == LivenessReason::held) next = std::min(next, watched.hold.usable_at());
  schedule(watched, next);
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
  constexpr std::uint32_t kSources = 65536 - kFirstBfdSource;
  const auto source = static_cast<std::uint16_t>(kFirstBfdSource + watched.tunnel % kSources);
  while (const auto packet = watched.bfd->next_packet(now))
    if (rte_mbuf* const mbuf = make_bfd(outbox_, {watched.local, watched.wanted.bfd_peer, source}, *packet))
      outbox_.protect(watched.tunnel, mbuf);
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
