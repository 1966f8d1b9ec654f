#include "bench/micro/raw_crypto.hpp"

#include <algorithm>
#include <cstdlib>

namespace espgate::bench {
namespace {

const crypto::SuiteRow& row_of(crypto::EspSuite suite) {
  const crypto::SuiteRow* row = crypto::find_suite(suite);
  if (row == nullptr) std::abort();
  return *row;
}

IMB_HASH_ALG hash_of(const crypto::SuiteRow& suite) {
  switch (suite.integrity) {
    case crypto::Integrity::none:
      break;
    case crypto::Integrity::hmac_sha1_96:
      return IMB_AUTH_HMAC_SHA_1;
    case crypto::Integrity::hmac_sha256_128:
      return IMB_AUTH_HMAC_SHA_256;
    case crypto::Integrity::hmac_sha384_192:
      return IMB_AUTH_HMAC_SHA_384;
    case crypto::Integrity::hmac_sha512_256:
      return IMB_AUTH_HMAC_SHA_512;
  }
  return suite.mode == crypto::CipherMode::ccm ? IMB_AUTH_AES_CCM : IMB_AUTH_CHACHA20_POLY1305;
}

IMB_CIPHER_MODE cipher_of(crypto::CipherMode mode) {
  switch (mode) {
    case crypto::CipherMode::gcm:
    case crypto::CipherMode::gmac:
      break;
    case crypto::CipherMode::cbc:
      return IMB_CIPHER_CBC;
    case crypto::CipherMode::ctr:
      return IMB_CIPHER_CNTR;
    case crypto::CipherMode::null:
      return IMB_CIPHER_NULL;
    case crypto::CipherMode::ccm:
      return IMB_CIPHER_CCM;
    case crypto::CipherMode::chacha20_poly1305:
      return IMB_CIPHER_CHACHA20_POLY1305;
  }
  return IMB_CIPHER_GCM;
}

}  // namespace

RawCrypto::RawCrypto(const crypto::BulkEngine& engine, crypto::EspSuite suite, crypto::Bytes keys)
    : engine_(engine),
      suite_(row_of(suite)),
      cipher_(cipher_of(suite_.mode)),
      hash_(hash_of(suite_)),
      key_size_(static_cast<IMB_KEY_SIZE_BYTES>(suite_.key_length)) {
  IMB_MGR* manager = engine.manager();
  if (cipher_ == IMB_CIPHER_GCM) {
    by_key(manager->gcm128_pre, manager->gcm192_pre, manager->gcm256_pre)(keys.data(), &gcm_key_.data);
    return;
  }
  if (suite_.mode == crypto::CipherMode::chacha20_poly1305)
    std::ranges::copy(keys.first(suite_.key_length), encrypt_.begin());
  else if (suite_.mode != crypto::CipherMode::null)
    by_key(manager->keyexp_128, manager->keyexp_192, manager->keyexp_256)(keys.data(), encrypt_.data(),
                                                                          decrypt_.data());
  // Any hash state costs the same.
  std::ranges::fill(inner_, std::uint8_t{0x36});
  std::ranges::fill(outer_, std::uint8_t{0x5c});
}

std::span<const std::uint32_t> RawCrypto::all(std::size_t count, std::uint32_t payload) noexcept {
  std::fill_n(payloads_.begin(), count, payload);
  return {payloads_.data(), count};
}

void RawCrypto::gcm(std::span<std::uint8_t* const> packets, std::span<const std::uint32_t> payloads,
                    aes_gcm_enc_dec_t call, bool sealing) noexcept {
  const bool mac_only = suite_.mode == crypto::CipherMode::gmac;
  const std::size_t icv_length = suite_.icv_length;
  for (std::size_t i = 0; i < packets.size(); ++i) {
    std::uint8_t* data = packets[i] + 16;
    std::uint8_t* icv = sealing ? data + payloads[i] : icvs_[i].data();
    if (mac_only)
      call(&gcm_key_.data, &gcm_context_, data, data, 0, nonce_.data(), packets[i], 16 + payloads[i], icv,
           icv_length);
    else
      call(&gcm_key_.data, &gcm_context_, data, data, payloads[i], nonce_.data(), packets[i], 8, icv,
           icv_length);
  }
}

void RawCrypto::describe(IMB_JOB& job, std::uint8_t* esp, std::uint32_t payload,
                         std::uint8_t* icv) const noexcept {
  const bool cbc = cipher_ == IMB_CIPHER_CBC;
  const std::size_t front = std::size_t{8} + suite_.iv_length;
  job.enc_keys = encrypt_.data();
  job.dec_keys = decrypt_.data();
  job.key_len_in_bytes = key_size_;
  job.src = esp;
  job.dst = esp + front;
  job.cipher_start_src_offset_in_bytes = front;
  job.msg_len_to_cipher_in_bytes = payload;
  job.hash_start_src_offset_in_bytes = 0;
  job.msg_len_to_hash_in_bytes = front + payload;
  job.iv = cbc ? esp + 8 : nonce_.data();
  job.iv_len_in_bytes = cbc ? 16U : suite_.salt_length + 8U;
  job.auth_tag_output = icv;
  job.auth_tag_output_len_in_bytes = suite_.icv_length;
  job.u.HMAC._hashed_auth_key_xor_ipad = inner_.data();
  job.u.HMAC._hashed_auth_key_xor_opad = outer_.data();
}

void RawCrypto::aead_jobs(std::span<std::uint8_t* const> packets, std::span<const std::uint32_t> payloads,
                          bool sealing) noexcept {
  IMB_MGR* manager = engine_.manager();
  const auto count = static_cast<std::uint32_t>(packets.size());
  const bool ccm = cipher_ == IMB_CIPHER_CCM;
  std::array<IMB_JOB*, kMaxPackets> jobs;
  IMB_GET_NEXT_BURST(manager, count, jobs.data());
  for (std::size_t i = 0; i < packets.size(); ++i) {
    IMB_JOB& job = *jobs[i];
    describe(job, packets[i], payloads[i], sealing ? packets[i] + 16 + payloads[i] : icvs_[i].data());
    job.dec_keys = job.enc_keys;
    job.hash_start_src_offset_in_bytes = 16;
    job.msg_len_to_hash_in_bytes = payloads[i];
    job.cipher_mode = cipher_;
    job.hash_alg = hash_;
    job.cipher_direction = sealing ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
    job.chain_order = ccm == sealing ? IMB_ORDER_HASH_CIPHER : IMB_ORDER_CIPHER_HASH;
    if (ccm)
      job.u.CCM = {packets[i], 8};
    else
      job.u.CHACHA20_POLY1305 = {packets[i], 8, nullptr};
  }
  std::uint32_t done = IMB_SUBMIT_BURST_NOCHECK(manager, count, jobs.data());
  while (done < count) done += IMB_FLUSH_BURST(manager, count - done, jobs.data());
}

void RawCrypto::cipher_burst(IMB_MGR* manager, std::uint32_t count, IMB_CIPHER_DIRECTION direction) noexcept {
  if (cipher_ != IMB_CIPHER_NULL)
    manager->submit_cipher_burst_nocheck(manager, jobs_.data(), count, cipher_, direction, key_size_);
}

void RawCrypto::seal(std::span<std::uint8_t* const> packets, std::uint32_t payload) noexcept {
  seal(packets, all(packets.size(), payload));
}

void RawCrypto::open(std::span<std::uint8_t* const> packets, std::uint32_t payload) noexcept {
  open(packets, all(packets.size(), payload));
}

void RawCrypto::seal(std::span<std::uint8_t* const> packets,
                     std::span<const std::uint32_t> payloads) noexcept {
  const IMB_MGR& manager = *engine_.manager();
  if (cipher_ == IMB_CIPHER_GCM)
    return gcm(packets, payloads, by_key(manager.gcm128_enc, manager.gcm192_enc, manager.gcm256_enc), true);
  if (suite_.integrity == crypto::Integrity::none) return aead_jobs(packets, payloads, true);
  for (std::size_t i = 0; i < packets.size(); ++i)
    describe(jobs_[i], packets[i], payloads[i], packets[i] + 8 + suite_.iv_length + payloads[i]);
  const auto count = static_cast<std::uint32_t>(packets.size());
  IMB_MGR* cipher = cipher_ == IMB_CIPHER_CBC ? engine_.encrypt_manager(count) : engine_.manager();
  IMB_MGR* hash = engine_.hash_manager(suite_.integrity, count);
  cipher_burst(cipher, count, IMB_DIR_ENCRYPT);
  hash->submit_hash_burst_nocheck(hash, jobs_.data(), count, hash_);
}

void RawCrypto::open(std::span<std::uint8_t* const> packets,
                     std::span<const std::uint32_t> payloads) noexcept {
  const IMB_MGR& manager = *engine_.manager();
  if (cipher_ == IMB_CIPHER_GCM)
    return gcm(packets, payloads, by_key(manager.gcm128_dec, manager.gcm192_dec, manager.gcm256_dec), false);
  if (suite_.integrity == crypto::Integrity::none) return aead_jobs(packets, payloads, false);
  for (std::size_t i = 0; i < packets.size(); ++i)
    describe(jobs_[i], packets[i], payloads[i], icvs_[i].data());
  const auto count = static_cast<std::uint32_t>(packets.size());
  IMB_MGR* hash = engine_.hash_manager(suite_.integrity, count);
  hash->submit_hash_burst_nocheck(hash, jobs_.data(), count, hash_);
  cipher_burst(engine_.manager(), count, IMB_DIR_DECRYPT);
}

void RawCrypto::seal_chained(std::span<std::uint8_t* const> packets, std::uint32_t payload) noexcept {
  IMB_MGR* manager = engine_.manager();
  const auto count = static_cast<std::uint32_t>(packets.size());
  std::array<IMB_JOB*, kMaxPackets> jobs;
  IMB_GET_NEXT_BURST(manager, count, jobs.data());
  for (std::size_t i = 0; i < packets.size(); ++i) {
    describe(*jobs[i], packets[i], payload, packets[i] + 24 + payload);
    jobs[i]->cipher_mode = IMB_CIPHER_CBC;
    jobs[i]->cipher_direction = IMB_DIR_ENCRYPT;
    jobs[i]->hash_alg = hash_;
    jobs[i]->chain_order = IMB_ORDER_CIPHER_HASH;
  }
  std::uint32_t done = IMB_SUBMIT_BURST_NOCHECK(manager, count, jobs.data());
  while (done < count) done += IMB_FLUSH_BURST(manager, count - done, jobs.data());
}

}  // namespace espgate::bench
