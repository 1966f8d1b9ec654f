#include "dataplane/ports/keepalive.hpp"

#include "dataplane/path/wire.hpp"
#include "dataplane/ports/checksum.hpp"
#include "dataplane/ports/ip_header.hpp"

namespace espgate::dataplane {

namespace {

constexpr std::uint16_t kPayload = 1;
constexpr std::uint8_t kOctet = 0xff;
constexpr std::uint16_t kDatagram = kUdp + kPayload;

// The checksum stays zero in IPv4 (RFC 3948 section 2.3); in IPv6 there must be one (RFC 8200 section 8.1).
void write_udp(std::uint8_t* at, const OuterEnds& ends) noexcept {
  store16(at, ends.local_port);
  store16(at + 2, ends.remote_port);
  store16(at + 4, kDatagram);
  store16(at + 6, 0);
  at[kUdp] = kOctet;
}

}  // namespace

void send_keepalive(Outbox& outbox, const OuterEnds& ends, TableId table) noexcept {
  const std::uint16_t header = ip_header_length(ends.remote.family);
  rte_mbuf* const packet = outbox.make(std::size_t{header} + kDatagram);
  if (packet == nullptr) return;
  auto* const ip = rte_pktmbuf_mtod(packet, std::uint8_t*);
  // With DF it needs no identification (RFC 6864).
  write_ip_header(ip, {.from = ends.local,
                       .to = ends.remote,
                       .protocol = kProtocolUdp,
                       .payload = kDatagram,
                       .fragment = kDontFragment});
  write_udp(ip + header, ends);
  if (ends.remote.is_v6()) set_udp_checksum6(ip, ip + header, kDatagram);
  outbox.route(packet, table);
}

}  // namespace espgate::dataplane
