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

IMB_HASH_ALG hash_of(crypto::Integrity integrity) {
  switch (integrity) {
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
  return IMB_AUTH_NULL;
}

}  // namespace

RawCrypto::RawCrypto(const crypto::BulkEngine& engine, crypto::EspSuite suite, crypto::Bytes keys)
    : engine_(engine),
      suite_(row_of(suite)),
      hash_(hash_of(suite_.integrity)),
      key_size_(static_cast<IMB_KEY_SIZE_BYTES>(suite_.key_length)) {
  IMB_MGR* manager = engine.manager();
  if (suite_.mode == crypto::CipherMode::gcm) {
    by_key(manager->gcm128_pre, manager->gcm192_pre, manager->gcm256_pre)(keys.data(), &gcm_key_);
    return;
  }
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
  for (std::size_t i = 0; i < packets.size(); ++i) {
    std::uint8_t* data = packets[i] + 16;
    call(&gcm_key_, &gcm_context_, data, data, payloads[i], nonce_.data(), packets[i], 8,
         sealing ? data + payloads[i] : icvs_[i].data(), suite_.icv_length);
  }
}

void RawCrypto::describe(IMB_JOB& job, std::uint8_t* esp, std::uint32_t payload,
                         std::uint8_t* icv) const noexcept {
  job.enc_keys = encrypt_.data();
  job.dec_keys = decrypt_.data();
  job.key_len_in_bytes = key_size_;
  job.src = esp;
  job.dst = esp + 24;
  job.cipher_start_src_offset_in_bytes = 24;
  job.msg_len_to_cipher_in_bytes = payload;
  job.hash_start_src_offset_in_bytes = 0;
  job.msg_len_to_hash_in_bytes = 24 + payload;
  job.iv = esp + 8;
  job.iv_len_in_bytes = 16;
  job.auth_tag_output = icv;
  job.auth_tag_output_len_in_bytes = suite_.icv_length;
  job.u.HMAC._hashed_auth_key_xor_ipad = inner_.data();
  job.u.HMAC._hashed_auth_key_xor_opad = outer_.data();
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
  if (suite_.mode == crypto::CipherMode::gcm)
    return gcm(packets, payloads, by_key(manager.gcm128_enc, manager.gcm192_enc, manager.gcm256_enc), true);
  for (std::size_t i = 0; i < packets.size(); ++i)
    describe(jobs_[i], packets[i], payloads[i], packets[i] + 24 + payloads[i]);
  const auto count = static_cast<std::uint32_t>(packets.size());
  IMB_MGR* cipher = engine_.encrypt_manager(count);
  IMB_MGR* hash = engine_.hash_manager(suite_.integrity, count);
  cipher->submit_cipher_burst_nocheck(cipher, jobs_.data(), count, IMB_CIPHER_CBC, IMB_DIR_ENCRYPT,
                                      key_size_);
  hash->submit_hash_burst_nocheck(hash, jobs_.data(), count, hash_);
}

void RawCrypto::open(std::span<std::uint8_t* const> packets,
                     std::span<const std::uint32_t> payloads) noexcept {
  const IMB_MGR& manager = *engine_.manager();
  if (suite_.mode == crypto::CipherMode::gcm)
    return gcm(packets, payloads, by_key(manager.gcm128_dec, manager.gcm192_dec, manager.gcm256_dec), false);
  for (std::size_t i = 0; i < packets.size(); ++i)
    describe(jobs_[i], packets[i], payloads[i], icvs_[i].data());
  const auto count = static_cast<std::uint32_t>(packets.size());
  IMB_MGR* hash = engine_.hash_manager(suite_.integrity, count);
  IMB_MGR* cipher = engine_.manager();
  hash->submit_hash_burst_nocheck(hash, jobs_.data(), count, hash_);
  cipher->submit_cipher_burst_nocheck(cipher, jobs_.data(), count, IMB_CIPHER_CBC, IMB_DIR_DECRYPT,
                                      key_size_);
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
