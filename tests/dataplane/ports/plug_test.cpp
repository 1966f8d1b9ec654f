// Devices that vanish and come back, while the workers run: DPDK's null device, whose queues are never empty,
// and a model of what else its driver would do.
#define ALLOW_EXPERIMENTAL_API

#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_malloc.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <thread>

#include "dataplane/ports/ports.hpp"
#include "tests/dataplane/ports/card.hpp"
#include "tests/dataplane/ports/wanted.hpp"
#include "tests/dataplane/rig.hpp"

namespace espgate::test {
namespace {

using dataplane::PortChange;
using dataplane::PortInfo;
using dataplane::Ports;
using Changes = std::vector<std::pair<std::uint32_t, PortChange>>;

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr const char* kName = "net_null8";

// A port, a sub-interface of it, and a worker.
struct Bench {
  // `device`: what the configuration says.
  explicit Bench(const char* device = kName) {
    start_eal();
    if (rte_eal_hotplug_add("vdev", kName, "") != 0) throw std::runtime_error("no device");
    wanted = port_with_vlan(device);
    page = std::make_unique<channel::CountersPage>(rig.tables().shape);
    ports = std::make_unique<Ports>(wanted, rig.tables(), interfaces, *page, rig.worker().pool, 1);
    std::vector<dataplane::Worker*> workers{&rig.worker()};
    ports->wire(workers);
    ports->start();
    for (unsigned p = 0; p < 2; ++p) rig.tables().ports[p].up = false;
    CHECK(poll() == Changes{{0, PortChange::up}, {1, PortChange::up}});
  }
  ~Bench() {
    ports.reset();
    (void)rte_eal_hotplug_remove("vdev", kName);
  }
  Changes poll(std::uint64_t later = 0) {
    now += later;
    Changes changes;
    ports->poll(now, [&](std::uint32_t port, PortChange change) { changes.emplace_back(port, change); });
    rig.tables().rcu.reclaim_ready();
    return changes;
  }
  [[nodiscard]] const PortInfo& port(unsigned index) { return rig.tables().ports[index]; }
  [[nodiscard]] std::uint32_t flags(unsigned index) { return page->port(index).flags.load(); }
  void unplug() { card.say(port(0).ethdev, RTE_ETH_EVENT_INTR_RMV); }
  // Is it in DPDK?
  [[nodiscard]] static bool exists() {
    std::uint16_t number = 0;
    return rte_eth_dev_get_port_by_name(kName, &number) == 0;
  }
  void check_published() {
    rte_ether_addr mac{};
    REQUIRE(rte_eth_macaddr_get(port(0).ethdev, &mac) == 0);
    for (unsigned p = 0; p < 2; ++p) {
      CHECK(std::equal(port(p).mac.begin(), port(p).mac.end(), mac.addr_bytes));
      CHECK(interfaces[p].mac == port(p).mac);
      CHECK(interfaces[p].link_local == dataplane::link_local_of(port(p).mac));
      CHECK(port(p).ethdev.load() == port(0).ethdev.load());
    }
    CHECK(card.groups[port(0).ethdev].contains(
        {0x33, 0x33, 0xff, mac.addr_bytes[3], mac.addr_bytes[4], mac.addr_bytes[5]}));
    CHECK(card.groups[port(0).ethdev].contains({0x33, 0x33, 0xff, 0xab, 0xcd, 0xef}));
    CHECK(card.listeners.size() == 2);
  }

