// The Ethernet header of what leaves by a port, with a tag where the port is a VLAN's (IEEE 802.1Q).
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "dataplane/path/wire.hpp"

namespace espgate::dataplane {

struct EthernetHeader {
  std::array<std::uint8_t, kEthernet + kVlanTag> bytes;
  std::uint8_t length;  // kEthernet, or with the tag
};

// `to` and `from`: 6 bytes each. `vlan`: 0 for no tag; in a tag, priority is 0, best effort.
[[nodiscard]] inline EthernetHeader ethernet_header(const std::uint8_t* to, const std::uint8_t* from,
                                                    std::uint16_t vlan, std::uint16_t type) noexcept {
  EthernetHeader header;
  std::memcpy(header.bytes.data(), to, 6);
  std::memcpy(header.bytes.data() + 6, from, 6);
  header.length = vlan == 0 ? kEthernet : kEthernet + kVlanTag;
  store16(header.bytes.data() + header.length - 2, type);
  if (vlan == 0) return header;
  store16(header.bytes.data() + 12, RTE_ETHER_TYPE_VLAN);
  store16(header.bytes.data() + 14, vlan);
  return header;
}

// Writes it in front of `payload`; returns where the frame begins.
inline std::uint8_t* put_before(std::uint8_t* payload, const EthernetHeader& header) noexcept {
  std::uint8_t* const frame = payload - header.length;
  std::memcpy(frame, header.bytes.data(), kEthernet);
  if (header.length != kEthernet) [[unlikely]]
    std::memcpy(frame + kEthernet, header.bytes.data() + kEthernet, kVlanTag);
  return frame;
}

}  // namespace espgate::dataplane
