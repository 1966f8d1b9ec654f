// A gateway in memory, as large as a unit needs: one port, and a neighbour that is its next hop.
#pragma once

#include <rte_mempool.h>
#include <rte_ring.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "bench/micro/units/packets.hpp"
#include "channel/region.hpp"
#include "dataplane/path/ways.hpp"
#include "dataplane/tables/forwarding.hpp"
#include "dataplane/worker.hpp"

namespace espgate::bench {

inline constexpr std::uint8_t kPort = 0;

struct Size {
  std::uint32_t workers{1};
  std::uint32_t inbound_slots{1};
  std::uint32_t max_tunnels{1};
  std::uint32_t max_routes{1};
};

class Testbed {
 public:
  explicit Testbed(const Size& size = {});
  ~Testbed();
  Testbed(const Testbed&) = delete;
  Testbed& operator=(const Testbed&) = delete;

  [[nodiscard]] dataplane::Forwarding& tables() noexcept { return tables_; }
  [[nodiscard]] dataplane::Worker& worker(std::uint32_t index = 0) noexcept { return *workers_[index]; }
  [[nodiscard]] dataplane::NextHop gateway() const noexcept { return gateway_; }
  dataplane::NeighbourId add_neighbour(const IpAddress& address);

  // What classify makes of the packets. Throws when it does not let all of them through.
  dataplane::Burst& receive(Packets& packets);

 private:
  void add_worker(std::uint32_t index);

  channel::Hello shape_;
  channel::CountersPage page_;
  dataplane::Forwarding tables_;
  rte_mempool* pool_;
  std::vector<std::unique_ptr<dataplane::Worker>> owned_;
  std::vector<dataplane::Worker*> workers_;
  std::vector<rte_ring*> rings_;
  dataplane::NextHop gateway_;
};

}  // namespace espgate::bench
