#include "control/tunnels/takeover.hpp"

#include <map>
#include <utility>

#include "control/ike/identity.hpp"
#include "control/ike/slots.hpp"
#include "control/tunnels/wanted.hpp"

namespace espgate::control {

namespace {

using channel::Direction;
using channel::SaHeld;

// A slot's peer may be anywhere, and is told by the label.
bool may_be_its(const SaHeld& held, const conf::Tunnel& slot) {
  if (slot.remote_auth.by != conf::Auth::psk) return held.label != 0;
  return !slot.remote_id.data.empty() && held.label == ike::peer_label(ike::id_payload(slot.remote_id, true));
}

bool still_wanted(const SaHeld& held, const std::vector<conf::Tunnel>& tunnels) {
  if (held.tunnel >= tunnels.size()) return false;
  const conf::Tunnel& tunnel = tunnels[held.tunnel];
  if (held.tunnel_name != to_name(tunnel.name) || tunnel.manual) return false;
  if (tunnel.first_slot ? !may_be_its(held, tunnel) : held.label != 0 || held.remote != tunnel.remote)
    return false;
  if (held.local != tunnel.local) return false;
  return std::chrono::nanoseconds(held.age_ns) < tunnel.child_lifetime;
}

ChildRecord first_sight(const SaHeld& held, std::uint32_t inbound_spi, const conf::Tunnel& tunnel, Time now) {
  ChildRecord record;
  record.tunnel = held.tunnel;
  record.inbound_spi = inbound_spi;
  record.suite = static_cast<crypto::EspSuite>(held.suite);
  record.adopted = true;
  record.label = held.label;
  record.local = held.local;
  record.remote = held.remote;
  record.installed = now - std::chrono::nanoseconds(held.age_ns);
  record.remove_at = record.installed + tunnel.child_lifetime;
  return record;
}

void note_direction(ChildRecord& record, const SaHeld& held) {
  const bool inbound = held.direction == Direction::inbound;
  record.outbound_spi = inbound ? held.partner_spi : held.spi;
  (inbound ? record.inbound_installed : record.outbound_installed) = true;
}

}  // namespace

Takeover sort_held(const std::vector<SaHeld>& held, const std::vector<conf::Tunnel>& tunnels, Time now) {
  Takeover takeover;
  std::map<std::pair<std::uint32_t, std::uint32_t>, ChildRecord> children;  // by tunnel and inbound SPI
  for (const SaHeld& sa : held) {
    if (!still_wanted(sa, tunnels)) {
      takeover.unwanted.push_back(sa);
      continue;
    }
    const std::uint32_t inbound_spi = sa.direction == Direction::inbound ? sa.spi : sa.partner_spi;
    const auto key = std::pair{sa.tunnel, inbound_spi};
    auto [child, fresh] = children.try_emplace(key);
    if (fresh) child->second = first_sight(sa, inbound_spi, tunnels[sa.tunnel], now);
    note_direction(child->second, sa);
  }
  for (const auto& [key, record] : children) takeover.kept.push_back(record);
  return takeover;
}

}  // namespace espgate::control
