// SAs with manual keys against each other, and against the room that there is for them.
#include <fmt/format.h>

#include <map>
#include <tuple>

#include "channel/spi.hpp"
#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

using crypto::Bytes;

struct Owner {
  std::string tunnel;
  int line;
};

std::string words(const Owner& owner) {
  return fmt::format("of tunnel {} on line {}", in_quotes(owner.tunnel), owner.line);
}

class Checks {
 public:
  Checks(Errors& errors, const Configuration& configuration)
      : errors_(errors),
        workers_(static_cast<std::uint32_t>(configuration.dataplane.workers.size())),
        slots_(inbound_slots(configuration.dataplane)) {}

  // `index`: of the tunnel.
  void tunnel(const Node& place, const Tunnel& tunnel, std::uint32_t index) {
    const Node& manual = place.at("manual");
    inbound_spi(manual.at("inbound").at("spi"), tunnel, index);
    outbound_spi(manual.at("outbound").at("spi"), tunnel);
    key(manual.at("inbound").at("key-file"), tunnel, tunnel.manual->inbound);
    key(manual.at("outbound").at("key-file"), tunnel, tunnel.manual->outbound);
    if (tunnel.manual->esn && tunnel.replay_window == 0)
      errors_.add(manual.at("esn").mark,
                  "esn: needs the replay window, which tells the numbers' high bits, but replay-window is 0");
  }

 private:
  // The SPI is an address in the dataplane: worker | generation | slot.
  void inbound_spi(const Node& place, const Tunnel& tunnel, std::uint32_t index) {
    const std::uint32_t spi = tunnel.manual->inbound.spi;
    if (spi < channel::kFirstFreeSpi) return;  // said already
    const std::uint32_t worker = channel::spi_worker(spi);
    const std::uint32_t slot = channel::spi_slot(spi);
    if (worker >= workers_ || slot >= slots_)
      return errors_.add(
          place.mark,
          fmt::format("spi: 0x{:08x} says worker {} (its first 6 bits) and slot {} (its last 18), but there "
                      "are workers 0 to {} and slots 0 to {}; expected an SPI such as 0x{:08x}",
                      spi, worker, slot, workers_ - 1, slots_ - 1,
                      channel::make_spi(index % workers_, 1, index % slots_)));
    const auto [first, is_new] =
        slots_taken_.emplace(std::pair(worker, slot), Owner{tunnel.name, place.mark.line});
    if (!is_new)
      errors_.add(place.mark, fmt::format("spi: 0x{:08x} has the same worker and slot (first 6 and last 18 "
                                          "bits) as the inbound SPI {}",
                                          spi, words(first->second)));
  }

  // RFC 4301 section 4.1: the receiver knows an SA by its SPI.
  void outbound_spi(const Node& place, const Tunnel& tunnel) {
    const std::uint32_t spi = tunnel.manual->outbound.spi;
    if (spi < channel::kFirstFreeSpi || !tunnel.remote.is_set()) return;
    const auto [first, is_new] =
        peers_spis_.emplace(std::pair(tunnel.remote, spi), Owner{tunnel.name, place.mark.line});
    if (!is_new)
      errors_.add(place.mark, fmt::format("spi: 0x{:08x} is also the outbound SPI {}, to the same peer", spi,
                                          words(first->second)));
  }

  // Two SAs under one key would use the same IVs: with AES-GCM and the like that gives all away.
  void key(const Node& place, const Tunnel& tunnel, const ManualSa& sa) {
    const Bytes bytes = sa.key.view();
    if (bytes.empty()) return;
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const auto [first, is_new] = keys_.emplace(text, Owner{tunnel.name, place.mark.line});
    if (!is_new)
      errors_.add(place.mark, fmt::format("key-file: holds the same key as that {}; each direction of each "
                                          "tunnel needs its own",
                                          words(first->second)));
  }

  Errors& errors_;
  std::uint32_t workers_;
  std::uint32_t slots_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, Owner> slots_taken_;
  std::map<std::pair<IpAddress, std::uint32_t>, Owner> peers_spis_;
  std::map<std::string_view, Owner> keys_;  // into the configuration's own bytes
};

}  // namespace

void check_manual(Errors& errors, const Node& root, const Configuration& configuration) {
  if (configuration.dataplane.workers.empty()) return;  // said already
  Checks checks(errors, configuration);
  for (std::uint32_t i = 0; i < configuration.tunnels.size(); ++i)
    if (configuration.tunnels[i].manual) checks.tunnel(root.at("tunnels").at(i), configuration.tunnels[i], i);
}

}  // namespace espgate::conf
