// Frames for the tests, made byte by byte and without the dataplane's own code.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "channel/address.hpp"

namespace espgate::test {

using Octets = std::vector<std::uint8_t>;

inline void put16(Octets& out, std::size_t at, unsigned value) {
  out.at(at) = static_cast<std::uint8_t>(value >> 8);
  out.at(at + 1) = static_cast<std::uint8_t>(value);
}
inline void put32(Octets& out, std::size_t at, std::uint32_t value) {
  put16(out, at, value >> 16);
  put16(out, at + 2, value & 0xffff);
}
inline unsigned get16(const Octets& in, std::size_t at) { return in.at(at) * 256U + in.at(at + 1); }
inline std::uint32_t get32(const Octets& in, std::size_t at) {
  return get16(in, at) << 16 | get16(in, at + 2);
}
inline Octets operator+(Octets a, const Octets& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
inline Octets slice(const Octets& in, std::size_t from, std::size_t length = static_cast<std::size_t>(-1)) {
  const std::size_t end = length > in.size() - from ? in.size() : from + length;
  return {in.begin() + static_cast<std::ptrdiff_t>(from), in.begin() + static_cast<std::ptrdiff_t>(end)};
}

inline unsigned internet_sum(const Octets& in, std::size_t from, std::size_t length, std::uint64_t sum = 0) {
  for (std::size_t i = 0; i < length; ++i) sum += (i % 2 != 0 ? 1U : 256U) * in.at(from + i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<unsigned>(sum);
}

inline Octets v4_bytes(std::string_view text) {
  const IpAddress address = parse_address(text).value();
  return {address.bytes.begin(), address.bytes.begin() + 4};
}
inline Octets v6_bytes(std::string_view text) {
  const IpAddress address = parse_address(text).value();
  return {address.bytes.begin(), address.bytes.end()};
}

inline void fix_ipv4_checksum(Octets& ip) {
  put16(ip, 10, 0);
  put16(ip, 10, ~internet_sum(ip, 0, (ip[0] & 15U) * 4) & 0xffff);
}

struct Ipv4Fields {
  std::string source{"10.1.0.2"};
  std::string destination{"10.2.0.2"};
  unsigned protocol{17};
  unsigned ttl{64};
  unsigned tos{0};
  unsigned fragment{0};  // flags and offset, as on the wire
  Octets options{};      // a multiple of 4 bytes
};
inline Octets ipv4_packet(const Ipv4Fields& fields, const Octets& payload) {
  Octets ip(20);
  ip[0] = static_cast<std::uint8_t>(0x45 + fields.options.size() / 4);
  ip[1] = static_cast<std::uint8_t>(fields.tos);
  put16(ip, 4, 0x1234);
  put16(ip, 6, fields.fragment);
  ip[8] = static_cast<std::uint8_t>(fields.ttl);
  ip[9] = static_cast<std::uint8_t>(fields.protocol);
  ip = slice(ip, 0, 12) + v4_bytes(fields.source) + v4_bytes(fields.destination) + fields.options + payload;
  put16(ip, 2, static_cast<unsigned>(ip.size()));
  fix_ipv4_checksum(ip);
  return ip;
}

// The fragment of an IPv4 packet with payload bytes `from` to `to` (RFC 791 section 3.2). Of the options,
// none is copied into later ones.
inline Octets fragment_of(const Octets& ip, std::size_t from, std::size_t to) {
  const std::size_t own = (ip[0] & 15U) * 4;
  Octets out = slice(ip, 0, from == 0 ? own : 20) + slice(ip, own + from, to - from);
  if (from != 0) out[0] = 0x45;
  put16(out, 2, static_cast<unsigned>(out.size()));
  put16(out, 6, static_cast<unsigned>(from / 8) | (own + to == ip.size() ? 0U : 0x2000U));
  fix_ipv4_checksum(out);
  return out;
}
// All of them, with at most `size` bytes of payload each, a multiple of 8.
inline std::vector<Octets> fragments_of(const Octets& ip, std::size_t size) {
  const std::size_t payload = ip.size() - (ip[0] & 15U) * 4;
  std::vector<Octets> out;
  for (std::size_t from = 0; from < payload; from += size)
    out.push_back(fragment_of(ip, from, from + size < payload ? from + size : payload));
  return out;
}

struct Ipv6Fields {
  std::string source{"2001:db8:1::2"};
  std::string destination{"2001:db8:2::2"};
  unsigned next_header{17};
  unsigned hop_limit{64};
  unsigned traffic_class{0};
};
inline Octets ipv6_packet(const Ipv6Fields& fields, const Octets& payload) {
  Octets ip(8);
  put32(ip, 0, 6U << 28 | fields.traffic_class << 20 | 0x12345);
  put16(ip, 4, static_cast<unsigned>(payload.size()));
  ip[6] = static_cast<std::uint8_t>(fields.next_header);
  ip[7] = static_cast<std::uint8_t>(fields.hop_limit);
  return ip + v6_bytes(fields.source) + v6_bytes(fields.destination) + payload;
}

inline Octets udp(unsigned source, unsigned destination, const Octets& payload) {
  Octets out(8);
  put16(out, 0, source);
  put16(out, 2, destination);
  put16(out, 4, static_cast<unsigned>(8 + payload.size()));
  return out + payload;
}

// `length` bytes that differ from place to place.
inline Octets filling(std::size_t length) {
  Octets out(length);
  for (std::size_t i = 0; i < length; ++i) out[i] = static_cast<std::uint8_t>(i * 7 + i / 256 + 1);
  return out;
}

// The frame with a VLAN tag (IEEE 802.1Q) behind its addresses; `control`: the VLAN and the priority bits.
inline Octets with_tag(const Octets& frame, unsigned control, unsigned type = 0x8100) {
  Octets tag(4);
  put16(tag, 0, type);
  put16(tag, 2, control);
  return slice(frame, 0, 12) + tag + slice(frame, 12);
}

using Mac = std::array<std::uint8_t, 6>;
inline Octets ethernet(const Mac& to, unsigned type, const Octets& payload) {
  Octets out(to.begin(), to.end());
  out = out + Octets{2, 0, 0, 0, 0, 0x77, 0, 0};
  put16(out, 12, type);
  return out + payload;
}

}  // namespace espgate::test
