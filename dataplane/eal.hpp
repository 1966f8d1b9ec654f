// DPDK's environment for one configuration: memory, CPUs and devices.
#pragma once

#include <string>
#include <vector>

#include "conf/schema.hpp"

namespace espgate::dataplane {

// The arguments of rte_eal_init. Lcore 0 is the main thread, lcore 1 + i is worker i. Throws conf::Error for
// a device that can't be, std::runtime_error when hugepages are required and not there.
[[nodiscard]] std::vector<std::string> eal_arguments(const conf::Configuration& configuration);

// Free hugepages of all sizes, in MiB.
[[nodiscard]] unsigned free_hugepages_mib();

// Throws std::runtime_error with DPDK's words.
void start_eal(std::vector<std::string> arguments);
// And takes away the folder that DPDK leaves in /run.
void stop_eal() noexcept;

}  // namespace espgate::dataplane
