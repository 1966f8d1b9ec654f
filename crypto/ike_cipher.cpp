#include <algorithm>
#include <array>
#include <limits>

#include "crypto/hmac.hpp"
#include "crypto/ike.hpp"

namespace espgate::crypto {
namespace {

using openssl::CipherContext;
using Direction = int;
constexpr Direction kDecrypt = 0, kEncrypt = 1;  // as EVP_CipherInit_ex2 takes it

struct IntegrityRow {
  IkeIntegrity integrity;
  const char* digest;
  std::size_t key_length;  // also of the digest
  std::size_t icv_length;
};
constexpr std::array<IntegrityRow, 4> kIntegrity{{
    {IkeIntegrity::hmac_sha1_96, "SHA1", 20, 12},         // RFC 2404
    {IkeIntegrity::hmac_sha256_128, "SHA2-256", 32, 16},  // RFC 4868
    {IkeIntegrity::hmac_sha384_192, "SHA2-384", 48, 24},
    {IkeIntegrity::hmac_sha512_256, "SHA2-512", 64, 32},
}};

const IntegrityRow* find_integrity(IkeIntegrity integrity) noexcept {
  const auto* row = std::ranges::find(kIntegrity, integrity, &IntegrityRow::integrity);
  return row == kIntegrity.end() ? nullptr : row;
}

struct CipherRow {
  IkeCipherId id;
  std::size_t key_length;
  openssl::Cipher cipher;
};

CipherRow fetch(IkeCipherId id, std::size_t key_length, const char* name) {
  return {id, key_length, openssl::required(openssl::Cipher(EVP_CIPHER_fetch(nullptr, name, nullptr)), name)};
}

const EVP_CIPHER* find_cipher(IkeCipherId cipher, std::size_t key_length) {
  static const std::array<CipherRow, 6> kCiphers{{
      fetch(IkeCipherId::aes_gcm16, 16, "AES-128-GCM"),
      fetch(IkeCipherId::aes_gcm16, 24, "AES-192-GCM"),
      fetch(IkeCipherId::aes_gcm16, 32, "AES-256-GCM"),
      fetch(IkeCipherId::aes_cbc, 16, "AES-128-CBC"),
      fetch(IkeCipherId::aes_cbc, 24, "AES-192-CBC"),
      fetch(IkeCipherId::aes_cbc, 32, "AES-256-CBC"),
  }};
  for (const CipherRow& row : kCiphers)
    if (row.id == cipher && row.key_length == key_length) return row.cipher.get();
  throw std::runtime_error("AES takes keys of 16, 24 or 32 bytes, not " + std::to_string(key_length));
}

int length_of(Bytes bytes) {
  if (bytes.size() > std::numeric_limits<int>::max()) throw std::runtime_error("too long for one message");
  return static_cast<int>(bytes.size());
}

CipherContext start(const EVP_CIPHER* cipher, Bytes key, Bytes iv, Direction direction) {
  CipherContext context = openssl::required(CipherContext(EVP_CIPHER_CTX_new()), "a cipher");
  openssl::require(EVP_CipherInit_ex2(context.get(), cipher, key.data(), iv.data(), direction, nullptr) == 1,
                   "AES");
  return context;
}

// `out` may begin where `in` does, or be elsewhere; it has room for all of `in`.
void update(EVP_CIPHER_CTX* context, Bytes in, std::uint8_t* out) {
  int written = 0;
  openssl::require(EVP_CipherUpdate(context, out, &written, in.data(), length_of(in)) == 1, "AES");
}

// AES-CBC with a random IV, then HMAC over all (RFC 7296 section 3.14).
class CbcHmac final : public IkeCipher {
 public:
  CbcHmac(const IntegrityRow& integrity, Bytes key, Bytes integrity_key)
      : cipher_(find_cipher(IkeCipherId::aes_cbc, key.size())),
        integrity_(integrity),
        key_(key),
        integrity_key_(integrity_key) {
    if (integrity_key.size() != integrity.key_length)
      throw std::runtime_error("an integrity key of " + std::to_string(integrity_key.size()) +
                               " bytes, not " + std::to_string(integrity.key_length));
  }

