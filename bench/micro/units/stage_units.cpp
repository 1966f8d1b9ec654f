#include <random>

#include "bench/micro/units/meter.hpp"
#include "bench/micro/units/testbed.hpp"
#include "dataplane/path/mtu.hpp"

namespace espgate::bench {

using namespace dataplane;

namespace {

Unit classify_burst(const char* name, Writer write) {
  return {name, [=](const Meter& meter) {
            Testbed bed({.inbound_slots = kBurst});
            Packets packets(write);
            Scratch& scratch = bed.worker().scratch;
            const Figure figure = meter.repeat(kBurst, [&] {
              scratch.plain.count = scratch.esp.count = 0;
              classify(bed.worker(), kPort, packets.frames());
            });
            require(scratch.plain.count + scratch.esp.count == kBurst, "not every packet was let through");
            return figure;
          }};
}

Figure sort_burst(const Meter& meter) {
  Testbed bed;
  Packets packets(udp4);
  for (unsigned i = 0; i < kBurst; ++i) set_data(packets.frames()[i], packets.ip(i), packets.length(i));
  Burst& plain = bed.worker().scratch.plain;
  const Figure figure = meter.repeat(kBurst, [&] {
    plain.count = 0;
    for (rte_mbuf* const mbuf : packets.frames())
      sort_ip(bed.worker(), mbuf, {Note::kNoPort, kMainTable, false});
  });
  require(plain.count == kBurst, "not every packet was let through");
  return figure;
}

// The first 64 bits of a random network: /24 of IPv4, in the upper half, or /32.
std::uint64_t random_network(Family family, std::mt19937_64& random) {
  if (family == Family::v4) return (0x10000000 | (random() & 0x7fffff00)) << 32;
  return 0x2000000000000000 | (random() & 0x1fffffff00000000);
}

IpPrefix prefix_of(Family family, std::uint64_t network) {
  IpPrefix prefix{{{}, family}, static_cast<std::uint8_t>(family == Family::v4 ? 24 : 32)};
  store(prefix.address.bytes.data(), __builtin_bswap64(network));
  return prefix;
}

std::vector<std::uint64_t> add_routes(Testbed& bed, Family family, std::uint32_t count) {
  std::mt19937_64 random(1);
  Routes& routes = bed.tables().routes(kMainTable);
  std::vector<std::uint64_t> networks;
  while (routes.all().size() < count) {
    networks.push_back(random_network(family, random));
    require(routes.set(prefix_of(family, networks.back()), bed.gateway()), "the route table is full");
  }
  routes.commit();
  return networks;
}

// Another host of the same network, and a hop limit as it came.
void aim(const Packet& packet, std::uint64_t network, std::uint64_t host) {
  if (packet.family == Family::v4) {
    store32(packet.ip + 16, static_cast<std::uint32_t>(network >> 32 | (host & 0xff)));
    packet.ip[8] = 64;
  } else {
    store(packet.ip + 24, __builtin_bswap64(network | (host & 0xffffffff)));
    packet.ip[7] = 64;
  }
}

// Of IPv6, 100,000 routes longer than /24 only go into a table that is made for many next hops.
Size size_for(Family family, std::uint32_t routes) {
  const bool narrow = family == Family::v4 || routes == 1;
  return {.max_tunnels = narrow ? 1 : Routes::kNarrow, .max_routes = routes};
}

// Every burst goes elsewhere, so that a table's memory costs what it costs.
Unit route_burst(const char* name, Family family, std::uint32_t count) {
  return {name, [=](const Meter& meter) {
            Testbed bed(size_for(family, count));
            const std::vector<std::uint64_t> networks = add_routes(bed, family, count);
            Packets packets(family == Family::v4 ? udp4 : udp6);
            Burst& burst = bed.receive(packets);
            std::mt19937_64 random(2);
            const auto choose = [&] {
              for (const Packet& packet : burst) aim(packet, networks[random() % networks.size()], random());
            };
            const Figure figure = meter.after(choose, kBurst, [&] { route(bed.worker(), burst); });
            require(burst.count == kBurst && burst[0].next_hop == bed.gateway(), "a packet found no route");
            return figure;
          }};
}

// `send` is given packets on their way to `hop`.
template <class Send>
Figure send_burst(const Meter& meter, Testbed& bed, NextHop hop, Send send) {
  Packets packets(udp4);
  Burst& burst = bed.receive(packets);
  for (Packet& packet : burst) packet.next_hop = hop;
  TransmitBuffer& buffer = bed.worker().transmit[kPort];
  const Figure figure = meter.repeat(kBurst, [&] {
    burst.count = kBurst;
    buffer.count = 0;
    send(bed.worker(), burst);
  });
  require(buffer.count == kBurst, "not every packet was sent");
  return figure;
}

Figure transmit_to_gateway(const Meter& meter) {
  Testbed bed;
  return send_burst(meter, bed, bed.gateway(), transmit);
}

Figure transmit_connected(const Meter& meter) {
  Testbed bed;
  for (std::uint32_t i = 0; i < kBurst; ++i) bed.add_neighbour(v4_from_host_order((10U << 24 | 2 << 16) + i));
  return send_burst(meter, bed, {NextHopKind::connected, kPort, 0, 0}, transmit);
}

Figure send_in_clear(const Meter& meter) {
  Testbed bed;
  return send_burst(meter, bed, bed.gateway(), send_clear);
}

Unit fit_burst(const char* name, Writer write, bool clamp_mss) {
  return {name, [=](const Meter& meter) {
            Testbed bed;
            bed.tables().tunnels[0].fit = Fit{1400, clamp_mss, false};
            Packets packets(write);
            Burst& burst = bed.receive(packets);
            for (Packet& packet : burst) packet.tunnel = 0;
            unsigned refused = 0;
            const Figure figure = meter.repeat(kBurst, [&] {
              for (Packet& packet : burst) keep(refused += fit_mtu(bed.worker(), packet) ? 0 : 1);
            });
            require(refused == 0, "a packet does not fit");
            return figure;
          }};
}

// Packets that are used up by what is measured, so that every round needs new ones; what came out goes back
// to the pool before.
Figure cut_in_two(const Meter& meter) {
  Testbed bed;
  std::array<rte_mbuf*, kBurst> whole;
  std::array<rte_mbuf*, 2 * kBurst> pieces;
  unsigned count = 0;
  const auto fresh = [&] {
    rte_pktmbuf_free_bulk(pieces.data(), count);
    count = 0;
    require(rte_pktmbuf_alloc_bulk(bed.worker().pool, whole.data(), kBurst) == 0, "no packet buffers");
    for (unsigned i = 0; i < kBurst; ++i) {
      std::uint8_t* const ip = rte_pktmbuf_mtod(whole[i], std::uint8_t*);
      set_data(whole[i], ip, large4(ip, i));
    }
  };
  const Figure figure = meter.after(fresh, kBurst, [&] {
    for (rte_mbuf* const mbuf : whole)
      count += cut(bed.worker(), mbuf, 1400, std::span(pieces).subspan(count));
  });
  require(count == pieces.size(), "not every packet was cut in two");
  return figure;
}

Figure drop_burst(const Meter& meter) {
  Testbed bed;
  std::array<rte_mbuf*, kBurst> packets;
  const auto fresh = [&] {
    require(rte_pktmbuf_alloc_bulk(bed.worker().pool, packets.data(), kBurst) == 0, "no packet buffers");
  };
  return meter.after(fresh, kBurst, [&] {
    for (rte_mbuf* const mbuf : packets) bed.worker().drop(mbuf, DropReason::no_route);
  });
}

Figure nothing_deferred(const Meter& meter) {
  Testbed bed;
  Burst burst;
  return meter.repeat(1, [&] { keep(next_deferred(bed.worker(), burst)); });
}

// The others move up.
Figure lose_first(const Meter& meter) {
  Testbed bed;
  Packets packets(udp4);
  Burst& burst = bed.receive(packets);
  return meter.repeat(kBurst, [&] {
    burst.count = kBurst;
    keep_if(burst, [&burst](const Packet& packet) noexcept { return &packet != burst.begin(); });
    keep(burst.count);
  });
}

}  // namespace

Units stage_units() {
  return {classify_burst("classify, IPv4", udp4),
          classify_burst("classify, IPv6", udp6),
          classify_burst("classify, ESP", esp4),
          {"sort_ip, IPv4", sort_burst},
          route_burst("route, IPv4, 1 route", Family::v4, 1),
          route_burst("route, IPv4, 100000 routes", Family::v4, 100'000),
          route_burst("route, IPv6, 1 route", Family::v6, 1),
          route_burst("route, IPv6, 100000 routes", Family::v6, 100'000),
          {"keep_if, the first of 64 goes", lose_first},
          fit_burst("fit_mtu", udp4, false),
          fit_burst("fit_mtu, MSS clamp, TCP without SYN", tcp4, true),
          {"cut, 1500 bytes into 2 fragments", cut_in_two},
          {"next_deferred, none", nothing_deferred},
          {"transmit, gateway", transmit_to_gateway},
          {"transmit, connected", transmit_connected},
          {"send_clear, gateway", send_in_clear},
          {"drop", drop_burst}};
}

}  // namespace espgate::bench
