// The child SAs that are in the dataplane, as this process knows them: those that our IKE daemon made, and
// those that a former control process left behind and that go on carrying traffic until new ones do. No keys.
// One thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "channel/counters.hpp"
#include "channel/region.hpp"
#include "control/ike/daemon.hpp"

namespace espgate::control {

using ike::Time;
using ike::TunnelId;

struct ChildRecord {
  TunnelId tunnel{0};
  std::uint32_t inbound_spi{0};
  std::uint32_t outbound_spi{0};
  crypto::EspSuite suite{};
  bool udp_encapsulation{false};
  bool adopted{false};     // from a former control process
  bool manual{false};      // its keys are the operator's
  std::uint64_t label{0};  // adopted, of a template's slot: whose it is (see ike::peer_label)
  bool inbound_installed{false};
  bool outbound_installed{false};
  IpAddress local;  // outer
  IpAddress remote;
  Time installed{};  // adopted ones: reckoned back from their age
  std::optional<Time>
      remove_at;  // adopted ones: end of their lifetime, or of the grace after the new SA came up
};

class SaBook {
 public:
  // Adds, or changes the record with the same tunnel and inbound SPI.
  ChildRecord& put(const ChildRecord& record);
  // A direction left the dataplane; with the second one the record goes.
  void inbound_removed(TunnelId tunnel, std::uint32_t inbound_spi);
  void outbound_removed(TunnelId tunnel, std::uint32_t outbound_spi);
  void erase(TunnelId tunnel, std::uint32_t inbound_spi);
  void clear();

  [[nodiscard]] const std::vector<ChildRecord>& of(TunnelId tunnel) const;
  [[nodiscard]] const ChildRecord* find(TunnelId tunnel, std::uint32_t inbound_spi) const;
  [[nodiscard]] const ChildRecord* find_outbound(TunnelId tunnel, std::uint32_t outbound_spi) const;
  [[nodiscard]] std::vector<TunnelId> tunnels() const;

  // An SA of our IKE daemon sends for the tunnel; an adopted one does.
  [[nodiscard]] bool carried_by_own(TunnelId tunnel) const;
  [[nodiscard]] bool carried_by_adopted(TunnelId tunnel) const;
  [[nodiscard]] bool has_adopted(TunnelId tunnel) const;
  // Moves the end of the tunnel's adopted SAs forward to `when` at the latest.
  void retire_adopted(TunnelId tunnel, Time when);
  [[nodiscard]] std::optional<Time> next_removal() const;
  // The adopted records whose end has come; they stay in the book until the caller removes them.
  [[nodiscard]] std::vector<ChildRecord> due(Time now) const;

 private:
  ChildRecord* locate(TunnelId tunnel, std::uint32_t inbound_spi);
  void schedule(ChildRecord& record, Time when);
  void forget(std::vector<ChildRecord>& records, std::size_t position);

  std::unordered_map<TunnelId, std::vector<ChildRecord>> by_tunnel_;
  std::set<std::tuple<Time, TunnelId, std::uint32_t>> removals_;
};

// The dataplane's status of an SA; nullptr: it has none (any more). The page changes underneath: an SA that
// goes leaves zeros or another's numbers, which only a display can show for a moment.
[[nodiscard]] const channel::SaStatus* inbound_status(const channel::CountersView& page, std::uint32_t spi);

// The same for outbound SAs, whose slots the dataplane chooses: one walk over its tables, then look-ups.
class OutboundStatuses {
 public:
  // Of all tunnels, or of one only.
  OutboundStatuses(const channel::CountersView& page, std::optional<TunnelId> only);
  [[nodiscard]] const channel::SaStatus* find(TunnelId tunnel, std::uint32_t spi) const;

 private:
  std::map<std::pair<TunnelId, std::uint32_t>, const channel::SaStatus*> by_spi_;
};

// When an authentic packet last came in on any of `records`' SAs; nullopt: never.
[[nodiscard]] std::optional<Time> last_inbound(const channel::CountersView& page,
                                               const std::vector<ChildRecord>& records);

}  // namespace espgate::control
