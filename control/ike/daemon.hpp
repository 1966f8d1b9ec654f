// The IKEv2 daemon: every IKE SA, driven by datagrams and by the clock. No sockets, no threads, no waiting:
// the same code runs over the dataplane's rings and, in tests, against itself over a lossy wire in virtual
// time. All calls from one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <ctime>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "conf/schema.hpp"
#include "control/ike/payloads.hpp"
#include "crypto/certificate.hpp"
#include "crypto/suite.hpp"

namespace espgate::ike {

using Time = std::chrono::steady_clock::time_point;

// `table`: the route table in which the address means what it does.
struct Endpoint {
  IpAddress address;
  std::uint16_t port{0};
  TableId table{kMainTable};
  bool operator==(const Endpoint&) const = default;
};

using TunnelId = std::uint32_t;  // the tunnel's index in the configuration and in the channel

// A child SA to put into the dataplane: both directions. Keys are erased with it.
struct ChildInstall {
  TunnelId tunnel{0};
  std::uint32_t inbound_spi{0};
  std::uint32_t outbound_spi{0};
  crypto::EspSuite suite{};
  channel::Mode mode{};
  bool esn{false};
  bool padding{true};  // the peer accepts traffic flow confidentiality padding
  crypto::SecretBytes inbound_keys;
  crypto::SecretBytes outbound_keys;
  Endpoint local;  // outer; the ports count only with udp_encapsulation
  Endpoint remote;
  bool udp_encapsulation{false};
  bool follow{false};                 // the peer is behind a NAT and we are not: where it moves we follow
  std::chrono::seconds keepalive{0};  // of silence, then a NAT keepalive; 0: never
  std::vector<TrafficSelector> local_selectors;
  std::vector<TrafficSelector> remote_selectors;
  std::uint64_t label{0};  // of a template's slot: whose it is, for the next control process
};

// Why something did not come about or ended. `summary` is one line in words, whole in itself:
// "the peer has no IKE proposal in common: we offered ..., it answered NO_PROPOSAL_CHOSEN".
enum class Failure : std::uint8_t {
  none,
  no_answer,
  ike_version,  // the peer speaks IKEv1
  unreachable,  // ICMP says so
  no_ike_proposal,
  no_esp_proposal,
  no_additional_child,  // of this IKE SA, says the peer
  ike_rekey,            // refused
  authentication_failed,
  peer_identity,
  no_slot,        // of a template: as many peers as may be are there
  no_ppk_here,    // PPKs (RFC 8784): the peer has one and we have none
  no_ppk_there,   // we require one and the peer uses none
  ppk_unknown,    // one side does not have the one that the other names
  ppk_not_valid,  // ours have expired, or are not valid yet
  ppk_differs,
  keys_away,  // who keeps our keys gives no answer
  ts_unacceptable,
  mode,  // tunnel or transport
  invalid_ke,
  peer_deleted,
  dpd_timeout,
  lifetime,
  protocol_error,
  operator_request,
  dataplane_refused,
  replaced
};
struct Reason {
  Failure failure{Failure::none};
  std::string summary;
  crypto::Distrust distrust{};  // of the peer's certificate, where that is the reason
};

// What the daemon needs of the world, and what it tells it. None of these may call the daemon back: it is at
// work.
class Host {
 public:
  virtual ~Host() = default;
  // One IKE message as UDP payload without the non-ESP marker; port 4500 at either end implies the marker.
  virtual void send(const Endpoint& local, const Endpoint& remote, Bytes datagram) = 0;
  // A free inbound SPI for `tunnel`, or 0 when the dataplane has no slot left.
  virtual std::uint32_t allocate_spi(TunnelId tunnel) = 0;
  // Gives back an SPI whose SA was never installed.
  virtual void release_spi(std::uint32_t spi) = 0;
  // In this order on a rekey: inbound first, outbound when the peer can receive on it, the old ones when
  // traffic moved.
  virtual void install_inbound(const ChildInstall& child) = 0;
  virtual void install_outbound(const ChildInstall& child) = 0;
  virtual void remove_inbound(TunnelId tunnel, std::uint32_t spi) = 0;
  virtual void remove_outbound(TunnelId tunnel, std::uint32_t spi) = 0;
  // The far end of an installed child is at `child.remote` now.
  virtual void move_child(const ChildInstall& child) = 0;
  // Seconds of Unix time: certificates are valid by it.
  [[nodiscard]] virtual std::int64_t unix_time() { return std::time(nullptr); }
  // When the dataplane last received an authentic packet on any of the tunnel's SAs (for DPD); nullopt:
  // never.
  virtual std::optional<Time> last_inbound(TunnelId tunnel) = 0;
  // Told when the tunnel's first child SA is up, when its last one is gone, and when an attempt failed.
  virtual void tunnel_up(TunnelId tunnel) = 0;
  virtual void tunnel_down(TunnelId tunnel, const Reason& reason) = 0;
  virtual void attempt_failed(TunnelId tunnel, const Reason& reason) = 0;
  // What the peer began, or somebody in its name, came to nothing: nobody has shown who he is, so it explains
  // and changes nothing.
  virtual void peer_attempt_failed(TunnelId tunnel, const Reason& reason) = 0;
  // A child SA or the tunnel's IKE SA, as `reason` says, could not be replaced; it is there until its
  // lifetime ends.
  virtual void rekey_failed(TunnelId tunnel, const Reason& reason) = 0;
  // One line for the log; `tunnel` is absent for strangers.
  virtual void log(std::optional<TunnelId> tunnel, const std::string& line) = 0;
};

struct Settings {
  std::chrono::milliseconds retransmit_first{500};  // then half as long again with each try
  unsigned retransmit_tries{8};                     // about 25 s in all
  // Half-open IKE SAs as responder, beyond which cookies are asked for: more than one peer has under way that
  // begins all its tunnels at once.
  std::size_t cookie_threshold{320};
  std::size_t max_half_open{4096};       // of all sources; see HalfOpen for what one may have
  std::size_t fragment_size{1280};       // bytes of UDP payload of a protected message; 0: never fragment
  std::chrono::seconds rekey_margin{0};  // 0: a tenth of the lifetime, with up to another tenth of jitter
  std::uint64_t random_seed{0};          // 0: from the system; jitter only, never keys
};

// Snapshots for the shell.
struct ChildInfo {
  TunnelId tunnel{0};
  std::uint32_t inbound_spi{0}, outbound_spi{0};
  crypto::EspSuite suite{};
  crypto::DhGroup pfs_group{};
  channel::Mode mode{};
  bool esn{false};
  bool udp_encapsulation{false};
  std::vector<TrafficSelector> local_selectors, remote_selectors;
  Time established, rekey_at, expires_at;
};
struct IkeInfo {
  TunnelId tunnel{0};
  bool tunnel_known{false};  // false: half-open, the peer has not told who it is
  std::uint64_t spi_initiator{0}, spi_responder{0};
  bool initiator{false};
  std::string state;  // "INIT sent", "AUTH sent", "established", "rekeying", "deleting"
  std::string algorithms;
  std::string software;  // the peer's, if it told
  std::string ppk;       // the id of the one in its keys; empty: none
  Endpoint local, remote;
  std::string local_id, remote_id;
  bool nat_local{false}, nat_remote{false};
  Time established, rekey_at, expires_at;
  std::vector<ChildInfo> children;
};

// The slots of a template.
struct SlotCounts {
  std::size_t slots{0}, taken{0};
  std::uint64_t refused{0};  // peers that were who they said, and for whom there was none
};

// IKE_SA_INIT requests that were not answered for too many half-open IKE SAs.
struct HalfOpenRefusals {
  std::uint64_t full{0};
  std::uint64_t share_taken{0};  // by the requests' source alone
};

class IkeSa;
class Story;
class NotifyCounters;
class Keeper;

class Daemon {
 public:
  // `tunnels`, `keeper` and `host` must outlive the daemon; a TunnelId is an index into `tunnels`.
  Daemon(const std::vector<conf::Tunnel>& tunnels, Keeper& keeper, Host& host, Settings settings, Time now);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Every call carries the present time; none of them waits.
  void received(const Endpoint& local, const Endpoint& remote, Bytes datagram, Time now);
  // A child SA for `tunnel`, and the IKE SA first where there is none. No effect while either is under way,
  // or there is such a child SA.
  void initiate(TunnelId tunnel, Time now);
  // Deletes, tells the peer: the IKE SA with all its child SAs, or of a tunnel that has a parent its child
  // SAs alone.
  void terminate(TunnelId tunnel, const Reason& reason, Time now);
  void rekey_child(std::uint32_t inbound_spi, Time now);  // the dataplane's soft lifetime, or the operator
  void rekey_ike(TunnelId tunnel, Time now);              // that of its parent, if it has one
  // A new IKE SA with a new child SA beside what there is, which is deleted when the new one is in use.
  void reauthenticate(TunnelId tunnel, Time now);
  void dataplane_refused(TunnelId tunnel, std::uint32_t spi, const std::string& words, Time now);
  void child_expired(std::uint32_t inbound_spi, Time now);  // the dataplane's hard lifetime
  // The dataplane heard authentic ESP on a child of ours from elsewhere, and followed.
  void peer_moved(std::uint32_t inbound_spi, const Endpoint& remote, Time now);
  // Somebody, perhaps `said_by`, says that what was sent between the two did not arrive. It only explains
  // what fails anyhow.
  void unreachable(const Endpoint& local, const IpAddress& remote, const Reason& reason, Time now);
  // Shutdown: sends deletes for all, once. From now on no peer's IKE_SA_INIT request is answered: some begin
  // anew as soon as they are told, and would be left with what is gone a moment later.
  void terminate_all(Time now);

