#include "bench/pipeline/measure.hpp"

#include <x86intrin.h>

#include <algorithm>
#include <stdexcept>

#include "bench/micro/raw_crypto.hpp"
#include "bench/pipeline/gateways.hpp"
#include "bench/pipeline/traffic.hpp"

namespace espgate::bench {

using namespace dataplane;

namespace {

std::uint64_t now() noexcept {
  unsigned core;
  const std::uint64_t time = __rdtscp(&core);
  _mm_lfence();
  return time;
}

template <class Work>
std::uint64_t cycles_of(Work&& work) {
  const std::uint64_t start = now();
  work();
  return now() - start;
}

std::uint64_t clock_cost() {
  std::uint64_t least = ~std::uint64_t{0};
  for (int i = 0; i < 1000; ++i) least = std::min(least, cycles_of([] {}));
  return least;
}

// The median burst of a sample stands for it: one during which the system took the core away says nothing
// about the code.
std::uint64_t median(std::vector<std::uint64_t>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

struct Sample {
  std::vector<std::uint64_t> cycles;  // by burst
  std::vector<std::uint64_t> raw_cycles;
  std::uint64_t total{0};
  std::uint64_t bytes{0};
};

class Measure {
 public:
  Measure(const Case& which, const Options& options, rte_mempool* pool)
      : case_(which),
        burst_(options.burst),
        gateways_(which, pool),
        traffic_(which, options.burst, pool, gateways_),
        raw_(engine_, which.suite->suite,
             crypto::Bytes(gateways_.command(0).keys.data(), key_material_length(*which.suite))),
        clock_(clock_cost()) {}

  Sample sample(std::uint64_t cycles) {
    Sample sample;
    while (sample.total < cycles) one_burst(sample);
    return sample;
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
    gateways_.be_sender();
    traffic_.make_plain();
    sample.cycles.push_back(process(kInside, traffic_.frames()));
    take_out(kOutside, false);
    sample.raw_cycles.push_back(raw_seal());
  }

  void decrypt(Sample& sample) {
    gateways_.be_receiver();
    traffic_.make_sealed();
    sample.cycles.push_back(process(kOutside, traffic_.frames()));
    take_out(kInside, true);
    sample.raw_cycles.push_back(raw_open());
  }

  void chain(Sample& sample) {
    gateways_.be_sender();
    traffic_.make_plain();
    const std::uint64_t sealing = process(kInside, traffic_.frames());
    take_out(kOutside, false);
    gateways_.be_receiver();
    const std::uint64_t opening = process(kOutside, traffic_.frames());
    take_out(kInside, true);
    sample.cycles.push_back(sealing + opening);
    const std::uint64_t raw_sealing = raw_seal();
    sample.raw_cycles.push_back(raw_sealing + raw_open());
  }

  std::uint64_t process(std::uint8_t port, std::span<rte_mbuf*> frames) {
    gateways_.worker().stage_clock = stage_clock_;
    if (stage_clock_ != nullptr) stage_clock_->last = now();
    return cycles_of([&] { process_received(gateways_.worker(), port, frames); }) - clock_;
  }
  std::uint64_t raw_seal() {
    return cycles_of([&] { raw_.seal(traffic_.esp(), traffic_.payloads()); }) - clock_;
  }
  std::uint64_t raw_open() {
    return cycles_of([&] { raw_.open(traffic_.esp(), traffic_.payloads()); }) - clock_;
  }

  void take_out(std::uint8_t port, bool inner) {
    TransmitBuffer& buffer = gateways_.worker().transmit[port];
    if (!traffic_.came_out(buffer, inner))
      throw std::runtime_error("not every packet came out as it should:" + gateways_.drops());
    buffer.count = 0;
  }

  const Case& case_;
  unsigned burst_;
  Gateways gateways_;
  Traffic traffic_;
  crypto::BulkEngine engine_;
  RawCrypto raw_;
  std::uint64_t clock_;
  StageClock* stage_clock_{nullptr};
};

Spread spread(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

}  // namespace

Result measure(const Case& which, const Options& options, double tsc_hz, rte_mempool* pool) {
  Measure measure(which, options, pool);
  const auto cycles = static_cast<std::uint64_t>(tsc_hz / 1000 * options.milliseconds);
  (void)measure.sample(cycles);  // warm
  std::vector<double> mpps, gbps, per_packet, raw;
  for (unsigned i = 0; i < options.samples; ++i) {
    Sample sample = measure.sample(cycles);
    const double packets = options.burst;
    const double bytes = static_cast<double>(sample.bytes) / static_cast<double>(sample.cycles.size());
    const auto burst = static_cast<double>(median(sample.cycles));
    mpps.push_back(packets * tsc_hz / burst / 1e6);
    gbps.push_back(bytes * 8 * tsc_hz / burst / 1e9);
    per_packet.push_back(burst / packets);
    raw.push_back(static_cast<double>(median(sample.raw_cycles)) / packets);
  }
  Result result{spread(mpps), spread(gbps), spread(per_packet), spread(raw), 0, measure.stages(cycles)};
  result.ratio = result.cycles_per_packet.median / result.raw_cycles_per_packet.median;
  return result;
}

}  // namespace espgate::bench
