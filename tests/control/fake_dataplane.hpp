// A dataplane without packets: the real channel's other end, and a model of what the commands leave behind.
// It refuses what the real one refuses about SAs, and hands IKE datagrams to whoever wires it up.
#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "channel/region.hpp"
#include "channel/spi.hpp"

namespace espgate::test {

using channel::Command;
using channel::CommandKind;
using channel::CommandStatus;
using channel::Direction;

class FakeDataplane {
 public:
  struct Sa {
    std::uint32_t tunnel{0};
    std::uint32_t spi{0};
    std::uint32_t partner{0};
    std::uint16_t suite{0};
    IpAddress local, remote;
    std::array<std::uint8_t, channel::kMaxKeyMaterial> keys{};
    channel::InstallSa asked{};  // all of the command
  };

  explicit FakeDataplane(channel::Hello shape = {2, 64, 64, 16, 8, 2}) : shape_(shape), page_(shape) {}

  // A new attachment: what control's DataplaneLink::attach takes. A former one is closed.
  channel::Fd accept() {
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    socket_ = channel::Fd(pair[0]);
    end_ = std::make_unique<channel::DataplaneEnd>(shape_);
    REQUIRE(end_->hand_over(socket_.get(), page_));
    return channel::Fd(pair[1]);
  }

  // As the real one: commands first, then the IKE datagrams that lay there before.
  std::vector<channel::IkeDatagram> poll() {
    std::vector<channel::IkeDatagram> sent;
    if (!end_) return sent;
    const std::uint32_t waiting = end_->waiting_ike();
    Command command{};
    while (end_->next_command(command) == channel::RingStatus::ok) answer(command);
    channel::IkeDatagram datagram{};
    for (std::uint32_t count = 0; count < waiting; ++count)
      if (end_->next_ike(datagram) == channel::RingStatus::ok) sent.push_back(datagram);
    return sent;
  }

  void deliver(const channel::IkeDatagram& datagram) {
    if (end_) static_cast<void>(end_->deliver(datagram));
  }
  void tell(const channel::Event& event) { REQUIRE(end_->tell(event) == channel::RingStatus::ok); }

  // Everything forgotten, as after a restart of the dataplane.
  void forget() {
    inbound.clear();
    outbound.clear();
    sending.clear();
    tunnels.clear();
  }

  channel::CountersPage& page() { return page_; }
  const channel::Hello& shape() const { return shape_; }

