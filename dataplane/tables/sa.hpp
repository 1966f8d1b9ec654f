// Security associations as the workers use them. One writer each: the owning worker, for the first line; the
// main thread builds the rest before it publishes the SA and touches it no more (but for the outer next hop,
// one atomic). Cold data (names, endpoints, soft limits) is the main thread's, in commands.cpp.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "channel/counters.hpp"
#include "channel/messages.hpp"
#include "crypto/bulk.hpp"
#include "crypto/replay_window.hpp"
#include "dataplane/path/wire.hpp"
#include "dataplane/tables/next_hop.hpp"

namespace espgate::dataplane {

struct CardSession;
struct DeviceSession;

using channel::Counter;
using channel::last_of_sequence;

// Of InboundSa::card.
inline constexpr std::uint8_t kOpenedByDevice = 0xff;

inline constexpr std::uint64_t kNoLimit = ~std::uint64_t{0};

// The outer ends of an SA's packets; ports in host byte order, 0 without UDP.
struct OuterEnds {
  IpAddress local;
  IpAddress remote;
  std::uint16_t local_port;
  std::uint16_t remote_port;
  bool operator==(const OuterEnds&) const noexcept = default;
};

// An SA whose far end is elsewhere now. `slot`: in the owner's table, of an outbound SA.
struct Move {
  std::uint32_t spi;
  std::uint32_t slot;
  IpAddress remote;
  std::uint16_t remote_port;
};

// A word that tells sources of UDP apart; never 0. `address`: 4 or 16 bytes; `port` in any byte order. Two
// IPv6 sources may have one word: then a move is overlooked, which no one can be made to believe in.
[[nodiscard]] inline std::uint64_t source_word(const std::uint8_t* address, Family family,
                                               std::uint16_t port) noexcept {
  std::uint64_t halves[2] = {0, 0};
  std::memcpy(halves, address, family == Family::v4 ? 4 : 16);
  const std::uint64_t one = halves[0] ^ (halves[1] * 0x9e3779b97f4a7c15ULL);
  return ((one ^ one >> 32) << 16 ^ port) | std::uint64_t{1} << 63;
}

// The child SA's traffic selectors in the form the check needs.
struct SelectorSet {
  // The families of which all is allowed, so that there is nothing to check: a bit each, by its number.
  struct Any {
    std::uint8_t families;
    [[nodiscard]] bool has(Family family) const noexcept {
      return (families >> static_cast<unsigned>(family) & 1U) != 0;
    }
  };
  channel::Selectors ranges;
  Any any;
};
static_assert(sizeof(SelectorSet::Any) == 1);

// Two lines that every packet needs, then the key. What a tunnel has sent is what its SAs have.
struct alignas(64) OutboundSa {
  // What the owner writes. Counters are read by the main thread, so they are relaxed atomics.
  Counter sequence;  // last one used; the first packet carries one more than was used before under this key
  Counter bytes;     // of inner packets
  Counter last_used_tsc;
  // Read only, but for the outer next hop.
  std::uint64_t hard_bytes;  // kNoLimit: none
  // Beyond it the SA sends nothing: hard packet limit, last_of_sequence or, if `reserved`, the limit that
  // the main thread raises from time to time.
  Counter last_sequence;
  std::atomic<NextHop> outer;    // resolved to connected+neighbour by the main thread: gateway or none
  const SelectorSet* selectors;  // never null
  std::uint32_t tunnel;
  std::atomic<std::uint32_t> spi;  // host order; 0: the slot is free

  // Ready to copy: IPv4 or IPv6 (not in transport mode, which keeps the packet's own) | UDP when encapsulated
  // | SPI.
  std::array<std::uint8_t, kIpv6 + kUdp + 4> header;
  crypto::EspScheme scheme;
  std::uint8_t worker : 7;
  bool reserved : 1;
  std::uint8_t esp_offset;  // of the SPI in it
  std::uint8_t front;       // bytes that come before the payload: those of `header`, the sequence and the IV
  std::uint8_t icv_length;
  std::uint8_t alignment;
  SelectorSet::Any any;
  // `plain`: IPv4 outside, tunnel mode, DSCP and ECN copied, DF clear, no padding but the alignment's; and no
  // card will seal.
  bool plain : 1;
  bool v6 : 1;   // outside
  bool udp : 1;  // ESP in UDP
  bool transport : 1;
  bool copy_df : 1;
  bool copy_dscp : 1;
  bool copy_ecn : 1;
  std::uint8_t traffic_class;  // what the outer one has of its own
  std::uint16_t tfc_length;    // as in InstallSa

