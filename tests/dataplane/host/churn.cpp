// Two workers carry the traffic of SAs that nobody touches, and of some that come and go, while the main
// thread installs and removes SAs, routes and groups as fast as it can: no packet of the untouched ones is
// lost. For ThreadSanitizer, mostly. churn [CHANGES]
#include <rte_cycles.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "channel/spi.hpp"
#include "tests/dataplane/host/desk.hpp"

using namespace espgate;
using namespace espgate::test;
using channel::CommandKind;
using channel::CommandStatus;

namespace {

constexpr unsigned kWorkers = 2;
constexpr std::uint32_t kTouched = 6;  // tunnels 2 to 7; 0 and 1 stay, each with its worker
constexpr std::uint32_t kSlot = 300;   // of the untouched inbound SAs
constexpr unsigned kAtOnce = 16;
constexpr unsigned kRingFull = 400;  // packets in an inbox at which nothing more is fed

std::uint32_t outbound_spi(std::uint32_t tunnel) { return 0x1000 + tunnel; }
std::uint32_t inbound_spi(std::uint32_t worker) { return channel::make_spi(worker, 1, kSlot); }
std::string network(std::uint32_t tunnel) { return "10." + std::to_string(60 + tunnel) + ".0."; }

void must(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "churn: %s\n", what);
  std::exit(1);
}

// rte_ring_count, with loads that ThreadSanitizer takes for what they are.
unsigned waiting(const rte_ring* ring) {
  const std::uint32_t taken = __atomic_load_n(&ring->cons.tail, __ATOMIC_ACQUIRE);
  return (__atomic_load_n(&ring->prod.tail, __ATOMIC_ACQUIRE) - taken) & ring->mask;
}

// Packet buffers that have been between the threads. DPDK's own pool would do, but ThreadSanitizer can't see
// into it.
class Stock {
 public:
  explicit Stock(Desk& desk) : desk_(desk) {}
  ~Stock() {
    for (rte_mbuf* packet : packets_) rte_pktmbuf_free(packet);
  }
  Stock(const Stock&) = delete;
  Stock& operator=(const Stock&) = delete;

  rte_mbuf* make(const Octets& bytes) {
    const std::lock_guard lock(mutex_);
    if (packets_.empty()) return desk_.make(bytes);
    rte_mbuf* const packet = packets_.back();
    packets_.pop_back();
    rte_pktmbuf_reset(packet);
    std::copy(bytes.begin(), bytes.end(),
              rte_pktmbuf_append(packet, static_cast<std::uint16_t>(bytes.size())));
    return packet;
  }
  void give_back(rte_mbuf* packet) {
    const std::lock_guard lock(mutex_);
    packets_.push_back(packet);
  }

 private:
  Desk& desk_;
  std::mutex mutex_;
  std::vector<rte_mbuf*> packets_;
};

// One worker's thread: what it feeds in, and what it sees come out.
class Feeder {
 public:
  Feeder(Desk& desk, Stock& stock, std::uint32_t index)
      : desk_(desk), stock_(stock), worker_(*desk.workers[index]) {
    const Octets clear = udp(1, 2, filling(60));
    for (std::uint32_t tunnel = 0; tunnel < 2 + kTouched; tunnel++)
      clear_.push_back(framed(kLan, ipv4_packet({.destination = network(tunnel) + "9"}, clear)));
    for (std::uint32_t owner = 0; owner < kWorkers; owner++) {
      channel::InstallSa theirs = install_inbound(owner, inbound_spi(owner)).body.install_sa;
      std::swap(theirs.local, theirs.remote);
      const Octets inner = ipv4_packet({.source = network(owner) + "9", .destination = "10.1.0.2"}, clear);
      sealed_.push_back(framed(kWan, to_us(theirs, inner)));
    }
  }

  // Until `stop`, then until its inbox stays empty because nobody feeds any more.
  void run(const std::atomic<bool>& stop, std::atomic<unsigned>& feeding) {
    desk_.tables.rcu.online(worker_.index);
    while (!stop.load(std::memory_order_relaxed)) round(true);
    feeding.fetch_sub(1);
    while (feeding.load() != 0 || waiting(worker_.inbox) != 0) round(false);
    desk_.tables.rcu.offline(worker_.index);
  }

