// A line (line.hpp) whose gateway has crypto devices: DPDK's own, in software, and between them and the
// worker what a device may do to it.
#pragma once

#include <rte_cryptodev.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/offload/crypto_device.hpp"
#include "tests/dataplane/offload/line.hpp"

struct rte_cryptodev_cb;

namespace espgate::test {

// A virtual device of this process; made once. Returns its name.
std::string virtual_device(const std::string& name);

// Between a device's queue pair 0 and the worker.
class Between {
 public:
  explicit Between(std::uint8_t device);
  ~Between();
  Between(const Between&) = delete;
  Between& operator=(const Between&) = delete;

  unsigned most{~0U};     // operations that it gives back in all, from now on
  bool backwards{false};  // those that are together, the last one first
  int fail_at{-1};        // so many operations from now one comes back with an error
  int unknown_at{-1};     // so many operations from now the device is given one of no session
  bool takes{true};       // else it refuses all
  [[nodiscard]] std::size_t held() const { return held_.size(); }

 private:
  static std::uint16_t come_back(std::uint16_t, std::uint16_t, rte_crypto_op** operations,
                                 std::uint16_t count, void* self);
  static std::uint16_t go(std::uint16_t, std::uint16_t, rte_crypto_op** operations, std::uint16_t count,
                          void* self);
  std::uint8_t device_;
  rte_cryptodev_cb* going_;
  rte_cryptodev_cb* coming_;
  std::deque<rte_crypto_op*> held_;
};

class LookasideLine : public Line {
 public:
  explicit LookasideLine(const std::vector<std::string>& devices,
                         crypto::EspSuite suite = crypto::EspSuite::aes128_gcm16, bool udp = false,
                         unsigned most_sessions = dataplane::CryptoDevice::kMostSessions);

  [[nodiscard]] dataplane::CryptoDevice& device(std::size_t i = 0) {
    return *desk.offload.lookaside().devices().at(i);
  }
  [[nodiscard]] dataplane::OutboundSa& outbound() { return desk.tables.outbound[0][0]; }
  [[nodiscard]] dataplane::InboundSa& inbound() { return desk.tables.inbound[0].slots[kInSpi]; }
  [[nodiscard]] channel::CryptoDeviceCounters& counters(std::size_t i = 0) {
    return desk.page.worker(0).crypto_devices[i];
  }
  [[nodiscard]] std::uint64_t drops(DropReason reason) {
    return desk.page.worker(0).drops[static_cast<std::size_t>(reason)].load();
  }
  // Inner packets into the gateway, and nothing is asked of what comes out.
  std::vector<Octets> put_inner(unsigned packets);
  // What came out on the wan, against what was put in.
  void check_out(const std::vector<Octets>& inner);
  // The same, but for the packet at `lost`, which is not there.
  void check_out_but(std::size_t lost, const std::vector<Octets>& inner);
};

}  // namespace espgate::test