  crypto::SaKey key;

  TableId underlay;  // whose routes its packets take

  // Only of interest while a card seals.
  std::atomic<CardSession*> session;  // the one that `outer.card` tells of, or one before it
  Counter by_card;                    // packets that it was given
  // And while a crypto device does.
  std::atomic<DeviceSession*> device;
  Counter by_device;
  // As in InterfaceCounters.
  Counter cut_before;
  Counter cut_after;
};
static_assert(offsetof(OutboundSa, header) == 64);
static_assert(offsetof(OutboundSa, key) == 128);

// One line that is only read, the key, and one line that every packet writes, with a word of the window
// behind it: all that a packet needs lies together, on as few pages as can be.
struct alignas(64) InboundSa {
  const SelectorSet* selectors;  // never null
  std::uint32_t tunnel;
  crypto::EspScheme scheme;
  std::uint8_t front;     // bytes from the SPI to the payload
  std::uint8_t overhead;  // these and the ICV
  std::uint8_t alignment;
  // IPv4 outside, tunnel mode, no ESN, the window near, the peer not followed; and no card opens.
  bool plain : 1;
  bool udp : 1;  // must come in UDP; else as protocol 50
  bool transport : 1;
  SelectorSet::Any any;
  TableId underlay;  // by whose ports its packets come
  TableId overlay;   // whose routes what was in them takes
  IpAddress local;   // outer
  IpAddress remote;  // outer source; with UDP only informative, see `source`
  // 1 + the port whose card may have opened its packets; 0: none; kOpenedByDevice: a crypto device does it.
  std::atomic<std::uint8_t> card;
  // With UDP, where the peer is to be followed: source_word of where it sends from. 0: it is not.
  std::atomic<std::uint64_t> source;

  crypto::SaKey key;

  alignas(64) std::atomic<std::uint32_t> spi;  // host order; 0: free. Published last, cleared first
  std::atomic<std::uint32_t> former_spi;  // what the slot held before: a packet for it is stale, not unknown
  std::uint64_t hard_bytes;               // kNoLimit: none
  std::uint64_t hard_packets;             // kNoLimit: none
  // What the owner writes.
  Counter packets;
  Counter bytes;  // of inner packets
  Counter last_used_tsc;
  crypto::ReplayWindow window;
  // And when something is wrong:
  Counter replayed;
  Counter failed;
  Counter by_card;    // packets that a card opened
  Counter by_device;  // or a crypto device
  std::atomic<DeviceSession*> device;
  std::uint64_t next_move;  // TSC before which the main thread is not told again that the peer is elsewhere
};
static_assert(offsetof(InboundSa, key) == 64);
static_assert(offsetof(InboundSa, window) + crypto::ReplayWindow::kHead - offsetof(InboundSa, spi) == 64);

// Main thread. Fill a free slot from a validated command: header template, lengths, limits, key; the
// sequence, counters and window start anew. `selectors` must outlive the SA. Left to the caller: `outer`, and
// publishing
// (`spi`, which stays 0). False: unknown suite, a bad window, or outer addresses that are not of one family;
// then the slot is erased again.
[[nodiscard]] bool prepare(OutboundSa& sa, const channel::InstallSa& install, const SelectorSet& selectors,
                           const crypto::BulkEngine& engine) noexcept;
[[nodiscard]] bool prepare(InboundSa& sa, const channel::InstallSa& install, const SelectorSet& selectors,
                           const crypto::BulkEngine& engine) noexcept;
// Main thread, after the grace period that follows clearing `spi`: erases key and state. Inbound keeps
// `former_spi`.
void erase(OutboundSa& sa) noexcept;
void erase(InboundSa& sa) noexcept;

// The owning worker: what the SA sends goes to `move.remote`, of the same family, from the next packet on.
void turn_to(OutboundSa& sa, const Move& move) noexcept;

// The selectors of a command in the form the workers check.
[[nodiscard]] SelectorSet make_selector_set(const channel::Selectors& selectors) noexcept;

// What lies around a packet in an SA of this form.
struct Around {
  Family outer;
  bool transport;
  bool udp;
  crypto::EspSuite suite;
};
[[nodiscard]] Around around(const OutboundSa& sa) noexcept;
// The largest packet (IPv4 or IPv6; in transport mode with its own header) that an ESP packet of `outer_mtu`
// bytes carries.
[[nodiscard]] std::uint16_t inner_mtu(std::uint16_t outer_mtu, const Around& around) noexcept;

}  // namespace espgate::dataplane
