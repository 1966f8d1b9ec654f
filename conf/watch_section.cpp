// How the far end of a tunnel is watched from within it: `bfd`, `probe` and `hold-down`.
#include <fmt/format.h>

#include <algorithm>

#include "channel/messages.hpp"
#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLeastBfd{50};
constexpr milliseconds kMostBfd{channel::kMostBfdInterval / 1000};
constexpr milliseconds kLeastProbe{channel::kLeastProbeInterval};
constexpr milliseconds kMostProbe{channel::kMostProbeInterval};
constexpr milliseconds kLongestHold{channel::kLongestHold};
constexpr std::uint64_t kMostMissing = 50;

constexpr Key<Bfd> kBfdKeys[] = {
    {"peer", Need::required, [](const Field& f, Bfd& b) { read_address(f, b.peer); }},
    {"interval", Need::optional,
     [](const Field& f, Bfd& b) { read_duration(f, b.interval, kLeastBfd, kMostBfd); }},
    {"multiplier", Need::optional,
     [](const Field& f, Bfd& b) { read_unsigned(f, b.multiplier, 2, kMostMissing); }},
};
constexpr Key<Probe> kProbeKeys[] = {
    {"to", Need::required, [](const Field& f, Probe& p) { read_address(f, p.to); }},
    {"interval", Need::optional,
     [](const Field& f, Probe& p) { read_duration(f, p.interval, kLeastProbe, kMostProbe); }},
    {"losses", Need::optional, [](const Field& f, Probe& p) { read_unsigned(f, p.losses, 1, kMostMissing); }},
};
constexpr Key<HoldDown> kHoldDownKeys[] = {
    {"initial", Need::optional,
     [](const Field& f, HoldDown& h) { read_duration(f, h.initial, milliseconds(0), kLongestHold); }},
    {"maximum", Need::optional,
     [](const Field& f, HoldDown& h) { read_duration(f, h.maximum, milliseconds(0), kLongestHold); }},
};

// What is sent to it needs a source, and must not come back to ourselves.
void check_far(const Field& tunnel, const Tunnel& out, std::string_view block, std::string_view key,
               const IpAddress& far) {
  if (!far.is_set()) return;  // said already
  const Mark mark = tunnel.node.at(block).at(key).mark;
  const auto of_family = [&](const IpPrefix& own) { return own.address.family == far.family; };
  if (std::none_of(out.addresses.begin(), out.addresses.end(), of_family))
    tunnel.reading.errors.add(mark, fmt::format("{}: packets to {} need an address of the interface as their "
                                                "source; expected one of that family in interface.addresses",
                                                key, to_string(far)));
  if (std::any_of(out.addresses.begin(), out.addresses.end(),
                  [&](const IpPrefix& own) { return own.address == far; }))
    tunnel.reading.errors.add(
        mark,
        fmt::format("{}: {} is the interface's own address; expected the far end's", key, to_string(far)));
}

}  // namespace

void read_bfd(const Field& field, Tunnel& out) { read_block(field, kBfdKeys, out.bfd.emplace()); }

void read_probe(const Field& field, Tunnel& out) { read_block(field, kProbeKeys, out.probe.emplace()); }

void read_hold_down(const Field& field, Tunnel& out) {
  read_block(field, kHoldDownKeys, out.hold_down);
  if (out.hold_down.initial > out.hold_down.maximum)
    field.error("hold-down: expected a maximum that is not less than initial");
}

void complete_watch(const Field& tunnel, Tunnel& out) {
  if (out.bfd) check_far(tunnel, out, "bfd", "peer", out.bfd->peer);
  if (out.probe) check_far(tunnel, out, "probe", "to", out.probe->to);
  const Node& hold = tunnel.node.at("hold-down");
  if (&hold == &tunnel.node && !out.bfd && !out.probe) out.hold_down = {milliseconds(0), milliseconds(0)};
  if (out.mode != channel::Mode::transport) return;
  for (const std::string_view block : {"bfd", "probe", "hold-down"})
    if (const Node& given = tunnel.node.at(block); &given != &tunnel.node)
      tunnel.reading.errors.add(
          given.mark,
          fmt::format("{}: in transport mode there is nothing to choose between; expected no such "
                      "key, or mode: tunnel",
                      block));
}

void append_watch_keys(std::vector<KnownKey>& to) {
  append_keys(to, "tunnels.bfd", kBfdKeys);
  append_keys(to, "tunnels.probe", kProbeKeys);
  append_keys(to, "tunnels.hold-down", kHoldDownKeys);
}

}  // namespace espgate::conf
