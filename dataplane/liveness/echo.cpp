#include "dataplane/liveness/echo.hpp"

#include <cstring>

#include "dataplane/path/headers.hpp"
#include "dataplane/ports/checksum.hpp"
#include "dataplane/ports/ip_header.hpp"

namespace espgate::dataplane {

namespace {

constexpr std::uint16_t kMessage = 8;  // type, code, checksum, identifier, number
constexpr std::uint8_t kRequest4 = 8;
constexpr std::uint8_t kReply4 = 0;
constexpr std::uint8_t kRequest6 = 128;
constexpr std::uint8_t kReply6 = 129;
constexpr std::uint8_t kInternetworkControl = 0xc0;  // DSCP CS6: it must not wait behind what it watches

std::uint16_t sum(const std::uint8_t* ip, const std::uint8_t* icmp, std::uint16_t length) noexcept {
  return *ip >> 4 == 4 ? checksum(icmp, length) : checksum6(ipv6(ip), kProtocolIcmp6, icmp, length);
}

}  // namespace

rte_mbuf* make_echo(Outbox& outbox, const IpAddress& from, const IpAddress& to, const Echo& echo) noexcept {
  const std::uint16_t header = ip_header_length(to.family);
  rte_mbuf* const mbuf = outbox.make(std::size_t{header} + kMessage);
  if (mbuf == nullptr) return nullptr;
  auto* const ip = rte_pktmbuf_mtod(mbuf, std::uint8_t*);
  write_ip_header(ip, {.from = from,
                       .to = to,
                       .protocol = to.is_v4() ? kProtocolIcmp : kProtocolIcmp6,
                       .payload = kMessage,
                       .service = kInternetworkControl,
                       .fragment = kDontFragment});
  std::uint8_t* const icmp = ip + header;
  std::memset(icmp, 0, kMessage);
  icmp[0] = to.is_v4() ? kRequest4 : kRequest6;
  store16(icmp + 4, echo.identifier);
  store16(icmp + 6, echo.number);
  store(icmp + 2, sum(ip, icmp, kMessage));
  return mbuf;
}

std::optional<Echo> read_echo_reply(rte_mbuf* packet) noexcept {
  const auto* const ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  const Family family = *ip >> 4 == 4 ? Family::v4 : Family::v6;
  const UpperLayer upper = upper_layer(ip, family, packet->data_len);
  if (upper.fragment || upper.offset + kMessage > packet->data_len) return std::nullopt;
  const std::uint8_t* const icmp = ip + upper.offset;
  const auto length = static_cast<std::uint16_t>(packet->data_len - upper.offset);
  const bool reply = family == Family::v4 ? upper.protocol == kProtocolIcmp && *icmp == kReply4
                                          : upper.protocol == kProtocolIcmp6 && *icmp == kReply6;
  if (!reply || icmp[1] != 0 || sum(ip, icmp, length) != 0) return std::nullopt;
  return Echo{load16(icmp + 4), load16(icmp + 6)};
}

}  // namespace espgate::dataplane
