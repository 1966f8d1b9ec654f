// The encrypt way: from an IP packet to the ESP packet that carries it. Each stage decides first and then
// changes; what it does not keep is dropped with a name, or has left for the main thread or another worker.
#include <rte_prefetch.h>

#include <cstring>

#include "dataplane/path/selectors.hpp"
#include "dataplane/path/ways.hpp"

namespace espgate::dataplane {

namespace {

void send_clear(Worker&, Burst&) noexcept;
void choose_tunnel(Worker&, Burst&) noexcept;
void choose_sa(Worker&, Burst&) noexcept;
void hand_off_foreign(Worker&, Burst&) noexcept;
void assign_sequence(Worker&, Burst&) noexcept;
void encapsulate(Worker&, Burst&) noexcept;
void seal(Worker&, Burst&) noexcept;
void transmit(Worker&, Burst&) noexcept;

}  // namespace

void forward(Worker& worker, Burst& burst) noexcept {
  if (burst.empty()) return;
  route(worker, burst);
  send_clear(worker, burst);
  choose_tunnel(worker, burst);
  encrypt(worker, burst);
}

void encrypt(Worker& worker, Burst& burst) noexcept {
  if (burst.empty()) return;
  choose_sa(worker, burst);
  hand_off_foreign(worker, burst);
  fit_mtu(worker, burst);
  do {
    assign_sequence(worker, burst);
    encapsulate(worker, burst);
    seal(worker, burst);
    transmit(worker, burst);
  } while (next_fragments(worker, burst));
}

namespace {

// What a route sends to a port is done here; what goes on has a tunnel or a group of them for its next hop.
void send_clear(Worker& worker, Burst& burst) noexcept {
  keep_if(burst, [&worker](Packet& packet) noexcept {
    const NextHopKind kind = packet.next_hop.kind;
    if (kind == NextHopKind::tunnel || kind == NextHopKind::group) return true;
    send(worker, packet, packet.next_hop);
    return false;
  });
}

bool leave_unreachable(Worker& worker, Packet& packet, DropReason reason) noexcept {
  leave(worker, packet, Exception::unreachable, reason);
  return false;
}

std::uint32_t member_of(const Worker& worker, const Packet& packet) noexcept {
  const Group* const group = worker.tables->groups[packet.next_hop.index].load(std::memory_order_acquire);
  if (group == nullptr) return Group::kNoTunnel;
  return group->buckets[flow_hash(packet.ip, packet.family, packet.length) % Group::kBuckets];
}

void choose_tunnel(Worker& worker, Burst& burst) noexcept {
  keep_if(burst, [&worker](Packet& packet) noexcept {
    const std::uint32_t tunnel =
        packet.next_hop.kind == NextHopKind::tunnel ? packet.next_hop.index : member_of(worker, packet);
    if (tunnel == Group::kNoTunnel) return leave_unreachable(worker, packet, DropReason::tunnel_down);
    packet.tunnel = tunnel;
    rte_prefetch0(&worker.tables->tunnels[tunnel]);
    return true;
  });
}

// The lines of an SA that every packet needs; the key schedule behind them is the engine's to fetch.
void prefetch(const OutboundSa& sa) noexcept {
  const auto* const at = reinterpret_cast<const std::uint8_t*>(&sa);
  rte_prefetch0(at);
  rte_prefetch0(at + 64);
  rte_prefetch0(at + 128);
}

void choose_sa(Worker& worker, Burst& burst) noexcept {
  const OutboundSa* fetched = nullptr;
  keep_if(burst, [&](Packet& packet) noexcept {
    const TunnelSlot& slot = worker.tables->tunnels[packet.tunnel];
    packet.outbound = slot.outbound.load(std::memory_order_acquire);
    if (packet.outbound == nullptr) return leave_unreachable(worker, packet, DropReason::tunnel_down);
    if (packet.outbound != fetched) prefetch(*(fetched = packet.outbound));
    return true;
  });
  keep_if(burst, [&worker](Packet& packet) noexcept {
    const OutboundSa& sa = *packet.outbound;
    if (!selectors_allow(*sa.selectors, packet.ip, packet.family, packet.length, true)) {
      worker.drop(packet.mbuf, DropReason::outside_selectors_out);
      return false;
    }
    packet.next_hop = sa.outer.load(std::memory_order_relaxed);
    if (packet.next_hop.kind == NextHopKind::none)
      return leave_unreachable(worker, packet, DropReason::no_route);
    return true;
  });
}

void hand_off_foreign(Worker& worker, Burst& burst) noexcept {
  bool any = false;
  keep_if(burst, [&](Packet& packet) noexcept {
    if (packet.outbound->worker == worker.index) [[likely]]
      return true;
    if (packet.handed_over) {
      worker.drop(packet.mbuf, DropReason::wrong_worker);
      return false;
    }
    set_aside(worker, packet.outbound->worker, packet, Errand::encrypt);
    any = true;
    return false;
  });
  if (any) deliver_set_aside(worker);
}

// How many of `wanted` sequence numbers the SA may still use (RFC 4303 section 3.3.3: they never cycle).
unsigned reserve(const OutboundSa& sa, unsigned wanted) noexcept {
  if (sa.bytes.load(std::memory_order_relaxed) >= sa.hard_bytes) return 0;
  const std::uint64_t left = sa.last_sequence - sa.sequence.load(std::memory_order_relaxed);
  return left < wanted ? static_cast<unsigned>(left) : wanted;
}

void count_sent(Worker& worker, OutboundSa& sa, const Run& run) noexcept {
  channel::add(sa.sequence, run.packets());
  channel::add(sa.packets, run.packets());
  channel::add(sa.bytes, run.bytes);
  sa.last_used_tsc.store(worker.scratch->now, std::memory_order_relaxed);
  channel::InterfaceCounters& counters = worker.tunnel_counters[sa.tunnel];
  channel::add(counters.tx_packets, run.packets());
  channel::add(counters.tx_bytes, run.bytes);
}

void drop_exhausted(Worker& worker, Burst& burst, Run& run, unsigned granted) noexcept {
  const OutboundSa& sa = *burst[run.begin].outbound;
  const bool cycle =
      sa.last_sequence == kLastSequence && sa.bytes.load(std::memory_order_relaxed) < sa.hard_bytes;
  for (unsigned i = run.begin + granted; i < run.end; ++i) {
    run.bytes -= burst[i].length;
    worker.drop(burst[i].mbuf, cycle ? DropReason::sequence_exhausted : DropReason::lifetime_hard);
  }
  run.end = run.begin + granted;
}

void assign_sequence(Worker& worker, Burst& burst) noexcept {
  unsigned kept = 0;
  for (unsigned begin = 0, next = 0; begin < burst.count; begin = next) {
    Run run = run_at(burst, begin, &Packet::outbound);
    next = run.end;
    OutboundSa& sa = *burst[begin].outbound;
    const unsigned granted = reserve(sa, run.packets());
    if (granted < run.packets()) [[unlikely]]
      drop_exhausted(worker, burst, run, granted);
    std::uint64_t sequence = sa.sequence.load(std::memory_order_relaxed);
    for (unsigned i = run.begin; i < run.end; ++i, ++kept) {
      burst[i].sequence = ++sequence;
      if (kept != i) burst[kept] = burst[i];
    }
    count_sent(worker, sa, run);
  }
  burst.count = kept;
}

// RFC 4303 section 2.4: padding to the suite's alignment, its length, and what is inside. Writes 16 bytes at
// `at`, for which fit_mtu made sure there is room. Returns the trailer's length.
unsigned write_trailer(std::uint8_t* at, const OutboundSa& sa, const Packet& packet) noexcept {
  static constexpr std::array<std::uint8_t, 16> kPadding{1, 2,  3,  4,  5,  6,  7,  8,
                                                         9, 10, 11, 12, 13, 14, 15, 16};
  const unsigned padding = (0U - packet.length - 2U) & (sa.alignment - 1U);
  std::memcpy(at, kPadding.data(), kPadding.size());
  at[padding] = static_cast<std::uint8_t>(padding);
  at[padding + 1] = packet.family == Family::v4 ? kProtocolIpv4 : kProtocolIpv6;
  return padding + 2;
}

void copy_template(std::uint8_t* outer, const OutboundSa& sa) noexcept {
  if (sa.udp != 0)
    std::memcpy(outer, sa.header.data(), kIpv4 + kUdp + kEsp);
  else
    std::memcpy(outer, sa.header.data(), kIpv4 + kEsp);
}

// Fills in what differs from packet to packet. The template's checksum is the one for zeros in these places,
// so their values are all that is added to it (RFC 1624). RFC 6040 section 4.1, normal mode: DSCP and ECN are
// copied.
void finish_outer(std::uint8_t* outer, const OutboundSa& sa, const Packet& packet,
                  std::uint16_t length) noexcept {
  const std::uint8_t tos = traffic_class(packet.ip, packet.family);
  const std::uint16_t checksum = ipv4(sa.header.data()).hdr_checksum;
  rte_ipv4_hdr& header = ipv4(outer);
  header.type_of_service = tos;
  header.total_length = __builtin_bswap16(length);
  header.packet_id = __builtin_bswap16(static_cast<std::uint16_t>(packet.sequence));
  const std::uint32_t sum = std::uint32_t{static_cast<std::uint16_t>(~checksum)} + __builtin_bswap16(tos) +
                            header.total_length + header.packet_id;
  header.hdr_checksum = static_cast<std::uint16_t>(~fold(sum));
  if (sa.udp != 0) store16(outer + kIpv4 + 4, static_cast<std::uint16_t>(length - kIpv4));
  store32(outer + sa.esp_offset + 4, static_cast<std::uint32_t>(packet.sequence));
}

// From here on `ip` and `length` are the outer packet's.
void encapsulate(Worker&, Burst& burst) noexcept {
  for (Packet& packet : burst) {
    const OutboundSa& sa = *packet.outbound;
    const unsigned trailer = write_trailer(packet.ip + packet.length, sa, packet);
    const unsigned front = sa.header_length + sa.iv_length;
    std::uint8_t* const outer = packet.ip - front;
    const auto length = static_cast<std::uint16_t>(front + packet.length + trailer + sa.icv_length);
    copy_template(outer, sa);
    finish_outer(outer, sa, packet, length);
    packet.payload = static_cast<std::uint16_t>(packet.length + trailer);
    packet.esp = sa.esp_offset;
    packet.ip = outer;
    packet.length = length;
    packet.family = Family::v4;
    set_data(packet.mbuf, outer, length);
  }
}

void seal(Worker& worker, Burst& burst) noexcept {
  auto& jobs = worker.scratch->jobs;
  for (unsigned i = 0; i < burst.count; ++i) {
    const Packet& packet = burst[i];
    const OutboundSa& sa = *packet.outbound;
    jobs[i] = {&sa.key, packet.ip + packet.esp, packet.sequence, packet.payload, sa.suite, false};
  }
  worker.engine.seal({jobs.data(), burst.count});
}

void transmit(Worker& worker, Burst& burst) noexcept {
  for (Packet& packet : burst) send(worker, packet, packet.next_hop);
  burst.count = 0;
}

}  // namespace

}  // namespace espgate::dataplane
