// IP addresses and prefixes as both processes write them: plain data that may lie in a ring's slot.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace espgate {

enum class Family : std::uint8_t { none = 0, v4 = 4, v6 = 6 };

// An IPv4 address uses the first 4 bytes, in network order; the other 12 are zero.
struct IpAddress {
  std::array<std::uint8_t, 16> bytes{};
  Family family{Family::none};

  [[nodiscard]] bool is_v4() const noexcept { return family == Family::v4; }
  [[nodiscard]] bool is_v6() const noexcept { return family == Family::v6; }
  [[nodiscard]] bool is_set() const noexcept { return family != Family::none; }
  auto operator<=>(const IpAddress&) const noexcept = default;
};

// `length` is 0..32 or 0..128. Host bits may be set: an interface address is a prefix with host bits.
struct IpPrefix {
  IpAddress address;
  std::uint8_t length{0};
  auto operator<=>(const IpPrefix&) const noexcept = default;
};

// Which route table (VRF) a thing is of: tables may have the same addresses, and mean others by them.
using TableId = std::uint8_t;
inline constexpr TableId kMainTable = 0;
inline constexpr TableId kMaxTables = 16;

// A slot read from shared memory may hold anything: these say whether it is an address at all.
[[nodiscard]] bool is_valid(const IpAddress& address) noexcept;
[[nodiscard]] bool is_valid(const IpPrefix& prefix) noexcept;

[[nodiscard]] std::optional<IpAddress> parse_address(std::string_view text);
// "10.1.0.0/16"; without "/length" the whole address counts (32 or 128).
[[nodiscard]] std::optional<IpPrefix> parse_prefix(std::string_view text);
[[nodiscard]] std::string to_string(const IpAddress& address);
[[nodiscard]] std::string to_string(const IpPrefix& prefix);

// The address in host byte order; only for IPv4.
[[nodiscard]] std::uint32_t v4_host_order(const IpAddress& address) noexcept;
[[nodiscard]] IpAddress v4_from_host_order(std::uint32_t address) noexcept;

// The same prefix with its host bits cleared.
[[nodiscard]] IpPrefix network_of(const IpPrefix& prefix) noexcept;
[[nodiscard]] bool contains(const IpPrefix& prefix, const IpAddress& address) noexcept;
[[nodiscard]] bool overlap(const IpPrefix& a, const IpPrefix& b) noexcept;
// The prefixes that a range is made of, upwards: at most two for each bit. `last` is of the same family, and
// not below.
[[nodiscard]] std::vector<IpPrefix> prefixes_of(const IpAddress& first, const IpAddress& last);

}  // namespace espgate
