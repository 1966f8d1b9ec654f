// The encrypt way: from an IP packet to the ESP packet that carries it. A stage decides about a packet and
// then changes it; what it does not let through is dropped with a name, or has left for the main thread or
// another worker.
#include <rte_prefetch.h>

#include <cstring>

#include "dataplane/path/encapsulate.hpp"
#include "dataplane/path/mirror.hpp"
#include "dataplane/path/mtu.hpp"
#include "dataplane/path/selectors.hpp"
#include "dataplane/path/ways.hpp"

namespace espgate::dataplane {

namespace {

constexpr std::uint32_t kVersionAndIhl = 0x45;  // where they lie in the header's first word

bool choose_tunnel(Worker&, Packet&) noexcept;
bool choose_sa(Worker&, Packet&) noexcept;
bool check_selectors(Worker&, Packet&) noexcept;
bool find_outer(Worker&, Packet&) noexcept;
bool hand_off_foreign(Worker&, Packet&) noexcept;
inline bool assign_sequence(Worker&, Packet&) noexcept;
inline bool encapsulate(Worker&, Packet&) noexcept;
void encrypt_with_sa(Worker&, Burst&) noexcept;
void seal(Worker&, Burst&) noexcept;
void seal_and_transmit(Worker&, Burst&) noexcept;

}  // namespace

void forward(Worker& worker, Burst& burst) noexcept {
  if (burst.empty()) return;
  route(worker, burst);
  mark(worker, Stage::route);
  if (worker.scratch.some_in_clear) send_clear(worker, burst);
  mark(worker, Stage::transmit);
  carry<choose_tunnel, choose_sa>(worker, burst);
  mark(worker, Stage::choose_sa);
  encrypt_with_sa(worker, burst);
}

void encrypt(Worker& worker, Burst& burst) noexcept {
  carry<choose_sa>(worker, burst);
  encrypt_with_sa(worker, burst);
}

namespace {

// What was deferred comes after the rest of the burst, the fragments of one packet at a time.
void encrypt_with_sa(Worker& worker, Burst& burst) noexcept {
  if (burst.empty()) return;
  if (worker.tables->is_mirrored()) [[unlikely]]
    mirror_chosen(worker, burst);
  carry<check_selectors, find_outer, hand_off_foreign, fit_mtu, assign_sequence, encapsulate>(worker, burst);
  deliver_set_aside(worker);
  seal_and_transmit(worker, burst);
  while (next_deferred(worker, burst)) {
    carry<assign_sequence, encapsulate>(worker, burst);
    seal(worker, burst);
    transmit_deferred(worker, burst);
  }
}

bool leave_unreachable(Worker& worker, Packet& packet, DropReason reason) noexcept {
  leave(worker, packet, Exception::unreachable, reason);
  return false;
}

bool choose_tunnel(Worker&, Packet& packet) noexcept {
  packet.tunnel = packet.next_hop.index;
  return true;
}

// Fetches the lines of the SA that every packet needs; the key behind them is the engine's to fetch.
bool choose_sa(Worker& worker, Packet& packet) noexcept {
  packet.outbound = worker.tables->tunnels[packet.tunnel].outbound.load(std::memory_order_acquire);
  if (packet.outbound == nullptr) return leave_unreachable(worker, packet, DropReason::tunnel_down);
  rte_prefetch0(packet.outbound);
  rte_prefetch0(packet.outbound->header.data());
  return true;
}

bool check_selectors(Worker& worker, Packet& packet) noexcept {
  if (selectors_allow(*packet.outbound, packet.ip, packet.family, packet.length, true)) [[likely]]
    return true;
  worker.drop(packet.mbuf, DropReason::outside_selectors_out);
  return false;
}

bool find_outer(Worker& worker, Packet& packet) noexcept {
  const NextHop hop = packet.outbound->outer.load(std::memory_order_relaxed);
  packet.next_hop = hop;
  if (hop != NextHop{}) [[likely]]
    return true;
  return leave_unreachable(worker, packet, DropReason::no_route);
}

bool hand_off_foreign(Worker& worker, Packet& packet) noexcept {
  const OutboundSa& sa = *packet.outbound;
  if (sa.worker == worker.index) [[likely]]
    return true;
  if (packet.handed_over)
    worker.drop(packet.mbuf, DropReason::wrong_worker);
  else
    set_aside(worker, sa.worker, packet, Errand::encrypt);
  return false;
}

bool drop_exhausted(Worker& worker, const Packet& packet) noexcept {
  const OutboundSa& sa = *packet.outbound;
  DropReason reason = sa.reserved ? DropReason::sequence_unreserved : DropReason::lifetime_hard;
  if (sa.last_sequence.load(std::memory_order_relaxed) == last_of_sequence(sa.scheme.esn()))
    reason = DropReason::sequence_exhausted;
  if (sa.bytes.load(std::memory_order_relaxed) >= sa.hard_bytes) reason = DropReason::lifetime_hard;
  worker.drop(packet.mbuf, reason);
  return false;
}

// RFC 4303 section 3.3.3: sequence numbers never cycle. Always inline, as encapsulate is: they are called for
// every packet, from two places of which one is rare.
[[gnu::always_inline]] inline bool assign_sequence(Worker& worker, Packet& packet) noexcept {
  OutboundSa& sa = *packet.outbound;
  const std::uint64_t last = sa.sequence.load(std::memory_order_relaxed);
  const std::uint64_t bytes = sa.bytes.load(std::memory_order_relaxed);
  if (last >= sa.last_sequence.load(std::memory_order_relaxed) || bytes >= sa.hard_bytes) [[unlikely]]
    return drop_exhausted(worker, packet);
  sa.sequence.store(last + 1, std::memory_order_relaxed);
  sa.bytes.store(bytes + packet.length, std::memory_order_relaxed);
  sa.last_used_tsc.store(worker.scratch.now, std::memory_order_relaxed);
  packet.sequence = last + 1;
  return true;
}

void copy_template(std::uint8_t* outer, const OutboundSa& sa) noexcept {
  if (sa.udp)
    std::memcpy(outer, sa.header.data(), kIpv4 + kUdp + kEsp);
  else
    std::memcpy(outer, sa.header.data(), kIpv4 + kEsp);
}

// Fills in what differs from packet to packet: of the IPv4 header the first two words, of which the template
// has nothing but version and header length, and the checksum. The template's checksum is the one for zeros
// in these places, so their values are all that is added to it (RFC 1624). RFC 6040 section 4.1, normal mode:
// DSCP and ECN are copied.
inline void finish_outer(std::uint8_t* outer, const OutboundSa& sa, std::uint64_t number, std::uint8_t tos,
                         unsigned length) noexcept {
  const std::uint32_t sequence = __builtin_bswap32(static_cast<std::uint32_t>(number));
  const std::uint32_t tos_field = std::uint32_t{tos} << 8;
  const std::uint32_t length_field = __builtin_bswap32(length);
  const std::uint32_t identification = sequence >> 16;
  const std::uint16_t checksum = ipv4(sa.header.data()).hdr_checksum;
  const std::uint32_t sum = std::uint32_t{static_cast<std::uint16_t>(~checksum)} + tos_field +
                            (length_field >> 16) + identification;
  store(outer, kVersionAndIhl | tos_field | length_field);
  store(outer + 4, identification);
  ipv4(outer).hdr_checksum = static_cast<std::uint16_t>(~fold(sum));
  if (sa.udp) store16(outer + kIpv4 + 4, static_cast<std::uint16_t>(length - kIpv4));
  store(outer + sa.esp_offset + 4, sequence);
}

// From here on `ip` and `length` are the outer packet's.
[[gnu::always_inline]] inline bool encapsulate(Worker& worker, Packet& packet) noexcept {
  const OutboundSa& sa = *packet.outbound;
  if (!sa.plain) [[unlikely]]
    return encapsulate_otherwise(worker, packet);
  const std::uint64_t sequence = packet.sequence;
  std::uint8_t* const inner = packet.ip;
  const unsigned inner_length = packet.length;
  const Family family = packet.family;
  const std::uint8_t tos = traffic_class(inner, family);
  const unsigned next_header = family == Family::v4 ? kProtocolIpv4 : kProtocolIpv6;
  const unsigned payload = inner_length + write_trailer(inner + inner_length, sa, inner_length, next_header);
  std::uint8_t* const outer = inner - sa.front;
  const unsigned length = sa.front + payload + sa.icv_length;
  copy_template(outer, sa);
  finish_outer(outer, sa, sequence, tos, length);
  packet.ip = outer;
  packet.length = static_cast<std::uint16_t>(length);
  packet.family = Family::v4;
  add_job(worker, {&sa.key, outer + sa.esp_offset, sequence, payload, sa.scheme, false});
  return true;
}

void seal(Worker& worker, Burst& burst) noexcept {
  const std::span<crypto::EspJob> jobs = take_jobs(worker);
  if (burst.count != 0 && is_spread(worker, burst[0].tunnel, burst)) [[unlikely]]
    worker.loan.seal(worker.engine, jobs, worker.workers->size());
  else
    worker.engine.seal(jobs);
  if (worker.scratch.checksums_due) [[unlikely]]
    finish_checksums(worker, burst);
}

void seal_and_transmit(Worker& worker, Burst& burst) noexcept {
  mark(worker, Stage::encapsulate);
  seal(worker, burst);
  mark(worker, Stage::seal);
  transmit(worker, burst);
  mark(worker, Stage::transmit);
}

}  // namespace

}  // namespace espgate::dataplane
