#include <algorithm>

#include "channel/messages.hpp"
#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

constexpr std::size_t kMostProposals = 16;
constexpr seconds kShortestLifetime{5};
constexpr seconds kLongestLifetime = hours(24 * 30);
constexpr std::uint64_t kFewestBytes = 10'000;

// Strong and modern first; a peer that knows none of the AEADs or curves still finds one further on. The
// second ESP proposal is for peers without PFS, whose rekeys would otherwise fail.
constexpr std::array<std::string_view, 4> kDefaultIke{
    "aes256gcm16-prfsha384-ecp384-x25519-ecp256", "aes128gcm16-prfsha256-x25519-ecp256",
    "aes256-sha384-sha256-ecp384-x25519-ecp256-modp2048", "aes128-sha256-x25519-ecp256-modp2048"};
constexpr std::array<std::string_view, 3> kDefaultEsp{"aes256gcm16-aes128gcm16-ecp384-x25519-ecp256-modp2048",
                                                      "aes256gcm16-aes128gcm16", "aes256-aes128-sha256"};

constexpr std::array<std::pair<std::string_view, Start>, 2> kStart{
    {{"initiate", Start::initiate}, {"wait", Start::wait}}};
constexpr std::array<std::pair<std::string_view, Encapsulation>, 2> kEncapsulation{
    {{"auto", Encapsulation::automatic}, {"udp", Encapsulation::udp}}};

// The outer way is IPv4.
void read_endpoint(const Field& field, IpAddress& out) {
  const auto address = field.is_scalar() ? parse_address(field.node.text) : std::nullopt;
  if (address && address->is_v6())
    return field.expected("an IPv4 address (a tunnel's outer packets are IPv4; inner ones may be IPv6)");
  read_address(field, out);
}

constexpr Key<Tunnel> kLocalKeys[] = {
    {"address", Need::required, [](const Field& f, Tunnel& t) { read_endpoint(f, t.local); }},
    {"id", Need::optional, [](const Field& f, Tunnel& t) { read_identity(f, t.local_id); }},
};
constexpr Key<Tunnel> kRemoteKeys[] = {
    {"address", Need::required, [](const Field& f, Tunnel& t) { read_endpoint(f, t.remote); }},
    {"id", Need::optional, [](const Field& f, Tunnel& t) { read_identity(f, t.remote_id); }},
};

template <class Proposal, Proposal (*parse)(std::string_view)>
void read_proposal(const Field& field, Proposal& out) {
  if (!field.is_scalar()) return field.expected("a proposal such as aes256-sha384-ecp384");
  try {
    out = parse(field.node.text);
  } catch (const Error& error) {
    field.error(error.what());
  }
}

template <class Proposal, Proposal (*parse)(std::string_view)>
void read_proposals(const Field& field, std::vector<Proposal>& out) {
  if (field.node.kind != NodeKind::list || field.node.children.empty())
    return field.expected("a list of at least one proposal, such as [aes256-sha384-ecp384]");
  read_list(field, out, kMostProposals, read_proposal<Proposal, parse>);
}

void read_lifetime(const Field& field, seconds& out) {
  read_duration(field, out, kShortestLifetime, kLongestLifetime);
}

// 0 says that there is no limit.
void read_bytes(const Field& field, std::uint64_t& out) {
  if (field.is_scalar() && field.node.text == "0")
    out = 0;
  else
    read_size(field, out, kFewestBytes, UINT64_MAX);
}

// RFC 6479's window is a ring of words: powers of two.
void read_window(const Field& field, std::uint32_t& out) {
  std::uint64_t value = 0;
  const std::string_view text = field.is_scalar() ? std::string_view(field.node.text) : std::string_view();
  constexpr std::array<std::string_view, 8> kWindows{"0", "64", "128", "256", "512", "1024", "2048", "4096"};
  if (std::find(kWindows.begin(), kWindows.end(), text) == kWindows.end())
    return field.expected("0 (no replay check) or one of 64, 128, 256, 512, 1024, 2048, 4096 packets");
  if (read_number(field, value, 0, 4096)) out = static_cast<std::uint32_t>(value);
}

constexpr Key<Tunnel> kIkeKeys[] = {
    {"proposals", Need::optional,
     [](const Field& f, Tunnel& t) { read_proposals<IkeProposal, parse_ike_proposal>(f, t.ike_proposals); }},
    {"lifetime", Need::optional, [](const Field& f, Tunnel& t) { read_lifetime(f, t.ike_lifetime); }},
};
constexpr Key<Tunnel> kEspKeys[] = {
    {"proposals", Need::optional,
     [](const Field& f, Tunnel& t) { read_proposals<EspProposal, parse_esp_proposal>(f, t.esp_proposals); }},
    {"lifetime", Need::optional, [](const Field& f, Tunnel& t) { read_lifetime(f, t.child_lifetime); }},
    {"bytes", Need::optional, [](const Field& f, Tunnel& t) { read_bytes(f, t.child_bytes); }},
    {"replay-window", Need::optional, [](const Field& f, Tunnel& t) { read_window(f, t.replay_window); }},
};

