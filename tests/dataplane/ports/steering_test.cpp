// What the flow rules choose, by a model of the card; and that the same queues are those the workers poll.
#include <rte_dev.h>
#include <rte_ethdev.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#include "channel/spi.hpp"
#include "dataplane/ports/ports.hpp"
#include "tests/dataplane/ports/card.hpp"
#include "tests/dataplane/rig.hpp"

namespace espgate::test {
namespace {

using dataplane::Ports;
using dataplane::Steering;

constexpr std::uint16_t kPort = 3;
using Queue = std::optional<std::uint16_t>;

Octets frame(const Octets& ip) { return ethernet({2, 0, 0, 0, 1, 0}, 0x0800, ip); }

Octets esp(std::uint32_t spi) {
  Octets out(40);
  put32(out, 0, spi);
  return out;
}

class Traffic {
 public:
  explicit Traffic(unsigned seed) : random_(seed) {}

  unsigned up_to(unsigned limit) { return static_cast<unsigned>(random_() % limit); }
  std::uint32_t number() { return static_cast<std::uint32_t>(random_()); }
  Octets ip(unsigned protocol, const Octets& payload, unsigned fragment = 0x4000) {
    const Octets options(up_to(4) == 0 ? 4 * (1 + up_to(10)) : 0, 1);
    return frame(ipv4_packet({.protocol = protocol,
                              .ttl = 1 + up_to(255),
                              .tos = up_to(256),
                              .fragment = fragment,
                              .options = options},
                             payload));
  }
  Octets udp_to(unsigned port, const Octets& payload) {
    return ip(17, udp(1 + up_to(0xffff), port, payload));
  }

