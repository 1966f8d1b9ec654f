#include "bench/micro/units/packets.hpp"

#include <rte_mempool.h>

#include <cstring>
#include <stdexcept>

#include "bench/micro/frames.hpp"
#include "channel/spi.hpp"
#include "dataplane/pool.hpp"

namespace espgate::bench {

using namespace dataplane;

namespace {

constexpr std::uint16_t kPayload = 36;
constexpr std::uint32_t kSource = 10U << 24 | 1 << 16;
constexpr std::uint32_t kDestination = 10U << 24 | 2 << 16;

void header4(std::uint8_t* ip, unsigned i, std::uint8_t protocol, std::uint16_t length) {
  write_ipv4(ip, length, protocol, kSource + i, kDestination + i);
}

void header6(std::uint8_t* ip, unsigned i, std::uint8_t protocol, std::uint16_t length) {
  static constexpr std::uint8_t kPrefix[] = {0x20, 1, 0x0d, 0xb8, 0, 1};
  std::memset(ip, 0, kIpv6);
  ip[0] = 0x60;
  store16(ip + 4, static_cast<std::uint16_t>(length - kIpv6));
  ip[6] = protocol;
  ip[7] = 64;
  std::memcpy(ip + 8, kPrefix, sizeof kPrefix);
  std::memcpy(ip + 24, kPrefix, sizeof kPrefix);
  ip[29] = 2;
  ip[23] = ip[39] = static_cast<std::uint8_t>(i);
}

std::uint16_t udp(std::uint8_t* at, unsigned i, std::uint16_t payload) {
  store16(at, static_cast<std::uint16_t>(49152 + i));
  store16(at + 2, 53);
  store16(at + 4, static_cast<std::uint16_t>(kUdp + payload));
  store16(at + 6, 0);
  std::memset(at + kUdp, 0x5a, payload);
  return static_cast<std::uint16_t>(kUdp + payload);
}

// `words`: of the header.
std::uint16_t tcp(std::uint8_t* at, unsigned i, std::uint8_t flags, unsigned words) {
  std::memset(at, 0, words * 4);
  store16(at, static_cast<std::uint16_t>(49152 + i));
  store16(at + 2, 443);
  at[12] = static_cast<std::uint8_t>(words << 4);
  at[13] = flags;
  return static_cast<std::uint16_t>(words * 4);
}

}  // namespace

std::uint16_t udp4(std::uint8_t* ip, unsigned i) {
  const auto length = static_cast<std::uint16_t>(kIpv4 + udp(ip + kIpv4, i, kPayload));
  header4(ip, i, kProtocolUdp, length);
  return length;
}

std::uint16_t large4(std::uint8_t* ip, unsigned i) {
  const auto length = static_cast<std::uint16_t>(kIpv4 + udp(ip + kIpv4, i, 1500 - kIpv4 - kUdp));
  header4(ip, i, kProtocolUdp, length);
  return length;
}

std::uint16_t udp4_with_options(std::uint8_t* ip, unsigned i) {
  constexpr std::uint16_t kOptions = 4;
  const auto length = static_cast<std::uint16_t>(kIpv4 + kOptions + udp(ip + kIpv4 + kOptions, i, kPayload));
  header4(ip, i, kProtocolUdp, length);
  store32(ip + kIpv4, 0x94040000);  // router alert (RFC 2113)
  ip[0] = 0x46;
  store16(ip + 10, 0);
  store(ip + 10, static_cast<std::uint16_t>(~ipv4_header_sum(ip, 6)));
  return length;
}

std::uint16_t udp6(std::uint8_t* ip, unsigned i) {
  const auto length = static_cast<std::uint16_t>(kIpv6 + udp(ip + kIpv6, i, kPayload));
  header6(ip, i, kProtocolUdp, length);
  return length;
}

std::uint16_t udp6_extended(std::uint8_t* ip, unsigned i) {
  constexpr std::uint8_t kHopByHop = 0;
  constexpr std::uint8_t kDestinationOptions = 60;
  // Next header, length in 8 bytes beyond the first, and padding (RFC 8200 section 4.2).
  constexpr std::uint8_t kOptions[] = {kDestinationOptions, 0, 1, 4, 0, 0, 0, 0,  //
                                       kProtocolUdp,        0, 1, 4, 0, 0, 0, 0};
  std::memcpy(ip + kIpv6, kOptions, sizeof kOptions);
  const auto length =
      static_cast<std::uint16_t>(kIpv6 + sizeof kOptions + udp(ip + kIpv6 + sizeof kOptions, i, kPayload));
  header6(ip, i, kHopByHop, length);
  return length;
}

std::uint16_t tcp4(std::uint8_t* ip, unsigned i) {
  const auto length = static_cast<std::uint16_t>(kIpv4 + tcp(ip + kIpv4, i, RTE_TCP_ACK_FLAG, 5));
  header4(ip, i, kProtocolTcp, length);
  return length;
}

std::uint16_t tcp4_syn(std::uint8_t* ip, unsigned i) {
  // MSS, SACK permitted, timestamps, no operation, window scale.
  constexpr std::uint8_t kOptions[] = {2, 4, 0xff, 0xff, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7};
  const auto length = static_cast<std::uint16_t>(kIpv4 + tcp(ip + kIpv4, i, RTE_TCP_SYN_FLAG, 10));
  std::memcpy(ip + kIpv4 + kTcp, kOptions, sizeof kOptions);
  header4(ip, i, kProtocolTcp, length);
  return length;
}

std::uint16_t esp4(std::uint8_t* ip, unsigned i) {
  constexpr std::uint16_t kRest = 8 + 48 + 16;  // IV, payload, ICV
  store32(ip + kIpv4, channel::make_spi(0, 1, i));
  store32(ip + kIpv4 + 4, i + 1);
  std::memset(ip + kIpv4 + kEsp, 0x5a, kRest);
  header4(ip, i, kProtocolEsp, kIpv4 + kEsp + kRest);
  return kIpv4 + kEsp + kRest;
}

Packets::Packets(Writer writer)
    : writer_(writer), pool_(make_packet_pool("received", kBurst, 0, RTE_MBUF_DEFAULT_BUF_SIZE)) {
  if (pool_ == nullptr || rte_pktmbuf_alloc_bulk(pool_, frames_.data(), kBurst) != 0)
    throw std::runtime_error("no memory for packet buffers");
  write();
}

// The packets go with it, wherever they are.
Packets::~Packets() { rte_mempool_free(pool_); }

void Packets::write() {
  for (unsigned i = 0; i < kBurst; ++i) {
    set_length(frames_[i], kEthernet);
    std::uint8_t* const frame = rte_pktmbuf_mtod(frames_[i], std::uint8_t*);
    ip_[i] = frame + kEthernet;
    lengths_[i] = writer_(ip_[i], i);
    write_ethernet(frame, kMac, ip_[i][0] >> 4 == 4 ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6);
    set_length(frames_[i], kEthernet + std::size_t{lengths_[i]});
  }
}

}  // namespace espgate::bench
