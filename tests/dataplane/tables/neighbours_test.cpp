#include <catch2/catch.hpp>

#include <atomic>
#include <thread>

#include "dataplane/tables/neighbours.hpp"
#include "tests/dataplane/rig.hpp"

using namespace espgate;
using namespace espgate::dataplane;

namespace {

IpAddress numbered(std::uint32_t number) { return v4_from_host_order(0x0a000000 + number); }

}  // namespace

TEST_CASE("a neighbour is known by port and address") {
  test::start_eal();
  Rcu rcu(1);
  Neighbours neighbours(rcu);
  const IpAddress address = *parse_address("192.0.2.7");
  const IpAddress address6 = *parse_address("2001:db8::7");
  CHECK(neighbours.find(0, address) == kNoNeighbour);
  const NeighbourId first = neighbours.ensure(0, address);
  const NeighbourId other_port = neighbours.ensure(1, address);
  const NeighbourId other_family = neighbours.ensure(0, address6);
  CHECK(first != other_port);
  CHECK(first != other_family);
  CHECK(neighbours.ensure(0, address) == first);
  CHECK(neighbours.find(1, address) == other_port);
  CHECK(neighbours.link(first).state() == NeighbourState::incomplete);
  CHECK_FALSE(neighbours.link(first).usable());
  const std::uint8_t mac[6] = {2, 3, 4, 5, 6, 7};
  neighbours.set_link(first, NeighbourState::reachable, mac);
  CHECK(neighbours.link(first).usable());
  CHECK((neighbours.link(first).word & 0xffffffffffff) == 0x070605040302);
  neighbours.set_state(first, NeighbourState::failed);
  CHECK_FALSE(neighbours.link(first).usable());
  CHECK((neighbours.link(first).word & 0xffffffffffff) == 0x070605040302);
  CHECK_FALSE(neighbours.link(other_port).usable());
}

TEST_CASE("the table takes its capacity, refuses more, and takes new ones for those removed") {
  test::start_eal();
  Rcu rcu(1);
  Neighbours neighbours(rcu);
  for (std::uint32_t i = 0; i < Neighbours::kCapacity; i++) {
    const NeighbourId id = neighbours.ensure(0, numbered(i));
    if (id >= Neighbours::kCapacity) FAIL("neighbour " << i << " got " << id);
  }
  CHECK(neighbours.ensure(0, numbered(99'999)) == kNoNeighbour);
  rcu.online(0);
  neighbours.remove(neighbours.find(0, numbered(5)));
  CHECK(neighbours.find(0, numbered(5)) == kNoNeighbour);
  rcu.reclaim_ready();
  CHECK(neighbours.ensure(0, numbered(99'999)) == kNoNeighbour);  // a worker may hold the place still
  rcu.offline(0);
  rcu.reclaim_ready();
  CHECK(neighbours.ensure(0, numbered(99'999)) != kNoNeighbour);
}

TEST_CASE("a worker never sees half of a change") {
  test::start_eal();
  Rcu rcu(1);
  Neighbours neighbours(rcu);
  const NeighbourId id = neighbours.ensure(0, numbered(1));
  std::atomic<bool> stop{false};
  std::atomic<bool> wrong{false};
  std::thread reader([&] {
    while (!stop) {
      const Link link = neighbours.link(id);
      const std::uint64_t mac = link.word & 0xffffffffffff;
      if (link.usable() && mac != 0x020202020202 && mac != 0x040404040404) wrong = true;
    }
  });
  const std::uint8_t macs[2][6] = {{2, 2, 2, 2, 2, 2}, {4, 4, 4, 4, 4, 4}};
  for (int i = 0; i < 100'000; i++) neighbours.set_link(id, NeighbourState::reachable, macs[i % 2]);
  stop = true;
  reader.join();
  CHECK_FALSE(wrong);
}
