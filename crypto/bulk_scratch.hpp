// What the engine's files share: the memory of one burst, and how packets are looked at.
#pragma once

#include <emmintrin.h>
#include <intel-ipsec-mb.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "crypto/plan.hpp"

namespace espgate::crypto {

inline constexpr std::size_t kBurst = 64;
inline constexpr std::size_t kEspHeader =
    8;  // SPI and sequence number: RFC 4303 section 2; also GCM's AAD (RFC 4106 section 5)
inline constexpr std::size_t kHighBits = 4;   // of an extended sequence number (RFC 4303 section 2.2.1)
inline constexpr std::size_t kCounterIv = 8;  // the IV on the wire of all but CBC and NULL
inline constexpr std::uint32_t kGcmAlignment = 4;
inline constexpr std::size_t kMaxIcv = most_of_suites([](const SuiteRow& row) { return row.icv_length; });
// ipsec-mb's multi-buffer lanes count bytes in 16 bits, the HMAC's inner padding included.
inline constexpr std::uint32_t kMaxPayload = 65280;

inline constexpr std::size_t kLine = 64;  // of the cache
// So many packets ahead an AES-GCM key is fetched; with long packets, whose keys are longer too, fewer.
// Measured best of 3 to 12 with thousands of SAs.
inline constexpr std::size_t kAhead = 8;
inline constexpr std::size_t kAheadLong = 4;
inline constexpr std::uint32_t kLong = 512;  // bytes

inline constexpr std::size_t kHashKeys = offsetof(GcmKey, schedule) + offsetof(gcm_key_data, ghash_keys);
static_assert(kHashKeys % kLine == 0);
// ipsec-mb's VAES code multiplies with as many powers of the hash key as there are blocks, from the last of
// 48 backwards; its other code with the first 8, whatever the length.
inline constexpr std::size_t kVaesHashKeys = 48;

// In assembly, because g++ takes a function that does nothing but _mm_prefetch for one without effects, and
// leaves its calls out.
inline void prefetch(const SaKey* key, std::size_t from, std::size_t to) noexcept {
  for (std::size_t at = from / kLine * kLine; at < to; at += kLine)
    asm volatile("prefetcht0 %0" : : "m"(key->storage[at]));
}

// `alignment`: a power of two.
inline bool valid_payload(const EspJob& job, std::uint32_t alignment) noexcept {
  return job.payload != 0 && (job.payload & (alignment - 1)) == 0 && job.payload <= kMaxPayload;
}

inline void store_be64(std::uint8_t* to, std::uint64_t value) noexcept {
  value = __builtin_bswap64(value);
  std::memcpy(to, &value, sizeof value);
}

inline std::uint32_t load32(const std::uint8_t* from) noexcept {
  std::uint32_t value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
inline void store32(std::uint8_t* to, std::uint32_t value) noexcept { std::memcpy(to, &value, sizeof value); }

// As they would lie on the wire.
inline std::uint32_t high_bits(const EspJob& job) noexcept {
  return __builtin_bswap32(static_cast<std::uint32_t>(job.sequence >> 32));
}

// 8 bytes or more, without a branch on any of them.
[[gnu::always_inline]] inline bool same_icv(const std::uint8_t* a, const std::uint8_t* b,
                                            std::size_t length) noexcept {
  const auto differ = [a, b](std::size_t at) {
    std::uint64_t of_a, of_b;
    std::memcpy(&of_a, a + at, sizeof of_a);
    std::memcpy(&of_b, b + at, sizeof of_b);
    return of_a ^ of_b;
  };
  std::uint64_t difference = differ(0) | differ(length - 8);
  for (std::size_t at = 8; at + 8 < length; at += 8) difference |= differ(at);
  return difference == 0;
}

// An AEAD's AAD with ESN: SPI, high 32 bits, low 32 bits. Stored at once, as the nonce is.
inline constexpr std::size_t kEsnAad = kEspHeader + kHighBits;
inline const std::uint8_t* make_esn_aad(const EspJob& job, std::array<std::uint8_t, kBlock>& aad) noexcept {
  const __m128i words = _mm_set_epi32(0, static_cast<int>(load32(job.esp + 4)),
                                      static_cast<int>(high_bits(job)), static_cast<int>(load32(job.esp)));
  _mm_store_si128(reinterpret_cast<__m128i*>(aad.data()), words);
  return aad.data();
}

// What one burst needs besides the packets themselves.
struct BulkScratch {
  std::array<IMB_JOB, kBurst> jobs{};
  std::array<std::array<std::uint8_t, kMaxIcv>, kBurst> icvs{};
  struct Group {
    std::size_t count{0};
    std::array<EspJob*, kBurst> jobs{};
  };
  std::array<Group, kSuites.size()> groups{};  // by row of the table
  std::uint64_t waiting{0};                    // a bit for each group that is not empty
  std::array<std::array<std::uint8_t, kBlock>, kBurst> nonces{};
  alignas(kBlock) std::array<std::array<std::uint8_t, kBlock>, kBurst> aads{};  // of packets with ESN
  std::array<std::uint32_t, kBurst> icv_heads{};  // what packets had where the high bits were put
  gcm_context_data gcm{};
  __m128i nonce{};
  bool vaes{false};

  // The lines of an AES-GCM key that a packet needs.
  void prefetch_key(const EspJob& job) const noexcept {
    prefetch(job.key, 0, kHashKeys);
    const std::size_t powers = vaes ? std::min<std::size_t>(job.payload / kBlock + 3, kVaesHashKeys) : 8;
    const std::size_t first = vaes ? sizeof(GcmKey) - powers * kBlock : kHashKeys;
    prefetch(job.key, first, first + powers * kBlock);
  }
  // A key that is not in the cache costs more than sealing a short packet: it is fetched some packets ahead.
  // Packets of one SA come in runs, so the key is mostly the same one.
  static std::size_t ahead_of(const EspJob& job) noexcept {
    return job.payload < kLong ? kAhead : kAheadLong;
  }
  void prefetch_first(std::span<const EspJob> burst) const noexcept {
    prefetch_key(burst[0]);
    const std::size_t count = std::min(burst.size(), ahead_of(burst[0]));
    for (std::size_t i = 1; i < count; ++i)
      if (burst[i].key != burst[i - 1].key) prefetch_key(burst[i]);
  }
  void prefetch_ahead(std::span<const EspJob> burst, std::size_t i) const noexcept {
    const std::size_t at = i + ahead_of(burst[i]);
    if (at < burst.size() && burst[at].key != burst[at - 1].key) prefetch_key(burst[at]);
  }

  // Puts a job into the group of its suite, a row of the table, and fetches that part of its key which it
  // will read.
  template <bool kSealing>
  void collect(EspJob& job, std::size_t row) noexcept {
    const Plan& plan = kPlans[row];
    job.ok = valid_payload(job, plan.alignment);
    if (!job.ok) return;
    Group& group = groups[row];
    if (group.count == 0 || group.jobs[group.count - 1]->key != job.key)
      prefetch(job.key, kSealing || plan.cipher != IMB_CIPHER_CBC ? 0 : plan.key.inner,
               kSealing ? plan.key.decrypt : plan.key.end);
    group.jobs[group.count++] = &job;
    waiting |= std::uint64_t{1} << row;
  }
};

}  // namespace espgate::crypto
