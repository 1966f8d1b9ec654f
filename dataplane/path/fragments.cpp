// Fragmentation (RFC 791 section 3.2, RFC 8200 section 4.5) into packets of their own, each in one segment
// because it may be encrypted in place.
#include <algorithm>
#include <cstring>
#include <utility>

#include "dataplane/path/ways.hpp"

namespace espgate::dataplane {

namespace {

constexpr std::uint16_t kOffsetMask = 0x1fff;
// IPv4's with all its options; IPv6's with what routers read on the way, and the fragment header.
constexpr unsigned kMaxHeader = 128;

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

// RFC 8200 section 4.5: the headers that each fragment has are those of the unfragmentable part. `length`:
// the packet's. Length 0: they are more than anybody sends.
Header header6(const std::uint8_t* ip, std::uint16_t length, std::uint32_t identification) noexcept {
  Header header{};
  const std::uint16_t own = unprotected_length(ip, Family::v6, length);
  if (unsigned{own} + kFragmentHeader > kMaxHeader) return header;
  std::memcpy(header.bytes, ip, own);
  std::uint8_t& next = next_header_before(header.bytes, Family::v6, own);
  std::uint8_t* const fragment = header.bytes + own;
  fragment[0] = std::exchange(next, kProtocolFragment);
  store32(fragment + 4, identification);
  header.length = own + kFragmentHeader;
  return header;
}

// What is cut, and what stands in front of each piece.
struct Whole {
  Header first;
  Header later;
  const std::uint8_t* payload;
  unsigned length;  // of the payload
  unsigned field;   // IPv4's flags and offset, for a fragment may be cut again
  bool v4;
};

Whole whole4(const std::uint8_t* ip) noexcept {
  const unsigned own = ipv4_header_length(ipv4(ip));
  const unsigned total = __builtin_bswap16(ipv4(ip).total_length);
  return {first_header(ip), later_header(ip), ip + own, total - own, load16(ip + 6), true};
}

Whole whole6(Worker& worker, const std::uint8_t* ip, std::uint16_t length) noexcept {
  const Header header = header6(ip, length, worker.identifications.next());
  const unsigned own = header.length == 0 ? 0 : header.length - kFragmentHeader;
  return {header, header, ip + own, length - own, 0, false};
}

// Lengths and offset. `done`: bytes of the payload that are in the pieces before.
void finish(std::uint8_t* ip, const Whole& whole, unsigned header, unsigned payload, unsigned done) noexcept {
  const bool last = done + payload == whole.length;
  const auto length = static_cast<std::uint16_t>(header + payload);
  if (!whole.v4) {
    set_length(ip, Family::v6, kIpv6, length);
    return store16(ip + header - kFragmentHeader + 2, static_cast<std::uint16_t>(done | (last ? 0U : 1U)));
  }
  const unsigned more = last ? whole.field & kMoreFragments : kMoreFragments;
  store16(ip + 6, static_cast<std::uint16_t>(((whole.field & kOffsetMask) + done / 8) | more));
  set_length(ip, Family::v4, static_cast<std::uint16_t>(header), length);
}

rte_mbuf* make_piece(Worker& worker, const Whole& whole, const Header& header, unsigned length,
                     unsigned done) noexcept {
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
  std::memcpy(ip, header.bytes, header.length);
  std::memcpy(ip + header.length, whole.payload + done, length);
  finish(ip, whole, header.length, length, done);
  return piece;
}

// Cuts until the payload is used up or `out` is full. Returns how many, or 0 when not all of it went in.
unsigned cut_payload(Worker& worker, const Whole& whole, unsigned mtu, std::span<rte_mbuf*> out) noexcept {
  unsigned count = 0;
  for (unsigned done = 0; done < whole.length;) {
    const Header& header = done == 0 ? whole.first : whole.later;
    const unsigned length = std::min((mtu - header.length) & ~7U, whole.length - done);
    rte_mbuf* const piece = count < out.size() ? make_piece(worker, whole, header, length, done) : nullptr;
    if (piece == nullptr) {
      rte_pktmbuf_free_bulk(out.data(), count);
      return 0;
    }
    out[count++] = piece;
    done += length;
  }
  return count;
}

}  // namespace

unsigned cut(Worker& worker, rte_mbuf* mbuf, std::uint16_t mtu, std::span<rte_mbuf*> out) noexcept {
  const auto* const ip = rte_pktmbuf_mtod(mbuf, const std::uint8_t*);
  const Whole whole = ip[0] >> 4 == 4 ? whole4(ip) : whole6(worker, ip, mbuf->data_len);
  if (whole.first.length == 0 || mtu < whole.first.length + 8U) {
    worker.drop(mbuf, DropReason::too_big);
    return 0;
  }
  const unsigned count = cut_payload(worker, whole, mtu, out);
  if (count == 0)
    worker.drop(mbuf, DropReason::no_buffer);
  else
    rte_pktmbuf_free(mbuf);
  return count;
}

}  // namespace espgate::dataplane
