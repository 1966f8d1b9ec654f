// A tunnel's keys together: what is left out, and what has to fit.
#include <fmt/format.h>

#include <algorithm>

#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

// Strong and modern first; a peer that knows none of the AEADs or curves still finds one further on. The
// second ESP proposal is for peers without PFS, whose rekeys would otherwise fail.
constexpr std::array<std::string_view, 4> kDefaultIke{
    "aes256gcm16-prfsha384-ecp384-x25519-ecp256", "aes128gcm16-prfsha256-x25519-ecp256",
    "aes256-sha384-sha256-ecp384-x25519-ecp256-modp2048", "aes128-sha256-x25519-ecp256-modp2048"};
constexpr std::array<std::string_view, 3> kDefaultEsp{"aes256gcm16-aes128gcm16-ecp384-x25519-ecp256-modp2048",
                                                      "aes256gcm16-aes128gcm16", "aes256-aes128-sha256"};

IpPrefix host(const IpAddress& address) {
  return {address, address.is_v4() ? std::uint8_t{32} : std::uint8_t{128}};
}

// RFC 4301 section 4.1: transport mode protects what the two ends say to each other.
void fill_selectors(Tunnel& tunnel) {
  const bool transport = tunnel.mode == channel::Mode::transport;
  const std::vector<SelectorPrefix> any{*parse_prefix("0.0.0.0/0"), *parse_prefix("::/0")};
  if (tunnel.local_selectors.empty())
    tunnel.local_selectors = transport ? std::vector{host(tunnel.local)} : any;
  if (tunnel.remote_selectors.empty())
    tunnel.remote_selectors = transport ? std::vector{host(tunnel.remote)} : any;
}

void fill_names(Tunnel& tunnel) {
  for (EspProposal& proposal : tunnel.esp_proposals) proposal.esn = tunnel.esn;
  if (tunnel.interface.empty()) tunnel.interface = tunnel.name;
  name_twin(tunnel.kernel, tunnel.interface);
}

void fill_defaults(Tunnel& tunnel) {
  if (tunnel.ike_proposals.empty())
    for (std::string_view text : kDefaultIke) tunnel.ike_proposals.push_back(parse_ike_proposal(text));
  if (tunnel.esp_proposals.empty())
    for (std::string_view text : kDefaultEsp) tunnel.esp_proposals.push_back(parse_esp_proposal(text));
  fill_selectors(tunnel);
  if (tunnel.local_id.text.empty() && tunnel.local_auth.by == Auth::certificate)
    tunnel.local_id = {IdentityType::directory_name, "the certificate's subject", {}};  // load_credentials
  if (tunnel.local_id.text.empty()) tunnel.local_id = identity_of(tunnel.local);
  if (tunnel.remote_id.text.empty() && tunnel.remote.is_set()) tunnel.remote_id = identity_of(tunnel.remote);
  fill_names(tunnel);
}

// A packet's addresses are of one family: selectors of different families select nothing.
void check_selector_families(const Field& field, const Tunnel& tunnel) {
  const auto has = [](const std::vector<SelectorPrefix>& selectors, Family family) {
    return std::any_of(selectors.begin(), selectors.end(), [family](const SelectorPrefix& selector) {
      return selector.address.family == family;
    });
  };
  const auto has_wrong = [&](const auto& selectors) { return has(selectors, Family::none); };
  if (has_wrong(tunnel.local_selectors) || has_wrong(tunnel.remote_selectors)) return;  // said already
  for (const Family family : {Family::v4, Family::v6})
    if (has(tunnel.local_selectors, family) && has(tunnel.remote_selectors, family)) return;
  field.reading.errors.add(field.node.at("selectors").mark,
                           "selectors: expected local and remote networks of the same family");
}

// RFC 4303 section 3.3.3: who does not check for replays does not know the high half.
void check_esn(const Field& tunnel, const Tunnel& out) {
  if (out.esn != Esn::no && out.replay_window == 0)
    tunnel.reading.errors.add(
        tunnel.node.at("esp").at("esn").mark,
        "esn: extended sequence numbers need the replay check; expected a replay-window "
        "other than 0");
}

void check_transport_selectors(const Field& tunnel, std::string_view side, const IpAddress& end,
                               const std::vector<SelectorPrefix>& selectors) {
  if (!end.is_set() || (selectors.size() == 1 && selectors.front() == host(end))) return;
  tunnel.reading.errors.add(
      tunnel.node.at("selectors").at(side).mark,
      fmt::format("{}: transport mode is for the two ends alone; expected {}, or no selectors", side,
                  to_string(host(end))));
}

