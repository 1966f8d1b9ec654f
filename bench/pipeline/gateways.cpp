#include "bench/pipeline/gateways.hpp"

#include <stdexcept>

#include "channel/spi.hpp"
#include "crypto/secret.hpp"
#include "dataplane/tables/buckets.hpp"

namespace espgate::bench {

using namespace dataplane;

namespace {

constexpr std::array<std::uint8_t, 6> kMac[] = {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}};

channel::Selectors any_to_any() {
  channel::Selectors selectors{};
  channel::Selector& all = selectors.local[0];
  all.first = *parse_address("0.0.0.0");
  all.last = *parse_address("255.255.255.255");
  all.last_port = 0xffff;
  selectors.remote[0] = all;
  selectors.local_count = selectors.remote_count = 1;
  return selectors;
}

void set_route(Forwarding& tables, const char* prefix, NextHop hop) {
  if (!tables.routes(kMainTable).set(*parse_prefix(prefix), hop))
    throw std::runtime_error("the route table is full");
}

// The next hop's link address is the port's own, so that what was sent can be received as it is.
NextHop add_port(Forwarding& tables, std::uint8_t port) {
  PortInfo& info = tables.ports[port];
  info.mac = kMac[port];
  info.up = true;
  const NeighbourId neighbour = tables.neighbours.ensure(port, *parse_address("192.0.2.9"));
  tables.neighbours.set_link(neighbour, NeighbourState::reachable, info.mac.data());
  return {NextHopKind::gateway, port, 0, neighbour};
}

rte_ring* make_ring(const std::string& name) {
  rte_ring* const ring = rte_ring_create(name.c_str(), 256, SOCKET_ID_ANY, 0);
  if (ring == nullptr) throw std::runtime_error("no memory for a ring");
  return ring;
}

}  // namespace

Gateways::Gateways(const Case& which, std::uint32_t workers, bool spread, rte_mempool* pool)
    : spread_(spread),
      shape_{workers, which.tunnels, which.tunnels, workers * which.tunnels, workers * which.tunnels, 2},
      page_(shape_),
      sender_(shape_, workers * which.tunnels + 16),
      receiver_(shape_, 16),
      selectors_(make_selector_set(any_to_any())),
      tunnel_{} {
  crypto::random_bytes(keys_);
  add_ports();
  for (std::uint32_t w = 0; w < workers; ++w) add_worker(w, pool);
  for (std::uint32_t w = 0; w < workers; ++w)
    for (std::uint32_t i = 0; i < which.tunnels; ++i) add_tunnel(w, i, which);
  sender_.routes(kMainTable).commit();
  receiver_.routes(kMainTable).commit();
}

Gateways::~Gateways() {
  for (rte_ring* const ring : rings_) {
    void* object = nullptr;
    while (rte_ring_dequeue(ring, &object) == 0) rte_pktmbuf_free(static_cast<rte_mbuf*>(object));
    rte_ring_free(ring);
  }
}

void Gateways::add_worker(std::uint32_t index, rte_mempool* pool) {
  Worker& worker = *owned_.emplace_back(std::make_unique<Worker>());
  workers_.push_back(&worker);
  worker.index = index;
  worker.tables = &sender_;
  worker.workers = &workers_;
  worker.counters = &page_.worker(index);
  worker.pool = pool;
  worker.transmit_queues.fill({0, static_cast<std::uint16_t>(index)});
  for (rte_ring** ring : {&worker.inbox, &worker.exceptions, &worker.ike, &worker.liveness})
    rings_.push_back(*ring = make_ring("bench-" + std::to_string(rings_.size())));
}

void Gateways::add_ports() {
  add_port(sender_, kOutside);
  add_port(sender_, kInside);
  add_port(receiver_, kOutside);
  set_route(receiver_, "0.0.0.0/0", add_port(receiver_, kInside));
  set_route(receiver_, "192.0.2.1/32", {NextHopKind::host, kOutside, 0, 0});
}

void Gateways::add_tunnel(std::uint32_t worker, std::uint32_t slot, const Case& which) {
  const std::uint32_t tunnel = worker * which.tunnels + slot;
  channel::InstallSa install{};
  install.tunnel = tunnel;
  install.spi = channel::make_spi(worker, 1, slot);
  install.suite = static_cast<std::uint16_t>(which.suite->suite);
  install.local = *parse_address("192.0.2.2");  // the sender's view; the receiver's is the mirror image
  install.remote = *parse_address("192.0.2.1");
  install.worker = static_cast<decltype(install.worker)>(worker);
  install.replay_window = 1024;
  install.keys = keys_;

  OutboundSa& out = sender_.outbound[worker][slot];
  channel::InstallSa mirrored = install;
  std::swap(mirrored.local, mirrored.remote);
  InboundSa& in = receiver_.inbound[worker].slots[slot];
  if (!prepare(out, install, selectors_, workers_[worker]->engine) ||
      !prepare(in, mirrored, selectors_, workers_[worker]->engine))
    throw std::runtime_error("the SA can't be prepared");
  out.outer = {NextHopKind::gateway, kOutside, 0,
               sender_.neighbours.find(kOutside, *parse_address("192.0.2.9"))};
  out.spi = in.spi = install.spi;
  sender_.tunnels[tunnel].tunnel = &tunnel_;
  sender_.tunnels[tunnel].fit = receiver_.tunnels[tunnel].fit = Fit{1438, false, spread_};
  sender_.tunnels[tunnel].outbound = &out;
  const IpPrefix prefix{v4_from_host_order(destination(tunnel)), 24};
  const NextHop hop = which.groups ? NextHop{NextHopKind::group, 0, 0, group_of(tunnel)}
                                   : NextHop{NextHopKind::tunnel, 0, 0, tunnel};
  if (!sender_.routes(kMainTable).set(prefix, hop)) throw std::runtime_error("the route table is full");
}

// The group of this tunnel and its neighbour.
std::uint32_t Gateways::group_of(std::uint32_t tunnel) {
  const std::uint32_t index = tunnel / 2;
  if (sender_.groups[index] != nullptr) return index;
  packets_.push_back(std::make_unique<GroupPackets[]>(workers_.size()));
  auto group = std::make_unique<Group>();
  group->packets = packets_.back().get();
  group->buckets = home_of(Weights{1, 1});
  for (std::uint32_t i = 0; i < 2; ++i) group->members[i] = {NextHopKind::tunnel, 0, 0, 2 * index + i};
  sender_.groups[index] = groups_.emplace_back(std::move(group)).get();
  return index;
}

std::string Gateways::drops() const {
  std::string words;
  const auto tell = [&words](std::string_view what, std::uint64_t count) {
    if (count != 0) words.append(" ").append(what).append(": ").append(std::to_string(count));
  };
  for (const Worker* worker : workers_) {
    for (std::size_t i = 0; i < channel::kDropReasons; ++i)
      tell(channel::kDropReasonText[i].name, worker->counters->drops[i].load());
    tell("raised", rte_ring_count(worker->exceptions));
  }
  return words;
}

}  // namespace espgate::bench