void read_selectors(const Field& field, std::vector<SelectorPrefix>& out) {
  if (field.node.kind != NodeKind::list || field.node.children.empty())
    return field.expected("a list of at least one network");
  read_list(field, out, channel::kMaxSelectors, read_network);
}

constexpr Key<Tunnel> kSelectorKeys[] = {
    {"local", Need::optional, [](const Field& f, Tunnel& t) { read_selectors(f, t.local_selectors); }},
    {"remote", Need::optional, [](const Field& f, Tunnel& t) { read_selectors(f, t.remote_selectors); }},
};

constexpr Key<Tunnel> kInterfaceKeys[] = {
    {"name", Need::optional, [](const Field& f, Tunnel& t) { read_name(f, t.interface); }},
    {"addresses", Need::optional,
     [](const Field& f, Tunnel& t) {
       read_list(f, t.addresses, channel::kMaxTunnelAddresses, read_interface_address);
     }},
    {"mtu", Need::optional, [](const Field& f, Tunnel& t) { read_unsigned(f, t.mtu, 576, 9000); }},
    {"clamp-mss", Need::optional, [](const Field& f, Tunnel& t) { read_bool(f, t.clamp_mss); }},
};

constexpr Key<Tunnel> kTunnelKeys[] = {
    {"name", Need::required, [](const Field& f, Tunnel& t) { read_name(f, t.name); }},
    {"local", Need::required, [](const Field& f, Tunnel& t) { read_block(f, kLocalKeys, t); }},
    {"remote", Need::required, [](const Field& f, Tunnel& t) { read_block(f, kRemoteKeys, t); }},
    {"psk", Need::optional, [](const Field& f, Tunnel& t) { read_psk(f, t.psk); }},
    {"psk-file", Need::optional, [](const Field& f, Tunnel& t) { read_psk_file(f, t.psk); }},
    {"ike", Need::optional, [](const Field& f, Tunnel& t) { read_block(f, kIkeKeys, t); }},
    {"esp", Need::optional, [](const Field& f, Tunnel& t) { read_block(f, kEspKeys, t); }},
    {"selectors", Need::optional, [](const Field& f, Tunnel& t) { read_block(f, kSelectorKeys, t); }},
    {"dpd", Need::optional,
     [](const Field& f, Tunnel& t) { read_duration(f, t.dpd_interval, seconds(0), hours(1)); }},
    {"start", Need::optional, [](const Field& f, Tunnel& t) { read_choice(f, t.start, kStart); }},
    {"encapsulation", Need::optional,
     [](const Field& f, Tunnel& t) { read_choice(f, t.encapsulation, kEncapsulation); }},
    {"spread", Need::optional, [](const Field& f, Tunnel& t) { read_bool(f, t.spread); }},
    {"interface", Need::optional, [](const Field& f, Tunnel& t) { read_block(f, kInterfaceKeys, t); }},
};

void fill_defaults(Tunnel& tunnel) {
  if (tunnel.ike_proposals.empty())
    for (std::string_view text : kDefaultIke) tunnel.ike_proposals.push_back(parse_ike_proposal(text));
  if (tunnel.esp_proposals.empty())
    for (std::string_view text : kDefaultEsp) tunnel.esp_proposals.push_back(parse_esp_proposal(text));
  const std::vector<SelectorPrefix> any{*parse_prefix("0.0.0.0/0"), *parse_prefix("::/0")};
  if (tunnel.local_selectors.empty()) tunnel.local_selectors = any;
  if (tunnel.remote_selectors.empty()) tunnel.remote_selectors = any;
  if (tunnel.local_id.text.empty()) tunnel.local_id = identity_of(tunnel.local);
  if (tunnel.remote_id.text.empty()) tunnel.remote_id = identity_of(tunnel.remote);
  if (tunnel.interface.empty()) tunnel.interface = tunnel.name;
}

void check_secret(const Field& tunnel) {
  const bool inline_psk = &tunnel.node.at("psk") != &tunnel.node;
  const bool in_file = &tunnel.node.at("psk-file") != &tunnel.node;
  if (inline_psk != in_file) return;
  tunnel.error(inline_psk ? "tunnel: two secrets; expected either psk or psk-file"
                          : "tunnel: no secret; expected psk or psk-file");
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

}  // namespace

void read_tunnel(const Field& item, Tunnel& out) {
  out.mark = item.node.mark;
  const Field block{item.reading, item.node, "tunnel"};
  read_block(block, kTunnelKeys, out);
  fill_defaults(out);
  if (item.node.kind != NodeKind::map) return;
  check_secret(block);
  check_selector_families(block, out);
}

void append_tunnel_keys(std::vector<KnownKey>& to) {
  append_keys(to, "tunnels", kTunnelKeys);
  append_keys(to, "tunnels.local", kLocalKeys);
  append_keys(to, "tunnels.remote", kRemoteKeys);
  append_identity_keys(to);
  append_keys(to, "tunnels.ike", kIkeKeys);
  append_keys(to, "tunnels.esp", kEspKeys);
  append_keys(to, "tunnels.selectors", kSelectorKeys);
  append_keys(to, "tunnels.interface", kInterfaceKeys);
}

}  // namespace espgate::conf