  [[nodiscard]] std::size_t iv_length() const noexcept override { return kBlock; }
  [[nodiscard]] std::size_t icv_length() const noexcept override { return integrity_.icv_length; }
  [[nodiscard]] std::size_t block_length() const noexcept override { return kBlock; }

  [[nodiscard]] std::vector<std::uint8_t> seal(Bytes aad, Bytes padded_plaintext) override {
    if (padded_plaintext.empty() || padded_plaintext.size() % kBlock != 0)
      throw std::runtime_error("the plaintext is not padded to AES's block");
    std::vector<std::uint8_t> out(kBlock + padded_plaintext.size() + integrity_.icv_length);
    const MutableBytes iv = MutableBytes(out).first(kBlock);
    random_bytes(iv);  // unpredictable: RFC 7296 section 3.14
    run(padded_plaintext, iv, out.data() + kBlock, kEncrypt);
    const Bytes sealed = Bytes(out).first(kBlock + padded_plaintext.size());
    std::ranges::copy(icv(aad, sealed), out.begin() + static_cast<std::ptrdiff_t>(sealed.size()));
    return out;
  }

  [[nodiscard]] std::optional<SecretBytes> open(Bytes aad, Bytes iv_ciphertext_icv) const override {
    const std::size_t overhead = kBlock + integrity_.icv_length;
    if (iv_ciphertext_icv.size() < overhead + kBlock || (iv_ciphertext_icv.size() - overhead) % kBlock != 0)
      return std::nullopt;
    const Bytes sealed = iv_ciphertext_icv.first(iv_ciphertext_icv.size() - integrity_.icv_length);
    if (!equal_in_constant_time(icv(aad, sealed), iv_ciphertext_icv.last(integrity_.icv_length)))
      return std::nullopt;
    SecretBytes plaintext(sealed.size() - kBlock);
    run(sealed.subspan(kBlock), sealed.first(kBlock), plaintext.bytes().data(), kDecrypt);
    return plaintext;
  }

 private:
  static constexpr std::size_t kBlock = 16;

  void run(Bytes in, Bytes iv, std::uint8_t* out, Direction direction) const {
    const CipherContext context = start(cipher_, key_.view(), iv, direction);
    EVP_CIPHER_CTX_set_padding(context.get(), 0);
    update(context.get(), in, out);
  }

  [[nodiscard]] std::vector<std::uint8_t> icv(Bytes aad, Bytes sealed) const {
    std::vector<std::uint8_t> mac(integrity_.key_length);
    Hmac(integrity_.digest, integrity_key_.view()).of({aad, sealed}, mac);
    mac.resize(integrity_.icv_length);
    return mac;
  }

  const EVP_CIPHER* cipher_;
  const IntegrityRow& integrity_;
  SecretBytes key_;
  SecretBytes integrity_key_;
};

// RFC 5282. The nonce is the salt and the IV on the wire; the IV counts, so that no key sees one twice. The
// count starts anywhere: should the same key ever be given to a second object, their IVs still don't meet.
class Gcm final : public IkeCipher {
 public:
  explicit Gcm(Bytes key_and_salt)
      : cipher_(find_cipher(IkeCipherId::aes_gcm16, key_and_salt.size() - kSalt)),
        key_(key_and_salt.first(key_and_salt.size() - kSalt)),
        salt_(key_and_salt.last(kSalt)) {
    random_bytes(MutableBytes(reinterpret_cast<std::uint8_t*>(&next_iv_), sizeof next_iv_));
  }

  [[nodiscard]] std::size_t iv_length() const noexcept override { return kIv; }
  [[nodiscard]] std::size_t icv_length() const noexcept override { return kIcv; }
  [[nodiscard]] std::size_t block_length() const noexcept override { return 1; }