  std::uint64_t fed_clear{0}, fed_sealed{0};  // of the untouched SAs
  std::uint64_t out_sealed{0}, out_clear{0};

 private:
  [[nodiscard]] Octets framed(std::uint8_t port, const Octets& ip) const {
    return ethernet(desk_.tables.ports[port].mac, 0x0800, ip);
  }
  [[nodiscard]] static Octets to_us(const channel::InstallSa& theirs, const Octets& inner) {
    Octets outer = sealed(theirs, 1, with_trailer(inner, crypto::EspSuite::aes256_gcm16, 4));
    const Octets from = v4_bytes("192.0.2.2"), to = v4_bytes("192.0.2.1");
    std::copy(from.begin(), from.end(), outer.begin() + 12);
    std::copy(to.begin(), to.end(), outer.begin() + 16);
    fix_ipv4_checksum(outer);
    return outer;
  }

  void feed(std::uint8_t port, const std::vector<Octets>& kinds, std::uint64_t& untouched) {
    std::array<rte_mbuf*, kAtOnce> frames;
    for (rte_mbuf*& frame : frames) {
      const std::size_t kind = made_++ % kinds.size();
      frame = stock_.make(kinds[kind]);
      untouched += kind < kWorkers ? 1 : 0;
    }
    dataplane::process_received(worker_, port, frames);
  }

  void round(bool more) {
    const bool room =
        waiting(desk_.workers[0]->inbox) < kRingFull && waiting(desk_.workers[1]->inbox) < kRingFull;
    if (more && room) {
      feed(kLan, clear_, fed_clear);
      feed(kWan, sealed_, fed_sealed);
    }
    std::array<rte_mbuf*, 64> errands;
    const unsigned count = rte_ring_sc_dequeue_burst(worker_.inbox, reinterpret_cast<void**>(errands.data()),
                                                     errands.size(), nullptr);
    if (count != 0) dataplane::process_inbox(worker_, {errands.data(), count});
    take(kWan);
    take(kLan);
    (void)dataplane::help_others(worker_);
    desk_.tables.rcu.quiet(worker_.index);
  }

  void take(std::uint8_t port) {
    dataplane::TransmitBuffer& buffer = worker_.transmit[port];
    for (unsigned i = 0; i < buffer.count; i++) {
      const auto* frame = rte_pktmbuf_mtod(buffer.packets[i], const std::uint8_t*);
      const Octets octets(frame, frame + std::min<std::size_t>(buffer.packets[i]->data_len, 42));
      const bool ip = get16(octets, 12) == 0x0800;
      if (ip && port == kWan && get32(octets, 34) < outbound_spi(kWorkers)) out_sealed++;
      if (ip && port == kLan) out_clear++;
      stock_.give_back(buffer.packets[i]);
    }
    buffer.count = 0;
  }

  Desk& desk_;
  Stock& stock_;
  dataplane::Worker& worker_;
  std::vector<Octets> clear_;   // for each tunnel
  std::vector<Octets> sealed_;  // for each worker's untouched inbound SA
  std::uint64_t made_{0};
};

void set_up(Desk& desk) {
  desk.know(kWan, "192.0.2.2", Octets{2, 0, 0, 0, 0x99, 2});
  desk.know(kLan, "10.1.0.2", Octets{2, 0, 0, 0, 0x99, 3});
  for (std::uint32_t tunnel = 0; tunnel < 2 + kTouched; tunnel++) {
    channel::Command command = set_tunnel(tunnel);
    command.body.set_tunnel.spread = tunnel == 0 ? 1 : 0;
    must(desk.run(command) == CommandStatus::ok, "a tunnel was refused");
    must(desk.run(set_route(network(tunnel) + "0/24", channel::RouteKind::tunnel, tunnel)) ==
             CommandStatus::ok,
         "a route was refused");
  }
  for (std::uint32_t worker = 0; worker < kWorkers; worker++) {
    channel::Command out = install_outbound(worker, outbound_spi(worker));
    out.body.install_sa.worker = worker;
    channel::Command in = install_inbound(worker, inbound_spi(worker));
    in.body.install_sa.replay_window = 0;  // the same packet is fed again and again
    must(desk.run(out) == CommandStatus::ok && desk.run(in) == CommandStatus::ok, "an SA was refused");
  }
}

