// Measures one case: cycles of the way and of ipsec-mb alone, in turns on the same packets.
#pragma once

#include <array>

#include "bench/pipeline/options.hpp"
#include "dataplane/path/ways.hpp"

struct rte_mempool;

namespace espgate::bench {

struct Spread {
  double median;
  double min;
  double max;
};

struct Result {
  Spread mpps;
  Spread gbps;  // of inner bytes
  Spread cycles_per_packet;
  Spread raw_cycles_per_packet;
  double ratio;
  std::array<double, dataplane::kStages>
      stages;  // cycles a packet, of a sample of their own; 0: not on this way
};

// `tsc_hz`: cycles in a second. Throws std::runtime_error when not every packet came out of the way.
[[nodiscard]] Result measure(const Case& which, const Options& options, double tsc_hz, rte_mempool* pool);

}  // namespace espgate::bench
