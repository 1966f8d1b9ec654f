// The kernel's interfaces as rtnetlink has them (libnl): found by name, set up, given addresses. In the
// network namespace of the thread that makes this. Main thread only: each call waits for the kernel's answer.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "channel/address.hpp"

struct nl_sock;

namespace espgate::dataplane {

struct KernelLink {
  int index{0};
  bool carrier{false};
  std::string alias;  // a line of text that the kernel keeps for its owner
  std::vector<IpPrefix> addresses;
};

class Links {
 public:
  Links();  // throws std::runtime_error
  ~Links();
  Links(const Links&) = delete;
  Links& operator=(const Links&) = delete;

  // All of them, by name. Throws std::runtime_error.
  [[nodiscard]] std::map<std::string, KernelLink> all() const;

  // These throw std::runtime_error with the kernel's reason.
  void set_up(int index, std::uint16_t mtu, const std::string& alias) const;
  void set_mtu(int index, std::uint16_t mtu) const;
  void remove(int index) const;
  void add_address(int index, const IpPrefix& address) const;
  void remove_address(int index, const IpPrefix& address) const;

 private:
  nl_sock* socket_;
};

// Has the kernel be a host on this interface, and no router: it forwards nothing that comes from it, believes
// no redirects and no router advertisements, sends none, and makes no link-local address up.
void be_only_a_host(const std::string& interface);
// Has the kernel leave alone what arrives at an interface whose frames we read beside it (af_packet): else it
// would answer them a second time once it has addresses of ours.
void keep_kernel_off(const std::string& interface);

}  // namespace espgate::dataplane
