// Measures one case: cycles of the way and of ipsec-mb alone, in turns on the same packets.
#pragma once

#include <array>

#include "bench/micro/spread.hpp"
#include "bench/pipeline/options.hpp"
#include "dataplane/path/ways.hpp"

struct rte_mempool;

namespace espgate::bench {

struct Result {
  Spread mpps;  // of all workers together, as gbps
  Spread gbps;  // of inner bytes
  Spread cycles_per_packet;
  Spread raw_cycles_per_packet;
  double ratio;
  std::array<double, dataplane::kStages>
      stages;           // cycles a packet, of a sample of their own; 0: not on this way
  double chase_cycles;  // of a dependent load somewhere in 16 MiB: what a cache line costs at this moment
  bool noisy;
};

// `tsc_hz`: cycles in a second; `cpus`: one for each worker, by the kernel's number. Throws
// std::runtime_error when not every packet came out of the way.
[[nodiscard]] Result measure(const Case& which, const Options& options, const std::vector<int>& cpus,
                             double tsc_hz, rte_mempool* pool);

// Carries `options.bursts` bursts by one worker, and no more. Throws as measure.
void carry_bursts(const Case& which, const Options& options, rte_mempool* pool);

}  // namespace espgate::bench
