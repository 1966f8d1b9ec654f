#include "dataplane/kernel/route_message.hpp"

#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>

#include <algorithm>
#include <array>

namespace espgate::dataplane {

namespace {

using Attributes = std::array<nlattr*, RTA_MAX + 1>;

std::uint32_t number_of(const nlattr* from, std::uint32_t otherwise) noexcept {
  return from != nullptr && nla_len(from) >= 4 ? nla_get_u32(from) : otherwise;
}

IpAddress address_of(const nlattr* from, int family) noexcept {
  IpAddress address;
  const int length = family == AF_INET ? 4 : 16;
  if (from == nullptr || nla_len(from) < length) return address;
  address.family = family == AF_INET ? Family::v4 : Family::v6;
  std::copy_n(static_cast<const std::uint8_t*>(nla_data(from)), length, address.bytes.begin());
  return address;
}

// RTA_DST is not there in a default route.
std::optional<IpPrefix> destination_of(const rtmsg& head, const Attributes& all) noexcept {
  IpPrefix to;
  to.address = address_of(all[RTA_DST], head.rtm_family);
  to.address.family = head.rtm_family == AF_INET ? Family::v4 : Family::v6;
  to.length = head.rtm_dst_len;
  return is_valid(to) ? std::optional(network_of(to)) : std::nullopt;
}

// One through a gateway of the other family (RTA_VIA) leads nowhere here, unless the interface is all there
// is to know.
KernelHop hop_of(int interface, unsigned flags, const Attributes& all, int family) noexcept {
  KernelHop hop{interface, address_of(all[RTA_GATEWAY], family)};
  hop.usable = (flags & RTNH_F_DEAD) == 0 && all[RTA_ENCAP] == nullptr && all[RTA_ENCAP_TYPE] == nullptr;
  return hop;
}

// False: what the message says of lengths can't be.
bool add_hops(const nlattr* from, int family, std::vector<KernelHop>& hops) {
  auto* bytes = static_cast<std::uint8_t*>(nla_data(from));
  constexpr int kLeast = sizeof(rtnexthop);
  for (int left = nla_len(from); left >= kLeast;) {
    auto* const next = reinterpret_cast<rtnexthop*>(bytes);
    const int length = RTNH_ALIGN(next->rtnh_len);
    if (next->rtnh_len < kLeast || length > left) return false;
    Attributes all{};
    if (nla_parse(all.data(), RTA_MAX, reinterpret_cast<nlattr*>(bytes + kLeast), next->rtnh_len - kLeast,
                  nullptr) < 0)
      return false;
    KernelHop hop = hop_of(next->rtnh_ifindex, next->rtnh_flags, all, family);
    hop.weight = static_cast<std::uint16_t>(next->rtnh_hops + 1);  // the kernel counts from 0
    hops.push_back(hop);
    bytes += length;
    left -= length;
  }
  return true;
}

// Those of a type of service, or of a source, stand beside the others.
bool is_meant(const rtmsg& head) noexcept {
  const bool known = head.rtm_family == AF_INET || head.rtm_family == AF_INET6;
  return known && (head.rtm_flags & RTM_F_CLONED) == 0 && head.rtm_tos == 0 && head.rtm_src_len == 0;
}

}  // namespace

std::optional<KernelRoute> read_route(nlmsghdr& message) {
  if (message.nlmsg_type != RTM_NEWROUTE && message.nlmsg_type != RTM_DELROUTE) return std::nullopt;
  Attributes all{};
  if (nlmsg_parse(&message, sizeof(rtmsg), all.data(), RTA_MAX, nullptr) < 0) return std::nullopt;
  const auto& head = *static_cast<const rtmsg*>(nlmsg_data(&message));
  if (!is_meant(head)) return std::nullopt;
  const std::optional<IpPrefix> to = destination_of(head, all);
  if (!to) return std::nullopt;
  KernelRoute out{.to = *to,
                  .table = number_of(all[RTA_TABLE], head.rtm_table),
                  .metric = number_of(all[RTA_PRIORITY], 0),
                  .protocol = head.rtm_protocol,
                  .type = head.rtm_type,
                  .by_object = all[RTA_NH_ID] != nullptr,
                  .hops = {}};
  if (out.type != RTN_UNICAST) return out;
  if (all[RTA_MULTIPATH] != nullptr)
    return add_hops(all[RTA_MULTIPATH], head.rtm_family, out.hops) ? std::optional(out) : std::nullopt;
  const auto interface = static_cast<int>(number_of(all[RTA_OIF], 0));
  if (interface != 0) out.hops.push_back(hop_of(interface, head.rtm_flags, all, head.rtm_family));
  return out;
}

bool is_blackhole(const KernelRoute& route) noexcept {
  return route.type == RTN_BLACKHOLE || route.type == RTN_UNREACHABLE || route.type == RTN_PROHIBIT;
}

}  // namespace espgate::dataplane
