// IPv4 fragmentation (RFC 791 section 3.2) into packets of their own, each in one segment because it may be
// encrypted in place.
#include <algorithm>
#include <cstring>

#include "dataplane/path/ways.hpp"

namespace espgate::dataplane {

namespace {

constexpr std::uint16_t kOffsetMask = 0x1fff;
constexpr unsigned kMaxHeader = 60;

struct Header {
  std::uint8_t bytes[kMaxHeader];
  unsigned length;
};

// The header of all fragments but the first carries only the options that have the copied flag set.
Header later_header(const std::uint8_t* ip) noexcept {
  Header header{};
  const unsigned end = ipv4_header_length(ipv4(ip));
  std::memcpy(header.bytes, ip, kIpv4);
  unsigned to = kIpv4;
  for (unsigned at = kIpv4; at < end && ip[at] != 0;) {
    const unsigned own = ip[at] == 1 ? 1U : at + 1 < end ? ip[at + 1] : 0U;
    if (own == 0 || (own == 1 && ip[at] != 1) || at + own > end) break;
    if ((ip[at] & 0x80) != 0) {
      std::memcpy(header.bytes + to, ip + at, own);
      to += own;
    }
    at += own;
  }
  header.length = (to + 3U) & ~3U;  // the rest is end-of-options, zero
  header.bytes[0] = static_cast<std::uint8_t>(0x40 | header.length / 4);
  return header;
}

Header first_header(const std::uint8_t* ip) noexcept {
  Header header{};
  header.length = ipv4_header_length(ipv4(ip));
  std::memcpy(header.bytes, ip, header.length);
  return header;
}

void finish(std::uint8_t* ip, const Header& header, unsigned payload, unsigned offset_and_flags) noexcept {
  std::memcpy(ip, header.bytes, header.length);
  rte_ipv4_hdr& out = ipv4(ip);
  out.total_length = __builtin_bswap16(static_cast<std::uint16_t>(header.length + payload));
  out.fragment_offset = __builtin_bswap16(static_cast<std::uint16_t>(offset_and_flags));
  out.hdr_checksum = 0;
  out.hdr_checksum = static_cast<std::uint16_t>(~ipv4_header_sum(ip, header.length / 4));
}

rte_mbuf* make_piece(Worker& worker, const Header& header, const std::uint8_t* payload, unsigned length,
                     unsigned offset_and_flags) noexcept {
  rte_mbuf* const piece = rte_pktmbuf_alloc(worker.pool);
  if (piece == nullptr) return nullptr;
  piece->data_off = kHeadroom + kEthernet;
  if (piece->buf_len < piece->data_off + header.length + length) {
    rte_pktmbuf_free(piece);
    return nullptr;
  }
  piece->data_len = static_cast<std::uint16_t>(header.length + length);
  piece->pkt_len = piece->data_len;
  std::uint8_t* const ip = rte_pktmbuf_mtod(piece, std::uint8_t*);
  finish(ip, header, length, offset_and_flags);
  std::memcpy(ip + header.length, payload, length);
  return piece;
}

// Cuts until the payload is used up or `out` is full. Returns how many, or 0 when not all of it went in.
unsigned cut_payload(Worker& worker, const std::uint8_t* ip, unsigned mtu,
                     std::span<rte_mbuf*> out) noexcept {
  const unsigned own = ipv4_header_length(ipv4(ip));
  const unsigned total = __builtin_bswap16(ipv4(ip).total_length);
  const unsigned field = __builtin_bswap16(ipv4(ip).fragment_offset);
  Header header = first_header(ip);
  unsigned count = 0;
  for (unsigned done = 0; own + done < total;) {
    const unsigned room = (mtu - header.length) & ~7U;
    const unsigned length = std::min(room, total - own - done);
    const bool last = own + done + length == total;
    const unsigned offset =
        ((field & kOffsetMask) + done / 8) | (last ? field & kMoreFragments : kMoreFragments);
    rte_mbuf* const piece =
        count < out.size() ? make_piece(worker, header, ip + own + done, length, offset) : nullptr;
    if (piece == nullptr) {
      rte_pktmbuf_free_bulk(out.data(), count);
      return 0;
    }
    out[count++] = piece;
    done += length;
    if (count == 1) header = later_header(ip);
  }
  return count;
}

}  // namespace

unsigned cut(Worker& worker, rte_mbuf* mbuf, std::uint16_t mtu, std::span<rte_mbuf*> out) noexcept {
  const unsigned count = cut_payload(worker, rte_pktmbuf_mtod(mbuf, const std::uint8_t*), mtu, out);
  if (count == 0)
    worker.drop(mbuf, DropReason::no_buffer);
  else
    rte_pktmbuf_free(mbuf);
  return count;
}

}  // namespace espgate::dataplane
