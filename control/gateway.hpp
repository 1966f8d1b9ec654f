// The control process without its sockets: joins the IKE daemon, the tunnel manager and the dataplane's
// channel. Time comes in with every call and nothing waits, so that tests can run it against a dataplane in
// the same process. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "conf/schema.hpp"
#include "control/ike/daemon.hpp"
#include "control/ike/keeper.hpp"
#include "control/tunnels/dataplane_link.hpp"
#include "control/tunnels/log.hpp"
#include "control/tunnels/manager.hpp"
#include "control/tunnels/manual_sas.hpp"
#include "control/tunnels/sa_book.hpp"
#include "control/tunnels/spi_allocator.hpp"
#include "control/tunnels/unknown_spis.hpp"
#include "control/tunnels/wanted.hpp"

namespace espgate::control {

class Gateway final : public ike::Host, public DataplaneLink::Listener, public Initiator {
 public:
  // How long adopted inbound SAs stay after the new ones came up. A peer that answers may go on sending on
  // the old one until it knows that we have its answer: half a minute with espgate.
  static constexpr std::chrono::seconds kGrace{40};

  // `configuration`, `keeper`, `link` and `log` must outlive the gateway.
  Gateway(const conf::Configuration& configuration, ike::Keeper& keeper, DataplaneLink& link, Log& log,
          ike::Settings settings, Time now);

  // The link was attached: asks what SAs are held, then states all that is wanted, then begins.
  void attached(Time now);
  void detached(const std::string& why, Time now);

  // Takes in what the dataplane sent. Call when the link's wake_fd is readable.
  void poll(Time now);
  // Does what is due, and hands to the dataplane what earlier calls produced.
  void advance(Time now);
  [[nodiscard]] std::optional<Time> next_deadline() const;

  // Deletes all SAs, here and at the peers. `quiet`: the dataplane has done it.
  void shut_down(Time now);
  [[nodiscard]] bool quiet() const;

  // The operator.
  void reset(TunnelId tunnel, Time now);
  // One interface's packets are copied to the kernel's interface `name`, from now on; or none's.
  void mirror(channel::MirrorOf what, std::uint32_t index, const std::string& name);
  unsigned rekey(TunnelId tunnel, Time now);  // how many child SAs it began to rekey

  // For the shell.
  [[nodiscard]] bool ready() const noexcept { return phase_ == Phase::ready; }
  [[nodiscard]] const std::string& away_because() const noexcept { return away_because_; }
  [[nodiscard]] const conf::Configuration& configuration() const noexcept { return configuration_; }
  [[nodiscard]] const DataplaneLink& link() const noexcept { return link_; }
  [[nodiscard]] const Manager& manager() const noexcept { return manager_; }
  [[nodiscard]] const SaBook& book() const noexcept { return book_; }
  [[nodiscard]] const UnknownSpis& unknown_spis() const noexcept { return unknown_spis_; }
  [[nodiscard]] const Log& log_lines() const noexcept { return log_; }
  [[nodiscard]] std::vector<ike::IkeInfo> ike_sas() const { return daemon_.list(); }
  // Where a tunnel's peer is, or its SAs were last; and of a template's slot who: empty, nobody has had it.
  [[nodiscard]] std::string remote_of(TunnelId tunnel) const;
  [[nodiscard]] std::string peer_of(TunnelId tunnel) const { return daemon_.slot_holder(tunnel); }
  [[nodiscard]] ike::SlotCounts slot_counts(TunnelId first) const { return daemon_.slot_counts(first); }
  [[nodiscard]] const ike::Story& story(TunnelId tunnel) const { return daemon_.story(tunnel); }
  [[nodiscard]] const ike::NotifyCounters& notify_counters() const { return daemon_.notify_counters(); }
  [[nodiscard]] const ike::HalfOpenRefusals& half_open_refusals() const {
    return daemon_.half_open_refusals();
  }
  [[nodiscard]] std::vector<ike::IkeInfo> ike_sas(TunnelId tunnel) const { return daemon_.list(tunnel); }
  // What the way to a tunnel's far end carries less than the port; nullptr: nothing of the kind was learned.
  struct Path {
    std::uint16_t mtu;  // bytes of outer packet
    IpAddress said_by;
    Time since;
  };
  [[nodiscard]] const Path* path(TunnelId tunnel) const;
  // How the far end of a watched tunnel is; nullptr: it is not watched, or nothing is known yet.
  struct FarEnd {
    channel::TunnelLiveness last;
    Time since;  // that its groups use it, or do not
  };
  [[nodiscard]] const FarEnd* far_end(TunnelId tunnel) const;
  // Learned routes into tunnels that are held back, by table and destination: for the sake of which far end.
  using HeldRoutes = std::map<std::pair<TableId, IpPrefix>, IpAddress>;
  [[nodiscard]] const HeldRoutes& held_routes() const noexcept { return held_routes_; }
  // Whose packets a route would lead into a tunnel, in words.
  [[nodiscard]] std::string held_words(TableId table, const IpAddress& far_end) const;
  // Why the dataplane refused a route; nullptr: it did not.
  [[nodiscard]] const std::string* route_refusal(TableId table, const IpPrefix& destination) const;

