// What the benchmarks run on: CPUs, the clock's rate, and DPDK's environment in memory, without devices.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace espgate::bench {

// The first `count` CPUs that this process may run on. Throws std::runtime_error when there are fewer.
[[nodiscard]] std::vector<int> usable_cpus(std::uint32_t count);

// Cycles of the time stamp counter in a second.
[[nodiscard]] double measure_tsc_hz();

// Of a dataplane::Eal whose main thread is on `cpu`.
[[nodiscard]] std::vector<std::string> eal_arguments(const std::string& program, int cpu,
                                                     std::size_t megabytes, bool huge_pages);

}  // namespace espgate::bench
