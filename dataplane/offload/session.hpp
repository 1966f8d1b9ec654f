// An SA in a card, as its worker sees it. The main thread makes it and destroys it; a worker that found it
// holds it until its next quiet point.
#pragma once

#include <string.h>

#include <array>
#include <atomic>
#include <cstdint>

#include "crypto/suite.hpp"

struct rte_security_ctx;

namespace espgate::dataplane {

struct CardSession {
  rte_security_ctx* context;
  void* session;
  std::uint8_t port;              // whose card it is
  bool needs_metadata;            // the driver is told of every packet
  std::atomic<bool> lost{false};  // the worker's: the driver did not know it any more
};

// The same of an SA with a crypto device.
struct DeviceSession {
  DeviceSession() = default;
  ~DeviceSession() { explicit_bzero(salt.data(), salt.size()); }
  DeviceSession(const DeviceSession&) = delete;
  DeviceSession& operator=(const DeviceSession&) = delete;

  void* session{nullptr};  // librte_cryptodev's
  const crypto::SuiteRow* suite{nullptr};
  std::array<std::uint8_t, 4> salt{};  // as many bytes as the suite has
  std::uint8_t device{0};              // among the gateway's crypto devices
  std::atomic<bool> lost{false};       // the worker's: the device failed with it, and is given no more
  std::uint32_t in_flight{0};          // the worker's: packets that are not back
};

}  // namespace espgate::dataplane