  // ike::Host
  void send(const ike::Endpoint& local, const ike::Endpoint& remote, ike::Bytes datagram) override;
  std::uint32_t allocate_spi(TunnelId tunnel) override;
  void release_spi(std::uint32_t spi) override;
  void install_inbound(const ike::ChildInstall& child) override;
  void install_outbound(const ike::ChildInstall& child) override;
  void move_child(const ike::ChildInstall& child) override;
  void remove_inbound(TunnelId tunnel, std::uint32_t spi) override;
  void remove_outbound(TunnelId tunnel, std::uint32_t spi) override;
  std::optional<Time> last_inbound(TunnelId tunnel) override;
  void tunnel_up(TunnelId tunnel) override;
  void tunnel_down(TunnelId tunnel, const ike::Reason& reason) override;
  void attempt_failed(TunnelId tunnel, const ike::Reason& reason) override;
  void peer_attempt_failed(TunnelId tunnel, const ike::Reason& reason) override;
  void rekey_failed(TunnelId tunnel, const ike::Reason& reason) override;
  void log(std::optional<TunnelId> tunnel, const std::string& line) override;

  // DataplaneLink::Listener
  void command_done(const CommandSubject& subject, channel::CommandStatus status) override;
  void event(const channel::Event& event) override;

  // Initiator
  void initiate(TunnelId tunnel) override;
  void terminate(TunnelId tunnel, const ike::Reason& reason) override;

 private:
  enum class Phase : std::uint8_t { away, listing, syncing, ready };

  void compare_held();
  void confirm_own(std::vector<channel::SaHeld>& held);
  void adopt(const std::vector<channel::SaHeld>& foreign);
  void feed_sync();
  void begin();
  void receive_ike();
  void remove_due();
  void drop_inbound(TunnelId tunnel, std::uint32_t spi);
  void drop_outbound(TunnelId tunnel, std::uint32_t spi);
  void drop_adopted(TunnelId tunnel);
  void replace_adopted(TunnelId tunnel);
  void note_remote(TunnelId tunnel, std::uint32_t inbound_spi, const IpAddress& remote);
  void path_mtu(const channel::PathMtu& learned);
  void tunnel_liveness(const channel::TunnelLiveness& heard);
  void route_held(const channel::RouteHeld& held);
  void peer_moved(const channel::PeerMoved& moved);
  void ike_unreachable(const channel::IkeUnreachable& said);
  void lifetime_event(const channel::SaLifetime& lifetime, bool hard);
  void refused(const CommandSubject& subject, const std::string& words);
  [[nodiscard]] channel::Command sa_command(channel::CommandKind kind, const ike::ChildInstall& child) const;
  [[nodiscard]] std::uint64_t soft_limit(std::uint64_t hard);
  void submit_sa(channel::CommandKind kind, const ike::ChildInstall& child);
  void note_child(const ike::ChildInstall& child, bool outbound);
  // gateway_manual.cpp
  [[nodiscard]] channel::Command manual_command(TunnelId tunnel, channel::Direction direction) const;
  [[nodiscard]] bool is_wanted_manual(const channel::SaHeld& sa) const;
  void claim_manual_spis();
  void confirm_manual(std::vector<channel::SaHeld>& held);
  void note_manual(TunnelId tunnel, channel::Direction direction, Time installed);
  void manual_up(TunnelId tunnel, const std::string& how);
  void refuse_manual(TunnelId tunnel, const std::string& why);
  void begin_manual();
  void install_manual();
  void ask_manual(TunnelId tunnel, channel::Direction direction, const ManualSas::Reservation& numbers);
  void manual_answered(const CommandSubject& subject, channel::CommandStatus status);
  void manual_lifetime(TunnelId tunnel, bool hard);
  void advance_manual();
  [[nodiscard]] std::optional<Time> manual_deadline() const;
  void drop_manual();

  [[nodiscard]] std::string name_of_tunnel(std::uint32_t index) const;
  [[nodiscard]] std::string describe(const CommandSubject& subject) const;
  // Some answers to the daemon must not be given from within its own call: they are kept until the next
  // advance().
  void later(std::function<void()> action) { deferred_.push_back(std::move(action)); }
  void run_deferred();

  const conf::Configuration& configuration_;
  DataplaneLink& link_;
  Log& log_;
  Wanted wanted_;
  Manager manager_;
  ike::Daemon daemon_;
  SaBook book_;
  ManualSas manual_;
  std::optional<Time> manual_retry_at_;
  std::optional<Time> manual_note_at_;
  std::optional<SpiAllocator> allocator_;
  std::mt19937_64 jitter_;
  LineLimit stranger_lines_{5, 50};
  LineLimit tunnel_lines_{50, 500};
  LineLimit unknown_spi_lines_{1, 10};
  UnknownSpis unknown_spis_;
  std::vector<channel::SaHeld> held_;
  std::map<std::pair<TableId, IpPrefix>, std::string> refused_routes_;
  std::map<TunnelId, Path> paths_;
  std::map<TunnelId, FarEnd> far_ends_;
  HeldRoutes held_routes_;
  std::vector<std::function<void()>> deferred_;
  std::string away_because_{"not connected yet"};
  std::size_t sync_position_{0};
  Time now_;
  Phase phase_{Phase::away};
  bool more_ike_{false};
};

}  // namespace espgate::control
