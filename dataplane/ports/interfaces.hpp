// The ports as IP interfaces: which addresses are ours on each, and which neighbours are on its link.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "channel/address.hpp"

namespace espgate::dataplane {

using Mac = std::array<std::uint8_t, 6>;

struct Interface {
  std::string name;
  Mac mac{};
  std::vector<IpPrefix> addresses;  // with host bits
  IpAddress link_local;             // made from the MAC
  std::uint16_t vlan{0};            // the tag of its frames (IEEE 802.1Q); 0: none
  TableId table{kMainTable};        // of its routes
};
using Interfaces = std::vector<Interface>;  // by port index

// RFC 4291 appendix A: the modified EUI-64 of a MAC behind fe80::/64.
[[nodiscard]] inline IpAddress link_local_of(const Mac& mac) noexcept {
  IpAddress address;
  address.family = Family::v6;
  address.bytes = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, mac[0], mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};
  address.bytes[8] ^= 0x02;
  return address;
}

[[nodiscard]] inline bool is_link_local(const IpAddress& address) noexcept {
  return address.is_v6() && address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0) == 0x80;
}
[[nodiscard]] inline bool is_multicast(const IpAddress& address) noexcept {
  return address.is_v4() ? (address.bytes[0] & 0xf0) == 0xe0 : address.bytes[0] == 0xff;
}
// One station's address: not unspecified, loopback, multicast, broadcast or reserved (RFC 1122
// section 3.2.1.3).
[[nodiscard]] inline bool is_unicast(const IpAddress& address) noexcept {
  if (address.is_v4()) return address.bytes[0] != 0 && address.bytes[0] != 127 && address.bytes[0] < 224;
  static constexpr std::array<std::uint8_t, 15> kZero{};
  const bool tiny = std::equal(kZero.begin(), kZero.end(), address.bytes.begin());  // :: and ::1
  return address.is_v6() && address.bytes[0] != 0xff && !(tiny && address.bytes[15] <= 1);
}

[[nodiscard]] inline bool owns(const Interface& interface, const IpAddress& address) noexcept {
  return address == interface.link_local ||
         std::any_of(interface.addresses.begin(), interface.addresses.end(),
                     [&](const IpPrefix& own) { return own.address == address; });
}

// The all-ones and all-zeros hosts of an IPv4 network; /31 and /32 have none (RFC 3021).
[[nodiscard]] inline bool is_broadcast_of(const IpPrefix& own, const IpAddress& address) noexcept {
  if (!own.address.is_v4() || own.length > 30 || !contains(own, address)) return false;
  const std::uint32_t host = v4_host_order(address) & (0xffffffffU >> own.length);
  return host == 0 || host == 0xffffffffU >> own.length;
}

// A station that can be a neighbour on this interface's link.
[[nodiscard]] inline bool on_link(const Interface& interface, const IpAddress& address) noexcept {
  if (!is_unicast(address) || owns(interface, address)) return false;
  if (is_link_local(address)) return interface.link_local.is_set();
  return std::any_of(interface.addresses.begin(), interface.addresses.end(), [&](const IpPrefix& own) {
    return contains(own, address) && !is_broadcast_of(own, address);
  });
}

}  // namespace espgate::dataplane
