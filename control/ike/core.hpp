// What all IKE SAs share: the tables that find them, the tunnels' state, and the children in the dataplane.
// Everything is found by a hash, never by a walk over all tunnels.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "control/ike/child.hpp"
#include "control/ike/claims.hpp"
#include "control/ike/daemon.hpp"
#include "control/ike/guards.hpp"
#include "control/ike/keeper.hpp"
#include "control/ike/slots.hpp"
#include "control/ike/story.hpp"
#include "control/ike/timers.hpp"

namespace espgate::ike {

class IkeSa;

// How long after an SA's end packets may still come that the peer sent before it.
inline constexpr auto kDrain = std::chrono::seconds(5);
// RFC 7383 section 2.5.1: what IPv6's least MTU of 1280 leaves behind the headers of IP and UDP and the
// marker.
inline constexpr std::size_t kFragmentSize6 = 1280 - 40 - 8 - 4;
inline constexpr auto kHalfOpenLife = std::chrono::seconds(30);

// Of a tunnel with a parent: the IKE SAs are the parent's, and all that is of child SAs is its own.
struct TunnelState {
  const conf::Tunnel* config{nullptr};
  std::vector<IkeSa*> sas;         // attempts of ours, and the authenticated
  std::vector<TunnelId> siblings;  // the tunnels whose parent this is
  std::vector<ChildSa*> children;  // of all its IKE SAs
  ChildSa* sending{nullptr};       // the child whose outbound SA was installed last
  bool initial_contact{true};      // false: SAs that this daemon does not know carry traffic
  bool awaits_ike{false};          // a child SA is to be made as soon as the IKE SA is there
  std::unordered_map<std::uint32_t, Timer> draining;  // inbound SPIs that go soon
  std::vector<TunnelId> same_identities;              // the other tunnels between the same two identities
  Story story;
};

class Core {
 public:
  Core(const std::vector<conf::Tunnel>& tunnels, Keeper& keeper, Host& host, const Settings& settings,
       Time start);
  ~Core();

  const Settings settings;
  Keeper& keeper;
  Host& host;
  Timers timers;
  Time now;
  CookieJar cookies;
  RateLimit stranger_replies{10, 20};
  RateLimit stranger_log{1, 10};
  HalfOpen half_open{settings.max_half_open};
  bool ending{false};  // the process is about to end: nobody new gets in
  NotifyCounters notifies;
  Slots slots;
  Claims claims;

  [[nodiscard]] TunnelState& tunnel(TunnelId id) { return tunnels_[id]; }
  [[nodiscard]] bool exists(TunnelId id) const { return id < tunnels_.size(); }
  // Whose IKE SA makes its child SAs.
  [[nodiscard]] TunnelId ike_of(TunnelId id) const { return tunnels_[id].config->parent_index.value_or(id); }
  // All that share the IKE SAs of `ike`: itself, and those whose parent it is.
  template <class F>
  void for_each_sharing(TunnelId ike, F&& f) {
    f(ike);
    for (const TunnelId id : tunnels_[ike].siblings) f(id);
  }
  [[nodiscard]] bool is_slot(TunnelId id) const { return tunnels_[id].config->first_slot.has_value(); }
  // Nothing of a slot's peer may be left: then others may have it.
  void settle_slot(TunnelId id);
  // Who has the tunnel: of a slot, whose peer may be anybody of many.
  [[nodiscard]] std::string peer_of(TunnelId id) const;
  // The tunnels between these addresses, in the order configured.
  [[nodiscard]] std::vector<TunnelId> between(const Endpoint& local, const IpAddress& remote) const;
  // The templates whose peers come to this address, by their first slots.
  [[nodiscard]] std::vector<TunnelId> templates(const Endpoint& local) const { return between(local, {}); }
  // Which tunnel it may be that the peer wants: those between the two addresses or, if there are none, a
  // template's.
  [[nodiscard]] std::vector<TunnelId> candidates(const Endpoint& local, const IpAddress& remote) const;

  // IKE SAs, by the SPI that we chose.
  [[nodiscard]] std::uint64_t fresh_ike_spi() const;
  IkeSa& adopt(std::unique_ptr<IkeSa> sa);
  [[nodiscard]] IkeSa* find_sa(std::uint64_t our_spi) const;
  void join_tunnel(IkeSa& sa, TunnelId tunnel);
  void leave_tunnel(IkeSa& sa);
  void bury(IkeSa& sa);  // destroyed when the present call into the daemon ends
  void empty_graveyard();
  template <class F>
  void for_each_sa(F&& f) const {
    for (const auto& [spi, sa] : sas_) f(*sa);
  }
  template <class F>
  [[nodiscard]] bool any_sa(F&& f) const {
    return std::any_of(sas_.begin(), sas_.end(), [&f](const auto& entry) { return f(*entry.second); });
  }

  // Half-open IKE SAs by what made them: a repeated IKE_SA_INIT request is no new one (RFC 7296 section 2.1).
  std::unordered_map<std::string, std::uint64_t> init_requests;

  // Children. `install_child` puts the inbound SA into the dataplane.
  ChildSa& install_child(IkeSa& owner, ChildInstall install, crypto::DhGroup group);
  [[nodiscard]] ChildSa* find_child(std::uint32_t inbound_spi) const;
  void start_sending(ChildSa& child);  // outbound, at once
  // Outbound when the peer surely has our answer: it deletes the old SA, sends another request, or time
  // passes.
  void send_later(ChildSa& child);
  // What is sent on it is sent on one that waited for that, if there is one. False: there is none.
  bool step_in_for(ChildSa& leaving);
  enum class Inbound : std::uint8_t { drain, at_once };
  void remove_child(ChildSa& child, Inbound inbound, const Reason& reason);
  void move_children(IkeSa& from, IkeSa& to);
  void flush_drains(TunnelId tunnel);

  // A message was sent or received: counted, and remembered for the tunnel if it is known whose it is.
  void note(std::optional<TunnelId> tunnel, bool sent, const Header& header,
            const std::vector<Payload>& payloads);
  void log(std::optional<TunnelId> tunnel, const std::string& line) { host.log(tunnel, line); }
  void log_stranger(const std::string& line);
  // A time in [base, base + spread).
  [[nodiscard]] std::chrono::milliseconds jitter(std::chrono::milliseconds base,
                                                 std::chrono::milliseconds spread);
  // What of `usual` to wait before a rekey is tried again, of an SA that lives until `end`, if it ends; as
  // much again by chance.
  [[nodiscard]] std::chrono::milliseconds retry_after(std::chrono::milliseconds usual, Time end);
  // When to begin a rekey, so long after now.
  [[nodiscard]] std::chrono::milliseconds rekey_after(std::chrono::seconds lifetime);

 private:
  void drain(TunnelId tunnel, std::uint32_t spi);
  void forget_child(ChildSa& child);
  [[nodiscard]] ChildSa* waiting_beside(const ChildSa& leaving) const;
  void hand_over(ChildSa& leaving);
  void send_on(ChildSa& child);

  std::vector<TunnelState> tunnels_;
  std::unordered_map<std::string, std::vector<TunnelId>> by_addresses_;
  std::unordered_map<std::uint64_t, std::unique_ptr<IkeSa>> sas_;
  std::unordered_map<std::uint32_t, std::unique_ptr<ChildSa>> children_;
  std::vector<std::unique_ptr<IkeSa>> graveyard_;
  std::vector<std::unique_ptr<ChildSa>> child_graveyard_;
  std::mt19937_64 jitter_;
};

}  // namespace espgate::ike
