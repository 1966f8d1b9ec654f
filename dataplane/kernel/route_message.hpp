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
  bool operator==(const KernelHop&) const noexcept = default;
};

struct KernelRoute {
  IpPrefix to;
  std::uint32_t table{0};
  std::uint32_t metric{0};   // the lower wins
  std::uint8_t protocol{0};  // who put it there (RTPROT_...)
  bool blackhole{false};     // what it leads to is dropped, in silence or not
  std::vector<KernelHop> hops;
};

// nullopt: it is no message about a route, or about one that nobody put there (the kernel's own local and
// connected routes, redirects, cached ones), or about one of a kind that has no meaning here. Main thread
// only.
[[nodiscard]] std::optional<KernelRoute> read_route(nlmsghdr& message);

}  // namespace espgate::dataplane
