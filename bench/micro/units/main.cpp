// bench-units: what a call of each unit on the hot path costs, but for the crypto engine (bench-crypto).
#include <fnmatch.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "bench/micro/machine.hpp"
#include "bench/micro/units/meter.hpp"
#include "dataplane/eal.hpp"
#include "dataplane/path/packet.hpp"

namespace espgate::bench {

namespace {

// What the unit with the largest tables takes, 100,000 routes of IPv6, and some more.
constexpr std::size_t kMegabytes = 1024;
constexpr double kNothing = 0.1;  // cycles: nothing is as quick, so nothing was done

struct Options {
  std::string only;
  unsigned samples{11};
  bool json{false};
};

Options parse_options(int argc, char** argv) {
  Options options;
  CLI::App app{"What a call of each unit on the hot path costs, in cycles of the time stamp counter."};
  app.add_option("--only", options.only, "part of a unit's name, or a shell pattern of one");
  app.add_option("--samples", options.samples,
                 "samples, of which the median is told; 7 or more to be believed")
      ->check(CLI::Range(1U, 1001U))
      ->capture_default_str();
  app.add_flag("--json", options.json, "an array of objects instead of the table");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int status = app.exit(error);
    std::exit(status == 0 ? 0 : 2);
  }
  return options;
}

Units chosen_units(const std::string& only) {
  const std::string pattern = "*" + only + "*";
  Units chosen;
  for (const auto& group : {stage_units(), header_units(), sa_units(), table_units(), thread_units()})
    for (const Unit& unit : group)
      if (fnmatch(pattern.c_str(), unit.name.c_str(), 0) == 0) chosen.push_back(unit);
  if (chosen.empty()) throw std::runtime_error("no unit's name matches " + only);
  return chosen;
}

Figure measure(const Unit& unit, const Meter& meter) {
  try {
    const Figure figure = unit.measure(meter);
    require(figure.cycles.min > kNothing, "it took no time");
    return figure;
  } catch (const std::exception& error) {
    throw std::runtime_error(unit.name + ": " + error.what());
  }
}

void print_head(const Options& options) {
  std::printf("TSC %.3f GHz, bursts of %u, %u samples, memory in small pages; TSC cycles a call\n",
              measure_tsc_hz() / 1e9, dataplane::kBurst, options.samples);
  std::printf("%-48s %8s (min..max)\n", "unit", "cycles");
}

void print_row(const Unit& unit, const Figure& figure) {
  std::printf("%-48s %8.1f (%.1f..%.1f)%s\n", unit.name.c_str(), figure.cycles.median, figure.cycles.min,
              figure.cycles.max, figure.noisy ? "  noisy" : "");
  std::fflush(stdout);
}

void run(const Options& options) {
  const Units units = chosen_units(options.only);
  const dataplane::Eal eal(eal_arguments("bench-units", usable_cpus(1)[0], kMegabytes, false));
  const Meter meter(options.samples);
  nlohmann::json all = nlohmann::json::array();
  if (!options.json) print_head(options);
  for (const Unit& unit : units) {
    const Figure figure = measure(unit, meter);
    if (options.json)
      all.push_back({{"unit", unit.name}, {"cycles", figure.cycles}, {"noisy", figure.noisy}});
    else
      print_row(unit, figure);
  }
  if (options.json) std::printf("%s\n", all.dump(2).c_str());
}

}  // namespace

}  // namespace espgate::bench

int main(int argc, char** argv) {
  try {
    espgate::bench::run(espgate::bench::parse_options(argc, argv));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench-units: %s\n", error.what());
    return 1;
  }
}
