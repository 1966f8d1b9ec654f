// What the decrypt way (decrypt.cpp) does for SAs that are not plain: IPv6 outside, transport mode, ESN, a
// card or crypto device that opens, a peer that is followed.
#pragma once

#include <cstring>

#include "dataplane/path/ways.hpp"

namespace espgate::dataplane {

[[nodiscard]] inline bool outer_matches4(const InboundSa& sa, const Packet& packet) noexcept {
  const rte_ipv4_hdr& outer = ipv4(packet.ip);
  if (packet.family != Family::v4 || load<std::uint32_t>(sa.local.bytes.data()) != outer.dst_addr)
    return false;
  if ((outer.next_proto_id == kProtocolUdp) != sa.udp) return false;
  return sa.udp || load<std::uint32_t>(sa.remote.bytes.data()) == outer.src_addr;
}

// Whether the outer header is one that the SA's packets have. The window's word is fetched.
[[nodiscard]] bool takes_otherwise(const InboundSa& sa, const Packet& packet) noexcept;

// The high half of the sequence number (RFC 4303 appendix A2.2).
void extend_sequence(Packet& packet) noexcept;

// The ICV is wrong: false.
bool drop_forged(Worker& worker, const Packet& packet) noexcept;

// The engine's job, which is none where the card has opened the packet. False: it was not authentic, said the
// card, and is counted as that; or it left with a crypto device.
[[nodiscard]] bool describe_otherwise(Worker& worker, Packet& packet) noexcept;

// The packet is authentic, and not yet in the replay window: if it is the newest, and comes from where its
// peer was not, the main thread is told.
void follow_source(Worker& worker, const Packet& packet) noexcept;

// Transport mode: the header that came before ESP goes to the front of what ESP carried, `length` bytes. It
// is the outer header and the inner one, so that the distance between them is none.
void unwrap_transport(Packet& packet, std::uint8_t next_header, unsigned length) noexcept;

}  // namespace espgate::dataplane
