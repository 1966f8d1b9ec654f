// The wire formats as the ways need them: DPDK's header structs (packed, big endian), checked access to them,
// and the one's complement arithmetic of RFC 1071 and RFC 1624.
#pragma once

#include <rte_byteorder.h>
#include <rte_esp.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include <cstdint>
#include <cstring>

namespace espgate::dataplane {

inline constexpr std::uint16_t kEthernet = sizeof(rte_ether_hdr);
inline constexpr std::uint16_t kVlanTag = sizeof(rte_vlan_hdr);
inline constexpr std::uint16_t kVlanMask = 0x0fff;  // the VLAN's number in a tag's first word
inline constexpr std::uint16_t kIpv4 = sizeof(rte_ipv4_hdr);
inline constexpr std::uint16_t kIpv6 = sizeof(rte_ipv6_hdr);
inline constexpr std::uint16_t kFragmentHeader = 8;  // of IPv6 (RFC 8200 section 4.5)
inline constexpr std::uint16_t kUdp = sizeof(rte_udp_hdr);
inline constexpr std::uint16_t kEsp = sizeof(rte_esp_hdr);
inline constexpr std::uint16_t kTcp = sizeof(rte_tcp_hdr);  // without options

inline constexpr std::uint16_t kDontFragment = 0x4000;  // in IPv4's word of flags and offset
inline constexpr std::uint16_t kMoreFragments = 0x2000;

inline constexpr std::uint16_t kIkePort = 500;
inline constexpr std::uint16_t kNatTraversalPort = 4500;
inline constexpr std::uint16_t kIpv6MinimumMtu = 1280;  // RFC 8200 section 5

inline constexpr std::uint8_t kProtocolIcmp = 1;
inline constexpr std::uint8_t kProtocolIpv4 = 4;
inline constexpr std::uint8_t kProtocolTcp = 6;
inline constexpr std::uint8_t kProtocolUdp = 17;
inline constexpr std::uint8_t kProtocolIpv6 = 41;
inline constexpr std::uint8_t kProtocolFragment = 44;  // IPv6's header (RFC 8200 section 4.5)
inline constexpr std::uint8_t kProtocolEsp = 50;
inline constexpr std::uint8_t kProtocolIcmp6 = 58;
inline constexpr std::uint8_t kProtocolNone = 59;
inline constexpr std::uint8_t kProtocolSctp = 132;

// The headers are packed, so a cast is all it takes; their bytes are known to lie within the packet.
[[nodiscard]] inline rte_ipv4_hdr& ipv4(std::uint8_t* at) noexcept {
  return *reinterpret_cast<rte_ipv4_hdr*>(at);
}
[[nodiscard]] inline const rte_ipv4_hdr& ipv4(const std::uint8_t* at) noexcept {
  return *reinterpret_cast<const rte_ipv4_hdr*>(at);
}
[[nodiscard]] inline rte_ipv6_hdr& ipv6(std::uint8_t* at) noexcept {
  return *reinterpret_cast<rte_ipv6_hdr*>(at);
}
[[nodiscard]] inline const rte_ipv6_hdr& ipv6(const std::uint8_t* at) noexcept {
  return *reinterpret_cast<const rte_ipv6_hdr*>(at);
}

template <class T>
[[nodiscard]] T load(const std::uint8_t* at) noexcept {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}
template <class T>
void store(std::uint8_t* at, T value) noexcept {
  std::memcpy(at, &value, sizeof(T));
}
[[nodiscard]] inline std::uint16_t load16(const std::uint8_t* at) noexcept {
  return __builtin_bswap16(load<std::uint16_t>(at));
}
[[nodiscard]] inline std::uint32_t load32(const std::uint8_t* at) noexcept {
  return __builtin_bswap32(load<std::uint32_t>(at));
}
inline void store16(std::uint8_t* at, std::uint16_t value) noexcept { store(at, __builtin_bswap16(value)); }
inline void store32(std::uint8_t* at, std::uint32_t value) noexcept { store(at, __builtin_bswap32(value)); }

// The one's complement sum: carries come back in at the bottom. Of fewer than 65,536 16-bit words, and of any
// sum.
[[nodiscard]] constexpr std::uint16_t fold(std::uint32_t sum) noexcept {
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(sum + (sum >> 16));
}
[[nodiscard]] constexpr std::uint16_t fold(std::uint64_t sum) noexcept {
  sum = (sum & 0xffffffff) + (sum >> 32);
  const auto low = static_cast<std::uint32_t>(sum);
  return fold((low & 0xffff) + (low >> 16) + static_cast<std::uint32_t>(sum >> 32));
}

// RFC 1624 equation 3: the checksum after one 16-bit word changed. The order of bytes does not matter as long
// as all three have the same.
[[nodiscard]] constexpr std::uint16_t adjust_checksum(std::uint16_t checksum, std::uint16_t before,
                                                      std::uint16_t after) noexcept {
  const std::uint32_t sum =
      std::uint32_t{static_cast<std::uint16_t>(~checksum)} + static_cast<std::uint16_t>(~before) + after;
  return static_cast<std::uint16_t>(~fold(sum));
}

// The words of an IPv4 header without options added up.
[[nodiscard]] inline std::uint64_t ipv4_words(const std::uint8_t* ip) noexcept {
  return std::uint64_t{load<std::uint32_t>(ip)} + load<std::uint32_t>(ip + 4) + load<std::uint32_t>(ip + 8) +
         load<std::uint32_t>(ip + 12) + load<std::uint32_t>(ip + 16);
}
// The same of one with `words` 32-bit words, at least 5.
[[nodiscard]] inline std::uint64_t ipv4_words(const std::uint8_t* ip, unsigned words) noexcept {
  std::uint64_t sum = ipv4_words(ip);
  for (unsigned i = 5; i < words; ++i) sum += load<std::uint32_t>(ip + 4 * i);
  return sum;
}
// 0xffff when the checksum among them is right.
[[nodiscard]] inline std::uint16_t ipv4_header_sum(const std::uint8_t* ip, unsigned words) noexcept {
  return fold(ipv4_words(ip, words));
}

[[nodiscard]] inline std::uint16_t ipv4_header_length(const rte_ipv4_hdr& header) noexcept {
  return static_cast<std::uint16_t>((header.version_ihl & 0x0f) * 4);
}
// More fragments to come, or not the first one.
[[nodiscard]] inline bool is_fragment(const rte_ipv4_hdr& header) noexcept {
  return (header.fragment_offset & __builtin_bswap16(0x3fff)) != 0;
}
[[nodiscard]] inline bool is_later_fragment(const rte_ipv4_hdr& header) noexcept {
  return (header.fragment_offset & __builtin_bswap16(0x1fff)) != 0;
}
[[nodiscard]] inline bool may_be_fragmented(const rte_ipv4_hdr& header) noexcept {
  return (header.fragment_offset & __builtin_bswap16(kDontFragment)) == 0;
}

// checked_ipv4 of a header that is not of the usual 20 bytes.
[[nodiscard]] std::uint16_t checked_ipv4_options(const std::uint8_t* ip, std::uint32_t available) noexcept;

// The IP packet's length when a header of `available` bytes is one that RFC 1812 section 5.2.2 lets a router
// forward (version, lengths, checksum); 0 when not. What follows the length is padding of the frame.
[[nodiscard]] inline std::uint16_t checked_ipv4(const std::uint8_t* ip, std::uint32_t available) noexcept {
  if (available < kIpv4) return 0;
  if (ip[0] != 0x45) [[unlikely]]
    return checked_ipv4_options(ip, available);
  const std::uint16_t length = __builtin_bswap16(ipv4(ip).total_length);
  if (length < kIpv4 || length > available) return 0;
  // Adding with the carry at the bottom is arithmetic modulo 65,535, and no header is all zero.
  return ipv4_words(ip) % 0xffff == 0 ? length : std::uint16_t{0};
}
// The same for IPv6 (RFC 8200 section 3); jumbograms are none.
[[nodiscard]] inline std::uint16_t checked_ipv6(const std::uint8_t* ip, std::uint32_t available) noexcept {
  if (available < kIpv6 || ip[0] >> 4 != 6) return 0;
  const std::uint32_t length = kIpv6 + std::uint32_t{__builtin_bswap16(ipv6(ip).payload_len)};
  return length <= available && length <= 0xffff ? static_cast<std::uint16_t>(length) : std::uint16_t{0};
}

}  // namespace espgate::dataplane
