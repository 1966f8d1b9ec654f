// Identities (RFC 7296 section 3.5): the type is told by the form, or given.
#include <algorithm>
#include <charconv>

#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

constexpr std::size_t kMostCharacters = 255;

struct Given {
  std::string type;
  std::string value;
};
constexpr Key<Given> kGivenKeys[] = {
    {"type", Need::required, [](const Field& f, Given& g) { read_text(f, g.type); }},
    {"value", Need::required, [](const Field& f, Given& g) { read_text(f, g.value); }},
};

bool is_made_of(std::string_view text, std::string_view characters) {
  return text.find_first_not_of(characters) == text.npos;
}

// Visible ASCII, as a domain name or a mailbox has.
bool is_visible(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

std::vector<std::uint8_t> bytes_of(std::string_view text) { return {text.begin(), text.end()}; }

void set_address(const Field& field, std::string_view text, Identity& out) {
  const auto address = parse_address(text);
  if (!address) return field.expected("an identity; this looks like an address, but is none");
  out = identity_of(*address);
}

void set_email(const Field& field, const std::string& text, Identity& out) {
  const std::size_t at = text.find('@');
  if (at == 0) return field.expected("an identity; a domain name is written without the leading @");
  if (at == text.npos || at + 1 == text.size() || !is_visible(text))
    return field.expected("an email address such as ops@example");
  out = {IdentityType::email, text, bytes_of(text)};
}

void set_fqdn(const Field& field, const std::string& text, Identity& out) {
  if (!is_visible(text)) return field.expected("a domain name such as east.example");
  out = {IdentityType::fqdn, text, bytes_of(text)};
}

// "0x6f7073" is bytes in hex; anything else stands for its own characters.
void set_key_id(const Field& field, const std::string& text, Identity& out) {
  out = {IdentityType::key_id, text, bytes_of(text)};
  if (!text.starts_with("0x")) return;
  const std::string_view digits = std::string_view(text).substr(2);
  if (digits.empty() || digits.size() % 2 != 0 || !is_made_of(digits, "0123456789abcdefABCDEF"))
    return field.expected("an even number of hex digits behind 0x");
  out.data.clear();
  for (std::size_t i = 0; i < digits.size(); i += 2) {
    std::uint8_t byte = 0;
    std::from_chars(digits.data() + i, digits.data() + i + 2, byte, 16);
    out.data.push_back(byte);
  }
}

void set_directory_name(const Field& field, const std::string& text, Identity& out) {
  auto der = encode_directory_name(text);
  if (!der)
    return field.expected(
        "a name such as C=DE, O=Example, CN=east, of C, ST, L, STREET, O, OU, CN, DC, UID, SN, GN, T, "
        "serialNumber and emailAddress, with \\ before a comma that is part of a value");
  out = {IdentityType::directory_name, text, std::move(*der)};
}

void set_by_form(const Field& field, const std::string& text, Identity& out) {
  if (looks_like_directory_name(text)) return set_directory_name(field, text, out);
  if (text.find('@') != text.npos) return set_email(field, text, out);
  if (text.find(':') != text.npos || is_made_of(text, "0123456789.")) return set_address(field, text, out);
  set_fqdn(field, text, out);
}

void set_by_type(const Field& field, const Given& given, Identity& out) {
  const Field value{field.reading, field.node.at("value"), "value"};
  if (given.type == "address") return set_address(value, given.value, out);
  if (given.type == "fqdn") return set_fqdn(value, given.value, out);
  if (given.type == "email") return set_email(value, given.value, out);
  if (given.type == "keyid") return set_key_id(value, given.value, out);
  if (given.type == "dn") return set_directory_name(value, given.value, out);
  Field{field.reading, field.node.at("type"), "type"}.expected("address or fqdn or email or dn or keyid");
}

void read_exact_identity(const Field& field, Identity& out) {
  if (field.node.kind == NodeKind::map) {
    Given given;
    read_block(field, kGivenKeys, given);
    if (!given.type.empty() && !given.value.empty() && given.value.size() <= kMostCharacters)
      set_by_type(field, given, out);
    if (given.value.size() > kMostCharacters) field.expected("at most 255 characters");
    return;
  }
  std::string text;
  read_text(field, text);
  if (text.size() > kMostCharacters) return field.expected("at most 255 characters");
  if (!text.empty()) set_by_form(field, text, out);
}

// `*` is the first label of a domain name, a mailbox, or all of an attribute.
bool is_sound_pattern(const Identity& id) {
  const std::string& text = id.text;
  if (id.type == IdentityType::fqdn) return text.starts_with("*.") && text.rfind('*') == 0;
  if (id.type == IdentityType::email) return text.starts_with("*@") && text.rfind('*') == 0;
  for (std::size_t at = text.find('*'); at != text.npos; at = text.find('*', at + 1)) {
    const std::size_t before = at == 0 ? text.npos : text.find_last_not_of(' ', at - 1);
    const std::size_t after = text.find_first_not_of(' ', at + 1);
    if (before == text.npos || text[before] != '=' || (after != text.npos && text[after] != ','))
      return false;
  }
  return id.type == IdentityType::directory_name;
}

void note_pattern(const Field& field, Identity& out) {
  if (out.type == IdentityType::key_id || out.text.find('*') == out.text.npos) return;
  out.pattern = true;
  if (out.text == "*")
    out.data.clear();
  else if (!is_sound_pattern(out))
    field.expected(
        "an identity in which * stands for the first label of a domain name (*.branches.example), a mailbox "
        "(*@branches.example) or all of an attribute (O=Example, CN=*), or is all of it");
}

}  // namespace

void read_identity(const Field& field, Identity& out, Patterns patterns) {
  read_exact_identity(field, out);
  if (patterns == Patterns::allowed) note_pattern(field, out);
}

void append_identity_keys(std::vector<KnownKey>& to) {
  append_keys(to, "tunnels.local.id", kGivenKeys);
  append_keys(to, "tunnels.remote.id", kGivenKeys);
}

Identity identity_of(const IpAddress& address) {
  const std::size_t length = address.is_v4() ? 4 : 16;
  return {address.is_v4() ? IdentityType::ipv4 : IdentityType::ipv6,
          to_string(address),
          {address.bytes.begin(), address.bytes.begin() + length}};
}

}  // namespace espgate::conf
