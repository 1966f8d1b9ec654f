// The configuration loader over any text: an error in words with its place, or a configuration that keeps its
// word.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string_view>

#include "conf/load.hpp"

namespace {

using namespace espgate;

void demand(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

void check_tunnel(const conf::Tunnel& tunnel) {
  demand(tunnel.psk.empty(), "secrets were to be skipped");
  for (const conf::Ppk& ppk : tunnel.ppks) demand(ppk.secret.empty(), "secrets were to be skipped");
  demand(tunnel.local.is_v4() && tunnel.remote.is_v4(), "a tunnel has two IPv4 ends");
  demand(!tunnel.local_id.data.empty() && !tunnel.remote_id.data.empty(), "a tunnel has two identities");
  demand(!tunnel.ike_proposals.empty() && !tunnel.esp_proposals.empty(), "a tunnel has proposals");
  for (const conf::IkeProposal& proposal : tunnel.ike_proposals)
    demand(!proposal.ciphers.empty() && !proposal.prfs.empty() && !proposal.groups.empty(),
           "IKE proposals are whole");
  for (const conf::EspProposal& proposal : tunnel.esp_proposals)
    demand(!proposal.suites.empty(), "ESP proposals are whole");
  if (tunnel.manual) {
    demand(tunnel.manual->inbound.key.empty() && tunnel.manual->outbound.key.empty(),
           "secrets were to be skipped");
    demand(crypto::find_suite(tunnel.manual->suite) != nullptr, "manual keys are of a suite");
    demand(tunnel.manual->inbound.spi >= 256 && tunnel.manual->outbound.spi >= 256, "manual SAs have SPIs");
  }
  demand(!tunnel.local_selectors.empty() && !tunnel.remote_selectors.empty(), "a tunnel has selectors");
}

void check(const conf::Configuration& configuration) {
  std::set<std::string_view> tunnels;
  std::set<std::string_view> groups;
  unsigned index = 0;
  for (const conf::Port& port : configuration.ports)
    if (port.parent.empty())
      demand(!conf::device_args(port, index++).ethdev_name.empty(), "a port has a device");
    else
      demand(port.vlan >= 1 && port.vlan <= 4094, "a sub-interface has a VLAN");
  for (const conf::CryptoDevice& device : configuration.dataplane.crypto_devices)
    demand(!conf::crypto_device_args(device.device).ethdev_name.empty(), "a crypto device has a name");
  for (const conf::Tunnel& tunnel : configuration.tunnels) {
    demand(!tunnel.name.empty() && tunnels.insert(tunnel.name).second, "tunnels have names of their own");
    check_tunnel(tunnel);
  }
  for (const conf::Group& group : configuration.groups) {
    demand(!group.name.empty() && groups.insert(group.name).second, "groups have names of their own");
    demand(!group.members.empty(), "a group has members");
    for (const conf::GroupMember& member : group.members)
      demand(member.via ? is_valid(*member.via) : tunnels.contains(member.tunnel), "members exist");
  }
  for (const conf::Route& route : configuration.routes) {
    demand(is_valid(route.to), "a route has a destination");
    demand(route.via || route.blackhole || tunnels.contains(route.tunnel) || groups.contains(route.group),
           "a route leads somewhere");
  }
}

template <class Parse>
void parse_alone(Parse parse, std::string_view text) {
  try {
    static_cast<void>(parse(text));
  } catch (const conf::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  parse_alone(conf::parse_ike_proposal, text);
  parse_alone(conf::parse_esp_proposal, text);
  try {
    check(conf::load_text(text, "fuzz", conf::Secrets::skip));
  } catch (const conf::Error& error) {
    const std::string_view words = error.what();
    demand(words.starts_with("fuzz:") && words.size() > 10, "errors name the file and say something");
  }
  return 0;
}
