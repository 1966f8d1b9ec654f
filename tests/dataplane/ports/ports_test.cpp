// What the ports ask of their devices, and tell of them, by a model of the card.
#include <rte_dev.h>
#include <rte_ethdev.h>

#include <catch2/catch.hpp>
#include <set>

#include "dataplane/ports/ports.hpp"
#include "tests/dataplane/ports/card.hpp"
#include "tests/dataplane/ports/wanted.hpp"
#include "tests/dataplane/rig.hpp"

namespace espgate::test {
namespace {

using dataplane::Ports;

// A port of DPDK's to which nothing comes, and a sub-interface of it, which has an address more.
struct Bench {
  Bench() {
    start_eal();
    const int made = rte_eal_hotplug_add("vdev", "net_null7", "no-rx=1");
    if (made != 0 && made != -EEXIST) throw std::runtime_error("no device");
    wanted = port_with_vlan("net_null7");
    page = std::make_unique<channel::CountersPage>(rig.tables().shape);
  }
  ~Bench() {
    ports.reset();
    (void)rte_eal_hotplug_remove("vdev", "net_null7");
  }
  void start() {
    ports = std::make_unique<Ports>(wanted, rig.tables(), interfaces, *page, rig.worker().pool, 1);
    ports->start();
  }
  [[nodiscard]] std::uint16_t ethdev() { return rig.tables().ports[0].ethdev; }

  std::vector<conf::Port> wanted;
  Rig rig;
  Card card;
  dataplane::Interfaces interfaces;
  std::unique_ptr<channel::CountersPage> page;
  std::unique_ptr<Ports> ports;
};

}  // namespace

// RFC 4291 section 2.7.1, RFC 2464 section 7.
TEST_CASE("A card is told which multicast is wanted, that of sub-interfaces too, and nothing more") {
  Bench bench;
  bench.start();
  const Mac mac = bench.interfaces[0].mac;
  const std::set<Mac> expected{{0x33, 0x33, 0, 0, 0, 1},
                               {0x33, 0x33, 0, 0, 0, 2},
                               {0x33, 0x33, 0xff, mac[3], mac[4], mac[5]},
                               {0x33, 0x33, 0xff, 0x12, 0x34, 0x56},
                               {0x33, 0x33, 0xff, 0xab, 0xcd, 0xef}};
  CHECK(bench.card.groups[bench.ethdev()] == expected);
  CHECK(bench.card.let_all_multicast_through.empty());
  CHECK(bench.card.let_all_through.empty());
}

TEST_CASE("A card that filters no multicast lets all of it through, and all frames only as the last resort") {
  Bench bench;
  bench.card.filters_groups = false;
  SECTION("all multicast") {
    bench.start();
    CHECK(bench.card.let_all_multicast_through == std::set<std::uint16_t>{bench.ethdev()});
    CHECK(bench.card.let_all_through.empty());
  }
  SECTION("promiscuous") {
    bench.card.all_multicast = false;
    bench.start();
    CHECK(bench.card.let_all_through == std::set<std::uint16_t>{bench.ethdev()});
  }
  SECTION("neither") {
    bench.card.all_multicast = bench.card.promiscuous = false;
    bench.start();
    CHECK(bench.card.let_all_through.empty());
  }
}

TEST_CASE("A sub-interface is on its parent's wire: device, queues and link") {
  Bench bench;
  bench.start();
  const auto& tables = bench.rig.tables();
  CHECK(tables.ports[1].ethdev.load() == tables.ports[0].ethdev.load());
  CHECK(tables.ports[1].mac == tables.ports[0].mac);
  CHECK(tables.ports[1].vlan == 100);
  CHECK(tables.vlans[0][100] == 2);
  std::vector<dataplane::Worker*> workers{&bench.rig.worker()};
  bench.ports->wire(workers);
  CHECK(workers[0]->receive.size() == 1);
  std::set<std::uint32_t> up;
  bench.ports->poll(1, [&up](std::uint32_t port, dataplane::PortChange change) {
    if (change == dataplane::PortChange::up) up.insert(port);
  });
  CHECK(tables.ports[0].up == tables.ports[1].up);
  CHECK(std::string(bench.page->port(0).driver.data()) == "net_null");
  CHECK(std::string(bench.page->port(1).spreading.data()) == "one receive queue");
  CHECK(bench.page->port(0).receive_queues == 1);
}

}  // namespace espgate::test
