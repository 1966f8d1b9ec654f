// Packets whose buffers are not as the ways need them: in several segments, or without room before or behind.
#include "dataplane/path/mtu.hpp"

namespace espgate::dataplane {

// A copy, whatever the packet's own buffers would allow: they may be the driver's, small, or shared. Such
// packets are rare guests, because the pool's buffers hold a frame of the largest port's MTU.
rte_mbuf* in_one_buffer(Worker& worker, rte_mbuf* packet) noexcept {
  const std::uint32_t room = rte_pktmbuf_data_room_size(worker.pool);
  if (kHeadroom + packet->pkt_len + kBehind > room) {
    worker.drop(packet, DropReason::oversized_frame);
    return nullptr;
  }
  rte_mbuf* const copy = rte_pktmbuf_copy(packet, worker.pool, 0, packet->pkt_len);
  if (copy == nullptr)
    worker.drop(packet, DropReason::no_buffer);
  else
    rte_pktmbuf_free(packet);
  return copy;
}

bool make_room(Worker& worker, Packet& packet) noexcept {
  set_data(packet.mbuf, packet.ip, packet.length);
  packet.mbuf = in_one_buffer(worker, packet.mbuf);
  if (packet.mbuf == nullptr) return false;
  packet.ip = rte_pktmbuf_mtod(packet.mbuf, std::uint8_t*);
  return true;
}

}  // namespace espgate::dataplane
