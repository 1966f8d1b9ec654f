#include "crypto/signature.hpp"

#include <malloc.h>
#include <openssl/crypto.h>
#include <openssl/decoder.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "crypto/openssl.hpp"
#include "crypto/signature_rows.hpp"

namespace espgate::crypto {
namespace {

using openssl::DigestContext;

constexpr int kLeastRsaBits = 2048;
constexpr int kMostRsaBits = 8192;  // what it costs to verify grows with the square

std::optional<KeyKind> kind_of(EVP_PKEY* key) {
  if (EVP_PKEY_is_a(key, "RSA") == 1) return KeyKind::rsa;
  if (EVP_PKEY_is_a(key, "ED25519") == 1) return KeyKind::ed25519;
  if (EVP_PKEY_is_a(key, "EC") != 1) return std::nullopt;
  std::array<char, 80> group{};
  if (EVP_PKEY_get_group_name(key, group.data(), group.size(), nullptr) != 1) return std::nullopt;
  const std::string_view name(group.data());
  if (name == "prime256v1" || name == "P-256") return KeyKind::p256;
  if (name == "secp384r1" || name == "P-384") return KeyKind::p384;
  if (name == "secp521r1" || name == "P-521") return KeyKind::p521;
  return std::nullopt;
}

KeyKind known_kind(EVP_PKEY* key) {
  const auto kind = kind_of(key);
  if (!kind)
    throw std::runtime_error(
        "a key of a kind that is not supported; supported are RSA, ECDSA over P-256, P-384 and P-521, and "
        "Ed25519");
  const int bits = EVP_PKEY_get_bits(key);
  if (*kind == KeyKind::rsa && (bits < kLeastRsaBits || bits > kMostRsaBits))
    throw std::runtime_error("an RSA key of " + std::to_string(bits) + " bits; accepted are " +
                             std::to_string(kLeastRsaBits) + " to " + std::to_string(kMostRsaBits));
  return *kind;
}

void set_padding(const SchemeRow& row, EVP_PKEY_CTX* context) {
  if (!fits(row.scheme, KeyKind::rsa)) return;
  const int padding = row.pss ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING;
  openssl::require(EVP_PKEY_CTX_set_rsa_padding(context, padding) == 1, "RSA's padding");
  if (row.pss)
    openssl::require(EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1, "PSS's salt");
}

std::shared_ptr<EVP_PKEY> shared(EVP_PKEY* key) { return {key, EVP_PKEY_free}; }

// The first key in `input`, public (`selection` OSSL_KEYMGMT_SELECT_PUBLIC_KEY) or private; null: none.
std::shared_ptr<EVP_PKEY> decode_key(Bytes input, int selection) {
  EVP_PKEY* key = nullptr;
  OSSL_DECODER_CTX* context =
      OSSL_DECODER_CTX_new_for_pkey(&key, nullptr, nullptr, nullptr, selection, nullptr, nullptr);
  openssl::require(context != nullptr, "a decoder");
  // A password would be asked for on the terminal otherwise.
  OSSL_DECODER_CTX_set_passphrase(context, reinterpret_cast<const unsigned char*>(""), 0);
  const unsigned char* data = input.data();
  std::size_t left = input.size();
  const bool done = OSSL_DECODER_from_data(context, &data, &left) == 1;
  OSSL_DECODER_CTX_free(context);
  ERR_clear_error();
  if (!done && key != nullptr) EVP_PKEY_free(key);
  return done ? shared(key) : nullptr;
}

bool has_text(Bytes file, std::string_view text) {
  const std::string_view whole(reinterpret_cast<const char*>(file.data()), file.size());
  return whole.find(text) != whole.npos;
}

void* erasing_realloc(void* old, std::size_t size, const char* /*file*/, int /*line*/) {
  if (old == nullptr) return std::malloc(size);
  if (size == 0) return nullptr;  // OpenSSL never asks for that
  const std::size_t before = malloc_usable_size(old);
  void* fresh = std::malloc(size);
  if (fresh == nullptr) return nullptr;
  std::memcpy(fresh, old, std::min(before, size));
  explicit_bzero(old, before);
  std::free(old);
  return fresh;
}

void erasing_free(void* memory, const char* /*file*/, int /*line*/) {
  if (memory != nullptr) explicit_bzero(memory, malloc_usable_size(memory));
  std::free(memory);
}

void* plain_malloc(std::size_t size, const char* /*file*/, int /*line*/) { return std::malloc(size); }

}  // namespace

std::shared_ptr<const PublicKey> PublicKey::of(std::shared_ptr<evp_pkey_st> key) {
  std::shared_ptr<PublicKey> out(new PublicKey);
  out->kind_ = known_kind(key.get());
  out->bits_ = EVP_PKEY_get_bits(key.get());
  unsigned char* der = nullptr;
  const int length = i2d_PUBKEY(key.get(), &der);
  openssl::require(length > 0, "encoding a public key");
  out->der_.assign(der, der + length);
  OPENSSL_free(der);
  out->key_ = std::move(key);
  return out;
}

std::shared_ptr<const PublicKey> PublicKey::read(Bytes der_or_pem) {
  if (has_text(der_or_pem, "PRIVATE KEY"))
    throw std::runtime_error("a private key, where a public one belongs");
  auto key = decode_key(der_or_pem, EVP_PKEY_PUBLIC_KEY);
  if (!key) throw std::runtime_error("no public key in PEM or DER");
  return of(std::move(key));
}

std::string PublicKey::words() const {
  std::string out = name_of(kind_);
  if (kind_ == KeyKind::rsa) out.append(" ").append(std::to_string(bits_));
  return out;
}

bool PublicKey::verify(SignatureScheme scheme, Bytes data, Bytes signature) const {
  if (!fits(scheme, kind_)) return false;
  const SchemeRow& row = row_of(scheme);
  const DigestContext context = openssl::required(DigestContext(EVP_MD_CTX_new()), "a signature");
  EVP_PKEY_CTX* parameters = nullptr;
  openssl::require(EVP_DigestVerifyInit_ex(context.get(), &parameters, row.digest, nullptr, nullptr,
                                           key_.get(), nullptr) == 1,
                   "verifying a signature");
  set_padding(row, parameters);
  const bool good =
      EVP_DigestVerify(context.get(), signature.data(), signature.size(), data.data(), data.size()) == 1;
  ERR_clear_error();  // a bad signature of a peer's is no error of ours
  return good;
}

std::shared_ptr<const PrivateKey> PrivateKey::of(std::shared_ptr<evp_pkey_st> key) {
  std::shared_ptr<PrivateKey> out(new PrivateKey);
  out->public_ = PublicKey::of(key);
  out->key_ = std::move(key);
  return out;
}

std::shared_ptr<const PrivateKey> PrivateKey::read(Bytes der_or_pem) {
  if (has_text(der_or_pem, "ENCRYPTED"))
    throw std::runtime_error("a private key behind a password; expected one without");
  auto key = decode_key(der_or_pem, EVP_PKEY_KEYPAIR);
  if (!key) throw std::runtime_error("no private key in PEM or DER");
  return of(std::move(key));
}

std::vector<std::uint8_t> PrivateKey::sign(SignatureScheme scheme, Bytes data) const {
  if (!fits(scheme, public_->kind()))
    throw std::runtime_error(name_of(scheme) + " is not for a key of kind " + name_of(public_->kind()));
  const SchemeRow& row = row_of(scheme);
  const DigestContext context = openssl::required(DigestContext(EVP_MD_CTX_new()), "a signature");
  EVP_PKEY_CTX* parameters = nullptr;
  openssl::require(EVP_DigestSignInit_ex(context.get(), &parameters, row.digest, nullptr, nullptr, key_.get(),
                                         nullptr) == 1,
                   "signing");
  set_padding(row, parameters);
  std::size_t length = 0;
  openssl::require(EVP_DigestSign(context.get(), nullptr, &length, data.data(), data.size()) == 1, "signing");
  std::vector<std::uint8_t> out(length);
  openssl::require(EVP_DigestSign(context.get(), out.data(), &length, data.data(), data.size()) == 1,
                   "signing");
  out.resize(length);
  return out;
}

void erase_what_openssl_frees() {
  openssl::require(CRYPTO_set_mem_functions(plain_malloc, erasing_realloc, erasing_free) == 1,
                   "was in use before its memory could be made to be erased");
}

}  // namespace espgate::crypto