  [[nodiscard]] std::vector<std::uint8_t> seal(Bytes aad, Bytes padded_plaintext) override {
    std::vector<std::uint8_t> out(kIv + padded_plaintext.size() + kIcv);
    for (std::size_t i = 0; i < kIv; ++i) out[i] = static_cast<std::uint8_t>(next_iv_ >> (56 - 8 * i));
    ++next_iv_;
    const CipherContext context = begin(Bytes(out).first(kIv), aad, kEncrypt);
    update(context.get(), padded_plaintext, out.data() + kIv);
    std::uint8_t* icv = out.data() + kIv + padded_plaintext.size();
    int written = 0;
    openssl::require(EVP_CipherFinal_ex(context.get(), icv, &written) == 1 &&
                         EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kIcv, icv) == 1,
                     "AES-GCM");
    return out;
  }

  [[nodiscard]] std::optional<SecretBytes> open(Bytes aad, Bytes iv_ciphertext_icv) const override {
    if (iv_ciphertext_icv.size() <= kIv + kIcv) return std::nullopt;  // there is a pad length byte at least
    const Bytes ciphertext = iv_ciphertext_icv.subspan(kIv, iv_ciphertext_icv.size() - kIv - kIcv);
    std::array<std::uint8_t, kIcv> icv;
    std::ranges::copy(iv_ciphertext_icv.last(kIcv), icv.begin());
    const CipherContext context = begin(iv_ciphertext_icv.first(kIv), aad, kDecrypt);
    SecretBytes plaintext(ciphertext.size());
    update(context.get(), ciphertext, plaintext.bytes().data());
    openssl::require(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, kIcv, icv.data()) == 1,
                     "AES-GCM");
    int written = 0;
    const bool authentic = EVP_CipherFinal_ex(context.get(), icv.data(), &written) == 1;  // in constant time
    ERR_clear_error();
    if (!authentic) return std::nullopt;
    return plaintext;
  }

  static constexpr std::size_t kSalt = 4;

 private:
  static constexpr int kIcv = 16;
  static constexpr std::size_t kIv = 8;

  [[nodiscard]] CipherContext begin(Bytes iv, Bytes aad, Direction direction) const {
    std::array<std::uint8_t, kSalt + kIv> nonce;
    std::ranges::copy(iv, std::ranges::copy(salt_.view(), nonce.begin()).out);
    CipherContext context = start(cipher_, key_.view(), nonce, direction);
    update(context.get(), aad, nullptr);
    return context;
  }

  const EVP_CIPHER* cipher_;
  SecretBytes key_;
  SecretBytes salt_;
  std::uint64_t next_iv_{0};
};

}  // namespace

std::size_t integrity_key_length(IkeIntegrity integrity) noexcept {
  const IntegrityRow* row = find_integrity(integrity);
  return row == nullptr ? 0 : row->key_length;
}

std::size_t integrity_icv_length(IkeIntegrity integrity) noexcept {
  const IntegrityRow* row = find_integrity(integrity);
  return row == nullptr ? 0 : row->icv_length;
}

std::unique_ptr<IkeCipher> IkeCipher::make(IkeCipherId cipher, std::uint16_t key_bits, IkeIntegrity integrity,
                                           Bytes key, Bytes integrity_key) {
  const std::size_t salt = cipher == IkeCipherId::aes_gcm16 ? Gcm::kSalt : 0;
  if (key_bits % 8 != 0 || key.size() != key_bits / std::size_t{8} + salt)
    throw std::runtime_error("SK_e has not the cipher's length");
  const IntegrityRow* row = find_integrity(integrity);
  if (cipher == IkeCipherId::aes_cbc) {
    if (row == nullptr) throw std::runtime_error("AES-CBC needs an integrity algorithm");
    return std::make_unique<CbcHmac>(*row, key, integrity_key);
  }
  if (cipher != IkeCipherId::aes_gcm16) throw std::runtime_error("no such IKE cipher");
  if (integrity != IkeIntegrity::none || !integrity_key.empty())
    throw std::runtime_error("an AEAD cipher takes no integrity algorithm");
  return std::make_unique<Gcm>(key);
}

}  // namespace espgate::crypto
