#include "tests/dataplane/host/desk.hpp"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "dataplane/pool.hpp"

namespace espgate::test {

using namespace dataplane;

namespace {

constexpr std::uint64_t kSeed = 12345;

std::string unique(const char* kind) {
  static unsigned count = 0;
  return std::string(kind) + std::to_string(count++);
}

Ring make_ring(unsigned size) {
  Ring ring(rte_ring_create(unique("desk-ring-").c_str(), size, SOCKET_ID_ANY, 0));
  if (!ring) throw std::runtime_error("no ring");
  return ring;
}

Pool make_pool(unsigned buffers) {
  start_eal();
  Pool pool(make_packet_pool(unique("desk-pool-").c_str(), buffers, 0, 2048 + RTE_PKTMBUF_HEADROOM));
  if (!pool) throw std::runtime_error("no pool");
  return pool;
}

channel::Hello shape(unsigned workers) { return {workers, 512, 16, 9, 4, 2}; }

}  // namespace

Desk::Desk(unsigned count, unsigned buffers, std::uint32_t max_routes)
    : pool(make_pool(buffers)),
      page(shape(count)),
      tables(shape(count), {max_routes}, std::vector{Routes::Size{256, true}}),
      copies(make_ring(1024)),
      outbox(workers, pool.get(), page.header().main_thread),
      liveness(tables, outbox, control, kSeed),
      slow_path(tables, interfaces, outbox, peers, control, kSeed),
      twins("desk", tables, slow_path.resolver(), interfaces, outbox, kSeed),
      ike(tables, outbox, peers, control, kSeed, {kSeed, dataplane::Identifications::kMainThread}),
      ribs(tables),
      offload(tables),
      associations(tables, slow_path.resolver(), outbox, offload, peers, page, engine, RefusedSuites{}),
      groups(tables, slow_path.resolver(), liveness),
      kernel_routes(tables, groups, twins),
      mirror(tables, copies.get()),
      commands({tables, ribs, slow_path.resolver(), associations, groups, interfaces, peers, liveness, twins,
                kernel_routes, mirror, control}) {
  slow_path.set_owners(associations, commands, twins);
  for (std::uint32_t w = 0; w < count; w++) add_worker(w);
  add_port("lan", {"10.1.0.1/24", "fd00:1::1/64"});
  add_port("wan", {"192.0.2.1/24"});
  if (!add_port_routes(ribs, interfaces)) throw std::runtime_error("no room for the ports' routes");
  ribs.commit();
}

Desk::~Desk() {
  for (const Ring& ring : rings) {
    void* object = nullptr;
    while (rte_ring_dequeue(ring.get(), &object) == 0) rte_pktmbuf_free(static_cast<rte_mbuf*>(object));
  }
}

void Desk::add_worker(std::uint32_t index) {
  auto worker = std::make_unique<Worker>();
  worker->index = index;
  worker->tables = &tables;
  worker->workers = &workers;
  worker->counters = &page.worker(index);
  worker->pool = pool.get();
  worker->mirror = copies.get();
  worker->identifications = {kSeed, index};
  for (rte_ring** ring : {&worker->inbox, &worker->exceptions, &worker->ike, &worker->liveness}) {
    rings.push_back(make_ring(1024));
    *ring = rings.back().get();
  }
  for (Worker::TransmitQueue& queue : worker->transmit_queues) queue = {0, static_cast<std::uint16_t>(index)};
  workers.push_back(worker.get());
  owned.push_back(std::move(worker));
}

void Desk::add_port(std::string port_name, std::vector<std::string> addresses) {
  const auto index = static_cast<std::uint8_t>(interfaces.size());
  Interface interface {
    .name = std::move(port_name), .mac = {2, 0, 0, 0, 1, index}, .addresses = {}, .link_local = {}
  };
  interface.link_local = link_local_of(interface.mac);
  PortInfo& info = tables.ports[index];
  info.mac = interface.mac;
  info.mtu = 1500;
  info.up = true;
  for (const std::string& text : addresses) {
    const IpPrefix own = *parse_prefix(text);
    interface.addresses.push_back(own);
    (own.address.is_v4() ? info.address4 : info.address6) = own.address;
  }
  interfaces.push_back(std::move(interface));
}

rte_mbuf* Desk::make(const Octets& bytes) {
  rte_mbuf* mbuf = rte_pktmbuf_alloc(pool.get());
  if (mbuf == nullptr) throw std::runtime_error("no buffer");
  char* room = rte_pktmbuf_append(mbuf, static_cast<std::uint16_t>(bytes.size()));
  if (room == nullptr) throw std::runtime_error("a packet too large for its buffer");
  std::copy(bytes.begin(), bytes.end(), room);
  return mbuf;
}

void Desk::raise(Exception why, const Octets& data, std::uint8_t port, DropReason reason, std::uint16_t mtu,
                 std::uint32_t tunnel) {
  rte_mbuf* mbuf = make(data);
  note_of(mbuf) = Note{static_cast<std::uint8_t>(why), port, mtu, tunnel, NextHop{}, reason};
  slow_path.handle(mbuf, now);
}

void Desk::receive_ike(const std::vector<Octets>& packets) {
  std::vector<rte_mbuf*> mbufs;
  for (const Octets& octets : packets) mbufs.push_back(make(octets));
  ike.receive(mbufs, now);
}

bool Desk::serve_rings() {
  bool any = false;
  const auto each = [&any](rte_ring* ring, auto&& serve) {
    void* object = nullptr;
    for (; rte_ring_dequeue(ring, &object) == 0; any = true) serve(static_cast<rte_mbuf*>(object));
  };
  for (Worker* worker : workers) {
    each(worker->liveness, [&](rte_mbuf* packet) {
      if (!liveness.receive(packet, now)) slow_path.handle(packet, now);
    });
    each(worker->exceptions, [&](rte_mbuf* packet) { slow_path.handle(packet, now); });
    each(worker->ike, [&](rte_mbuf* packet) { ike.receive({&packet, 1}, now); });
    each(worker->inbox, [&](rte_mbuf* packet) { process_inbox(*worker, {&packet, 1}); });
  }
  return any;
}

Output Desk::pass(std::uint8_t port, const std::vector<Octets>& frames, unsigned worker) {
  std::vector<rte_mbuf*> mbufs;
  for (const Octets& frame : frames) mbufs.push_back(make(frame));
  process_received(*workers[worker], port, mbufs);
  while (serve_rings()) continue;
  Output out;
  for (Worker* from : workers)
    for (const std::uint8_t to : {kLan, kWan}) {
      TransmitBuffer& buffer = from->transmit[to];
      for (unsigned i = 0; i < buffer.count; i++) {
        const auto* data = rte_pktmbuf_mtod(buffer.packets[i], const std::uint8_t*);
        out.frames[to].emplace_back(data, data + buffer.packets[i]->data_len);
        rte_pktmbuf_free(buffer.packets[i]);
      }
      buffer.count = 0;
    }
  return out;
}

std::vector<Sent> Desk::sent() {
  std::vector<Sent> all;
  for (Worker* worker : workers) {
    void* object = nullptr;
    while (rte_ring_dequeue(worker->inbox, &object) == 0) {
      auto* mbuf = static_cast<rte_mbuf*>(object);
      const auto* data = rte_pktmbuf_mtod(mbuf, const std::uint8_t*);
      all.push_back(
          {static_cast<Errand>(note_of(mbuf).why), note_of(mbuf).port, {data, data + mbuf->data_len}});
      rte_pktmbuf_free(mbuf);
    }
  }
  return all;
}

void Desk::wait(std::uint64_t ns) {
  for (const std::uint64_t until = now + ns; now < until;) {
    now += kSecond / 4;
    slow_path.resolver().advance(now);
    tables.rcu.reclaim_ready();
  }
}

std::uint64_t Desk::drops(DropReason reason) const {
  auto& desk = const_cast<Desk&>(*this);
  return desk.page.header().main_thread.drops[static_cast<std::size_t>(reason)].load();
}

std::uint64_t Desk::all_drops() const {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < channel::kDropReasons; i++) sum += drops(static_cast<DropReason>(i));
  return sum;
}

