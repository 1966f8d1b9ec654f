// The Internet checksum (RFC 1071) over a datagram behind its pseudo-header. Ports are taken to have no
// offloads.
#pragma once

#include <rte_ip.h>

#include <cstdint>
#include <cstring>

#include "dataplane/path/wire.hpp"

namespace espgate::dataplane {

// Not complemented. `length`: any.
[[nodiscard]] inline std::uint32_t sum_of(const void* bytes, std::size_t length) noexcept {
  return rte_raw_cksum(bytes, length);
}

// What goes into the checksum field of bytes in which that field is zero.
[[nodiscard]] inline std::uint16_t checksum(const void* bytes, std::size_t length) noexcept {
  return static_cast<std::uint16_t>(~sum_of(bytes, length));
}

// As `checksum`, behind the pseudo-header of RFC 768 or RFC 8200 section 8.1. Over bytes that hold a right
// checksum it is 0. `ip`: the header whose addresses count; `upper`: its payload of `length` bytes.
[[nodiscard]] inline std::uint16_t checksum4(const rte_ipv4_hdr& ip, std::uint8_t protocol, const void* upper,
                                             std::uint16_t length) noexcept {
  const std::uint64_t pseudo =
      std::uint64_t{sum_of(&ip.src_addr, 8)} + __builtin_bswap16(protocol) + __builtin_bswap16(length);
  return static_cast<std::uint16_t>(~fold(pseudo + sum_of(upper, length)));
}
[[nodiscard]] inline std::uint16_t checksum6(const rte_ipv6_hdr& ip, std::uint8_t protocol, const void* upper,
                                             std::uint16_t length) noexcept {
  const std::uint64_t pseudo =
      std::uint64_t{sum_of(ip.src_addr, 32)} + __builtin_bswap16(protocol) + __builtin_bswap16(length);
  return static_cast<std::uint16_t>(~fold(pseudo + sum_of(upper, length)));
}

// A UDP checksum that comes out as zero is sent as its other form, for zero would mean none (RFC 768).
[[nodiscard]] inline std::uint16_t udp_checksum_field(std::uint16_t sum) noexcept {
  return sum == 0 ? std::uint16_t{0xffff} : sum;
}
// Fills in the checksum, zero so far, of a datagram of `length` bytes behind an IPv6 header.
inline void set_udp_checksum6(const std::uint8_t* ip, std::uint8_t* udp, std::uint16_t length) noexcept {
  store(udp + 6, udp_checksum_field(checksum6(ipv6(ip), kProtocolUdp, udp, length)));
}

[[nodiscard]] inline IpAddress address_at(const void* bytes, Family family) noexcept {
  IpAddress address;
  address.family = family;
  std::memcpy(address.bytes.data(), bytes, family == Family::v4 ? 4 : 16);
  return address;
}
[[nodiscard]] inline IpAddress source_of(const std::uint8_t* ip) noexcept {
  return ip[0] >> 4 == 4 ? address_at(ip + 12, Family::v4) : address_at(ip + 8, Family::v6);
}
[[nodiscard]] inline IpAddress destination_of(const std::uint8_t* ip) noexcept {
  return ip[0] >> 4 == 4 ? address_at(ip + 16, Family::v4) : address_at(ip + 24, Family::v6);
}

}  // namespace espgate::dataplane
