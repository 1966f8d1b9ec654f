// ESP's cryptography on intel-ipsec-mb: packets in, packets out, in place, many at a time. One engine per
// worker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "crypto/secret.hpp"
#include "crypto/suite.hpp"

struct IMB_MGR;

namespace espgate::crypto {

// The expanded key of one SA. Plain aligned storage so that it can lie inside an SA in memory of the
// dataplane's choosing; what is in it is the engine's business (plan.hpp). Erase with explicit_bzero.
struct alignas(64) SaKey {
  static constexpr std::size_t kStorage = 1024;  // plan.hpp asserts that ipsec-mb's structures fit
  std::byte storage[kStorage];
};

// What seals and opens an SA's packets: the suite, with extended sequence numbers or without. One word, so
// that the engine tells the usual ones from all others by one look.
class EspScheme {
 public:
  constexpr EspScheme() = default;
  constexpr EspScheme(EspSuite suite, bool esn) noexcept
      : word_(static_cast<std::uint16_t>(static_cast<unsigned>(suite) | (esn ? kEsn : 0U))) {}
  [[nodiscard]] constexpr EspSuite suite() const noexcept { return static_cast<EspSuite>(word_ & ~kEsn); }
  [[nodiscard]] constexpr bool esn() const noexcept { return (word_ & kEsn) != 0; }
  [[nodiscard]] constexpr std::uint16_t word() const noexcept { return word_; }

 private:
  static constexpr unsigned kEsn = 0x8000;
  std::uint16_t word_{0};
};

// One ESP packet to seal or to open, in place. `esp` points at the ESP header (SPI), aligned or not; the IV
// follows it.
//   seal: the caller has written SPI, sequence number, payload, padding, pad length and next header, and has
//   left
//         room for the IV before the payload and for the ICV behind it. The engine writes IV and ICV. Not
//         `ok`: the length is impossible or the suite is none; nothing was sealed and the packet must not be
//         sent.
//   open: `ok` says that the ICV is right and the payload is decrypted. Not `ok`: the bytes of the packet are
//   void
//         (an AEAD decrypts before it knows; with an HMAC they are as they came) and must not be looked at.
// `payload` counts the encrypted bytes: from behind the IV to before the ICV, a multiple of the suite's
// alignment, 1..65280.
// With ESN the high 32 bits of `sequence`, which are not on the wire, are authenticated too (RFC 4303
// section 2.2.1): between SPI and sequence number in an AEAD's AAD (RFC 4106 section 5, RFC 4309 section 5,
// RFC 4543 section 3.3, RFC 7634 section 2.1), behind the ciphertext with an HMAC. Meanwhile the 4 bytes in
// front of the header, which must be writable, and the place of the ICV may look different; afterwards they
// are as described above.
struct EspJob {
  const SaKey* key;
  std::uint8_t* esp;
  std::uint64_t
      sequence;  // seal: the IV's source, never twice with one key. open: with ESN, the high 32 bits
  std::uint32_t payload;
  EspScheme scheme;
  bool ok;
};
static_assert(sizeof(EspJob) == 32);

struct BulkScratch;  // bulk_scratch.hpp's

class BulkEngine {
 public:
  // Picks the best engine for this CPU. Throws std::runtime_error when ipsec-mb can't serve it.
  BulkEngine();
  ~BulkEngine();
  BulkEngine(const BulkEngine&) = delete;
  BulkEngine& operator=(const BulkEngine&) = delete;

  // Expands key material (cipher key | salt | integrity key, exactly key_material_length bytes), for either
  // direction. False: no such suite, or a wrong length. Any thread; the key serves every engine of this
  // process.
  [[nodiscard]] bool expand(EspSuite suite, Bytes key_material, SaKey& out) const noexcept;

  // Seal or open jobs of any mix of suites; returns when all are done. The engine's thread only.
  // No allocation, no system call. Jobs of all SAs of one suite share one submission (never flushed per SA);
  // up to 64 at a time, so a span of more than 64 only costs more.
  void seal(std::span<EspJob> jobs) noexcept;
  void open(std::span<EspJob> jobs) noexcept;

  // "AVX2, SHA-NI" and the like, for the log.
  [[nodiscard]] std::string name() const;

  // ipsec-mb's managers, for the benchmarks' raw measure of the same calls: `manager` for all but AES-CBC's
  // encryption and the HMACs, where the faster one depends on how many lanes `jobs` packets of one suite
  // fill.
  [[nodiscard]] IMB_MGR* manager() const noexcept { return wide_.get(); }
  [[nodiscard]] IMB_MGR* encrypt_manager(std::size_t jobs) const noexcept;
  [[nodiscard]] IMB_MGR* hash_manager(Integrity integrity, std::size_t jobs) const noexcept;

 private:
  struct FreeManager {
    void operator()(IMB_MGR* manager) const noexcept;
  };
  using Manager = std::unique_ptr<IMB_MGR, FreeManager>;
  template <bool kSealing>
  void run(std::span<EspJob> jobs) noexcept;
  template <bool kSealing>
  void run_direct(const SuiteRow& row, EspJob& job) noexcept;
  void run_groups(bool sealing) noexcept;

  Manager wide_;                // the widest vectors of this CPU
  Manager narrow_;              // fewer lanes, and the SHA extensions where there are some
  std::size_t hash_wide_from_;  // jobs
  std::unique_ptr<BulkScratch> scratch_;
};

// Runs published vectors (selftest_vectors.hpp) of `suite` through `engine`, both ways, and a corrupted ICV.
// Returns what failed in words; empty: all passed. A suite that fails is refused by the dataplane.
[[nodiscard]] std::string self_test(BulkEngine& engine, EspSuite suite);

}  // namespace espgate::crypto
