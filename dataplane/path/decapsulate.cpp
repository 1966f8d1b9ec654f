#include "dataplane/path/decapsulate.hpp"

#include <rte_cycles.h>
#include <rte_prefetch.h>

#include <cstring>

#include "dataplane/offload/flights.hpp"
#include "dataplane/offload/inline.hpp"
#include "dataplane/path/esp.hpp"

namespace espgate::dataplane {

namespace {

bool outer_matches6(const InboundSa& sa, const Packet& packet) noexcept {
  const rte_ipv6_hdr& outer = ipv6(packet.ip);
  if (packet.family != Family::v6 || std::memcmp(sa.local.bytes.data(), outer.dst_addr, 16) != 0)
    return false;
  if ((upper_layer6(packet.ip, packet.length).protocol == kProtocolUdp) != sa.udp) return false;
  return sa.udp || std::memcmp(sa.remote.bytes.data(), outer.src_addr, 16) == 0;
}

// RFC 7296 section 2.23: a NAT gave the peer another port or address. Told of no packet but the newest, so
// that neither a replay nor one that was overtaken brings the peer back to where it was; and not more often
// than kMovesASecond. What is not told now is told of a later packet.
void heard_from_elsewhere(Worker& worker, const Packet& packet) noexcept {
  constexpr std::uint64_t kMovesASecond = 10;
  InboundSa& sa = *packet.inbound;
  if (packet.sequence <= sa.window.highest() || worker.scratch.now < sa.next_move) return;
  rte_mbuf* const word = rte_pktmbuf_alloc(worker.pool);
  if (word == nullptr) return;
  sa.next_move = worker.scratch.now + rte_get_tsc_hz() / kMovesASecond;
  Move move{};
  move.spi = sa.spi.load(std::memory_order_relaxed);
  move.remote.family = sa.remote.family;
  const bool v4 = sa.remote.is_v4();
  std::memcpy(move.remote.bytes.data(), packet.ip + (v4 ? 12 : 8), v4 ? 4 : 16);
  move.remote_port = load16(packet.ip + packet.esp - kUdp);
  store(reinterpret_cast<std::uint8_t*>(rte_pktmbuf_append(word, sizeof move)), move);
  note_of(word) = Note{0, Note::kNoPort, 0, Note::kNoTunnel, NextHop{}, DropReason{}, kMainTable};
  worker.raise(word, Exception::peer_moved);
}

// What a device takes comes back by accept_opened.
bool describe_for_device(Worker& worker, const Packet& packet) noexcept {
  const InboundSa& sa = *packet.inbound;
  const crypto::EspJob job{&sa.key, packet.ip + packet.esp, packet.sequence, packet.payload, sa.scheme,
                           false};
  if (worker.flights->give(worker, packet, job, sa.device, Flights::Way::open)) return false;
  add_job(worker, job);
  return true;
}

}  // namespace

bool takes_otherwise(const InboundSa& sa, const Packet& packet) noexcept {
  rte_prefetch0(sa.window.place_of(packet.sequence));
  return sa.local.is_v4() ? outer_matches4(sa, packet) : outer_matches6(sa, packet);
}

void extend_sequence(Packet& packet) noexcept {
  packet.sequence = packet.inbound->window.infer(static_cast<std::uint32_t>(packet.sequence));
}

// What the card opened has a job like the others, of no suite: so each packet has one.
bool describe_otherwise(Worker& worker, Packet& packet) noexcept {
  const InboundSa& sa = *packet.inbound;
  if (sa.card.load(std::memory_order_relaxed) == kOpenedByDevice) return describe_for_device(worker, packet);
  const ByCard done = done_by_card(worker, packet);
  if (done == ByCard::failed) return drop_forged(worker, packet);
  const bool opened = done == ByCard::opened;
  worker.scratch.opened_by_card = worker.scratch.opened_by_card || opened;
  const crypto::EspScheme scheme = opened ? crypto::EspScheme{} : sa.scheme;
  add_job(worker, {&sa.key, packet.ip + packet.esp, packet.sequence, packet.payload, scheme, false});
  return true;
}

void follow_source(Worker& worker, const Packet& packet) noexcept {
  const InboundSa& sa = *packet.inbound;
  const std::uint64_t known = sa.source.load(std::memory_order_relaxed);
  if (known == 0) return;
  const Family family = sa.remote.family;
  const std::uint64_t source = source_word(packet.ip + (family == Family::v4 ? 12 : 8), family,
                                           load<std::uint16_t>(packet.ip + packet.esp - kUdp));
  if (source != known) [[unlikely]]
    heard_from_elsewhere(worker, packet);
}

void unwrap_transport(Packet& packet, std::uint8_t next_header, unsigned length) noexcept {
  const InboundSa& sa = *packet.inbound;
  const auto header = static_cast<std::uint16_t>(packet.esp - (sa.udp ? kUdp : 0U));
  next_header_before(packet.ip, packet.family, header) = next_header;
  std::uint8_t* const inner = packet.ip + packet.esp + sa.front - header;
  std::memmove(inner, packet.ip, header);
  packet.ip = inner;
  packet.length = static_cast<std::uint16_t>(header + length);
  set_length(inner, packet.family, header, packet.length);
  packet.esp = 0;
}

}  // namespace espgate::dataplane
