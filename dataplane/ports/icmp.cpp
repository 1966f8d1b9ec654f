#include "dataplane/ports/icmp.hpp"

#include <rte_ip.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "dataplane/path/headers.hpp"
#include "dataplane/ports/checksum.hpp"
#include "dataplane/ports/ip_header.hpp"
#include "dataplane/ports/resolver.hpp"

namespace espgate::dataplane {

namespace {

constexpr std::uint8_t kEchoReply = 0;
constexpr std::uint8_t kEchoReply6 = 129;
constexpr std::uint16_t kHeader = 8;        // type, code, checksum, and 32 bits that depend on the type
constexpr std::uint16_t kMaxError4 = 576;   // RFC 1812 section 4.3.2.3
constexpr std::uint16_t kMaxError6 = 1280;  // RFC 4443 section 2.4 (c)
constexpr std::uint8_t kPrecedence = 0xc0;  // internetwork control, RFC 1812 section 4.3.2.5

struct TypeCode {
  std::uint8_t type;
  std::uint8_t code;
};
// By IcmpError.
constexpr std::array<TypeCode, 6> kCodes4{{{3, 0}, {3, 1}, {3, 2}, {3, 3}, {3, 4}, {11, 0}}};
constexpr std::array<TypeCode, 6> kCodes6{{{1, 0}, {1, 3}, {4, 1}, {1, 4}, {2, 0}, {3, 0}}};

bool is_error4(std::uint8_t type) noexcept {
  return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

// Writes the ICMP checksum of the packet at `ip`, whose header is `header` bytes long.
void finish(std::uint8_t* ip, std::uint16_t header, std::uint16_t length) noexcept {
  std::uint8_t* icmp = ip + header;
  const auto own = static_cast<std::uint16_t>(length - header);
  store<std::uint16_t>(icmp + 2, 0);
  store(icmp + 2, ip[0] >> 4 == 4 ? checksum(icmp, own) : checksum6(ipv6(ip), kProtocolIcmp6, icmp, own));
}

}  // namespace

Icmp::Icmp(Forwarding& tables, const Interfaces& interfaces, Outbox& outbox, const KnownPeers& peers,
           std::uint64_t seed) noexcept
    : tables_(tables),
      interfaces_(interfaces),
      outbox_(outbox),
      peers_(peers),
      error_limit_(kErrorLimits, seed),
      echo_limit_(kEchoLimits, ~seed) {}

// RFC 1122 section 3.2.2, RFC 1812 section 4.3.2.7 and RFC 4443 section 2.4 (e).
bool Icmp::may_tell(TableId table, const std::uint8_t* ip, std::uint16_t length) const noexcept {
  const Family family = ip[0] >> 4 == 4 ? Family::v4 : Family::v6;
  const IpAddress source = source_of(ip);
  const IpAddress destination = destination_of(ip);
  if (!is_unicast(source) || tables_.routes(table).find_one(source).kind == NextHopKind::host) return false;
  const bool broadcast = destination.is_v4() && v4_host_order(destination) == 0xffffffff;
  if (is_multicast(destination) || broadcast) return false;
  const UpperLayer upper = upper_layer(ip, family, length);
  if (upper.later) return false;
  if (upper.protocol != (family == Family::v4 ? kProtocolIcmp : kProtocolIcmp6)) return true;
  if (upper.offset >= length) return false;  // an ICMP packet whose type can't be told
  const std::uint8_t type = ip[upper.offset];
  return family == Family::v4 ? !is_error4(type) : type >= 128 && type != 137;
}

// RFC 1812 section 4.3.2.4: an address of the interface by which the error goes out; the one the packet came
// in by when that is a port. Any of ours when it has none.
IpAddress Icmp::source_address(const std::uint8_t* ip, const Note& note) const noexcept {
  const bool v4 = ip[0] >> 4 == 4;
  const NextHop back = tables_.member(tables_.routes(note.table).find_one(source_of(ip)), 0);
  if (back.kind == NextHopKind::tunnel && back.index < tables_.shape.max_tunnels) {
    const Tunnel* tunnel = tables_.tunnels[back.index].tunnel.load(std::memory_order_relaxed);
    const IpAddress none;
    const IpAddress& own = tunnel == nullptr ? none : v4 ? tunnel->address4 : tunnel->address6;
    if (own.is_set()) return own;
  }
  const auto own_of = [&](std::size_t port) {
    const PortInfo& info = tables_.ports[port];
    return info.table != note.table ? IpAddress{} : v4 ? info.address4 : info.address6;
  };
  const std::uint8_t port = note.port < interfaces_.size() ? note.port : back.port;
  IpAddress own = own_of(port < interfaces_.size() ? port : 0);
  for (std::size_t p = 0; p < interfaces_.size() && !own.is_set(); p++) own = own_of(p);
  return own;
}

void Icmp::write_header(std::uint8_t* at, std::uint16_t length, std::uint8_t service, const IpAddress& from,
                        const IpAddress& to) noexcept {
  const auto payload = static_cast<std::uint16_t>(length - ip_header_length(to.family));
  write_ip_header(at, {.from = from,
                       .to = to,
                       .protocol = to.is_v4() ? kProtocolIcmp : kProtocolIcmp6,
                       .payload = payload,
                       .service = service,
                       .identification = ++identification_});
}

void Icmp::error(rte_mbuf* packet, IcmpError what, std::uint32_t argument, std::uint64_t now) noexcept {
  const auto* ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  const bool v4 = ip[0] >> 4 == 4;
  const IpAddress to = source_of(ip);
  if (!may_tell(note_of(packet).table, ip, packet->data_len))
    return outbox_.count(DropReason::icmp_error_quiet);
  const IpAddress from = source_address(ip, note_of(packet));
  if (!from.is_set()) return outbox_.count(DropReason::icmp_error_quiet);
  if (!error_limit_.take(to, now)) return outbox_.count(DropReason::icmp_rate_limited);

  const std::uint16_t header = v4 ? kIpv4 : kIpv6;
  const std::uint16_t room = static_cast<std::uint16_t>((v4 ? kMaxError4 : kMaxError6) - header - kHeader);
  const std::uint16_t quoted = std::min(packet->data_len, room);
  const auto length = static_cast<std::uint16_t>(header + kHeader + quoted);
  rte_mbuf* answer = outbox_.make(length);
  if (answer == nullptr) return;
  auto* out = rte_pktmbuf_mtod(answer, std::uint8_t*);
  write_header(out, length, kPrecedence, from, to);
  const TypeCode code = (v4 ? kCodes4 : kCodes6)[static_cast<std::size_t>(what)];
  out[header] = code.type;
  out[header + 1] = code.code;
  store32(out + header + 4, argument);  // RFC 1191: the MTU in the low 16 bits; RFC 4443: MTU or pointer
  std::memcpy(out + header + kHeader, ip, quoted);
  finish(out, header, length);
  send(to, note_of(packet), answer, now);
}

void Icmp::echo(rte_mbuf* packet, std::uint16_t icmp, std::uint16_t length, std::uint64_t now) noexcept {
  const auto* ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  const bool v4 = ip[0] >> 4 == 4;
  const IpAddress to = source_of(ip);
  const IpAddress from = destination_of(ip);
  const Note note = note_of(packet);
  if (!is_unicast(to) || tables_.routes(note.table).find_one(to).kind == NextHopKind::host)
    return outbox_.drop(packet, DropReason::icmp_error_quiet);
  if (!echo_limit_.take(to, now)) return outbox_.drop(packet, DropReason::icmp_rate_limited);

  // The header is written anew, so IP options and extension headers of the request are not repeated.
  const std::uint8_t service = v4 ? ip[1] : 0;
  const std::uint16_t header = v4 ? kIpv4 : kIpv6;
  rte_pktmbuf_trim(packet, static_cast<std::uint16_t>(packet->data_len - length));
  rte_pktmbuf_adj(packet, static_cast<std::uint16_t>(icmp - header));
  const auto total = packet->data_len;
  auto* out = rte_pktmbuf_mtod(packet, std::uint8_t*);
  write_header(out, total, service, from, to);
  out[header] = v4 ? kEchoReply : kEchoReply6;
  finish(out, header, total);
  send(to, note, packet, now);
}

void Icmp::send(const IpAddress& to, const Note& about, rte_mbuf* packet, std::uint64_t now) noexcept {
  const IpAddress from = source_of(rte_pktmbuf_mtod(packet, const std::uint8_t*));
  if (const auto tunnel = peers_.transport(about.table, from, to)) return outbox_.protect(*tunnel, packet);
  if (!is_link_local(to)) return outbox_.route(packet, about.table);
  if (about.port >= interfaces_.size()) return outbox_.drop(packet, DropReason::no_route);
  resolver_->send(about.port, to, packet, now);
}

}  // namespace espgate::dataplane
