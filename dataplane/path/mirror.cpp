#include "dataplane/path/mirror.hpp"

#include <rte_ether.h>
#include <rte_ring.h>

#include <cstring>

#include "dataplane/path/wire.hpp"
#include "dataplane/worker.hpp"

namespace espgate::dataplane {

namespace {

// `fill` writes the copy's bytes to where it is told.
template <class Fill>
void copy(Worker& worker, std::uint16_t length, const Fill& fill) noexcept {
  rte_mbuf* const packet = rte_pktmbuf_alloc(worker.pool);
  char* const room = packet == nullptr ? nullptr : rte_pktmbuf_append(packet, length);
  if (room != nullptr) fill(room);
  if (room != nullptr && rte_ring_mp_enqueue(worker.mirror, packet) == 0) return;
  channel::add(worker.counters->drops[static_cast<std::size_t>(DropReason::mirror_full)], 1);
  rte_pktmbuf_free(packet);
}

void copy_packet(Worker& worker, const Packet& packet) noexcept {
  copy(worker, packet.length, [&](char* room) { std::memcpy(room, packet.ip, packet.length); });
}

// The frame may have several segments.
void copy_frame(Worker& worker, const rte_mbuf* frame, std::uint16_t link) noexcept {
  const auto length = static_cast<std::uint16_t>(frame->pkt_len - link);
  copy(worker, length, [&](char* room) {
    const void* const bytes = rte_pktmbuf_read(frame, link, length, room);
    if (bytes != room) std::memcpy(room, bytes, length);
  });
}

// Bytes before the IP header; 0: there is none (ARP).
std::uint16_t length_of_link(const std::uint8_t* frame, std::uint16_t length) noexcept {
  constexpr std::uint16_t kTagged = kEthernet + kVlanTag;
  std::uint16_t at = kEthernet;
  if (length < kTagged) return 0;
  if (load16(frame + kEthernet - 2) == RTE_ETHER_TYPE_VLAN) at = kTagged;
  const std::uint16_t type = load16(frame + at - 2);
  return type == RTE_ETHER_TYPE_IPV4 || type == RTE_ETHER_TYPE_IPV6 ? at : 0;
}

}  // namespace

void mirror_opened(Worker& worker, Burst& burst) noexcept {
  const Mirrored mirrored = worker.tables->mirrored.load(std::memory_order_relaxed);
  if (mirrored.kind != Mirrored::Kind::tunnel) return;
  for (const Packet& packet : burst)
    if (packet.tunnel == mirrored.index) copy_packet(worker, packet);
}

// What another worker handed over it has copied.
void mirror_chosen(Worker& worker, Burst& burst) noexcept {
  const Mirrored mirrored = worker.tables->mirrored.load(std::memory_order_relaxed);
  if (mirrored.kind != Mirrored::Kind::tunnel) return;
  for (const Packet& packet : burst)
    if (packet.tunnel == mirrored.index && !packet.handed_over) copy_packet(worker, packet);
}

void mirror_frames(Worker& worker, std::uint8_t port, std::span<rte_mbuf* const> frames) noexcept {
  const Mirrored mirrored = worker.tables->mirrored.load(std::memory_order_relaxed);
  if (mirrored.kind != Mirrored::Kind::port || mirrored.index != port) return;
  for (rte_mbuf* const frame : frames) {
    const auto* const bytes = rte_pktmbuf_mtod(frame, const std::uint8_t*);
    const std::uint16_t before = length_of_link(bytes, frame->data_len);
    if (before != 0) copy_frame(worker, frame, before);
  }
}

}  // namespace espgate::dataplane
