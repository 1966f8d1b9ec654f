#include "control/ike/transform_names.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace espgate::ike {
namespace {

// IANA's numbers. In a cipher's name the key length goes where the '#' is.
struct Row {
  TransformType type;
  std::uint16_t id;
  std::string_view name;
};
constexpr auto kRows = std::to_array<Row>({
    {TransformType::cipher, 2, "des"},        {TransformType::cipher, 3, "3des"},
    {TransformType::cipher, 6, "cast#"},      {TransformType::cipher, 7, "blowfish#"},
    {TransformType::cipher, 11, "null"},      {TransformType::cipher, 12, "aes#"},
    {TransformType::cipher, 13, "aes#ctr"},   {TransformType::cipher, 14, "aes#ccm8"},
    {TransformType::cipher, 15, "aes#ccm12"}, {TransformType::cipher, 16, "aes#ccm16"},
    {TransformType::cipher, 18, "aes#gcm8"},  {TransformType::cipher, 19, "aes#gcm12"},
    {TransformType::cipher, 20, "aes#gcm16"}, {TransformType::cipher, 21, "aes#gmac"},
    {TransformType::cipher, 23, "camellia#"}, {TransformType::cipher, 28, "chacha20poly1305"},
    {TransformType::prf, 1, "prfmd5"},        {TransformType::prf, 2, "prfsha1"},
    {TransformType::prf, 4, "prfaesxcbc"},    {TransformType::prf, 5, "prfsha256"},
    {TransformType::prf, 6, "prfsha384"},     {TransformType::prf, 7, "prfsha512"},
    {TransformType::prf, 8, "prfaescmac"},    {TransformType::integrity, 0, "no integrity"},
    {TransformType::integrity, 1, "md5"},     {TransformType::integrity, 2, "sha1"},
    {TransformType::integrity, 5, "aesxcbc"}, {TransformType::integrity, 8, "aescmac"},
    {TransformType::integrity, 12, "sha256"}, {TransformType::integrity, 13, "sha384"},
    {TransformType::integrity, 14, "sha512"}, {TransformType::dh, 0, "no group"},
    {TransformType::dh, 1, "modp768"},        {TransformType::dh, 2, "modp1024"},
    {TransformType::dh, 5, "modp1536"},       {TransformType::dh, 14, "modp2048"},
    {TransformType::dh, 15, "modp3072"},      {TransformType::dh, 16, "modp4096"},
    {TransformType::dh, 17, "modp6144"},      {TransformType::dh, 18, "modp8192"},
    {TransformType::dh, 19, "ecp256"},        {TransformType::dh, 20, "ecp384"},
    {TransformType::dh, 21, "ecp521"},        {TransformType::dh, 22, "modp1024s160"},
    {TransformType::dh, 23, "modp2048s224"},  {TransformType::dh, 24, "modp2048s256"},
    {TransformType::dh, 25, "ecp192"},        {TransformType::dh, 26, "ecp224"},
    {TransformType::dh, 27, "ecp224bp"},      {TransformType::dh, 28, "ecp256bp"},
    {TransformType::dh, 29, "ecp384bp"},      {TransformType::dh, 30, "ecp512bp"},
    {TransformType::dh, 31, "x25519"},        {TransformType::dh, 32, "x448"},
    {TransformType::dh, 35, "mlkem512"},      {TransformType::dh, 36, "mlkem768"},
    {TransformType::dh, 37, "mlkem1024"},     {TransformType::esn, 0, "noesn"},
    {TransformType::esn, 1, "esn"},
});

std::string kind_of(TransformType type) {
  switch (type) {
    case TransformType::cipher:
      return "cipher ";
    case TransformType::prf:
      return "prf ";
    case TransformType::integrity:
      return "integrity ";
    case TransformType::dh:
      return "group ";
    case TransformType::esn:
      return "esn ";
  }
  return "transform type " + std::to_string(static_cast<unsigned>(type)) + " id ";
}

// The name with the key length in its place; a key length where none belongs is shown behind it.
std::string with_key_length(std::string name, std::uint16_t key_bits) {
  const std::size_t place = name.find('#');
  const std::string bits = key_bits == 0 ? "" : std::to_string(key_bits);
  if (place == std::string::npos) return bits.empty() ? name : name + " (key length " + bits + ")";
  name.replace(place, 1, bits);
  return bits.empty() ? name + " (no key length)" : name;
}

}  // namespace

std::string name_of(const Transform& transform) {
  const auto* row = std::ranges::find_if(
      kRows, [&](const Row& r) { return r.type == transform.type && r.id == transform.id; });
  std::string name =
      row != kRows.end() ? std::string(row->name) : kind_of(transform.type) + std::to_string(transform.id);
  name = with_key_length(std::move(name), transform.key_bits);
  return transform.unknown_attribute ? name + " (unknown attribute)" : name;
}

}  // namespace espgate::ike
