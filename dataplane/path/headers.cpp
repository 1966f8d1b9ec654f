#include "dataplane/path/headers.hpp"

#include <rte_hash_crc.h>

namespace espgate::dataplane {

namespace {

// RFC 8200 section 4; the chain of a sane packet is much shorter.
constexpr unsigned kMaxExtensionHeaders = 8;
constexpr std::uint8_t kHopByHop = 0;
constexpr std::uint8_t kRouting = 43;
constexpr std::uint8_t kDestination = 60;

bool is_extension(std::uint8_t header) noexcept {
  return header == kHopByHop || header == kRouting || header == kProtocolFragment || header == kDestination;
}

bool has_ports(std::uint8_t protocol) noexcept {
  return protocol == kProtocolTcp || protocol == kProtocolUdp || protocol == kProtocolSctp;
}

}  // namespace

std::uint16_t checked_ipv4_options(const std::uint8_t* ip, std::uint32_t available) noexcept {
  const rte_ipv4_hdr& header = ipv4(ip);
  const std::uint16_t length = __builtin_bswap16(header.total_length);
  const std::uint16_t own = ipv4_header_length(header);
  if (header.version_ihl >> 4 != 4 || own < kIpv4 || length < own || length > available) return 0;
  return ipv4_header_sum(ip, own / 4U) == 0xffff ? length : std::uint16_t{0};
}

UpperLayer upper_layer6(const std::uint8_t* ip, std::uint16_t length) noexcept {
  UpperLayer upper{kIpv6, ipv6(ip).proto, false, false};
  for (unsigned i = 0; is_extension(upper.protocol); ++i) {
    const std::uint8_t* const at = ip + upper.offset;
    const bool fragment = upper.protocol == kProtocolFragment;
    const unsigned own = length < upper.offset + 8 ? 0 : fragment ? 8U : 8U * (at[1] + 1U);
    if (own == 0 || upper.offset + own > length || i == kMaxExtensionHeaders) {
      upper.protocol = kProtocolNone;
      return upper;
    }
    if (fragment) {
      upper.fragment = true;
      upper.later = (load16(at + 2) & 0xfff8) != 0;
    }
    upper.protocol = at[0];
    upper.offset = static_cast<std::uint16_t>(upper.offset + own);
    if (upper.later) return upper;  // what follows is the middle of something
  }
  return upper;
}

std::uint16_t unprotected_length(const std::uint8_t* ip, Family family, std::uint16_t length) noexcept {
  if (family == Family::v4) return ipv4_header_length(ipv4(ip));
  std::uint16_t unprotected = kIpv6;
  unsigned at = kIpv6;
  std::uint8_t header = ipv6(ip).proto;
  for (unsigned i = 0; i < kMaxExtensionHeaders; ++i) {
    if (header != kHopByHop && header != kRouting && header != kDestination) break;
    if (at + 8 > length || at + 8 * (ip[at + 1] + 1U) > length) break;
    const bool hops_read_it = header != kDestination;
    header = ip[at];
    at += 8 * (ip[at + 1] + 1U);
    if (hops_read_it) unprotected = static_cast<std::uint16_t>(at);
  }
  return unprotected;
}

std::uint8_t& next_header_before(std::uint8_t* ip, Family family, std::uint16_t end) noexcept {
  if (family == Family::v4) return ip[9];
  std::uint8_t* field = ip + 6;
  for (unsigned at = kIpv6; at < end;) {
    field = ip + at;
    at += 8 * (ip[at + 1] + 1U);
  }
  return *field;
}

void set_length(std::uint8_t* ip, Family family, std::uint16_t header_length, std::uint16_t length) noexcept {
  if (family == Family::v6) return store16(ip + 4, static_cast<std::uint16_t>(length - kIpv6));
  rte_ipv4_hdr& header = ipv4(ip);
  header.total_length = __builtin_bswap16(length);
  header.hdr_checksum = 0;
  header.hdr_checksum = static_cast<std::uint16_t>(~ipv4_header_sum(ip, header_length / 4U));
}

namespace {

// What tells the flows between two addresses apart. A source that labels its flows has said it (RFC 6438
// section 3), in fragments and behind extension headers, too.
std::uint32_t hash_within(const std::uint8_t* ip, Family family, std::uint16_t length) noexcept {
  const std::uint32_t label = family == Family::v6 ? load32(ip) & 0xfffff : 0;
  if (label != 0) return rte_hash_crc_4byte(label, 0);
  const UpperLayer upper = upper_layer(ip, family, length);
  const bool ports = !upper.fragment && has_ports(upper.protocol) && upper.offset + 4 <= length;
  return ports ? rte_hash_crc_4byte(load<std::uint32_t>(ip + upper.offset), upper.protocol) : upper.protocol;
}

}  // namespace

std::uint32_t flow_hash(const std::uint8_t* ip, Family family, std::uint16_t length) noexcept {
  std::uint32_t hash = hash_within(ip, family, length);
  const unsigned first = family == Family::v4 ? 12 : 8;  // of the two addresses, which lie side by side
  const unsigned end = family == Family::v4 ? 20 : 40;
  for (unsigned at = first; at < end; at += 8) hash = rte_hash_crc_8byte(load<std::uint64_t>(ip + at), hash);
  // A CRC is linear: without the multiplication, neighbouring ports and addresses would cancel each other
  // out.
  return static_cast<std::uint32_t>((hash * 0x9e3779b97f4a7c15ULL) >> 32);
}

void set_ecn(std::uint8_t* ip, Family family, std::uint8_t ecn) noexcept {
  if (family == Family::v6) {
    ip[1] = static_cast<std::uint8_t>((ip[1] & 0xcf) | ecn << 4);
    return;
  }
  rte_ipv4_hdr& header = ipv4(ip);
  const std::uint16_t before = load16(ip);
  const auto after = static_cast<std::uint16_t>((before & 0xfffc) | ecn);
  store16(ip, after);
  header.hdr_checksum =
      __builtin_bswap16(adjust_checksum(__builtin_bswap16(header.hdr_checksum), before, after));
}

namespace {

// Where the MSS value lies in `tcp`, or nullptr. RFC 9293 section 3.2: kind 2, length 4.
std::uint8_t* find_mss(std::uint8_t* tcp, unsigned header_length) noexcept {
  unsigned at = kTcp;
  while (at + 1 < header_length && tcp[at] != 0) {
    if (tcp[at] == 1) {
      ++at;
      continue;
    }
    const unsigned own = tcp[at + 1];
    if (own < 2 || at + own > header_length) return nullptr;
    if (tcp[at] == 2 && own == 4) return tcp + at + 2;
    at += own;
  }
  return nullptr;
}

// The checksum counts 16-bit words from the TCP header on; an option at an odd offset straddles two of them,
// so each byte is accounted for in the half of the word in which it lies.
void replace_in_checksum(std::uint8_t* checksum, bool odd, std::uint16_t before,
                         std::uint16_t after) noexcept {
  if (odd) {
    before = __builtin_bswap16(before);
    after = __builtin_bswap16(after);
  }
  store16(checksum, adjust_checksum(load16(checksum), before, after));
}

}  // namespace

void clamp_mss(std::uint8_t* ip, std::uint16_t length, const UpperLayer& upper, std::uint16_t mss) noexcept {
  if (upper.protocol != kProtocolTcp || upper.later || upper.offset + kTcp > length) return;
  std::uint8_t* const tcp = ip + upper.offset;
  if ((tcp[13] & RTE_TCP_SYN_FLAG) == 0) return;
  const unsigned header_length = (tcp[12] >> 4) * 4U;
  if (header_length < kTcp || upper.offset + header_length > length) return;
  std::uint8_t* const option = find_mss(tcp, header_length);
  if (option == nullptr || load16(option) <= mss) return;
  replace_in_checksum(tcp + 16, (option - tcp) % 2 != 0, load16(option), mss);
  store16(option, mss);
}

}  // namespace espgate::dataplane
