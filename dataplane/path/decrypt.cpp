// The decrypt way: from an ESP packet to the IP packet in it. A stage decides about a packet and then changes
// it; what it does not let through is dropped with a name, or has left for the main thread or another worker.
#include <emmintrin.h>
#include <rte_prefetch.h>

#include <algorithm>
#include <cstring>

#include "dataplane/offload/inline.hpp"
#include "dataplane/path/esp.hpp"
#include "dataplane/path/mtu.hpp"
#include "dataplane/path/selectors.hpp"
#include "dataplane/path/ways.hpp"
#include "dataplane/ports/checksum.hpp"

namespace espgate::dataplane {

namespace {

bool hand_off_foreign(Worker&, Packet&) noexcept;
bool find_sa(Worker&, Packet&) noexcept;
bool check_replay(Worker&, Packet&) noexcept;
bool describe(Worker&, Packet&) noexcept;
void open(Worker&, Burst&) noexcept;
bool check_integrity(Worker&, Packet&) noexcept;
bool commit_replay(Worker&, Packet&) noexcept;
bool strip_trailer(Worker&, Packet&) noexcept;
bool check_inner_source(Worker&, Packet&) noexcept;
bool decapsulate(Worker&, Packet&) noexcept;

}  // namespace

void decrypt(Worker& worker, Burst& burst) noexcept {
  if (burst.empty()) return;
  carry<hand_off_foreign, find_sa>(worker, burst);
  deliver_set_aside(worker);
  mark(worker, Stage::find_sa);
  carry<check_replay, describe>(worker, burst);
  mark(worker, Stage::check_replay);
  open(worker, burst);
  mark(worker, Stage::open);
  carry<check_integrity, commit_replay, strip_trailer, check_inner_source, decapsulate>(worker, burst);
  mark(worker, Stage::decapsulate);
  forward(worker, burst);
}

namespace {

// The SPI says whose SA it is, so no other worker's memory is looked at.
bool hand_off_foreign(Worker& worker, Packet& packet) noexcept {
  if (packet.inbound != nullptr) [[likely]]
    return true;
  if (esp_length(packet) < kEsp) return true;  // find_sa has a name for it
  const std::uint32_t owner = channel::spi_worker(spi_of(packet));
  if (owner == worker.index || owner >= worker.workers->size()) return true;
  set_aside(worker, owner, packet, Errand::decrypt);
  return false;
}

bool outer_matches4(const InboundSa& sa, const Packet& packet) noexcept {
  const rte_ipv4_hdr& outer = ipv4(packet.ip);
  if (packet.family != Family::v4 || load<std::uint32_t>(sa.local.bytes.data()) != outer.dst_addr)
    return false;
  if ((outer.next_proto_id == kProtocolUdp) != sa.udp) return false;
  return sa.udp || load<std::uint32_t>(sa.remote.bytes.data()) == outer.src_addr;
}

bool outer_matches6(const InboundSa& sa, const Packet& packet) noexcept {
  const rte_ipv6_hdr& outer = ipv6(packet.ip);
  if (packet.family != Family::v6 || std::memcmp(sa.local.bytes.data(), outer.dst_addr, 16) != 0)
    return false;
  if ((upper_layer6(packet.ip, packet.length).protocol == kProtocolUdp) != sa.udp) return false;
  return sa.udp || std::memcmp(sa.remote.bytes.data(), outer.src_addr, 16) == 0;
}

// Rare ways stay out of the loops, and of their registers.
[[gnu::noinline]] bool outer_matches_otherwise(const InboundSa& sa, const Packet& packet) noexcept {
  return sa.local.is_v4() ? outer_matches4(sa, packet) : outer_matches6(sa, packet);
}

bool outer_matches(const InboundSa& sa, const Packet& packet) noexcept {
  if (sa.plain) [[likely]]
    return outer_matches4(sa, packet);
  return outer_matches_otherwise(sa, packet);
}

// No SA takes the packet. It may be somebody else's that only passes through here; if it is for us, say why
// not.
void refuse(Worker& worker, Packet& packet) noexcept {
  const NextHop hop = worker.tables->routes.find_one(destination_of(packet.ip));
  if (hop.kind != NextHopKind::host) {
    worker.scratch->plain.add() = packet;
    return;
  }
  if (esp_length(packet) < kEsp) return worker.drop(packet.mbuf, DropReason::esp_truncated);
  const std::uint32_t spi = spi_of(packet);
  const InboundSa* const sa = packet.inbound;
  if (sa != nullptr && sa->spi.load(std::memory_order_acquire) == spi)
    return worker.drop(packet.mbuf, DropReason::outer_mismatch);
  if (sa != nullptr && sa->former_spi.load(std::memory_order_relaxed) == spi)
    return worker.drop(packet.mbuf, DropReason::stale_spi);
  leave(worker, packet, Exception::unknown_spi, DropReason::unknown_spi);
}

// RFC 4303 section 3.4.1 and 3.4.2.
bool find_sa(Worker& worker, Packet& packet) noexcept {
  const InboundSa* const sa = packet.inbound;
  if (sa != nullptr && sa->spi.load(std::memory_order_acquire) == spi_of(packet) &&
      outer_matches(*sa, packet)) [[likely]] {
    packet.sequence = load32(packet.ip + packet.esp + 4);
    rte_prefetch0(sa->window.place_of(packet.sequence));
    return true;
  }
  refuse(worker, packet);
  return false;
}

// What the packet's length leaves for the ciphertext is whole blocks, at least one (RFC 4303 section 2.4).
bool measure(const InboundSa& sa, Packet& packet) noexcept {
  const unsigned overhead = static_cast<unsigned>(sa.front + sa.icv_length);
  const unsigned length = esp_length(packet);
  if (length < overhead + sa.alignment) return false;
  packet.payload = static_cast<std::uint16_t>(length - overhead);
  return (packet.payload & (sa.alignment - 1U)) == 0;  // a power of two, but the compiler can't know
}

bool drop_replayed(Worker& worker, Packet& packet, crypto::ReplayWindow::Verdict verdict) noexcept {
  const bool duplicate = verdict == crypto::ReplayWindow::Verdict::duplicate;
  channel::add(packet.inbound->replayed, 1);
  worker.drop(packet.mbuf, duplicate ? DropReason::replay_duplicate : DropReason::replay_old);
  return false;
}

[[gnu::noinline]] void extend_sequence(Packet& packet) noexcept {
  packet.sequence = packet.inbound->window.infer(static_cast<std::uint32_t>(packet.sequence));
}

// RFC 4303 section 3.4.3, before the ICV: a replay costs no cryptography.
bool check_replay(Worker& worker, Packet& packet) noexcept {
  const InboundSa& sa = *packet.inbound;
  if (sa.esn) [[unlikely]]
    extend_sequence(packet);
  if (!measure(sa, packet)) {
    worker.drop(packet.mbuf, DropReason::esp_truncated);
    return false;
  }
  if (sa.packets.load(std::memory_order_relaxed) >= sa.hard_packets ||
      sa.bytes.load(std::memory_order_relaxed) >= sa.hard_bytes) {
    worker.drop(packet.mbuf, DropReason::lifetime_hard);
    return false;
  }
  const crypto::ReplayWindow::Verdict verdict = sa.window.check(packet.sequence);
  return verdict == crypto::ReplayWindow::Verdict::fresh || drop_replayed(worker, packet, verdict);
}

bool drop_forged(Worker& worker, const Packet& packet) noexcept {
  channel::add(packet.inbound->failed, 1);
  worker.drop(packet.mbuf, DropReason::integrity);
  return false;
}

// What the card may have done. What it opened has a job like the others, of no suite: so each packet has one.
bool describe_from_card(Worker& worker, Packet& packet) noexcept {
  const InboundSa& sa = *packet.inbound;
  const ByCard done = done_by_card(worker, packet);
  if (done == ByCard::failed) return drop_forged(worker, packet);
  const bool opened = done == ByCard::opened;
  worker.scratch->opened_by_card = worker.scratch->opened_by_card || opened;
  const crypto::EspSuite suite = opened ? crypto::EspSuite::none : sa.suite;
  add_job(worker, {&sa.key, packet.ip + packet.esp, packet.sequence, packet.payload, suite, false});
  return true;
}

// Of the same walk as check_replay, which has packet and SA at hand.
bool describe(Worker& worker, Packet& packet) noexcept {
  const InboundSa& sa = *packet.inbound;
  if (sa.card.load(std::memory_order_relaxed) != 0) [[unlikely]]
    return describe_from_card(worker, packet);
  add_job(worker,
          {&sa.key, packet.ip + packet.esp, packet.sequence, packet.payload, sa.suite, false, sa.esn});
  return true;
}

void open(Worker& worker, Burst& burst) noexcept {
  const std::span<crypto::EspJob> jobs = take_jobs(worker);
  if (burst.count != 0 && is_spread(worker, burst[0].inbound->tunnel, burst)) [[unlikely]]
    worker.loan.open(worker.engine, jobs, worker.workers->size());
  else
    worker.engine.open(jobs);
  if (std::exchange(worker.scratch->opened_by_card, false)) [[unlikely]]
    for (crypto::EspJob& job : jobs) job.ok = job.ok || job.suite == crypto::EspSuite::none;
  worker.scratch->next_opened = 0;
}

bool check_integrity(Worker& worker, Packet& packet) noexcept {
  Worker::Scratch& scratch = *worker.scratch;
  if (scratch.jobs[scratch.next_opened++].ok) [[likely]]
    return true;
  return drop_forged(worker, packet);
}

// RFC 7296 section 2.23: a NAT gave the peer another port or address. Told of no packet but the newest, so
// that neither a replay nor one that was overtaken brings the peer back to where it was; and not more often
// than kMovesASecond. What is not told now is told of a later packet.
[[gnu::noinline]] void heard_from_elsewhere(Worker& worker, const Packet& packet) noexcept {
  constexpr std::uint64_t kMovesASecond = 10;
  InboundSa& sa = *packet.inbound;
  if (packet.sequence <= sa.window.highest() || worker.scratch->now < sa.next_move) return;
  rte_mbuf* const word = rte_pktmbuf_alloc(worker.pool);
  if (word == nullptr) return;
  sa.next_move = worker.scratch->now + rte_get_tsc_hz() / kMovesASecond;
  Move move{};
  move.spi = sa.spi.load(std::memory_order_relaxed);
  move.remote.family = sa.remote.family;
  const bool v4 = sa.remote.is_v4();
  std::memcpy(move.remote.bytes.data(), packet.ip + (v4 ? 12 : 8), v4 ? 4 : 16);
  move.remote_port = load16(packet.ip + packet.esp - kUdp);
  store(reinterpret_cast<std::uint8_t*>(rte_pktmbuf_append(word, sizeof move)), move);
  note_of(word) = Note{0, Note::kNoPort, 0, Note::kNoTunnel, NextHop{}, DropReason{}};
  worker.raise(word, Exception::peer_moved);
}

void follow_source(Worker& worker, const Packet& packet) noexcept {
  const InboundSa& sa = *packet.inbound;
  const std::uint64_t known = sa.source.load(std::memory_order_relaxed);
  if (known == 0) [[likely]]
    return;
  const Family family = sa.remote.family;
  const std::uint64_t source = source_word(packet.ip + (family == Family::v4 ? 12 : 8), family,
                                           load<std::uint16_t>(packet.ip + packet.esp - kUdp));
  if (source != known) [[unlikely]]
    heard_from_elsewhere(worker, packet);
}

// Two packets of one burst may carry one sequence number: the first that proved authentic takes it.
bool commit_replay(Worker& worker, Packet& packet) noexcept {
  follow_source(worker, packet);
  const crypto::ReplayWindow::Verdict verdict = packet.inbound->window.commit(packet.sequence);
  return verdict == crypto::ReplayWindow::Verdict::fresh || drop_replayed(worker, packet, verdict);
}

// RFC 4303 section 2.4: the padding is 1, 2, 3, ... `end` is behind it. Of the usual short ones the last 16
// bytes are looked at together; there are always as many in front of the trailer.
bool padding_is_right(const std::uint8_t* end, unsigned length) noexcept {
  static constexpr std::array<std::uint8_t, 32> kEnding = [] {
    std::array<std::uint8_t, 32> ending{};
    for (unsigned i = 16; i < 32; ++i) ending[i] = static_cast<std::uint8_t>(i - 15);
    return ending;
  }();
  if (length <= 16) [[likely]] {
    const __m128i is = _mm_loadu_si128(reinterpret_cast<const __m128i*>(end - 16));
    const __m128i wanted = _mm_loadu_si128(reinterpret_cast<const __m128i*>(kEnding.data() + length));
    const auto same = static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(is, wanted)));
    return (~same & 0xffffU) >> (16 - length) == 0;
  }
  for (unsigned i = 0; i < length; ++i)
    if ((end - length)[i] != i + 1) return false;
  return true;
}