void Desk::know(std::uint8_t port, std::string_view address, const Octets& mac) {
  dataplane::Mac bytes{};
  std::copy_n(mac.begin(), bytes.size(), bytes.begin());
  slow_path.resolver().heard_request(port, *parse_address(address), bytes, now);
  const NeighbourId id = tables.neighbours.find(port, *parse_address(address));
  tables.neighbours.set_link(id, NeighbourState::reachable, bytes.data());
}

channel::CommandStatus Desk::run(const channel::Command& wanted) {
  commands.execute(wanted, now);
  commands.settle(now);
  const auto last = std::find_if(control.events.rbegin(), control.events.rend(), [](const auto& event) {
    return event.kind == channel::EventKind::command_done;
  });
  if (last == control.events.rend() || last->body.command_done.sequence != wanted.sequence)
    throw std::runtime_error("answered another command");
  const channel::CommandStatus status = last->body.command_done.status;
  control.events.erase(std::next(last).base());
  return status;
}

const Octets& packet(const std::string& wanted) {
  static const std::map<std::string, Octets> all = [] {
    std::map<std::string, Octets> out;
    const auto file = nlohmann::json::parse(std::ifstream(HOST_PACKETS));
    for (const auto& [key, value] : file.items()) {
      const std::string text = value.get<std::string>();
      for (std::size_t i = 0; i + 1 < text.size(); i += 2)
        out[key].push_back(static_cast<std::uint8_t>(std::stoul(text.substr(i, 2), nullptr, 16)));
    }
    return out;
  }();
  return all.at(wanted);
}

