// Any bytes as a message about a route, which libnl parses and we make sense of. The first byte says which.
#include <linux/rtnetlink.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "dataplane/kernel/route_message.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace espgate;
  if (size == 0) return 0;
  std::vector<std::uint8_t> bytes(NLMSG_HDRLEN + size - 1);
  nlmsghdr header{};
  header.nlmsg_len = static_cast<std::uint32_t>(bytes.size());
  header.nlmsg_type = data[0] % 2 == 0 ? RTM_NEWROUTE : RTM_DELROUTE;
  std::memcpy(bytes.data(), &header, sizeof header);
  std::memcpy(bytes.data() + NLMSG_HDRLEN, data + 1, size - 1);
  const auto route = dataplane::read_route(*reinterpret_cast<nlmsghdr*>(bytes.data()));
  if (!route) return 0;
  if (!is_valid(route->to) || network_of(route->to) != route->to) __builtin_trap();
  for (const dataplane::KernelHop& hop : route->hops)
    if (hop.weight == 0 || (hop.gateway.is_set() && hop.gateway.family != route->to.address.family))
      __builtin_trap();
  return 0;
}
