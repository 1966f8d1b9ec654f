// An SA in a card, as its worker sees it. The main thread makes it and destroys it; a worker that found it
// holds it until its next quiet point.
#pragma once

#include <atomic>
#include <cstdint>

struct rte_security_ctx;

namespace espgate::dataplane {

struct CardSession {
  rte_security_ctx* context;
  void* session;
  std::uint8_t port;              // whose card it is
  bool needs_metadata;            // the driver is told of every packet
  std::atomic<bool> lost{false};  // the worker's: the driver did not know it any more
};

}  // namespace espgate::dataplane
