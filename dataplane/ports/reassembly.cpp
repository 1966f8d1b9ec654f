// rte_ip_frag_table_del_expired_entries is experimental in DPDK 22.11. Without it a fragment would wait until
// another needs its place.
#define ALLOW_EXPERIMENTAL_API

#include "dataplane/ports/reassembly.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "dataplane/path/headers.hpp"
#include "dataplane/ports/checksum.hpp"
#include "dataplane/ports/rate_limit.hpp"

namespace espgate::dataplane {

namespace {

constexpr unsigned kBucket = 8;  // entries; the library looks into two buckets for each packet
constexpr unsigned kMaxHeader = 60;
constexpr std::uint8_t kCongestionExperienced = 3;  // RFC 3168 section 5

rte_ip_frag_tbl* make_table(unsigned most) {
  const unsigned buckets = std::max(1U, most / kBucket);
  rte_ip_frag_tbl* const table =
      rte_ip_frag_table_create(buckets, kBucket, most, Reassembly::kTimeoutNs, SOCKET_ID_ANY);
  if (table == nullptr) throw std::runtime_error("no memory for the reassembly of fragments");
  return table;
}

// A fragment that some packet can have: with something in it, in units of 8 bytes unless it is the last, and
// not beyond what a length field can say, however long the first fragment's header is.
bool is_possible(const rte_ipv4_hdr& header) noexcept {
  const unsigned field = __builtin_bswap16(header.fragment_offset);
  const unsigned payload = __builtin_bswap16(header.total_length) - unsigned{ipv4_header_length(header)};
  const unsigned offset = (field & RTE_IPV4_HDR_OFFSET_MASK) * RTE_IPV4_HDR_OFFSET_UNITS;
  const bool last = (field & RTE_IPV4_HDR_MF_FLAG) == 0;
  return payload != 0 && (last || payload % RTE_IPV4_HDR_OFFSET_UNITS == 0) &&
         offset + payload + kMaxHeader <= RTE_IPV4_MAX_PKT_LEN;
}

rte_ipv6_fragment_ext& fragment_header(std::uint8_t* ip) noexcept {
  return *reinterpret_cast<rte_ipv6_fragment_ext*>(ip + kIpv6);
}

// The same for IPv6.
bool is_possible(const rte_ipv6_hdr& header, const rte_ipv6_fragment_ext& fragment) noexcept {
  const unsigned field = __builtin_bswap16(fragment.frag_data);
  const unsigned length = __builtin_bswap16(header.payload_len);
  if (length <= kFragmentHeader) return false;
  const unsigned payload = length - kFragmentHeader;
  const unsigned offset = field & RTE_IPV6_EHDR_FO_MASK & 0xffff;
  const bool last = RTE_IPV6_GET_MF(field) == 0;
  return (last || payload % RTE_IPV6_EHDR_FO_ALIGN == 0) && offset + payload <= 0xffff;
}

// RFC 6946: a packet in a fragment that is all of it meets no others.
bool is_atomic(const rte_ipv6_fragment_ext& fragment) noexcept {
  return (fragment.frag_data & __builtin_bswap16(RTE_IPV6_FRAG_USED_MASK & 0xffff)) == 0;
}

rte_mbuf* without_fragment_header(rte_mbuf* packet) noexcept {
  auto* const ip = rte_pktmbuf_mtod(packet, std::uint8_t*);
  rte_ipv6_hdr& header = ipv6(ip);
  header.proto = fragment_header(ip).next_header;
  header.payload_len =
      __builtin_bswap16(static_cast<std::uint16_t>(__builtin_bswap16(header.payload_len) - kFragmentHeader));
  std::memmove(ip + kFragmentHeader, ip, kIpv6);
  rte_pktmbuf_adj(packet, kFragmentHeader);
  return packet;
}

// RFC 3168 section 5.3: the packet is marked if one of its fragments is. Their headers are still in front of
// what the library left of them.
void merge_ecn(rte_mbuf* whole, std::uint8_t* ip) noexcept {
  for (rte_mbuf* piece = whole->next; piece != nullptr; piece = piece->next) {
    const std::uint8_t* const header = rte_pktmbuf_mtod(piece, const std::uint8_t*) - piece->l3_len;
    const Family family = ip[0] >> 4 == 4 ? Family::v4 : Family::v6;
    if ((traffic_class(header, family) & 3) == kCongestionExperienced)
      set_ecn(ip, family, kCongestionExperienced);
  }
}

// The library wrote length and fragment fields, but no checksum; of IPv6 it took the fragment header out.
void finish(rte_mbuf* whole) noexcept {
  auto* const ip = rte_pktmbuf_mtod(whole, std::uint8_t*);
  merge_ecn(whole, ip);
  if (ip[0] >> 4 != 4) return;
  rte_ipv4_hdr& header = ipv4(ip);
  header.hdr_checksum = 0;
  header.hdr_checksum = checksum(ip, ipv4_header_length(header));
}

}  // namespace

Reassembly::Reassembly(Outbox& outbox, const KnownPeers& peers, std::uint64_t seed)
    : outbox_(outbox),
      peers_(peers),
      seed_(seed),
      most_(std::min(kMost, outbox.buffers() / kPartOfBuffers)),
      esp_(make_table(most_)),
      udp_(make_table(most_)) {}

rte_mbuf* Reassembly::add(rte_mbuf* fragment, std::uint64_t now) noexcept {
  auto* const ip = rte_pktmbuf_mtod(fragment, std::uint8_t*);
  const bool v4 = ip[0] >> 4 == 4;
  const std::uint8_t protocol = v4 ? ipv4(ip).next_proto_id : fragment_header(ip).next_header;
  rte_ip_frag_tbl& table = protocol == kProtocolUdp ? *udp_ : *esp_;
  expire(table, now);  // so that below nothing is given up for its age
  if (!(v4 ? is_possible(ipv4(ip)) : is_possible(ipv6(ip), fragment_header(ip))))
    return refuse(fragment, DropReason::reassembly_malformed);
  if (!v4 && is_atomic(fragment_header(ip))) return without_fragment_header(fragment);
  const IpAddress source = source_of(ip);
  if (!has_room(note_of(fragment).table, source)) return refuse(fragment, DropReason::reassembly_full);
  waiting_ += 1;
  waiting_of(source) += 1;
  rte_mbuf* const whole = meet(table, fragment, now);
  // A fragment whose buckets are full is given up alone. Of a packet that can't be right there are at least
  // two, since the first of them to come is never wrong.
  bury(row_.cnt == 1 ? DropReason::reassembly_full : DropReason::reassembly_malformed);
  if (whole == nullptr) return nullptr;
  forget(whole);
  finish(whole);
  outbox_.count_reassembled();
  return whole;
}

// Gives the library the fragment; what it completes.
rte_mbuf* Reassembly::meet(rte_ip_frag_tbl& table, rte_mbuf* fragment, std::uint64_t now) noexcept {
  auto* const ip = rte_pktmbuf_mtod(fragment, std::uint8_t*);
  fragment->l2_len = 0;
  if (ip[0] >> 4 == 4) {
    fragment->l3_len = ipv4_header_length(ipv4(ip)) & 63U;  // never more than 60
    return rte_ipv4_frag_reassemble_packet(&table, &row_, fragment, now, &ipv4(ip));
  }
  fragment->l3_len = kIpv6 + kFragmentHeader;
  return rte_ipv6_frag_reassemble_packet(&table, &row_, fragment, now, &ipv6(ip), &fragment_header(ip));
}

rte_mbuf* Reassembly::refuse(rte_mbuf* fragment, DropReason reason) noexcept {
  outbox_.drop(fragment, reason);
  return nullptr;
}

void Reassembly::advance(std::uint64_t now) noexcept {
  expire(*esp_, now);
  expire(*udp_, now);
}

// Again while there is something: the library stops where the row could become full.
void Reassembly::expire(rte_ip_frag_tbl& table, std::uint64_t now) noexcept {
  do rte_ip_frag_table_del_expired_entries(&table, &row_, now);
  while (bury(DropReason::reassembly_timeout) != 0);
}

bool Reassembly::has_room(TableId table, const IpAddress& source) {
  const unsigned most = peers_.contains(table, source) ? most_ : most_ / kPartOfStrangers;
  return waiting_ < most && waiting_of(source) < most_ / kPartOfSource;
}

unsigned& Reassembly::waiting_of(const IpAddress& source) noexcept {
  return waiting_by_source_[source_bucket(source, seed_, kSources)];
}

// What the library gives up counts by the fragment, as it came. Some are chained already.
unsigned Reassembly::bury(DropReason reason) noexcept {
  const unsigned count = row_.cnt;
  for (unsigned i = 0; i < count; i++) {
    rte_mbuf* const packet = row_.row[i];
    forget(packet);
    for (unsigned more = packet->nb_segs; more > 1; more--) outbox_.count(reason);
    outbox_.drop(packet, reason);
  }
  row_.cnt = 0;
  return count;
}

// Of the fragments chained here the first still begins at its header.
void Reassembly::forget(rte_mbuf* packet) noexcept {
  waiting_ -= packet->nb_segs;
  waiting_of(source_of(rte_pktmbuf_mtod(packet, const std::uint8_t*))) -= packet->nb_segs;
}

}  // namespace espgate::dataplane
