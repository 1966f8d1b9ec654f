#include "channel/address.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

namespace espgate {
namespace {

constexpr std::uint8_t bits_of(Family family) noexcept { return family == Family::v4 ? 32 : 128; }

// The byte of a netmask of `length` bits that covers byte `index` of an address.
constexpr std::uint8_t mask_byte(unsigned length, std::size_t index) noexcept {
  const unsigned before = static_cast<unsigned>(index) * 8;
  if (length >= before + 8) return 0xff;
  if (length <= before) return 0;
  return static_cast<std::uint8_t>(0xff00U >> (length - before));
}

std::optional<std::uint8_t> parse_length(std::string_view text, Family family) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool leading_zero = text.size() > 1 && text.front() == '0';
  if (error != std::errc{} || end != text.data() + text.size() || leading_zero) return std::nullopt;
  if (value > bits_of(family)) return std::nullopt;
  return static_cast<std::uint8_t>(value);
}

}  // namespace

bool is_valid(const IpAddress& address) noexcept {
  if (address.is_v6()) return true;
  return address.is_v4() && std::all_of(address.bytes.begin() + 4, address.bytes.end(),
                                        [](std::uint8_t byte) { return byte == 0; });
}

bool is_valid(const IpPrefix& prefix) noexcept {
  return is_valid(prefix.address) && prefix.length <= bits_of(prefix.address.family);
}

std::optional<IpAddress> parse_address(std::string_view text) {
  // inet_pton reads up to the first zero byte: what stands behind one must not go unnoticed.
  if (text.size() >= INET6_ADDRSTRLEN || text.find('\0') != text.npos) return std::nullopt;
  const std::string zero_ended(text);
  IpAddress address;
  address.family = text.find(':') == text.npos ? Family::v4 : Family::v6;
  const int af = address.is_v4() ? AF_INET : AF_INET6;
  if (inet_pton(af, zero_ended.c_str(), address.bytes.data()) != 1) return std::nullopt;
  return address;
}

std::optional<IpPrefix> parse_prefix(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::optional<IpAddress> address = parse_address(text.substr(0, slash));
  if (!address) return std::nullopt;
  if (slash == text.npos) return IpPrefix{*address, bits_of(address->family)};
  const std::optional<std::uint8_t> length = parse_length(text.substr(slash + 1), address->family);
  if (!length) return std::nullopt;
  return IpPrefix{*address, *length};
}

std::string to_string(const IpAddress& address) {
  if (!address.is_set()) return "unset";
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int af = address.is_v4() ? AF_INET : AF_INET6;
  return inet_ntop(af, address.bytes.data(), text.data(), text.size());
}

std::string to_string(const IpPrefix& prefix) {
  return to_string(prefix.address) + "/" + std::to_string(prefix.length);
}

std::uint32_t v4_host_order(const IpAddress& address) noexcept {
  const auto& bytes = address.bytes;
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 |
         bytes[3];
}

IpAddress v4_from_host_order(std::uint32_t address) noexcept {
  IpAddress result;
  result.family = Family::v4;
  for (unsigned i = 0; i < 4; ++i) result.bytes[i] = static_cast<std::uint8_t>(address >> (24 - 8 * i));
  return result;
}

IpPrefix network_of(const IpPrefix& prefix) noexcept {
  IpPrefix network = prefix;
  for (std::size_t i = 0; i < network.address.bytes.size(); ++i)
    network.address.bytes[i] &= mask_byte(prefix.length, i);
  return network;
}

bool contains(const IpPrefix& prefix, const IpAddress& address) noexcept {
  return prefix.address.family == address.family &&
         network_of(prefix).address == network_of({address, prefix.length}).address;
}

bool overlap(const IpPrefix& a, const IpPrefix& b) noexcept {
  return a.length <= b.length ? contains(a, b.address) : contains(b, a.address);
}

namespace {

IpAddress last_of(const IpPrefix& prefix) noexcept {
  IpAddress last = prefix.address;
  for (std::size_t i = 0; i < bits_of(last.family) / 8U; ++i)
    last.bytes[i] = static_cast<std::uint8_t>(last.bytes[i] | (0xff & ~mask_byte(prefix.length, i)));
  return last;
}

}  // namespace

std::vector<IpPrefix> prefixes_of(const IpAddress& first, const IpAddress& last) {
  std::vector<IpPrefix> prefixes;
  for (IpAddress at = first; at <= last;) {
    IpPrefix whole{at, bits_of(at.family)};
    for (IpPrefix wider = whole; wider.length > 0;) {
      --wider.length;
      if (network_of(wider).address != at || last_of(wider) > last) break;
      whole = wider;
    }
    prefixes.push_back(whole);
    at = last_of(whole);
    if (at == last) break;
    for (std::size_t i = bits_of(at.family) / 8U; i > 0 && ++at.bytes[i - 1] == 0;) --i;
  }
  return prefixes;
}

}  // namespace espgate
