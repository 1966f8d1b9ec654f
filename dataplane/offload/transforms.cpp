#include "dataplane/offload/transforms.hpp"

namespace espgate::dataplane {

namespace {

using crypto::CipherMode;
using crypto::Integrity;

constexpr std::uint16_t kAad = 8;      // SPI and sequence number,
constexpr std::uint16_t kEsnAad = 12;  // an extended one
constexpr std::uint16_t kNonce = 12;   // of the AEADs but CCM, and of GMAC: salt and IV

rte_crypto_auth_algorithm hash_of(Integrity integrity) noexcept {
  switch (integrity) {
    case Integrity::hmac_sha1_96:
      return RTE_CRYPTO_AUTH_SHA1_HMAC;
    case Integrity::hmac_sha256_128:
      return RTE_CRYPTO_AUTH_SHA256_HMAC;
    case Integrity::hmac_sha384_192:
      return RTE_CRYPTO_AUTH_SHA384_HMAC;
    case Integrity::hmac_sha512_256:
      return RTE_CRYPTO_AUTH_SHA512_HMAC;
    case Integrity::none:
      break;
  }
  return RTE_CRYPTO_AUTH_NULL;
}

rte_crypto_cipher_algorithm cipher_of(CipherMode mode) noexcept {
  if (mode == CipherMode::cbc) return RTE_CRYPTO_CIPHER_AES_CBC;
  return mode == CipherMode::ctr ? RTE_CRYPTO_CIPHER_AES_CTR : RTE_CRYPTO_CIPHER_NULL;
}

// As DPDK reads its ranges: without a step, every length between the ends.
bool holds(const rte_crypto_param_range& range, unsigned value) noexcept {
  if (value < range.min || value > range.max) return false;
  return range.increment == 0 || (value - range.min) % range.increment == 0;
}

bool has(const rte_cryptodev_symmetric_capability& have, const rte_crypto_sym_xform& want) noexcept {
  if (have.xform_type != want.type) return false;
  switch (want.type) {
    case RTE_CRYPTO_SYM_XFORM_AEAD:
      return have.aead.algo == want.aead.algo && holds(have.aead.key_size, want.aead.key.length) &&
             holds(have.aead.digest_size, want.aead.digest_length);
    case RTE_CRYPTO_SYM_XFORM_AUTH:
      return have.auth.algo == want.auth.algo && holds(have.auth.key_size, want.auth.key.length) &&
             holds(have.auth.digest_size, want.auth.digest_length);
    case RTE_CRYPTO_SYM_XFORM_CIPHER:
      return have.cipher.algo == want.cipher.algo && holds(have.cipher.key_size, want.cipher.key.length);
    default:
      return false;
  }
}

bool has(std::uint8_t device, const rte_crypto_sym_xform& want) noexcept {
  rte_cryptodev_sym_capability_idx index{};
  index.type = want.type;
  if (want.type == RTE_CRYPTO_SYM_XFORM_AEAD) index.algo.aead = want.aead.algo;
  if (want.type == RTE_CRYPTO_SYM_XFORM_AUTH) index.algo.auth = want.auth.algo;
  if (want.type == RTE_CRYPTO_SYM_XFORM_CIPHER) index.algo.cipher = want.cipher.algo;
  const rte_cryptodev_symmetric_capability* const have = rte_cryptodev_sym_capability_get(device, &index);
  if (have == nullptr) return false;
  if (want.type == RTE_CRYPTO_SYM_XFORM_AEAD)
    return rte_cryptodev_sym_capability_check_aead(have, want.aead.key.length, want.aead.digest_length,
                                                   want.aead.aad_length, want.aead.iv.length) == 0;
  if (want.type == RTE_CRYPTO_SYM_XFORM_AUTH)
    return rte_cryptodev_sym_capability_check_auth(have, want.auth.key.length, want.auth.digest_length,
                                                   want.auth.iv.length) == 0;
  return rte_cryptodev_sym_capability_check_cipher(have, want.cipher.key.length, want.cipher.iv.length) == 0;
}

}  // namespace

Transforms::Transforms(const crypto::SuiteRow& row, crypto::Bytes keys, channel::Direction direction,
                       std::uint16_t iv_offset, bool esn) noexcept
    : row_(row),
      keys_(keys),
      sealing_(direction == channel::Direction::outbound),
      iv_offset_(iv_offset),
      aad_(esn ? kEsnAad : kAad),
      first_(&integrity_) {
  switch (row.mode) {
    case CipherMode::gcm:
      set_aead(RTE_CRYPTO_AEAD_AES_GCM);
      break;
    case CipherMode::ccm:
      set_aead(RTE_CRYPTO_AEAD_AES_CCM);
      break;
    case CipherMode::chacha20_poly1305:
      set_aead(RTE_CRYPTO_AEAD_CHACHA20_POLY1305);
      break;
    case CipherMode::gmac:
      set_gmac();
      break;
    case CipherMode::cbc:
    case CipherMode::ctr:
    case CipherMode::null:
      set_chain();
      break;
  }
}

void Transforms::set_aead(rte_crypto_aead_algorithm algorithm) noexcept {
  integrity_.type = RTE_CRYPTO_SYM_XFORM_AEAD;
  rte_crypto_aead_xform& aead = integrity_.aead;
  aead.op = sealing_ ? RTE_CRYPTO_AEAD_OP_ENCRYPT : RTE_CRYPTO_AEAD_OP_DECRYPT;
  aead.algo = algorithm;
  aead.key = {keys_.data(), row_.key_length};
  // RFC 4309 section 4: CCM's nonce is 3 bytes of salt and the IV.
  const auto nonce = static_cast<std::uint16_t>(row_.salt_length + row_.iv_length);
  aead.iv = {iv_offset_, nonce};
  aead.digest_length = row_.icv_length;
  aead.aad_length = aad_;
}

void Transforms::set_gmac() noexcept {
  integrity_.type = RTE_CRYPTO_SYM_XFORM_AUTH;
  rte_crypto_auth_xform& auth = integrity_.auth;
  auth.op = sealing_ ? RTE_CRYPTO_AUTH_OP_GENERATE : RTE_CRYPTO_AUTH_OP_VERIFY;
  auth.algo = RTE_CRYPTO_AUTH_AES_GMAC;
  auth.key = {keys_.data(), row_.key_length};
  auth.iv = {iv_offset_, kNonce};
  auth.digest_length = row_.icv_length;
}

void Transforms::set_chain() noexcept {
  cipher_.type = RTE_CRYPTO_SYM_XFORM_CIPHER;
  cipher_.cipher.op = sealing_ ? RTE_CRYPTO_CIPHER_OP_ENCRYPT : RTE_CRYPTO_CIPHER_OP_DECRYPT;
  cipher_.cipher.algo = cipher_of(row_.mode);
  cipher_.cipher.key = {keys_.data(), row_.key_length};
  // RFC 3686 section 4: CTR's block is salt, IV and a counter.
  const unsigned iv = row_.mode == CipherMode::ctr ? 16U : row_.iv_length;
  cipher_.cipher.iv = {iv_offset_, static_cast<std::uint16_t>(iv)};
  integrity_.type = RTE_CRYPTO_SYM_XFORM_AUTH;
  integrity_.auth.op = sealing_ ? RTE_CRYPTO_AUTH_OP_GENERATE : RTE_CRYPTO_AUTH_OP_VERIFY;
  integrity_.auth.algo = hash_of(row_.integrity);
  integrity_.auth.key = {keys_.data() + row_.key_length + row_.salt_length, row_.integrity_key_length};
  integrity_.auth.digest_length = row_.icv_length;
  first_ = sealing_ ? &cipher_ : &integrity_;
  first_->next = sealing_ ? &integrity_ : &cipher_;
}

bool Transforms::all_in(const rte_cryptodev_capabilities* list) const noexcept {
  for (const rte_crypto_sym_xform* want = first_; want != nullptr; want = want->next) {
    const rte_cryptodev_capabilities* have = list;
    while (have->op != RTE_CRYPTO_OP_TYPE_UNDEFINED &&
           (have->op != RTE_CRYPTO_OP_TYPE_SYMMETRIC || !has(have->sym, *want)))
      ++have;
    if (have->op == RTE_CRYPTO_OP_TYPE_UNDEFINED) return false;
  }
  return true;
}

bool Transforms::all_in(std::uint8_t device) const noexcept {
  for (const rte_crypto_sym_xform* want = first_; want != nullptr; want = want->next)
    if (!has(device, *want)) return false;
  return true;
}

}  // namespace espgate::dataplane
