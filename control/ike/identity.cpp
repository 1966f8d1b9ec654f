#include "control/ike/identity.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "conf/comparable.hpp"
#include "crypto/certificate.hpp"

namespace espgate::ike {
namespace {

constexpr std::size_t kLongestShown = 128;

std::string hex(const ByteVector& data) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out = "0x";
  for (std::size_t i = 0; i < std::min(data.size(), kLongestShown); ++i) {
    out += kDigits[data[i] >> 4];
    out += kDigits[data[i] & 15];
  }
  return out;
}

bool printable(const ByteVector& data) {
  return !data.empty() && data.size() <= kLongestShown &&
         std::all_of(data.begin(), data.end(),
                     [](std::uint8_t c) { return c > 0x20 && c < 0x7f && c != '"'; });
}

std::optional<std::string> address(const ByteVector& data, Family family) {
  IpAddress out;
  out.family = family;
  if (data.size() != (family == Family::v4 ? 4U : 16U)) return std::nullopt;
  std::copy(data.begin(), data.end(), out.bytes.begin());
  return to_string(out);
}

// One label or mailbox in place of the star, and not an empty one.
bool fits_text(const IdPayload& id, const conf::Identity& pattern) {
  const ByteVector data = comparable(id);
  const std::string_view text(reinterpret_cast<const char*>(data.data()), data.size());
  const ByteVector its = conf::comparable(pattern);
  const std::string_view rest =
      std::string_view(reinterpret_cast<const char*>(its.data()), its.size()).substr(1);
  if (text.size() <= rest.size() || !text.ends_with(rest)) return false;
  return text.substr(0, text.size() - rest.size()).find_first_of(".@") == text.npos || rest.front() == '@';
}

bool fits_pattern(const IdPayload& id, const conf::Identity& pattern) {
  if (pattern.data.empty()) return !id.data.empty();
  if (id.type != static_cast<std::uint8_t>(pattern.type)) return false;
  if (pattern.type == conf::IdentityType::directory_name)
    return crypto::fits_directory_pattern(id.data, pattern.data);
  return fits_text(id, pattern);
}

}  // namespace

IdPayload id_payload(const conf::Identity& identity, bool initiator) {
  return {initiator, static_cast<std::uint8_t>(identity.type), identity.data};
}

ByteVector comparable(const IdPayload& id) {
  return conf::comparable(static_cast<conf::IdentityType>(id.type), id.data);
}

bool is_identity(const IdPayload& id, const conf::Identity& identity) {
  if (identity.pattern) return fits_pattern(id, identity);
  if (id.type != static_cast<std::uint8_t>(identity.type)) return false;
  if (identity.type == conf::IdentityType::directory_name)
    return crypto::same_directory_name(id.data, identity.data);
  return comparable(id) == conf::comparable(identity);
}

std::string text_of(const IdPayload& id) {
  std::optional<std::string> text;
  if (id.type == static_cast<std::uint8_t>(conf::IdentityType::ipv4)) text = address(id.data, Family::v4);
  if (id.type == static_cast<std::uint8_t>(conf::IdentityType::ipv6)) text = address(id.data, Family::v6);
  const bool name = id.type == static_cast<std::uint8_t>(conf::IdentityType::fqdn) ||
                    id.type == static_cast<std::uint8_t>(conf::IdentityType::email);
  if (id.type == static_cast<std::uint8_t>(conf::IdentityType::directory_name)) {
    const std::string name_text = crypto::directory_words(id.data);
    if (!name_text.empty() && name_text.size() <= 2 * kLongestShown) text = name_text;
  }
  if (name && printable(id.data)) text = std::string(id.data.begin(), id.data.end());
  return text ? *text : hex(id.data);
}

std::string words(const IdPayload& id) { return fmt::format("\"{}\"", text_of(id)); }

std::string words(const conf::Identity& identity) {
  return identity.pattern ? fmt::format("\"{}\"", identity.text) : words(id_payload(identity, true));
}

}  // namespace espgate::ike
