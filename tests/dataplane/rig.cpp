#include "tests/dataplane/rig.hpp"

#include <rte_mempool.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "channel/spi.hpp"
#include "dataplane/eal.hpp"
#include "dataplane/path/wire.hpp"
#include "dataplane/pool.hpp"

namespace espgate::test {

using namespace dataplane;

namespace {

constexpr unsigned kBuffers = 1023;
constexpr unsigned kRingSlots = 256;
constexpr std::uint32_t kSlots = 16;
constexpr std::uint32_t kMaxRoutes = 64;
constexpr std::uint64_t kIdentificationSecret = 20;

std::string unique(const char* kind) {
  static unsigned count = 0;
  return std::string(kind) + std::to_string(count++);
}

rte_ring* make_ring() {
  rte_ring* const ring = rte_ring_create(unique("ring").c_str(), kRingSlots, SOCKET_ID_ANY, 0);
  if (ring == nullptr) throw std::runtime_error("no ring");
  return ring;
}

// A buffer on the heap, so that a sanitizer sees what is read or written beside it.
struct HeapBlock {
  rte_mbuf_ext_shared_info shared;
  std::unique_ptr<std::uint8_t[]> bytes;
};

IpAddress inside4(unsigned number) { return *parse_address("10." + std::to_string(number) + ".0.1"); }
IpAddress inside6(unsigned number) { return *parse_address("2001:db8:" + std::to_string(number) + "::1"); }

}  // namespace

void start_eal() {
  static const dataplane::Eal eal({"test", "--no-huge", "-m", "1024", "--no-pci", "--no-telemetry",
                                   "--file-prefix", "espgate-test-" + std::to_string(getpid()), "--lcores",
                                   "0", "--log-level", "error"});
}

Rig::Rig(unsigned number, unsigned workers, std::uint32_t further_tables) {
  start_eal();
  pool_ = make_packet_pool(unique("pool").c_str(), kBuffers, 0, kHeadroom + kRigRoom);
  if (pool_ == nullptr) throw std::runtime_error("no pool");
  const channel::Hello shape{workers, kSlots, kSlots, 8, 4, kPorts};
  page_ = std::make_unique<channel::CountersPage>(shape);
  tables_ = std::make_unique<Forwarding>(shape, Routes::Size{kMaxRoutes},
                                         std::vector(further_tables, Routes::Size{kMaxRoutes, true}));
  add_port(kOutside, number);
  add_port(kInside, number);
  const std::string text = std::to_string(number);
  route("192.0.2.0/24", {NextHopKind::connected, kOutside, 0, 0});
  route("192.0.2." + text, {NextHopKind::host, kOutside, 0, 0});
  route("10." + text + ".0.0/16", {NextHopKind::connected, kInside, 0, 0});
  route("10." + text + ".0.1", {NextHopKind::host, kInside, 0, 0});
  route("2001:db8:" + text + "::/48", {NextHopKind::connected, kInside, 0, 0});
  route("2001:db8:" + text + "::1", {NextHopKind::host, kInside, 0, 0});
  for (unsigned i = 0; i < workers; ++i) add_worker(i);
}

void Rig::add_port(std::uint8_t port, unsigned number) {
  PortInfo& info = tables_->ports[port];
  info.mac = {2, 0, 0, 0, static_cast<std::uint8_t>(number), port};
  info.mtu = 1500;
  info.up = true;
  const bool outside = port == kOutside;
  info.address4 = outside ? *parse_address("192.0.2." + std::to_string(number)) : inside4(number);
  if (!outside) info.address6 = inside6(number);
  const std::uint8_t mac[6] = {2, 0, 0, 0, 0x99, port};
  const auto know = [&](IpAddress address) {
    const std::uint32_t id = tables_->neighbours.ensure(port, address);
    tables_->neighbours.set_link(id, NeighbourState::reachable, mac);
    return id;
  };
  if (outside) {
    outside_neighbour_ = know(*parse_address("192.0.2." + std::to_string(3 - number)));
    return;
  }
  IpAddress neighbour4 = inside4(number);
  IpAddress neighbour6 = inside6(number);
  neighbour4.bytes[3] = 2;
  neighbour6.bytes[15] = 2;
  know(neighbour4);
  know(neighbour6);
}

void Rig::add_vlan(std::uint8_t parent, std::uint16_t vlan) {
  PortInfo& info = tables_->ports[kOnVlan];
  info.mac = tables_->ports[parent].mac;
  info.mtu = 1500;
  info.vlan = vlan;
  info.parent = parent;
  info.up = true;
  info.address4 = *parse_address("10.9.0.1");
  tables_->vlans[parent][vlan] = kOnVlan + 1;
  route("10.9.0.0/16", {NextHopKind::connected, kOnVlan, 0, 0});
  route("10.9.0.1", {NextHopKind::host, kOnVlan, 0, 0});
  const std::uint8_t mac[6] = {2, 0, 0, 0, 0x99, kOnVlan};
  const auto id = tables_->neighbours.ensure(kOnVlan, *parse_address("10.9.0.2"));
  tables_->neighbours.set_link(id, NeighbourState::reachable, mac);
}

void Rig::add_worker(unsigned index) {
  auto worker = std::make_unique<Worker>();
  worker->index = index;
  worker->tables = tables_.get();
  worker->workers = &worker_list_;
  worker->counters = &page_->worker(index);
  worker->pool = pool_;
  worker->identifications = {kIdentificationSecret, index};
  for (rte_ring** ring : {&worker->inbox, &worker->exceptions, &worker->ike, &worker->liveness})
    rings_.push_back(*ring = make_ring());
  worker->transmit_queues[kOutside] =
      worker->transmit_queues[kInside] = {0, static_cast<std::uint16_t>(index)};
  worker_list_.push_back(worker.get());
  workers_.push_back(std::move(worker));
}

Rig::~Rig() {
  for (unsigned i = 0; i < workers_.size(); ++i) (void)collect(i);
  for (rte_ring* ring : rings_) {
    void* object = nullptr;
    while (rte_ring_dequeue(ring, &object) == 0) rte_pktmbuf_free(static_cast<rte_mbuf*>(object));
    rte_ring_free(ring);
  }
  if (buffers_out() != 0) {
    std::fprintf(stderr, "%u packet buffers were lost\n", buffers_out());
    std::abort();
  }
  workers_.clear();
  tables_.reset();
  rte_mempool_free(pool_);
}

void Rig::route(std::string_view prefix, NextHop hop, TableId table) {
  if (!tables_->routes(table).set(*parse_prefix(prefix), hop)) throw std::runtime_error("route table full");
  tables_->routes(table).commit();
}

void Rig::set_tunnel(std::uint32_t index, std::uint16_t mtu, bool clamp_mss) {
  auto tunnel = std::make_unique<Tunnel>();
  tables_->tunnels[index].tunnel = tunnel.get();
  tables_->tunnels[index].fit = Fit{mtu, clamp_mss};
  tunnels_.push_back(std::move(tunnel));
}

channel::InstallSa Rig::command(crypto::EspSuite suite, unsigned peer, bool udp, std::uint32_t spi,
                                unsigned seed) const {
  channel::InstallSa install{};
  install.spi = spi;
  install.suite = static_cast<std::uint16_t>(suite);
  install.udp_encapsulation = udp ? 1 : 0;
  install.local_port = install.remote_port = kNatTraversalPort;
  install.local = outside();
  install.remote = *parse_address("192.0.2." + std::to_string(peer));
  for (std::size_t i = 0; i < install.keys.size(); ++i)
    install.keys[i] = static_cast<std::uint8_t>(seed * 31 + i * 11 + 5);
  install.replay_window = 64;
  install.selectors = any_to_any();
  return install;
}

const SelectorSet& Rig::selectors_of(const void* sa, const channel::InstallSa& install) {
  std::unique_ptr<SelectorSet>& selectors = selectors_[sa];
  selectors = std::make_unique<SelectorSet>(make_selector_set(install.selectors));
  return *selectors;
}

OutboundSa& Rig::install_outbound(const channel::InstallSa& install, std::uint32_t slot) {
  OutboundSa& sa = tables_->outbound[install.worker][slot];
  if (!prepare(sa, install, selectors_of(&sa, install), engine_))
    throw std::runtime_error("prepare outbound");
  sa.outer = outside_gateway();
  sa.spi = install.spi;
  tables_->tunnels[install.tunnel].outbound = &sa;
  return sa;
}

InboundSa& Rig::install_inbound(const channel::InstallSa& install) {
  InboundSa& sa = tables_->inbound[channel::spi_worker(install.spi)].slots[channel::spi_slot(install.spi)];
  if (!prepare(sa, install, selectors_of(&sa, install), engine_)) throw std::runtime_error("prepare inbound");
  sa.spi = install.spi;
  return sa;
}

void Rig::remove_inbound(std::uint32_t spi) {
  InboundSa& sa = tables_->inbound[channel::spi_worker(spi)].slots[channel::spi_slot(spi)];
  sa.former_spi = spi;
  sa.spi = 0;
  erase(sa);
}

rte_mbuf* make_on_heap(rte_mempool* pool, const Octets& bytes, std::uint16_t headroom,
                       std::uint16_t tailroom) {
  rte_mbuf* const mbuf = rte_pktmbuf_alloc(pool);
  if (mbuf == nullptr) throw std::runtime_error("no packet buffer");
  const std::size_t size = headroom + bytes.size() + tailroom;
  auto block = std::make_unique<HeapBlock>();
  block->bytes = std::make_unique<std::uint8_t[]>(size);
  std::memset(block->bytes.get(), 0xa5, size);
  if (!bytes.empty()) std::memcpy(block->bytes.get() + headroom, bytes.data(), bytes.size());
  block->shared.free_cb = [](void*, void* opaque) { delete static_cast<HeapBlock*>(opaque); };
  block->shared.fcb_opaque = block.get();
  rte_mbuf_ext_refcnt_set(&block->shared, 1);
  rte_pktmbuf_attach_extbuf(mbuf, block->bytes.get(), RTE_BAD_IOVA, static_cast<std::uint16_t>(size),
                            &block->shared);
  (void)block.release();
  mbuf->data_off = headroom;
  mbuf->data_len = static_cast<std::uint16_t>(bytes.size());
  mbuf->pkt_len = mbuf->data_len;
  return mbuf;
}

rte_mbuf* Rig::make(const Octets& bytes, std::uint16_t headroom, std::uint16_t tailroom) {
  return make_on_heap(pool_, bytes, headroom, tailroom);
}

rte_mbuf* Rig::make_chain(const std::vector<Octets>& segments) {
  rte_mbuf* first = nullptr;
  for (const Octets& segment : segments) {
    rte_mbuf* const mbuf = make(segment, first == nullptr ? kHeadroom : std::uint16_t{0}, 0);
    if (first == nullptr)
      first = mbuf;
    else if (rte_pktmbuf_chain(first, mbuf) != 0)
      throw std::runtime_error("too many segments");
  }
  return first;
}

Octets Rig::frame_to(std::uint8_t port, const Octets& ip) const {
  return ethernet(mac(port), !ip.empty() && ip[0] >> 4 == 6 ? RTE_ETHER_TYPE_IPV6 : RTE_ETHER_TYPE_IPV4, ip);
}

Output Rig::receive(std::uint8_t port, std::vector<rte_mbuf*> frames, unsigned index) {
  process_received(worker(index), port, frames);
  return collect(index);
}

Output Rig::receive(std::uint8_t port, const std::vector<Octets>& frames, unsigned index) {
  std::vector<rte_mbuf*> mbufs;
  for (const Octets& frame : frames) mbufs.push_back(make(frame));
  return receive(port, std::move(mbufs), index);
}

Output Rig::receive_ip(std::uint8_t port, const Octets& ip, unsigned index) {
  return receive(port, std::vector<Octets>{frame_to(port, ip)}, index);
}

Output Rig::errand(Errand why, const Octets& data, std::uint32_t tunnel, std::uint8_t port, unsigned index) {
  rte_mbuf* mbuf = make(data);
  note_of(mbuf) = Note{static_cast<std::uint8_t>(why), port, 0, tunnel, NextHop{}, DropReason{}};
  process_inbox(worker(index), {&mbuf, 1});
  return collect(index);
}

Octets Rig::take(rte_mbuf* mbuf) const {
  const auto* const data = rte_pktmbuf_mtod(mbuf, const std::uint8_t*);
  Octets bytes(data, data + mbuf->data_len);
  rte_pktmbuf_free(mbuf);
  return bytes;
}

Output Rig::collect(unsigned index) {
  Output out;
  Worker& from = worker(index);
  for (const std::uint8_t port : {kOutside, kInside, kOnVlan}) {
    TransmitBuffer& buffer = from.transmit[port];
    for (unsigned i = 0; i < buffer.count; ++i) out.frames[port].push_back(take(buffer.packets[i]));
    buffer.count = 0;
  }
  void* object = nullptr;
  for (rte_ring* const ring : {from.exceptions, from.liveness})
    while (rte_ring_dequeue(ring, &object) == 0) {
      auto* const mbuf = static_cast<rte_mbuf*>(object);
      const Note note = note_of(mbuf);
      out.raised.push_back({static_cast<Exception>(note.why), note, take(mbuf)});
    }
  while (rte_ring_dequeue(from.ike, &object) == 0) out.ike.push_back(take(static_cast<rte_mbuf*>(object)));
  return out;
}

std::uint64_t Rig::drops(DropReason reason) const {
  std::uint64_t sum = 0;
  for (const auto& worker : workers_) sum += worker->counters->drops[static_cast<std::size_t>(reason)].load();
  return sum;
}

std::uint64_t Rig::all_drops() const {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < channel::kDropReasons; ++i) sum += drops(static_cast<DropReason>(i));
  return sum;
}