  // When `advance` wants to be called next; nullopt: nothing is waiting.
  [[nodiscard]] std::optional<Time> next_deadline() const;
  // Does what is due, but only so much at a time that others get their turn: ask `next_deadline` again.
  void advance(Time now);

  // Tells the peer to forget older SAs of this identity (INITIAL_CONTACT) in the next attempt. Set unless SAs
  // of a former control process are still carrying this tunnel's traffic.
  void set_initial_contact(TunnelId tunnel, bool send);
  // A template's slot is carried by SAs of a former control process, with this label: it is kept for their
  // peer until set_initial_contact(tunnel, true).
  void keep_slot(TunnelId tunnel, std::uint64_t label);

  // All IKE SAs, half-open ones too; or those of one tunnel or of its parent, without a walk over the others.
  [[nodiscard]] std::vector<IkeInfo> list() const;
  [[nodiscard]] std::vector<IkeInfo> list(TunnelId tunnel) const;
  [[nodiscard]] bool empty() const;  // no IKE SA is left
  // The peer that has a template's slot, or had it last; empty: none has had it.
  [[nodiscard]] std::string slot_holder(TunnelId tunnel) const;
  [[nodiscard]] SlotCounts slot_counts(TunnelId first) const;
  // What was said between the two ends of a tunnel. Valid until the next call.
  [[nodiscard]] const Story& story(TunnelId tunnel) const;
  [[nodiscard]] const NotifyCounters& notify_counters() const;
  [[nodiscard]] const HalfOpenRefusals& half_open_refusals() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace espgate::ike
