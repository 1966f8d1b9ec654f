#include "tests/dataplane/offload/esp_oracle.hpp"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <memory>
#include <stdexcept>

namespace espgate::test {

namespace {

using crypto::CipherMode;
using crypto::Integrity;

struct FreeContext {
  void operator()(EVP_CIPHER_CTX* context) const noexcept { EVP_CIPHER_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_CIPHER_CTX, FreeContext>;

void must(int result, const char* what) {
  if (result != 1) throw std::runtime_error(std::string("OpenSSL: ") + what);
}

int number(std::size_t size) { return static_cast<int>(size); }

const EVP_CIPHER* cipher_of(const crypto::SuiteRow& row) {
  const auto by_key = [&](const EVP_CIPHER* k128, const EVP_CIPHER* k192, const EVP_CIPHER* k256) {
    return row.key_length == 16 ? k128 : row.key_length == 24 ? k192 : k256;
  };
  switch (row.mode) {
    case CipherMode::gcm:
    case CipherMode::gmac:
      return by_key(EVP_aes_128_gcm(), EVP_aes_192_gcm(), EVP_aes_256_gcm());
    case CipherMode::ccm:
      return by_key(EVP_aes_128_ccm(), EVP_aes_192_ccm(), EVP_aes_256_ccm());
    case CipherMode::chacha20_poly1305:
      return EVP_chacha20_poly1305();
    case CipherMode::cbc:
      return by_key(EVP_aes_128_cbc(), EVP_aes_192_cbc(), EVP_aes_256_cbc());
    case CipherMode::ctr:
      return by_key(EVP_aes_128_ctr(), EVP_aes_192_ctr(), EVP_aes_256_ctr());
    case CipherMode::null:
      break;
  }
  return EVP_enc_null();
}

const EVP_MD* hash_of(Integrity integrity) {
  switch (integrity) {
    case Integrity::hmac_sha1_96:
      return EVP_sha1();
    case Integrity::hmac_sha256_128:
      return EVP_sha256();
    case Integrity::hmac_sha384_192:
      return EVP_sha384();
    default:
      return EVP_sha512();
  }
}

// An AEAD's pass over a packet: `text` becomes the other, `tag` is written or compared.
bool run_aead(const OracleSa& sa, bool sealing, const Octets& iv, const Octets& aad, Octets& text,
              Octets& tag) {
  const crypto::SuiteRow& row = *sa.suite;
  const Octets nonce = slice(sa.keys, row.key_length, row.salt_length) + iv;
  const Context context(EVP_CIPHER_CTX_new());
  EVP_CIPHER_CTX* const c = context.get();
  const bool ccm = row.mode == CipherMode::ccm;
  must(EVP_CipherInit_ex(c, cipher_of(row), nullptr, nullptr, nullptr, sealing ? 1 : 0), "init");
  must(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_IVLEN, number(nonce.size()), nullptr), "nonce length");
  if (ccm || !sealing)
    must(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, number(tag.size()), sealing ? nullptr : tag.data()),
         "tag");
  must(EVP_CipherInit_ex(c, nullptr, nullptr, sa.keys.data(), nonce.data(), sealing ? 1 : 0), "key");
  int length = 0;
  if (ccm) must(EVP_CipherUpdate(c, nullptr, &length, nullptr, number(text.size())), "length");
  must(EVP_CipherUpdate(c, nullptr, &length, aad.data(), number(aad.size())), "aad");
  if (!text.empty() && EVP_CipherUpdate(c, text.data(), &length, text.data(), number(text.size())) != 1)
    return false;
  std::uint8_t rest[16];
  if (!ccm && EVP_CipherFinal_ex(c, rest, &length) != 1) return false;
  if (sealing) must(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, number(tag.size()), tag.data()), "tag");
  return true;
}

void run_cipher(const OracleSa& sa, bool sealing, const Octets& iv, Octets& text) {
  if (sa.suite->mode == CipherMode::null) return;
  Octets block = iv;
  if (sa.suite->mode == CipherMode::ctr)
    block = slice(sa.keys, sa.suite->key_length, 4) + iv + Octets{0, 0, 0, 1};
  const Context context(EVP_CIPHER_CTX_new());
  must(EVP_CipherInit_ex(context.get(), cipher_of(*sa.suite), nullptr, sa.keys.data(), block.data(),
                         sealing ? 1 : 0),
       "init");
  EVP_CIPHER_CTX_set_padding(context.get(), 0);
  int length = 0;
  must(EVP_CipherUpdate(context.get(), text.data(), &length, text.data(), number(text.size())), "cipher");
}

Octets icv_of(const OracleSa& sa, const Octets& covered) {
  const crypto::SuiteRow& row = *sa.suite;
  const Octets key = slice(sa.keys, std::size_t{row.key_length} + row.salt_length, row.integrity_key_length);
  Octets digest(EVP_MAX_MD_SIZE);
  unsigned length = 0;
  HMAC(hash_of(row.integrity), key.data(), number(key.size()), covered.data(), covered.size(), digest.data(),
       &length);
  return slice(digest, 0, row.icv_length);
}

struct Parts {
  Octets head;  // SPI and sequence number
  Octets iv;
  Octets text;
};
Parts parts_of(const OracleSa& sa, const Octets& esp) {
  return {slice(esp, 0, 8), slice(esp, 8, sa.suite->iv_length), slice(esp, 8U + sa.suite->iv_length)};
}

}  // namespace

Octets oracle_seal(const OracleSa& sa, const Octets& esp) {
  auto [head, iv, text] = parts_of(sa, esp);
  Octets tag(sa.suite->icv_length);
  if (sa.suite->mode == CipherMode::gmac) {
    Octets nothing;
    (void)run_aead(sa, true, iv, head + iv + text, nothing, tag);
  } else if (sa.suite->integrity == Integrity::none) {
    (void)run_aead(sa, true, iv, head, text, tag);
  } else {
    run_cipher(sa, true, iv, text);
    tag = icv_of(sa, head + iv + text);
  }
  return head + iv + text + tag;
}

std::optional<Octets> oracle_open(const OracleSa& sa, const Octets& esp) {
  const std::size_t covered = esp.size() - sa.suite->icv_length;
  auto [head, iv, text] = parts_of(sa, slice(esp, 0, covered));
  Octets tag = slice(esp, covered);
  bool right = true;
  if (sa.suite->mode == CipherMode::gmac) {
    Octets nothing;
    right = run_aead(sa, false, iv, head + iv + text, nothing, tag);
  } else if (sa.suite->integrity == Integrity::none) {
    right = run_aead(sa, false, iv, head, text, tag);
  } else {
    right = icv_of(sa, slice(esp, 0, covered)) == tag;
    if (right) run_cipher(sa, false, iv, text);
  }
  if (!right) return {};
  return head + iv + text;
}

}  // namespace espgate::test
