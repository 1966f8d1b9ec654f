#include "bench/micro/units/testbed.hpp"

#include <stdexcept>
#include <string>

#include "bench/micro/units/meter.hpp"
#include "dataplane/pool.hpp"

namespace espgate::bench {

using namespace dataplane;

namespace {

constexpr unsigned kBuffers = 1023;
constexpr unsigned kAtHand = 256;  // of them, as many as the dataplane keeps for each worker

rte_ring* make_ring(const std::string& name) {
  rte_ring* const ring = rte_ring_create(name.c_str(), 256, SOCKET_ID_ANY, RING_F_SC_DEQ);
  if (ring == nullptr) throw std::runtime_error("no memory for a ring");
  return ring;
}

}  // namespace

Testbed::Testbed(const Size& size)
    : shape_{size.workers, size.inbound_slots, 1, size.max_tunnels, 1, 1},
      page_(shape_),
      tables_(shape_, size.max_routes),
      pool_(make_packet_pool("packets", kBuffers, kAtHand, RTE_MBUF_DEFAULT_BUF_SIZE)) {
  if (pool_ == nullptr) throw std::runtime_error("no memory for packet buffers");
  tables_.ports[kPort].mac = kMac;
  tables_.ports[kPort].up = true;
  gateway_ = {NextHopKind::gateway, kPort, 0, add_neighbour(*parse_address("192.0.2.9"))};
  for (std::uint32_t i = 0; i < size.workers; ++i) add_worker(i);
}

Testbed::~Testbed() {
  for (rte_ring* const ring : rings_) rte_ring_free(ring);
  rte_mempool_free(pool_);
}

void Testbed::add_worker(std::uint32_t index) {
  Worker& worker = *owned_.emplace_back(std::make_unique<Worker>());
  workers_.push_back(&worker);
  worker.index = index;
  worker.tables = &tables_;
  worker.workers = &workers_;
  worker.counters = &page_.worker(index);
  worker.pool = pool_;
  worker.transmit_queues.fill({0, static_cast<std::uint16_t>(index)});
  for (rte_ring** ring : {&worker.inbox, &worker.exceptions, &worker.ike, &worker.liveness})
    rings_.push_back(*ring = make_ring("units-" + std::to_string(rings_.size())));
}

NeighbourId Testbed::add_neighbour(const IpAddress& address) {
  const NeighbourId neighbour = tables_.neighbours.ensure(kPort, address);
  if (neighbour == kNoNeighbour) throw std::runtime_error("the neighbour table is full");
  tables_.neighbours.set_link(neighbour, NeighbourState::reachable, kMac.data());
  return neighbour;
}

Burst& Testbed::receive(Packets& packets) {
  Burst& plain = worker().scratch.plain;
  plain.count = 0;
  classify(worker(), kPort, packets.frames());
  require(plain.count == kBurst, "not every packet was received");
  return plain;
}

}  // namespace espgate::bench
