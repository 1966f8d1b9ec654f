#include "dataplane/kernel/route_message.hpp"

#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>

#include <algorithm>
#include <memory>

namespace espgate::dataplane {

namespace {

struct PutRoute {
  void operator()(rtnl_route* route) const noexcept { rtnl_route_put(route); }
};

IpAddress address_of(nl_addr* from, int family) noexcept {
  IpAddress address;
  if (from == nullptr || nl_addr_get_family(from) != family) return address;
  address.family = family == AF_INET ? Family::v4 : Family::v6;
  const unsigned length = address.is_v4() ? 4 : 16;
  const auto* const bytes = static_cast<const std::uint8_t*>(nl_addr_get_binary_addr(from));
  std::copy_n(bytes, std::min(nl_addr_get_len(from), length), address.bytes.begin());
  return address;
}

// Its network; RTA_DST is not there in a default route.
std::optional<IpPrefix> destination_of_route(rtnl_route* route, int family) noexcept {
  IpPrefix to;
  nl_addr* const destination = rtnl_route_get_dst(route);
  if (destination != nullptr && nl_addr_get_len(destination) > 0) {
    to.address = address_of(destination, family);
    to.length = static_cast<std::uint8_t>(std::min(nl_addr_get_prefixlen(destination), 255U));
  }
  to.address.family = family == AF_INET ? Family::v4 : Family::v6;
  return is_valid(to) ? std::optional(network_of(to)) : std::nullopt;
}

// One through a gateway of the other family (RTA_VIA) leads nowhere here, unless the interface is all there
// is to know.
void add_hops(rtnl_route* route, int family, std::vector<KernelHop>& hops) {
  for (int i = 0; i < rtnl_route_get_nnexthops(route); i++) {
    rtnl_nexthop* const hop = rtnl_route_nexthop_n(route, i);
    if ((rtnl_route_nh_get_flags(hop) & RTNH_F_DEAD) != 0) continue;
    // The kernel counts weights from 0.
    const int weight = rtnl_route_nh_get_weight(hop) + 1;
    hops.push_back({rtnl_route_nh_get_ifindex(hop), address_of(rtnl_route_nh_get_gateway(hop), family),
                    static_cast<std::uint16_t>(weight)});
  }
}

bool are_sound(const nlattr* first, int left) noexcept;

// libnl believes what a message says of lengths: of next hops that have none it finds one after the other.
bool is_sound_multipath(const nlattr* hops) noexcept {
  int left = nla_len(hops);
  const auto* bytes = static_cast<const std::uint8_t*>(nla_data(hops));
  constexpr int kLeast = sizeof(rtnexthop);
  while (left >= kLeast) {
    const auto* const hop = reinterpret_cast<const rtnexthop*>(bytes);
    const int length = RTNH_ALIGN(hop->rtnh_len);
    if (hop->rtnh_len < kLeast || length > left) return false;
    if (!are_sound(reinterpret_cast<const nlattr*>(bytes + kLeast), hop->rtnh_len - kLeast)) return false;
    bytes += length;
    left -= length;
  }
  return true;
}

// Routes that put something around packets (RTA_ENCAP) lead nowhere here.
bool are_sound(const nlattr* first, int left) noexcept {
  for (const nlattr* each = first; nla_ok(each, left); each = nla_next(each, &left)) switch (nla_type(each)) {
      case RTA_MULTIPATH:
        if (!is_sound_multipath(each)) return false;
        break;
      case RTA_VIA:
        if (nla_len(each) < static_cast<int>(sizeof(rtvia))) return false;
        break;
      case RTA_ENCAP:
      case RTA_ENCAP_TYPE:
        return false;
      default:
        break;
    }
  return true;
}

bool is_sound(nlmsghdr& message) noexcept {
  return nlmsg_valid_hdr(&message, sizeof(rtmsg)) != 0 &&
         are_sound(nlmsg_attrdata(&message, sizeof(rtmsg)), nlmsg_attrlen(&message, sizeof(rtmsg)));
}

bool is_somebodys(rtnl_route* route) noexcept {
  const std::uint8_t protocol = rtnl_route_get_protocol(route);
  const bool own = protocol == RTPROT_KERNEL || protocol == RTPROT_REDIRECT || protocol == RTPROT_UNSPEC;
  return !own && (rtnl_route_get_flags(route) & RTM_F_CLONED) == 0 && rtnl_route_get_tos(route) == 0;
}

}  // namespace

std::optional<KernelRoute> read_route(nlmsghdr& message) {
  if (message.nlmsg_type != RTM_NEWROUTE && message.nlmsg_type != RTM_DELROUTE) return std::nullopt;
  if (!is_sound(message)) return std::nullopt;
  rtnl_route* parsed = nullptr;
  if (rtnl_route_parse(&message, &parsed) < 0) return std::nullopt;
  const std::unique_ptr<rtnl_route, PutRoute> route(parsed);
  const int family = rtnl_route_get_family(parsed);
  if ((family != AF_INET && family != AF_INET6) || !is_somebodys(parsed)) return std::nullopt;
  const std::optional<IpPrefix> to = destination_of_route(parsed, family);
  if (!to) return std::nullopt;
  KernelRoute out{.to = *to,
                  .table = rtnl_route_get_table(parsed),
                  .metric = rtnl_route_get_priority(parsed),
                  .protocol = rtnl_route_get_protocol(parsed),
                  .blackhole = false,
                  .hops = {}};
  switch (rtnl_route_get_type(parsed)) {
    case RTN_UNICAST:
      add_hops(parsed, family, out.hops);
      return out;
    case RTN_BLACKHOLE:
    case RTN_UNREACHABLE:
    case RTN_PROHIBIT:
      out.blackhole = true;
      return out;
    default:
      return std::nullopt;
  }
}

}  // namespace espgate::dataplane
