// Distinguished names (X.501) from text to DER. Each attribute's kind of string is that of RFC 5280 appendix
// A.
#include <algorithm>
#include <array>
#include <string>

#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

constexpr std::uint8_t kSequence = 0x30;
constexpr std::uint8_t kSet = 0x31;
constexpr std::uint8_t kObject = 0x06;
constexpr std::uint8_t kUtf8 = 0x0c;
constexpr std::uint8_t kPrintable = 0x13;
constexpr std::uint8_t kIa5 = 0x16;

using ByteVector = std::vector<std::uint8_t>;

struct Attribute {
  std::string_view name;
  std::string_view oid;  // its content in DER
  std::uint8_t kind;
};
constexpr Attribute kAttributes[] = {
    {"CN", "\x55\x04\x03", kUtf8},
    {"SN", "\x55\x04\x04", kUtf8},
    {"serialNumber", "\x55\x04\x05", kPrintable},
    {"C", "\x55\x04\x06", kPrintable},
    {"L", "\x55\x04\x07", kUtf8},
    {"ST", "\x55\x04\x08", kUtf8},
    {"S", "\x55\x04\x08", kUtf8},
    {"STREET", "\x55\x04\x09", kUtf8},
    {"O", "\x55\x04\x0a", kUtf8},
    {"OU", "\x55\x04\x0b", kUtf8},
    {"T", "\x55\x04\x0c", kUtf8},
    {"GN", "\x55\x04\x2a", kUtf8},
    {"UID", "\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01", kUtf8},
    {"DC", "\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19", kIa5},
    {"emailAddress", "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01", kIa5},
    {"E", "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01", kIa5},
};

bool same_word(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

const Attribute* find_attribute(std::string_view name) {
  const auto* found =
      std::ranges::find_if(kAttributes, [&](const Attribute& a) { return same_word(a.name, name); });
  return found == std::end(kAttributes) ? nullptr : found;
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(' ');
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(' ') + 1 - begin);
}

// Up to the next comma without a backslash before it, which is taken from `rest` too.
std::string_view take_part(std::string_view& rest) {
  std::size_t end = 0;
  while (end < rest.size() && rest[end] != ',') end += rest[end] == '\\' ? 2 : 1;
  const std::string_view part = rest.substr(0, end);
  rest = end < rest.size() ? rest.substr(end + 1) : std::string_view{};
  return part;
}

std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    out += text[i];
  }
  return out;
}

bool is_kind(std::string_view value, std::uint8_t kind) {
  static constexpr std::string_view kOthers = " '()+,-./:=?";
  return std::ranges::all_of(value, [kind](char c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (kind == kPrintable) return letter || kOthers.find(c) != kOthers.npos;
    return kind == kUtf8 || static_cast<unsigned char>(c) < 0x80;
  });
}

void append_wrapped(ByteVector& out, std::uint8_t tag, const ByteVector& content) {
  out.push_back(tag);
  if (content.size() >= 0x100) {
    out.insert(out.end(), {0x82, static_cast<std::uint8_t>(content.size() >> 8)});
  } else if (content.size() >= 0x80) {
    out.push_back(0x81);
  }
  out.push_back(static_cast<std::uint8_t>(content.size()));
  out.insert(out.end(), content.begin(), content.end());
}

ByteVector bytes_of(std::string_view text) { return {text.begin(), text.end()}; }

// One RelativeDistinguishedName: "CN=east". False: it is none.
bool append_part(ByteVector& out, std::string_view part) {
  const std::size_t equals = part.find('=');
  if (equals == part.npos) return false;
  const Attribute* attribute = find_attribute(trimmed(part.substr(0, equals)));
  const std::string value = unescaped(trimmed(part.substr(equals + 1)));
  if (attribute == nullptr || value.empty() || !is_kind(value, attribute->kind)) return false;
  ByteVector pair, in_set, relative;
  append_wrapped(pair, kObject, bytes_of(attribute->oid));
  append_wrapped(pair, attribute->kind, bytes_of(value));
  append_wrapped(in_set, kSequence, pair);
  append_wrapped(relative, kSet, in_set);
  out.insert(out.end(), relative.begin(), relative.end());
  return true;
}

}  // namespace

bool looks_like_directory_name(std::string_view text) {
  const std::size_t equals = text.find('=');
  return equals != text.npos && find_attribute(trimmed(text.substr(0, equals))) != nullptr;
}

std::optional<ByteVector> encode_directory_name(std::string_view text) {
  ByteVector parts;
  for (std::string_view rest = text; !rest.empty();)
    if (!append_part(parts, take_part(rest))) return std::nullopt;
  if (parts.empty()) return std::nullopt;
  ByteVector out;
  append_wrapped(out, kSequence, parts);
  return out;
}

}  // namespace espgate::conf
