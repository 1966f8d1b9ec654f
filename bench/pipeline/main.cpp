// espgate-bench: what a packet costs in the worker's code, fed from memory on one core.
#include <fmt/format.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "bench/micro/machine.hpp"
#include "bench/pipeline/measure.hpp"
#include "bench/pipeline/plot.hpp"
#include "crypto/bulk.hpp"
#include "dataplane/eal.hpp"
#include "dataplane/pool.hpp"

namespace espgate::bench {

namespace {

// The tables of both gateways take about 300 MiB, 400 more with wide routes; an SA pair about 4 KiB.
std::size_t megabytes_for(const Options& options) {
  std::uint32_t tunnels = 0;
  for (const Case& which : options.cases) tunnels = std::max(tunnels, which.tunnels);
  tunnels *= options.workers;
  return 640 + tunnels / 128 + (tunnels > 32000 ? 700 : 0);
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
          {"mpps", result.mpps},
          {"gbps", result.gbps},
          {"cycles_per_packet", result.cycles_per_packet},
          {"raw_cycles_per_packet", result.raw_cycles_per_packet},
          {"ratio", result.ratio},
          {"cold", options.cold},
          {"spread", options.spread},
          {"chase_cycles", result.chase_cycles},
          {"noisy", result.noisy},
          {"stages", to_json(result.stages)}};
}

std::string headline(double tsc_hz, const Options& options) {
  return fmt::format("TSC {:.3f} GHz, {}, bursts of {}, {} samples of {} ms, memory in {} pages, frames {}",
                     tsc_hz / 1e9, crypto::BulkEngine().name(), options.burst, options.samples,
                     options.milliseconds, options.huge_pages ? "huge" : "small",
                     options.cold ? "cold" : "hot");
}

void print_head(double tsc_hz, const Options& options) {
  std::printf("%s\n", headline(tsc_hz, options).c_str());
  std::printf("%-7s %-13s %5s %7s %6s %7s %7s %19s %19s %6s %5s\n", "way", "suite", "size", "tunnels",
              "per-sa", "Mpps", "Gbit/s", "cycles (min..max)", "ipsec-mb alone", "ratio", "chase");
}

void print_row(const Case& which, const Result& result) {
  const Spread& cycles = result.cycles_per_packet;
  const Spread& raw = result.raw_cycles_per_packet;
  std::printf("%-7s %-13s %5s %7u %6u %7.3f %7.2f %6.0f (%4.0f..%5.0f) %6.0f (%4.0f..%5.0f) %6.2f %5.0f%s\n",
              name_of(which.way), std::string(which.suite->name).c_str(), which.size.name.c_str(),
              which.tunnels, which.per_sa, result.mpps.median, result.gbps.median, cycles.median, cycles.min,
              cycles.max, raw.median, raw.min, raw.max, result.ratio, result.chase_cycles,
              result.noisy ? "  noisy" : "");
  std::fflush(stdout);
}

void write_file(const std::string& path, const std::string& content) {
  std::ofstream file(path);
  file << content << std::flush;
  if (!file) throw std::runtime_error("can't write " + path);
}

int run(const Options& options) {
  const std::vector<int> cpus = usable_cpus(options.workers);
  const dataplane::Eal eal(
      eal_arguments("espgate-bench", cpus[0], megabytes_for(options), options.huge_pages));
  rte_mempool* const pool =
      dataplane::make_packet_pool("frames", 128 * options.workers + 127, 0, RTE_MBUF_DEFAULT_BUF_SIZE);
  if (pool == nullptr) throw std::runtime_error("no memory for packet buffers");
  if (options.bursts != 0) {
    for (const Case& which : options.cases) carry_bursts(which, options, pool);
    rte_mempool_free(pool);
    return 0;
  }
  const double tsc_hz = measure_tsc_hz();
  if (!options.json) print_head(tsc_hz, options);
  nlohmann::json all = nlohmann::json::array();
  std::vector<std::pair<Case, Result>> rows;
  for (const Case& which : options.cases) {
    const Result result = measure(which, options, cpus, tsc_hz, pool);
    if (options.json)
      all.push_back(to_json(which, options, result));
    else
      print_row(which, result);
    if (options.stages && !options.json) print_stages(result);
    rows.emplace_back(which, result);
  }
  if (!options.plot.empty()) write_file(options.plot, plot(rows, headline(tsc_hz, options)));
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
