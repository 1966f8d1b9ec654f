#include "dataplane/liveness/bfd_datagram.hpp"

#include <cstring>

#include "dataplane/path/headers.hpp"
#include "dataplane/ports/checksum.hpp"
#include "dataplane/ports/ip_header.hpp"

namespace espgate::dataplane {

namespace {

constexpr std::uint16_t kDatagram = kUdp + bfd::kPacketLength;
constexpr std::uint8_t kInternetworkControl = 0xc0;  // DSCP CS6: it must not wait behind what it watches

std::uint16_t sum(const std::uint8_t* ip, const std::uint8_t* udp, std::uint16_t length) noexcept {
  return *ip >> 4 == 4 ? checksum4(ipv4(ip), kProtocolUdp, udp, length)
                       : checksum6(ipv6(ip), kProtocolUdp, udp, length);
}

bool is_intact(const std::uint8_t* ip, const std::uint8_t* udp, std::uint16_t length) noexcept {
  const bool unchecked = *ip >> 4 == 4 && load16(udp + 6) == 0;
  return unchecked || sum(ip, udp, length) == 0;
}

}  // namespace

rte_mbuf* make_bfd(Outbox& outbox, const BfdEnds& ends, const bfd::ControlPacket& packet) noexcept {
  const std::uint16_t header = ip_header_length(ends.peer.family);
  rte_mbuf* const mbuf = outbox.make(std::size_t{header} + kDatagram);
  if (mbuf == nullptr) return nullptr;
  auto* const ip = rte_pktmbuf_mtod(mbuf, std::uint8_t*);
  write_ip_header(ip, {.from = ends.local,
                       .to = ends.peer,
                       .protocol = kProtocolUdp,
                       .payload = kDatagram,
                       .service = kInternetworkControl,
                       .fragment = kDontFragment,
                       .hop_limit = kBfdHops});
  std::uint8_t* const udp = ip + header;
  store16(udp, ends.source_port);
  store16(udp + 2, kBfdPort);
  store16(udp + 4, kDatagram);
  store16(udp + 6, 0);
  const bfd::PacketBytes bytes = bfd::encode(packet);
  std::memcpy(udp + kUdp, bytes.data(), bytes.size());
  store(udp + 6, udp_checksum_field(sum(ip, udp, kDatagram)));
  return mbuf;
}

BfdHeard read_bfd(rte_mbuf* packet) noexcept {
  const auto* const ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  const Family family = *ip >> 4 == 4 ? Family::v4 : Family::v6;
  const UpperLayer upper = upper_layer(ip, family, packet->data_len);
  if (upper.offset + kDatagram > packet->data_len) return {std::nullopt, DropReason::bfd_malformed};
  const std::uint8_t* const udp = ip + upper.offset;
  const std::uint16_t length = load16(udp + 4);
  if (length < kDatagram || upper.offset + length > packet->data_len || !is_intact(ip, udp, length))
    return {std::nullopt, DropReason::bfd_malformed};
  if (hop_limit(ip, family) != kBfdHops) return {std::nullopt, DropReason::bfd_hops};
  const auto read = bfd::parse({udp + kUdp, static_cast<std::size_t>(length - kUdp)});
  return {read, DropReason::bfd_malformed};
}

}  // namespace espgate::dataplane
