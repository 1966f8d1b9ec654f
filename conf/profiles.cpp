// `tunnels.profile`: what the clouds publish of their VPN gateways, as an operator would write it.
// docs/configuration.md names the source of each.
#include "conf/choices.hpp"
#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

constexpr std::string_view kOci = R"({
  ike: {proposals: [aes256-sha384-ecp384], lifetime: 8h},
  esp: {proposals: [aes256gcm16-ecp384-modp1536], lifetime: 1h, replay-window: 1024},
  interface: {clamp-mss: true}, outer: {df: clear}, fragmentation: before,
  dpd: 10s, start: initiate, legacy: true})";

constexpr std::string_view kAws = R"({
  ike: {proposals: [aes256gcm16-prfsha384-ecp384, aes256-sha384-ecp384], lifetime: 8h},
  esp: {proposals: [aes256gcm16-ecp384], lifetime: 1h, replay-window: 1024},
  interface: {mtu: 1438, clamp-mss: true}, outer: {df: clear}, fragmentation: before,
  dpd: 10s, start: initiate})";

// Its default policy has nothing better than group 2, the policies that one can choose have.
constexpr std::string_view kAzure = R"({
  ike: {proposals: [aes256-sha384-sha256-ecp384-modp2048, aes256-sha256-modp1024], lifetime: 8h},
  esp: {proposals: [aes256gcm16-ecp384-modp2048, aes256gcm16], lifetime: 27000s, bytes: 102400M},
  interface: {mtu: 1400, clamp-mss: true}, fragmentation: before,
  start: initiate, legacy: true})";

constexpr std::string_view kGcp = R"({
  ike: {proposals: [aes256gcm16-prfsha384-modp3072], lifetime: 10h},
  esp: {proposals: [aes256gcm16-modp3072], lifetime: 3h, replay-window: 4096},
  interface: {mtu: 1398, clamp-mss: true}, outer: {df: clear}, fragmentation: before,
  start: initiate})";

}  // namespace

const Node& profile_node(Profile profile) {
  static const Node kNone;
  static const Node kNodes[] = {parse_yaml(kOci), parse_yaml(kAws), parse_yaml(kAzure), parse_yaml(kGcp)};
  return profile == Profile::none ? kNone : kNodes[static_cast<unsigned>(profile) - 1];
}

}  // namespace espgate::conf
