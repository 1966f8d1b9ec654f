// bench-crypto [--sas N] [--rounds N]: cycles per packet of sealing and opening, beside those of ipsec-mb
// alone on the same bytes, measured in turns. `chained` is ipsec-mb's queue of chained jobs on the manager
// that it picks itself.
// --sas: keys that the packets of a burst take in turn; beyond a few hundred they do not stay in the cache.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "bench/micro/raw_crypto.hpp"
#include "bench/micro/samples.hpp"
#include "crypto/bulk.hpp"
#include "crypto/secret.hpp"

namespace {

using namespace espgate;
using crypto::BulkEngine;
using crypto::EspJob;
using crypto::SaKey;
using crypto::SuiteRow;

struct Options {
  std::size_t sas{1};
  std::size_t rounds{400};
};

// Packets as a driver hands them over: each in its own 2 KiB buffer, not aligned to anything.
class Packets {
 public:
  Packets(const SuiteRow& suite, std::size_t count, std::uint32_t payload)
      : size_(8 + suite.iv_length + payload + suite.icv_length),
        memory_(count * kBuffer),
        saved_(count * kBuffer) {
    for (std::size_t i = 0; i < count; ++i) esp_.push_back(memory_.data() + i * kBuffer + 34);
    crypto::random_bytes(memory_);
  }
  [[nodiscard]] std::span<std::uint8_t* const> esp() const { return esp_; }
  void save() { saved_ = memory_; }
  void restore() {
    for (const std::uint8_t* esp : esp_) {
      const auto at = esp - memory_.data();
      std::memcpy(memory_.data() + at, saved_.data() + at, size_);
    }
  }

 private:
  static constexpr std::size_t kBuffer = 2048;
  std::size_t size_;
  std::vector<std::uint8_t> memory_;
  std::vector<std::uint8_t> saved_;
  std::vector<std::uint8_t*> esp_;
};

class Keys {
 public:
  Keys(const BulkEngine& engine, const SuiteRow& suite, std::size_t count) : keys_(count) {
    material_.resize(crypto::key_material_length(suite));
    crypto::random_bytes(material_);
    for (SaKey& key : keys_) {
      if (!engine.expand(suite.suite, material_, key)) std::abort();
    }
  }
  [[nodiscard]] crypto::Bytes material() const { return material_; }
  // Strides over the keys so that the hardware does not foresee the next.
  const SaKey& next() { return keys_[(at_ += 7919) % keys_.size()]; }

 private:
  std::vector<std::uint8_t> material_;
  std::vector<SaKey> keys_;
  std::size_t at_{0};
};

struct Case {
  const SuiteRow& suite;
  std::uint32_t payload;
  std::size_t burst;
};

class Run {
 public:
  Run(BulkEngine& engine, const Case& which, const Options& options, std::uint64_t clock)
      : engine_(engine),
        case_(which),
        rounds_(options.rounds),
        clock_(clock),
        keys_(engine, which.suite, options.sas),
        raw_(engine, which.suite.suite, keys_.material()),
        packets_(which.suite, which.burst, which.payload) {}

  void print() {
    measure();
    const double seal = per_packet(seal_), raw_seal = per_packet(raw_seal_);
    const double open = per_packet(open_), raw_open = per_packet(raw_open_);
    std::printf("%-14.*s %5u %3zu  %8.0f %8.0f %6.3f  %8.0f %8.0f %6.3f",
                static_cast<int>(case_.suite.name.size()), case_.suite.name.data(), case_.payload,
                case_.burst, seal, raw_seal, seal / raw_seal, open, raw_open, open / raw_open);
    if (!chained_.empty()) std::printf("  %8.0f", per_packet(chained_));
    std::printf("\n");
  }

 private:
  template <class Work>
  void time(std::vector<std::uint64_t>& into, Work work) {
    const std::uint64_t cycles = bench::cycles_of(work);
    into.push_back(cycles > clock_ ? cycles - clock_ : 0);
  }

  void measure() {
    for (std::size_t round = 0; round < rounds_; ++round) {
      make_jobs();
      time(seal_, [&] { engine_.seal(jobs_); });
      packets_.save();
      time(raw_seal_, [&] { raw_.seal(packets_.esp(), case_.payload); });
      if (case_.suite.mode == crypto::CipherMode::cbc)
        time(chained_, [&] { raw_.seal_chained(packets_.esp(), case_.payload); });
      packets_.restore();
      time(open_, [&] { engine_.open(jobs_); });
      if (!std::ranges::all_of(jobs_, &EspJob::ok)) std::abort();
      packets_.restore();
      time(raw_open_, [&] { raw_.open(packets_.esp(), case_.payload); });
    }
  }

  void make_jobs() {
    jobs_.clear();
    for (std::uint8_t* esp : packets_.esp())
      jobs_.push_back({&keys_.next(), esp, ++sequence_, case_.payload, {case_.suite.suite, false}, false});
  }

  double per_packet(std::vector<std::uint64_t>& cycles) {
    return static_cast<double>(bench::median(cycles)) / static_cast<double>(case_.burst);
  }

  BulkEngine& engine_;
  Case case_;
  std::size_t rounds_;
  std::uint64_t clock_;
  Keys keys_;
  bench::RawCrypto raw_;
  Packets packets_;
  std::vector<EspJob> jobs_;
  std::uint64_t sequence_{0};
  std::vector<std::uint64_t> seal_, raw_seal_, open_, raw_open_, chained_;
};

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    const std::size_t value = std::strtoul(argv[i + 1], nullptr, 10);
    if (value == 0) return false;
    if (name == "--sas")
      options.sas = value;
    else if (name == "--rounds")
      options.rounds = value;
    else
      return false;
  }
  return argc % 2 == 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    std::fprintf(stderr, "usage: bench-crypto [--sas N] [--rounds N]\n");
    return 2;
  }
  BulkEngine engine;
  std::printf("%s, %zu SAs; TSC cycles per packet, median of %zu\n", engine.name().c_str(), options.sas,
              options.rounds);
  std::printf("%-14s %5s %3s  %8s %8s %6s  %8s %8s %6s  %8s\n", "suite", "bytes", "pkt", "seal", "raw",
              "ratio", "open", "raw", "ratio", "chained");
  const std::uint64_t clock = bench::clock_cost();
  for (const SuiteRow& suite : crypto::kSuites) {
    for (const std::uint32_t size : {64u, 512u, 1420u}) {
      const std::uint32_t payload = (size + suite.alignment - 1) / suite.alignment * suite.alignment;
      for (const std::size_t burst : {1u, 4u, 32u})
        Run(engine, {suite, payload, burst}, options, clock).print();
    }
  }
  return 0;
}
