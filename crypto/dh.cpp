#include <openssl/core_names.h>

#include <algorithm>
#include <array>

#include "crypto/ike.hpp"
#include "crypto/openssl.hpp"

namespace espgate::crypto {
namespace {

using openssl::Pkey;
using openssl::PkeyContext;

struct GroupRow {
  DhGroup group;
  const char* algorithm;      // OpenSSL's names
  const char* name;           // nullptr: it has no name for the group
  std::size_t public_length;  // of the KE payload's data
  std::size_t secret_length;
};
constexpr auto kGroups = std::to_array<GroupRow>({
    {DhGroup::modp768, "DH", nullptr, 96, 96},  // RFC 2409
    {DhGroup::modp1024, "DH", nullptr, 128, 128},
    {DhGroup::modp1536, "DH", "modp_1536", 192, 192},  // RFC 3526
    {DhGroup::modp2048, "DH", "modp_2048", 256, 256},
    {DhGroup::modp3072, "DH", "modp_3072", 384, 384},
    {DhGroup::modp4096, "DH", "modp_4096", 512, 512},
    {DhGroup::ecp256, "EC", "P-256", 64, 32},  // RFC 5903 section 7: x | y, and x alone
    {DhGroup::ecp384, "EC", "P-384", 96, 48},
    {DhGroup::ecp521, "EC", "P-521", 132, 66},
    {DhGroup::modp1024s160, "DHX", "dh_1024_160", 128, 128},  // RFC 5114
    {DhGroup::modp2048s224, "DHX", "dh_2048_224", 256, 256},
    {DhGroup::modp2048s256, "DHX", "dh_2048_256", 256, 256},
    {DhGroup::curve25519, "X25519", nullptr, 32, 32},  // RFC 8031
});
constexpr std::uint8_t kUncompressedPoint = 4;  // SEC 1: before x | y; IKE leaves it out

const GroupRow* find_group(DhGroup group) noexcept {
  const auto* row = std::ranges::find(kGroups, group, &GroupRow::group);
  return row == kGroups.end() ? nullptr : row;
}

bool is(const GroupRow& row, std::string_view algorithm) noexcept { return row.algorithm == algorithm; }

bool is_modp(const GroupRow& row) noexcept { return is(row, "DH") || is(row, "DHX"); }

// The groups of RFC 2409, which OpenSSL has no names for: the prime, and 2.
Pkey oakley_parameters(const GroupRow& row) {
  const openssl::Bignum prime =
      openssl::required(openssl::Bignum(row.group == DhGroup::modp768 ? BN_get_rfc2409_prime_768(nullptr)
                                                                      : BN_get_rfc2409_prime_1024(nullptr)),
                        "a prime");
  const openssl::ParameterBuilder builder =
      openssl::required(openssl::ParameterBuilder(OSSL_PARAM_BLD_new()), "a group's parameters");
  openssl::require(OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_FFC_P, prime.get()) == 1 &&
                       OSSL_PARAM_BLD_push_uint(builder.get(), OSSL_PKEY_PARAM_FFC_G, 2) == 1,
                   "a group's parameters");
  const openssl::Parameters parameters =
      openssl::required(openssl::Parameters(OSSL_PARAM_BLD_to_param(builder.get())), "a group's parameters");
  const PkeyContext context = openssl::required(
      PkeyContext(EVP_PKEY_CTX_new_from_name(nullptr, row.algorithm, nullptr)), row.algorithm);
  EVP_PKEY* group = nullptr;
  openssl::require(
      EVP_PKEY_fromdata_init(context.get()) == 1 &&
          EVP_PKEY_fromdata(context.get(), &group, EVP_PKEY_KEY_PARAMETERS, parameters.get()) == 1,
      "a group's parameters");
  return Pkey(group);
}

PkeyContext generator_of(const GroupRow& row) {
  if (!is_modp(row) || row.name != nullptr)
    return PkeyContext(EVP_PKEY_CTX_new_from_name(nullptr, row.algorithm, nullptr));
  return PkeyContext(EVP_PKEY_CTX_new_from_pkey(nullptr, oakley_parameters(row).get(), nullptr));
}

Pkey generate_key(const GroupRow& row) {
  const PkeyContext context = openssl::required(generator_of(row), row.algorithm);
  openssl::require(EVP_PKEY_keygen_init(context.get()) == 1, row.algorithm);
  if (row.name != nullptr)
    openssl::require(EVP_PKEY_CTX_set_group_name(context.get(), row.name) == 1, row.name);
  EVP_PKEY* key = nullptr;
  openssl::require(EVP_PKEY_generate(context.get(), &key) == 1, "generating a Diffie-Hellman key");
  return Pkey(key);
}

std::vector<std::uint8_t> encoded_public_value(const GroupRow& row, EVP_PKEY* key) {
  unsigned char* encoded = nullptr;
  const std::size_t length = EVP_PKEY_get1_encoded_public_key(key, &encoded);
  const std::size_t prefix = is(row, "EC") ? 1 : 0;
  std::vector<std::uint8_t> value;
  if (length == row.public_length + prefix) value.assign(encoded + prefix, encoded + length);
  OPENSSL_free(encoded);
  openssl::require(!value.empty(), "encoding a public value");
  return value;
}

// The peer's value as a key of our group, if it is a valid one (RFC 6989 section 2): 1 < value < p - 1 for
// the MODP groups, whose primes are safe, and for RFC 5114's, whose primes are not, also of the subgroup; a
// point on the curve for the ECP groups, whose cofactor is 1.
Pkey peer_key(const GroupRow& row, EVP_PKEY* own, Bytes value) {
  if (value.size() != row.public_length) return nullptr;
  if (is(row, "X25519"))  // any value is one
    return Pkey(EVP_PKEY_new_raw_public_key_ex(nullptr, row.algorithm, nullptr, value.data(), value.size()));
  std::vector<std::uint8_t> encoded;
  if (is(row, "EC")) encoded.push_back(kUncompressedPoint);
  encoded.insert(encoded.end(), value.begin(), value.end());
  Pkey peer = openssl::required(Pkey(EVP_PKEY_new()), "a key");
  openssl::require(EVP_PKEY_copy_parameters(peer.get(), own) == 1, "copying a group's parameters");
  if (EVP_PKEY_set1_encoded_public_key(peer.get(), encoded.data(), encoded.size()) != 1) return nullptr;
  const PkeyContext check = openssl::required(
      PkeyContext(EVP_PKEY_CTX_new_from_pkey(nullptr, peer.get(), nullptr)), "a key's check");
  if (EVP_PKEY_public_check_quick(check.get()) != 1) return nullptr;
  return peer;
}

bool derive(const GroupRow& row, EVP_PKEY* own, EVP_PKEY* peer, SecretBytes& secret) {
  const PkeyContext context =
      openssl::required(PkeyContext(EVP_PKEY_CTX_new_from_pkey(nullptr, own, nullptr)), "Diffie-Hellman");
  unsigned pad = 1;  // to the prime's length, leading zeros kept: RFC 7296 section 2.14
  const std::array<OSSL_PARAM, 2> parameters{OSSL_PARAM_construct_uint(OSSL_EXCHANGE_PARAM_PAD, &pad),
                                             OSSL_PARAM_construct_end()};
  openssl::require(EVP_PKEY_derive_init_ex(context.get(), is_modp(row) ? parameters.data() : nullptr) == 1,
                   "Diffie-Hellman");
  std::size_t length = secret.size();
  return EVP_PKEY_derive_set_peer_ex(context.get(), peer, 0) == 1 &&
         EVP_PKEY_derive(context.get(), secret.bytes().data(), &length) == 1 && length == secret.size();
}

class OpensslDhKey final : public DhKey {
 public:
  explicit OpensslDhKey(const GroupRow& row)
      : row_(row), key_(generate_key(row)), public_value_(encoded_public_value(row, key_.get())) {}

