#include "dataplane/pool.hpp"

#include <rte_eal.h>
#include <rte_mbuf.h>

#include "dataplane/path/packet.hpp"

namespace espgate::dataplane {

// Without huge pages DPDK gives every buffer a page of its own, for the sake of devices that need it
// contiguous; then all headers fall into the same few sets of the cache (measured: 20 cycles a packet). There
// the buffers lie one behind the other.
rte_mempool* make_packet_pool(const char* name, unsigned count, unsigned cache, std::uint16_t room) noexcept {
  const unsigned flags = rte_eal_has_hugepages() != 0 ? 0 : RTE_MEMPOOL_F_NO_IOVA_CONTIG;
  const unsigned size = sizeof(rte_mbuf) + kNoteArea + room;
  rte_mempool* const pool = rte_mempool_create_empty(name, count, size, cache,
                                                     sizeof(rte_pktmbuf_pool_private), SOCKET_ID_ANY, flags);
  if (pool == nullptr) return nullptr;
  rte_pktmbuf_pool_private shape{room, kNoteArea, 0};
  rte_pktmbuf_pool_init(pool, &shape);
  if (rte_mempool_populate_default(pool) < 0) {
    rte_mempool_free(pool);
    return nullptr;
  }
  rte_mempool_obj_iter(pool, rte_pktmbuf_init, nullptr);
  return pool;
}

}  // namespace espgate::dataplane
