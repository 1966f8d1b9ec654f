#include "conf/values.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "channel/messages.hpp"
#include "conf/choices.hpp"

namespace espgate::conf {
namespace {

constexpr std::uint64_t kMost = UINT64_MAX;

std::optional<std::uint64_t> to_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// nullopt when the product or the sum does not fit.
std::optional<std::uint64_t> add_product(std::uint64_t sum, std::uint64_t a, std::uint64_t b) {
  if (b != 0 && a > (kMost - sum) / b) return std::nullopt;
  return sum + a * b;
}

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};
constexpr std::array<Unit, 5> kTimeUnits{
    {{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1000}, {"ms", 1}}};
constexpr std::array<Unit, 9> kSizeUnits{{{"", 1},
                                          {"k", 1'000},
                                          {"M", 1'000'000},
                                          {"G", 1'000'000'000},
                                          {"T", 1'000'000'000'000},
                                          {"Ki", 1ULL << 10},
                                          {"Mi", 1ULL << 20},
                                          {"Gi", 1ULL << 30},
                                          {"Ti", 1ULL << 40}}};

// "1h30m", "250ms": numbers with units, each unit once and the larger first. "90": seconds.
std::optional<std::uint64_t> to_milliseconds(std::string_view text) {
  if (const auto plain = to_number(text)) return add_product(0, *plain, 1000);
  std::uint64_t sum = 0;
  const Unit* next = kTimeUnits.begin();
  while (!text.empty()) {
    const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    const auto number = to_number(text.substr(0, digits));
    const std::size_t end = std::min(text.find_first_of("0123456789", digits), text.size());
    const std::string_view unit_name = text.substr(digits, end - digits);
    const Unit* unit =
        std::find_if(next, kTimeUnits.end(), [&](const Unit& u) { return u.name == unit_name; });
    if (!number || unit == kTimeUnits.end()) return std::nullopt;
    const auto added = add_product(sum, *number, unit->factor);
    if (!added) return std::nullopt;
    sum = *added;
    next = unit + 1;
    text.remove_prefix(end);
  }
  return sum;
}

std::optional<std::uint64_t> to_bytes(std::string_view text) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto number = to_number(text.substr(0, digits));
  const auto* unit = std::find_if(kSizeUnits.begin(), kSizeUnits.end(),
                                  [&](const Unit& u) { return u.name == text.substr(digits); });
  if (!number || unit == kSizeUnits.end()) return std::nullopt;
  return add_product(0, *number, unit->factor);
}

using std::chrono::milliseconds;

// nullopt: it is no time, or not within the bounds.
std::optional<milliseconds> time_in(const Field& field, milliseconds least, milliseconds most) {
  const auto time = field.is_scalar() ? to_milliseconds(field.node.text) : std::nullopt;
  const auto count = [](milliseconds value) { return static_cast<std::uint64_t>(value.count()); };
  if (!time || *time < count(least) || *time > count(most)) return std::nullopt;
  return milliseconds(*time);
}

void expected_time(const Field& field, milliseconds least, milliseconds most, std::string_view example) {
  field.expected(
      fmt::format("a time from {} to {}, such as {}", duration_words(least), duration_words(most), example));
}

bool is_name_character(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
         c == '.';
}

bool is_control(char c) noexcept { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

// The first or last address of an IPv4 network belongs to no host (RFC 1122 section 3.2.1.3), but for RFC
// 3021's /31.
bool names_no_host(const IpPrefix& prefix) {
  if (!prefix.address.is_v4() || prefix.length >= 31) return false;
  const std::uint32_t host_mask = UINT32_MAX >> prefix.length;
  const std::uint32_t host = v4_host_order(prefix.address) & host_mask;
  return host == 0 || host == host_mask;
}

// Can an interface have it? Not: unspecified, loopback, multicast, broadcast.
bool is_unicast(const IpAddress& address) {
  static const std::array<IpPrefix, 6> kOthers{*parse_prefix("0.0.0.0/8"),   *parse_prefix("127.0.0.0/8"),
                                               *parse_prefix("224.0.0.0/3"), *parse_prefix("::/128"),
                                               *parse_prefix("::1/128"),     *parse_prefix("ff00::/8")};
  return std::none_of(kOthers.begin(), kOthers.end(),
                      [&](const IpPrefix& other) { return contains(other, address); });
}

}  // namespace

std::string duration_words(std::chrono::milliseconds time) {
  const auto count = static_cast<std::uint64_t>(time.count());
  for (const Unit& unit : kTimeUnits)
    if (count != 0 && count % unit.factor == 0) return fmt::format("{}{}", count / unit.factor, unit.name);
  return "0s";
}

void Field::expected(std::string_view what) const {
  const auto found = [this]() -> std::string {
    switch (node.kind) {
      case NodeKind::null:
        return "nothing";
      case NodeKind::list:
        return node.children.empty() ? "an empty list" : fmt::format("a list of {}", node.children.size());
      case NodeKind::map:
        return "a block of keys";
      case NodeKind::scalar:
        break;
    }
    return in_quotes(node.text);
  };
  error(fmt::format("{}: expected {}, not {}", key, what, found()));
}

void read_text(const Field& field, std::string& out) {
  const std::string& text = field.node.text;
  if (!field.is_scalar() || text.empty() || std::any_of(text.begin(), text.end(), is_control))
    return field.expected("text");
  out = text;
}

void read_name(const Field& field, std::string& out) {
  out = field.node.text;  // so that what refers to it does not raise a second error
  constexpr std::size_t kMostCharacters = channel::kNameLength - 1;
  const bool good = field.is_scalar() && !out.empty() && out.size() <= kMostCharacters &&
                    std::all_of(out.begin(), out.end(), is_name_character);
  if (!good)
    field.expected(fmt::format("a name of 1 to {} letters, digits, '-', '_' or '.'", kMostCharacters));
}

void read_bool(const Field& field, bool& out) { read_choice(field, out, kBool); }

void read_address(const Field& field, IpAddress& out) {
  const auto address = field.is_scalar() ? parse_address(field.node.text) : std::nullopt;
  if (!address || !is_unicast(*address)) return field.expected("the address of a host, such as 192.0.2.1");
  out = *address;
}

void read_network(const Field& field, IpPrefix& out) {
  const auto prefix = field.is_scalar() ? parse_prefix(field.node.text) : std::nullopt;
  if (!prefix) return field.expected("a network such as 10.2.0.0/16 or fd00:2::/64");
  if (network_of(*prefix) != *prefix)
    return field.expected(fmt::format("a network ({}, without host bits)", to_string(network_of(*prefix))));
  out = *prefix;
}

void read_interface_address(const Field& field, IpPrefix& out) {
  const auto prefix = field.is_scalar() && field.node.text.find('/') != std::string::npos
                          ? parse_prefix(field.node.text)
                          : std::nullopt;
  if (!prefix || prefix->length == 0)
    return field.expected("an address with its network's length, such as 10.1.0.1/24");
  if (!is_unicast(prefix->address) || names_no_host(*prefix))
    return field.expected("an address that a host may have in its network");
  out = *prefix;
}

void read_duration(const Field& field, std::chrono::seconds& out, std::chrono::seconds least,
                   std::chrono::seconds most) {
  const auto time = time_in(field, least, most);
  if (!time || *time % std::chrono::seconds(1) != time->zero())
    return expected_time(field, least, most, "90s or 1h30m");
  out = std::chrono::duration_cast<std::chrono::seconds>(*time);
}

void read_duration(const Field& field, std::chrono::milliseconds& out, std::chrono::milliseconds least,
                   std::chrono::milliseconds most) {
  const auto time = time_in(field, least, most);
  if (!time) return expected_time(field, least, most, "250ms or 2s");
  out = *time;
}

void read_size(const Field& field, std::uint64_t& out, std::uint64_t least, std::uint64_t most,
               std::string_view unit) {
  const auto bytes = field.is_scalar() ? to_bytes(field.node.text) : std::nullopt;
  if (!bytes || *bytes < least || *bytes > most)
    return field.expected(fmt::format("a number of {} of at least {}, such as 500M or 10G", unit, least));
  out = *bytes;
}

std::optional<std::uint64_t> number_in(const Field& field) {
  return field.is_scalar() ? to_number(field.node.text) : std::nullopt;
}

bool read_number(const Field& field, std::uint64_t& out, std::uint64_t least, std::uint64_t most) {
  const auto number = number_in(field);
  if (!number || *number < least || *number > most) {
    field.expected(fmt::format("a number from {} to {}", least, most));
    return false;
  }
  out = *number;
  return true;
}

}  // namespace espgate::conf
