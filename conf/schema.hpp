// The configuration file as structs, with its defaults. docs/configuration.md describes every key.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/messages.hpp"
#include "channel/spi.hpp"
#include "crypto/ike.hpp"
#include "crypto/secret.hpp"
#include "crypto/suite.hpp"

namespace espgate::crypto {
class Certificate;
class PrivateKey;
class PublicKey;
class TrustStore;
}  // namespace espgate::crypto

namespace espgate::conf {

// Where in the file a thing stands; 1-based. For messages that come later than loading.
struct Mark {
  int line{0};
  int column{0};
};

enum class Idle : std::uint8_t { adaptive, busy };
enum class Hugepages : std::uint8_t { automatic, never, require };
enum class Offload : std::uint8_t { automatic, never, require };

// A device for lookaside cryptography (rte_cryptodev).
struct CryptoDevice {
  std::string device;                    // as written: a PCI address or DPDK's devargs (crypto_...)
  std::vector<crypto::EspSuite> suites;  // that it is used for; empty: all that it can do
  Mark mark;
};

struct Dataplane {
  std::vector<unsigned> workers{1};  // CPU of each worker, in order; a CPU may carry several
  unsigned main_cpu{0};              // of the main thread (slow path and commands)
  Idle idle{Idle::adaptive};
  Hugepages hugepages{Hugepages::automatic};
  unsigned memory_mib{512};  // for DPDK
  unsigned packet_buffers{16384};
  unsigned max_tunnels{1024};
  unsigned max_routes{65536};
  unsigned ipv6_blocks{0};  // of a route table; 0: what the least memory holds
  std::vector<CryptoDevice> crypto_devices;
};

// Groups that there is room for.
[[nodiscard]] inline unsigned max_groups(const Dataplane& dataplane) noexcept {
  return std::max(64U, dataplane.max_tunnels / 2);
}

// Slots for SAs of each worker. A tunnel has two SAs a direction while it rekeys, and tunnels are not spread
// quite evenly.
[[nodiscard]] inline std::uint32_t outbound_slots(const Dataplane& dataplane) noexcept {
  const auto workers = static_cast<unsigned>(dataplane.workers.size());
  return std::clamp(4 * dataplane.max_tunnels / workers, 256U, channel::kMaxSpiSlots);
}
// Worker 0's first 256 slots have reserved SPIs in generation 0.
[[nodiscard]] inline std::uint32_t inbound_slots(const Dataplane& dataplane) noexcept {
  return std::min(outbound_slots(dataplane) + channel::kFirstFreeSpi, channel::kMaxSpiSlots);
}

// Where no table is named.
inline constexpr char kMainTableName[] = "main";

// As the file names it, and, once the loader has checked that name, its number: `main` is 0, and the others
// follow in the file's order.
struct TableRef {
  std::string name{kMainTableName};
  TableId id{kMainTable};
};

// A route table beside `main`.
struct Table {
  std::string name;
  unsigned max_routes{1000};  // of each family
  unsigned ipv6_blocks{0};    // as in Dataplane
  std::string space;          // network namespace of its interfaces' twins in the kernel; empty: it has none
  Mark mark;
};

// Addresses of the gateway on no port.
struct Loopback {
  std::string name;
  std::vector<IpPrefix> addresses;  // with host bits
  TableRef table;
  Mark mark;
};

struct Port {
  std::string name;
  std::string device;     // as written: PCI address, devargs, or KIND:INTERFACE (see device_args)
  std::string parent;     // of a sub-interface, which has no device: the port whose frames it shares
  std::uint16_t vlan{0};  // and the tag of its own (IEEE 802.1Q): 1..4094
  std::vector<IpPrefix> addresses;  // with host bits
  std::uint16_t mtu{1500};  // bytes of IP packet; 576..9000. Of a sub-interface: the parent's by default
  Offload offload{Offload::automatic};  // ESP's cryptography by the port's card
  TableRef table;
  bool encrypted_only{false};
  std::string kernel;  // the name of its twin in the kernel; empty: it has none
  Mark mark;
};

struct Route {
  TableRef table;
  IpPrefix to;
  std::optional<IpAddress> via;  // exactly one of via, tunnel, group, blackhole
  std::string tunnel;
  std::string group;
  bool blackhole{false};
  TableRef via_table;  // where the gateway, tunnel or group is; as `table` by default
  Mark mark;
};

enum class IdentityType : std::uint8_t {
  ipv4 = 1,
  fqdn = 2,
  email = 3,
  ipv6 = 5,
  directory_name = 9,
  key_id = 11
};  // RFC 7296 3.5

struct Identity {
  IdentityType type{IdentityType::fqdn};
  std::string text;  // as written: an address, east.example, ops@example, C=DE, CN=east, or hex for key_id
  std::vector<std::uint8_t> data;  // as it travels in the ID payload
  // Of a template's peers: `*` in place of a domain name's first label, a mailbox or an attribute of a name.
  // Without data: any identity.
  bool pattern{false};
};

// One IKE proposal: `aes256-sha384-ecp384`, `aes256gcm16-prfsha384-x25519`. Alternatives of one kind in the
// order written. Where no PRF is named it follows the integrity algorithm's hash.
struct IkeCipherChoice {
  crypto::IkeCipherId id;
  std::uint16_t key_bits;
};
struct IkeProposal {
  std::string text;
  std::vector<IkeCipherChoice> ciphers;
  std::vector<crypto::IkeIntegrity> integrity;  // empty with AEAD
  std::vector<crypto::Prf> prfs;
  std::vector<crypto::DhGroup> groups;  // never empty
};

// Extended sequence numbers (RFC 4303 section 2.2.1): what is offered and accepted.
enum class Esn : std::uint8_t { no, yes, either };

// One ESP proposal: `aes256gcm16-ecp384`, `aes256-sha256`. A group asks for PFS on rekeys.
struct EspProposal {
  std::string text;
  std::vector<crypto::EspSuite> suites;
  std::vector<crypto::DhGroup> groups;
  Esn esn{Esn::no};  // the tunnel's
};

// A traffic selector as configured: a prefix, any protocol and port.
using SelectorPrefix = IpPrefix;

// How one side of a tunnel shows that it is who it says it is (RFC 7296 section 2.15).
enum class Auth : std::uint8_t { psk, certificate, public_key };

// A file that the configuration names. No path: it names none.
struct NamedFile {
  std::string path;
  Mark mark;
};

// What load_credentials reads.
struct CredentialFiles {
  NamedFile certificate, key, pkcs12, password, ocsp_response;
  std::vector<NamedFile> authorities, crls;
  NamedFile public_key;  // the peer's
};

// What load_credentials makes of them: tunnels that name the same files share it.
struct LocalAuth {
  Auth by{Auth::psk};
  bool rsa_pss{false};  // sign with PSS where an RSA key is used
  std::shared_ptr<const std::vector<std::shared_ptr<const crypto::Certificate>>> chain;  // ours first
  std::shared_ptr<const crypto::PrivateKey> private_key;  // whose place is with the Keeper
  std::shared_ptr<const crypto::PublicKey> public_key;
  std::shared_ptr<const std::vector<std::uint8_t>> ocsp_response;  // in DER; none: it has none
};
// What the peer's authority says of its certificate, sent along with it (RFC 4806): not asked for; asked for,
// and it counts if it comes; no certificate counts without.
enum class Ocsp : std::uint8_t { no, accept, require };
struct RemoteAuth {
  Auth by{Auth::psk};
  Ocsp ocsp{Ocsp::no};
  std::shared_ptr<const crypto::TrustStore> trust;
  std::shared_ptr<const crypto::PublicKey> public_key;
};

// A post-quantum pre-shared key (RFC 8784): goes into an IKE SA's keys beside the Diffie-Hellman secret.
enum class PpkIdType : std::uint8_t { opaque = 1, fixed = 2 };  // section 5.1
struct Ppk {
  std::string id;  // what the two sides call it; printable
  PpkIdType type{PpkIdType::fixed};
  crypto::SecretBytes secret;          // whose place is with the Keeper
  std::int64_t not_before{INT64_MIN};  // Unix time, in seconds: the first and the last in which an IKE SA
  std::int64_t not_after{INT64_MAX};   // may be begun with it
  Mark mark;
};
// One of many peers' pre-shared key.
struct PeerSecret {
  Identity id;
  crypto::SecretBytes secret;
};
// Whether the peer may do without one.
enum class PpkUse : std::uint8_t { required, optional };

enum class Start : std::uint8_t { initiate, wait };
// Whose published parameters fill in what the file leaves out.
enum class Profile : std::uint8_t { none, oci, aws, azure, gcp };
// An IKE SA that is set up without a child SA (RFC 6023), which is then made by an exchange of its own:
// never; if the peer begins so; if we begin and the peer knows it; we begin only so.
enum class Childless : std::uint8_t { never, allow, prefer, require };
enum class Encapsulation : std::uint8_t { automatic, udp };

// One direction of an SA pair with manual keys.
struct ManualSa {
  std::uint32_t spi{0};
  crypto::SecretBytes key;  // cipher key | salt | integrity key; empty with Secrets::skip
};

// In place of IKE (RFC 4301 section 4.5.1).
struct Manual {
  crypto::EspSuite suite{};
  ManualSa inbound;
  ManualSa outbound;
  bool esn{false};
  bool udp{false};                  // ESP in UDP, from our port 4500
  std::uint16_t remote_port{4500};  // with `udp`
};

// What does not fit a tunnel is cut before it is encrypted, or after.
enum class Fragmentation : std::uint8_t { before, after };

// How the outer header of a tunnel's packets is made (RFC 4301 section 5.1.2).
struct OuterHeader {
  std::optional<std::uint8_t> dscp;  // of every packet, 0..63; none: the inner packet's
  channel::EcnMode ecn{channel::EcnMode::normal};
  channel::DontFragment df{channel::DontFragment::clear};
};

// How the far end of a tunnel is watched from within it.
struct Bfd {  // RFC 5880, 5881
  IpAddress peer;
  std::chrono::milliseconds interval{300};
  std::uint8_t multiplier{3};
};
struct Probe {  // ICMP echo
  IpAddress to;
  std::chrono::milliseconds interval{200};
  std::uint8_t losses{3};
};
// A tunnel that was lost and is back stays out of its groups for so long.
struct HoldDown {
  std::chrono::milliseconds initial{1000};
  std::chrono::milliseconds maximum{30000};
};

// What a child has of its parent where it does not say otherwise itself.
struct Inherited {
  IpAddress local;
  IpAddress remote;  // not set: wherever the peer is (of a template's slot)
  TableRef table;    // whose addresses these are
  Profile profile{Profile::none};
  bool legacy{false};  // algorithms that are too weak by now may be among the proposals
  Identity local_id;   // default: the address, or the certificate's subject
  Identity remote_id;
  std::vector<EspProposal> esp_proposals;
  std::chrono::seconds child_lifetime{3600};
  std::uint64_t child_bytes{0};    // 0: no limit
  std::uint64_t child_packets{0};  // 0: no limit but that of the sequence numbers
  std::uint32_t replay_window{1024};
  Esn esn{Esn::no};
  Start start{Start::initiate};
  Encapsulation encapsulation{Encapsulation::automatic};
  // Of silence, then a NAT keepalive (RFC 3948 section 4): 0..255; 0: never.
  std::chrono::seconds keepalive{20};
  OuterHeader outer;
  Fragmentation fragmentation{Fragmentation::before};
  std::uint16_t tfc_length{0};  // bytes to which inner packets are padded; channel::kTfcToMtu; 0: none
  TableRef overlay;             // the interface's table; default: main, or in transport mode `table`
  std::uint16_t mtu{0};         // 0: derived, or with Fragmentation::after the most
  bool clamp_mss{true};
  bool spread{false};  // idle workers help with its cryptography
};

struct Tunnel : Inherited {
  std::string name;
  // Of a child: the tunnel whose IKE SA makes its child SAs, too. Nothing of IKE's counts in the child's own.
  std::string parent;
  std::optional<std::uint32_t> parent_index;  // once the loader has checked that name
  // Of a template: the peers at once, for each of which the loader makes a tunnel, its slot, one behind the
  // other. They differ in their names, and in what `secrets` says of the peer.
  std::uint32_t peers{0};                   // 0: no template
  std::optional<std::uint32_t> first_slot;  // of a slot: its template's first
  std::vector<PeerSecret> secrets;          // of a template, until its slots have them
  LocalAuth local_auth;
  RemoteAuth remote_auth;
  std::unique_ptr<CredentialFiles> files;  // none where both sides have the pre-shared key
  std::optional<Manual> manual;            // then nothing of IKE's counts
  crypto::SecretBytes psk;                 // of a slot: its peer's
  std::vector<Ppk> ppks;                   // the first that is valid is used, and each that is valid accepted
  PpkUse ppk_use{PpkUse::required};
  std::vector<IkeProposal> ike_proposals;
  std::chrono::seconds ike_lifetime{28800};  // rekey is begun before; see docs/configuration.md
  std::chrono::seconds ike_reauth{0};        // how old the authentication may become; 0: as old as it will
  Childless childless{Childless::allow};
  bool verify_rekey{false};               // the first child SA is rekeyed at once: its PFS fits, or is told
  std::chrono::seconds dpd_interval{10};  // of silence before asking; 0: never
  channel::Mode mode{channel::Mode::tunnel};
  // Default: 0.0.0.0/0 and ::/0; in transport mode always the end points.
  std::vector<SelectorPrefix> local_selectors;
  std::vector<SelectorPrefix> remote_selectors;
  std::string interface;  // default: the tunnel's name
  std::string kernel;     // the name of the interface's twin in the kernel; empty: it has none
  std::vector<IpPrefix> addresses;
  std::optional<Bfd> bfd;
  std::optional<Probe> probe;
  HoldDown hold_down;  // without either of these: of what IKE says; 0 if it is not given
  Mark mark;
};

struct GroupMember {
  std::string tunnel;            // exactly one of tunnel and via
  std::optional<IpAddress> via;  // on a port's network
  std::uint16_t weight{1};       // 1..channel::kMaxWeight
  std::uint8_t priority{1};      // 1..255
};

struct Group {
  std::string name;
  std::vector<GroupMember> members;
  TableRef table;  // whose networks the gateways are on
  channel::GroupChoice by{channel::GroupChoice::flow};
  Mark mark;
};

struct Configuration {
  std::string name{"espgate"};                      // of the gateway, in prompts and logs
  std::string runtime_directory{"/run/espgate"};    // sockets; made with mode 0700
  std::string state_directory{"/var/lib/espgate"};  // what outlives a restart; made with mode 0700
  std::string user{"espgate"};  // whose the control process and the signer are, once begun
  Dataplane dataplane;
  std::vector<Table> tables;
  std::vector<Loopback> loopbacks;
  std::vector<Port> ports;
  std::vector<Route> routes;
  std::vector<Tunnel> tunnels;
  std::vector<Group> groups;
};

}  // namespace espgate::conf
