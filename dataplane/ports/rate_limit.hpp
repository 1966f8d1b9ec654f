// Token buckets for the slow path: one for all, and one for each source in a table of fixed size, so that no
// number of forged sources makes it grow. Sources whose hashes meet share a bucket. Main thread only.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "channel/address.hpp"

namespace espgate::dataplane {

class TokenBucket {
 public:
  // `rate`: tokens a second; at most `burst` are saved up. A bucket begins full.
  [[nodiscard]] bool take(std::uint64_t now_ns, std::uint32_t rate, std::uint32_t burst) noexcept {
    if (!has(now_ns, rate, burst)) return false;
    credit_ -= kSecond;
    return true;
  }
  // Would `take` succeed?
  [[nodiscard]] bool has(std::uint64_t now_ns, std::uint32_t rate, std::uint32_t burst) noexcept {
    const std::uint64_t full = kSecond * burst;
    const std::uint64_t elapsed = now_ns - last_ns_;
    // Beyond a full bucket's time the product could overflow and would not matter.
    if (last_ns_ == 0 || elapsed >= full / rate)
      credit_ = full;
    else
      credit_ = std::min(full, credit_ + elapsed * rate);
    last_ns_ = now_ns;
    return credit_ >= kSecond;
  }

 private:
  static constexpr std::uint64_t kSecond = 1'000'000'000;  // one token, in token-nanoseconds
  std::uint64_t last_ns_{0};
  std::uint64_t credit_{0};
};

struct RateLimits {
  std::uint32_t rate;  // a second, of all sources together
  std::uint32_t burst;
  std::uint32_t source_rate;
  std::uint32_t source_burst;
};

// Which of `buckets` (a power of two) a source falls into. IPv6 sources count by /64, since a host has all of
// that.
[[nodiscard]] inline std::size_t source_bucket(const IpAddress& source, std::uint64_t seed,
                                               std::size_t buckets) noexcept {
  std::uint64_t hash = seed ^ 0xcbf29ce484222325ULL;
  for (std::size_t i = 0; i < 8; i++) hash = (hash ^ source.bytes[i]) * 0x100000001b3ULL;
  hash = (hash ^ (hash >> 31)) * (seed | 1);
  return static_cast<std::size_t>(hash >> 40) & (buckets - 1);
}

class RateLimiter {
 public:
  // `seed` is random, so that nobody can aim at another source's bucket.
  RateLimiter(RateLimits limits, std::uint64_t seed) noexcept : limits_(limits), seed_(seed) {}

  [[nodiscard]] bool take(const IpAddress& source, std::uint64_t now_ns) noexcept {
    TokenBucket& bucket = sources_[source_bucket(source, seed_, kBuckets)];
    if (!bucket.has(now_ns, limits_.source_rate, limits_.source_burst)) return false;
    if (!all_.take(now_ns, limits_.rate, limits_.burst)) return false;
    return bucket.take(now_ns, limits_.source_rate, limits_.source_burst);
  }

 private:
  static constexpr std::size_t kBuckets = 1024;
  RateLimits limits_;
  std::uint64_t seed_;
  TokenBucket all_;
  std::array<TokenBucket, kBuckets> sources_{};
};

}  // namespace espgate::dataplane
