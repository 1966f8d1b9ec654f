// espgate-bench: what a packet costs in the worker's code, fed from memory on one core.
#include <rte_cycles.h>
#include <rte_mbuf.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "bench/pipeline/measure.hpp"
#include "crypto/bulk.hpp"
#include "dataplane/eal.hpp"
#include "dataplane/pool.hpp"

namespace espgate::bench {

namespace {

// The tables of both gateways take about 300 MiB, 400 more with wide routes; an SA pair about 4 KiB.
std::size_t megabytes_for(const Options& options) {
  std::uint32_t tunnels = 0;
  for (const Case& which : options.cases) tunnels = std::max(tunnels, which.tunnels);
  return 640 + tunnels / 128 + (tunnels > 32000 ? 700 : 0);
}

std::vector<std::string> eal_arguments(const Options& options) {
  return {"espgate-bench",
          "--no-pci",
          "--no-telemetry",
          "--log-level",
          "error",
          "--lcores",
          "0",
          "--file-prefix",
          "espgate-bench-" + std::to_string(getpid()),
          "-m",
          std::to_string(megabytes_for(options)),
          options.huge_pages ? "--in-memory" : "--no-huge"};
}

// DPDK's own estimate is rounded: measure against the monotonic clock.
double measure_tsc_hz() {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const std::uint64_t from = rte_rdtsc();
  while (Clock::now() - start < std::chrono::milliseconds(100)) {
  }
  const std::uint64_t to = rte_rdtsc();
  return static_cast<double>(to - from) / std::chrono::duration<double>(Clock::now() - start).count();
}

nlohmann::json to_json(const Spread& spread) {
  return {{"median", spread.median}, {"min", spread.min}, {"max", spread.max}};
}

constexpr std::array<const char*, dataplane::kStages> kStageNames{
    "classify", "find_sa",   "check_replay", "open", "decapsulate",
    "route",    "choose_sa", "encapsulate",  "seal", "transmit"};

nlohmann::json to_json(const std::array<double, dataplane::kStages>& stages) {
  nlohmann::json out = nlohmann::json::object();
  for (std::size_t i = 0; i < stages.size(); ++i)
    if (stages[i] != 0) out[kStageNames[i]] = stages[i];
  return out;
}

void print_stages(const Result& result) {
  std::printf("       ");
  for (std::size_t i = 0; i < kStageNames.size(); ++i)
    if (result.stages[i] != 0) std::printf(" %s %.0f", kStageNames[i], result.stages[i]);
  std::printf("\n");
}

nlohmann::json to_json(const Case& which, const Options& options, const Result& result) {
  return {{"way", name_of(which.way)},
          {"suite", which.suite->name},
          {"size", which.size.name},
          {"tunnels", which.tunnels},
          {"per_sa", which.per_sa},
          {"workers", options.workers},
          {"mpps", to_json(result.mpps)},
          {"gbps", to_json(result.gbps)},
          {"cycles_per_packet", to_json(result.cycles_per_packet)},
          {"raw_cycles_per_packet", to_json(result.raw_cycles_per_packet)},
          {"ratio", result.ratio},
          {"stages", to_json(result.stages)}};
}

void print_head(double tsc_hz, const Options& options) {
  std::printf("TSC %.3f GHz, %s, bursts of %u, %u samples of %u ms, memory in %s pages\n", tsc_hz / 1e9,
              crypto::BulkEngine().name().c_str(), options.burst, options.samples, options.milliseconds,
              options.huge_pages ? "huge" : "small");
  std::printf("%-7s %-13s %5s %7s %6s %7s %7s %19s %19s %6s\n", "way", "suite", "size", "tunnels", "per-sa",
              "Mpps", "Gbit/s", "cycles (min..max)", "ipsec-mb alone", "ratio");
}

void print_row(const Case& which, const Result& result) {
  const Spread& cycles = result.cycles_per_packet;
  const Spread& raw = result.raw_cycles_per_packet;
  std::printf("%-7s %-13s %5s %7u %6u %7.3f %7.2f %6.0f (%4.0f..%5.0f) %6.0f (%4.0f..%5.0f) %6.2f\n",
              name_of(which.way), std::string(which.suite->name).c_str(), which.size.name.c_str(),
              which.tunnels, which.per_sa, result.mpps.median, result.gbps.median, cycles.median, cycles.min,
              cycles.max, raw.median, raw.min, raw.max, result.ratio);
  std::fflush(stdout);
}

int run(const Options& options) {
  const dataplane::Eal eal(eal_arguments(options));
  rte_mempool* const pool = dataplane::make_packet_pool("frames", 255, 0, RTE_MBUF_DEFAULT_BUF_SIZE);
  if (pool == nullptr) throw std::runtime_error("no memory for packet buffers");
  const double tsc_hz = measure_tsc_hz();
  if (!options.json) print_head(tsc_hz, options);
  nlohmann::json all = nlohmann::json::array();
  for (const Case& which : options.cases) {
    const Result result = measure(which, options, tsc_hz, pool);
    if (options.json)
      all.push_back(to_json(which, options, result));
    else
      print_row(which, result);
    if (options.stages && !options.json) print_stages(result);
  }
  if (options.json) std::printf("%s\n", all.dump(2).c_str());
  rte_mempool_free(pool);
  return 0;
}

}  // namespace

}  // namespace espgate::bench

int main(int argc, char** argv) {
  try {
    return espgate::bench::run(espgate::bench::parse_options(argc, argv));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "espgate-bench: %s\n", error.what());
    return 1;
  }
}
