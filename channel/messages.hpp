// What the control process and the dataplane say to each other. Plain data with fixed sizes: every struct
// here is copied out of shared memory and validated before its first use, because the other side may write
// anything.
//
// Direction of each message:
//   Command  control -> dataplane   answered, in order, by one Event::command_done with the same sequence
//   Event    dataplane -> control
//   IkeDatagram  both ways, one ring each: whole UDP payloads, without the non-ESP marker of port 4500
//
// Ordering: the dataplane applies every command that was in its ring before it sends an IKE datagram that was
// put into the ring afterwards. So "install the SA, then answer the peer" needs no round trip.
#pragma once

#include <array>
#include <cstdint>
#include <type_traits>

#include "channel/address.hpp"

namespace espgate::channel {

inline constexpr std::uint32_t kNameLength = 32;  // with the closing zero
inline constexpr std::uint32_t kMaxGroupMembers = 64;
inline constexpr std::uint16_t kMaxWeight = 256;   // of a group's member
inline constexpr std::uint32_t kMaxSelectors = 8;  // per side of a child SA
inline constexpr std::uint32_t kMaxTunnelAddresses = 4;
inline constexpr std::uint32_t kMaxKeyMaterial = 128;   // bytes of one SA: cipher key, salt and integrity key
inline constexpr std::uint32_t kMaxIkeDatagram = 8192;  // bytes of UDP payload
using Name = std::array<char, kNameLength>;

// SPIs that we choose are addresses: worker | generation | slot (see spi.hpp). The control process allocates
// them; the dataplane refuses one whose worker or slot does not exist or whose slot is taken.

enum class CommandKind : std::uint16_t {
  none = 0,
  sync_begin,  // what follows up to sync_end is the whole of the wanted tunnels, groups and routes
  sync_end,    // tunnels, groups and static routes not set since sync_begin go (with the SAs of such tunnels)
  set_tunnel,
  remove_tunnel,  // with its SAs
  set_group,
  remove_group,
  set_route,
  remove_route,
  install_inbound_sa,
  install_outbound_sa,  // becomes what its tunnel sends on, at once; the SA before it stays until removed
  remove_inbound_sa,
  remove_outbound_sa,
  list_sas,          // answered by one sa_held event for each SA, then command_done
  extend_sa,         // an outbound SA with a sequence limit may send further
  move_outbound_sa,  // its far end is at another address or port now; the inbound SA of the pair goes along
  set_mirror,        // one interface's packets are copied to one of the kernel's; or no more
};

// RFC 4301 section 4.1.
enum class Mode : std::uint8_t { tunnel = 0, transport = 1 };

inline constexpr std::uint32_t kLeastBfdInterval = 10'000;     // us
inline constexpr std::uint32_t kMostBfdInterval = 10'000'000;  // us
inline constexpr std::uint32_t kLeastProbeInterval = 50;       // ms
inline constexpr std::uint32_t kMostProbeInterval = 60'000;    // ms
inline constexpr std::uint32_t kLongestHold = 3'600'000;       // ms

// How the far end of a tunnel is watched, beyond IKE. All zero: it is not. Mode::tunnel only.
struct Watch {
  IpAddress bfd_peer;  // unset: no BFD (RFC 5880, 5881). Of a family in which the interface has an address
  std::uint32_t bfd_interval;   // us: between packets, both ways, as fast as the peer bears
  std::uint8_t bfd_multiplier;  // not 0: so many missing ones take the session down
  IpAddress probe_to;  // unset: no ICMP echo requests. Of a family in which the interface has an address
  std::uint32_t probe_interval;  // ms: between requests, and for how long each may go unanswered
  std::uint8_t probe_losses;     // not 0: so many in a row take the tunnel out of its groups
  std::uint32_t hold_initial;    // ms: out of its groups after it was lost; doubled with each further loss
  std::uint32_t hold_maximum;    // ms: up to this
};

// A virtual tunnel interface. `index` is chosen by the control process, below Hello::max_tunnels.
struct SetTunnel {
  std::uint32_t index;
  Name name;            // the tunnel
  Name interface_name;  // its virtual interface
  std::array<IpPrefix, kMaxTunnelAddresses> addresses;
  std::uint32_t address_count;
  std::uint16_t mtu;       // of inner packets, in bytes: 576..9000; 0: derived from the outer port's MTU or,
                           // with `cut_after`, the most
  std::uint8_t clamp_mss;  // 1: TCP MSS of SYNs is lowered to fit `mtu`
  std::uint8_t spread;     // 1: idle workers help with its cryptography
  Mode mode;  // transport: what this gateway itself sends to `remote` goes into it, or is dropped while it is
              // down
  std::uint8_t cut_after;  // 1: what does not fit is cut once it is encrypted; not with Mode::transport
  IpAddress local;         // outer end points, for display and for matching IKE to known peers
  IpAddress remote;  // not set: wherever its SAs lead. Then it has routes, too, to what an outbound SA's
                     // remote selectors have, for as long as there is that SA; not with Mode::transport
  TableId underlay;  // whose addresses these are, and whose routes the outer packets take
  TableId overlay;   // of the interface: its addresses, and the routes of what comes out
  Watch watch;
  Name kernel;  // the name of the interface's twin in the kernel (at most 15 characters); empty: it has none
};

struct RemoveTunnel {
  std::uint32_t index;
};

// A tunnel, or a gateway if its address is set.
struct GroupMember {
  std::uint32_t tunnel;   // index
  IpAddress gateway;      // on a connected network of a port of SetGroup::table
  std::uint8_t priority;  // 1..255: of those that are up, the ones with the lowest number have all flows
  std::uint16_t weight;   // 1..kMaxWeight
};

// What tells which member of a group a packet goes to: its flow's hash; or the members' selectors, of which
// the first that has the packet counts, those of a lower priority number before others.
enum class GroupChoice : std::uint8_t { flow = 0, selectors };

struct SetGroup {
  std::uint32_t index;  // below Hello::max_groups
  Name name;
  GroupChoice choice;  // selectors: tunnels alone
  std::uint32_t member_count;
  TableId table;                                      // whose networks the gateways are on
  std::array<GroupMember, kMaxGroupMembers> members;  // each once
};

struct RemoveGroup {
  std::uint32_t index;
};

enum class RouteKind : std::uint8_t { none = 0, gateway, tunnel, group, blackhole };

// What leads out of its table says so: `via_table` is that of the gateway's port, of the tunnel's or of the
// group's interfaces.
struct SetRoute {
  TableId table;
  TableId via_table;  // as `table` for blackholes
  IpPrefix destination;
  RouteKind kind;
  IpAddress gateway;    // RouteKind::gateway: on a connected network of a port
  std::uint32_t index;  // RouteKind::tunnel / group
};

struct RemoveRoute {
  TableId table;
  IpPrefix destination;
};

// One range of RFC 7296 section 3.13.1. Any port: 0..65535. Any protocol: 0.
struct Selector {
  IpAddress first;
  IpAddress last;
  std::uint16_t first_port;
  std::uint16_t last_port;
  std::uint8_t protocol;
  std::uint8_t reserved[3];
};

struct Selectors {
  std::array<Selector, kMaxSelectors> local;
  std::array<Selector, kMaxSelectors> remote;
  std::uint32_t local_count;
  std::uint32_t remote_count;
};

// What becomes of DF in an outer IPv4 header (RFC 4301 section 8.1).
enum class DontFragment : std::uint8_t { clear = 0, set = 1, copy = 2 };

// What the outer ECN field is made of (RFC 6040 section 4.1): the inner one, or zero for far ends that can't
// merge it.
enum class EcnMode : std::uint8_t { normal = 0, compatibility = 1 };

inline constexpr std::uint16_t kTfcToMtu = 0xffff;
inline constexpr std::uint8_t kDscps = 64;

// All zero but what must be set is a plain tunnel: no ESN, DSCP and ECN copied, DF clear, no TFC padding.
struct InstallSa {
  std::uint32_t tunnel;
  std::uint32_t spi;                // host byte order; of ours when inbound, of the peer's when outbound
  std::uint32_t partner_spi;        // of the other direction of the same child SA
  std::uint16_t suite;              // crypto::EspSuite
  std::uint16_t udp_encapsulation;  // 1: ESP in UDP (RFC 3948) between the two ports below
  std::uint16_t local_port;         // host byte order
  std::uint16_t remote_port;
  IpAddress local;  // outer
  IpAddress remote;
  std::array<std::uint8_t, kMaxKeyMaterial>
      keys;  // cipher key | salt | integrity key (RFC 7296 section 2.17)
  std::uint32_t
      replay_window;         // packets: 64..16384, a power of two; 0: no replay check; ignored when outbound
  std::uint32_t worker;      // outbound: the worker that owns it; inbound: ignored, the SPI says it
  std::uint64_t soft_bytes;  // 0: none. Passed: one sa_soft_lifetime event
  std::uint64_t hard_bytes;  // 0: none. Passed: the SA drops
  std::uint64_t soft_packets;
  std::uint64_t hard_packets;
  Mode mode;
  std::uint8_t
      esn;  // 1: extended sequence numbers (RFC 4303 section 2.2.1); inbound not without replay check
  std::uint8_t follow;  // 1: a far end that proves to be elsewhere is followed there (RFC 7296 section 2.23),
                        // by the outbound SAs of the tunnel; inbound, tunnel mode, in UDP
  // What follows is for outbound SAs.
  DontFragment df;
  EcnMode ecn;
  std::uint8_t fixed_dscp;   // 0: the inner packet's; else 1 + the code point of every outer packet
  std::uint8_t keepalive;    // seconds of silence after which a NAT keepalive is sent (RFC 3948); 0: never
  std::uint16_t tfc_length;  // bytes to which inner packets are padded (RFC 4303 section 2.7), within what
                             // fits the MTU; kTfcToMtu: to that; 0: none
  std::uint64_t sequence_limit;  // 0: none. The last number it may use until extend_sa raises it; not with
                                 // hard_packets
  // Of either direction: the last number used before under this key. The first packet sent carries one more;
  // none up to it is received again.
  std::uint64_t last_sequence;
  std::uint64_t label;  // of the control process's choice; list_sas tells it
  Selectors selectors;
};

// RFC 4303 section 3.3.3: sequence numbers never cycle. Of the 64-bit ones the last is not used, so that one
// more than any is more.
[[nodiscard]] constexpr std::uint64_t last_of_sequence(bool esn) noexcept {
  return esn ? ~std::uint64_t{0} - 1 : 0xffffffff;
}
// With fewer numbers left to its sequence limit than this, an SA asks for more (sa_limit_near), four times a
// second: 2.5 s at 10 million packets a second.
inline constexpr std::uint64_t kLimitNear = 25'000'000;

struct RemoveSa {
  std::uint32_t tunnel;
  std::uint32_t spi;
};

struct ExtendSa {
  std::uint32_t tunnel;
  std::uint32_t spi;
  std::uint64_t sequence_limit;  // a lower one than before changes nothing
};

struct MoveSa {
  std::uint32_t tunnel;
  std::uint32_t spi;  // of the peer's
  IpAddress remote;   // of the family that it was
  std::uint16_t remote_port;
};

enum class MirrorOf : std::uint8_t { nothing = 0, port, tunnel };

struct SetMirror {
  MirrorOf what;
  std::uint32_t index;
  Name name;  // of the kernel's interface (at most 15 characters)
};

struct Command {
  std::uint64_t sequence;  // of the control process's choice
  CommandKind kind;
  std::uint16_t reserved[3];
  union Body {
    SetTunnel set_tunnel;
    RemoveTunnel remove_tunnel;
    SetGroup set_group;
    RemoveGroup remove_group;
    SetRoute set_route;
    RemoveRoute remove_route;
    InstallSa install_sa;
    RemoveSa remove_sa;
    ExtendSa extend_sa;
    MoveSa move_sa;
    SetMirror set_mirror;
    std::array<std::uint8_t, 1592> raw;
  } body;
};

enum class EventKind : std::uint16_t {
  none = 0,
  command_done,
  sa_held,           // answer to list_sas
  sa_soft_lifetime,  // bytes, packets or sequence numbers run low: time to rekey
  sa_hard_lifetime,  // the SA drops now
  port_up,
  port_down,
  port_absent,      // its device vanished; port_up tells of its return
  unknown_spi,      // ESP came for SPIs that we do not have; at most one a second for each source
  sa_limit_near,    // an outbound SA nears its sequence limit, and will drop there unless it is extended
  peer_moved,       // authentic ESP came from elsewhere; the tunnel's outbound SAs send there now
  path_mtu,         // what the way to a tunnel's far end carries was learned, or forgotten
  tunnel_liveness,  // how a watched tunnel's far end is has changed
  route_held,       // a learned route into a tunnel would be the way to a far end: held back; or no more
  ike_unreachable,  // ICMP says that an IKE datagram of ours did not get there; anybody can say so
};

enum class CommandStatus : std::uint16_t {
  ok = 0,
  unknown_command,
  bad_index,  // tunnel or group index out of range or not set
  bad_address,
  bad_prefix,
  bad_name,
  bad_mtu,
  bad_count,
  bad_suite,
  bad_spi,  // reserved value, no such worker or slot
  spi_in_use,
  no_such_sa,
  no_such_route,
  bad_window,
  bad_option,  // mode, ESN, DF, ECN, DSCP or TFC padding
  bad_selector,
  unreachable,  // a route's gateway lies on no connected network
  table_full,
  bad_member,  // of a group: twice there, or its weight or priority
  bad_table,   // no such route table, or another one than the next hop's
  kernel_refused,
};

[[nodiscard]] const char* words(CommandStatus status) noexcept;

struct CommandDone {
  std::uint64_t sequence;
  CommandStatus status;
};

enum class Direction : std::uint8_t { inbound = 0, outbound = 1 };

struct SaHeld {
  std::uint32_t tunnel;
  Name tunnel_name;
  std::uint32_t spi;
  std::uint32_t partner_spi;
  std::uint16_t suite;
  Direction direction;
  std::uint8_t reserved;
  std::uint64_t age_ns;
  IpAddress local;
  IpAddress remote;
  std::uint64_t sequence_limit;  // of an outbound SA that has one
  std::uint64_t label;
};

struct SaLifetime {
  std::uint32_t tunnel;
  std::uint32_t spi;
  Direction direction;
};
struct SaLimitNear {
  std::uint32_t tunnel;
  std::uint32_t spi;
  std::uint64_t sequence;  // last used
  std::uint64_t sequence_limit;
};
struct PortChange {
  std::uint32_t port;
};
struct UnknownSpi {
  IpAddress source;  // family none: of sources there was no place to tell apart
  IpAddress destination;
  std::uint32_t spi;      // the last one
  std::uint64_t packets;  // since the last event about this source
};

struct PeerMoved {
  std::uint32_t tunnel;
  std::uint32_t inbound_spi;
  IpAddress remote;
  std::uint16_t remote_port;
};

struct PathMtu {
  std::uint32_t tunnel;
  std::uint16_t mtu;  // bytes of outer packet; 0: as much as the port
  IpAddress said_by;
};

enum class Unreachable : std::uint8_t { network = 0, host, port, prohibited };

struct IkeUnreachable {
  TableId table;  // whose address `local` is
  Unreachable what;
  IpAddress local;  // of the datagram
  IpAddress remote;
  std::uint16_t remote_port;
  IpAddress said_by;
};

// Why a watched tunnel is used by its groups, or is not.
enum class LivenessReason : std::uint8_t {
  not_watched = 0,
  up,
  no_sa,
  bfd_waiting,     // for the peer's first packet, or for it to come up
  bfd_no_packet,   // for `milliseconds`
  bfd_peer_down,   // the peer said so; why, says bfd_remote_diagnostic
  bfd_admin_down,  // the peer says that BFD is not to be asked: used
  probe_waiting,   // for the first answer
  probe_lost,      // no answer for `milliseconds`
  held,            // alive again, and out of use for `milliseconds` from then on
};

struct TunnelLiveness {
  std::uint32_t tunnel;
  std::uint8_t up;  // 1: its groups use it, as far as its far end goes
  LivenessReason reason;
  std::uint8_t bfd_state;  // RFC 5880 section 4.1, as on the wire; all zero without BFD
  std::uint8_t bfd_remote_state;
  std::uint8_t bfd_remote_diagnostic;
  std::uint32_t milliseconds;
  bool operator==(const TunnelLiveness&) const noexcept = default;
};

struct RouteHeld {
  IpPrefix destination;
  IpAddress far_end;  // of some tunnel, in this table; not set: the route is held back no more
  TableId table;
};

struct Event {
  EventKind kind;
  std::uint16_t reserved[3];
  union Body {
    CommandDone command_done;
    SaHeld sa_held;
    SaLifetime sa_lifetime;
    SaLimitNear sa_limit_near;
    PortChange port_change;
    UnknownSpi unknown_spi;
    PeerMoved peer_moved;
    PathMtu path_mtu;
    TunnelLiveness tunnel_liveness;
    RouteHeld route_held;
    IkeUnreachable ike_unreachable;
    std::array<std::uint8_t, 248> raw;
  } body;
};

struct IkeDatagram {
  TableId table;  // whose address `local` is
  IpAddress local;
  IpAddress remote;
  std::uint16_t local_port;  // host byte order; 500, or 4500 behind a non-ESP marker on the wire
  std::uint16_t remote_port;
  std::uint32_t length;  // of `bytes` in use
  std::array<std::uint8_t, kMaxIkeDatagram> bytes;
};

// Told once, when the control process attaches, at the head of the region.
struct Hello {
  std::uint32_t workers;
  std::uint32_t inbound_slots;   // per worker
  std::uint32_t outbound_slots;  // per worker
  std::uint32_t max_tunnels;
  std::uint32_t max_groups;
  std::uint32_t ports;
  bool operator==(const Hello&) const noexcept = default;
};

template <class T>
inline constexpr bool kPlain = std::is_trivially_copyable_v<T>&& std::is_standard_layout_v<T>;
static_assert(kPlain<Command> && kPlain<Event> && kPlain<IkeDatagram> && kPlain<Hello>);
static_assert(sizeof(Command::Body) >= sizeof(InstallSa) && sizeof(Command::Body) >= sizeof(SetGroup));

}  // namespace espgate::channel
