// What travels with a packet outside its bytes: the note in the mbuf's private area, written only when the
// packet leaves the straight way (to the main thread, or to another worker), and the burst that the stages
// work on.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>

#include "channel/address.hpp"
#include "channel/drop_reasons.hpp"
#include "dataplane/tables/next_hop.hpp"

namespace espgate::dataplane {

inline constexpr unsigned kBurst = 64;

// Room in front of every received frame: the outer headers, UDP, ESP and IV of the largest encapsulation.
inline constexpr std::uint16_t kHeadroom = RTE_PKTMBUF_HEADROOM;  // 128

// Why the main thread gets a packet. `data` says where the mbuf's data begin. Those with a reason
// (ttl_exceeded, too_big, unreachable, unknown_spi) end there: the main thread tells the sender or the
// control process, and counts note.reason once for the packet itself.
enum class Exception : std::uint8_t {
  arp,           // data: the Ethernet header
  to_host,       // data: the IP header. To one of our addresses, or multicast that neighbour discovery uses
  ttl_exceeded,  // data: the IP header
  too_big,       // data: the IP header; note.mtu is the size that fits
  unreachable,   // data: the IP header; note.reason: no_route or tunnel_down
  resolve,       // data: the IP header; waits for a neighbour: note.next_hop is connected or gateway
  unknown_spi,   // data: the outer IP header; tell the control process, then drop
  peer_moved,    // data: a Move, no packet: authentic ESP for the inbound SA came from there
};

// Why a worker finds a packet in its inbox.
enum class Errand : std::uint8_t {
  encrypt,  // from another worker: data at the inner IP header, note.tunnel says by which tunnel (choose_sa
            // again)
  decrypt,  // from another worker (find_sa again), or reassembled by the main thread: data at the outer IP
            // header; as if just received on note.port
  route,    // from the main thread: data at an IP header; as if just received on no port, but its TTL stays
  ike,      // the same, of our own IKE, whose later fragments may leave by ports that are encrypted-only
  protect,  // from the main thread: data at the IP header of a packet made here, note.tunnel says by which
            // tunnel
  move,     // from the main thread: data is a Move, no packet
  frame,    // from the main thread: data at an Ethernet header, complete, to send on note.port
};

struct Note {
  static constexpr std::uint32_t kNoTunnel = 0xffffffff;
  static constexpr std::uint8_t kNoPort = 0xff;
  std::uint8_t why;   // Exception or Errand
  std::uint8_t port;  // the port it came in on (kNoPort: none), or is to leave by (Errand::frame)
  std::uint16_t mtu;
  std::uint32_t tunnel;  // the tunnel it came in by or is to leave by, or kNoTunnel
  NextHop next_hop;
  channel::DropReason reason;  // Exception: what to count when the packet ends on the slow path
  TableId table{kMainTable};   // whose routes it takes; one that exists
};
static_assert(sizeof(Note) == 24);
inline constexpr std::uint16_t kNoteArea = 64;  // the packet pools' private area, bytes

[[nodiscard]] inline Note& note_of(rte_mbuf* packet) noexcept {
  return *static_cast<Note*>(rte_mbuf_to_priv(packet));
}

}  // namespace espgate::dataplane
