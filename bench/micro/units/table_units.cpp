#include <random>

#include "bench/micro/units/meter.hpp"
#include "bench/micro/units/testbed.hpp"

namespace espgate::bench {

using namespace dataplane;

namespace {

IpAddress neighbour_address(std::uint32_t number) {
  return v4_from_host_order((10U << 24 | 2 << 16) + number);
}

std::vector<IpAddress> some_neighbours(std::uint32_t count) {
  std::vector<IpAddress> some(1 << 14);
  std::mt19937 random(1);
  for (IpAddress& address : some) address = neighbour_address(static_cast<std::uint32_t>(random() % count));
  return some;
}

Unit find_neighbour(const char* name, std::uint32_t count) {
  return {name, [=](const Meter& meter) {
            Testbed bed;
            for (std::uint32_t i = 0; i < count; ++i) bed.add_neighbour(neighbour_address(i));
            const std::vector<IpAddress> some = some_neighbours(count);
            const Neighbours& neighbours = bed.tables().neighbours;
            unsigned unusable = 0;
            const Figure figure = meter.repeat(static_cast<unsigned>(some.size()), [&] {
              for (const IpAddress& address : some)
                keep(unusable += neighbours.link(neighbours.find(kPort, address)).usable() ? 0 : 1);
            });
            require(unusable == 0, "a neighbour was not found");
            return figure;
          }};
}

Figure be_quiet(const Meter& meter) {
  Testbed bed;
  Rcu& rcu = bed.tables().rcu;
  rcu.online(0);
  const Figure figure = meter.repeat(1, [&] { rcu.quiet(0); });
  rcu.offline(0);
  return figure;
}

}  // namespace

Units table_units() {
  return {find_neighbour("Neighbours::find and link, 1 neighbour", 1),
          find_neighbour("Neighbours::find and link, 10000 neighbours", 10'000),
          {"Rcu::quiet", be_quiet}};
}

}  // namespace espgate::bench
