#include "dataplane/kernel/own_routes.hpp"

#include <fmt/format.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <stdexcept>

namespace espgate::dataplane {

namespace {

struct FreeMessage {
  void operator()(nl_msg* message) const noexcept { nlmsg_free(message); }
};
using Message = std::unique_ptr<nl_msg, FreeMessage>;

int family_of(const IpAddress& address) noexcept { return address.is_v4() ? AF_INET : AF_INET6; }
int length_of(const IpAddress& address) noexcept { return address.is_v4() ? 4 : 16; }

// The kernel asks nobody whether a gateway is on the twin's network: we have looked.
unsigned char flags_of(const KernelHop& hop) noexcept { return hop.gateway.is_set() ? RTNH_F_ONLINK : 0; }

void put_gateway(nl_msg* message, const KernelHop& hop) {
  if (hop.gateway.is_set()) nla_put(message, RTA_GATEWAY, length_of(hop.gateway), hop.gateway.bytes.data());
}

void put_hops(nl_msg* message, const std::vector<KernelHop>& hops) {
  if (hops.size() == 1) {
    nla_put_u32(message, RTA_OIF, static_cast<std::uint32_t>(hops[0].interface));
    return put_gateway(message, hops[0]);
  }
  nlattr* const all = nla_nest_start(message, RTA_MULTIPATH);
  for (const KernelHop& hop : hops) {
    auto* const next = static_cast<rtnexthop*>(nlmsg_reserve(message, sizeof(rtnexthop), NLMSG_ALIGNTO));
    next->rtnh_flags = flags_of(hop);
    next->rtnh_hops = static_cast<unsigned char>(hop.weight - 1);  // the kernel counts weights from 0
    next->rtnh_ifindex = hop.interface;
    put_gateway(message, hop);
    next->rtnh_len = static_cast<unsigned short>(static_cast<char*>(nlmsg_tail(nlmsg_hdr(message))) -
                                                 reinterpret_cast<char*>(next));
  }
  nla_nest_end(message, all);
}

Message make_message(int type, int flags, const KernelRoute& route) {
  Message message(nlmsg_alloc_simple(type, flags));
  if (!message) throw std::bad_alloc();
  rtmsg head{};
  head.rtm_family = static_cast<unsigned char>(family_of(route.to.address));
  head.rtm_dst_len = route.to.length;
  head.rtm_table = RT_TABLE_MAIN;
  head.rtm_protocol = OwnRoutes::kProtocol;
  head.rtm_scope = type == RTM_DELROUTE ? RT_SCOPE_NOWHERE : RT_SCOPE_UNIVERSE;
  head.rtm_type = type == RTM_DELROUTE ? RTN_UNSPEC : route.hops.empty() ? RTN_BLACKHOLE : RTN_UNICAST;
  if (route.hops.size() == 1) head.rtm_flags = flags_of(route.hops[0]);
  nlmsg_append(message.get(), &head, sizeof head, NLMSG_ALIGNTO);
  nla_put(message.get(), RTA_DST, length_of(route.to.address), route.to.address.bytes.data());
  nla_put_u32(message.get(), RTA_PRIORITY, OwnRoutes::kMetric);
  if (!route.hops.empty()) put_hops(message.get(), route.hops);
  return message;
}

}  // namespace

OwnRoutes::OwnRoutes() : socket_(nl_socket_alloc()) {
  if (socket_ == nullptr) throw std::bad_alloc();
  nl_socket_disable_seq_check(socket_);
  nl_socket_disable_auto_ack(socket_);  // only of what it does not do the kernel tells us
  int result = nl_connect(socket_, NETLINK_ROUTE);
  if (result >= 0) result = nl_socket_set_nonblocking(socket_);
  if (result < 0) {
    nl_socket_free(socket_);
    throw std::runtime_error(fmt::format("netlink: {}", nl_geterror(result)));
  }
  // The kernel chooses by protocol and table what it tells.
  const int on = 1;
  setsockopt(nl_socket_get_fd(socket_), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
  ask(AF_INET);
}

OwnRoutes::~OwnRoutes() { nl_socket_free(socket_); }

void OwnRoutes::ask(int family) {
  asked_ = family;
  rtmsg wanted{};
  wanted.rtm_family = static_cast<unsigned char>(family);
  wanted.rtm_table = RT_TABLE_MAIN;
  wanted.rtm_protocol = kProtocol;
  nl_send_simple(socket_, RTM_GETROUTE, NLM_F_DUMP, &wanted, sizeof wanted);
}

bool OwnRoutes::find(const Take& take) {
  sockaddr_nl from{};
  unsigned char* buffer = nullptr;
  int left = nl_recv(socket_, &from, &buffer, nullptr);
  const std::unique_ptr<unsigned char, decltype(&std::free)> kept(buffer, &std::free);
  bool ended = left <= 0;
  for (auto* message = reinterpret_cast<nlmsghdr*>(buffer); left > 0 && nlmsg_ok(message, left);
       message = nlmsg_next(message, &left)) {
    ended = ended || message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR;
    const std::optional<KernelRoute> route = read_route(*message);
    if (!route || route->table != RT_TABLE_MAIN || route->protocol != kProtocol) continue;
    if (route->metric == kMetric && (!route->hops.empty() || is_blackhole(*route))) take(*route);
  }
  if (!ended) return true;
  if (asked_ == AF_INET6) return false;
  ask(AF_INET6);
  return true;
}

int OwnRoutes::add(const KernelRoute& route) const {
  return send(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, route);
}

int OwnRoutes::replace(const KernelRoute& route) const {
  return send(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, route);
}

int OwnRoutes::remove(const IpPrefix& to) const {
  KernelRoute route;
  route.to = to;
  return send(RTM_DELROUTE, 0, route);
}

// The kernel has done it, or has said why not, when the message is sent.
int OwnRoutes::send(int type, int flags, const KernelRoute& route) const {
  const Message message = make_message(type, flags, route);
  if (nl_send_auto(socket_, message.get()) < 0) return errno != 0 ? errno : EIO;
  struct {
    nlmsghdr head;
    nlmsgerr error;
  } answer{};
  const ssize_t length = recv(nl_socket_get_fd(socket_), &answer, sizeof answer, MSG_DONTWAIT);
  const bool refused = length >= static_cast<ssize_t>(sizeof answer) && answer.head.nlmsg_type == NLMSG_ERROR;
  return refused ? -answer.error.error : 0;
}

}  // namespace espgate::dataplane
