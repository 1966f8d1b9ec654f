// Signature schemes, and their names on the wire.
#include <openssl/asn1t.h>
#include <openssl/ec.h>
#include <openssl/objects.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <initializer_list>

#include "crypto/openssl.hpp"
#include "crypto/signature.hpp"
#include "crypto/signature_rows.hpp"

namespace espgate::crypto {
namespace {

using Algorithm = std::unique_ptr<X509_ALGOR, openssl::Deleter<X509_ALGOR_free>>;
using PssParameters = std::unique_ptr<RSA_PSS_PARAMS, openssl::Deleter<RSA_PSS_PARAMS_free>>;
using EcdsaValue = std::unique_ptr<ECDSA_SIG, openssl::Deleter<ECDSA_SIG_free>>;

constexpr std::array<SchemeRow, 11> kSchemes{{
    {SignatureScheme::rsa_sha1, "RSA with SHA-1", SignatureHash::sha1, "SHA1", false, NID_sha1,
     NID_sha1WithRSAEncryption},
    {SignatureScheme::rsa_sha256, "RSA with SHA2-256", SignatureHash::sha256, "SHA2-256", false, NID_sha256,
     NID_sha256WithRSAEncryption},
    {SignatureScheme::rsa_sha384, "RSA with SHA2-384", SignatureHash::sha384, "SHA2-384", false, NID_sha384,
     NID_sha384WithRSAEncryption},
    {SignatureScheme::rsa_sha512, "RSA with SHA2-512", SignatureHash::sha512, "SHA2-512", false, NID_sha512,
     NID_sha512WithRSAEncryption},
    {SignatureScheme::pss_sha256, "RSA PSS with SHA2-256", SignatureHash::sha256, "SHA2-256", true,
     NID_sha256, NID_rsassaPss},
    {SignatureScheme::pss_sha384, "RSA PSS with SHA2-384", SignatureHash::sha384, "SHA2-384", true,
     NID_sha384, NID_rsassaPss},
    {SignatureScheme::pss_sha512, "RSA PSS with SHA2-512", SignatureHash::sha512, "SHA2-512", true,
     NID_sha512, NID_rsassaPss},
    {SignatureScheme::ecdsa_sha256, "ECDSA with SHA2-256", SignatureHash::sha256, "SHA2-256", false,
     NID_sha256, NID_ecdsa_with_SHA256},
    {SignatureScheme::ecdsa_sha384, "ECDSA with SHA2-384", SignatureHash::sha384, "SHA2-384", false,
     NID_sha384, NID_ecdsa_with_SHA384},
    {SignatureScheme::ecdsa_sha512, "ECDSA with SHA2-512", SignatureHash::sha512, "SHA2-512", false,
     NID_sha512, NID_ecdsa_with_SHA512},
    {SignatureScheme::ed25519, "Ed25519", SignatureHash::identity, nullptr, false, NID_undef, NID_ED25519},
}};

using ByteVector = std::vector<std::uint8_t>;

ByteVector encoded(const X509_ALGOR* algorithm) {
  unsigned char* der = nullptr;
  const int length = i2d_X509_ALGOR(algorithm, &der);
  openssl::require(length > 0, "an AlgorithmIdentifier");
  ByteVector out(der, der + length);
  OPENSSL_free(der);
  return out;
}

// RFC 4055 section 3.1, with the hash for both uses and a salt of its length (RFC 7427 appendix A.4).
void set_pss(X509_ALGOR* out, const SchemeRow& row) {
  const PssParameters pss = openssl::required(PssParameters(RSA_PSS_PARAMS_new()), "PSS");
  const auto hash_algorithm = [&row] {
    X509_ALGOR* hash = X509_ALGOR_new();
    openssl::require(X509_ALGOR_set0(hash, OBJ_nid2obj(row.hash_nid), V_ASN1_NULL, nullptr) == 1, "PSS");
    return hash;
  };
  pss->hashAlgorithm = hash_algorithm();
  const Algorithm hash(hash_algorithm());
  ASN1_STRING* packed = nullptr;
  openssl::require(ASN1_item_pack(hash.get(), ASN1_ITEM_rptr(X509_ALGOR), &packed) != nullptr, "PSS");
  pss->maskGenAlgorithm = X509_ALGOR_new();
  X509_ALGOR_set0(pss->maskGenAlgorithm, OBJ_nid2obj(NID_mgf1), V_ASN1_SEQUENCE, packed);
  pss->saltLength = ASN1_INTEGER_new();
  openssl::require(ASN1_INTEGER_set(pss->saltLength, pss_salt_length(row)) == 1, "PSS");
  ASN1_STRING* parameters = nullptr;
  openssl::require(ASN1_item_pack(pss.get(), ASN1_ITEM_rptr(RSA_PSS_PARAMS), &parameters) != nullptr, "PSS");
  X509_ALGOR_set0(out, OBJ_nid2obj(row.nid), V_ASN1_SEQUENCE, parameters);
}

ByteVector make_identifier(const SchemeRow& row) {
  if (row.scheme == SignatureScheme::rsa_sha1) return {};
  const Algorithm out = openssl::required(Algorithm(X509_ALGOR_new()), "an AlgorithmIdentifier");
  if (row.pss) {
    set_pss(out.get(), row);
  } else {  // RSA's parameters are NULL, the others' absent (RFC 8017 appendix A.2.4, RFC 5758, RFC 8410)
    const bool rsa = fits(row.scheme, KeyKind::rsa);
    X509_ALGOR_set0(out.get(), OBJ_nid2obj(row.nid), rsa ? V_ASN1_NULL : V_ASN1_UNDEF, nullptr);
  }
  return encoded(out.get());
}

const std::array<ByteVector, kSchemes.size()>& identifiers() {
  static const auto kIdentifiers = [] {
    std::array<ByteVector, kSchemes.size()> out;
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = make_identifier(kSchemes[i]);
    return out;
  }();
  return kIdentifiers;
}

int nid_of(const X509_ALGOR* algorithm) {
  const ASN1_OBJECT* object = nullptr;
  X509_ALGOR_get0(&object, nullptr, nullptr, algorithm);
  return OBJ_obj2nid(object);
}

bool has_no_parameters(const X509_ALGOR* algorithm) {
  int type = V_ASN1_UNDEF;
  X509_ALGOR_get0(nullptr, &type, nullptr, algorithm);
  return type == V_ASN1_UNDEF || type == V_ASN1_NULL;
}

// The whole of `der`, or nothing.
Algorithm decode(Bytes der) {
  const unsigned char* at = der.data();
  Algorithm out(d2i_X509_ALGOR(nullptr, &at, static_cast<long>(der.size())));
  if (out && at != der.data() + der.size()) out.reset();
  ERR_clear_error();
  return out;
}

template <class T>
T* unpacked(const X509_ALGOR* algorithm, const ASN1_ITEM* item) {
  int type = V_ASN1_UNDEF;
  const void* value = nullptr;
  X509_ALGOR_get0(nullptr, &type, &value, algorithm);
  if (type != V_ASN1_SEQUENCE) return nullptr;
  return static_cast<T*>(ASN1_item_unpack(static_cast<const ASN1_STRING*>(value), item));
}

const SchemeRow* pss_row(const X509_ALGOR* algorithm) {
  const PssParameters pss(unpacked<RSA_PSS_PARAMS>(algorithm, ASN1_ITEM_rptr(RSA_PSS_PARAMS)));
  if (!pss || pss->hashAlgorithm == nullptr || pss->maskGenAlgorithm == nullptr || pss->saltLength == nullptr)
    return nullptr;  // the defaults are SHA-1's
  const Algorithm mask(unpacked<X509_ALGOR>(pss->maskGenAlgorithm, ASN1_ITEM_rptr(X509_ALGOR)));
  if (nid_of(pss->maskGenAlgorithm) != NID_mgf1 || !mask || !has_no_parameters(mask.get()) ||
      !has_no_parameters(pss->hashAlgorithm) || nid_of(mask.get()) != nid_of(pss->hashAlgorithm) ||
      (pss->trailerField != nullptr && ASN1_INTEGER_get(pss->trailerField) != 1))
    return nullptr;
  const auto* row = std::ranges::find_if(kSchemes, [&](const SchemeRow& r) {
    return r.pss && r.hash_nid == nid_of(pss->hashAlgorithm) &&
           pss_salt_length(r) == ASN1_INTEGER_get(pss->saltLength);
  });
  return row == kSchemes.end() ? nullptr : row;
}

// Of r and of s, in bytes; 0: not ECDSA's.
std::size_t pair_half(KeyKind kind) {
  switch (kind) {
    case KeyKind::p256:
      return 32;
    case KeyKind::p384:
      return 48;
    case KeyKind::p521:
      return 66;
    default:
      return 0;
  }
}

}  // namespace

const SchemeRow& row_of(SignatureScheme scheme) noexcept {
  return kSchemes[static_cast<std::size_t>(scheme)];
}

long pss_salt_length(const SchemeRow& row) noexcept {
  return row.hash == SignatureHash::sha256 ? 32 : row.hash == SignatureHash::sha384 ? 48 : 64;
}

std::string name_of(KeyKind kind) {
  static constexpr const char* kNames[] = {"RSA", "ECDSA P-256", "ECDSA P-384", "ECDSA P-521", "Ed25519"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::string name_of(SignatureScheme scheme) { return row_of(scheme).name; }

SignatureHash hash_of(SignatureScheme scheme) noexcept { return row_of(scheme).hash; }

bool fits(SignatureScheme scheme, KeyKind kind) noexcept {
  if (scheme <= SignatureScheme::pss_sha512) return kind == KeyKind::rsa;
  if (scheme == SignatureScheme::ed25519) return kind == KeyKind::ed25519;
  return pair_half(kind) != 0;
}

Bytes algorithm_identifier(SignatureScheme scheme) noexcept {
  return identifiers()[static_cast<std::size_t>(scheme)];
}

std::optional<SignatureScheme> scheme_of(Bytes der) {
  const auto& known = identifiers();
  for (std::size_t i = 1; i < known.size(); ++i)
    if (std::ranges::equal(known[i], der)) return kSchemes[i].scheme;
  const Algorithm algorithm = decode(der);
  if (!algorithm) return std::nullopt;
  const SchemeRow* row = nullptr;
  if (nid_of(algorithm.get()) == NID_rsassaPss) {
    row = pss_row(algorithm.get());
  } else if (has_no_parameters(algorithm.get())) {
    row = std::ranges::find(kSchemes, nid_of(algorithm.get()), &SchemeRow::nid);
    if (row == kSchemes.end()) row = nullptr;
  }
  ERR_clear_error();
  if (row == nullptr || row->scheme == SignatureScheme::rsa_sha1) return std::nullopt;
  return row->scheme;
}

std::string algorithm_words(Bytes der) {
  const Algorithm algorithm = decode(der);
  if (!algorithm) return "an algorithm that is not told properly";
  const ASN1_OBJECT* object = nullptr;
  X509_ALGOR_get0(&object, nullptr, nullptr, algorithm.get());
  std::array<char, 80> name{};
  OBJ_obj2txt(name.data(), name.size(), object, 0);
  const bool odd = scheme_of(der) == std::nullopt && nid_of(algorithm.get()) == NID_rsassaPss;
  return std::string(name.data()) + (odd ? " with parameters of its own" : "");
}

std::optional<ByteVector> ecdsa_to_pair(KeyKind kind, Bytes der) {
  const std::size_t half = pair_half(kind);
  const unsigned char* at = der.data();
  const EcdsaValue value(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
  ERR_clear_error();
  if (!value || half == 0 || at != der.data() + der.size()) return std::nullopt;
  ByteVector out(2 * half);
  const int length = static_cast<int>(half);
  if (BN_bn2binpad(ECDSA_SIG_get0_r(value.get()), out.data(), length) != length ||
      BN_bn2binpad(ECDSA_SIG_get0_s(value.get()), out.data() + half, length) != length)
    return std::nullopt;
  return out;
}

std::optional<ByteVector> ecdsa_from_pair(KeyKind kind, Bytes pair) {
  const std::size_t half = pair_half(kind);
  if (half == 0 || pair.size() != 2 * half) return std::nullopt;
  const EcdsaValue value = openssl::required(EcdsaValue(ECDSA_SIG_new()), "ECDSA");
  const int length = static_cast<int>(half);
  openssl::require(ECDSA_SIG_set0(value.get(), BN_bin2bn(pair.data(), length, nullptr),
                                  BN_bin2bn(pair.data() + half, length, nullptr)) == 1,
                   "ECDSA");
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(value.get(), &der);
  openssl::require(size > 0, "ECDSA");
  ByteVector out(der, der + size);
  OPENSSL_free(der);
  return out;
}

}  // namespace espgate::crypto