  std::vector<conf::Port> wanted;
  Rig rig;
  Card card;
  dataplane::Interfaces interfaces;
  std::unique_ptr<channel::CountersPage> page;
  std::unique_ptr<Ports> ports;
  std::uint64_t now{kSecond};
};

constexpr auto kAbsent = static_cast<std::uint32_t>(channel::PortFlags::none);
constexpr auto kUp = static_cast<std::uint32_t>(channel::PortFlags::present) |
                     static_cast<std::uint32_t>(channel::PortFlags::link_up);

std::size_t allocated() {
  rte_malloc_socket_stats heap{};
  REQUIRE(rte_malloc_get_socket_stats(0, &heap) == 0);
  return heap.heap_allocsz_bytes;
}

// What DPDK and its null device lose in a cycle themselves.
std::size_t lost_by_driver(rte_mempool* pool) {
  const auto cycle = [pool] {
    std::uint16_t port = 0;
    const rte_eth_conf conf{};
    rte_eth_dev_info info{};
    REQUIRE(rte_eal_hotplug_add("vdev", kName, "") == 0);
    REQUIRE(rte_eth_dev_get_port_by_name(kName, &port) == 0);
    REQUIRE(rte_eth_dev_configure(port, 1, 1, &conf) == 0);
    REQUIRE(rte_eth_rx_queue_setup(port, 0, 64, 0, nullptr, pool) == 0);
    REQUIRE(rte_eth_tx_queue_setup(port, 0, 64, 0, nullptr) == 0);
    REQUIRE(rte_eth_dev_info_get(port, &info) == 0);
    REQUIRE(rte_dev_remove(info.device) == 0);
  };
  cycle();
  const std::size_t before = allocated();
  cycle();
  return allocated() - before;
}

std::size_t open_files() {
  const std::filesystem::directory_iterator files("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(files), end(files)));
}

}  // namespace

TEST_CASE("A device that vanishes is taken out once no worker uses it, and put in again with all it had") {
  Bench bench;
  dataplane::Rcu& rcu = bench.rig.tables().rcu;
  bench.check_published();
  const dataplane::Mac former = bench.port(0).mac;
  rcu.online(0);
  SECTION("its port says so") { bench.unplug(); }
  SECTION("the device under it says so") { rte_dev_event_callback_process(kName, RTE_DEV_EVENT_REMOVE); }
  CHECK(bench.poll() == Changes{{0, PortChange::absent}, {1, PortChange::absent}});
  for (unsigned p = 0; p < 2; ++p) {
    CHECK_FALSE(bench.port(p).up);
    CHECK(bench.port(p).ethdev == PortInfo::kNoDevice);
    CHECK(bench.flags(p) == kAbsent);
    CHECK(bench.page->port(p).changed_ns == bench.now);
  }
  CHECK(bench.poll(5 * kSecond).empty());
  CHECK(Bench::exists());  // the worker has not been quiet since
  rcu.quiet(0);
  rcu.reclaim_ready();
  CHECK(bench.poll().empty());
  CHECK_FALSE(Bench::exists());
  CHECK(bench.card.listeners.empty());
  CHECK(bench.poll(Ports::kFirstRetry / 2).empty());
  CHECK_FALSE(Bench::exists());
  CHECK(bench.poll(Ports::kFirstRetry) == Changes{{0, PortChange::renewed}, {1, PortChange::renewed}});
  CHECK(bench.flags(0) == kUp);
  CHECK(bench.flags(1) == kUp);
  CHECK(bench.port(0).mac != former);  // the null device makes one up
  bench.check_published();
  rcu.offline(0);
}

TEST_CASE("What can't come back is tried after longer and longer pauses") {
  Bench bench("net_null8,unknown=1");  // refused by the driver
  bench.unplug();
  CHECK(bench.poll().size() == 2);
  bench.poll();
  std::uint64_t pause = Ports::kFirstRetry;
  for (unsigned i = 0; i < 7; ++i) {
    CHECK(bench.poll(pause).empty());
    CHECK(bench.flags(0) == kAbsent);
    if (i > 0) pause = std::min(2 * pause, Ports::kLastRetry);
  }
  REQUIRE(rte_eal_hotplug_add("vdev", kName, "") == 0);
  CHECK(bench.poll(Ports::kLastRetry / 2).empty());
  CHECK(bench.poll(Ports::kLastRetry / 2).size() == 2);
  CHECK(bench.flags(0) == kUp);
  bench.check_published();
}

TEST_CASE("A device that wants a reset is reset; one that can't is taken out and put in again") {
  Bench bench;
  bench.card.resets = GENERATE(true, false);
  const std::uint16_t number = bench.port(0).ethdev;
  bench.card.say(number, RTE_ETH_EVENT_INTR_RESET);
  CHECK(bench.poll() == Changes{{0, PortChange::absent}, {1, PortChange::absent}});
  const Changes after = bench.poll();
  CHECK(Bench::exists() == bench.card.resets);
  if (!bench.card.resets) CHECK(bench.poll(Ports::kFirstRetry).size() == 2);
  if (bench.card.resets) CHECK(after == Changes{{0, PortChange::renewed}, {1, PortChange::renewed}});
  CHECK(bench.flags(0) == kUp);
  bench.check_published();
}

TEST_CASE("Devices vanish and come back a hundred times under traffic, and nothing is lost but packets") {
  Bench bench;
  std::atomic<bool> stop{false};
  std::thread worker([&] { run(bench.rig.worker(), stop); });
  const channel::InterfaceCounters& counters = bench.rig.counters(0);
  const auto wait_for = [&](auto condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    return condition();
  };
  const auto send = [&] {
    rte_mbuf* const frame = bench.rig.make(Octets(60));
    dataplane::note_of(frame) = {};
    dataplane::note_of(frame).why = static_cast<std::uint8_t>(Errand::frame);
    dataplane::note_of(frame).port = 0;
    if (rte_ring_enqueue(bench.rig.worker().inbox, frame) != 0) rte_pktmbuf_free(frame);
  };
  std::size_t files = 0;
  std::size_t memory = 0;
  for (unsigned cycle = 0; cycle < 100; ++cycle) {
    for (unsigned i = 0; i < 20; ++i) send();
    bench.unplug();
    REQUIRE(bench.poll().size() == 2);
    for (unsigned i = 0; i < 20; ++i) send();
    REQUIRE(wait_for([&] { return bench.poll().empty() && !Bench::exists(); }));
    REQUIRE(bench.poll(Ports::kFirstRetry).size() == 2);
    const std::uint64_t before = counters.rx_packets;
    REQUIRE(wait_for([&] { return counters.rx_packets > before; }));
    if (cycle == 0) files = open_files(), memory = allocated();
  }
  stop = true;
  worker.join();
  CHECK(open_files() == files);
  const std::size_t grown = allocated() - memory;
  CHECK(bench.rig.drops(DropReason::port_down) > 0);
  (void)bench.rig.collect();
  CHECK(bench.rig.buffers_out() == 0);
  bench.unplug();
  CHECK(bench.poll().size() == 2);
  bench.poll();
  REQUIRE_FALSE(Bench::exists());
  CHECK(grown < 100 * lost_by_driver(bench.rig.worker().pool));
}

}  // namespace espgate::test
