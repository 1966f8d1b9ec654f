// ICMP's word that an outer packet of ours was larger than a link on its way and not to be cut: fragmentation
// needed (RFC 792, RFC 1191), packet too big (RFC 4443 section 3.2, RFC 8201). Anybody can send one, so it is
// read here, and believed only where the packet that it quotes is one of a live SA. And that an IKE datagram
// of ours did not get there, which explains what fails, and changes nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "channel/address.hpp"
#include "channel/messages.hpp"
#include "dataplane/tables/sa.hpp"

namespace espgate::dataplane {

struct TooBig {
  OuterEnds ends;  // of the packet that was too big, from `local` to `remote`; ports 0: ESP without UDP
  std::optional<std::uint32_t> spi;       // as far as was quoted: of ESP, not of IKE
  std::optional<std::uint32_t> sequence;  // the low 32 bits
  std::uint16_t mtu;  // bytes of outer packet that fit: never below kLeastPathMtu, below what was sent
};

// What a path is taken to carry at least, however little ICMP says: every IPv4 host takes 576 bytes (RFC
// 791), every IPv6 link carries 1280 (RFC 8200 section 5).
[[nodiscard]] constexpr std::uint16_t least_path_mtu(Family family) noexcept {
  return family == Family::v4 ? 576 : 1280;
}

// `icmp`: the ICMP (ICMPv6) message from its type on, whose checksum was right, of type 3 code 4 (type 2).
// Any bytes. nullopt: not about ESP or UDP, or not a size that can be: IPv4 below 68, IPv6 below 1280 (RFC
// 8201 section 4), or not below the quoted packet's. A router that says no size (RFC 1191 section 5) means
// the next of those that are common.
[[nodiscard]] std::optional<TooBig> read_too_big(std::span<const std::uint8_t> icmp, Family family) noexcept;

// ICMP's word that an IKE datagram of ours did not arrive: destination unreachable (RFC 792, RFC 4443
// section 3.1).
struct Undelivered {
  OuterEnds ends;
  channel::Unreachable what;
};
// `icmp`: as above, of type 3 (type 1). nullopt: not about UDP from port 500, or 4500 with the marker, or for
// a reason that has no meaning here.
[[nodiscard]] std::optional<Undelivered> read_undelivered(std::span<const std::uint8_t> icmp,
                                                          Family family) noexcept;

}  // namespace espgate::dataplane
