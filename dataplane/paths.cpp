// What the ways to the tunnels' far ends carry, as ICMP told (RFC 4301 section 8.2, RFC 1191, RFC 8201).
#include <algorithm>

#include "dataplane/commands.hpp"

namespace espgate::dataplane {

namespace {

// Of the sequence numbers used last: who does not see the packets has to guess one of these. At a million
// packets a second they are a second's.
constexpr std::uint32_t kBelieved = 1U << 20;
// RFC 1191 section 6.3: then larger packets are tried again.
constexpr std::uint64_t kLife = 600'000'000'000;  // ns

bool was_sent_lately(const OutboundSa& sa, std::uint32_t sequence) noexcept {
  const std::uint64_t last = sa.sequence.load(std::memory_order_relaxed);
  const std::uint32_t behind = static_cast<std::uint32_t>(last) - sequence;
  return behind < std::min<std::uint64_t>(last, kBelieved);
}

}  // namespace

std::optional<std::uint32_t> Associations::whose(const TooBig& said) const noexcept {
  const auto [first, last] = outbound_to_.equal_range(said.ends.remote);
  for (auto at = first; at != last; ++at) {
    const Held& held = outbound_.at(at->second);
    if (held.ends != said.ends || (said.spi && *said.spi != held.spi)) continue;
    if (said.sequence && !was_sent_lately(outbound_at(held), *said.sequence)) continue;
    return held.tunnel;
  }
  return std::nullopt;
}

// ICMP only ever lowers it, and a time that runs is not prolonged.
bool Commands::path_too_big(const TooBig& said, const IpAddress& said_by, std::uint64_t now) {
  const std::optional<std::uint32_t> index = associations_.whose(said);
  if (!index || !is_tunnel(*index)) return false;
  TunnelState& tunnel = tunnels_[*index];
  if (tunnel.path.mtu != 0 && tunnel.path.mtu <= said.mtu) return true;
  tunnel.path = {said.mtu, said_by, now + kLife};
  learned_.insert(*index);
  fit_tunnel(tunnel);
  tell_path(tunnel);
  return true;
}

void Commands::age_paths(std::uint64_t now) {
  for (auto at = learned_.begin(); at != learned_.end();) {
    TunnelState& tunnel = tunnels_[*at];
    if (now < tunnel.path.until_ns) {
      ++at;
      continue;
    }
    at = learned_.erase(at);
    tunnel.path = {};
    fit_tunnel(tunnel);
    tell_path(tunnel);
  }
}

void Commands::tell_path(const TunnelState& tunnel) {
  channel::Event event{};
  event.kind = channel::EventKind::path_mtu;
  event.body.path_mtu = {tunnel.wanted.index, tunnel.path.mtu, tunnel.path.said_by};
  control_.tell(event);
}

}  // namespace espgate::dataplane