// RFC 4303 section 2.6: 59 is a dummy packet.
bool drop_next_header(Worker& worker, Packet& packet, std::uint8_t next_header) noexcept {
  worker.drop(packet.mbuf, next_header == kProtocolNone ? DropReason::dummy : DropReason::bad_next_header);
  return false;
}

// The inner packet's true length; what is behind it is traffic flow confidentiality padding (RFC 4303
// section 2.7).
std::uint16_t inner_length(const std::uint8_t* inner, std::uint8_t next_header, unsigned available) noexcept {
  return next_header == kProtocolIpv4 ? checked_ipv4(inner, available) : checked_ipv6(inner, available);
}

// Transport mode: the header that came before ESP goes to the front of what ESP carried. It is the outer
// header and the inner one, so that the distance between them is none.
[[gnu::noinline]] bool unwrap_transport(Packet& packet, std::uint8_t next_header, unsigned length) noexcept {
  const InboundSa& sa = *packet.inbound;
  const auto header = static_cast<std::uint16_t>(packet.esp - (sa.udp ? kUdp : 0U));
  next_header_before(packet.ip, packet.family, header) = next_header;
  std::uint8_t* const inner = packet.ip + packet.esp + sa.front - header;
  std::memmove(inner, packet.ip, header);
  packet.ip = inner;
  packet.length = static_cast<std::uint16_t>(header + length);
  set_length(inner, packet.family, header, packet.length);
  packet.esp = 0;
  return true;
}

