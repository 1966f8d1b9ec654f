#include "dataplane/kernel/links.hpp"

#include <fmt/format.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/inet6.h>

#include <algorithm>
#include <fstream>
#include <stdexcept>

namespace espgate::dataplane {

namespace {

struct PutObject {
  void operator()(nl_cache* cache) const noexcept { nl_cache_free(cache); }
  void operator()(rtnl_link* link) const noexcept { rtnl_link_put(link); }
  void operator()(rtnl_addr* address) const noexcept { rtnl_addr_put(address); }
  void operator()(nl_addr* address) const noexcept { nl_addr_put(address); }
};
template <class T>
using Kept = std::unique_ptr<T, PutObject>;

void check(int result, const char* what) {
  if (result < 0) throw std::runtime_error(fmt::format("{}: {}", what, nl_geterror(result)));
}

template <class T>
Kept<T> kept(T* object) {
  if (object == nullptr) throw std::bad_alloc();
  return Kept<T>(object);
}

Kept<rtnl_addr> make_address(int index, const IpPrefix& from) {
  const bool v4 = from.address.is_v4();
  auto address = kept(rtnl_addr_alloc());
  const auto local = kept(nl_addr_build(v4 ? AF_INET : AF_INET6, from.address.bytes.data(), v4 ? 4 : 16));
  rtnl_addr_set_ifindex(address.get(), index);
  rtnl_addr_set_family(address.get(), v4 ? AF_INET : AF_INET6);
  check(rtnl_addr_set_local(address.get(), local.get()), "address");
  rtnl_addr_set_prefixlen(address.get(), from.length);
  return address;
}

IpPrefix prefix_of(rtnl_addr* address) {
  IpPrefix prefix;
  nl_addr* const local = rtnl_addr_get_local(address);
  if (local == nullptr) return prefix;
  const int family = nl_addr_get_family(local);
  if (family != AF_INET && family != AF_INET6) return prefix;
  prefix.address.family = family == AF_INET ? Family::v4 : Family::v6;
  const auto* bytes = static_cast<const std::uint8_t*>(nl_addr_get_binary_addr(local));
  std::copy_n(bytes, std::min<unsigned>(nl_addr_get_len(local), 16), prefix.address.bytes.begin());
  prefix.length = static_cast<std::uint8_t>(rtnl_addr_get_prefixlen(address));
  return prefix;
}

// A kernel without IPv6 has no such file.
void set(const std::string& path, const char* value) { std::ofstream("/proc/sys/net/" + path) << value; }

}  // namespace

Links::Links() : socket_(nl_socket_alloc()) {
  if (socket_ == nullptr) throw std::bad_alloc();
  if (const int result = nl_connect(socket_, NETLINK_ROUTE); result < 0) {
    nl_socket_free(socket_);
    throw std::runtime_error(fmt::format("netlink: {}", nl_geterror(result)));
  }
}

Links::~Links() { nl_socket_free(socket_); }

std::map<std::string, KernelLink> Links::all() const {
  std::map<std::string, KernelLink> found;
  std::map<int, KernelLink*> by_index;
  nl_cache* cache = nullptr;
  check(rtnl_link_alloc_cache(socket_, AF_UNSPEC, &cache), "the kernel's interfaces");
  const Kept<nl_cache> links(cache);
  for (nl_object* object = nl_cache_get_first(cache); object != nullptr; object = nl_cache_get_next(object)) {
    auto* const link = reinterpret_cast<rtnl_link*>(object);
    const char* const alias = rtnl_link_get_ifalias(link);
    const int index = rtnl_link_get_ifindex(link);
    KernelLink& kernel = found[rtnl_link_get_name(link)] = {
        index, rtnl_link_get_carrier(link) == 1, alias != nullptr ? alias : "", {}};
    by_index[index] = &kernel;
  }
  check(rtnl_addr_alloc_cache(socket_, &cache), "the kernel's addresses");
  const Kept<nl_cache> addresses(cache);
  for (nl_object* object = nl_cache_get_first(cache); object != nullptr; object = nl_cache_get_next(object)) {
    auto* const address = reinterpret_cast<rtnl_addr*>(object);
    const auto link = by_index.find(rtnl_addr_get_ifindex(address));
    if (link != by_index.end()) link->second->addresses.push_back(prefix_of(address));
  }
  return found;
}

void Links::set_up(int index, std::uint16_t mtu, const std::string& alias) const {
  const auto link = kept(rtnl_link_alloc());
  rtnl_link_set_ifindex(link.get(), index);
  rtnl_link_set_mtu(link.get(), mtu);
  rtnl_link_set_ifalias(link.get(), alias.c_str());
  rtnl_link_set_flags(link.get(), IFF_UP);
  check(rtnl_link_change(socket_, link.get(), link.get(), 0), "bringing it up");
}

void Links::set_mtu(int index, std::uint16_t mtu) const {
  const auto link = kept(rtnl_link_alloc());
  rtnl_link_set_ifindex(link.get(), index);
  rtnl_link_set_mtu(link.get(), mtu);
  check(rtnl_link_change(socket_, link.get(), link.get(), 0), "its MTU");
}

void Links::remove(int index) const {
  const auto link = kept(rtnl_link_alloc());
  rtnl_link_set_ifindex(link.get(), index);
  check(rtnl_link_delete(socket_, link.get()), "removing it");
}

void Links::add_address(int index, const IpPrefix& address) const {
  check(rtnl_addr_add(socket_, make_address(index, address).get(), NLM_F_REPLACE),
        to_string(address).c_str());
}

void Links::remove_address(int index, const IpPrefix& address) const {
  check(rtnl_addr_delete(socket_, make_address(index, address).get(), 0), to_string(address).c_str());
}

void be_only_a_host(const std::string& interface) {
  const std::string v4 = "ipv4/conf/" + interface + "/";
  const std::string v6 = "ipv6/conf/" + interface + "/";
  set(v4 + "forwarding", "0");
  set(v4 + "rp_filter", "2");  // what returns may come by another tunnel than it went
  for (const char* redirects : {"accept_redirects", "send_redirects"}) set(v4 + redirects, "0");
  for (const char* off : {"forwarding", "accept_ra", "autoconf", "accept_redirects"}) set(v6 + off, "0");
  set(v6 + "addr_gen_mode", "1");  // none
}

void keep_kernel_off(const std::string& interface) {
  set("ipv4/conf/" + interface + "/forwarding", "0");
  set("ipv4/conf/" + interface + "/rp_filter", "1");  // no route leads there: nothing comes from there
  set("ipv6/conf/" + interface + "/disable_ipv6", "1");
}

}  // namespace espgate::dataplane
