#include "bench/micro/machine.hpp"

#include <sched.h>
#include <unistd.h>
#include <x86intrin.h>

#include <chrono>
#include <stdexcept>

namespace espgate::bench {

std::vector<int> usable_cpus(std::uint32_t count) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) throw std::runtime_error("no CPUs to run on");
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE && cpus.size() < count; ++cpu)
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  if (cpus.size() < count) throw std::runtime_error("there are fewer CPUs than workers");
  return cpus;
}

// DPDK's own estimate is rounded: measure against the monotonic clock.
double measure_tsc_hz() {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const std::uint64_t from = __rdtsc();
  while (Clock::now() - start < std::chrono::milliseconds(100)) {
  }
  const std::uint64_t to = __rdtsc();
  return static_cast<double>(to - from) / std::chrono::duration<double>(Clock::now() - start).count();
}

std::vector<std::string> eal_arguments(const std::string& program, int cpu, std::size_t megabytes,
                                       bool huge_pages) {
  return {program,
          "--no-pci",
          "--no-telemetry",
          "--log-level",
          "error",
          "--lcores",
          "0@" + std::to_string(cpu),
          "--file-prefix",
          program + "-" + std::to_string(getpid()),
          "-m",
          std::to_string(megabytes),
          huge_pages ? "--in-memory" : "--no-huge"};
}

}  // namespace espgate::bench