 private:
  std::mt19937 random_;
};

// The queue that worker `worker` polls.
Queue queue_of_worker(const std::vector<std::uint32_t>& workers, std::uint32_t worker) {
  const auto found = std::find(workers.begin(), workers.end(), worker);
  if (found == workers.end()) return {};
  return static_cast<std::uint16_t>(found - workers.begin());
}

// A port of DPDK's that has many queues and knows RSS, and to which nothing comes.
conf::Port null_port(const char* name, const char* device) {
  if (rte_eal_hotplug_add("vdev", device, "no-rx=1") != 0) throw std::runtime_error("no device");
  conf::Port port;
  port.name = name;
  port.device = device;
  return port;
}

}  // namespace

TEST_CASE("The card brings ESP, raw and in UDP, to a queue of the worker that the SPI names") {
  for (unsigned seed = 0; seed < 60; ++seed) {
    Traffic traffic(seed);
    std::vector<std::uint32_t> workers(channel::kMaxSpiWorkers);
    for (std::uint32_t i = 0; i < workers.size(); ++i) workers[i] = i;
    std::shuffle(workers.begin(), workers.end(), std::mt19937(seed));
    workers.resize(2 + traffic.up_to(channel::kMaxSpiWorkers - 1));
    Card card;
    const Steering steering("wan", kPort, workers);
    REQUIRE(steering.describe(true) == "the card steers ESP and ESP in UDP to their workers");
    const auto chosen = [&card](const Octets& bytes) { return card.queue_of(kPort, bytes); };
    for (unsigned i = 0; i < 200; ++i) {
      const std::uint32_t worker =
          i % 2 == 0 ? workers[i / 2 % workers.size()] : traffic.up_to(channel::kMaxSpiWorkers);
      const std::uint32_t spi = channel::make_spi(worker, traffic.number(), traffic.number());
      const Queue own = queue_of_worker(workers, worker);
      REQUIRE(channel::spi_worker(spi) == worker);
      REQUIRE(chosen(traffic.ip(50, esp(spi))) == own);
      REQUIRE(chosen(traffic.udp_to(4500, esp(spi))) == own);
      REQUIRE(card.queue_of(kPort + 1, traffic.ip(50, esp(spi))) == Queue{});
      // IKE between NATs begins with four zero bytes, as worker 0's SPIs do with six zero bits.
      REQUIRE(chosen(traffic.udp_to(4500, esp(0))) == queue_of_worker(workers, 0));
      REQUIRE(chosen(traffic.udp_to(500, esp(spi))) == Queue{});
      REQUIRE(chosen(traffic.udp_to(4500, {0xff})) == Queue{});  // a NAT's keepalive
      const unsigned other = traffic.up_to(0x10000);
      if (other != 4500) REQUIRE(chosen(traffic.udp_to(other, esp(spi))) == Queue{});
      const unsigned protocol = traffic.up_to(256);
      if (protocol != 17 && protocol != 50) REQUIRE(chosen(traffic.ip(protocol, esp(spi))) == Queue{});
      REQUIRE(chosen(traffic.ip(50, esp(spi), 0x2000)) == Queue{});
    }
  }
}

TEST_CASE("Whatever call fails, each encapsulation has all of its rules or none, and none in the end") {
  const std::vector<std::uint32_t> workers{1, 2, 0};
  unsigned calls = 0;
  {
    Card card;
    const Steering steering("wan", kPort, workers);
    calls = card.calls();
  }
  for (unsigned call = 1; call <= calls; ++call)
    for (const bool talks : {true, false}) {
      Card card;
      card.fail_at = call;
      card.talks = talks;
      {
        const Steering steering("wan", kPort, workers);
        const bool raw = card.queue_of(kPort, frame(ipv4_packet({.protocol = 50}, esp(0)))).has_value();
        CHECK(card.rules() == workers.size());
        CHECK(raw == (call > calls / 2));
        const std::string words = talks ? "failed on demand" : "Input/output error";
        CHECK(steering.describe(true) ==
              (raw ? "the card steers ESP to its worker, but not ESP in UDP: " + words
                   : "the card steers ESP in UDP to its worker, but not ESP: " + words));
      }
      CHECK(card.rules() == 0);
    }
}

TEST_CASE("A table that is too small holds one encapsulation, or nothing") {
  const std::vector<std::uint32_t> workers{3, 0, 1, 2};
  for (std::size_t capacity = 0; capacity < 10; ++capacity) {
    Card card;
    card.capacity = capacity;
    {
      const Steering steering("wan", kPort, workers);
      CHECK(card.rules() == std::min<std::size_t>(capacity / 4 * 4, 8));
      if (capacity < 4)
        CHECK(steering.describe(false) == "the card can't steer ESP by SPI: table full; workers hand over");
    }
    CHECK(card.rules() == 0);
  }
}

TEST_CASE("What a card can't do is said, and the rest is kept") {
  const std::vector<std::uint32_t> workers{0, 1};
  Card card;
  SECTION("no part of an SPI") {
    card.masks_of_spi = false;
    const Steering steering("wan", kPort, workers);
    CHECK(steering.describe(false) == "the card can't steer ESP by SPI: whole SPIs only; workers hand over");
    CHECK(
        steering.describe(true) ==
        "the card spreads ESP over 2 queues by SPI (RSS), but can't steer it: whole SPIs only; workers hand "
        "over");
    CHECK(card.rules() == 0);
  }
  SECTION("no ESP in UDP") {
    card.esp_in_udp = false;
    const Steering steering("wan", kPort, workers);
    CHECK(steering.describe(true) == "the card steers ESP to its worker, but not ESP in UDP: unknown item");
    CHECK(card.rules() == 2);
  }
  SECTION("nothing but ESP in UDP") {
    card.esp = false;
    const Steering steering("wan", kPort, workers);
    CHECK(steering.describe(true) == "the card steers ESP in UDP to its worker, but not ESP: unknown item");
    CHECK(card.rules() == 2);
  }
  SECTION("it keeps rules that are to go") {
    {
      const Steering steering("wan", kPort, workers);
      card.destroys = false;
    }
    CHECK(card.rules() == 4);
  }
}

TEST_CASE("Ports steer to the queues that the workers poll, from their start to their stop") {
  start_eal();
  constexpr unsigned kWorkers = 3;
  const std::vector<conf::Port> wanted{null_port("lan", "net_null0"), null_port("wan", "net_null1")};
  Rig rig(1, kWorkers);
  std::vector<dataplane::Worker*> workers;
  for (unsigned w = 0; w < kWorkers; ++w) workers.push_back(&rig.worker(w));
  Card card;
  unsigned changes = 0;
  card.on_change = [&changes](std::uint16_t ethdev) {
    rte_eth_link link{};  // this driver's link is up while it runs
    if (rte_eth_link_get_nowait(ethdev, &link) == 0 && link.link_status == RTE_ETH_LINK_UP) changes++;
  };
  {
    dataplane::Interfaces interfaces;
    channel::CountersPage page(rig.tables().shape);
    Ports ports(wanted, rig.tables(), interfaces, page, rig.worker().pool, kWorkers);
    ports.wire(workers);
    CHECK(card.rules() == 0);
    ports.start();
    CHECK(card.rules() == 2 * 2 * kWorkers);
    for (unsigned w = 0; w < kWorkers; ++w) {
      REQUIRE(workers[w]->receive.size() == 2);
      for (const dataplane::PortQueue& own : workers[w]->receive)
        CHECK(card.queue_of(rig.tables().ports[own.port].ethdev,
                            frame(ipv4_packet({.protocol = 50}, esp(channel::make_spi(w, 1, 2))))) ==
              own.queue);
    }
  }
  CHECK(card.rules() == 0);
  CHECK(changes == 2 * 2 * 2 * kWorkers);
}

}  // namespace espgate::test
