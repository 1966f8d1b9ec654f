// The security associations as the main thread knows them: which slots they hold, what the workers need not
// know of them, their outer next hops, lifetimes and counters. Main thread only.
#pragma once

#include <bitset>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "channel/messages.hpp"
#include "channel/region.hpp"
#include "crypto/bulk.hpp"
#include "dataplane/control_link.hpp"
#include "dataplane/offload/offload.hpp"
#include "dataplane/ports/keepalive.hpp"
#include "dataplane/ports/known_peers.hpp"
#include "dataplane/ports/resolver.hpp"
#include "dataplane/ports/too_big.hpp"
#include "dataplane/tables/forwarding.hpp"
#include "dataplane/tables/rib.hpp"

namespace espgate::dataplane {

// Suites whose self-test failed, by their number.
using RefusedSuites = std::bitset<64>;
static_assert(crypto::kSuites.size() < RefusedSuites{}.size());

class Associations {
 public:
  // All must outlive this. `engine` expands keys.
  Associations(Forwarding& tables, Resolver& resolver, Outbox& outbox, Offload& offload, KnownPeers& peers,
               channel::CountersPage& page, const crypto::BulkEngine& engine, RefusedSuites refused);
  ~Associations();
  Associations(const Associations&) = delete;
  Associations& operator=(const Associations&) = delete;

  // The tunnel index must have been checked; everything else in the command is checked here.
  [[nodiscard]] channel::CommandStatus install_inbound(const channel::InstallSa& install, std::uint64_t now);
  [[nodiscard]] channel::CommandStatus install_outbound(const channel::InstallSa& install, std::uint64_t now);
  [[nodiscard]] channel::CommandStatus extend_outbound(const channel::ExtendSa& extend) noexcept;
  [[nodiscard]] channel::CommandStatus remove_inbound(const channel::RemoveSa& remove, std::uint64_t now);
  [[nodiscard]] channel::CommandStatus remove_outbound(const channel::RemoveSa& remove, std::uint64_t now);
  // The far end of an outbound SA in UDP is elsewhere: the SA sends there, and its inbound partner expects
  // it.
  [[nodiscard]] channel::CommandStatus move_outbound(const channel::MoveSa& wanted, std::uint64_t now);
  // A worker heard authentic ESP for the inbound SA `heard.spi` from there. Where the SA follows its peer,
  // the tunnel's outbound SAs that send to where it was send there now, and the control process is told.
  void heard_from(const Move& heard, ControlLink& control, std::uint64_t now);
  // The tunnel of whose packet ICMP speaks: one that a live outbound SA can have sent a moment ago. nullopt:
  // nobody's. A walk over the SAs with that far end.
  [[nodiscard]] std::optional<std::uint32_t> whose(const TooBig& said) const noexcept;
  void remove_all_of(std::uint32_t tunnel, std::uint64_t now);

  // One sa_held event for each. The control process that asks is a new one: what a former one was told of
  // lifetimes, and may not have heard, is told again with the next snapshot.
  void list(const std::function<channel::Name(std::uint32_t tunnel)>& name_of, ControlLink& control,
            std::uint64_t now);

  // The way to this far end, or to all, may be another: looks the outer next hops up again.
  void refresh_outer(const Ribs::FarEnd& far_end, std::uint64_t now);
  void refresh_all_outer(std::uint64_t now);

  // NAT keepalives in one snapshot at most; the others follow with the next. Of 100,000 tunnels that are all
  // silent, with one every 20 s each, there are 1250.
  static constexpr unsigned kKeepalivesAtOnce = 1500;
  // Copies the counters to the page, tells of lifetimes that were passed, and sends the NAT keepalives that
  // are due. A few times a second.
  void snapshot(ControlLink& control, std::uint64_t now);

  // Did a tunnel go up or down since the last call?
  [[nodiscard]] bool take_changed() noexcept;
  [[nodiscard]] std::size_t count() const noexcept { return inbound_.size() + outbound_.size(); }

