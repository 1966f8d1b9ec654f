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

constexpr std::uint16_t kFirstUnprivileged = 1024;

enum class Way : bool { in, out };

// The peer's ports of IKE may be any, behind its NAT.
bool udp_may(const std::uint8_t* udp, Way way) noexcept {
  const std::uint16_t ours = load16(way == Way::in ? udp + 2 : udp);
  if (ours == kIkePort || ours == kNatTraversalPort) return true;
  return std::find(kBfd.begin(), kBfd.end(), load16(udp + 2)) != kBfd.end();
}

// To a BGP speaker, or what it answers to one that is no server itself: nobody opens a connection from its
// port.
bool tcp_may(const std::uint8_t* tcp) noexcept {
  const std::uint16_t to = load16(tcp + 2);
  if (to == kBgp) return true;
  const bool answer = (tcp[13] & (RTE_TCP_ACK_FLAG | RTE_TCP_RST_FLAG)) != 0;
  return load16(tcp) == kBgp && answer && to >= kFirstUnprivileged;
}

bool may_be_in_clear(const std::uint8_t* ip, Family family, std::uint16_t length, Way way) noexcept {
  const UpperLayer upper = upper_layer(ip, family, length);
  if (upper.protocol == kProtocolEsp || upper.protocol == kProtocolOspf) return true;
  if (upper.later) return upper.protocol == kProtocolUdp && way == Way::in;
  if (length < upper.offset + 4) return false;
  const std::uint8_t* const at = ip + upper.offset;
  if (upper.protocol == kProtocolUdp) return udp_may(at, way);
  if (upper.protocol == kProtocolTcp) return length >= upper.offset + kTcp && tcp_may(at);
  if (upper.protocol == kProtocolIcmp) return family == Family::v4 && is_icmp_error4(at[0]);
  if (upper.protocol == kProtocolIcmp6) return is_icmp_error6(at[0]) || is_discovery(at[0]);
  return false;
}

}  // namespace

bool may_come_in_clear(const std::uint8_t* ip, Family family, std::uint16_t length) noexcept {
  return may_be_in_clear(ip, family, length, Way::in);
}

bool may_go_in_clear(const std::uint8_t* ip, Family family, std::uint16_t length) noexcept {
  return may_be_in_clear(ip, family, length, Way::out);
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
