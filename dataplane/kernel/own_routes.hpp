// Routes that this process puts into a main table of the kernel, as it finds them there and as it writes them
// (rtnetlink, protocol kProtocol). In the network namespace of the thread that makes this. Main thread only;
// never waits.
#pragma once

#include <cstdint>
#include <functional>

#include "dataplane/kernel/route_message.hpp"

struct nl_sock;

namespace espgate::dataplane {

class OwnRoutes {
 public:
  // Who is their owner (RTPROT_...).
  static constexpr std::uint8_t kProtocol = 229;
  // Before what routing daemons put there (FRR: 20, BIRD: 32), as it is with us; after what is there by hand
  // (IPv4: 0).
  static constexpr std::uint32_t kMetric = 10;

  OwnRoutes();  // throws std::runtime_error
  ~OwnRoutes();
  OwnRoutes(const OwnRoutes&) = delete;
  OwnRoutes& operator=(const OwnRoutes&) = delete;

  // Gives `take` some of those that are there. False: that was the last of them.
  using Take = std::function<void(const KernelRoute& route)>;
  [[nodiscard]] bool find(const Take& take);

  // Table, metric and protocol are those of all; a route without next hops is a blackhole. 0, or what kept
  // the kernel from it (errno): EEXIST from `add`, somebody else has one with our metric.
  [[nodiscard]] int add(const KernelRoute& route) const;
  // Of one of ours; it may have gone meanwhile.
  [[nodiscard]] int replace(const KernelRoute& route) const;
  int remove(const IpPrefix& to) const;

 private:
  void ask(int family);
  [[nodiscard]] int send(int type, int flags, const KernelRoute& route) const;

  nl_sock* socket_;
  int asked_{0};  // the family whose routes are being told
};

}  // namespace espgate::dataplane
