#include "dataplane/kernel/route_feed.hpp"

#include <fmt/format.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <sys/socket.h>
#include <time.h>

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "dataplane/log.hpp"

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

RouteFeed::Word word_of(const nlmsghdr& message, const KernelRoute& route) noexcept {
  const auto has = [&](unsigned flag) { return (message.nlmsg_flags & flag) != 0; };
  if (message.nlmsg_type == RTM_DELROUTE) return RouteFeed::Word::remove;
  if (has(NLM_F_REPLACE)) return RouteFeed::Word::replace;
  if (has(NLM_F_EXCL)) return RouteFeed::Word::only;
  const bool last = has(NLM_F_APPEND) || route.to.address.is_v6();
  return last ? RouteFeed::Word::append : RouteFeed::Word::prepend;
}

// Its carrier changes with its tunnel; without it, next-hop objects are lost, but not routes that have next
// hops of their own.
bool may_take_routes(nlmsghdr& message, bool objects) noexcept {
  if (!nlmsg_valid_hdr(&message, sizeof(ifinfomsg))) return false;
  const auto& link = *static_cast<const ifinfomsg*>(nlmsg_data(&message));
  return (link.ifi_change & IFF_UP) != 0 || (objects && (link.ifi_flags & IFF_RUNNING) == 0);
}

// What the kernel has to say at a request's end: 0, or an errno.
int error_of(nlmsghdr& end) noexcept {
  int error = 0;
  if (nlmsg_datalen(&end) >= static_cast<int>(sizeof error))
    std::memcpy(&error, nlmsg_data(&end), sizeof error);
  return std::abs(error);
}

}  // namespace

void RouteFeed::Close::operator()(nl_sock* socket) const noexcept { nl_socket_free(socket); }

RouteFeed::Socket RouteFeed::open() const {
  const Space::Visit visit(space_);
  Socket socket(nl_socket_alloc());
  if (!socket) throw std::bad_alloc();
  nl_socket_disable_seq_check(socket.get());
  int result = nl_connect(socket.get(), NETLINK_ROUTE);
  if (result >= 0) result = nl_socket_set_nonblocking(socket.get());
  if (result >= 0) result = nl_socket_set_msg_buf_size(socket.get(), kMessages);
  if (result < 0) throw std::runtime_error(fmt::format("netlink: {}", nl_geterror(result)));
  return socket;
}

RouteFeed::RouteFeed(const Space& space, TakeLink take_link)
    : space_(space), take_link_(std::move(take_link)), changes_(open()) {
  setsockopt(wake_fd(), SOL_SOCKET, SO_RCVBUFFORCE, &kRoom, sizeof kRoom);
  nl_socket_add_memberships(changes_.get(), RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_LINK,
                            RTNLGRP_NEXTHOP, RTNLGRP_IPV4_IFADDR, 0);
}

int RouteFeed::wake_fd() const noexcept { return nl_socket_get_fd(changes_.get()); }

// Changes that come while all is told wait, being newer. Those that wait come first, so that they are never
// put off for more than one telling, however many more they call for.
bool RouteFeed::serve(std::uint64_t now, std::uint64_t budget, const Take& take) {
  now_ = now;
  const std::uint64_t until = monotonic_ns() + budget;
  bool more = true;
  while (more && monotonic_ns() < until) {
    more = read(stage_ == Stage::changes ? changes_.get() : answers_.get(), take);
    if (more || stage_ != Stage::changes || !wanted_ || now < next_ns_) continue;
    begin(take);
    more = true;
  }
  return more || stage_ != Stage::changes;
}

void RouteFeed::begin(const Take& take) {
  try {
    answers_ = open();
  } catch (const std::exception& error) {
    return fail(error.what());
  }
  wanted_ = false;
  interrupted_ = false;
  caught_up_ = false;
  stage_ = Stage::all4;
  take(Word::begin, {});
  ask(AF_INET);
}

void RouteFeed::ask(int family) {
  rtmsg all{};
  all.rtm_family = static_cast<unsigned char>(family);
  const int result = nl_send_simple(answers_.get(), RTM_GETROUTE, NLM_F_DUMP, &all, sizeof all);
  if (result < 0) fail(nl_geterror(result));
}

