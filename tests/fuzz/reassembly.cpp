// Reassembly of outer packets: a sequence of fragments, four bytes of input each. What is put together must
// be a sound packet with the bytes that belong where they lie, and when the time is over nothing waits.
#include <cstdlib>

#include "tests/dataplane/host/desk.hpp"

using namespace espgate;
using namespace espgate::test;
using dataplane::Reassembly;

namespace {

void must(bool good) {
  if (!good) __builtin_trap();
}

// Of a packet's payload each byte is known by its place, so that fragments of any cut fit each other. The
// first twelve say UDP from port 500 to 500.
std::uint8_t payload_at(std::size_t place) {
  static const Octets front = udp(500, 500, Octets(4));
  return place < front.size() ? front[place] : static_cast<std::uint8_t>(place * 7 + place / 256);
}

// Bytes 0: source and family, protocol, identification, whether more follow, and the time before it; 1:
// offset; 2 and 3: length, options, congestion.
Octets fragment6_from(const std::uint8_t* in, const Octets& payload, unsigned offset, bool more) {
  Octets header(8);
  header[0] = (in[0] & 4) != 0 ? 50 : 17;
  put16(header, 2, (offset << 3 & 0xffffU) | (more ? 1U : 0U));
  header[7] = in[0] >> 3 & 1;
  return ipv6_packet({.source = "fd00:1::" + std::to_string(2 + (in[0] & 1)),
                      .destination = "fd00:1::1",
                      .next_header = 44,
                      .traffic_class = unsigned{in[3]} >> 6},
                     header + payload);
}

Octets fragment_from(const std::uint8_t* in) {
  const bool more = (in[0] & 0x10) != 0;
  const unsigned offset = in[1] < 0xf0 ? in[1] : in[1] * 32U + (in[3] >> 3);
  const unsigned length = in[2] * 8U + (in[3] & 7U);
  Octets payload(length);
  for (unsigned i = 0; i < length; i++) payload[i] = payload_at(offset * 8U + i);
  if ((in[0] & 2) != 0) return fragment6_from(in, payload, offset, more);
  Octets ip = ipv4_packet({.source = "192.0.2." + std::to_string(2 + (in[0] & 3)),
                           .destination = "192.0.2.1",
                           .protocol = (in[0] & 4) != 0 ? 50U : 17U,
                           .tos = unsigned{in[3]} >> 6,
                           .fragment = offset | (more ? 0x2000U : 0U),
                           .options = (in[3] & 0x20) != 0 ? Octets{1, 1, 1, 0} : Octets{}},
                          payload);
  put16(ip, 4, (in[0] >> 3) & 1);
  fix_ipv4_checksum(ip);
  return ip;
}

bool is_fragment(const Octets& ip) {
  return ip.at(0) >> 4 == 6 ? ip.at(6) == 44 : (get16(ip, 6) & 0x3fff) != 0;
}

void check6(const Octets& ip) {
  must(get16(ip, 4) == ip.size() - 40 && !is_fragment(ip));
  for (std::size_t i = 40; i < ip.size(); i++) must(ip[i] == payload_at(i - 40));
}

void check(const Octets& ip) {
  if (ip.at(0) >> 4 == 6) return check6(ip);
  const std::size_t own = (ip.at(0) & 15U) * 4;
  must(get16(ip, 2) == ip.size() && !is_fragment(ip) && internet_sum(ip, 0, own) == 0xffff);
  for (std::size_t i = own; i < ip.size(); i++) must(ip[i] == payload_at(i - own));
}

void check_results(Desk& desk) {
  for (const Sent& sent : desk.sent())
    if (sent.errand == Errand::decrypt) check(sent.data);
  void* object = nullptr;
  while (rte_ring_dequeue(desk.workers[0]->ike, &object) == 0) {
    auto* const packet = static_cast<rte_mbuf*>(object);
    Octets whole;
    for (const rte_mbuf* piece = packet; piece != nullptr; piece = piece->next) {
      const auto* data = rte_pktmbuf_mtod(piece, const std::uint8_t*);
      whole.insert(whole.end(), data, data + piece->data_len);
    }
    check(whole);
    desk.ike.receive({&packet, 1}, desk.now);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Desk* const desk = [] {
    auto* const made = new Desk;
    made->peers.add(kMainTable, *parse_address("192.0.2.2"));
    return made;
  }();
  const Reassembly& reassembly = desk->slow_path.reassembly();
  for (std::size_t at = 0; at + 4 <= size && at < 4000; at += 4) {
    desk->now += (data[at] >> 5) * (Reassembly::kTimeoutNs / 16);
    if (data[at] >= 0xe0) desk->slow_path.advance(desk->now);
    const Octets ip = fragment_from(data + at);
    if (is_fragment(ip) && ip.size() <= 1920) desk->raise(Exception::to_host, ip, kWan);
    check_results(*desk);
    must(reassembly.waiting() <= reassembly.room());
  }
  desk->now += Reassembly::kTimeoutNs + 1;
  desk->slow_path.advance(desk->now);
  must(reassembly.waiting() == 0 && desk->buffers_out() == 0);
  desk->control.datagrams.clear();
  desk->control.waiting = 0;
  return 0;
}
