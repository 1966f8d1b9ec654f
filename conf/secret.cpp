// Pre-shared and manual keys: from the file itself, or from a file of their own that nobody else can read.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "conf/file.hpp"
#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

constexpr std::size_t kMostBytes = 4096;

// An editor's newline at the end is not part of the secret.
crypto::SecretBytes without_newline(const crypto::SecretBytes& text) {
  std::size_t length = text.size();
  if (length > 0 && text.view()[length - 1] == '\n') --length;
  if (length > 0 && text.view()[length - 1] == '\r') --length;
  return crypto::SecretBytes(text.view().first(length));
}

std::string path_of(const Field& field) {
  return (std::filesystem::path(field.reading.folder) / field.node.text).string();
}

void say_no_secret(const Field& field) {
  field.error(fmt::format("{}: {} is empty or longer than {} bytes", field.key, in_quotes(path_of(field)),
                          kMostBytes));
}

int digit_of(std::uint8_t character) {
  if (character >= '0' && character <= '9') return character - '0';
  const int letter = (character | 0x20) - 'a';
  return letter >= 0 && letter < 6 ? 10 + letter : -1;
}

// Pairs of hex digits, perhaps behind 0x, with white space and colons between them; nullopt: something else.
std::optional<crypto::SecretBytes> from_hex(crypto::Bytes text) {
  crypto::SecretBytes bytes(text.size() / 2);
  if (text.size() > 2 && text[0] == '0' && text[1] == 'x') text = text.subspan(2);
  std::size_t digits = 0;
  for (const std::uint8_t character : text) {
    if (character == ' ' || character == '\n' || character == '\r' || character == '\t' || character == ':')
      continue;
    const int digit = digit_of(character);
    if (digit < 0 || digits / 2 == bytes.size()) return std::nullopt;
    std::uint8_t& byte = bytes.bytes()[digits++ / 2];
    byte = static_cast<std::uint8_t>(byte << 4 | digit);
  }
  if (digits == 0 || digits % 2 != 0) return std::nullopt;
  return crypto::SecretBytes(bytes.view().first(digits / 2));
}

// "a cipher key of 32 bytes, a salt of 4".
std::string parts_of(const crypto::SuiteRow& suite) {
  std::string words;
  const auto part = [&words](std::string_view what, unsigned length) {
    if (length != 0) words += fmt::format("{}{} of {}", words.empty() ? "" : ", then ", what, length);
  };
  part("a cipher key", suite.key_length);
  part("a salt", suite.salt_length);
  part("an integrity key", suite.integrity_key_length);
  return words;
}

}  // namespace

bool is_secret(std::string_view key) {
  constexpr std::array<std::string_view, 4> kSecrets{"psk", "ppk", "secret", "password"};
  return std::ranges::count(kSecrets, key) != 0;
}

std::optional<crypto::SecretBytes> read_file_of(const Field& field, bool wanted, std::size_t most) {
  std::string name;
  read_text(field, name);
  if (name.empty() || !wanted) return std::nullopt;
  FileContent file = read_whole(path_of(field), Readers::owner, most);
  if (file.objection.empty()) return std::move(file.bytes);
  field.error(fmt::format("{}: {}", field.key, file.objection));
  return std::nullopt;
}

void read_psk(const Field& field, crypto::SecretBytes& out) {
  // The value never stands in a message.
  if (!field.is_scalar() || field.node.text.empty())
    return field.error("psk: expected text, the pre-shared key");
  if (field.node.text.size() > kMostBytes)
    return field.error(fmt::format("psk: expected at most {} characters", kMostBytes));
  if (field.reading.secrets == Secrets::load) out = crypto::SecretBytes(std::string_view(field.node.text));
}

void read_psk_file(const Field& field, crypto::SecretBytes& out) {
  const auto file = read_file_of(field, field.reading.secrets == Secrets::load, kMostBytes);
  if (!file) return;
  crypto::SecretBytes secret = without_newline(*file);
  if (secret.empty()) return say_no_secret(field);
  out = std::move(secret);
}

void read_ppk_file(const Field& field, crypto::SecretBytes& out) {
  read_psk_file(field, out);
  const std::string_view text(reinterpret_cast<const char*>(out.view().data()), out.size());
  if (!text.starts_with("0x")) return;
  auto bytes = from_hex(out.view());
  if (!bytes)
    return field.error(fmt::format("{}: {} begins with 0x, and what follows are not pairs of hex digits",
                                   field.key, in_quotes(path_of(field))));
  out = std::move(*bytes);
}

void read_key_file(const Field& field, const crypto::SuiteRow& suite, crypto::SecretBytes& out) {
  auto file = read_file_of(field, field.reading.secrets != Secrets::skip, kMostBytes);
  if (!file) return;
  if (auto bytes = from_hex(file->view())) file = std::move(bytes);
  const std::size_t length = crypto::key_material_length(suite);
  if (file->size() != length)
    return field.error(fmt::format(
        "key-file: {} holds {} bytes of key, but {} takes {} ({}), as they are or as "
        "{} hex digits",
        in_quotes(path_of(field)), file->size(), suite.name, length, parts_of(suite), 2 * length));
  out = std::move(*file);
}

}  // namespace espgate::conf
