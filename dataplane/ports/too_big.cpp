#include "dataplane/ports/too_big.hpp"

#include <algorithm>
#include <array>

#include "dataplane/path/headers.hpp"
#include "dataplane/ports/checksum.hpp"

namespace espgate::dataplane {

namespace {

constexpr std::size_t kIcmp = 8;
constexpr std::uint32_t kLeastIpv4 = 68;  // RFC 791: every link carries so much
// RFC 1191 section 7.1, down to what is our least.
constexpr std::array<std::uint16_t, 7> kPlateaus{32000, 17914, 8166, 4352, 2002, 1492, 1006};

struct Quoted {
  std::span<const std::uint8_t> bytes;  // from the IP header on, as much as there is
  UpperLayer upper;
  std::uint16_t length;  // the packet's, when it was sent
};

std::optional<Quoted> quoted4(std::span<const std::uint8_t> bytes) noexcept {
  if (bytes.size() < kIpv4) return std::nullopt;
  const rte_ipv4_hdr& header = ipv4(bytes.data());
  if (header.version_ihl >> 4 != 4 || ipv4_header_length(header) < kIpv4) return std::nullopt;
  return Quoted{bytes, upper_layer4(bytes.data()), __builtin_bswap16(header.total_length)};
}

std::optional<Quoted> quoted6(std::span<const std::uint8_t> bytes) noexcept {
  if (bytes.size() < kIpv6 || bytes[0] >> 4 != 6) return std::nullopt;
  const std::uint32_t length = kIpv6 + std::uint32_t{__builtin_bswap16(ipv6(bytes.data()).payload_len)};
  if (length > 0xffff) return std::nullopt;
  const auto present = static_cast<std::uint16_t>(std::min<std::size_t>(bytes.size(), length));
  return Quoted{bytes.first(present), upper_layer6(bytes.data(), present),
                static_cast<std::uint16_t>(length)};
}

std::uint16_t plateau_below(std::uint16_t length) noexcept {
  const auto found = std::find_if(kPlateaus.begin(), kPlateaus.end(),
                                  [length](std::uint16_t size) { return size < length; });
  return found == kPlateaus.end() ? least_path_mtu(Family::v4) : *found;
}

// 0: none that can be.
std::uint16_t size_said(std::span<const std::uint8_t> icmp, Family family, std::uint16_t sent) noexcept {
  if (family == Family::v6) {
    const std::uint32_t said = load32(icmp.data() + 4);
    return said < kIpv6MinimumMtu || said >= sent ? std::uint16_t{0} : static_cast<std::uint16_t>(said);
  }
  const std::uint16_t said = load16(icmp.data() + 6);
  if (sent <= least_path_mtu(family)) return 0;
  if (said == 0) return plateau_below(sent);
  if (said < kLeastIpv4 || said >= sent) return 0;
  return std::max(said, least_path_mtu(family));
}

// SPI and sequence number, as far as they were quoted.
void read_esp(std::span<const std::uint8_t> esp, TooBig& out) noexcept {
  if (esp.size() >= 4) out.spi = load32(esp.data());
  if (esp.size() >= 8) out.sequence = load32(esp.data() + 4);
}

// On port 4500 an SPI of 0 marks IKE (RFC 3948 section 2.2), which shares the path.
bool read_upper(std::span<const std::uint8_t> upper, std::uint8_t protocol, TooBig& out) noexcept {
  if (protocol == kProtocolEsp) {
    read_esp(upper, out);
    return out.spi.has_value();
  }
  if (protocol != kProtocolUdp || upper.size() < kUdp) return false;
  out.ends.local_port = load16(upper.data());
  out.ends.remote_port = load16(upper.data() + 2);
  if (out.ends.local_port == 0 || out.ends.remote_port == 0) return false;
  read_esp(upper.subspan(kUdp), out);
  if (out.spi == 0U) out.spi = out.sequence = std::nullopt;
  return true;
}

// The quoted packet but for its size; `length`: what it was when it was sent.
std::optional<TooBig> read_quoted(std::span<const std::uint8_t> icmp, Family family,
                                  std::uint16_t& length) noexcept {
  if (icmp.size() < kIcmp) return std::nullopt;
  const std::span<const std::uint8_t> rest = icmp.subspan(kIcmp);
  const std::optional<Quoted> quoted = family == Family::v4 ? quoted4(rest) : quoted6(rest);
  if (!quoted || quoted->upper.later || quoted->upper.offset > quoted->bytes.size()) return std::nullopt;
  TooBig out{};
  out.ends.local = source_of(rest.data());
  out.ends.remote = destination_of(rest.data());
  length = quoted->length;
  const bool ours = read_upper(quoted->bytes.subspan(quoted->upper.offset), quoted->upper.protocol, out);
  return ours ? std::optional(out) : std::nullopt;
}

// RFC 1122 section 3.2.2.1 and RFC 1812 section 5.2.7.1; RFC 4443 section 3.1.
std::optional<channel::Unreachable> meaning_of(std::uint8_t code, Family family) noexcept {
  using channel::Unreachable;
  if (family == Family::v6) {
    constexpr std::optional<Unreachable> kOf[] = {Unreachable::network, Unreachable::prohibited, std::nullopt,
                                                  Unreachable::host, Unreachable::port};
    return code < std::size(kOf) ? kOf[code] : std::nullopt;
  }
  switch (code) {
    case 0:
      return Unreachable::network;
    case 1:
      return Unreachable::host;
    case 3:
      return Unreachable::port;
    case 9:
    case 10:
    case 13:
      return Unreachable::prohibited;
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<TooBig> read_too_big(std::span<const std::uint8_t> icmp, Family family) noexcept {
  std::uint16_t length = 0;
  std::optional<TooBig> out = read_quoted(icmp, family, length);
  if (!out) return std::nullopt;
  out->mtu = size_said(icmp, family, length);
  return out->mtu != 0 ? out : std::nullopt;
}

std::optional<Undelivered> read_undelivered(std::span<const std::uint8_t> icmp, Family family) noexcept {
  std::uint16_t length = 0;
  const std::optional<TooBig> quoted = read_quoted(icmp, family, length);
  if (!quoted) return std::nullopt;
  const std::optional<channel::Unreachable> what = meaning_of(icmp[1], family);
  const std::uint16_t port = quoted->ends.local_port;
  // On port 500 there is no marker, and what looks like an SPI is IKE's. Routers may quote no more than the
  // ports.
  const bool ike = port == kIkePort || (port == kNatTraversalPort && !quoted->spi);
  return ike && what ? std::optional(Undelivered{quoted->ends, *what}) : std::nullopt;
}

}  // namespace espgate::dataplane