 private:
  // What lifetimes and counters are measured by, of either direction.
  struct Held {
    channel::Direction direction;
    std::uint32_t tunnel;
    TableId underlay;
    std::uint32_t spi;
    std::uint32_t partner_spi;
    std::uint16_t suite;
    bool esn;
    std::uint32_t worker;
    std::uint32_t slot;
    OuterEnds ends;
    bool follow;
    std::uint64_t keepalive_ns;   // of silence after which one is sent; 0: never
    std::uint64_t kept_alive_ns;  // when the last one was sent
    std::uint64_t soft_bytes, hard_bytes, soft_packets, hard_packets;  // 0: none
    std::uint64_t last_before;     // sequence number that was used before it was installed
    std::uint64_t sequence_limit;  // 0: none
    std::uint64_t label;
    std::uint64_t installed_ns;
    bool soft_told;
    bool hard_told;
    std::shared_ptr<const SelectorSet> selectors;
    NeighbourId neighbour;  // pinned for the outer next hop
  };
  struct Usage {
    std::uint64_t packets, bytes, sequence;
  };
  struct Carried {
    std::uint64_t rx_packets, rx_bytes, rx_ipsec, rx_crypto;  // inner
    std::uint64_t tx_packets, tx_bytes, tx_ipsec, tx_crypto;
    std::uint64_t cut_before, cut_after;
  };
  using OutboundKey =
      std::pair<std::uint32_t, std::uint32_t>;  // tunnel, SPI: peers choose SPIs without each other

  [[nodiscard]] channel::CommandStatus check(const channel::InstallSa& install) const noexcept;
  [[nodiscard]] const Tunnel& tunnel_of(const channel::InstallSa& install) const noexcept;
  [[nodiscard]] Held make_held(const channel::InstallSa& install, channel::Direction direction,
                               std::uint64_t now) const;
  [[nodiscard]] NextHop resolve_outer(Held& held, std::uint64_t now);
  // Publishes where an outbound SA's packets go, and whether a card seals them there.
  void aim(Held& held, std::uint64_t now);
  [[nodiscard]] bool may_be_at(const Held& held, const IpAddress& remote, std::uint16_t port) const noexcept;
  [[nodiscard]] bool turn_outbound(Held& held, const IpAddress& remote, std::uint16_t port,
                                   std::uint64_t now);
  void note_far_end(const Held& held);
  void forget_far_end(const Held& held);
  void turn_inbound(Held& held, const IpAddress& remote, std::uint16_t port) noexcept;
  void retire_inbound(const Held& held);
  void retire_outbound(const Held& held, std::uint64_t now);
  void choose_outbound(std::uint32_t tunnel) noexcept;
  static void add(Carried& carried, const InboundSa& sa) noexcept;
  static void add(Carried& carried, const OutboundSa& sa, std::uint64_t last_before) noexcept;
  void snapshot_tunnels() noexcept;
  void keep_alive(Held& held, std::uint64_t last_used_ns, std::uint64_t now);
  static void check_lifetimes(Held& held, const Usage& usage, ControlLink& control);
  static void check_limit(const Held& held, std::uint64_t sequence, ControlLink& control);
  void snapshot_inbound(Held& held, ControlLink& control, std::uint64_t now, std::uint64_t tsc);
  void snapshot_outbound(Held& held, ControlLink& control, std::uint64_t now, std::uint64_t tsc);
  [[nodiscard]] OutboundSa& outbound_at(const Held& held) const noexcept {
    return tables_.outbound[held.worker][held.slot];
  }
  [[nodiscard]] InboundSa& inbound_at(const Held& held) const noexcept {
    return tables_.inbound[held.worker].slots[held.slot];
  }

  Forwarding& tables_;
  Resolver& resolver_;
  Outbox& outbox_;
  Offload& offload_;
  KnownPeers& peers_;  // among them where SAs send to
  channel::CountersPage& page_;
  const crypto::BulkEngine& engine_;
  RefusedSuites refused_;
  std::map<std::uint32_t, Held> inbound_;  // by SPI
  std::map<OutboundKey, Held> outbound_;
  std::multimap<IpAddress, OutboundKey> outbound_to_;  // by far end
  std::vector<Carried> carried_;                       // [tunnel]: by SAs that are no more
  std::vector<Carried> totals_;                        // [tunnel]: at this snapshot
  std::vector<std::vector<bool>> inbound_retiring_;    // [worker][slot]: removed, its grace period not over
  std::vector<std::vector<std::uint32_t>> free_outbound_;  // [worker]: slots
  std::uint64_t tsc_hz_;
  unsigned keepalives_left_{0};  // of this snapshot
  bool changed_{false};
};

}  // namespace espgate::dataplane