// From here on `ip` and `length` are the inner packet's; `esp` becomes the distance back to the outer header.
bool strip_trailer(Worker& worker, Packet& packet) noexcept {
  const unsigned skipped = static_cast<unsigned>(packet.esp + packet.inbound->front);
  std::uint8_t* const inner = packet.ip + skipped;
  const std::uint8_t* const trailer = inner + packet.payload - 2;
  const unsigned padding = trailer[0];
  const std::uint8_t next_header = trailer[1];
  if (padding + 2U > packet.payload || !padding_is_right(trailer, padding)) {
    worker.drop(packet.mbuf, DropReason::bad_padding);
    return false;
  }
  if (packet.inbound->transport && next_header != kProtocolNone) [[unlikely]]
    return unwrap_transport(packet, next_header, packet.payload - 2U - padding);
  if (next_header != kProtocolIpv4 && next_header != kProtocolIpv6)
    return drop_next_header(worker, packet, next_header);
  const std::uint16_t length = inner_length(inner, next_header, packet.payload - 2U - padding);
  if (length == 0) {
    worker.drop(packet.mbuf, DropReason::malformed_inner);
    return false;
  }
  packet.ip = inner;
  packet.length = length;
  packet.family = next_header == kProtocolIpv4 ? Family::v4 : Family::v6;
  packet.esp = static_cast<std::uint16_t>(skipped);
  return true;
}

