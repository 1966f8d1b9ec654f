#include "crypto/bulk.hpp"

#include <intel-ipsec-mb.h>

#include <algorithm>
#include <bit>
#include <stdexcept>

#include "crypto/groups.hpp"

namespace espgate::crypto {

namespace {

// The suites whose IV is the sequence number: a bit for each row of the table.
static_assert(kSuites.size() <= 64);
constexpr std::uint64_t kCounterIvs = [] {
  std::uint64_t rows = 0;
  for (const SuiteRow& row : kSuites)
    if (row.iv_length == kCounterIv) rows |= std::uint64_t{1} << row_index(row.suite);
  return rows;
}();

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
