// DPDK's environment for one configuration: memory, CPUs and devices.
#pragma once

#include <string>
#include <vector>

#include "conf/schema.hpp"

namespace espgate::dataplane {

// The arguments of rte_eal_init. Lcore 0 is the main thread, lcore 1 + i is worker i. Throws conf::Error for
// a device that can't be, std::runtime_error when a kernel interface is missing, or hugepages are required
// and not there.
[[nodiscard]] std::vector<std::string> eal_arguments(const conf::Configuration& configuration);

// Free hugepages of all sizes, in MiB.
[[nodiscard]] unsigned free_hugepages_mib();

// DPDK's environment while this lives; once for a process. Main thread. Leaves nothing behind in /run.
class Eal {
 public:
  // Throws std::runtime_error with DPDK's words.
  explicit Eal(std::vector<std::string> arguments);
  ~Eal();
  Eal(const Eal&) = delete;
  Eal& operator=(const Eal&) = delete;
};

}  // namespace espgate::dataplane
