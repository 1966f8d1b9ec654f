#include "dataplane/path/cleartext.hpp"

#include <algorithm>
#include <array>

#include "dataplane/path/ways.hpp"
#include "dataplane/ports/checksum.hpp"

namespace espgate::dataplane {

namespace {

constexpr std::uint16_t kBgp = 179;
constexpr std::array<std::uint16_t, 4> kBfd{3784, 3785, 4784,
                                            6784};  // one hop, echo, multihop, on link bundles
constexpr std::uint8_t kProtocolOspf = 89;

bool is_icmp_error4(std::uint8_t type) noexcept { return type == 3 || type == 11 || type == 12; }
bool is_icmp_error6(std::uint8_t type) noexcept { return type >= 1 && type <= 4; }
bool is_discovery(std::uint8_t type) noexcept { return type >= 133 && type <= 137; }

bool udp_may(std::uint16_t from, std::uint16_t to) noexcept {
  if (to == kIkePort || from == kIkePort || to == kNatTraversalPort || from == kNatTraversalPort) return true;
  return std::find(kBfd.begin(), kBfd.end(), to) != kBfd.end();
}

}  // namespace

bool may_be_in_clear(const std::uint8_t* ip, Family family, std::uint16_t length) noexcept {
  const UpperLayer upper = upper_layer(ip, family, length);
  if (upper.protocol == kProtocolEsp || upper.protocol == kProtocolOspf) return true;
  if (upper.later) return upper.protocol == kProtocolUdp;
  if (length < upper.offset + 4) return false;
  const std::uint8_t* const at = ip + upper.offset;
  if (upper.protocol == kProtocolUdp) return udp_may(load16(at), load16(at + 2));
  if (upper.protocol == kProtocolTcp) return load16(at) == kBgp || load16(at + 2) == kBgp;
  if (upper.protocol == kProtocolIcmp) return family == Family::v4 && is_icmp_error4(at[0]);
  if (upper.protocol == kProtocolIcmp6) return is_icmp_error6(at[0]) || is_discovery(at[0]);
  return false;
}

void refuse_cleartext(Worker& worker, Burst& burst) noexcept {
  keep_if(burst, [&worker](const Packet& packet) noexcept {
    if (packet.port == Note::kNoPort || !worker.tables->ports[packet.port].encrypted_only) return true;
    const Routes& routes = worker.tables->routes(packet.table);
    if (routes.find_one(destination_of(packet.ip)).kind == NextHopKind::host) return true;
    worker.drop(packet.mbuf, DropReason::cleartext_in);
    return false;
  });
}

}  // namespace espgate::dataplane
