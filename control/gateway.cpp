// Attaching, taking over, stating what is wanted, and the events of the dataplane. The IKE daemon's side is
// in gateway_host.cpp.
#include "control/gateway.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <random>
#include <utility>

#include "channel/spi.hpp"
#include "control/tunnels/far_end.hpp"
#include "control/tunnels/takeover.hpp"

namespace espgate::control {

using channel::CommandKind;
using channel::CommandStatus;
using channel::Direction;
using channel::EventKind;
using ike::Failure;
using ike::Reason;
using namespace std::chrono_literals;

namespace {

constexpr unsigned kIkeAtOnce = 32;  // datagrams, before timers and the shell get their turn
constexpr std::size_t kMostHeldRoutes = 4096;
constexpr std::size_t kMaxHeld = 2 * std::size_t{channel::kMaxSpiWorkers} * channel::kMaxSpiSlots;

std::uint64_t fresh_seed() {
  std::random_device device;
  return std::uint64_t{device()} << 32 | device();
}

channel::Command removal(CommandKind kind, TunnelId tunnel, std::uint32_t spi) {
  channel::Command command = make_command(kind);
  command.body.remove_sa = {tunnel, spi};
  return command;
}

}  // namespace

Gateway::Gateway(const conf::Configuration& configuration, ike::Keeper& keeper, DataplaneLink& link, Log& log,
                 ike::Settings settings, Time now)
    : configuration_(configuration),
      link_(link),
      log_(log),
      wanted_(configuration),
      manager_(configuration.tunnels, *this, fresh_seed(), now),
      daemon_(configuration.tunnels, keeper, *this, settings, now),
      manual_(configuration),
      jitter_(fresh_seed()),
      now_(now) {}

void Gateway::attached(Time now) {
  now_ = now;
  phase_ = Phase::listing;
  held_.clear();
  refused_routes_.clear();
  paths_.clear();
  far_ends_.clear();
  held_routes_.clear();
  allocator_.emplace(link_.hello(), fresh_seed());
  claim_manual_spis();
  channel::Command command = make_command(CommandKind::list_sas);
  link_.submit(command);
  link_.flush();
  log_.info(fmt::format("attached to the dataplane: {} workers, {} ports", link_.hello().workers,
                        link_.hello().ports));
}

void Gateway::detached(const std::string& why, Time now) {
  now_ = now;
  if (phase_ != Phase::away) log_.error("the dataplane is away: " + why);
  phase_ = Phase::away;
  away_because_ = why;
  manager_.stop(now);
}

void Gateway::poll(Time now) {
  now_ = now;
  link_.poll_events(*this);
  if (phase_ == Phase::syncing) feed_sync();
  receive_ike();
}

// Until the held SAs are known no SPI may be given out, so datagrams stay in their ring.
void Gateway::receive_ike() {
  more_ike_ = false;
  if (phase_ != Phase::ready) return;
  channel::IkeDatagram datagram;
  for (unsigned count = 0; count < kIkeAtOnce; ++count) {
    if (!link_.next_ike(datagram)) return;
    daemon_.received({datagram.local, datagram.local_port, datagram.table},
                     {datagram.remote, datagram.remote_port, datagram.table},
                     ike::Bytes(datagram.bytes.data(), datagram.length), now_);
  }
  more_ike_ = true;
}

void Gateway::advance(Time now) {
  now_ = now;
  if (more_ike_) receive_ike();
  if (phase_ == Phase::syncing) feed_sync();
  daemon_.advance(now);
  run_deferred();
  if (!more_ike_) manager_.advance(now);  // what is under way comes before what could be begun
  remove_due();
  advance_manual();
  link_.flush();
}

std::optional<Time> Gateway::next_deadline() const {
  if (more_ike_ || !deferred_.empty()) return now_;
  std::optional<Time> earliest = daemon_.next_deadline();
  const auto consider = [&earliest](std::optional<Time> when) {
    if (when && (!earliest || *when < *earliest)) earliest = when;
  };
  consider(manager_.next_deadline());
  consider(manual_deadline());
  if (phase_ == Phase::ready) consider(book_.next_removal());
  if (link_.waiting() || phase_ == Phase::syncing) consider(now_ + 10ms);
  return earliest;
}

void Gateway::run_deferred() {
  for (const auto& action : std::exchange(deferred_, {})) action();
}

// --- taking over
// -----------------------------------------------------------------------------------------------

void Gateway::compare_held() {
  std::vector<channel::SaHeld> foreign = std::exchange(held_, {});
  confirm_manual(foreign);
  confirm_own(foreign);
  adopt(foreign);
  sync_position_ = 0;
  phase_ = Phase::syncing;
}

// Leaves in `held` those that our IKE daemon does not know. Tunnels of which the dataplane lost an SA (it was
// restarted) are taken down: their keys are gone, so they need new ones.
void Gateway::confirm_own(std::vector<channel::SaHeld>& held) {
  std::set<std::pair<TunnelId, std::uint32_t>> present;
  std::erase_if(held, [&](const channel::SaHeld& sa) {
    const std::uint32_t inbound_spi = sa.direction == Direction::inbound ? sa.spi : sa.partner_spi;
    const ChildRecord* record = book_.find(sa.tunnel, inbound_spi);
    if (record == nullptr || record->adopted || record->manual) return false;
    if (sa.direction == Direction::inbound) present.insert({sa.tunnel, inbound_spi});
    return true;
  });
  for (const auto& [tunnel, spi] : present) allocator_->claim(spi);
  for (const TunnelId tunnel : book_.tunnels()) {
    if (manual_.has(tunnel)) continue;
    bool lost = false;
    for (const ChildRecord& record : std::vector<ChildRecord>(book_.of(tunnel))) {
      if (!record.adopted && present.contains({tunnel, record.inbound_spi})) continue;
      lost = lost || !record.adopted;
      book_.erase(tunnel, record.inbound_spi);
    }
    if (lost)
      manager_.reset(tunnel, {Failure::dataplane_refused, "the dataplane was restarted and lost its SAs"},
                     now_);
  }
}

void Gateway::adopt(const std::vector<channel::SaHeld>& foreign) {
  const Takeover takeover = sort_held(foreign, configuration_.tunnels, now_);
  for (const channel::SaHeld& sa : takeover.unwanted) {
    const bool inbound = sa.direction == Direction::inbound;
    channel::Command command = removal(
        inbound ? CommandKind::remove_inbound_sa : CommandKind::remove_outbound_sa, sa.tunnel, sa.spi);
    link_.submit(command);
  }
  for (const ChildRecord& record : takeover.kept) {
    if (record.inbound_installed) allocator_->claim(record.inbound_spi);
    book_.put(record);
    log_.add(Level::info, name_of_tunnel(record.tunnel),
             fmt::format("took over the child SA {:08x}/{:08x} of a former control process",
                         record.inbound_spi, record.outbound_spi));
  }
  if (!takeover.unwanted.empty())
    log_.warning(fmt::format("removed {} SAs of tunnels that are not configured so any more",
                             takeover.unwanted.size()));
}

void Gateway::feed_sync() {
  while (sync_position_ < wanted_.size()) {
    channel::Command command = wanted_.command(sync_position_);
    if (!link_.try_submit(command)) {
      link_.flush();
      return;
    }
    ++sync_position_;
  }
  begin();
}

void Gateway::begin() {
  phase_ = Phase::ready;
  std::vector<TunnelId> carried;
  for (const TunnelId tunnel : book_.tunnels()) {
    if (!book_.has_adopted(tunnel)) continue;
    // INITIAL_CONTACT would make the peer drop what still carries the traffic (RFC 7296 section 2.4).
    daemon_.set_initial_contact(tunnel, false);
    for (const ChildRecord& record : book_.of(tunnel))
      if (record.adopted && record.label != 0) daemon_.keep_slot(tunnel, record.label);
    if (book_.carried_by_own(tunnel))
      book_.retire_adopted(tunnel, now_ + kGrace);  // left over from while the channel was away
    else if (book_.carried_by_adopted(tunnel))
      carried.push_back(tunnel);
  }
  manager_.start(carried, now_);
  begin_manual();
}

void Gateway::remove_due() {
  if (phase_ != Phase::ready) return;
  for (const ChildRecord& record : book_.due(now_)) {
    const bool carried = book_.carried_by_adopted(record.tunnel);
    if (record.outbound_installed) drop_outbound(record.tunnel, record.outbound_spi);
    if (record.inbound_installed) drop_inbound(record.tunnel, record.inbound_spi);
    book_.erase(record.tunnel, record.inbound_spi);
    log_.add(Level::info, name_of_tunnel(record.tunnel),
             fmt::format("removed the adopted child SA {:08x}", record.inbound_spi));
    if (carried && !book_.carried_by_adopted(record.tunnel)) manager_.adoption_ended(record.tunnel, now_);
    if (!book_.has_adopted(record.tunnel)) daemon_.set_initial_contact(record.tunnel, true);
  }
}

void Gateway::drop_inbound(TunnelId tunnel, std::uint32_t spi) {
  channel::Command command = removal(CommandKind::remove_inbound_sa, tunnel, spi);
  link_.submit(command);
  if (allocator_) allocator_->release(spi);
  book_.inbound_removed(tunnel, spi);
}

void Gateway::drop_outbound(TunnelId tunnel, std::uint32_t spi) {
  channel::Command command = removal(CommandKind::remove_outbound_sa, tunnel, spi);
  link_.submit(command);
  book_.outbound_removed(tunnel, spi);
}

// A new SA carries what is sent: those of a former control process, which carried it until now, may go.
void Gateway::replace_adopted(TunnelId tunnel) {
  for (const ChildRecord& record : std::vector<ChildRecord>(book_.of(tunnel)))
    if (record.adopted && record.outbound_installed) drop_outbound(tunnel, record.outbound_spi);
}

void Gateway::drop_adopted(TunnelId tunnel) {
  for (const ChildRecord& record : std::vector<ChildRecord>(book_.of(tunnel))) {
    if (!record.adopted) continue;
    if (record.outbound_installed) drop_outbound(tunnel, record.outbound_spi);
    if (record.inbound_installed) drop_inbound(tunnel, record.inbound_spi);
    book_.erase(tunnel, record.inbound_spi);
  }
}

// --- what the dataplane says
// -----------------------------------------------------------------------------------

void Gateway::event(const channel::Event& event) {
  switch (event.kind) {
    case EventKind::sa_held:
      if (phase_ == Phase::listing && held_.size() < kMaxHeld) held_.push_back(event.body.sa_held);
      break;
    case EventKind::sa_soft_lifetime:
      lifetime_event(event.body.sa_lifetime, false);
      break;
    case EventKind::sa_hard_lifetime:
      lifetime_event(event.body.sa_lifetime, true);
      break;
    case EventKind::port_up:
    case EventKind::port_down:
    case EventKind::port_absent: {
      const std::uint32_t port = event.body.port_change.port;
      if (port < configuration_.ports.size())
        log_.warning(fmt::format("port {} is {}", configuration_.ports[port].name,
                                 event.kind == EventKind::port_up     ? "up"
                                 : event.kind == EventKind::port_down ? "down"
                                                                      : "absent"));
      break;
    }
    case EventKind::unknown_spi:
      if (unknown_spis_.note(event.body.unknown_spi, now_) && unknown_spi_lines_.allow(now_))
        log_.warning(
            fmt::format("ESP from {} with SPI {:08x}, which no SA here has; it is counted by `show "
                        "unknown-spis` from here on",
                        to_string(event.body.unknown_spi.source), event.body.unknown_spi.spi));
      break;
    case EventKind::sa_limit_near:
      manual_.near(event.body.sa_limit_near);
      break;
    case EventKind::peer_moved:
      peer_moved(event.body.peer_moved);
      break;
    case EventKind::path_mtu:
      path_mtu(event.body.path_mtu);
      break;
    case EventKind::tunnel_liveness:
      tunnel_liveness(event.body.tunnel_liveness);
      break;
    case EventKind::route_held:
      route_held(event.body.route_held);
      break;
    case EventKind::ike_unreachable:
      ike_unreachable(event.body.ike_unreachable);
      break;
    case EventKind::none:
    case EventKind::command_done:
      break;
  }
}

void Gateway::path_mtu(const channel::PathMtu& learned) {
  if (learned.tunnel >= configuration_.tunnels.size()) return;
  paths_.erase(learned.tunnel);
  if (learned.mtu == 0) return;
  paths_[learned.tunnel] = {learned.mtu, learned.said_by, now_};
  log_.add(Level::info, name_of_tunnel(learned.tunnel),
           fmt::format("the path carries no more than {} bytes, says {}", learned.mtu,
                       to_string(learned.said_by)));
}

const Gateway::Path* Gateway::path(TunnelId tunnel) const {
  const auto found = paths_.find(tunnel);
  return found == paths_.end() ? nullptr : &found->second;
}

// A line of the log where its groups begin or cease to use it; of the rest, the last is shown.
void Gateway::tunnel_liveness(const channel::TunnelLiveness& heard) {
  if (heard.tunnel >= configuration_.tunnels.size()) return;
  if (heard.reason == channel::LivenessReason::not_watched) {
    far_ends_.erase(heard.tunnel);
    return;
  }
  const auto [place, is_first] = far_ends_.try_emplace(heard.tunnel, FarEnd{heard, now_});
  const bool turned = !is_first && place->second.last.up != heard.up;
  place->second.last = heard;
  if (turned) place->second.since = now_;
  if (!turned && !(is_first && heard.up != 0)) return;
  log_.add(heard.up != 0 ? Level::info : Level::warning, name_of_tunnel(heard.tunnel),
           fmt::format("the far end is {}: {}", heard.up != 0 ? "alive" : "lost", far_end_words(heard)));
}

std::string Gateway::held_words(TableId table, const IpAddress& far_end) const {
  std::string whose = "a tunnel";
  for (const conf::Tunnel& tunnel : configuration_.tunnels)
    if (tunnel.table.id == table && tunnel.remote == far_end) whose = "tunnel " + tunnel.name;
  return fmt::format("it would lead to {}, the far end of {}, by a tunnel", to_string(far_end), whose);
}

void Gateway::route_held(const channel::RouteHeld& held) {
  if (!is_valid(held.destination) || held.table >= kMaxTables) return;
  const std::pair place(held.table, held.destination);
  if (!is_valid(held.far_end)) {
    if (held_routes_.erase(place) != 0)
      log_.info(fmt::format("the learned route to {} is held back no more", to_string(held.destination)));
    return;
  }
  if (held_routes_.size() >= kMostHeldRoutes || !held_routes_.try_emplace(place, held.far_end).second) return;
  log_.warning(fmt::format("the learned route to {} is held back: {}", to_string(held.destination),
                           held_words(held.table, held.far_end)));
}

const Gateway::FarEnd* Gateway::far_end(TunnelId tunnel) const {
  const auto found = far_ends_.find(tunnel);
  return found == far_ends_.end() ? nullptr : &found->second;
}

// The outbound SAs have moved; IKE and what is shown follow.
void Gateway::peer_moved(const channel::PeerMoved& moved) {
  const ChildRecord* const record = book_.find(moved.tunnel, moved.inbound_spi);
  if (record == nullptr) return;
  note_remote(moved.tunnel, moved.inbound_spi, moved.remote);
  if (record->adopted) return;
  const TableId table = configuration_.tunnels[moved.tunnel].table.id;
  daemon_.peer_moved(moved.inbound_spi, {moved.remote, moved.remote_port, table}, now_);
}

void Gateway::ike_unreachable(const channel::IkeUnreachable& said) {
  const ike::Reason reason{ike::Failure::unreachable, unreachable_words(said)};
  daemon_.unreachable({said.local, 0, said.table}, said.remote, reason, now_);
}

void Gateway::lifetime_event(const channel::SaLifetime& lifetime, bool hard) {
  const ChildRecord* record = lifetime.direction == Direction::inbound
                                  ? book_.find(lifetime.tunnel, lifetime.spi)
                                  : book_.find_outbound(lifetime.tunnel, lifetime.spi);
  if (record == nullptr) return;
  if (record->manual) return manual_lifetime(lifetime.tunnel, hard);
  const std::uint32_t inbound_spi = record->inbound_spi;
  log_.add(hard ? Level::warning : Level::info, name_of_tunnel(lifetime.tunnel),
           fmt::format(
               "child SA {:08x} {}", inbound_spi,
               hard ? "is past its lifetime in bytes or packets" : "nears its lifetime in bytes or packets"));
  if (record->adopted) return;  // a new one is being negotiated since it was taken over
  if (hard)
    daemon_.child_expired(inbound_spi, now_);
  else
    daemon_.rekey_child(inbound_spi, now_);
}

void Gateway::command_done(const CommandSubject& subject, CommandStatus status) {
  if (subject.kind == CommandKind::list_sas && phase_ == Phase::listing) compare_held();
  const bool install =
      subject.kind == CommandKind::install_inbound_sa || subject.kind == CommandKind::install_outbound_sa;
  if (install && manual_.has(subject.index)) manual_answered(subject, status);
  if (subject.kind == CommandKind::install_outbound_sa && status == CommandStatus::ok)
    replace_adopted(subject.index);
  if (status == CommandStatus::ok) return;
  const bool removal_of_sa =
      subject.kind == CommandKind::remove_inbound_sa || subject.kind == CommandKind::remove_outbound_sa;
  const bool may_be_gone = removal_of_sa || subject.kind == CommandKind::move_outbound_sa;
  if (may_be_gone && status == CommandStatus::no_such_sa) return;  // gone already, with a restarted dataplane
  refused(subject, channel::words(status));
}

void Gateway::refused(const CommandSubject& subject, const std::string& words) {
  const std::string line = fmt::format("the dataplane refused {}: {}", describe(subject), words);
  const bool of_tunnel = subject.kind == CommandKind::set_tunnel ||
                         subject.kind == CommandKind::install_inbound_sa ||
                         subject.kind == CommandKind::install_outbound_sa;
  log_.add(Level::error, of_tunnel ? name_of_tunnel(subject.index) : "", line);
  switch (subject.kind) {
    case CommandKind::set_tunnel:
      manager_.note_error(subject.index, {Failure::dataplane_refused, line}, now_);
      break;
    case CommandKind::set_route:
      refused_routes_[{subject.table, subject.destination}] = words;
      break;
    case CommandKind::install_inbound_sa:
      if (manual_.has(subject.index))
        manager_.note_error(subject.index, {Failure::dataplane_refused, line}, now_);
      else
        daemon_.dataplane_refused(subject.index, subject.spi, line, now_);
      break;
    case CommandKind::install_outbound_sa:
      if (manual_.has(subject.index))
        manager_.note_error(subject.index, {Failure::dataplane_refused, line}, now_);
      else
        daemon_.dataplane_refused(subject.index, subject.partner_spi, line, now_);
      break;
    default:
      break;
  }
}

std::string Gateway::remote_of(TunnelId tunnel) const {
  const IpAddress& remote = configuration_.tunnels.at(tunnel).remote;
  if (remote.is_set()) return to_string(remote);
  const std::vector<ChildRecord>& records = book_.of(tunnel);
  return records.empty() ? "any" : to_string(records.back().remote);
}

std::string Gateway::name_of_tunnel(std::uint32_t index) const {
  return index < configuration_.tunnels.size() ? configuration_.tunnels[index].name
                                               : fmt::format("#{}", index);
}

std::string Gateway::describe(const CommandSubject& subject) const {
  switch (subject.kind) {
    case CommandKind::set_tunnel:
      return "the tunnel " + name_of_tunnel(subject.index);
    case CommandKind::set_group:
      return "the group " + configuration_.groups.at(subject.index).name;
    case CommandKind::set_route:
      return "the route to " + to_string(subject.destination);
    case CommandKind::install_inbound_sa:
      return fmt::format("the inbound SA {:08x}", subject.spi);
    case CommandKind::install_outbound_sa:
      return fmt::format("the outbound SA {:08x}", subject.spi);
    case CommandKind::extend_sa:
      return fmt::format("more sequence numbers for the SA {:08x}", subject.spi);
    case CommandKind::remove_inbound_sa:
      return fmt::format("to remove the inbound SA {:08x}", subject.spi);
    case CommandKind::remove_outbound_sa:
      return fmt::format("to remove the outbound SA {:08x}", subject.spi);
    case CommandKind::move_outbound_sa:
      return fmt::format("to move the outbound SA {:08x}", subject.spi);
    case CommandKind::set_mirror:
      return "the mirror";
    default:
      return fmt::format("a command of kind {}", static_cast<unsigned>(subject.kind));
  }
}

const std::string* Gateway::route_refusal(TableId table, const IpPrefix& destination) const {
  const auto found = refused_routes_.find({table, destination});
  return found == refused_routes_.end() ? nullptr : &found->second;
}

// --- the operator, and the end
// ---------------------------------------------------------------------------------

void Gateway::reset(TunnelId tunnel, Time now) {
  now_ = now;
  log_.add(Level::info, name_of_tunnel(tunnel), "reset by the operator");
  drop_adopted(tunnel);
  daemon_.set_initial_contact(tunnel, true);
  manager_.reset(tunnel, {Failure::operator_request, "reset by the operator"}, now);
  channel::Command anew = wanted_.tunnel(tunnel);  // to the dataplane, this was no loss of the far end
  link_.submit(anew);
}

void Gateway::mirror(channel::MirrorOf what, std::uint32_t index, const std::string& name) {
  channel::Command command = make_command(CommandKind::set_mirror);
  command.body.set_mirror.what = what;
  command.body.set_mirror.index = index;
  name.copy(command.body.set_mirror.name.data(), command.body.set_mirror.name.size() - 1);
  link_.submit(command);
  link_.flush();
}

unsigned Gateway::rekey(TunnelId tunnel, Time now) {
  now_ = now;
  unsigned count = 0;
  for (const ChildRecord& record : std::vector<ChildRecord>(book_.of(tunnel))) {
    if (record.adopted || record.manual || !record.outbound_installed) continue;
    daemon_.rekey_child(record.inbound_spi, now);
    ++count;
  }
  return count;
}

void Gateway::shut_down(Time now) {
  now_ = now;
  log_.info("shutting down: deleting all SAs");
  drop_manual();
  for (const TunnelId tunnel : book_.tunnels()) drop_adopted(tunnel);
  manager_.stop(now);
  daemon_.terminate_all(now);
  link_.flush();
}

bool Gateway::quiet() const { return !link_.attached() || (link_.settled() && daemon_.empty()); }

}  // namespace espgate::control
