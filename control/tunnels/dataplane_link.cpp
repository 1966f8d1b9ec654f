#include "control/tunnels/dataplane_link.hpp"

#include <stdexcept>
#include <utility>

#include "channel/hand_over.hpp"

namespace espgate::control {

using channel::Command;
using channel::CommandKind;
using channel::RingStatus;

Command make_command(CommandKind kind) noexcept {
  Command command{};
  command.kind = kind;
  command.body.raw = {};
  return command;
}

CommandSubject subject_of(const Command& command) noexcept {
  CommandSubject subject{command.sequence, command.kind, 0, 0, 0, {}, kMainTable};
  switch (command.kind) {
    case CommandKind::set_tunnel:
      subject.index = command.body.set_tunnel.index;
      break;
    case CommandKind::remove_tunnel:
      subject.index = command.body.remove_tunnel.index;
      break;
    case CommandKind::set_group:
      subject.index = command.body.set_group.index;
      break;
    case CommandKind::remove_group:
      subject.index = command.body.remove_group.index;
      break;
    case CommandKind::set_route:
      subject.destination = command.body.set_route.destination;
      subject.table = command.body.set_route.table;
      break;
    case CommandKind::remove_route:
      subject.destination = command.body.remove_route.destination;
      subject.table = command.body.remove_route.table;
      break;
    case CommandKind::install_inbound_sa:
    case CommandKind::install_outbound_sa:
      subject.index = command.body.install_sa.tunnel;
      subject.spi = command.body.install_sa.spi;
      subject.partner_spi = command.body.install_sa.partner_spi;
      break;
    case CommandKind::remove_inbound_sa:
    case CommandKind::remove_outbound_sa:
      subject.index = command.body.remove_sa.tunnel;
      subject.spi = command.body.remove_sa.spi;
      break;
    case CommandKind::extend_sa:
      subject.index = command.body.extend_sa.tunnel;
      subject.spi = command.body.extend_sa.spi;
      break;
    case CommandKind::set_mirror:
      subject.index = command.body.set_mirror.index;
      break;
    case CommandKind::move_outbound_sa:
      subject.index = command.body.move_sa.tunnel;
      subject.spi = command.body.move_sa.spi;
      break;
    case CommandKind::none:
    case CommandKind::sync_begin:
    case CommandKind::sync_end:
    case CommandKind::list_sas:
      break;
  }
  return subject;
}

void DataplaneLink::attach(channel::Fd socket) {
  auto end = std::make_unique<channel::ControlEnd>(socket.get());
  detach();
  socket_ = std::move(socket);
  end_ = std::move(end);
}

void DataplaneLink::take_keepsakes() {
  while (std::optional<channel::Keepsake> given = channel::receive_keepsake(socket_.get())) {
    if (kept_.size() >= kMaxKept && !kept_.contains(given->name))
      throw std::runtime_error("it gave us more to keep than it can have");
    kept_[given->name] = std::move(given->fd);
  }
}

void DataplaneLink::detach() noexcept {
  end_.reset();
  socket_ = channel::Fd();
  waiting_.clear();
  waiting_ike_ = 0;
  unanswered_.clear();
  wake_ = false;
  broken_.clear();
}

void DataplaneLink::note(RingStatus status) noexcept {
  if (status == RingStatus::ok) wake_ = true;
  if (status == RingStatus::broken) broken_ = "the dataplane wrote an impossible index into a ring";
}

void DataplaneLink::remember(Command& command) {
  command.sequence = ++sequence_;
  unanswered_.push_back(subject_of(command));
}

bool DataplaneLink::try_submit(Command& command) {
  if (!attached() || !waiting_.empty()) return false;
  command.sequence = sequence_ + 1;
  const RingStatus status = end_->command(command);
  note(status);
  if (status != RingStatus::ok) return false;
  remember(command);
  return true;
}

void DataplaneLink::submit(Command& command) {
  if (attached() && !try_submit(command)) {
    if (waiting_.size() >= kMaxWaiting) {
      broken_ = "the dataplane does not take commands: too many wait";
    } else {
      remember(command);
      waiting_.emplace_back(std::make_unique<WaitingCommand>(command));
    }
  }
  explicit_bzero(&command, sizeof command);
}

void DataplaneLink::send(const channel::IkeDatagram& datagram) {
  if (!attached()) return;
  if (waiting_.empty()) {
    const RingStatus status = end_->send_ike(datagram);
    note(status);
    if (status != RingStatus::full) return;
  }
  if (waiting_ike_ >= kMaxWaitingIke || waiting_.size() >= kMaxWaiting) return;
  ++waiting_ike_;
  waiting_.emplace_back(std::make_unique<channel::IkeDatagram>(datagram));
}

RingStatus DataplaneLink::push(const Waiting& item) noexcept {
  if (const auto* command = std::get_if<std::unique_ptr<WaitingCommand>>(&item))
    return end_->command((*command)->command);
  return end_->send_ike(*std::get<std::unique_ptr<channel::IkeDatagram>>(item));
}

void DataplaneLink::flush() {
  if (!attached()) return;
  while (!waiting_.empty()) {
    const RingStatus status = push(waiting_.front());
    note(status);
    if (status != RingStatus::ok) break;
    if (std::holds_alternative<std::unique_ptr<channel::IkeDatagram>>(waiting_.front())) --waiting_ike_;
    waiting_.pop_front();
  }
  if (std::exchange(wake_, false)) end_->wake_dataplane();
}

// Answers come in the order of the commands; an answer that skips some means that those were lost.
void DataplaneLink::answered(const channel::CommandDone& done, Listener& listener) {
  while (!unanswered_.empty() && unanswered_.front().sequence < done.sequence) unanswered_.pop_front();
  if (unanswered_.empty() || unanswered_.front().sequence != done.sequence) return;
  const CommandSubject subject = unanswered_.front();
  unanswered_.pop_front();
  listener.command_done(subject, done.status);
}

void DataplaneLink::poll_events(Listener& listener) {
  channel::Event event{};
  while (attached() && broken_.empty()) {
    const RingStatus status = end_->next_event(event);
    if (status == RingStatus::broken) note(status);
    if (status != RingStatus::ok) return;
    if (event.kind == channel::EventKind::command_done)
      answered(event.body.command_done, listener);
    else
      listener.event(event);
  }
}

bool DataplaneLink::next_ike(channel::IkeDatagram& datagram) {
  while (attached()) {
    const RingStatus status = end_->next_ike(datagram);
    if (status == RingStatus::broken) note(status);
    if (status != RingStatus::ok) return false;
    if (datagram.length <= datagram.bytes.size()) return true;
  }
  return false;
}

}  // namespace espgate::control