// What the main thread does between two looks at the clock: each tunnel's SA pair goes and a new one comes.
class Churn {
 public:
  Churn(Desk& desk, Stock& stock) : desk_(desk), stock_(stock) {}

  void once() {
    const auto tunnel = static_cast<std::uint32_t>(2 + changes_ / 4 % kTouched);
    const auto turn = static_cast<std::uint32_t>(changes_ / 4 / kTouched);
    if (turn > 0) {
      run(remove_sa(CommandKind::remove_outbound_sa, tunnel, spi_out(tunnel, turn - 1)));
      run(remove_sa(CommandKind::remove_inbound_sa, tunnel, spi_in(tunnel, turn - 1)));
    }
    channel::Command out = install_outbound(tunnel, spi_out(tunnel, turn));
    out.body.install_sa.worker = turn % kWorkers;
    run(out);
    run(install_inbound(tunnel, spi_in(tunnel, turn)));
    changes_ += 4;
    if (changes_ % 256 == 0) run(set_group(0, {2, 3 + static_cast<std::uint32_t>(changes_ / 256 % 4)}));
    if (changes_ % 512 == 0) {
      run(set_route("10.99.0.0/16", channel::RouteKind::group, 0));
      desk_.associations.snapshot(desk_.control, desk_.now);
    }
    desk_.commands.settle(desk_.now);
    desk_.tables.rcu.reclaim_ready();
    take_raised();
    for (const channel::Event& event : desk_.control.events)
      must(event.kind != channel::EventKind::command_done ||
               event.body.command_done.status == CommandStatus::ok,
           "a change was refused");
    desk_.control.events.clear();
  }
  [[nodiscard]] std::uint64_t changes() const noexcept { return changes_; }

  // ICMP errors that would be sent; the main thread's own business is tested elsewhere.
  void take_raised() {
    for (dataplane::Worker* worker : desk_.workers)
      for (rte_ring* ring : {worker->exceptions, worker->ike, worker->liveness}) {
        void* packet = nullptr;
        while (rte_ring_dequeue(ring, &packet) == 0) stock_.give_back(static_cast<rte_mbuf*>(packet));
      }
  }

 private:
  static std::uint32_t spi_out(std::uint32_t tunnel, std::uint32_t turn) {
    return 0x100000 + turn * kTouched + tunnel;
  }
  static std::uint32_t spi_in(std::uint32_t tunnel, std::uint32_t turn) {
    return channel::make_spi(turn % kWorkers, 1 + turn % 200, 10 + turn % 30 * 8 + tunnel);
  }
  void run(const channel::Command& command) { desk_.commands.execute(command, desk_.now); }

  Desk& desk_;
  Stock& stock_;
  std::uint64_t changes_{0};
};

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t wanted = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 20000;
  Desk desk(kWorkers, 8191);
  set_up(desk);
  Stock stock(desk);
  std::vector<std::unique_ptr<Feeder>> feeders;
  for (std::uint32_t w = 0; w < kWorkers; w++) feeders.push_back(std::make_unique<Feeder>(desk, stock, w));
  std::atomic<bool> stop{false};
  std::atomic<unsigned> feeding{kWorkers};
  std::vector<std::thread> threads;
  for (auto& feeder : feeders) threads.emplace_back([&, f = feeder.get()] { f->run(stop, feeding); });

  Churn churn(desk, stock);
  const auto began = std::chrono::steady_clock::now();
  while (churn.changes() < wanted) churn.once();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  stop = true;
  for (std::thread& thread : threads) thread.join();
  churn.take_raised();

  std::uint64_t fed_clear = 0, out_sealed = 0, fed_sealed = 0, out_clear = 0;
  for (const auto& feeder : feeders) {
    fed_clear += feeder->fed_clear;
    out_sealed += feeder->out_sealed;
    fed_sealed += feeder->fed_sealed;
    out_clear += feeder->out_clear;
  }
  std::printf(
      "%lu changes in %.1f s (%.0f a second); untouched: %lu of %lu encrypted, %lu of %lu decrypted\n",
      churn.changes(), seconds, static_cast<double>(churn.changes()) / seconds, out_sealed, fed_clear,
      out_clear, fed_sealed);
  return fed_clear > 0 && out_sealed == fed_clear && fed_sealed > 0 && out_clear == fed_sealed ? 0 : 1;
}
