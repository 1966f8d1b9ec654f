// A route of the kernel, out of a message of rtnetlink.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "channel/address.hpp"

struct nlmsghdr;

namespace espgate::dataplane {

struct KernelHop {
  int interface { 0 };      // the kernel's number of it
  IpAddress gateway;        // unset: what the route leads to is on the interface's link
  std::uint16_t weight{1};  // 1..256
  bool usable{true};        // it is not down, and nothing is put around packets (RTA_ENCAP)
  bool operator==(const KernelHop&) const noexcept = default;
};

struct KernelRoute {
  IpPrefix to;
  std::uint32_t table{0};
  std::uint32_t metric{0};      // the lower wins
  std::uint8_t protocol{0};     // who put it there (RTPROT_...)
  std::uint8_t type{0};         // RTN_...
  bool by_object{false};        // its next hops are a next-hop object's
  std::vector<KernelHop> hops;  // of RTN_UNICAST; none: it leads nowhere
};

// Also of a kind that has no meaning here, since it may take the place of another. nullopt: it is no message
// about a route, or about one that stands beside those of which we know (cached ones, those of a type of
// service or of a source). Main thread only.
[[nodiscard]] std::optional<KernelRoute> read_route(nlmsghdr& message);
// What it leads to is dropped, in silence or not.
[[nodiscard]] bool is_blackhole(const KernelRoute& route) noexcept;

}  // namespace espgate::dataplane
