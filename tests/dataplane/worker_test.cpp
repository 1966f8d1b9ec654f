// The poll loop with real ports: rings on either side stand for the cables.
#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "tests/dataplane/cable.hpp"
#include "tests/dataplane/rig.hpp"

namespace espgate::test {
namespace {

using namespace std::chrono_literals;

struct Wired {
  explicit Wired(unsigned workers = 1) : rig(1, workers) {
    rig.route("10.5.0.0/16", rig.outside_gateway());
    rig.tables().ports[kOutside].ethdev = outside.port;
    rig.tables().ports[kInside].ethdev = inside.port;
    rig.worker().receive = {{kOutside, 0}, {kInside, 0}};
  }
  void arrive(unsigned count) {
    const Octets frame = rig.frame_to(kInside, ipv4_packet({.destination = "10.5.0.1"}, filling(40)));
    for (unsigned i = 0; i < count; ++i) REQUIRE(rte_ring_enqueue(inside.rx[0], rig.make(frame)) == 0);
  }
  Rig rig;
  Cable outside;
  Cable inside;
};

// CPU time of this thread.
double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

}  // namespace

TEST_CASE("A round receives, forwards and transmits, and counts at the ports") {
  Wired wired;
  wired.arrive(10);
  CHECK(poll_once(wired.rig.worker()) == 10);
  CHECK(rte_ring_count(wired.outside.tx[0]) == 10);
  const channel::InterfaceCounters& out = wired.rig.worker().counters->ports[kOutside];
  CHECK(out.tx_packets == 10);
  CHECK(out.tx_bytes == 10 * (14 + 20 + 40));
  CHECK(wired.rig.worker().counters->ports[kInside].rx_packets == 10);
  CHECK(poll_once(wired.rig.worker()) == 0);
}

TEST_CASE("What a full transmit queue does not take is dropped and counted") {
  Wired wired;
  wired.arrive(50);
  poll_once(wired.rig.worker());
  wired.arrive(50);
  poll_once(wired.rig.worker());
  const unsigned room = rte_ring_get_capacity(wired.outside.tx[0]);
  CHECK(rte_ring_count(wired.outside.tx[0]) == room);
  CHECK(wired.rig.drops(DropReason::transmit_full) == 100 - room);
  CHECK(wired.rig.worker().counters->ports[kOutside].tx_packets == room);
}

TEST_CASE("A worker without a transmit queue hands its frames to the one that has it") {
  Wired wired(2);
  wired.rig.worker(0).transmit_queues[kOutside] = {0, 1};
  wired.arrive(5);
  poll_once(wired.rig.worker(0));
  CHECK(rte_ring_count(wired.outside.tx[0]) == 0);
  CHECK(wired.rig.worker(0).counters->handed_off == 5);
  CHECK(poll_once(wired.rig.worker(1)) == 5);
  CHECK(rte_ring_count(wired.outside.tx[0]) == 5);
}

TEST_CASE("The loop carries traffic until it is told to stop, and lets the main thread reclaim") {
  for (const bool adaptive : {true, false}) {
    Wired wired;
    wired.rig.worker().adaptive = adaptive;
    std::atomic<bool> stop{false};
    std::thread thread([&] { run(wired.rig.worker(), stop); });
    for (unsigned i = 0; i < 20; ++i) {
      wired.arrive(1);
      wired.rig.tables().rcu.wait();
      std::this_thread::sleep_for(1ms);
    }
    for (unsigned i = 0; i < 5000 && rte_ring_count(wired.outside.tx[0]) < 20; ++i)
      std::this_thread::sleep_for(1ms);
    stop = true;
    thread.join();
    CHECK(rte_ring_count(wired.outside.tx[0]) == 20);
    CHECK(wired.rig.worker().counters->busy_loops > 0);
    CHECK(wired.rig.worker().counters->loops >= wired.rig.worker().counters->busy_loops);
    CHECK(wired.rig.worker().counters->busy_cycles > 0);
  }
}

TEST_CASE("An idle worker sleeps, and wakes for traffic") {
  Wired wired;
  std::atomic<bool> stop{false};
  double used = 0;
  std::thread thread([&] {
    run(wired.rig.worker(), stop);
    used = cpu_seconds();
  });
  std::this_thread::sleep_for(2s);
  wired.arrive(1);
  for (unsigned i = 0; i < 5000 && rte_ring_count(wired.outside.tx[0]) == 0; ++i)
    std::this_thread::sleep_for(1ms);
  stop = true;
  thread.join();
  CHECK(rte_ring_count(wired.outside.tx[0]) == 1);
  // 2 s at rest: a busy worker would have used them all. What it really takes is printed by the quickstart.
  WARN("CPU at rest: " << used / 2.0 * 100 << " % of a core");
  CHECK(used < 0.5);
}

}  // namespace espgate::test
