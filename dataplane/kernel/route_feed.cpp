#include "dataplane/kernel/route_feed.hpp"

#include <fmt/format.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <sys/socket.h>
#include <time.h>

#include <cstdlib>
#include <memory>
#include <stdexcept>

namespace espgate::dataplane {

namespace {

// 100,000 changes that come at once are some 12 MiB there; the kernel's sysctl may not allow that, but root
// may.
constexpr int kRoom = 64 << 20;
constexpr std::size_t kMessages = 64 << 10;

std::uint64_t monotonic_ns() noexcept {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

// Next hops of one IPv6 route may come one by one; the first comes as exclusive, or replaces others.
bool is_one_more(const nlmsghdr& message, const KernelRoute& route) noexcept {
  if ((message.nlmsg_flags & NLM_F_APPEND) != 0) return true;
  return route.to.address.is_v6() && (message.nlmsg_flags & (NLM_F_REPLACE | NLM_F_EXCL)) == 0;
}

// Its carrier changes with its tunnel; without it, next-hop objects are lost, but not routes that have next
// hops of their own.
bool may_take_routes(nlmsghdr& message, bool objects) noexcept {
  if (!nlmsg_valid_hdr(&message, sizeof(ifinfomsg))) return false;
  const auto& link = *static_cast<const ifinfomsg*>(nlmsg_data(&message));
  return (link.ifi_change & IFF_UP) != 0 || (objects && (link.ifi_flags & IFF_RUNNING) == 0);
}

nl_sock* open_socket() {
  nl_sock* const socket = nl_socket_alloc();
  if (socket == nullptr) throw std::bad_alloc();
  nl_socket_disable_seq_check(socket);
  int result = nl_connect(socket, NETLINK_ROUTE);
  if (result >= 0) result = nl_socket_set_nonblocking(socket);
  if (result >= 0) result = nl_socket_set_msg_buf_size(socket, kMessages);
  if (result < 0) {
    nl_socket_free(socket);
    throw std::runtime_error(fmt::format("netlink: {}", nl_geterror(result)));
  }
  return socket;
}

}  // namespace

RouteFeed::RouteFeed() : changes_(open_socket()), answers_(nullptr) {
  try {
    answers_ = open_socket();
  } catch (...) {
    nl_socket_free(changes_);
    throw;
  }
  setsockopt(nl_socket_get_fd(changes_), SOL_SOCKET, SO_RCVBUFFORCE, &kRoom, sizeof kRoom);
  nl_socket_add_memberships(changes_, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_LINK, RTNLGRP_NEXTHOP,
                            RTNLGRP_IPV4_IFADDR, 0);
}

RouteFeed::~RouteFeed() {
  nl_socket_free(changes_);
  nl_socket_free(answers_);
}

int RouteFeed::wake_fd() const noexcept { return nl_socket_get_fd(changes_); }

void RouteFeed::ask(int family) {
  rtmsg all{};
  all.rtm_family = static_cast<unsigned char>(family);
  nl_send_simple(answers_, RTM_GETROUTE, NLM_F_DUMP, &all, sizeof all);
}

bool RouteFeed::serve(std::uint64_t now, std::uint64_t budget, const Take& take) {
  if (stage_ == Stage::changes && wanted_ && !stale_ && now - begun_ns_ >= kPause) {
    wanted_ = false;
    interrupted_ = false;
    begun_ns_ = now;
    stage_ = Stage::all4;
    take(Word::begin, {});
    ask(AF_INET);
  }
  // Changes that come meanwhile wait: they are newer than what is told of all.
  const std::uint64_t until = monotonic_ns() + budget;
  bool more = true;
  while (more && monotonic_ns() < until) more = read(stage_ == Stage::changes ? changes_ : answers_, take);
  return more || stage_ != Stage::changes;
}

// One datagram. False: there is none now.
bool RouteFeed::read(nl_sock* socket, const Take& take) {
  sockaddr_nl from{};
  unsigned char* buffer = nullptr;
  const int length = nl_recv(socket, &from, &buffer, nullptr);
  const std::unique_ptr<unsigned char, decltype(&std::free)> kept(buffer, &std::free);
  if (length == -NLE_AGAIN || length == 0) {
    if (socket == changes_) stale_ = false;
    return false;
  }
  if (length < 0) {  // ENOBUFS: the kernel had no room to say more, and says nothing until all is read
    overruns_++;
    wanted_ = true;
    stale_ = socket == changes_;
    if (stage_ != Stage::changes) next_stage(take);
    return true;
  }
  if (stale_ && socket == changes_) return true;
  if (from.nl_pid != 0) return true;  // anybody may send us datagrams; only the kernel knows its routes
  int left = length;
  for (auto* message = reinterpret_cast<nlmsghdr*>(buffer); nlmsg_ok(message, left);
       message = nlmsg_next(message, &left))
    handle(*message, take);
  return true;
}

void RouteFeed::handle(nlmsghdr& message, const Take& take) {
  if ((message.nlmsg_flags & NLM_F_DUMP_INTR) != 0) interrupted_ = true;
  switch (message.nlmsg_type) {
    case NLMSG_DONE:
    case NLMSG_ERROR:
      return next_stage(take);
    case RTM_NEWROUTE:
    case RTM_DELROUTE: {
      objects_ = objects_ || nlmsg_find_attr(&message, sizeof(rtmsg), RTA_NH_ID) != nullptr;
      const std::optional<KernelRoute> route = read_route(message);
      if (!route) return;
      if (message.nlmsg_type == RTM_DELROUTE) return take(Word::remove, *route);
      return take(stage_ == Stage::changes && is_one_more(message, *route) ? Word::append : Word::set,
                  *route);
    }
    case RTM_NEWLINK:
      if (!may_take_routes(message, objects_)) return;
      [[fallthrough]];
    case RTM_DELLINK:
    case RTM_DELADDR:
    case RTM_DELNEXTHOP:
    case RTM_NEWNEXTHOP:
      // IPv4 routes, and next hops of both families, go without a word of their own with an interface, an
      // address or a next-hop object; and next hops come back so.
      wanted_ = true;
      return;
    default:
      return;
  }
}

void RouteFeed::next_stage(const Take& take) {
  if (stage_ == Stage::all4) {
    stage_ = Stage::all6;
    return ask(AF_INET6);
  }
  if (stage_ != Stage::all6) return;
  stage_ = Stage::changes;
  // What was not told may yet be there.
  if (interrupted_)
    wanted_ = true;
  else
    take(Word::end, {});
}

}  // namespace espgate::dataplane
