#include "bench/pipeline/measure.hpp"

#include <sched.h>

#include <barrier>
#include <exception>
#include <functional>
#include <stdexcept>
#include <thread>

#include "bench/micro/raw_crypto.hpp"
#include "bench/micro/samples.hpp"
#include "bench/pipeline/gateways.hpp"
#include "bench/pipeline/latency.hpp"
#include "bench/pipeline/traffic.hpp"

namespace espgate::bench {

using namespace dataplane;

namespace {

constexpr std::size_t kChaseBytes = 16 << 20;

struct Sample {
  std::vector<std::uint64_t> cycles;  // by burst
  std::vector<std::uint64_t> raw_cycles;
  std::uint64_t total{0};
  std::uint64_t bytes{0};
};

// One worker and what is fed to it. Its own thread's, but for construction.
class Measure {
 public:
  Measure(const Case& which, const Options& options, rte_mempool* pool, Gateways& gateways,
          std::uint32_t worker)
      : case_(which),
        burst_(options.burst),
        cold_(options.cold),
        gateways_(gateways),
        worker_(gateways.worker(worker)),
        traffic_(which, options.burst, pool, gateways, worker),
        raw_(engine_, which.suite->suite,
             crypto::Bytes(gateways_.keys().data(), key_material_length(*which.suite))),
        clock_(clock_cost()) {}

  Sample sample(std::uint64_t cycles) {
    Sample sample;
    while (sample.total < cycles) one_burst(sample);
    return sample;
  }

  void carry(unsigned bursts) {
    Sample sample;
    for (unsigned i = 0; i < bursts; ++i) one_burst(sample);
  }

  // Of one sample, with a look at the clock between the stages: the median burst of each.
  std::array<double, kStages> stages(std::uint64_t cycles) {
    std::array<std::vector<std::uint64_t>, kStages> by_burst;
    StageClock clock{};
    stage_clock_ = &clock;
    Sample sample;
    while (sample.total < cycles) {
      clock.cycles.fill(0);
      one_burst(sample);
      for (std::size_t i = 0; i < kStages; ++i) by_burst[i].push_back(clock.cycles[i]);
    }
    stage_clock_ = nullptr;
    std::array<double, kStages> result;
    for (std::size_t i = 0; i < kStages; ++i)
      result[i] = static_cast<double>(median(by_burst[i])) / static_cast<double>(burst_);
    return result;
  }

 private:
  void one_burst(Sample& sample) {
    switch (case_.way) {
      case Way::encrypt:
        encrypt(sample);
        break;
      case Way::decrypt:
        decrypt(sample);
        break;
      case Way::chain:
        chain(sample);
        break;
    }
    sample.total += sample.cycles.back();
    sample.bytes += traffic_.inner_bytes();
  }

  void encrypt(Sample& sample) {
    worker_.tables = &gateways_.sender();
    traffic_.make_plain();
    sample.cycles.push_back(process(kInside));
    take_out(kOutside, false);
    sample.raw_cycles.push_back(raw_seal());
  }

  void decrypt(Sample& sample) {
    worker_.tables = &gateways_.receiver();
    traffic_.make_sealed();
    sample.cycles.push_back(process(kOutside));
    take_out(kInside, true);
    sample.raw_cycles.push_back(raw_open());
  }

  void chain(Sample& sample) {
    worker_.tables = &gateways_.sender();
    traffic_.make_plain();
    const std::uint64_t sealing = process(kInside);
    take_out(kOutside, false);
    worker_.tables = &gateways_.receiver();
    const std::uint64_t opening = cycles_of_way(kOutside);
    take_out(kInside, true);
    sample.cycles.push_back(sealing + opening);
    const std::uint64_t raw_sealing = raw_seal();
    sample.raw_cycles.push_back(raw_sealing + raw_open());
  }

  std::uint64_t process(std::uint8_t port) {
    if (cold_) traffic_.flush_from_caches();
    return cycles_of_way(port);
  }
  std::uint64_t cycles_of_way(std::uint8_t port) {
    worker_.stage_clock = stage_clock_;
    if (stage_clock_ != nullptr) stage_clock_->last = now();
    return cycles_of([&] { process_received(worker_, port, traffic_.frames()); }) - clock_;
  }
  std::uint64_t raw_seal() {
    if (cold_) traffic_.flush_from_caches();
    return cycles_of([&] { raw_.seal(traffic_.esp(), traffic_.payloads()); }) - clock_;
  }
  std::uint64_t raw_open() {
    if (cold_ && case_.way != Way::chain) traffic_.flush_from_caches();
    return cycles_of([&] { raw_.open(traffic_.esp(), traffic_.payloads()); }) - clock_;
  }

