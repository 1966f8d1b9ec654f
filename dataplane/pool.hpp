// Packet buffers.
#pragma once

#include <rte_mempool.h>

#include <cstdint>

namespace espgate::dataplane {

// `count` buffers of `room` bytes (headroom included), each with an area for its Note; `cache` of them at
// hand for each worker. Null: rte_errno says why. Main thread.
[[nodiscard]] rte_mempool* make_packet_pool(const char* name, unsigned count, unsigned cache,
                                            std::uint16_t room) noexcept;

}  // namespace espgate::dataplane
