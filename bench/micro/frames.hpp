// The frames that the benchmarks put in.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "dataplane/path/wire.hpp"

namespace espgate::bench {

inline void write_ethernet(std::uint8_t* at, const std::array<std::uint8_t, 6>& to, std::uint16_t type) {
  std::memcpy(at, to.data(), 6);
  std::memset(at + 6, 0x42, 6);
  dataplane::store16(at + 12, type);
}

// Without options; the addresses in host byte order.
inline void write_ipv4(std::uint8_t* ip, std::uint16_t length, std::uint8_t protocol, std::uint32_t from,
                       std::uint32_t to) {
  std::memset(ip, 0, dataplane::kIpv4);
  ip[0] = 0x45;
  dataplane::store16(ip + 2, length);
  ip[8] = 64;
  ip[9] = protocol;
  dataplane::store32(ip + 12, from);
  dataplane::store32(ip + 16, to);
  const auto checksum = static_cast<std::uint16_t>(~dataplane::ipv4_header_sum(ip, dataplane::kIpv4 / 4));
  dataplane::store(ip + 10, checksum);
}

inline void set_length(rte_mbuf* mbuf, std::size_t length) {
  mbuf->data_off = RTE_PKTMBUF_HEADROOM;
  mbuf->data_len = static_cast<std::uint16_t>(length);
  mbuf->pkt_len = mbuf->data_len;
}

}  // namespace espgate::bench