unsigned Rig::buffers_out() const { return rte_mempool_in_use_count(pool_); }

channel::Selector selector(std::string_view first, std::string_view last, std::uint8_t protocol,
                           std::uint16_t first_port, std::uint16_t last_port) {
  return {*parse_address(first), *parse_address(last), first_port, last_port, protocol, {}};
}

channel::Selectors any_to_any() {
  channel::Selectors selectors{};
  selectors.local[0] = selectors.remote[0] = selector("0.0.0.0", "255.255.255.255");
  selectors.local[1] = selectors.remote[1] = selector("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
  selectors.local_count = selectors.remote_count = 2;
  return selectors;
}

void set_form(channel::InstallSa& install, Form form, unsigned own, unsigned peer) {
  install.udp_encapsulation = form.udp ? 1 : 0;
  install.mode = form.transport ? channel::Mode::transport : channel::Mode::tunnel;
  install.esn = form.esn ? 1 : 0;
  if (!form.outer6) return;
  install.local = *parse_address("2001:db8:ff::" + std::to_string(own));
  install.remote = *parse_address("2001:db8:ff::" + std::to_string(peer));
}

Pair::Pair(crypto::EspSuite suite, Form form, const Change& change) {
  const auto command = [&](const Rig& rig, unsigned own, unsigned peer, std::uint32_t spi, unsigned seed) {
    channel::InstallSa install = rig.command(suite, peer, form.udp, spi, seed);
    set_form(install, form, own, peer);
    if (change) change(install);
    return install;
  };
  const std::uint32_t to_left = channel::make_spi(0, 1, 3);
  const std::uint32_t to_right = channel::make_spi(0, 2, 5);
  left.set_tunnel(0);
  right.set_tunnel(0);
  left.install_outbound(command(left, 1, 2, to_right, 1));
  right.install_inbound(command(right, 2, 1, to_right, 1));
  right.install_outbound(command(right, 2, 1, to_left, 2));
  left.install_inbound(command(left, 1, 2, to_left, 2));
  left.route("2001:db8:ff::1", {NextHopKind::host, kOutside, 0, 0});
  right.route("2001:db8:ff::2", {NextHopKind::host, kOutside, 0, 0});
  left.route("10.2.0.0/16", {NextHopKind::tunnel, 0, 0, 0});
  left.route("2001:db8:2::/48", {NextHopKind::tunnel, 0, 0, 0});
  right.route("10.1.0.0/16", {NextHopKind::tunnel, 0, 0, 0});
  right.route("2001:db8:1::/48", {NextHopKind::tunnel, 0, 0, 0});
}

Output Pair::carry(const Output& from, Rig& to) {
  std::vector<Octets> frames = from.frames[kOutside];
  const Mac mac = to.mac(kOutside);
  for (Octets& frame : frames) std::copy(mac.begin(), mac.end(), frame.begin());
  return to.receive(kOutside, frames);
}

Octets with_trailer(const Octets& inner, crypto::EspSuite suite, unsigned next_header) {
  const unsigned alignment = crypto::find_suite(suite)->alignment;
  Octets out = inner;
  std::uint8_t padding = 0;
  while ((out.size() + 2) % alignment != 0) out.push_back(++padding);
  return out + Octets{padding, static_cast<std::uint8_t>(next_header)};
}

Octets sealed(const channel::InstallSa& install, std::uint64_t sequence, const Octets& plaintext,
              unsigned tos) {
  static crypto::BulkEngine engine;
  const crypto::SuiteRow& row = *crypto::find_suite(static_cast<crypto::EspSuite>(install.suite));
  crypto::SaKey key;
  if (!engine.expand(row.suite, {install.keys.data(), key_material_length(row)}, key))
    throw std::runtime_error("expand");
  constexpr std::size_t kBefore = 4;  // the engine's, with ESN
  Octets esp(kBefore + 8 + row.iv_length);
  put32(esp, kBefore, install.spi);
  put32(esp, kBefore + 4, static_cast<std::uint32_t>(sequence));
  esp = esp + plaintext + Octets(row.icv_length);
  const auto payload = static_cast<std::uint32_t>(plaintext.size());
  crypto::EspJob job{&key, esp.data() + kBefore, sequence, payload, {row.suite, install.esn != 0}, false};
  engine.seal({&job, 1});
  esp = slice(esp, kBefore);
  const bool encapsulated = install.udp_encapsulation != 0;
  if (encapsulated) esp = udp(install.remote_port, install.local_port, esp);
  const std::string from = to_string(install.remote);
  const std::string to = to_string(install.local);
  const unsigned protocol = encapsulated ? 17 : 50;
  if (install.local.is_v6())
    return ipv6_packet({.source = from, .destination = to, .next_header = protocol, .traffic_class = tos},
                       esp);
  return ipv4_packet({.source = from, .destination = to, .protocol = protocol, .tos = tos}, esp);
}

}  // namespace espgate::test