// One datagram. False: there is none now.
bool RouteFeed::read(nl_sock* socket, const Take& take) {
  sockaddr_nl from{};
  unsigned char* buffer = nullptr;
  const int length = nl_recv(socket, &from, &buffer, nullptr);
  const std::unique_ptr<unsigned char, decltype(&std::free)> kept(buffer, &std::free);
  const Stage stage = stage_;
  if (length == -NLE_AGAIN || length == 0) {
    if (stage == Stage::changes) {
      stale_ = false;
      caught_up_ = true;
    }
    return false;
  }
  if (length < 0) {
    if (stage != Stage::changes) return fail(nl_geterror(length)), true;
    overruns_++;  // ENOBUFS: the kernel had no room to say more, and says nothing until all is read
    wanted_ = stale_ = true;
    take_link_(Link::missed, 0);
    return true;
  }
  if (stale_ && stage == Stage::changes) return true;
  if (from.nl_pid != 0) return true;  // anybody may send us datagrams; only the kernel knows its routes
  int left = length;
  for (auto* message = reinterpret_cast<nlmsghdr*>(buffer); stage == stage_ && nlmsg_ok(message, left);
       message = nlmsg_next(message, &left))
    handle(*message, take);
  return true;
}

void RouteFeed::handle(nlmsghdr& message, const Take& take) {
  if ((message.nlmsg_flags & NLM_F_DUMP_INTR) != 0) interrupted_ = true;
  switch (message.nlmsg_type) {
    case NLMSG_DONE:
    case NLMSG_ERROR: {
      if (stage_ == Stage::changes) return;
      const int error = error_of(message);
      return error == 0 ? next_stage(take) : fail(std::strerror(error));
    }
    case RTM_NEWROUTE:
    case RTM_DELROUTE: {
      objects_ = objects_ || nlmsg_find_attr(&message, sizeof(rtmsg), RTA_NH_ID) != nullptr;
      const std::optional<KernelRoute> route = read_route(message);
      if (!route) return;
      return take(stage_ == Stage::changes ? word_of(message, *route) : Word::told, *route);
    }
    case RTM_NEWLINK:
      tell_link(message);
      if (!may_take_routes(message, objects_)) return;
      [[fallthrough]];
    case RTM_DELLINK:
    case RTM_DELNEXTHOP:
    case RTM_NEWNEXTHOP:
      // IPv4 routes, and next hops of both families, go without a word of their own with an interface, an
      // address or a next-hop object; and next hops come back so.
      wanted_ = true;
      return;
    case RTM_DELADDR:
      wanted_ = true;
      return tell_address(message);
    default:
      return;
  }
}

void RouteFeed::tell_link(nlmsghdr& message) const {
  if (!nlmsg_valid_hdr(&message, sizeof(ifinfomsg))) return;
  const auto& link = *static_cast<const ifinfomsg*>(nlmsg_data(&message));
  if ((link.ifi_change & IFF_UP) == 0) return;
  take_link_((link.ifi_flags & IFF_UP) != 0 ? Link::up : Link::down, link.ifi_index);
}

void RouteFeed::tell_address(nlmsghdr& message) const {
  if (!nlmsg_valid_hdr(&message, sizeof(ifaddrmsg))) return;
  const auto& address = *static_cast<const ifaddrmsg*>(nlmsg_data(&message));
  take_link_(Link::address_gone, static_cast<int>(address.ifa_index));
}

void RouteFeed::next_stage(const Take& take) {
  if (stage_ == Stage::all4) {
    stage_ = Stage::all6;
    return ask(AF_INET6);
  }
  failing_ = false;
  leave_off(kPause);
  // What was not told may yet be there.
  if (interrupted_)
    wanted_ = true;
  else
    take(Word::end, {});
}

void RouteFeed::fail(const char* why) {
  if (!std::exchange(failing_, true))
    log_line("the kernel has not told all of its routes, and is asked again every second: {}", why);
  wanted_ = true;
  leave_off(kRetry);
}

void RouteFeed::leave_off(std::uint64_t pause) noexcept {
  answers_.reset();
  stage_ = Stage::changes;
  next_ns_ = now_ + pause;
}

}  // namespace espgate::dataplane
