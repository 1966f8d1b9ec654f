// Packet buffers.
#pragma once

#include <rte_mempool.h>

#include <cstdint>
#include <memory>

namespace espgate::dataplane {

// `count` buffers of `room` bytes (headroom included), each with an area for its Note; `cache` of them at
// hand for each worker. Null: rte_errno says why. Main thread.
[[nodiscard]] rte_mempool* make_packet_pool(const char* name, unsigned count, unsigned cache,
                                            std::uint16_t room) noexcept;

// Puts back what a driver took out of its own pool to receive into, and forgot: buffers that are out and have
// no packet in them. The pool has no cache, and whoever took from it is gone; packets may still be out, and
// come back meanwhile. Returns how many. Main thread.
unsigned take_back_empty(rte_mempool& pool);

struct FreePool {
  void operator()(rte_mempool* pool) const noexcept { rte_mempool_free(pool); }
};
using Pool = std::unique_ptr<rte_mempool, FreePool>;

}  // namespace espgate::dataplane
