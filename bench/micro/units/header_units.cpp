#include "bench/micro/units/meter.hpp"
#include "bench/micro/units/packets.hpp"
#include "dataplane/path/headers.hpp"

namespace espgate::bench {

using namespace dataplane;

namespace {

// `call` of each packet of a burst.
template <class Call>
Unit each(const char* name, Writer write, Call call) {
  return {name, [=](const Meter& meter) {
            Packets packets(write);
            return meter.repeat(kBurst, [&] {
              for (unsigned i = 0; i < kBurst; ++i) keep(call(packets.ip(i), packets.length(i)));
            });
          }};
}

std::uint32_t hash4(const std::uint8_t* ip, std::uint16_t length) {
  return flow_hash(ip, Family::v4, length);
}
std::uint32_t hash6(const std::uint8_t* ip, std::uint16_t length) {
  return flow_hash(ip, Family::v6, length);
}

const std::uint8_t* spend_hop(std::uint8_t* ip, std::uint16_t) {
  decrement_hop_limit(ip, Family::v4);
  return ip;
}

const std::uint8_t* mark_congestion(std::uint8_t* ip, std::uint16_t) {
  set_ecn(ip, Family::v4, 3);
  return ip;
}

const std::uint8_t* look_for_mss(std::uint8_t* ip, std::uint16_t length) {
  clamp_mss(ip, length, upper_layer4(ip), 1360);
  return ip;
}

// A SYN is changed only when its MSS is larger, so every time it is lowered a little more.
Figure lower_mss(const Meter& meter) {
  constexpr unsigned kTimes = 100;
  constexpr std::uint16_t kLargest = 65535;
  Packets packets(tcp4_syn);
  const Figure figure =
      meter.after([&] { packets.write(); }, kTimes * kBurst,
                  [&] {
                    for (unsigned lower = 1; lower <= kTimes; ++lower)
                      for (unsigned i = 0; i < kBurst; ++i)
                        clamp_mss(packets.ip(i), packets.length(i), upper_layer4(packets.ip(i)),
                                  static_cast<std::uint16_t>(kLargest - lower));
                  });
  require(load16(packets.ip(0) + kIpv4 + kTcp + 2) == kLargest - kTimes, "the MSS was not lowered");
  return figure;
}

}  // namespace

Units header_units() {
  return {each("checked_ipv4", udp4, checked_ipv4),
          each("checked_ipv4, with options", udp4_with_options, checked_ipv4),
          each("checked_ipv6", udp6, checked_ipv6),
          each("upper_layer6", udp6, upper_layer6),
          each("upper_layer6, behind 2 extension headers", udp6_extended, upper_layer6),
          each("flow_hash, IPv4", udp4, hash4),
          each("flow_hash, IPv6", udp6, hash6),
          each("flow_hash, IPv6, behind 2 extension headers", udp6_extended, hash6),
          each("decrement_hop_limit, IPv4", udp4, spend_hop),
          each("set_ecn, IPv4", udp4, mark_congestion),
          each("clamp_mss, no SYN", tcp4, look_for_mss),
          {"clamp_mss, SYN whose MSS is lowered", lower_mss}};
}

}  // namespace espgate::bench
