// Where a packet goes next: one bulk lookup for the burst, or for each run of packets of one route table.
// What goes no further than this gateway leaves here.
#include <rte_prefetch.h>

#include <cstring>

#include "dataplane/path/selectors.hpp"
#include "dataplane/path/ways.hpp"

namespace espgate::dataplane {

namespace {

// The addresses of a burst, of each family: those before `first` are answered, those before `end` written.
struct Asked {
  unsigned first4{0};
  unsigned end4{0};
  unsigned first6{0};
  unsigned end6{0};
};

void ask(Worker& worker, TableId table, Asked& asked) noexcept {
  Scratch& scratch = worker.scratch;
  const Routes& routes = worker.tables->routes(table);
  if (asked.first4 != asked.end4)
    routes.find(&scratch.addresses4[asked.first4], &scratch.next_hops4[asked.first4],
                asked.end4 - asked.first4);
  if (asked.first6 != asked.end6)
    routes.find6(&scratch.addresses6[asked.first6], &scratch.next_hops6[asked.first6],
                 asked.end6 - asked.first6);
  asked.first4 = asked.end4;
  asked.first6 = asked.end6;
}

// What follows each other and is of one table is looked up together; mostly that is the whole burst.
void look_up(Worker& worker, Burst& burst) noexcept {
  Scratch& scratch = worker.scratch;
  Asked asked;
  TableId table = burst[0].table;
  for (const Packet& packet : burst) {
    if (packet.table != table) [[unlikely]]
      ask(worker, std::exchange(table, packet.table), asked);
    if (packet.family == Family::v4) [[likely]]
      scratch.addresses4[asked.end4++] = load32(packet.ip + 16);
    else
      std::memcpy(scratch.addresses6[asked.end6++], packet.ip + 24, 16);
  }
  ask(worker, table, asked);
}

void to_ike(Worker& worker, Packet& packet) noexcept {
  set_data(packet.mbuf, packet.ip, packet.length);
  note_of(packet.mbuf) = Note{0, packet.port, 0, packet.tunnel, packet.next_hop, DropReason{}, packet.table};
  if (rte_ring_mp_enqueue(worker.ike, packet.mbuf) != 0) worker.drop(packet.mbuf, DropReason::ike_ring_full);
}

// UDP to port 4500 that is not ESP: IKE behind a non-ESP marker, or a keepalive (RFC 3948 section 2.3).
void nat_traversal(Worker& worker, Packet& packet, const std::uint8_t* udp, unsigned length) noexcept {
  const unsigned payload = length - kUdp;
  if (payload >= 4 && load<std::uint32_t>(udp + kUdp) == 0) return to_ike(worker, packet);
  const bool keepalive = payload == 1 && udp[kUdp] == 0xff;
  worker.drop(packet.mbuf, keepalive ? DropReason::nat_keepalive : DropReason::udp_encap_unknown);
}

// BFD (RFC 5881 section 4) and echo replies out of a tunnel: they do not wait behind what else goes to the
// main thread.
bool is_sign_of_life(const Packet& packet, const UpperLayer& upper) noexcept {
  constexpr std::uint16_t kBfd = 3784;
  constexpr std::uint8_t kEchoReply = 0;
  constexpr std::uint8_t kEchoReply6 = 129;
  if (packet.tunnel == Note::kNoTunnel || upper.fragment || packet.length < upper.offset + kUdp) return false;
  const std::uint8_t* const at = packet.ip + upper.offset;
  return (upper.protocol == kProtocolUdp && load16(at + 2) == kBfd) ||
         (upper.protocol == kProtocolIcmp && *at == kEchoReply) ||
         (upper.protocol == kProtocolIcmp6 && *at == kEchoReply6);
}

void to_liveness(Worker& worker, Packet& packet) noexcept {
  set_data(packet.mbuf, packet.ip, packet.length);
  note_of(packet.mbuf) = Note{static_cast<std::uint8_t>(Exception::to_host),
                              packet.port,
                              0,
                              packet.tunnel,
                              packet.next_hop,
                              DropReason{},
                              packet.table};
  if (rte_ring_mp_enqueue(worker.liveness, packet.mbuf) != 0)
    worker.drop(packet.mbuf, DropReason::liveness_full);
}

// To one of our addresses. IKE is taken from a port only: what came through a tunnel is not from its peer's
// IKE. Fragments go to the main thread, which puts together those that may be ESP or IKE. Out of line, for
// what is in line with it is in every packet's way.
[[gnu::noinline]] void deliver(Worker& worker, Packet& packet) noexcept {
  const UpperLayer upper = upper_layer(packet.ip, packet.family, packet.length);
  const bool udp = upper.protocol == kProtocolUdp;
  if (udp && !upper.fragment && packet.port != Note::kNoPort && packet.length >= upper.offset + kUdp) {
    const std::uint8_t* const at = packet.ip + upper.offset;
    const std::uint16_t port = load16(at + 2);
    if (port == kIkePort) return to_ike(worker, packet);
    if (port == kNatTraversalPort)
      return nat_traversal(worker, packet, at, static_cast<unsigned>(packet.length - upper.offset));
  }
  if (is_sign_of_life(packet, upper)) return to_liveness(worker, packet);
  leave(worker, packet, Exception::to_host, DropReason{});
}

// RFC 4291 section 2.5.6: what has a link-local source stays on its link.
bool stays_on_link(const Packet& packet) noexcept {
  return packet.family == Family::v6 && packet.forwarded && packet.ip[8] == 0xfe &&
         (packet.ip[9] & 0xc0) == 0x80;
}

// RFC 1812 section 5.3.1: the hop limit is looked at once it is known that the packet is not for us.
bool spend_hop(Worker& worker, Packet& packet) noexcept {
  if (!packet.forwarded) return true;
  if (hop_limit(packet.ip, packet.family) <= 1) {
    leave(worker, packet, Exception::ttl_exceeded, DropReason::ttl_exceeded);
    return false;
  }
  decrement_hop_limit(packet.ip, packet.family);
  return true;
}

[[gnu::always_inline]] inline bool goes_on(Worker& worker, Packet& packet) noexcept {
  switch (packet.next_hop.kind) {
    case NextHopKind::connected:
    case NextHopKind::gateway:
      worker.scratch.some_in_clear = true;
      [[fallthrough]];
    case NextHopKind::tunnel:
      if (!stays_on_link(packet)) [[likely]]
        return spend_hop(worker, packet);
      [[fallthrough]];
    case NextHopKind::none:
      leave(worker, packet, Exception::unreachable, DropReason::no_route);
      return false;
    case NextHopKind::host:
      deliver(worker, packet);
      return false;
    case NextHopKind::group:
      worker.scratch.some_in_groups = true;
      return true;
    case NextHopKind::blackhole:
      break;
  }
  worker.drop(packet.mbuf, DropReason::blackhole);
  return false;
}

const Group* group_of(const Worker& worker, const Packet& packet) noexcept {
  return worker.tables->groups[packet.next_hop.index].load(std::memory_order_acquire);
}

void fetch_member(Worker& worker, const Packet& packet, std::uint32_t& hash) noexcept {
  if (packet.next_hop.kind != NextHopKind::group) return;
  hash = flow_hash(packet.ip, packet.family, packet.length);
  const Group* const group = group_of(worker, packet);
  if (group == nullptr) return;
  rte_prefetch0(group);
  rte_prefetch0(&group->buckets.member[hash % Buckets::kCount]);
  rte_prefetch0(&group->packets[worker.index]);
}

// The first that is up and may have the packet.
[[gnu::noinline]] std::uint8_t place_by_selectors(const Worker& worker, const Group& group,
                                                  const Packet& packet) noexcept {
  for (const std::uint8_t place : group.asked) {
    if (place == Buckets::kNobody) break;
    const TunnelSlot& tunnel = worker.tables->tunnels[group.members[place].index];
    const OutboundSa* const sa = tunnel.outbound.load(std::memory_order_acquire);
    if (sa != nullptr && selectors_allow(*sa, packet.ip, packet.family, packet.length, true)) return place;
  }
  return Buckets::kNobody;
}

// ECMP: the packet goes on as if the route led to the member of its flow.
bool choose_member(Worker& worker, Packet& packet, std::uint32_t hash) noexcept {
  const Group* const group = group_of(worker, packet);
  std::uint8_t place = group == nullptr ? Buckets::kNobody : group->place_of(hash);
  if (group != nullptr && group->by_selectors) [[unlikely]] {
    place = place_by_selectors(worker, *group, packet);
    if (place == Buckets::kNobody && group->asked.front() != Buckets::kNobody) {
      worker.drop(packet.mbuf, DropReason::outside_selectors_out);
      return false;
    }
  }
  if (place == Buckets::kNobody) {
    leave(worker, packet, Exception::unreachable, DropReason::tunnel_down);
    return false;
  }
  packet.next_hop = group->members[place];
  if (packet.next_hop.kind == NextHopKind::tunnel)
    rte_prefetch0(&worker.tables->tunnels[packet.next_hop.index]);
  if (!goes_on(worker, packet)) return false;
  channel::add(group->packets[worker.index].by_place[place], 1);
  return true;
}

// Two walks: what the second reads of the groups is fetched by the first. A group never leads into a group.
[[gnu::noinline]] void choose_members(Worker& worker, Burst& burst) noexcept {
  std::array<std::uint32_t, kBurst> hashes;
  std::uint32_t* hash = hashes.data();
  for (const Packet& packet : burst) fetch_member(worker, packet, *hash++);
  const std::uint32_t* of = hashes.data();
  keep_if(burst, [&](Packet& packet) noexcept {
    const std::uint32_t its_own = *of++;
    return packet.next_hop.kind != NextHopKind::group || choose_member(worker, packet, its_own);
  });
}

}  // namespace

void route(Worker& worker, Burst& burst) noexcept {
  Scratch& scratch = worker.scratch;
  scratch.some_in_clear = scratch.some_in_groups = false;
  look_up(worker, burst);
  const NextHop* answer4 = scratch.next_hops4.data();
  const NextHop* answer6 = scratch.next_hops6.data();
  keep_if(burst, [&](Packet& packet) noexcept {
    packet.next_hop = packet.family == Family::v4 ? *answer4++ : *answer6++;
    if (packet.next_hop.kind == NextHopKind::tunnel)
      rte_prefetch0(&worker.tables->tunnels[packet.next_hop.index]);
    return goes_on(worker, packet);
  });
  if (scratch.some_in_groups) choose_members(worker, burst);
}

}  // namespace espgate::dataplane
