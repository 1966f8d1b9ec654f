// Where packets leave a worker for another thread: to the worker that owns their SA, and to the main thread.
#include <algorithm>

#include "dataplane/path/ways.hpp"

namespace espgate::dataplane {

void set_aside(Worker& worker, std::uint32_t owner, Packet& packet, Errand why) noexcept {
  set_data(packet.mbuf, packet.ip, packet.length);
  note_of(packet.mbuf) = Note{static_cast<std::uint8_t>(why),
                              packet.port,
                              0,
                              packet.tunnel,
                              packet.next_hop,
                              DropReason{},
                              packet.table};
  Scratch::Parcel& parcel = worker.scratch.parcels[owner];
  parcel.packets[parcel.count++] = packet.mbuf;
  worker.scratch.set_aside = true;
}

void deliver_set_aside(Worker& worker) noexcept {
  if (!worker.scratch.set_aside) [[likely]]
    return;
  worker.scratch.set_aside = false;
  const std::size_t owners = std::min<std::size_t>(worker.workers->size(), channel::kMaxWorkers);
  for (std::size_t owner = 0; owner < owners; ++owner) {
    Scratch::Parcel& parcel = worker.scratch.parcels[owner];
    if (parcel.count == 0) continue;
    void* const* const objects = reinterpret_cast<void**>(parcel.packets.data());
    const unsigned taken =
        rte_ring_mp_enqueue_burst((*worker.workers)[owner]->inbox, objects, parcel.count, nullptr);
    channel::add(worker.counters->handed_off, taken);
    for (unsigned i = taken; i < parcel.count; ++i) worker.drop(parcel.packets[i], DropReason::hand_off_full);
    parcel.count = 0;
  }
}

void Worker::raise(rte_mbuf* packet, Exception why) noexcept {
  note_of(packet).why = static_cast<std::uint8_t>(why);
  if (rte_ring_mp_enqueue(exceptions, packet) != 0) drop(packet, DropReason::exception_full);
}

void leave(Worker& worker, Packet& packet, Exception why, DropReason reason, std::uint16_t mtu) noexcept {
  set_data(packet.mbuf, packet.ip, packet.length);
  note_of(packet.mbuf) = Note{0, packet.port, mtu, packet.tunnel, packet.next_hop, reason, packet.table};
  worker.raise(packet.mbuf, why);
}

}  // namespace espgate::dataplane