// What has no meaning without packets of others inside.
void check_transport(const Field& tunnel, const Tunnel& out) {
  if (out.mode != channel::Mode::transport) return;
  Errors& errors = tunnel.reading.errors;
  check_transport_selectors(tunnel, "local", out.local, out.local_selectors);
  check_transport_selectors(tunnel, "remote", out.remote, out.remote_selectors);
  if (!out.addresses.empty())
    errors.add(tunnel.node.at("interface").at("addresses").mark,
               "addresses: in transport mode packets carry the addresses of the two ends, and no others; "
               "expected none, or mode: tunnel");
  if (!out.kernel.empty())
    errors.add(tunnel.node.at("interface").at("kernel").mark,
               "kernel: a tunnel in transport mode has no interface that the kernel could see; expected no "
               "such key, or mode: tunnel");
  if (out.tfc_length != 0)
    errors.add(tunnel.node.at("esp").at("tfc").mark,
               "tfc: only inner packets can be padded (RFC 4303 section 2.7), and transport mode has none; "
               "expected 0, or mode: tunnel");
  if (out.encapsulation == Encapsulation::udp)
    errors.add(tunnel.node.at("encapsulation").mark,
               "encapsulation: udp pretends a NAT, across which there is no transport mode; expected auto, "
               "or mode: tunnel");
}

// RFC 4301 section 8.2.1: what is cut after it was encrypted is the outer packet.
void check_fragmentation(const Field& tunnel, const Tunnel& out) {
  if (out.fragmentation != Fragmentation::after) return;
  Errors& errors = tunnel.reading.errors;
  if (out.mode == channel::Mode::transport)
    errors.add(tunnel.node.at("fragmentation").mark,
               "fragmentation: in transport mode it is always the encrypted packet that is cut; expected no "
               "such key, or mode: tunnel");
  if (out.outer.df != channel::DontFragment::clear)
    errors.add(tunnel.node.at("outer").at("df").mark,
               "df: with fragmentation: after outer packets are cut, which DF forbids; expected clear, or "
               "fragmentation: before");
}

// What belongs to the IKE SA, or to the child SA that comes with it.
void check_child_keys(const Field& child) {
  const auto refuse = [&child](const Node& key, std::string_view why) {
    child.reading.errors.add(key.mark, fmt::format("{}: {}", key.text, why));
  };
  const std::vector<Node>& pairs = child.node.children;
  for (std::size_t i = 0; i + 1 < pairs.size(); i += 2)
    if (is_parents(pairs[i].text))
      refuse(pairs[i], "a tunnel with a parent has its parent's; expected no such key, or no parent");
  const Node& esp = child.node.at("esp");
  if (&esp != &child.node && &esp.at("verify") != &esp)
    child.reading.errors.add(esp.at("verify").mark,
                             "verify: only the child SA that comes with the IKE SA has no key exchange of "
                             "its own, and that is the parent's; expected no such key");
  if (&child.node.at("selectors") == &child.node)
    child.error("tunnel: the key \"selectors\" is missing, by which a tunnel with a parent is known");
}

}  // namespace

void complete_tunnel(const Field& block, Tunnel& tunnel) {
  complete_auth(block, tunnel);
  fill_defaults(tunnel);
  const Node& interface = block.node.at("interface");
  const bool named = &interface != &block.node && &interface.at("table") != &interface;
  if (tunnel.mode == channel::Mode::transport && !named) tunnel.overlay = tunnel.table;
  if (block.node.kind != NodeKind::map) return;
  if (tunnel.manual) check_without_ike(block);
  check_legacy(block, tunnel);
  check_ppks(block, tunnel);
  check_selector_families(block, tunnel);
  check_esn(block, tunnel);
  check_transport(block, tunnel);
  check_fragmentation(block, tunnel);
  complete_watch(block, tunnel);
  check_template(block, tunnel);
}

void complete_child(const Field& block, Tunnel& child) {
  fill_selectors(child);
  fill_names(child);
  check_child_keys(block);
  check_child_legacy(block, child);
  check_selector_families(block, child);
  check_esn(block, child);
  check_fragmentation(block, child);
  complete_watch(block, child);
}

}  // namespace espgate::conf
