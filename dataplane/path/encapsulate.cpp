#include "dataplane/path/encapsulate.hpp"

#include <algorithm>

#include "dataplane/offload/inline.hpp"
#include "dataplane/path/mtu.hpp"
#include "dataplane/ports/checksum.hpp"

namespace espgate::dataplane {

namespace {

// UDP where the SA has it, SPI and sequence number. `length`: from `at` to the end of the packet.
void write_esp(std::uint8_t* at, const OutboundSa& sa, std::size_t from, std::uint64_t sequence,
               unsigned length) noexcept {
  const unsigned udp = sa.udp ? kUdp : 0U;
  std::memcpy(at, sa.header.data() + from, udp + 4);
  if (sa.udp) store16(at + 4, static_cast<std::uint16_t>(length));
  store32(at + udp + 4, static_cast<std::uint32_t>(sequence));
}

bool describe(Worker& worker, Packet& packet, std::uint8_t* esp, unsigned payload) noexcept {
  const OutboundSa& sa = *packet.outbound;
  const crypto::EspJob job{&sa.key, esp, packet.sequence, payload, sa.scheme, false};
  if (sa.udp && packet.family == Family::v6) worker.scratch.checksums_due = true;
  if (packet.next_hop.card != 0) return give_away(worker, packet, job);
  add_job(worker, job);
  return true;
}

// RFC 4303 section 2.7: zeros behind the inner packet, as many as its tunnel's MTU and its buffer have room
// for. Returns the length with them.
unsigned pad_flow(Worker& worker, const Packet& packet) noexcept {
  const std::uint16_t mtu = worker.tables->tunnels[packet.tunnel].fit.load(std::memory_order_relaxed).mtu;
  const unsigned wanted = std::min<unsigned>(packet.outbound->tfc_length, mtu);
  const rte_mbuf& mbuf = *packet.mbuf;
  const auto* const end = static_cast<const std::uint8_t*>(mbuf.buf_addr) + mbuf.buf_len;
  const unsigned room = static_cast<unsigned>(end - packet.ip) - kBehind;
  const unsigned length = std::max<unsigned>(packet.length, std::min(wanted, room));
  std::memset(packet.ip + packet.length, 0, length - packet.length);
  return length;
}

// RFC 4301 section 8.1. An IPv6 packet is never fragmented on its way, as with DF.
bool inner_forbids_fragments(const Packet& packet) noexcept {
  return packet.family == Family::v6 || !may_be_fragmented(ipv4(packet.ip));
}

void write_outer4(std::uint8_t* outer, const OutboundSa& sa, std::uint8_t traffic_class, bool dont_fragment,
                  std::uint16_t identification, std::uint16_t length) noexcept {
  std::memcpy(outer, sa.header.data(), kIpv4);
  outer[1] = traffic_class;
  store16(outer + 4, identification);
  if (dont_fragment) store16(outer + 6, kDontFragment);
  set_length(outer, Family::v4, kIpv4, length);
}

void write_outer6(std::uint8_t* outer, const OutboundSa& sa, std::uint8_t traffic_class,
                  std::uint16_t length) noexcept {
  std::memcpy(outer, sa.header.data(), kIpv6);
  store16(outer, static_cast<std::uint16_t>(load16(outer) | traffic_class << 4));
  set_length(outer, Family::v6, kIpv6, length);
}

// RFC 4301 section 5.1.2 for DSCP, RFC 6040 section 4.1 for ECN.
std::uint8_t outer_class(const OutboundSa& sa, std::uint8_t inner) noexcept {
  const unsigned copied = (sa.copy_dscp ? 0xfcU : 0U) | (sa.copy_ecn ? 3U : 0U);
  return static_cast<std::uint8_t>((inner & copied) | sa.traffic_class);
}

bool wrap(Worker& worker, Packet& packet) noexcept {
  const OutboundSa& sa = *packet.outbound;
  std::uint8_t* const inner = packet.ip;
  const std::uint8_t service = outer_class(sa, traffic_class(inner, packet.family));
  const unsigned next_header = packet.family == Family::v4 ? kProtocolIpv4 : kProtocolIpv6;
  const bool dont_fragment = sa.copy_df && inner_forbids_fragments(packet);
  const unsigned padded = pad_flow(worker, packet);
  const unsigned payload = padded + write_trailer(inner + padded, sa, padded, next_header);
  std::uint8_t* const outer = inner - sa.front;
  const auto length = static_cast<std::uint16_t>(sa.front + payload + sa.icv_length);
  const std::uint16_t header = sa.v6 ? kIpv6 : kIpv4;
  if (sa.v6)
    write_outer6(outer, sa, service, length);
  else
    write_outer4(outer, sa, service, dont_fragment, static_cast<std::uint16_t>(packet.sequence), length);
  write_esp(outer + header, sa, header, packet.sequence, length - header);
  packet.ip = outer;
  packet.length = length;
  packet.family = sa.v6 ? Family::v6 : Family::v4;
  return describe(worker, packet, outer + sa.esp_offset, payload);
}

// The packet's own IP header moves to the front and ESP takes its place. Fragments are not for transport mode
// (RFC 4303 section 3.3.4): what is too large is cut when it is sealed.
bool protect(Worker& worker, Packet& packet) noexcept {
  const OutboundSa& sa = *packet.outbound;
  if (upper_layer(packet.ip, packet.family, packet.length).fragment) {
    worker.drop(packet.mbuf, DropReason::transport_fragment);
    return false;
  }
  const std::uint16_t header = unprotected_length(packet.ip, packet.family, packet.length);
  std::uint8_t& next = next_header_before(packet.ip, packet.family, header);
  const unsigned upper = packet.length - header;
  const unsigned payload = upper + write_trailer(packet.ip + packet.length, sa, upper, next);
  next = sa.udp ? kProtocolUdp : kProtocolEsp;
  std::uint8_t* const outer = packet.ip - sa.front;
  std::memmove(outer, packet.ip, header);
  const auto length = static_cast<std::uint16_t>(header + sa.front + payload + sa.icv_length);
  set_length(outer, packet.family, header, length);
  write_esp(outer + header, sa, 0, packet.sequence, length - header);
  packet.ip = outer;
  packet.length = length;
  return describe(worker, packet, outer + header + sa.esp_offset, payload);
}

}  // namespace

bool encapsulate_otherwise(Worker& worker, Packet& packet) noexcept {
  return packet.outbound->transport ? protect(worker, packet) : wrap(worker, packet);
}

void finish_checksums(Worker& worker, Burst& burst) noexcept {
  worker.scratch.checksums_due = false;
  for (Packet& packet : burst) {
    if (packet.family != Family::v6 || !packet.outbound->udp) continue;
    const UpperLayer upper = upper_layer6(packet.ip, packet.length);
    set_udp_checksum6(packet.ip, packet.ip + upper.offset,
                      static_cast<std::uint16_t>(packet.length - upper.offset));
  }
}

}  // namespace espgate::dataplane
