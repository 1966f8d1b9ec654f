#include <openssl/core_names.h>

#include <algorithm>
#include <array>
#include <utility>

#include "crypto/hmac.hpp"
#include "crypto/ike.hpp"

namespace espgate::crypto {
namespace {

struct PrfRow {
  Prf prf;
  const char* digest;
  std::size_t length;
};
constexpr std::array<PrfRow, 4> kPrfs{{
    {Prf::hmac_sha1, "SHA1", 20},
    {Prf::hmac_sha256, "SHA2-256", 32},
    {Prf::hmac_sha384, "SHA2-384", 48},
    {Prf::hmac_sha512, "SHA2-512", 64},
}};

const PrfRow* find_prf(Prf prf) noexcept {
  const auto* row = std::ranges::find(kPrfs, prf, &PrfRow::prf);
  return row == kPrfs.end() ? nullptr : row;
}

const PrfRow& known(Prf prf) {
  const PrfRow* row = find_prf(prf);
  if (row == nullptr) throw std::runtime_error("no such PRF: " + std::to_string(static_cast<unsigned>(prf)));
  return *row;
}

// Looked up once: it takes longer than the HMAC of a short message.
EVP_MAC* hmac_algorithm() {
  static const openssl::Mac algorithm =
      openssl::required(openssl::Mac(EVP_MAC_fetch(nullptr, "HMAC", nullptr)), "HMAC");
  return algorithm.get();
}

}  // namespace

Hmac::Hmac(const char* digest, Bytes key)
    : context_(openssl::required(openssl::MacContext(EVP_MAC_CTX_new(hmac_algorithm())), "HMAC")) {
  const std::array<OSSL_PARAM, 2> parameters{
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, const_cast<char*>(digest), 0),
      OSSL_PARAM_construct_end()};
  // An empty key is a key; a null pointer would mean "the one from before".
  const std::uint8_t nothing = 0;
  const std::uint8_t* key_bytes = key.empty() ? &nothing : key.data();
  openssl::require(EVP_MAC_init(context_.get(), key_bytes, key.size(), parameters.data()) == 1, "HMAC's key");
}

void Hmac::of(std::initializer_list<Bytes> data, MutableBytes out) {
  if (!std::exchange(fresh_, false))
    openssl::require(EVP_MAC_init(context_.get(), nullptr, 0, nullptr) == 1, "HMAC");
  for (const Bytes piece : data)
    openssl::require(EVP_MAC_update(context_.get(), piece.data(), piece.size()) == 1, "HMAC");
  std::size_t length = 0;
  openssl::require(
      EVP_MAC_final(context_.get(), out.data(), &length, out.size()) == 1 && length == out.size(), "HMAC");
}

std::size_t prf_length(Prf prf) noexcept {
  const PrfRow* row = find_prf(prf);
  return row == nullptr ? 0 : row->length;
}

SecretBytes prf(Prf prf, Bytes key, std::initializer_list<Bytes> data) {
  const PrfRow& row = known(prf);
  SecretBytes out(row.length);
  Hmac(row.digest, key).of(data, out.bytes());
  return out;
}

// T1 | T2 | ..., Tn = prf(key, T(n-1) | seed | n): RFC 7296 section 2.13.
SecretBytes prf_plus(Prf prf, Bytes key, std::initializer_list<Bytes> seed, std::size_t length) {
  const PrfRow& row = known(prf);
  if (length > 255 * row.length) throw std::runtime_error("prf+ yields at most 255 blocks");
  // One piece, because it is needed once a block; secret, because with PFS the shared secret is in it.
  std::size_t seed_length = 0;
  for (const Bytes piece : seed) seed_length += piece.size();
  SecretBytes whole_seed(seed_length);
  auto end = whole_seed.bytes().begin();
  for (const Bytes piece : seed) end = std::ranges::copy(piece, end).out;

  SecretBytes out(length);
  SecretBytes block;
  Hmac hmac(row.digest, key);
  for (std::size_t at = 0; at < length; at += row.length) {
    const auto number = static_cast<std::uint8_t>(at / row.length + 1);
    SecretBytes next(row.length);
    hmac.of({block.view(), whole_seed.view(), Bytes(&number, 1)}, next.bytes());
    block = std::move(next);
    const std::size_t wanted = std::min(row.length, length - at);
    std::ranges::copy(block.view().first(wanted), out.bytes().subspan(at).begin());
  }
  return out;
}

std::vector<std::uint8_t> sha1(std::initializer_list<Bytes> data) {
  static const openssl::Digest algorithm =
      openssl::required(openssl::Digest(EVP_MD_fetch(nullptr, "SHA1", nullptr)), "SHA-1");
  const openssl::DigestContext context = openssl::required(openssl::DigestContext(EVP_MD_CTX_new()), "SHA-1");
  openssl::require(EVP_DigestInit_ex2(context.get(), algorithm.get(), nullptr) == 1, "SHA-1");
  for (const Bytes piece : data)
    openssl::require(EVP_DigestUpdate(context.get(), piece.data(), piece.size()) == 1, "SHA-1");
  std::vector<std::uint8_t> out(20);
  openssl::require(EVP_DigestFinal_ex(context.get(), out.data(), nullptr) == 1, "SHA-1");
  return out;
}

}  // namespace espgate::crypto