  std::map<std::uint32_t, Sa> inbound;                             // by SPI
  std::map<std::pair<std::uint32_t, std::uint32_t>, Sa> outbound;  // by tunnel and SPI
  std::map<std::uint32_t, std::uint32_t> sending;                  // tunnel -> outbound SPI installed last
  std::map<std::uint32_t, std::string> tunnels;
  unsigned tunnels_set{0};  // each time that one was
  std::vector<CommandKind> seen;
  std::map<CommandKind, CommandStatus> refuse;  // answers to give in place of doing it
  std::uint64_t age_ns{1'000'000'000};

 private:
  void answer(const Command& command) {
    seen.push_back(command.kind);
    const auto refusal = refuse.find(command.kind);
    if (command.kind == CommandKind::list_sas) list();
    channel::Event event{};
    event.kind = channel::EventKind::command_done;
    event.body.command_done = {command.sequence, refusal != refuse.end() ? refusal->second : apply(command)};
    tell(event);
  }

  CommandStatus apply(const Command& command) {
    switch (command.kind) {
      case CommandKind::sync_begin:
        mentioned_.clear();
        return CommandStatus::ok;
      case CommandKind::sync_end:
        return drop_unmentioned();
      case CommandKind::set_tunnel:
        if (command.body.set_tunnel.index >= shape_.max_tunnels) return CommandStatus::bad_index;
        tunnels[command.body.set_tunnel.index] = command.body.set_tunnel.name.data();
        tunnels_set++;
        mentioned_.insert(command.body.set_tunnel.index);
        return CommandStatus::ok;
      case CommandKind::install_inbound_sa:
        return install_inbound(command.body.install_sa);
      case CommandKind::install_outbound_sa:
        return install_outbound(command.body.install_sa);
      case CommandKind::remove_inbound_sa:
        return inbound.erase(command.body.remove_sa.spi) == 1 ? CommandStatus::ok : CommandStatus::no_such_sa;
      case CommandKind::remove_outbound_sa:
        return remove_outbound(command.body.remove_sa);
      case CommandKind::extend_sa:
        return extend(command.body.extend_sa);
      default:
        return CommandStatus::ok;
    }
  }

  static Sa to_sa(const channel::InstallSa& from) {
    return {from.tunnel, from.spi, from.partner_spi, from.suite, from.local, from.remote, from.keys, from};
  }

  CommandStatus install_inbound(const channel::InstallSa& sa) {
    if (!tunnels.contains(sa.tunnel)) return CommandStatus::bad_index;
    if (channel::spi_worker(sa.spi) >= shape_.workers || channel::spi_slot(sa.spi) >= shape_.inbound_slots)
      return CommandStatus::bad_spi;
    for (const auto& [spi, held] : inbound)
      if (channel::spi_worker(spi) == channel::spi_worker(sa.spi) &&
          channel::spi_slot(spi) == channel::spi_slot(sa.spi))
        return CommandStatus::spi_in_use;
    inbound[sa.spi] = to_sa(sa);
    return CommandStatus::ok;
  }

  CommandStatus install_outbound(const channel::InstallSa& sa) {
    if (!tunnels.contains(sa.tunnel)) return CommandStatus::bad_index;
    outbound[{sa.tunnel, sa.spi}] = to_sa(sa);
    sending[sa.tunnel] = sa.spi;
    return CommandStatus::ok;
  }

  CommandStatus remove_outbound(const channel::RemoveSa& sa) {
    if (outbound.erase({sa.tunnel, sa.spi}) == 0) return CommandStatus::no_such_sa;
    if (sending.contains(sa.tunnel) && sending[sa.tunnel] == sa.spi) sending.erase(sa.tunnel);
    return CommandStatus::ok;
  }

  CommandStatus extend(const channel::ExtendSa& extend) {
    const auto found = outbound.find({extend.tunnel, extend.spi});
    if (found == outbound.end()) return CommandStatus::no_such_sa;
    std::uint64_t& limit = found->second.asked.sequence_limit;
    limit = std::max(limit, extend.sequence_limit);
    return CommandStatus::ok;
  }

  CommandStatus drop_unmentioned() {
    std::erase_if(tunnels, [this](const auto& entry) { return !mentioned_.contains(entry.first); });
    std::erase_if(inbound, [this](const auto& entry) { return !mentioned_.contains(entry.second.tunnel); });
    std::erase_if(outbound, [this](const auto& entry) { return !mentioned_.contains(entry.second.tunnel); });
    return CommandStatus::ok;
  }

  void list() {
    for (const auto& [spi, sa] : inbound) tell_held(sa, Direction::inbound);
    for (const auto& [key, sa] : outbound) tell_held(sa, Direction::outbound);
  }

  void tell_held(const Sa& sa, Direction direction) {
    channel::Event event{};
    event.kind = channel::EventKind::sa_held;
    channel::SaHeld held{};
    held.tunnel = sa.tunnel;
    tunnels[sa.tunnel].copy(held.tunnel_name.data(), held.tunnel_name.size() - 1);
    held.spi = sa.spi;
    held.partner_spi = sa.partner;
    held.suite = sa.suite;
    held.direction = direction;
    held.age_ns = age_ns;
    held.local = sa.local;
    held.remote = sa.remote;
    held.sequence_limit = sa.asked.sequence_limit;
    held.label = sa.asked.label;
    event.body.sa_held = held;
    tell(event);
  }

  channel::Hello shape_;
  channel::CountersPage page_;
  channel::Fd socket_;
  std::unique_ptr<channel::DataplaneEnd> end_;
  std::set<std::uint32_t> mentioned_;
};

}  // namespace espgate::test
