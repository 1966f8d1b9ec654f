// SAs whose peer is behind a NAT that gave it another port or address (RFC 7296 section 2.23, RFC 3948).
#include "dataplane/associations.hpp"

namespace espgate::dataplane {

using channel::CommandStatus;

// A station of the family that the peer was of, and none of our own.
bool Associations::may_be_at(const Held& held, const IpAddress& remote, std::uint16_t port) const noexcept {
  return held.ends.remote_port != 0 && port != 0 && is_valid(remote) &&
         remote.family == held.ends.remote.family && is_unicast(remote) &&
         tables_.routes(held.underlay).find_one(remote).kind != NextHopKind::host;
}

void Associations::note_far_end(const Held& held) {
  peers_.add(held.underlay, held.ends.remote);
  outbound_to_.emplace(held.ends.remote, OutboundKey{held.tunnel, held.spi});
}

void Associations::forget_far_end(const Held& held) {
  peers_.remove(held.underlay, held.ends.remote);
  const auto [first, last] = outbound_to_.equal_range(held.ends.remote);
  for (auto at = first; at != last; ++at) {
    if (at->second != OutboundKey{held.tunnel, held.spi}) continue;
    outbound_to_.erase(at);
    return;
  }
}

// The worker that owns the SA is told first: what it can't be told now has not happened. False: that.
bool Associations::turn_outbound(Held& held, const IpAddress& remote, std::uint16_t port, std::uint64_t now) {
  if (!outbox_.move(held.worker, {held.spi, held.slot, remote, port})) return false;
  const Held former = held;
  held.ends.remote = remote;
  held.ends.remote_port = port;
  note_far_end(held);  // before the other goes, which may be the same
  forget_far_end(former);
  offload_.moved(outbound_at(held), remote, port);
  aim(held, now);
  return true;
}

void Associations::turn_inbound(Held& held, const IpAddress& remote, std::uint16_t port) noexcept {
  held.ends.remote = remote;
  held.ends.remote_port = port;
  if (held.follow)
    inbound_at(held).source.store(source_word(remote.bytes.data(), remote.family, __builtin_bswap16(port)),
                                  std::memory_order_relaxed);
}

CommandStatus Associations::move_outbound(const channel::MoveSa& wanted, std::uint64_t now) {
  const auto found = outbound_.find({wanted.tunnel, wanted.spi});
  if (found == outbound_.end()) return CommandStatus::no_such_sa;
  Held& held = found->second;
  if (outbound_at(held).transport) return CommandStatus::bad_option;
  if (!may_be_at(held, wanted.remote, wanted.remote_port)) return CommandStatus::bad_address;
  const bool there = held.ends.remote == wanted.remote && held.ends.remote_port == wanted.remote_port;
  if (!there && !turn_outbound(held, wanted.remote, wanted.remote_port, now))
    return CommandStatus::table_full;
  const auto partner = inbound_.find(held.partner_spi);
  if (partner != inbound_.end() && partner->second.tunnel == wanted.tunnel)
    turn_inbound(partner->second, wanted.remote, wanted.remote_port);
  return CommandStatus::ok;
}

// Until all are moved the inbound SA stays as it was, so that its next packet asks again.
void Associations::heard_from(const Move& heard, ControlLink& control, std::uint64_t now) {
  const auto found = inbound_.find(heard.spi);
  if (found == inbound_.end()) return;
  Held& inbound = found->second;
  if (!inbound.follow || !may_be_at(inbound, heard.remote, heard.remote_port)) return;
  const OuterEnds former = inbound.ends;
  if (former.remote == heard.remote && former.remote_port == heard.remote_port) return;
  for (auto at = outbound_.lower_bound({inbound.tunnel, 0});
       at != outbound_.end() && at->first.first == inbound.tunnel; ++at)
    if (at->second.ends == former && !turn_outbound(at->second, heard.remote, heard.remote_port, now)) return;
  turn_inbound(inbound, heard.remote, heard.remote_port);
  channel::Event event{};
  event.kind = channel::EventKind::peer_moved;
  event.body.peer_moved = {inbound.tunnel, inbound.spi, heard.remote, heard.remote_port};
  control.tell(event);
}

}  // namespace espgate::dataplane