  [[nodiscard]] DhGroup group() const noexcept override { return row_.group; }
  [[nodiscard]] Bytes public_value() const noexcept override { return public_value_; }
  [[nodiscard]] std::optional<SecretBytes> shared_secret(Bytes peer_public) const override {
    const Pkey peer = peer_key(row_, key_.get(), peer_public);
    SecretBytes secret(row_.secret_length);
    // X25519 fails here for a value of small order, whose secret is all zero (RFC 7748 section 6.1, RFC
    // 6989).
    const bool derived = peer && derive(row_, key_.get(), peer.get(), secret);
    ERR_clear_error();  // a bad value of a peer's is no error of ours
    if (!derived) return std::nullopt;
    return secret;
  }

 private:
  const GroupRow& row_;
  Pkey key_;  // OpenSSL erases the private part when it frees it
  std::vector<std::uint8_t> public_value_;
};

}  // namespace

std::size_t dh_public_length(DhGroup group) noexcept {
  const GroupRow* row = find_group(group);
  return row == nullptr ? 0 : row->public_length;
}

std::unique_ptr<DhKey> DhKey::generate(DhGroup group) {
  const GroupRow* row = find_group(group);
  if (row == nullptr)
    throw std::runtime_error("no such Diffie-Hellman group: " + std::to_string(static_cast<unsigned>(group)));
  return std::make_unique<OpensslDhKey>(*row);
}

}  // namespace espgate::crypto
