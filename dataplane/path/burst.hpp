// The burst that the stages work on: up to 64 packets in the order in which they came. A packet's state that
// a later stage needs lies here in one cache line, so that the mbuf is touched where it must be and no more.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <cstdint>

#include "channel/address.hpp"
#include "dataplane/path/packet.hpp"
#include "dataplane/tables/next_hop.hpp"
#include "dataplane/tables/sa.hpp"
#include "dataplane/tables/tunnel.hpp"

namespace espgate::dataplane {

struct Worker;

struct alignas(64) Packet {
  rte_mbuf* mbuf;
  std::uint8_t*
      ip;  // the IP header the stages look at: outer up to strip_trailer, then inner up to encapsulate
  union {
    OutboundSa* outbound;  // encrypt way, from choose_sa on
    InboundSa* inbound;    // decrypt way, from find_sa on
  };
  NextHop next_hop;        // from route on
  std::uint64_t sequence;  // of the ESP packet
  std::uint32_t
      tunnel;  // it leaves by (encrypt way, from choose_tunnel on), else came in by, or Note::kNoTunnel
  std::uint16_t length;     // of the IP packet, from `ip` on
  std::uint16_t esp;        // offset of the SPI from `ip`
  std::uint16_t payload;    // bytes between IV and ICV
  std::uint16_t mtu;        // of a deferred packet: the size to which it is to be cut; 0: it fits
  std::uint16_t outer_mtu;  // of a deferred packet: the size to which it is cut once it is sealed; or kNotCut
  Family family;
  std::uint8_t port;  // it came in on, or Note::kNoPort
  TableId table;      // whose routes it takes: its port's, its tunnel's overlay, or what the main thread says
  bool forwarded;     // false: made here, so its hop limit stays
  bool handed_over;   // came from another worker
};
static_assert(sizeof(Packet) == 64);

struct Burst {
  std::array<Packet, kBurst> packets;
  unsigned count{0};

  [[nodiscard]] bool empty() const noexcept { return count == 0; }
  [[nodiscard]] Packet* begin() noexcept { return packets.data(); }
  [[nodiscard]] Packet* end() noexcept { return packets.data() + count; }
  [[nodiscard]] Packet& operator[](unsigned i) noexcept { return packets[i]; }
  [[nodiscard]] Packet& add() noexcept { return packets[count++]; }
};

// Keeps, in order, the packets for which `keep` says true; it has disposed of the others.
template <class Keep>
void keep_if(Burst& burst, Keep&& keep) noexcept {
  Packet* kept = burst.begin();
  for (Packet *packet = kept, *const end = burst.end(); packet != end; ++packet) {
    if (!keep(*packet)) continue;
    if (kept != packet) *kept = *packet;
    ++kept;
  }
  burst.count = static_cast<unsigned>(kept - burst.begin());
}

// Takes each packet through `Stages` in turn, as far as they let it; keeps, in order, those that came
// through. A stage says false of a packet that it has disposed of.
template <auto... Stages>
void carry(Worker& worker, Burst& burst) noexcept {
  keep_if(burst, [&worker](Packet& packet) noexcept { return (Stages(worker, packet) && ...); });
}

// The mbuf's data are the `length` bytes at `at`, which lie in its buffer. Set where a packet leaves the way;
// on the way, `ip` and `length` are what counts.
inline void set_data(rte_mbuf* mbuf, const std::uint8_t* at, std::uint16_t length) noexcept {
  mbuf->data_off = static_cast<std::uint16_t>(at - static_cast<const std::uint8_t*>(mbuf->buf_addr));
  mbuf->data_len = length;
  mbuf->pkt_len = length;
}

}  // namespace espgate::dataplane
