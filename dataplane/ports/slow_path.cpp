#include "dataplane/ports/slow_path.hpp"

#include <array>
#include <optional>

#include "channel/spi.hpp"
#include "dataplane/commands.hpp"
#include "dataplane/kernel/twins.hpp"
#include "dataplane/path/cleartext.hpp"
#include "dataplane/path/headers.hpp"
#include "dataplane/ports/arp.hpp"
#include "dataplane/ports/checksum.hpp"
#include "dataplane/ports/nd.hpp"
#include "dataplane/ports/too_big.hpp"

namespace espgate::dataplane {

namespace {

constexpr std::uint8_t kEchoRequest = 8;
constexpr std::uint8_t kEchoRequest6 = 128;
constexpr std::uint16_t kUnreachable = 3;  // of which code 4 is "fragmentation needed"
constexpr std::uint8_t kFragmentationNeeded = 4;
constexpr std::uint8_t kUnreachable6 = 1;
constexpr std::uint8_t kPacketTooBig6 = 2;
constexpr std::uint16_t kIcmpHeader = 8;

// Data at an IP header that a worker found valid; checked again, because a wrong length here would be a wrong
// read.
std::uint16_t checked_length(rte_mbuf* packet) noexcept {
  const auto* ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  if (packet->data_len == 0) return 0;
  return ip[0] >> 4 == 4 ? checked_ipv4(ip, packet->data_len) : checked_ipv6(ip, packet->data_len);
}

DropReason malformed(rte_mbuf* packet) noexcept {
  const bool v6 = packet->data_len > 0 && *rte_pktmbuf_mtod(packet, const std::uint8_t*) >> 4 == 6;
  return v6 ? DropReason::malformed_ipv6 : DropReason::malformed_ipv4;
}

DropReason reason_of(const Note& note) noexcept {
  return note.reason < DropReason::count_ ? note.reason : DropReason::no_route;
}

// Of the ESP header behind the outer one; nullopt: the packet ends before it.
std::optional<std::uint32_t> spi_in(rte_mbuf* packet) {
  const auto* ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  const UpperLayer upper = *ip >> 4 == 4 ? upper_layer4(ip) : upper_layer6(ip, packet->data_len);
  const std::uint32_t at = upper.offset + (upper.protocol == kProtocolUdp ? kUdp : 0U);
  if (at + kEsp > packet->data_len) return std::nullopt;
  return load32(ip + at);
}

// Port 500, or port 4500 with the non-ESP marker (RFC 3948 section 2.2). A first fragment may be so short
// that the marker is in the next segment.
bool is_ike(rte_mbuf* packet) noexcept {
  const auto* ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  const UpperLayer upper = *ip >> 4 == 4 ? upper_layer4(ip) : upper_layer6(ip, packet->data_len);
  std::array<std::uint8_t, kUdp + 4> room;
  const auto* udp =
      static_cast<const std::uint8_t*>(rte_pktmbuf_read(packet, upper.offset, room.size(), room.data()));
  if (upper.protocol != kProtocolUdp || udp == nullptr) return false;
  const std::uint16_t port = load16(udp + 2);
  return port == kIkePort || (port == kNatTraversalPort && load32(udp + kUdp) == 0);
}

}  // namespace

SlowPath::SlowPath(Forwarding& tables, const Interfaces& interfaces, Outbox& outbox, const KnownPeers& peers,
                   ControlLink& control, std::uint64_t seed)
    : tables_(tables),
      interfaces_(interfaces),
      outbox_(outbox),
      peers_(peers),
      control_(control),
      icmp_(tables, interfaces, outbox, peers, seed),
      resolver_(tables, interfaces, outbox,
                [this](rte_mbuf* packet, std::uint64_t now) { unreachable_neighbour(packet, now); }),
      early_(tables, outbox, [this](rte_mbuf* packet, std::uint64_t now) { nobodys_spi(packet, now); }),
      reassembly_(outbox, peers, seed),
      unknown_spis_(control, seed),
      too_big_limit_(kTooBigLimits, ~seed) {
  icmp_.set_resolver(resolver_);
}

void SlowPath::announce(std::uint8_t port) noexcept {
  const Interface& interface = interfaces_[port];
  for (const IpPrefix& own : interface.addresses)
    own.address.is_v4() ? announce_by_arp(outbox_, port, interface, own.address)
                        : announce_by_nd(outbox_, port, interface, own.address);
}

void SlowPath::handle(rte_mbuf* packet, std::uint64_t now) {
  if (packet->nb_segs > 1 && rte_pktmbuf_linearize(packet) != 0)
    return outbox_.drop(packet, DropReason::no_buffer);
  const Note note = note_of(packet);
  const auto why = static_cast<Exception>(note.why);
  if (why == Exception::peer_moved) return peer_moved(packet, now);
  if (why == Exception::arp) {
    if (note.port >= interfaces_.size()) return outbox_.drop(packet, DropReason::arp_malformed);
    return handle_arp(outbox_, resolver_, note.port, interfaces_[note.port], packet, now);
  }
  const std::uint16_t length = checked_length(packet);
  if (length == 0) return outbox_.drop(packet, malformed(packet));
  rte_pktmbuf_trim(packet, static_cast<std::uint16_t>(packet->data_len - length));  // the frame's padding
  switch (why) {
    case Exception::to_host:
      return to_host(packet, now);
    case Exception::ttl_exceeded:
      return tell_and_drop(packet, IcmpError::ttl_exceeded, 0, now);
    case Exception::too_big:
      return tell_and_drop(packet, IcmpError::too_big, note.mtu, now);
    case Exception::unreachable: {
      const bool down = reason_of(note) == DropReason::tunnel_down;
      return tell_and_drop(packet, down ? IcmpError::host_unreachable : IcmpError::no_route, 0, now);
    }
    case Exception::resolve:
      return resolve(packet, now);
    case Exception::unknown_spi:
      return unknown_spi(packet, now);
    case Exception::arp:
    case Exception::peer_moved:
      break;
  }
  outbox_.drop(packet, DropReason::host_protocol);
}

void SlowPath::tell_and_drop(rte_mbuf* packet, IcmpError what, std::uint32_t argument,
                             std::uint64_t now) noexcept {
  icmp_.error(packet, what, argument, now);
  outbox_.drop(packet, reason_of(note_of(packet)));
}

void SlowPath::unreachable_neighbour(rte_mbuf* packet, std::uint64_t now) noexcept {
  icmp_.error(packet, IcmpError::host_unreachable, 0, now);
  outbox_.drop(packet, DropReason::neighbour_unresolved);
}

// The route is looked up again: the note's may be gone by now.
void SlowPath::resolve(rte_mbuf* packet, std::uint64_t now) {
  const IpAddress destination = destination_of(rte_pktmbuf_mtod(packet, const std::uint8_t*));
  const bool v4 = *rte_pktmbuf_mtod(packet, const std::uint8_t*) >> 4 == 4;
  const std::uint32_t flow = flow_hash(rte_pktmbuf_mtod(packet, const std::uint8_t*),
                                       v4 ? Family::v4 : Family::v6, packet->data_len);
  const NextHop to = tables_.member(tables_.routes(note_of(packet).table).find_one(destination), flow);
  if (goes_in_clear(packet, to)) return outbox_.drop(packet, DropReason::cleartext_out);
  if (to.kind == NextHopKind::connected) return resolver_.send(to.port, destination, packet, now);
  if (to.kind == NextHopKind::gateway) {
    const Neighbour& gateway = tables_.neighbours.entry(to.index);
    return resolver_.send(gateway.port, gateway.address, packet, now);
  }
  note_of(packet).reason = DropReason::no_route;
  tell_and_drop(packet, IcmpError::no_route, 0, now);
}

// Of a packet that a worker had for another port: by one that is encrypted-only, and nothing that may be.
bool SlowPath::goes_in_clear(rte_mbuf* packet, NextHop to) const noexcept {
  if (to.kind != NextHopKind::connected && to.kind != NextHopKind::gateway) return false;
  const std::uint8_t asked = note_of(packet).next_hop.port;
  if (to.port == asked || !tables_.ports[to.port].encrypted_only) return false;
  const auto* ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  return !may_go_in_clear(ip, *ip >> 4 == 4 ? Family::v4 : Family::v6, packet->data_len);
}

// By a port that is encrypted-only, and nothing that is let through there.
bool SlowPath::came_in_clear(rte_mbuf* packet) const noexcept {
  const Note& note = note_of(packet);
  if (note.port >= interfaces_.size() || !tables_.ports[note.port].encrypted_only) return false;
  const auto* ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  return !may_come_in_clear(ip, *ip >> 4 == 4 ? Family::v4 : Family::v6, packet->data_len);
}

// RFC 4301 section 5.2, step 4: what the policy protects and came in clear. The neighbours of a link must
// find each other before there is any SA.
bool SlowPath::lacks_protection(rte_mbuf* packet) const {
  const auto* ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  const Note& note = note_of(packet);
  if (note.tunnel != Note::kNoTunnel) return false;
  const bool v4 = ip[0] >> 4 == 4;
  const UpperLayer upper = upper_layer(ip, v4 ? Family::v4 : Family::v6, packet->data_len);
  if (upper.protocol == kProtocolEsp || upper.fragment) return false;
  const bool discovery = upper.protocol == kProtocolIcmp6 && upper.offset < packet->data_len &&
                         is_neighbour_discovery(ip[upper.offset]);
  return !discovery && peers_.transport(note.table, destination_of(ip), source_of(ip)).has_value();
}

void SlowPath::to_host(rte_mbuf* packet, std::uint64_t now) {
  if (came_in_clear(packet)) return outbox_.drop(packet, DropReason::cleartext_in);
  if (lacks_protection(packet)) return outbox_.drop(packet, DropReason::unprotected);
  *rte_pktmbuf_mtod(packet, const std::uint8_t*) >> 4 == 4 ? to_host4(packet, now) : to_host6(packet, now);
}

void SlowPath::to_host4(rte_mbuf* packet, std::uint64_t now) {
  const auto* ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  const std::uint16_t length = packet->data_len;
  const UpperLayer upper = upper_layer4(ip);
  if (tables_.routes(note_of(packet).table).find_one(destination_of(ip)).kind != NextHopKind::host)
    return outbox_.drop(packet, DropReason::multicast);
  if (upper.fragment) return fragment(packet, upper.protocol, now);
  if (upper.protocol != kProtocolIcmp) return refuse(packet, upper.protocol, 0, now);
  const auto own = static_cast<std::uint16_t>(length - upper.offset);
  if (own < kIcmpHeader || checksum(ip + upper.offset, own) != 0)
    return outbox_.drop(packet, DropReason::malformed_ipv4);
  if (ip[upper.offset] == kUnreachable && ip[upper.offset + 1] == kFragmentationNeeded)
    return too_big(packet, upper.offset, Family::v4, now);
  if (ip[upper.offset] == kUnreachable) return undelivered(packet, upper.offset, Family::v4, now);
  if (ip[upper.offset] != kEchoRequest) return to_kernel(packet, DropReason::host_protocol, now);
  icmp_.echo(packet, upper.offset, length, now);
}

void SlowPath::to_host6(rte_mbuf* packet, std::uint64_t now) {
  const auto* ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  const std::uint16_t length = packet->data_len;
  const Note note = note_of(packet);
  const UpperLayer upper = upper_layer6(ip, length);
  const IpAddress destination = destination_of(ip);
  const bool group = is_multicast(destination);
  // The workers hand up whatever goes to a link-local address: it is one of this port's, or nobody's here.
  const bool ours = note.port < interfaces_.size() && owns(interfaces_[note.port], destination);
  if (is_link_local(destination) && !ours) return outbox_.drop(packet, DropReason::no_route);
  if (upper.fragment) return group ? outbox_.drop(packet, DropReason::host_fragment) : fragment6(packet, now);
  if (upper.protocol != kProtocolIcmp6)
    return group ? outbox_.drop(packet, DropReason::multicast) : refuse(packet, upper.protocol, 6, now);
  const auto own = static_cast<std::uint16_t>(length - upper.offset);
  if (own < kIcmpHeader || checksum6(ipv6(ip), kProtocolIcmp6, ip + upper.offset, own) != 0)
    return outbox_.drop(packet, DropReason::malformed_ipv6);
  const std::uint8_t type = ip[upper.offset];
  if (is_neighbour_discovery(type)) {
    const bool from_link = note.port < interfaces_.size() && note.tunnel == Note::kNoTunnel;
    if (!from_link) return outbox_.drop(packet, DropReason::nd_malformed);
    return handle_nd(outbox_, resolver_, note.port, interfaces_[note.port], packet, upper.offset, length,
                     now);
  }
  if (group) return outbox_.drop(packet, DropReason::multicast);
  if (type == kPacketTooBig6) return too_big(packet, upper.offset, Family::v6, now);
  if (type == kUnreachable6) return undelivered(packet, upper.offset, Family::v6, now);
  if (type != kEchoRequest6) return to_kernel(packet, DropReason::host_protocol, now);
  icmp_.echo(packet, upper.offset, length, now);
}

// Programs of this machine serve it, or the kernel itself; where there is no twin of the interface by which
// it came, nobody does.
void SlowPath::to_kernel(rte_mbuf* packet, DropReason otherwise, std::uint64_t now) {
  if (!twins_->take(packet, now)) outbox_.drop(packet, otherwise);
}

// Nobody puts other extension headers before ESP or UDP on the way to a gateway.
void SlowPath::fragment6(rte_mbuf* packet, std::uint64_t now) {
  const auto* ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  if (ip[6] != kProtocolFragment) return to_kernel(packet, DropReason::host_fragment, now);
  fragment(packet, ip[kIpv6], now);
}

// What came out of a tunnel is not outer: its fragments must not meet those from the wire.
void SlowPath::fragment(rte_mbuf* packet, std::uint8_t protocol, std::uint64_t now) {
  const bool outer = note_of(packet).port != Note::kNoPort;
  if (!outer || (protocol != kProtocolEsp && protocol != kProtocolUdp))
    return to_kernel(packet, DropReason::host_fragment, now);
  rte_mbuf* const whole = reassembly_.add(packet, now);
  if (whole != nullptr) reassembled(whole);
}

// IKE stays in its segments, because it may be larger than a buffer. Whatever else it is, a worker finds out,
// as of a packet that came whole.
void SlowPath::reassembled(rte_mbuf* packet) {
  if (is_ike(packet)) return outbox_.ike(packet);
  packet = outbox_.in_one_segment(packet);
  if (packet == nullptr) return;
  const std::uint32_t owner = channel::spi_worker(spi_in(packet).value_or(0));
  outbox_.decrypt(owner < tables_.shape.workers ? owner : 0, packet);
}

void SlowPath::refuse(rte_mbuf* packet, std::uint8_t protocol, std::uint32_t pointer,
                      std::uint64_t now) noexcept {
  if (twins_->take(packet, now)) return;
  const bool ports = protocol == kProtocolUdp || protocol == kProtocolTcp || protocol == kProtocolSctp;
  icmp_.error(packet, ports ? IcmpError::port_unreachable : IcmpError::protocol_unreachable,
              ports ? 0 : pointer, now);
  outbox_.drop(packet, DropReason::host_protocol);
}

// RFC 4301 section 8.2. From the wire only: what came out of a tunnel is not about outer packets. It may be
// about a packet of the kernel's.
void SlowPath::too_big(rte_mbuf* packet, std::uint16_t icmp, Family family, std::uint64_t now) {
  const auto* ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  const IpAddress source = source_of(ip);
  if (note_of(packet).port == Note::kNoPort) return to_kernel(packet, DropReason::icmp_unbelieved, now);
  if (!too_big_limit_.take(source, now)) return outbox_.drop(packet, DropReason::icmp_rate_limited);
  const std::optional<TooBig> said =
      read_too_big({ip + icmp, static_cast<std::size_t>(packet->data_len - icmp)}, family);
  if (!said || !commands_->path_too_big(*said, source, now))
    return to_kernel(packet, DropReason::icmp_unbelieved, now);
  rte_pktmbuf_free(packet);
}

// From the wire only, as above. It may be about a packet of the kernel's.
void SlowPath::undelivered(rte_mbuf* packet, std::uint16_t icmp, Family family, std::uint64_t now) {
  const auto* ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  const Note note = note_of(packet);
  const std::optional<Undelivered> said =
      read_undelivered({ip + icmp, static_cast<std::size_t>(packet->data_len - icmp)}, family);
  if (note.port == Note::kNoPort || !said || !peers_.contains(note.table, said->ends.remote))
    return to_kernel(packet, DropReason::host_protocol, now);
  const IpAddress source = source_of(ip);
  if (!too_big_limit_.take(source, now)) return outbox_.drop(packet, DropReason::icmp_rate_limited);
  channel::Event event{};
  event.kind = channel::EventKind::ike_unreachable;
  event.body.ike_unreachable = {
      note.table, said->what, said->ends.local, said->ends.remote, said->ends.remote_port, source};
  control_.tell(event);
  rte_pktmbuf_free(packet);
}

void SlowPath::peer_moved(rte_mbuf* word, std::uint64_t now) {
  associations_->heard_from(load<Move>(rte_pktmbuf_mtod(word, const std::uint8_t*)), control_, now);
  rte_pktmbuf_free(word);
}

void SlowPath::unknown_spi(rte_mbuf* packet, std::uint64_t now) {
  const std::optional<std::uint32_t> spi = spi_in(packet);
  if (!spi || !early_.keep(packet, *spi, now)) nobodys_spi(packet, now);
}

void SlowPath::nobodys_spi(rte_mbuf* packet, std::uint64_t now) {
  const auto* ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  const IpAddress source = source_of(ip);
  const std::optional<std::uint32_t> spi = spi_in(packet);
  if (spi) unknown_spis_.note(source, destination_of(ip), *spi, now);
  outbox_.drop(packet, reason_of(note_of(packet)));
}

}  // namespace espgate::dataplane
