// The end of both ways: the next hop's link address, the Ethernet header, and the port's transmit queue.
#include <rte_ethdev.h>

#include <algorithm>

#include "dataplane/offload/inline.hpp"
#include "dataplane/path/cleartext.hpp"
#include "dataplane/path/ethernet.hpp"
#include "dataplane/path/mirror.hpp"
#include "dataplane/path/ways.hpp"

namespace espgate::dataplane {

namespace {

NeighbourId neighbour_of(const Worker& worker, const Packet& packet, NextHop hop) noexcept {
  if (hop.kind == NextHopKind::gateway) return hop.index;
  IpAddress address;
  address.family = packet.family;
  if (packet.family == Family::v4)
    std::memcpy(address.bytes.data(), packet.ip + 16, 4);
  else
    std::memcpy(address.bytes.data(), packet.ip + 24, 16);
  return worker.tables->neighbours.find(hop.port, address);
}

// An Ethernet header, ready to copy, and where it leads. Packets of one burst mostly leave by one next hop,
// so the last one is kept; a burst is too short for it to change meanwhile.
struct Way {
  EthernetHeader header;
  std::uint16_t mtu;
  std::uint8_t port;
};

void make_header(Way& way, Link link, const PortInfo& port, Family family) noexcept {
  std::uint8_t to[sizeof(link.word)];
  store(to, link.word);
  way.header = ethernet_header(to, port.mac.data(), port.vlan,
                               family == Family::v4 ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6);
}

// Whose packets a burst has: the outer ones of our tunnels, or others', which are forwarded in clear.
enum class Whose : bool { ours, others };

// RFC 4301 section 8.1 and RFC 791: our own outer packets go with DF clear, so that they may be cut here.
// IPv6 is cut by its source alone (RFC 8200 section 5), which of outer packets is us (RFC 2473 section 7.1).
bool may_be_cut(const Packet& packet, Whose whose) noexcept {
  return packet.family == Family::v4 ? may_be_fragmented(ipv4(packet.ip)) : whose == Whose::ours;
}

// Gives the pieces of a packet that is larger than `mtu` to `take`; or tells its sender, if there can be
// none.
template <class Take>
void cut_up(Worker& worker, Packet& packet, std::uint16_t mtu, Whose whose, Take&& take) noexcept {
  set_data(packet.mbuf, packet.ip, packet.length);
  if (!may_be_cut(packet, whose)) return leave(worker, packet, Exception::too_big, DropReason::too_big, mtu);
  std::array<rte_mbuf*, kBurst> pieces;
  const unsigned count = cut(worker, packet.mbuf, mtu, pieces);
  if (count != 0 && whose == Whose::ours) channel::add(packet.outbound->cut_after, 1);
  for (unsigned i = 0; i < count; ++i) {
    Packet piece = packet;
    piece.mbuf = pieces[i];
    piece.ip = rte_pktmbuf_mtod(pieces[i], std::uint8_t*);
    piece.length = pieces[i]->data_len;
    take(piece);
  }
}

// The main thread keeps it until there is a link address, and sends it then as it is.
[[gnu::cold]] void leave_to_be_resolved(Worker& worker, Packet& packet, std::uint16_t mtu,
                                        Whose whose) noexcept {
  const auto wait = [&worker](Packet& piece) noexcept {
    leave(worker, piece, Exception::resolve, DropReason::neighbour_unresolved);
  };
  take_from_card(worker, packet);
  if (whose == Whose::ours) packet.table = packet.outbound->underlay;
  packet.length <= mtu ? wait(packet) : cut_up(worker, packet, mtu, whose, wait);
}

// Others' packets leave by an encrypted-only port in no case, and our own when they may. Of what was made
// here, the main thread's note is as it was.
[[gnu::noinline]] bool may_leave_in_clear(const Packet& packet) noexcept {
  if (packet.forwarded) return false;
  const bool ike = note_of(packet.mbuf).why == static_cast<std::uint8_t>(Errand::ike);
  return ike || may_go_in_clear(packet.ip, packet.family, packet.length);
}

// False: the packet, of whose way no more than `most` bytes are known to go through, can't go now, and was
// disposed of.
bool find_way(Worker& worker, Packet& packet, std::uint16_t most, Whose whose, Way& way) noexcept {
  const NextHop hop = packet.next_hop;
  const PortInfo& port = worker.tables->ports[hop.port];
  if (!port.up.load(std::memory_order_acquire)) {
    worker.drop(packet.mbuf, DropReason::port_down);
    return false;
  }
  if (whose == Whose::others && port.encrypted_only && !may_leave_in_clear(packet)) {
    worker.drop(packet.mbuf, DropReason::cleartext_out);
    return false;
  }
  Neighbours& neighbours = worker.tables->neighbours;
  const NeighbourId id = neighbour_of(worker, packet, hop);
  const Link link = id == kNoNeighbour ? Link{} : neighbours.link(id);
  if (!link.usable()) {
    leave_to_be_resolved(worker, packet, std::min(port.mtu, most), whose);
    return false;
  }
  neighbours.mark_used(id);
  way.mtu = port.mtu;
  way.port = hop.port;
  make_header(way, link, port, packet.family);
  return true;
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

void count_sent(Worker& worker, std::uint8_t port, unsigned packets, std::uint64_t bytes) noexcept {
  channel::InterfaceCounters& counters = worker.counters->ports[port];
  channel::add(counters.tx_packets, packets);
  channel::add(counters.tx_bytes, bytes);
}

// The device has gone since the frames were put there.
[[gnu::noinline]] void drop_all(Worker& worker, const TransmitBuffer& buffer) noexcept {
  for (unsigned i = 0; i < buffer.count; ++i) worker.drop(buffer.packets[i], DropReason::port_down);
}

// Offers the frames twice, because a full queue may have room again once the port has looked at it.
void flush_to_port(Worker& worker, std::uint8_t port, std::uint16_t queue) noexcept {
  TransmitBuffer& buffer = worker.transmit[port];
  const std::uint16_t ethdev = worker.tables->ports[port].ethdev.load(std::memory_order_relaxed);
  if (ethdev == PortInfo::kNoDevice) [[unlikely]]
    return drop_all(worker, buffer);
  if (worker.tables->is_mirrored()) [[unlikely]]
    mirror_frames(worker, port, {buffer.packets.data(), buffer.count});
  std::uint64_t bytes = 0;
  for (unsigned i = 0; i < buffer.count; ++i) bytes += buffer.packets[i]->pkt_len;
  unsigned sent = 0;
  for (int attempt = 0; attempt < 2 && sent < buffer.count; ++attempt)
    sent += rte_eth_tx_burst(ethdev, queue, buffer.packets.data() + sent,
                             static_cast<std::uint16_t>(buffer.count - sent));
  for (unsigned i = sent; i < buffer.count; ++i) {
    bytes -= buffer.packets[i]->pkt_len;
    worker.drop(buffer.packets[i], DropReason::transmit_full);
  }
  count_sent(worker, port, sent, bytes);
  const PortInfo& info = worker.tables->ports[port];
  if (info.vlan != 0) count_sent(worker, info.parent, sent, bytes);
}

void flush_port(Worker& worker, std::uint8_t port) noexcept {
  const Worker::TransmitQueue target = worker.transmit_queues[port];
  if (target.owner == worker.index)
    flush_to_port(worker, port, target.queue);
  else
    flush_to_owner(worker, port, *(*worker.workers)[target.owner]);
  worker.transmit[port].count = 0;
}

rte_mbuf* frame_of(const Packet& packet, const Way& way) noexcept {
  std::uint8_t* const frame = put_before(packet.ip, way.header);
  set_data(packet.mbuf, frame, static_cast<std::uint16_t>(packet.length + way.header.length));
  return packet.mbuf;
}

[[gnu::cold]] void send_too_large(Worker& worker, Packet& packet, const Way& way, std::uint16_t mtu,
                                  Whose whose) noexcept {
  take_from_card(worker, packet);
  if (whose == Whose::ours) packet.table = packet.outbound->underlay;
  cut_up(worker, packet, mtu, whose,
         [&](const Packet& piece) noexcept { send_frame(worker, way.port, frame_of(piece, way)); });
}

// Sends the packets of one burst, and remembers the way of the last. The buffer's count is kept at hand while
// a way is open: in memory, every packet would wait for the store of the one before.
template <Whose whose>
class Sender {
 public:
  explicit Sender(Worker& worker) noexcept : worker_(worker) {}
  ~Sender() { close(); }
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;

  // `most`: bytes that the packet's way carries, if that is less than its port does.
  [[gnu::always_inline]] void send(Packet& packet, std::uint16_t most = kNotCut) noexcept {
    if (packet.next_hop != last_ || packet.family != family_) [[unlikely]]
      if (!turn_to(packet, most)) return;
    if (packet.length <= way_.mtu && packet.length <= most) [[likely]] {
      buffer_->packets[count_++] = frame_of(packet, way_);
      return;
    }
    close();
    send_too_large(worker_, packet, way_, std::min(way_.mtu, most), whose);
  }

 private:
  bool turn_to(Packet& packet, std::uint16_t most) noexcept {
    close();
    if (!find_way(worker_, packet, most, whose, way_)) return false;
    buffer_ = &worker_.transmit[way_.port];
    if (buffer_->count + kBurst > TransmitBuffer::kSize) flush_port(worker_, way_.port);
    count_ = buffer_->count;
    // A connected hop is another neighbour for every destination. On an encrypted-only port each packet is
    // asked.
    const bool asked = whose == Whose::others && worker_.tables->ports[way_.port].encrypted_only;
    if (packet.next_hop.kind == NextHopKind::gateway && !asked) last_ = packet.next_hop;
    family_ = packet.family;
    return true;
  }
  void close() noexcept {
    if (buffer_ != nullptr) buffer_->count = count_;
    buffer_ = nullptr;
    last_ = NextHop{};
  }

  Worker& worker_;
  Way way_{};
  NextHop last_{};
  Family family_{Family::none};
  TransmitBuffer* buffer_{nullptr};
  unsigned count_{0};
};

}  // namespace

void transmit(Worker& worker, Burst& burst) noexcept {
  Sender<Whose::ours> sender(worker);
  for (Packet& packet : burst) sender.send(packet);
  burst.count = 0;
}

void transmit_deferred(Worker& worker, Burst& burst) noexcept {
  Sender<Whose::ours> sender(worker);
  for (Packet& packet : burst) sender.send(packet, packet.outer_mtu);
  burst.count = 0;
}

void send_clear(Worker& worker, Burst& burst) noexcept {
  Sender<Whose::others> sender(worker);
  keep_if(burst, [&sender](Packet& packet) noexcept {
    if (packet.next_hop.kind == NextHopKind::tunnel) return true;
    sender.send(packet);
    return false;
  });
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
