// What the IKE daemon asks of the world (ike::Host), answered by the channel to the dataplane; and what the
// manager asks of the daemon.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "control/gateway.hpp"

namespace espgate::control {

using channel::CommandKind;
using ike::Failure;
using ike::Reason;

namespace {

// RFC 4303 section 3.3.3: without extended sequence numbers, 2^32 - 1 packets.
constexpr std::uint64_t kMaxPackets = 0xffff'ffff;

// That an outbound SA may send; 0: no limit that would ever be met.
std::uint64_t packets_of(const conf::Tunnel& tunnel, bool esn) {
  if (esn) return tunnel.child_packets;
  return tunnel.child_packets == 0 ? kMaxPackets : std::min(tunnel.child_packets, kMaxPackets);
}

channel::Selector selector(const ike::TrafficSelector& from) noexcept {
  channel::Selector to{};
  to.first = from.first;
  to.last = from.last;
  to.first_port = from.first_port;
  to.last_port = from.last_port;
  to.protocol = from.protocol;
  return to;
}

void copy_selectors(const ike::ChildInstall& child, channel::Selectors& to) {
  std::transform(child.local_selectors.begin(), child.local_selectors.end(), to.local.begin(), selector);
  std::transform(child.remote_selectors.begin(), child.remote_selectors.end(), to.remote.begin(), selector);
  to.local_count = static_cast<std::uint32_t>(child.local_selectors.size());
  to.remote_count = static_cast<std::uint32_t>(child.remote_selectors.size());
}

bool fits(const ike::ChildInstall& child) noexcept {
  return child.local_selectors.size() <= channel::kMaxSelectors &&
         child.remote_selectors.size() <= channel::kMaxSelectors &&
         child.inbound_keys.size() <= channel::kMaxKeyMaterial &&
         child.outbound_keys.size() <= channel::kMaxKeyMaterial;
}

}  // namespace

void Gateway::send(const ike::Endpoint& local, const ike::Endpoint& remote, ike::Bytes datagram) {
  channel::IkeDatagram out;
  if (datagram.size() > out.bytes.size()) {
    log_.error(fmt::format("an IKE message of {} bytes to {} is too long to send", datagram.size(),
                           to_string(remote.address)));
    return;
  }
  out.table = local.table;
  out.local = local.address;
  out.local_port = local.port;
  out.remote = remote.address;
  out.remote_port = remote.port;
  out.length = static_cast<std::uint32_t>(datagram.size());
  std::memcpy(out.bytes.data(), datagram.data(), datagram.size());
  link_.send(out);
}

std::uint32_t Gateway::allocate_spi(TunnelId tunnel) {
  return phase_ == Phase::ready ? allocator_->allocate(tunnel) : 0;
}

void Gateway::release_spi(std::uint32_t spi) {
  if (allocator_) allocator_->release(spi);
}

// Without soft limits.
channel::Command Gateway::sa_command(CommandKind kind, const ike::ChildInstall& child) const {
  const bool inbound = kind == CommandKind::install_inbound_sa;
  const conf::Tunnel& tunnel = configuration_.tunnels.at(child.tunnel);
  channel::Command command = make_command(kind);
  channel::InstallSa& sa = command.body.install_sa;
  sa.tunnel = child.tunnel;
  sa.spi = inbound ? child.inbound_spi : child.outbound_spi;
  sa.partner_spi = inbound ? child.outbound_spi : child.inbound_spi;
  sa.suite = static_cast<std::uint16_t>(child.suite);
  sa.udp_encapsulation = child.udp_encapsulation ? 1 : 0;
  sa.local = child.local.address;
  sa.local_port = child.local.port;
  sa.remote = child.remote.address;
  sa.remote_port = child.remote.port;
  const crypto::Bytes keys = (inbound ? child.inbound_keys : child.outbound_keys).view();
  std::copy(keys.begin(), keys.end(), sa.keys.begin());
  sa.replay_window = inbound ? tunnel.replay_window : 0;
  sa.worker = allocator_->worker_of(child.tunnel);
  sa.hard_bytes = tunnel.child_bytes;
  sa.hard_packets = inbound ? tunnel.child_packets : packets_of(tunnel, child.esn);
  sa.mode = child.mode;
  sa.esn = child.esn ? 1 : 0;
  sa.df = tunnel.outer.df;
  sa.ecn = tunnel.outer.ecn;
  sa.fixed_dscp = tunnel.outer.dscp ? static_cast<std::uint8_t>(*tunnel.outer.dscp + 1) : std::uint8_t{0};
  sa.follow = inbound && child.follow && child.mode == channel::Mode::tunnel ? 1 : 0;
  sa.keepalive = static_cast<std::uint8_t>(std::min<std::int64_t>(child.keepalive.count(), UINT8_MAX));
  sa.tfc_length = child.padding ? tunnel.tfc_length : std::uint16_t{0};
  sa.label = child.label;
  copy_selectors(child, sa.selectors);
  return command;
}

// A rekey is asked for when so much of an SA's bytes or packets is used: with between an eighth and a quarter
// left, by chance, so that two gateways with the same limit do not begin at once each time.
std::uint64_t Gateway::soft_limit(std::uint64_t hard) {
  const std::uint64_t eighth = hard / 8;
  return hard - eighth - jitter_() % (eighth + 1);
}

void Gateway::submit_sa(CommandKind kind, const ike::ChildInstall& child) {
  channel::Command command = sa_command(kind, child);
  channel::InstallSa& sa = command.body.install_sa;
  sa.soft_bytes = soft_limit(sa.hard_bytes);
  sa.soft_packets = soft_limit(sa.hard_packets);
  link_.submit(command);  // and erases it
}

void Gateway::note_child(const ike::ChildInstall& child, bool outbound) {
  const ChildRecord* present = book_.find(child.tunnel, child.inbound_spi);
  ChildRecord record = present != nullptr ? *present : ChildRecord{};
  record.tunnel = child.tunnel;
  record.inbound_spi = child.inbound_spi;
  record.outbound_spi = child.outbound_spi;
  record.suite = child.suite;
  record.udp_encapsulation = child.udp_encapsulation;
  record.local = child.local.address;
  record.remote = child.remote.address;
  if (present == nullptr) record.installed = now_;
  (outbound ? record.outbound_installed : record.inbound_installed) = true;
  book_.put(record);
}

void Gateway::install_inbound(const ike::ChildInstall& child) {
  if (!fits(child) || !allocator_) {
    later([this, tunnel = child.tunnel, spi = child.inbound_spi] {
      daemon_.dataplane_refused(tunnel, spi, "the child SA has more selectors than the dataplane can hold",
                                now_);
    });
    return;
  }
  submit_sa(CommandKind::install_inbound_sa, child);
  note_child(child, false);
}

void Gateway::install_outbound(const ike::ChildInstall& child) {
  if (!fits(child) || !allocator_) return;  // install_inbound has said so
  submit_sa(CommandKind::install_outbound_sa, child);
  note_child(child, true);
}

void Gateway::move_child(const ike::ChildInstall& child) {
  channel::Command command = make_command(CommandKind::move_outbound_sa);
  command.body.move_sa = {child.tunnel, child.outbound_spi, child.remote.address, child.remote.port};
  link_.submit(command);
  note_remote(child.tunnel, child.inbound_spi, child.remote.address);
}

void Gateway::note_remote(TunnelId tunnel, std::uint32_t inbound_spi, const IpAddress& remote) {
  const ChildRecord* const present = book_.find(tunnel, inbound_spi);
  if (present == nullptr) return;
  ChildRecord record = *present;
  record.remote = remote;
  book_.put(record);
}

void Gateway::remove_inbound(TunnelId tunnel, std::uint32_t spi) { drop_inbound(tunnel, spi); }

void Gateway::remove_outbound(TunnelId tunnel, std::uint32_t spi) { drop_outbound(tunnel, spi); }

std::optional<Time> Gateway::last_inbound(TunnelId tunnel) {
  if (!link_.attached()) return std::nullopt;
  return control::last_inbound(link_.counters(), book_.of(tunnel));
}

void Gateway::tunnel_up(TunnelId tunnel) {
  manager_.tunnel_up(tunnel, now_);
  log_.add(Level::info, name_of_tunnel(tunnel), "up");
  book_.retire_adopted(tunnel, now_ + kGrace);
}

void Gateway::tunnel_down(TunnelId tunnel, const Reason& reason) {
  manager_.tunnel_down(tunnel, reason, now_);
  log_.add(Level::warning, name_of_tunnel(tunnel), "down: " + reason.summary);
}

void Gateway::attempt_failed(TunnelId tunnel, const Reason& reason) {
  manager_.attempt_failed(tunnel, reason, now_);
  log_.add(Level::warning, name_of_tunnel(tunnel), "attempt failed: " + reason.summary);
}

void Gateway::peer_attempt_failed(TunnelId tunnel, const Reason& reason) {
  manager_.peer_attempt_failed(tunnel, reason, now_);
  log_.add(Level::warning, name_of_tunnel(tunnel), "the peer's attempt failed: " + reason.summary);
}

void Gateway::rekey_failed(TunnelId tunnel, const Reason& reason) {
  manager_.note_error(tunnel, reason, now_);
  log_.add(Level::warning, name_of_tunnel(tunnel), reason.summary);
}

// Lines can be provoked by anybody who can send a datagram, so their rate is bounded.
void Gateway::log(std::optional<TunnelId> tunnel, const std::string& line) {
  LineLimit& limit = tunnel ? tunnel_lines_ : stranger_lines_;
  if (!limit.allow(now_)) return;
  if (const std::uint64_t held_back = limit.take_suppressed())
    log_.warning(
        fmt::format("{} lines about {} were held back", held_back, tunnel ? "tunnels" : "strangers"));
  log_.add(Level::info, tunnel ? name_of_tunnel(*tunnel) : "", line);
}

void Gateway::initiate(TunnelId tunnel) { daemon_.initiate(tunnel, now_); }

void Gateway::terminate(TunnelId tunnel, const Reason& reason) { daemon_.terminate(tunnel, reason, now_); }

}  // namespace espgate::control
