// SAs with manual keys: installed when the dataplane is attached to, never ahead of the sequence numbers that
// are reserved on disk, and taken over as they are by the next control process.
#include <fmt/format.h>

#include <algorithm>
#include <exception>

#include "channel/spi.hpp"
#include "control/gateway.hpp"
#include "control/ike/selectors.hpp"

namespace espgate::control {

using channel::CommandKind;
using channel::CommandStatus;
using channel::Direction;
using ike::Failure;
using namespace std::chrono_literals;

namespace {

constexpr std::chrono::seconds kRetry{5};
constexpr std::chrono::seconds kNoteReceivedEvery{10};
constexpr std::uint16_t kNatTraversalPort = 4500;
constexpr Direction kBoth[] = {Direction::inbound, Direction::outbound};

const char* words(Direction direction) { return direction == Direction::inbound ? "inbound" : "outbound"; }

CommandKind install_kind(Direction direction) {
  return direction == Direction::inbound ? CommandKind::install_inbound_sa : CommandKind::install_outbound_sa;
}

ike::ChildInstall child_of(TunnelId id, const conf::Tunnel& tunnel) {
  const conf::Manual& manual = *tunnel.manual;
  ike::ChildInstall child;
  child.tunnel = id;
  child.inbound_spi = manual.inbound.spi;
  child.outbound_spi = manual.outbound.spi;
  child.suite = manual.suite;
  child.mode = tunnel.mode;
  child.esn = manual.esn;
  child.inbound_keys = manual.inbound.key.copy();
  child.outbound_keys = manual.outbound.key.copy();
  child.local = {tunnel.local, kNatTraversalPort};
  child.remote = {tunnel.remote, manual.remote_port};
  child.udp_encapsulation = manual.udp;
  child.local_selectors = ike::selectors_of(tunnel.local_selectors);
  child.remote_selectors = ike::selectors_of(tunnel.remote_selectors);
  return child;
}

ChildRecord record_of(TunnelId id, const conf::Tunnel& tunnel, Time installed) {
  ChildRecord record;
  record.tunnel = id;
  record.inbound_spi = tunnel.manual->inbound.spi;
  record.outbound_spi = tunnel.manual->outbound.spi;
  record.suite = tunnel.manual->suite;
  record.udp_encapsulation = tunnel.manual->udp;
  record.manual = true;
  record.local = tunnel.local;
  record.remote = tunnel.remote;
  record.installed = installed;
  return record;
}

}  // namespace

// Both directions belong to the worker that the inbound SPI names.
channel::Command Gateway::manual_command(TunnelId tunnel, Direction direction) const {
  const conf::Tunnel& wanted = configuration_.tunnels.at(tunnel);
  channel::Command command = sa_command(install_kind(direction), child_of(tunnel, wanted));
  channel::InstallSa& sa = command.body.install_sa;
  sa.worker = channel::spi_worker(wanted.manual->inbound.spi);
  sa.soft_packets = 0;
  sa.hard_packets = 0;
  sa.label = label_of(sa);
  return command;
}

// So that no SPI that an SA with manual keys needs is given to IKE.
void Gateway::claim_manual_spis() {
  for (const TunnelId tunnel : manual_.tunnels())
    static_cast<void>(allocator_->claim(configuration_.tunnels[tunnel].manual->inbound.spi));
}

// Takes those that are still wanted out of `held`.
void Gateway::confirm_manual(std::vector<channel::SaHeld>& held) {
  manual_.forget_held();
  for (const TunnelId tunnel : manual_.tunnels())
    for (const ChildRecord& record : std::vector<ChildRecord>(book_.of(tunnel)))
      book_.erase(tunnel, record.inbound_spi);
  if (!manual_.unusable().empty()) return;
  std::erase_if(held, [this](const channel::SaHeld& sa) {
    if (sa.label == 0 || !manual_.has(sa.tunnel)) return false;
    const conf::Tunnel& tunnel = configuration_.tunnels[sa.tunnel];
    if (sa.tunnel_name != to_name(tunnel.name) || !is_wanted_manual(sa)) return false;
    manual_.held(sa.tunnel, sa.direction, sa.sequence_limit);
    note_manual(sa.tunnel, sa.direction, now_ - std::chrono::nanoseconds(sa.age_ns));
    return true;
  });
  for (const TunnelId tunnel : manual_.tunnels()) {
    const bool was_up = manager_.status(tunnel).state == TunnelState::up;
    if (was_up && !manual_.is_up(tunnel))
      manager_.tunnel_down(
          tunnel, {Failure::dataplane_refused, "the dataplane was restarted and lost its SAs"}, now_);
    if (manual_.is_up(tunnel)) manual_up(tunnel, "took over its SAs with manual keys");
  }
}

bool Gateway::is_wanted_manual(const channel::SaHeld& sa) const {
  if (sa.direction != Direction::inbound && sa.direction != Direction::outbound) return false;
  channel::Command command = manual_command(sa.tunnel, sa.direction);
  const bool same = command.body.install_sa.spi == sa.spi && command.body.install_sa.label == sa.label;
  explicit_bzero(&command, sizeof command);
  return same;
}

void Gateway::note_manual(TunnelId tunnel, Direction direction, Time installed) {
  const conf::Tunnel& wanted = configuration_.tunnels[tunnel];
  const ChildRecord* present = book_.find(tunnel, wanted.manual->inbound.spi);
  ChildRecord record = present != nullptr ? *present : record_of(tunnel, wanted, installed);
  (direction == Direction::inbound ? record.inbound_installed : record.outbound_installed) = true;
  book_.put(record);
}

void Gateway::manual_up(TunnelId tunnel, const std::string& how) {
  if (manager_.status(tunnel).state == TunnelState::up) return;
  manager_.tunnel_up(tunnel, now_);
  log_.add(Level::info, name_of_tunnel(tunnel), how);
}

void Gateway::refuse_manual(TunnelId tunnel, const std::string& why) {
  log_.add(Level::error, name_of_tunnel(tunnel), why);
  manager_.note_error(tunnel, {Failure::dataplane_refused, why}, now_);
}

void Gateway::begin_manual() {
  if (manual_.empty()) return;
  if (!manual_.unusable().empty()) {
    for (const TunnelId tunnel : manual_.tunnels()) refuse_manual(tunnel, manual_.unusable());
    return;
  }
  install_manual();
  manual_note_at_ = now_ + kNoteReceivedEvery;
}

// First the numbers of all, on disk; then the SAs.
void Gateway::install_manual() {
  manual_retry_at_.reset();
  struct Missing {
    TunnelId tunnel;
    Direction direction;
    ManualSas::Reservation numbers;
  };
  std::vector<Missing> missing;
  for (const TunnelId tunnel : manual_.tunnels())
    for (const Direction direction : kBoth) {
      if (!manual_.is_missing(tunnel, direction)) continue;
      const auto numbers = manual_.reserve(tunnel, direction);
      if (numbers)
        missing.push_back({tunnel, direction, *numbers});
      else
        refuse_manual(tunnel,
                      "the key of its outbound SA has used all sequence numbers: put new keys into "
                      "the key files, here and at the peer");
    }
  try {
    manual_.commit();
  } catch (const std::exception& error) {
    for (const Missing& sa : missing) refuse_manual(sa.tunnel, error.what());
    manual_retry_at_ = now_ + kRetry;
    return;
  }
  for (const Missing& sa : missing) ask_manual(sa.tunnel, sa.direction, sa.numbers);
}

void Gateway::ask_manual(TunnelId tunnel, Direction direction, const ManualSas::Reservation& numbers) {
  if (numbers.first)
    log_.add(
        Level::warning, name_of_tunnel(tunnel),
        fmt::format("nothing is recorded in {} of its {} key, so it is taken for a new one and begins at "
                    "sequence number 1; if it was ever used before, replace it",
                    configuration_.state_directory, words(direction)));
  channel::Command command = manual_command(tunnel, direction);
  command.body.install_sa.last_sequence = numbers.last;
  command.body.install_sa.sequence_limit = numbers.limit;
  manual_.asked(tunnel, direction);
  link_.submit(command);  // and erases it
}

void Gateway::manual_answered(const CommandSubject& subject, CommandStatus status) {
  const Direction direction =
      subject.kind == CommandKind::install_inbound_sa ? Direction::inbound : Direction::outbound;
  manual_.answered(subject.index, direction, status == CommandStatus::ok);
  if (status != CommandStatus::ok) {
    manual_retry_at_ = now_ + kRetry;
    return;
  }
  note_manual(subject.index, direction, now_);
  if (manual_.is_up(subject.index)) manual_up(subject.index, "up, with manual keys");
}

void Gateway::advance_manual() {
  if (phase_ != Phase::ready) return;
  if (manual_retry_at_ && *manual_retry_at_ <= now_) install_manual();
  const bool note = manual_note_at_ && *manual_note_at_ <= now_;
  if (note) {
    manual_note_at_ = now_ + kNoteReceivedEvery;
    manual_.note_received(link_.counters());
  }
  if (!note && !manual_.wants_more()) return;
  const std::vector<channel::ExtendSa> extensions = manual_.extensions();
  try {
    manual_.commit();
  } catch (const std::exception& error) {
    if (tunnel_lines_.allow(now_)) log_.error(error.what());
    return;  // who wants more asks again
  }
  for (const channel::ExtendSa& extend : extensions) {
    channel::Command command = make_command(CommandKind::extend_sa);
    command.body.extend_sa = extend;
    link_.submit(command);
  }
}

std::optional<Time> Gateway::manual_deadline() const {
  if (phase_ != Phase::ready) return std::nullopt;
  if (manual_.wants_more()) return now_;
  if (manual_retry_at_ && manual_note_at_) return std::min(*manual_retry_at_, *manual_note_at_);
  return manual_retry_at_ ? manual_retry_at_ : manual_note_at_;
}

// The keys stay as they are, so all that can be done is to say so in time.
void Gateway::manual_lifetime(TunnelId tunnel, bool hard) {
  const std::string words =
      hard ? "its outbound key has used its last sequence number, and nothing is sent any more: put new keys "
             "into the key files, here and at the peer"
           : "15/16 of its keys' sequence numbers are used: put new keys into the key files, here and at the "
             "peer, and begin anew";
  log_.add(hard ? Level::error : Level::warning, name_of_tunnel(tunnel), words);
  manager_.note_error(tunnel, {Failure::lifetime, words}, now_);
}

void Gateway::drop_manual() {
  if (link_.attached()) manual_.note_received(link_.counters());
  try {
    manual_.commit();
  } catch (const std::exception& error) {
    log_.error(error.what());
  }
  for (const TunnelId tunnel : manual_.tunnels())
    for (const ChildRecord& record : std::vector<ChildRecord>(book_.of(tunnel))) {
      if (record.outbound_installed) drop_outbound(tunnel, record.outbound_spi);
      if (record.inbound_installed) drop_inbound(tunnel, record.inbound_spi);
    }
}

}  // namespace espgate::control
