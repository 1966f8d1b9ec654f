#include "dataplane/ports/outbox.hpp"

#include <rte_ring.h>

#include <algorithm>
#include <cstring>

#include "dataplane/path/ethernet.hpp"

namespace espgate::dataplane {

namespace {

constexpr Note kNothingKnown{0, Note::kNoPort, 0, Note::kNoTunnel, {}, {}, kMainTable};

}  // namespace

rte_mbuf* Outbox::make(std::size_t length) noexcept {
  rte_mbuf* packet = rte_pktmbuf_alloc(pool_);
  if (packet == nullptr) {
    count(DropReason::no_buffer);
    return nullptr;
  }
  if (length > rte_pktmbuf_tailroom(packet)) {
    drop(packet, DropReason::no_buffer);
    return nullptr;
  }
  rte_pktmbuf_append(packet, static_cast<std::uint16_t>(length));
  note_of(packet) = kNothingKnown;
  return packet;
}

// In its first buffer, if there is room: what a driver filled may begin far from the buffer's start.
rte_mbuf* Outbox::in_one_segment(rte_mbuf* packet) noexcept {
  if (rte_pktmbuf_linearize(packet) == 0) return packet;
  if (RTE_PKTMBUF_HEADROOM + packet->pkt_len > rte_pktmbuf_data_room_size(pool_)) {
    drop(packet, DropReason::reassembly_too_big);
    return nullptr;
  }
  rte_mbuf* const copy = rte_pktmbuf_copy(packet, pool_, 0, packet->pkt_len);
  if (copy == nullptr) {
    drop(packet, DropReason::no_buffer);
    return nullptr;
  }
  note_of(copy) = note_of(packet);
  rte_pktmbuf_free(packet);
  return copy;
}

void Outbox::put(Worker& worker, rte_mbuf* packet, Errand errand, std::uint8_t port, TableId table,
                 std::uint32_t tunnel) noexcept {
  Note& note = note_of(packet);
  note = Note{};
  note.why = static_cast<std::uint8_t>(errand);
  note.port = port;
  note.table = table;
  note.tunnel = tunnel;
  if (rte_ring_enqueue(worker.inbox, packet) != 0) drop(packet, DropReason::inject_full);
}

// The destination chooses the worker, so that packets of one conversation keep their order.
Worker& Outbox::worker_for(rte_mbuf* packet) const noexcept {
  const auto* ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  const std::size_t last_byte = ip[0] >> 4 == 4 ? 19 : 39;
  const std::size_t pick = packet->data_len > last_byte ? ip[last_byte] % workers_.size() : 0;
  return *workers_[pick];
}

void Outbox::route(rte_mbuf* packet, TableId table) noexcept {
  put(worker_for(packet), packet, Errand::route, Note::kNoPort, table);
}

void Outbox::route_ike(rte_mbuf* packet, TableId table) noexcept {
  put(worker_for(packet), packet, Errand::ike, Note::kNoPort, table);
}

void Outbox::protect(std::uint32_t tunnel, rte_mbuf* packet) noexcept {
  Worker& worker = worker_for(packet);
  const Tunnel* const into = worker.tables->tunnels[tunnel].tunnel.load(std::memory_order_relaxed);
  put(worker, packet, Errand::protect, Note::kNoPort, into != nullptr ? into->overlay : kMainTable, tunnel);
}

void Outbox::send_to(std::uint8_t port, const Interface& interface, const Mac& destination,
                     std::uint16_t type, rte_mbuf* packet) noexcept {
  const EthernetHeader header =
      ethernet_header(destination.data(), interface.mac.data(), interface.vlan, type);
  auto* const frame = reinterpret_cast<std::uint8_t*>(rte_pktmbuf_prepend(packet, header.length));
  if (frame == nullptr) return drop(packet, DropReason::no_buffer);
  put_before(frame + header.length, header);
  put(*workers_[workers_[0]->transmit_queues[port].owner], packet, Errand::frame, port);
}

void Outbox::send_ip_to(std::uint8_t port, const Interface& interface, const Mac& destination,
                        rte_mbuf* packet) noexcept {
  const bool v4 = *rte_pktmbuf_mtod(packet, const std::uint8_t*) >> 4 == 4;
  send_to(port, interface, destination, v4 ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6, packet);
}

void Outbox::decrypt(std::uint32_t worker, rte_mbuf* packet) noexcept {
  const Note note = note_of(packet);
  put(*workers_[worker], packet, Errand::decrypt, note.port, note.table);
}

bool Outbox::move(std::uint32_t worker, const Move& move) noexcept {
  rte_mbuf* const word = make(sizeof move);
  if (word == nullptr) return false;
  std::memcpy(rte_pktmbuf_mtod(word, void*), &move, sizeof move);
  note_of(word).why = static_cast<std::uint8_t>(Errand::move);
  if (rte_ring_enqueue(workers_[worker]->inbox, word) == 0) return true;
  drop(word, DropReason::inject_full);
  return false;
}

void Outbox::ike(rte_mbuf* packet) noexcept {
  if (rte_ring_enqueue(workers_[0]->ike, packet) != 0) drop(packet, DropReason::ike_ring_full);
}

}  // namespace espgate::dataplane
