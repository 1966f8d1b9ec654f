// The IP header of packets that the main thread makes: IKE, ICMP, keepalives.
#pragma once

#include <rte_ip.h>

#include <cstdint>
#include <cstring>

#include "channel/address.hpp"
#include "dataplane/path/wire.hpp"
#include "dataplane/ports/checksum.hpp"

namespace espgate::dataplane {

struct IpFields {
  const IpAddress& from;
  const IpAddress& to;              // of the same family
  std::uint8_t protocol;            // of what follows the header
  std::uint16_t payload;            // bytes behind it
  std::uint8_t service{0};          // IPv4: type of service
  std::uint16_t identification{0};  // IPv4
  std::uint16_t fragment{0};        // IPv4: flags and offset
  std::uint8_t hop_limit{64};
};

[[nodiscard]] inline std::uint16_t ip_header_length(Family family) noexcept {
  return family == Family::v4 ? kIpv4 : kIpv6;
}

// Without options or extension headers.
inline void write_ip_header(std::uint8_t* at, const IpFields& fields) noexcept {
  if (fields.to.is_v4()) {
    rte_ipv4_hdr ip{};
    ip.version_ihl = 0x45;
    ip.type_of_service = fields.service;
    ip.total_length = __builtin_bswap16(static_cast<std::uint16_t>(kIpv4 + fields.payload));
    ip.packet_id = __builtin_bswap16(fields.identification);
    ip.fragment_offset = __builtin_bswap16(fields.fragment);
    ip.time_to_live = fields.hop_limit;
    ip.next_proto_id = fields.protocol;
    std::memcpy(&ip.src_addr, fields.from.bytes.data(), 4);
    std::memcpy(&ip.dst_addr, fields.to.bytes.data(), 4);
    ip.hdr_checksum = checksum(&ip, sizeof(ip));
    std::memcpy(at, &ip, sizeof(ip));
    return;
  }
  rte_ipv6_hdr ip{};
  ip.vtc_flow = __builtin_bswap32(6U << 28);
  ip.payload_len = __builtin_bswap16(fields.payload);
  ip.proto = fields.protocol;
  ip.hop_limits = fields.hop_limit;
  std::memcpy(ip.src_addr, fields.from.bytes.data(), 16);
  std::memcpy(ip.dst_addr, fields.to.bytes.data(), 16);
  std::memcpy(at, &ip, sizeof(ip));
}

}  // namespace espgate::dataplane