std::string hex(const Octets& octets) {
  std::string out;
  for (const std::uint8_t byte : octets) {
    out += "0123456789abcdef"[byte >> 4];
    out += "0123456789abcdef"[byte & 15];
  }
  return out;
}

channel::Name name(std::string_view text) {
  channel::Name out{};
  text.copy(out.data(), out.size() - 1);
  return out;
}

channel::Command command(channel::CommandKind kind) {
  static std::uint64_t sequence = 0;
  channel::Command out{};
  out.sequence = ++sequence;
  out.kind = kind;
  return out;
}

channel::Command set_tunnel(std::uint32_t index, std::string_view remote) {
  channel::Command out = command(channel::CommandKind::set_tunnel);
  channel::SetTunnel& tunnel = out.body.set_tunnel;
  tunnel.index = index;
  tunnel.name = name("tunnel" + std::to_string(index));
  tunnel.interface_name = name("vti" + std::to_string(index));
  tunnel.addresses[0] = *parse_prefix("169.254." + std::to_string(index) + ".1/30");
  tunnel.address_count = 1;
  tunnel.local = *parse_address("192.0.2.1");
  tunnel.remote = *parse_address(remote);
  return out;
}

std::map<std::uint32_t, unsigned> buckets(const Desk& desk, std::uint32_t index) {
  std::map<std::uint32_t, unsigned> counts;
  const Group& group = *desk.tables.groups[index].load();
  for (const std::uint8_t place : group.buckets.member)
    counts[place == Buckets::kNobody ? kNobody : group.members[place].index]++;
  return counts;
}

channel::Command set_group(std::uint32_t index, const std::vector<std::uint32_t>& tunnels) {
  channel::Command out = command(channel::CommandKind::set_group);
  out.body.set_group.index = index;
  out.body.set_group.name = name("group" + std::to_string(index));
  for (const std::uint32_t tunnel : tunnels)
    out.body.set_group.members[out.body.set_group.member_count++] = {tunnel, {}, 1, 1};
  return out;
}

channel::Command set_route(std::string_view prefix, channel::RouteKind kind, std::uint32_t index,
                           std::string_view gateway) {
  channel::Command out = command(channel::CommandKind::set_route);
  out.body.set_route.destination = *parse_prefix(prefix);
  out.body.set_route.kind = kind;
  out.body.set_route.index = index;
  if (!gateway.empty()) out.body.set_route.gateway = *parse_address(gateway);
  return out;
}

namespace {

channel::Command install(channel::CommandKind kind, std::uint32_t tunnel, std::uint32_t spi) {
  channel::Command out = command(kind);
  channel::InstallSa& sa = out.body.install_sa;
  sa.tunnel = tunnel;
  sa.spi = spi;
  sa.suite = static_cast<std::uint16_t>(crypto::EspSuite::aes256_gcm16);
  sa.local = *parse_address("192.0.2.1");
  sa.remote = *parse_address("192.0.2.2");
  sa.keys.fill(static_cast<std::uint8_t>(spi));
  sa.replay_window = 64;
  sa.selectors = any_to_any();
  return out;
}

}  // namespace

channel::Command install_inbound(std::uint32_t tunnel, std::uint32_t spi) {
  return install(channel::CommandKind::install_inbound_sa, tunnel, spi);
}
channel::Command install_outbound(std::uint32_t tunnel, std::uint32_t spi) {
  return install(channel::CommandKind::install_outbound_sa, tunnel, spi);
}
channel::Command remove_sa(channel::CommandKind kind, std::uint32_t tunnel, std::uint32_t spi) {
  channel::Command out = command(kind);
  out.body.remove_sa = {tunnel, spi};
  return out;
}

}  // namespace espgate::test
