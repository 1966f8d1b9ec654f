#include "dataplane/ports/keepalive.hpp"

#include <algorithm>

#include "dataplane/path/wire.hpp"
#include "dataplane/ports/checksum.hpp"

namespace espgate::dataplane {

namespace {

constexpr std::uint16_t kPayload = 1;
constexpr std::uint8_t kOctet = 0xff;
constexpr std::uint8_t kHopLimit = 64;
constexpr std::uint16_t kDatagram = kUdp + kPayload;

void write_ipv4(std::uint8_t* at, const OuterEnds& ends) noexcept {
  rte_ipv4_hdr ip{};
  ip.version_ihl = 0x45;
  ip.total_length = __builtin_bswap16(kIpv4 + kDatagram);
  ip.fragment_offset = __builtin_bswap16(RTE_IPV4_HDR_DF_FLAG);  // so it needs no identification (RFC 6864)
  ip.time_to_live = kHopLimit;
  ip.next_proto_id = kProtocolUdp;
  std::memcpy(&ip.src_addr, ends.local.bytes.data(), 4);
  std::memcpy(&ip.dst_addr, ends.remote.bytes.data(), 4);
  ip.hdr_checksum = checksum(&ip, sizeof(ip));
  std::memcpy(at, &ip, sizeof(ip));
}

void write_ipv6(std::uint8_t* at, const OuterEnds& ends) noexcept {
  rte_ipv6_hdr ip{};
  ip.vtc_flow = __builtin_bswap32(0x60000000);
  ip.payload_len = __builtin_bswap16(kDatagram);
  ip.proto = kProtocolUdp;
  ip.hop_limits = kHopLimit;
  std::copy(ends.local.bytes.begin(), ends.local.bytes.end(), ip.src_addr);
  std::copy(ends.remote.bytes.begin(), ends.remote.bytes.end(), ip.dst_addr);
  std::memcpy(at, &ip, sizeof(ip));
}

// The checksum stays zero in IPv4 (RFC 3948 section 2.3); in IPv6 there must be one (RFC 8200 section 8.1).
void write_udp(std::uint8_t* at, const OuterEnds& ends) noexcept {
  store16(at, ends.local_port);
  store16(at + 2, ends.remote_port);
  store16(at + 4, kDatagram);
  store16(at + 6, 0);
  at[kUdp] = kOctet;
}

}  // namespace

void send_keepalive(Outbox& outbox, const OuterEnds& ends) noexcept {
  const bool v4 = ends.remote.is_v4();
  const std::uint16_t header = v4 ? kIpv4 : kIpv6;
  rte_mbuf* const packet = outbox.make(std::size_t{header} + kDatagram);
  if (packet == nullptr) return;
  auto* const ip = rte_pktmbuf_mtod(packet, std::uint8_t*);
  write_udp(ip + header, ends);
  if (v4) {
    write_ipv4(ip, ends);
  } else {
    write_ipv6(ip, ends);
    const std::uint16_t sum = checksum6(ipv6(ip), kProtocolUdp, ip + header, kDatagram);
    store<std::uint16_t>(ip + header + 6, sum == 0 ? std::uint16_t{0xffff} : sum);
  }
  outbox.route(packet);
}

}  // namespace espgate::dataplane