// RFC 4301 section 5.2 step 4.
bool check_inner_source(Worker& worker, Packet& packet) noexcept {
  if (selectors_allow(*packet.inbound, packet.ip, packet.family, packet.length, false)) [[likely]]
    return true;
  worker.drop(packet.mbuf, DropReason::outside_selectors_in);
  return false;
}

bool is_multicast(const Packet& packet) noexcept {
  return packet.family == Family::v4 ? packet.ip[16] >= 0xe0 : packet.ip[24] == 0xff;
}

void count_received(Worker& worker, const Packet& packet) noexcept {
  InboundSa& sa = *packet.inbound;
  channel::add(sa.packets, 1);
  channel::add(sa.bytes, packet.length);
  sa.last_used_tsc.store(worker.scratch->now, std::memory_order_relaxed);
}

// RFC 6040 section 4.2. An outer packet without a mark changes nothing.
bool merge_ecn(Worker& worker, Packet& packet) noexcept {
  const std::uint8_t* const outer = packet.ip - packet.esp;
  const Family family = packet.inbound->plain ? Family::v4 : packet.inbound->local.family;
  const std::uint8_t outer_ecn = traffic_class(outer, family) & 3;
  if (outer_ecn == 0) [[likely]]
    return true;
  const std::uint8_t inner_ecn = traffic_class(packet.ip, packet.family) & 3;
  const std::uint8_t ecn = decapsulated_ecn(inner_ecn, outer_ecn);
  if (ecn == kEcnDrop) {
    worker.drop(packet.mbuf, DropReason::ecn_illegal);
    return false;
  }
  if (ecn != inner_ecn) set_ecn(packet.ip, packet.family, ecn);
  return true;
}

bool decapsulate(Worker& worker, Packet& packet) noexcept {
  if (is_multicast(packet)) {
    worker.drop(packet.mbuf, DropReason::multicast);
    return false;
  }
  if (!merge_ecn(worker, packet)) return false;
  count_received(worker, packet);
  packet.tunnel = packet.inbound->tunnel;
  packet.port = Note::kNoPort;
  packet.forwarded = true;
  if (may_be_tcp(packet)) [[unlikely]]
    clamp_received(worker, packet);
  return true;
}

}  // namespace

}  // namespace espgate::dataplane
