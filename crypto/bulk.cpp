#include "crypto/bulk.hpp"

#include <emmintrin.h>
#include <intel-ipsec-mb.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <stdexcept>

#include "crypto/plan.hpp"

namespace espgate::crypto {
namespace {

constexpr std::size_t kBurst = 64;
constexpr std::size_t kEspHeader =
    8;  // SPI and sequence number: RFC 4303 section 2; also GCM's AAD (RFC 4106 section 5)
constexpr std::size_t kHighBits = 4;   // of an extended sequence number (RFC 4303 section 2.2.1)
constexpr std::size_t kCounterIv = 8;  // the IV on the wire of all but CBC and NULL
constexpr std::uint32_t kGcmAlignment = 4;
constexpr std::size_t kMaxIcv = most_of_suites([](const SuiteRow& row) { return row.icv_length; });
// ipsec-mb's multi-buffer lanes count bytes in 16 bits, the HMAC's inner padding included.
constexpr std::uint32_t kMaxPayload = 65280;

constexpr std::size_t kLine = 64;  // of the cache
// So many packets ahead an AES-GCM key is fetched; with long packets, whose keys are longer too, fewer.
// Measured best of 3 to 12 with thousands of SAs.
constexpr std::size_t kAhead = 8;
constexpr std::size_t kAheadLong = 4;
constexpr std::uint32_t kLong = 512;  // bytes

constexpr std::size_t kHashKeys = offsetof(GcmKey, schedule) + offsetof(gcm_key_data, ghash_keys);
static_assert(kHashKeys % kLine == 0);
// ipsec-mb's VAES code multiplies with as many powers of the hash key as there are blocks, from the last of
// 48 backwards; its other code with the first 8, whatever the length.
constexpr std::size_t kVaesHashKeys = 48;

// In assembly, because g++ takes a function that does nothing but _mm_prefetch for one without effects, and
// leaves its calls out.
void prefetch(const SaKey* key, std::size_t from, std::size_t to) noexcept {
  for (std::size_t at = from / kLine * kLine; at < to; at += kLine)
    asm volatile("prefetcht0 %0" : : "m"(key->storage[at]));
}

// The suites whose IV is the sequence number: a bit for each row of the table.
static_assert(kSuites.size() <= 64);
constexpr std::uint64_t kCounterIvs = [] {
  std::uint64_t rows = 0;
  for (const SuiteRow& row : kSuites)
    if (row.iv_length == kCounterIv) rows |= std::uint64_t{1} << row_index(row.suite);
  return rows;
}();

alignas(16) constexpr std::array<std::uint8_t, kBlock> kZeroIv{};

// `alignment`: a power of two.
bool valid_payload(const EspJob& job, std::uint32_t alignment) noexcept {
  return job.payload != 0 && (job.payload & (alignment - 1)) == 0 && job.payload <= kMaxPayload;
}

void store_be64(std::uint8_t* to, std::uint64_t value) noexcept {
  value = __builtin_bswap64(value);
  std::memcpy(to, &value, sizeof value);
}

std::uint32_t load32(const std::uint8_t* from) noexcept {
  std::uint32_t value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
void store32(std::uint8_t* to, std::uint32_t value) noexcept { std::memcpy(to, &value, sizeof value); }

// As they would lie on the wire.
std::uint32_t high_bits(const EspJob& job) noexcept {
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

}  // namespace

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

namespace {

using GcmCall = aes_gcm_enc_dec_t;

template <bool kSealing>
GcmCall gcm_call(const IMB_MGR& manager, std::size_t key_length) noexcept {
  if constexpr (kSealing)
    return by_key_length(key_length, manager.gcm128_enc, manager.gcm192_enc, manager.gcm256_enc);
  else
    return by_key_length(key_length, manager.gcm128_dec, manager.gcm192_dec, manager.gcm256_dec);
}

// RFC 4106 section 4: the nonce is salt, then IV, as they lie on the wire. Built in a register and stored at
// once, for ipsec-mb reads it in pieces of its own choice, which would wait for two stores.
const std::uint8_t* make_nonce(BulkScratch& scratch, std::uint32_t salt, std::uint64_t iv) noexcept {
  const std::uint64_t head = salt | iv << 32;
  scratch.nonce = _mm_set_epi64x(static_cast<long long>(iv >> 32), static_cast<long long>(head));
  return reinterpret_cast<const std::uint8_t*>(&scratch.nonce);
}

// The IV is the sequence number, so no key sees a nonce twice (RFC 3686 section 3.1, RFC 4106 section 3.1,
// RFC 4309 section 3.1, RFC 4543 section 3.2, RFC 7634 section 2). All IVs of a burst are written before the
// first packet is sealed: ipsec-mb loads the header in front with a mask that reaches over the IV, and would
// have to wait for a store just before.
void write_ivs(std::span<const EspJob> burst) noexcept {
  for (const EspJob& job : burst)
    if ((kCounterIvs >> (row_index(job.scheme.suite()) & 63U) & 1U) != 0)
      store_be64(job.esp + kEspHeader, job.sequence);
}

// An AEAD's AAD with ESN: SPI, high 32 bits, low 32 bits. Stored at once, as the nonce is.
constexpr std::size_t kEsnAad = kEspHeader + kHighBits;
const std::uint8_t* make_esn_aad(const EspJob& job, std::array<std::uint8_t, kBlock>& aad) noexcept {
  const __m128i words = _mm_set_epi32(0, static_cast<int>(load32(job.esp + 4)),
                                      static_cast<int>(high_bits(job)), static_cast<int>(load32(job.esp)));
  _mm_store_si128(reinterpret_cast<__m128i*>(aad.data()), words);
  return aad.data();
}

// GMAC authenticates the packet where it lies, so with ESN the packet itself gets the high bits: as long as
// this lives, its SPI is 4 bytes before its place, and they are in it.
class WideHeader {
 public:
  explicit WideHeader(const EspJob& job) noexcept : at_(job.esp - kHighBits) {
    std::memcpy(former_.data(), at_, former_.size());
    store32(at_, load32(job.esp));
    store32(job.esp, high_bits(job));
  }
  ~WideHeader() { std::memcpy(at_, former_.data(), former_.size()); }
  WideHeader(const WideHeader&) = delete;
  WideHeader& operator=(const WideHeader&) = delete;

 private:
  std::uint8_t* at_;
  std::array<std::uint8_t, 2 * kHighBits> former_;
};

// What AES-GCM is given of a packet: GMAC has nothing to encrypt, and authenticates all of it, the IV
// included (RFC 4543 section 3.3).
struct GcmInput {
  std::size_t text;  // bytes
  const std::uint8_t* aad;
  std::size_t aad_length;  // bytes
};
template <CipherMode kMode, bool kEsn>
[[gnu::always_inline]] inline GcmInput gcm_input(const EspJob& job, BulkScratch& scratch) noexcept {
  if constexpr (kMode == CipherMode::gmac) {
    constexpr std::size_t kMore = kEsn ? kHighBits : 0;
    return {0, job.esp - kMore, kMore + kEspHeader + kCounterIv + job.payload};
  }
  if constexpr (kEsn) return {job.payload, make_esn_aad(job, scratch.aads[0]), kEsnAad};
  return {job.payload, job.esp, kEspHeader};
}

template <CipherMode kMode, bool kEsn>
[[gnu::always_inline]] inline void seal_gcm(GcmCall encrypt, BulkScratch& scratch, EspJob& job,
                                            std::size_t icv_length) noexcept {
  job.ok = valid_payload(job, kGcmAlignment);
  if (!job.ok) return;
  const auto& key = gcm_key(*job.key);
  const GcmInput input = gcm_input<kMode, kEsn>(job, scratch);
  std::uint8_t* payload = job.esp + kEspHeader + kCounterIv;
  const std::uint8_t* nonce = make_nonce(scratch, key.salt, __builtin_bswap64(job.sequence));
  encrypt(&key.schedule, &scratch.gcm, payload, payload, input.text, nonce, input.aad, input.aad_length,
          payload + job.payload, icv_length);
}

// The nonce is made of the IV on the wire: a peer may count it as it likes (RFC 4106 section 3.1).
template <CipherMode kMode, bool kEsn>
[[gnu::always_inline]] inline void open_gcm(GcmCall decrypt, BulkScratch& scratch, EspJob& job,
                                            std::size_t icv_length) noexcept {
  job.ok = valid_payload(job, kGcmAlignment);
  if (!job.ok) return;
  const auto& key = gcm_key(*job.key);
  const GcmInput input = gcm_input<kMode, kEsn>(job, scratch);
  std::uint8_t* payload = job.esp + kEspHeader + kCounterIv;
  std::uint64_t iv;
  std::memcpy(&iv, job.esp + kEspHeader, sizeof iv);
  const std::uint8_t* nonce = make_nonce(scratch, key.salt, iv);
  std::uint8_t* icv = scratch.icvs[0].data();
  decrypt(&key.schedule, &scratch.gcm, payload, payload, input.text, nonce, input.aad, input.aad_length, icv,
          icv_length);
  job.ok = same_icv(icv, payload + job.payload, icv_length);
}

template <bool kSealing, CipherMode kMode = CipherMode::gcm, bool kEsn = false>
[[gnu::always_inline]] inline void crypt_gcm(GcmCall call, BulkScratch& scratch, EspJob& job,
                                             std::size_t icv_length) noexcept {
  (kSealing ? seal_gcm<kMode, kEsn> : open_gcm<kMode, kEsn>)(call, scratch, job, icv_length);
}

std::uint8_t* payload_of(const EspJob& job, const Plan& plan) noexcept {
  return job.esp + kEspHeader + plan.iv_length;
}

// Salt, then the IV on the wire.
const std::uint8_t* make_nonce(const EspJob& job, const Plan& plan,
                               std::array<std::uint8_t, kBlock>& nonce) noexcept {
  std::memcpy(nonce.data(), part(*job.key, plan.key.salt), sizeof(std::uint32_t));
  std::memcpy(nonce.data() + plan.salt_length, job.esp + kEspHeader, kCounterIv);
  return nonce.data();
}

// The hash runs from the SPI to the end of the ciphertext (RFC 4303 section 2.8).
void describe_hash(const EspJob& job, const Plan& plan, std::uint8_t* icv, IMB_JOB& out) noexcept {
  out.src = job.esp;
  out.hash_start_src_offset_in_bytes = 0;
  out.msg_len_to_hash_in_bytes = kEspHeader + plan.iv_length + job.payload;
  out.u.HMAC._hashed_auth_key_xor_ipad = part(*job.key, plan.key.inner);
  out.u.HMAC._hashed_auth_key_xor_opad = part(*job.key, plan.key.outer);
  out.auth_tag_output = icv;
  out.auth_tag_output_len_in_bytes = plan.icv_length;
}

// With ESN it runs on over the high bits, which lie where the ICV will, or did (RFC 4303 section 3.3.2.1).
// Returns what was there.
std::uint32_t append_high_bits(const EspJob& job, const Plan& plan, IMB_JOB& out) noexcept {
  std::uint8_t* const end = payload_of(job, plan) + job.payload;
  const std::uint32_t former = load32(end);
  store32(end, high_bits(job));
  out.msg_len_to_hash_in_bytes += kHighBits;
  return former;
}

void describe_cipher(const EspJob& job, const Plan& plan, std::size_t from, std::size_t length,
                     const std::uint8_t* iv, IMB_JOB& out) noexcept {
  out.enc_keys = part(*job.key, 0);
  out.dec_keys = part(*job.key, plan.key.decrypt);
  out.src = job.esp;
  out.dst = job.esp + from;
  out.cipher_start_src_offset_in_bytes = from;
  out.msg_len_to_cipher_in_bytes = length;
  out.iv = iv;
  out.iv_len_in_bytes = plan.cipher == IMB_CIPHER_CBC ? kBlock : plan.salt_length + kCounterIv;
}

// CBC: the sequence number is encrypted as a first block before the payload, under a zero IV; its ciphertext
// is the IV on the wire: unpredictable, and never the same twice under one key (NIST SP 800-38A appendix C,
// first method).
void describe_cbc_sealing(const EspJob& job, const Plan& plan, IMB_JOB& out) noexcept {
  store_be64(job.esp + kEspHeader, 0);
  store_be64(job.esp + kEspHeader + 8, job.sequence);
  describe_cipher(job, plan, kEspHeader, kBlock + job.payload, kZeroIv.data(), out);
}

// CBC as it opens, and CTR both ways: to a nonce of 12 bytes ipsec-mb appends the counter 1 itself, as RFC
// 3686 section 4 has it.
void describe_payload(const EspJob& job, const Plan& plan, std::array<std::uint8_t, kBlock>& nonce,
                      IMB_JOB& out) noexcept {
  const bool cbc = plan.cipher == IMB_CIPHER_CBC;
  const std::uint8_t* iv = cbc ? job.esp + kEspHeader : make_nonce(job, plan, nonce);
  describe_cipher(job, plan, kEspHeader + plan.iv_length, job.payload, iv, out);
}

struct Managers {
  IMB_MGR* cipher;
  IMB_MGR* hash;
};

// ipsec-mb's synchronous bursts: first all packets of the group by one algorithm, then all by the other.
// Measured 2 to 8 % faster than the queue of chained jobs, and nothing unauthentic is decrypted. Unchecked:
// we check ourselves.
template <IMB_CIPHER_DIRECTION kDirection>
bool cipher_burst(IMB_MGR* manager, BulkScratch& scratch, std::size_t count, const Plan& plan) noexcept {
  return plan.cipher == IMB_CIPHER_NULL ||
         manager->submit_cipher_burst_nocheck(manager, scratch.jobs.data(), static_cast<std::uint32_t>(count),
                                              plan.cipher, kDirection, plan.key_size) == count;
}

bool hash_burst(IMB_MGR* manager, BulkScratch& scratch, std::size_t count, const Plan& plan) noexcept {
  return manager->submit_hash_burst_nocheck(manager, scratch.jobs.data(), static_cast<std::uint32_t>(count),
                                            plan.hash) == count;
}

// Here and below `plan` is a copy, so that no write to a packet has it read again.
void seal_bursts(Managers by, BulkScratch& scratch, Plan plan, std::span<EspJob* const> group) noexcept {
  for (std::size_t i = 0; i < group.size(); ++i) {
    const EspJob& job = *group[i];
    if (plan.cipher == IMB_CIPHER_CBC)
      describe_cbc_sealing(job, plan, scratch.jobs[i]);
    else
      describe_payload(job, plan, scratch.nonces[i], scratch.jobs[i]);
    describe_hash(job, plan, payload_of(job, plan) + job.payload, scratch.jobs[i]);
    if (job.scheme.esn()) [[unlikely]]
      append_high_bits(job, plan, scratch.jobs[i]);
  }
  const bool done = cipher_burst<IMB_DIR_ENCRYPT>(by.cipher, scratch, group.size(), plan) &&
                    hash_burst(by.hash, scratch, group.size(), plan);
  for (EspJob* job : group) job->ok = done;
}

void restore_icvs(const BulkScratch& scratch, const Plan& plan, std::span<EspJob* const> group) noexcept {
  for (std::size_t i = 0; i < group.size(); ++i)
    if (group[i]->scheme.esn())
      store32(payload_of(*group[i], plan) + group[i]->payload, scratch.icv_heads[i]);
}

// Hashes all, then decrypts only what is authentic.
void open_bursts(Managers by, BulkScratch& scratch, Plan plan, std::span<EspJob* const> group) noexcept {
  bool esn = false;
  for (std::size_t i = 0; i < group.size(); ++i) {
    describe_hash(*group[i], plan, scratch.icvs[i].data(), scratch.jobs[i]);
    if (group[i]->scheme.esn()) [[unlikely]] {
      scratch.icv_heads[i] = append_high_bits(*group[i], plan, scratch.jobs[i]);
      esn = true;
    }
  }
  const bool hashed = hash_burst(by.hash, scratch, group.size(), plan);
  if (esn) [[unlikely]]
    restore_icvs(scratch, plan, group);

  std::size_t authentic = 0;
  for (std::size_t i = 0; i < group.size(); ++i) {
    EspJob& job = *group[i];
    job.ok = hashed && same_icv(scratch.icvs[i].data(), payload_of(job, plan) + job.payload, plan.icv_length);
    if (!job.ok) continue;
    describe_payload(job, plan, scratch.nonces[authentic], scratch.jobs[authentic]);
    ++authentic;
  }
  if (!cipher_burst<IMB_DIR_DECRYPT>(by.cipher, scratch, authentic, plan))
    for (EspJob* job : group) job->ok = false;
}

// The header is the AAD (RFC 4309 section 5, RFC 7634 section 2.1), with ESN 32 bits longer.
void describe_aead(const EspJob& job, const Plan& plan, const std::uint8_t* nonce,
                   std::array<std::uint8_t, kBlock>& esn_aad, std::uint8_t* icv, bool sealing,
                   IMB_JOB& out) noexcept {
  describe_cipher(job, plan, kEspHeader + kCounterIv, job.payload, nonce, out);
  out.dec_keys = out.enc_keys;
  out.key_len_in_bytes = plan.key_size;
  out.hash_start_src_offset_in_bytes = kEspHeader + kCounterIv;
  out.msg_len_to_hash_in_bytes = job.payload;
  out.auth_tag_output = icv;
  out.auth_tag_output_len_in_bytes = plan.icv_length;
  out.cipher_mode = plan.cipher;
  out.hash_alg = plan.hash;
  out.cipher_direction = sealing ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
  const bool ccm = plan.cipher == IMB_CIPHER_CCM;  // whose MAC is of the plaintext, not of the ciphertext
  out.chain_order = ccm == sealing ? IMB_ORDER_HASH_CIPHER : IMB_ORDER_CIPHER_HASH;
  const std::uint8_t* const aad = job.scheme.esn() ? make_esn_aad(job, esn_aad) : job.esp;
  const std::size_t aad_length = job.scheme.esn() ? kEsnAad : kEspHeader;
  if (ccm)
    out.u.CCM = {aad, aad_length};
  else
    out.u.CHACHA20_POLY1305 = {aad, aad_length, nullptr};
}

// ipsec-mb has these as jobs only; its queue is empty before and after. False: it did not do all.
bool run_jobs(IMB_MGR* manager, BulkScratch& scratch, const Plan& plan, std::span<EspJob* const> group,
              bool sealing) noexcept {
  const auto count = static_cast<std::uint32_t>(group.size());
  std::array<IMB_JOB*, kBurst> jobs;
  if (IMB_GET_NEXT_BURST(manager, count, jobs.data()) != count) return false;
  for (std::size_t i = 0; i < count; ++i) {
    const EspJob& job = *group[i];
    std::uint8_t* const icv = sealing ? payload_of(job, plan) + job.payload : scratch.icvs[i].data();
    describe_aead(job, plan, make_nonce(job, plan, scratch.nonces[i]), scratch.aads[i], icv, sealing,
                  *jobs[i]);
  }
  std::uint32_t done = IMB_SUBMIT_BURST_NOCHECK(manager, count, jobs.data());
  for (std::uint32_t flushed = 1; done < count && flushed != 0; done += flushed)
    flushed = IMB_FLUSH_BURST(manager, count - done, jobs.data());
  return done == count;
}

void seal_jobs(Managers by, BulkScratch& scratch, Plan plan, std::span<EspJob* const> group) noexcept {
  const bool done = run_jobs(by.cipher, scratch, plan, group, true);
  for (EspJob* job : group) job->ok = done;
}

void open_jobs(Managers by, BulkScratch& scratch, Plan plan, std::span<EspJob* const> group) noexcept {
  const bool done = run_jobs(by.cipher, scratch, plan, group, false);
  for (std::size_t i = 0; i < group.size(); ++i) {
    EspJob& job = *group[i];
    job.ok = done && same_icv(scratch.icvs[i].data(), payload_of(job, plan) + job.payload, plan.icv_length);
  }
}

IMB_MGR* initialised(void (*init)(IMB_MGR*)) {
  IMB_MGR* manager = alloc_mb_mgr(0);
  if (manager == nullptr) throw std::runtime_error("ipsec-mb: no memory for a manager");
  init(manager);
  if (const int error = imb_get_errno(manager); error != 0) {
    free_mb_mgr(manager);
    throw std::runtime_error(std::string("ipsec-mb can't serve this CPU: ") + imb_get_strerror(error));
  }
  return manager;
}

void init_widest(IMB_MGR* manager) { init_mb_mgr_auto(manager, nullptr); }

// ipsec-mb 1.3's AVX2 code hashes 8 lanes whether they are filled or not and leaves the SHA extensions to its
// SSE code. Measured on Zen 3, the latter is faster by 5 times with 1 packet and by 1.0 (SHA-1) to 1.7 times
// (SHA-256) with 64. AVX512 hashes 16 lanes; 12 is an estimate, for bench-crypto to correct on such a CPU.
std::size_t hash_wide_from(const IMB_MGR* widest) noexcept {
  if ((widest->features & IMB_FEATURE_SHANI) == 0) return 1;
  return widest->used_arch >= IMB_ARCH_AVX512 ? 12 : kBurst + 1;
}

// AES-CBC encryption: 8 lanes against 4; measured 10 to 15 % faster full, 20 % slower with half of them.
constexpr std::size_t kCipherWideFrom = 8;

bool has_vaes_gcm(const IMB_MGR* manager) noexcept {
  return manager->used_arch >= IMB_ARCH_AVX512 &&
         (manager->features & IMB_CPUFLAGS_AVX512_T2) == IMB_CPUFLAGS_AVX512_T2;
}

const char* name_of(const IMB_MGR* manager) noexcept {
  switch (manager->used_arch) {
    case IMB_ARCH_NOAESNI:
      return "SSE without AES-NI";
    case IMB_ARCH_SSE:
      return "SSE";
    case IMB_ARCH_AVX:
      return "AVX";
    case IMB_ARCH_AVX2:
      return "AVX2";
    case IMB_ARCH_AVX512:
      return has_vaes_gcm(manager) ? "AVX512 VAES" : "AVX512";
    default:
      return "an unknown instruction set";
  }
}

}  // namespace

void BulkEngine::FreeManager::operator()(IMB_MGR* manager) const noexcept { free_mb_mgr(manager); }

BulkEngine::BulkEngine()
    : wide_(initialised(init_widest)),
      narrow_(initialised(init_mb_mgr_sse)),
      hash_wide_from_(hash_wide_from(wide_.get())),
      scratch_(std::make_unique<BulkScratch>()) {
  scratch_->vaes = has_vaes_gcm(wide_.get());
}

BulkEngine::~BulkEngine() {
  explicit_bzero(&scratch_->gcm, sizeof scratch_->gcm);
  explicit_bzero(&scratch_->nonce, sizeof scratch_->nonce);  // the salt is a secret
  explicit_bzero(&scratch_->nonces, sizeof scratch_->nonces);
}

IMB_MGR* BulkEngine::encrypt_manager(std::size_t jobs) const noexcept {
  return jobs >= kCipherWideFrom ? wide_.get() : narrow_.get();
}

IMB_MGR* BulkEngine::hash_manager(Integrity integrity, std::size_t jobs) const noexcept {
  const bool has_extension = integrity == Integrity::hmac_sha1_96 || integrity == Integrity::hmac_sha256_128;
  return !has_extension || jobs >= hash_wide_from_ ? wide_.get() : narrow_.get();
}

void BulkEngine::run_groups(bool sealing) noexcept {
  for (; scratch_->waiting != 0; scratch_->waiting &= scratch_->waiting - 1) {
    const auto row = static_cast<std::size_t>(std::countr_zero(scratch_->waiting));
    const Plan& plan = kPlans[row];
    auto& group = scratch_->groups[row];
    const bool lanes = sealing && plan.cipher == IMB_CIPHER_CBC;
    const Managers by{lanes ? encrypt_manager(group.count) : wide_.get(),
                      hash_manager(plan.integrity, group.count)};
    const auto run = plan.method == Method::jobs ? (sealing ? seal_jobs : open_jobs)
                                                 : (sealing ? seal_bursts : open_bursts);
    run(by, *scratch_, plan, std::span(group.jobs.data(), group.count));
    group.count = 0;
  }
}

template <bool kSealing>
void BulkEngine::run_direct(const SuiteRow& row, EspJob& job) noexcept {
  const GcmCall call = gcm_call<kSealing>(*wide_, row.key_length);
  const bool gmac = row.mode == CipherMode::gmac;
  if (!job.scheme.esn())
    return gmac ? crypt_gcm<kSealing, CipherMode::gmac>(call, *scratch_, job, row.icv_length)
                : crypt_gcm<kSealing>(call, *scratch_, job, row.icv_length);
  if (!gmac) return crypt_gcm<kSealing, CipherMode::gcm, true>(call, *scratch_, job, row.icv_length);
  const WideHeader wide(job);
  crypt_gcm<kSealing, CipherMode::gmac, true>(call, *scratch_, job, row.icv_length);
}

// The switch keeps the two schemes of most tunnels on a way of their own.
template <bool kSealing>
void BulkEngine::run(std::span<EspJob> jobs) noexcept {
  const GcmCall gcm128 = gcm_call<kSealing>(*wide_, 16);
  const GcmCall gcm256 = gcm_call<kSealing>(*wide_, 32);
  for (; !jobs.empty(); jobs = jobs.subspan(std::min(jobs.size(), kBurst))) {
    const auto burst = jobs.first(std::min(jobs.size(), kBurst));
    scratch_->prefetch_first(burst);
    if constexpr (kSealing) write_ivs(burst);
    for (std::size_t i = 0; i < burst.size(); ++i) {
      EspJob& job = burst[i];
      switch (job.scheme.word()) {
        case EspScheme(EspSuite::aes128_gcm16, false).word():
          scratch_->prefetch_ahead(burst, i);
          crypt_gcm<kSealing>(gcm128, *scratch_, job, 16);
          break;
        case EspScheme(EspSuite::aes256_gcm16, false).word():
          scratch_->prefetch_ahead(burst, i);
          crypt_gcm<kSealing>(gcm256, *scratch_, job, 16);
          break;
        default:
          const std::size_t row = row_index(job.scheme.suite());
          if (row >= kSuites.size()) {
            job.ok = false;
          } else if (kPlans[row].method == Method::direct) {
            scratch_->prefetch_ahead(burst, i);
            run_direct<kSealing>(kSuites[row], job);
          } else {
            scratch_->collect<kSealing>(job, row);
          }
      }
    }
    run_groups(kSealing);
  }
}

void BulkEngine::seal(std::span<EspJob> jobs) noexcept { run<true>(jobs); }
void BulkEngine::open(std::span<EspJob> jobs) noexcept { run<false>(jobs); }

std::string BulkEngine::name() const {
  const bool sha = (wide_->features & IMB_FEATURE_SHANI) != 0;
  return std::string("ipsec-mb ") + imb_get_version_str() + ", " + name_of(wide_.get()) +
         (sha ? ", SHA-NI" : "");
}

}  // namespace espgate::crypto
