// What lies inside an IP packet, as far as forwarding needs to know it: the upper layer behind options and
// extension headers, the flow it belongs to, its hop limit and its congestion mark.
#pragma once

#include <cstdint>

#include "channel/address.hpp"
#include "dataplane/path/wire.hpp"

namespace espgate::dataplane {

// `offset` is from the IP header. `fragment`: the packet is one; `later`: and not the first, so no ports are
// in it.
// Aligned so that it is passed as one word: g++ writes its fields one by one and would wait to read them
// together.
struct alignas(8) UpperLayer {
  std::uint16_t offset;
  std::uint8_t protocol;
  bool fragment;
  bool later;
};

// `length` is the IP packet's, whose header is known to be valid. An extension header that runs over the end
// gives kProtocolNone.
[[nodiscard]] UpperLayer upper_layer6(const std::uint8_t* ip, std::uint16_t length) noexcept;
[[nodiscard]] inline UpperLayer upper_layer4(const std::uint8_t* ip) noexcept {
  const rte_ipv4_hdr& header = ipv4(ip);
  return {ipv4_header_length(header), header.next_proto_id, is_fragment(header), is_later_fragment(header)};
}
[[nodiscard]] inline UpperLayer upper_layer(const std::uint8_t* ip, Family family,
                                            std::uint16_t length) noexcept {
  return family == Family::v4 ? upper_layer4(ip) : upper_layer6(ip, length);
}

// What transport mode leaves outside of ESP (RFC 4303 section 3.1.1), in bytes from the IP header on: IPv4's
// header with its options; of IPv6's chain all up to the last hop-by-hop or routing header.
[[nodiscard]] std::uint16_t unprotected_length(const std::uint8_t* ip, Family family,
                                               std::uint16_t length) noexcept;
// The byte that says what follows the first `end` bytes, of which each is part of a header.
[[nodiscard]] std::uint8_t& next_header_before(std::uint8_t* ip, Family family, std::uint16_t end) noexcept;
// Makes `length` the packet's, whose header is of `header_length` bytes; IPv4's checksum is made anew.
void set_length(std::uint8_t* ip, Family family, std::uint16_t header_length, std::uint16_t length) noexcept;

// A hash of addresses, protocol and ports; all fragments of a packet hash alike (without ports). Of IPv6
// packets with a flow label, of addresses and label. It is the same in every run and on every gateway.
[[nodiscard]] std::uint32_t flow_hash(const std::uint8_t* ip, Family family, std::uint16_t length) noexcept;

[[nodiscard]] inline std::uint8_t hop_limit(const std::uint8_t* ip, Family family) noexcept {
  return ip[family == Family::v4 ? 8 : 7];
}
inline void decrement_hop_limit(std::uint8_t* ip, Family family) noexcept {
  if (family == Family::v6) {
    --ip[7];
    return;
  }
  // TTL, protocol and checksum, little endian. The TTL becomes 1 less, so the checksum becomes as much more;
  // from 0xfffe on it comes round, for 0xffff is no checksum (RFC 1141, RFC 1624 section 3).
  constexpr std::uint32_t kOneMore = 0x10000;
  const std::uint32_t word = load<std::uint32_t>(ip + 8);
  store(ip + 8, word - 1 + kOneMore + (word >= 0xfffe0000 ? kOneMore : 0));
}

// DSCP and ECN as one byte.
[[nodiscard]] inline std::uint8_t traffic_class(const std::uint8_t* ip, Family family) noexcept {
  return family == Family::v4 ? ip[1] : static_cast<std::uint8_t>(load16(ip) >> 4);
}

// RFC 6040 section 4.2: what the inner packet's ECN field becomes, from the outer's. kEcnDrop: the packet
// must go.
inline constexpr std::uint8_t kEcnDrop = 0xff;
[[nodiscard]] inline std::uint8_t decapsulated_ecn(std::uint8_t inner, std::uint8_t outer) noexcept {
  // Figure 4. Rows: inner Not-ECT, ECT(1), ECT(0), CE; columns: outer, in the same order of code points.
  static constexpr std::uint8_t kTable[4][4] = {
      {0, 0, 0, kEcnDrop}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3}};
  return kTable[inner & 3][outer & 3];
}
void set_ecn(std::uint8_t* ip, Family family, std::uint8_t ecn) noexcept;

// Lowers the MSS option of a TCP SYN to `mss` where it is larger; does nothing to any other packet.
void clamp_mss(std::uint8_t* ip, std::uint16_t length, const UpperLayer& upper, std::uint16_t mss) noexcept;

}  // namespace espgate::dataplane