  void take_out(std::uint8_t port, bool inner) {
    TransmitBuffer& buffer = worker_.transmit[port];
    if (!traffic_.came_out(buffer, inner))
      throw std::runtime_error("not every packet came out as it should:" + gateways_.drops());
    buffer.count = 0;
  }

  const Case& case_;
  unsigned burst_;
  bool cold_;
  Gateways& gateways_;
  Worker& worker_;
  Traffic traffic_;
  crypto::BulkEngine engine_;
  RawCrypto raw_;
  std::uint64_t clock_;
  StageClock* stage_clock_{nullptr};
};

void pin_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0)
    throw std::runtime_error("a worker can't be put on its CPU");
}

// All workers of a case, each on its CPU: they begin a sample together.
class Team {
 public:
  Team(const Case& which, const Options& options, const std::vector<int>& cpus, rte_mempool* pool)
      : cpus_(cpus), gateways_(which, options.workers, options.spread, pool) {
    const std::uint32_t fed = options.spread ? 1 : options.workers;
    for (std::uint32_t w = 0; w < fed; ++w)
      members_.push_back(std::make_unique<Measure>(which, options, pool, gateways_, w));
  }

  std::vector<Sample> sample(std::uint64_t cycles) {
    std::vector<Sample> samples(members_.size());
    together([&](std::size_t w) { samples[w] = members_[w]->sample(cycles); });
    return samples;
  }
  std::array<double, kStages> stages(std::uint64_t cycles) { return members_[0]->stages(cycles); }
  [[nodiscard]] double fed() const noexcept { return static_cast<double>(members_.size()); }

 private:
  void together(const std::function<void(std::size_t)>& work) {
    std::vector<std::exception_ptr> failures(members_.size());
    std::barrier start(static_cast<std::ptrdiff_t>(members_.size()));
    const auto run = [&](std::size_t w) {
      try {
        pin_to(cpus_[w]);
        start.arrive_and_wait();
        work(w);
      } catch (...) {
        failures[w] = std::current_exception();
      }
    };
    {
      std::vector<std::jthread> threads;
      for (std::size_t w = 1; w < members_.size(); ++w) threads.emplace_back(run, w);
      for (std::size_t w = members_.size(); w < cpus_.size(); ++w)
        threads.emplace_back([this, w](const std::stop_token& stop) { help(w, stop); });
      run(0);
    }
    for (const std::exception_ptr& failure : failures)
      if (failure) std::rethrow_exception(failure);
  }

  // A worker that nothing is fed to.
  void help(std::size_t w, const std::stop_token& stop) {
    pin_to(cpus_[w]);
    while (!stop.stop_requested()) (void)help_others(gateways_.worker(static_cast<std::uint32_t>(w)));
  }

  const std::vector<int>& cpus_;
  Gateways gateways_;
  std::vector<std::unique_ptr<Measure>> members_;
};

}  // namespace

Result measure(const Case& which, const Options& options, const std::vector<int>& cpus, double tsc_hz,
               rte_mempool* pool) {
  const double chase = PointerChase(kChaseBytes).cycles_per_load();
  Team team(which, options, cpus, pool);
  const auto cycles = static_cast<std::uint64_t>(tsc_hz / 1000 * options.milliseconds);
  (void)team.sample(cycles);  // warm
  std::vector<double> mpps, gbps, per_packet, raw;
  const double packets = options.burst;
  for (unsigned i = 0; i < options.samples; ++i) {
    double all_mpps = 0, all_gbps = 0, all_cycles = 0, all_raw = 0;
    for (Sample& sample : team.sample(cycles)) {
      const double bytes = static_cast<double>(sample.bytes) / static_cast<double>(sample.cycles.size());
      const auto burst = static_cast<double>(median(sample.cycles));
      all_mpps += packets * tsc_hz / burst / 1e6;
      all_gbps += bytes * 8 * tsc_hz / burst / 1e9;
      all_cycles += burst / packets;
      all_raw += static_cast<double>(median(sample.raw_cycles)) / packets;
    }
    mpps.push_back(all_mpps);
    gbps.push_back(all_gbps);
    per_packet.push_back(all_cycles / team.fed());
    raw.push_back(all_raw / team.fed());
  }
  Result result{spread(mpps),
                spread(gbps),
                spread(per_packet),
                spread(raw),
                0,
                team.stages(cycles),
                chase,
                is_noisy(per_packet) || is_noisy(raw)};
  result.ratio = result.cycles_per_packet.median / result.raw_cycles_per_packet.median;
  return result;
}

void carry_bursts(const Case& which, const Options& options, rte_mempool* pool) {
  Gateways gateways(which, 1, false, pool);
  Measure(which, options, pool, gateways, 0).carry(options.bursts);
}

}  // namespace espgate::bench
