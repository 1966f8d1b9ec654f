// The decrypt way: from an ESP packet to the IP packet in it. A stage decides about a packet and then changes
// it; what it does not let through is dropped with a name, or has left for the main thread or another worker.
#include <emmintrin.h>
#include <rte_prefetch.h>

#include <algorithm>
#include <cstring>

#include "dataplane/path/decapsulate.hpp"
#include "dataplane/path/esp.hpp"
#include "dataplane/path/mirror.hpp"
#include "dataplane/path/mtu.hpp"
#include "dataplane/path/selectors.hpp"
#include "dataplane/path/ways.hpp"
#include "dataplane/ports/checksum.hpp"

namespace espgate::dataplane {

namespace {

bool hand_off_foreign(Worker&, Packet&) noexcept;
bool find_sa(Worker&, Packet&) noexcept;
// With kPlain, all SAs of the burst are plain, which is what most are, and need not be asked.
template <bool kPlain>
bool check_replay(Worker&, Packet&) noexcept;
template <bool kPlain>
bool describe(Worker&, Packet&) noexcept;
void open(Worker&, Burst&) noexcept;
bool check_integrity(Worker&, Packet&) noexcept;
template <bool kPlain>
bool commit_replay(Worker&, Packet&) noexcept;
template <bool kPlain>
bool strip_trailer(Worker&, Packet&) noexcept;
bool check_inner_source(Worker&, Packet&) noexcept;
template <bool kPlain>
bool decapsulate(Worker&, Packet&) noexcept;

template <bool kPlain>
void decrypt_with_sas(Worker& worker, Burst& burst) noexcept {
  carry<check_replay<kPlain>, describe<kPlain>>(worker, burst);
  mark(worker, Stage::check_replay);
  open(worker, burst);
  mark(worker, Stage::open);
  carry<check_integrity, commit_replay<kPlain>, strip_trailer<kPlain>, check_inner_source,
        decapsulate<kPlain>>(worker, burst);
  mark(worker, Stage::decapsulate);
}

}  // namespace

void decrypt(Worker& worker, Burst& burst) noexcept {
  if (burst.empty()) return;
  worker.scratch.all_plain = true;
  carry<hand_off_foreign, find_sa>(worker, burst);
  deliver_set_aside(worker);
  mark(worker, Stage::find_sa);
  worker.scratch.all_plain ? decrypt_with_sas<true>(worker, burst) : decrypt_with_sas<false>(worker, burst);
  if (worker.tables->is_mirrored()) [[unlikely]]
    mirror_opened(worker, burst);
  forward(worker, burst);
}

void accept_opened(Worker& worker, Burst& burst) noexcept {
  carry<commit_replay<false>, strip_trailer<false>, check_inner_source, decapsulate<false>>(worker, burst);
  if (worker.tables->is_mirrored()) [[unlikely]]
    mirror_opened(worker, burst);
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

// RFC 4303 section 3.4.2. The word of the window that check_replay will read is fetched.
bool takes(Worker& worker, const InboundSa& sa, Packet& packet) noexcept {
  packet.sequence = load32(packet.ip + packet.esp + 4);
  if (packet.table != sa.underlay) [[unlikely]]
    return false;
  if (sa.plain) [[likely]] {
    rte_prefetch0(sa.window.place_of<true>(packet.sequence));
    return outer_matches4(sa, packet);
  }
  worker.scratch.all_plain = false;
  return takes_otherwise(sa, packet);
}

// No SA takes the packet. It may be somebody else's that only passes through here; if it is for us, say why
// not.
void refuse(Worker& worker, Packet& packet) noexcept {
  const NextHop hop = worker.tables->routes(packet.table).find_one(destination_of(packet.ip));
  if (hop.kind != NextHopKind::host) {
    worker.scratch.plain.add() = packet;
    return;
  }
  if (esp_length(packet) < kEsp) return worker.drop(packet.mbuf, DropReason::esp_truncated);
  const std::uint32_t spi = spi_of(packet);
  const InboundSa* const sa = packet.inbound;
  if (sa != nullptr && sa->spi.load(std::memory_order_acquire) == spi)
    return worker.drop(packet.mbuf,
                       packet.table == sa->underlay ? DropReason::outer_mismatch : DropReason::wrong_table);
  if (sa != nullptr && sa->former_spi.load(std::memory_order_relaxed) == spi)
    return worker.drop(packet.mbuf, DropReason::stale_spi);
  leave(worker, packet, Exception::unknown_spi, DropReason::unknown_spi);
}

bool find_sa(Worker& worker, Packet& packet) noexcept {
  const InboundSa* const sa = packet.inbound;
  if (sa != nullptr && sa->spi.load(std::memory_order_acquire) == spi_of(packet) &&
      takes(worker, *sa, packet)) [[likely]]
    return true;
  refuse(worker, packet);
  return false;
}

// What the packet's length leaves for the ciphertext is whole blocks, at least one (RFC 4303 section 2.4).
bool measure(const InboundSa& sa, Packet& packet) noexcept {
  const unsigned length = esp_length(packet);
  const unsigned payload = length - sa.overhead;
  if (payload - 1 >= length) return false;  // none, or less than none
  packet.payload = static_cast<std::uint16_t>(payload);
  return (payload & (sa.alignment - 1U)) == 0;  // a power of two, but the compiler can't know
}

bool drop_replayed(Worker& worker, Packet& packet, crypto::ReplayWindow::Verdict verdict) noexcept {
  const bool duplicate = verdict == crypto::ReplayWindow::Verdict::duplicate;
  channel::add(packet.inbound->replayed, 1);
  worker.drop(packet.mbuf, duplicate ? DropReason::replay_duplicate : DropReason::replay_old);
  return false;
}

// RFC 4303 section 3.4.3, before the ICV: a replay costs no cryptography.
template <bool kPlain>
bool check_replay(Worker& worker, Packet& packet) noexcept {
  const InboundSa& sa = *packet.inbound;
  if (!kPlain && sa.scheme.esn()) extend_sequence(packet);
  if (!measure(sa, packet)) {
    worker.drop(packet.mbuf, DropReason::esp_truncated);
    return false;
  }
  if (sa.packets.load(std::memory_order_relaxed) >= sa.hard_packets ||
      sa.bytes.load(std::memory_order_relaxed) >= sa.hard_bytes) {
    worker.drop(packet.mbuf, DropReason::lifetime_hard);
    return false;
  }
  const crypto::ReplayWindow::Verdict verdict = sa.window.check<kPlain>(packet.sequence);
  return verdict == crypto::ReplayWindow::Verdict::fresh || drop_replayed(worker, packet, verdict);
}

// Of the same walk as check_replay, which has packet and SA at hand.
template <bool kPlain>
bool describe(Worker& worker, Packet& packet) noexcept {
  const InboundSa& sa = *packet.inbound;
  if (!kPlain && sa.card.load(std::memory_order_relaxed) != 0) return describe_otherwise(worker, packet);
  add_job(worker, {&sa.key, packet.ip + packet.esp, packet.sequence, packet.payload, sa.scheme, false});
  return true;
}

void open(Worker& worker, Burst& burst) noexcept {
  const std::span<crypto::EspJob> jobs = take_jobs(worker);
  if (burst.count != 0 && is_spread(worker, burst[0].inbound->tunnel, burst)) [[unlikely]]
    worker.loan.open(worker.engine, jobs, worker.workers->size());
  else
    worker.engine.open(jobs);
  if (std::exchange(worker.scratch.opened_by_card, false)) [[unlikely]]
    for (crypto::EspJob& job : jobs) job.ok = job.ok || job.scheme.suite() == crypto::EspSuite::none;
  worker.scratch.next_opened = 0;
}

bool check_integrity(Worker& worker, Packet& packet) noexcept {
  Scratch& scratch = worker.scratch;
  if (scratch.jobs[scratch.next_opened++].ok) [[likely]]
    return true;
  return drop_forged(worker, packet);
}

// Two packets of one burst may carry one sequence number: the first that proved authentic takes it.
template <bool kPlain>
bool commit_replay(Worker& worker, Packet& packet) noexcept {
  if (!kPlain) follow_source(worker, packet);
  const crypto::ReplayWindow::Verdict verdict = packet.inbound->window.commit<kPlain>(packet.sequence);
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

bool drop_malformed(Worker& worker, const Packet& packet) noexcept {
  worker.drop(packet.mbuf, DropReason::malformed_inner);
  return false;
}

// The inner packet has a length of its own; what is behind it is traffic flow confidentiality padding (RFC
// 4303 section 2.7). 0: it is none.
bool show_inner(Worker& worker, Packet& packet, std::uint8_t* inner, std::uint16_t length,
                Family family) noexcept {
  if (length == 0) return drop_malformed(worker, packet);
  packet.esp = static_cast<std::uint16_t>(inner - packet.ip);
  packet.ip = inner;
  packet.length = length;
  packet.family = family;
  return true;
}

// From here on `ip` and `length` are the inner packet's; `esp` becomes the distance back to the outer header.
template <bool kPlain>
bool strip_trailer(Worker& worker, Packet& packet) noexcept {
  std::uint8_t* const inner = packet.ip + packet.esp + packet.inbound->front;
  const std::uint8_t* const trailer = inner + packet.payload - 2;
  const unsigned padding = trailer[0];
  const std::uint8_t next_header = trailer[1];
  if (padding + 2U > packet.payload || !padding_is_right(trailer, padding)) {
    worker.drop(packet.mbuf, DropReason::bad_padding);
    return false;
  }
  const unsigned available = packet.payload - 2U - padding;
  if (!kPlain && packet.inbound->transport && next_header != kProtocolNone) {
    unwrap_transport(packet, next_header, available);
    return true;
  }
  if (next_header == kProtocolIpv4)
    return show_inner(worker, packet, inner, checked_ipv4(inner, available), Family::v4);
  if (next_header == kProtocolIpv6)
    return show_inner(worker, packet, inner, checked_ipv6(inner, available), Family::v6);
  return drop_next_header(worker, packet, next_header);
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
  sa.last_used_tsc.store(worker.scratch.now, std::memory_order_relaxed);
}

// RFC 6040 section 4.2. An outer packet without a mark changes nothing.
template <bool kPlain>
bool merge_ecn(Worker& worker, Packet& packet) noexcept {
  const std::uint8_t* const outer = packet.ip - packet.esp;
  const Family family = kPlain ? Family::v4 : packet.inbound->local.family;
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

template <bool kPlain>
bool decapsulate(Worker& worker, Packet& packet) noexcept {
  if (is_multicast(packet)) {
    worker.drop(packet.mbuf, DropReason::multicast);
    return false;
  }
  if (!merge_ecn<kPlain>(worker, packet)) return false;
  count_received(worker, packet);
  packet.tunnel = packet.inbound->tunnel;
  packet.table = packet.inbound->overlay;
  packet.port = Note::kNoPort;
  packet.forwarded = true;
  if (may_be_tcp(packet)) [[unlikely]]
    clamp_received(worker, packet);
  return true;
}

}  // namespace

bool drop_forged(Worker& worker, const Packet& packet) noexcept {
  channel::add(packet.inbound->failed, 1);
  worker.drop(packet.mbuf, DropReason::integrity);
  return false;
}

}  // namespace espgate::dataplane
