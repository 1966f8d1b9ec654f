// The end of both ways: the next hop's link address, the Ethernet header, and the port's transmit queue.
#include <rte_ethdev.h>

#include "dataplane/path/ways.hpp"

namespace espgate::dataplane {

namespace {

NeighbourId neighbour_of(Worker& worker, const Packet& packet, NextHop hop) noexcept {
  if (hop.kind == NextHopKind::gateway) return hop.index;
  IpAddress address;
  address.family = packet.family;
  if (packet.family == Family::v4)
    std::memcpy(address.bytes.data(), packet.ip + 16, 4);
  else
    std::memcpy(address.bytes.data(), packet.ip + 24, 16);
  return worker.tables->neighbours.find(hop.port, address);
}

void write_ethernet(std::uint8_t* at, Link link, const PortInfo& port, Family family) noexcept {
  store(at, link.word);  // 6 bytes of address; the source follows over the other two
  std::memcpy(at + 6, port.mac.data(), 6);
  store16(at + 12, family == Family::v4 ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6);
}

void send_whole(Worker& worker, Packet& packet, NextHop hop) noexcept {
  const PortInfo& port = worker.tables->ports[hop.port];
  if (!port.up.load(std::memory_order_relaxed)) return worker.drop(packet.mbuf, DropReason::port_down);
  Neighbours& neighbours = worker.tables->neighbours;
  const NeighbourId id = neighbour_of(worker, packet, hop);
  const Link link = id == kNoNeighbour ? Link{} : neighbours.link(id);
  if (!link.usable()) {
    packet.next_hop = hop;
    return leave(worker, packet, Exception::resolve, DropReason::neighbour_unresolved);
  }
  neighbours.mark_used(id);
  std::uint8_t* const frame = packet.ip - kEthernet;
  write_ethernet(frame, link, port, packet.family);
  set_data(packet.mbuf, frame, static_cast<std::uint16_t>(packet.length + kEthernet));
  send_frame(worker, hop.port, packet.mbuf);
}

// RFC 4301 section 8.1 and RFC 791: our own outer packets go with DF clear, so that they may be cut here.
void send_in_pieces(Worker& worker, const Packet& packet, NextHop hop, std::uint16_t mtu) noexcept {
  std::array<rte_mbuf*, kBurst> pieces;
  const unsigned count = cut(worker, packet.mbuf, mtu, pieces);
  for (unsigned i = 0; i < count; ++i) {
    Packet piece = packet;
    piece.mbuf = pieces[i];
    piece.ip = rte_pktmbuf_mtod(pieces[i], std::uint8_t*);
    piece.length = pieces[i]->data_len;
    send_whole(worker, piece, hop);
  }
}

// The port's queue belongs to another worker: the frames become its errands.
void flush_to_owner(Worker& worker, std::uint8_t port, Worker& owner) noexcept {
  TransmitBuffer& buffer = worker.transmit[port];
  for (unsigned i = 0; i < buffer.count; ++i) {
    Note& note = note_of(buffer.packets[i]);
    note.why = static_cast<std::uint8_t>(Errand::frame);
    note.port = port;
  }
  void* const* const objects = reinterpret_cast<void**>(buffer.packets.data());
  const unsigned taken = rte_ring_mp_enqueue_burst(owner.inbox, objects, buffer.count, nullptr);
  channel::add(worker.counters->handed_off, taken);
  for (unsigned i = taken; i < buffer.count; ++i) worker.drop(buffer.packets[i], DropReason::hand_off_full);
}

// Offers the frames twice, because a full queue may have room again once the port has looked at it.
void flush_to_port(Worker& worker, std::uint8_t port, std::uint16_t queue) noexcept {
  TransmitBuffer& buffer = worker.transmit[port];
  std::uint64_t bytes = 0;
  for (unsigned i = 0; i < buffer.count; ++i) bytes += buffer.packets[i]->pkt_len;
  const std::uint16_t ethdev = worker.tables->ports[port].ethdev;
  unsigned sent = 0;
  for (int attempt = 0; attempt < 2 && sent < buffer.count; ++attempt)
    sent += rte_eth_tx_burst(ethdev, queue, buffer.packets.data() + sent,
                             static_cast<std::uint16_t>(buffer.count - sent));
  for (unsigned i = sent; i < buffer.count; ++i) {
    bytes -= buffer.packets[i]->pkt_len;
    worker.drop(buffer.packets[i], DropReason::transmit_full);
  }
  channel::InterfaceCounters& counters = worker.counters->ports[port];
  channel::add(counters.tx_packets, sent);
  channel::add(counters.tx_bytes, bytes);
}

void flush_port(Worker& worker, std::uint8_t port) noexcept {
  const Worker::TransmitQueue target = worker.transmit_queues[port];
  if (target.owner == worker.index)
    flush_to_port(worker, port, target.queue);
  else
    flush_to_owner(worker, port, *(*worker.workers)[target.owner]);
  worker.transmit[port].count = 0;
}

}  // namespace

void send(Worker& worker, Packet& packet, NextHop hop) noexcept {
  const std::uint16_t mtu = worker.tables->ports[hop.port].mtu;
  if (packet.length <= mtu) [[likely]]
    return send_whole(worker, packet, hop);
  if (packet.family == Family::v4 && may_be_fragmented(ipv4(packet.ip)))
    return send_in_pieces(worker, packet, hop, mtu);
  leave(worker, packet, Exception::too_big, DropReason::too_big, mtu);
}

void send_frame(Worker& worker, std::uint8_t port, rte_mbuf* frame) noexcept {
  TransmitBuffer& buffer = worker.transmit[port];
  buffer.packets[buffer.count++] = frame;
  if (buffer.count == TransmitBuffer::kSize) [[unlikely]]
    flush_port(worker, port);
}

void flush_transmit(Worker& worker) noexcept {
  for (std::size_t port = 0; port < worker.transmit.size(); ++port)
    if (worker.transmit[port].count != 0) flush_port(worker, static_cast<std::uint8_t>(port));
}

}  // namespace espgate::dataplane
