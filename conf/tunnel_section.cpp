#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "channel/messages.hpp"
#include "conf/choices.hpp"
#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

constexpr std::size_t kMostProposals = 16;
constexpr std::uint32_t kMostPeers = 65'535;
constexpr seconds kShortestLifetime{5};
constexpr seconds kLongestLifetime = hours(24 * 30);
constexpr seconds kLongestKeepalive{255};
constexpr std::uint64_t kFewestBytes = 10'000;
constexpr std::uint64_t kFewestPackets = 1'000;
constexpr std::uint16_t kLeastPadded = 64;
constexpr std::uint16_t kMostPadded = 9000;

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

bool is_word(const Field& field, std::string_view word) {
  return field.is_scalar() && field.node.text == word;
}

void read_reauth(const Field& field, seconds& out) {
  if (is_word(field, "never"))
    out = seconds(0);
  else
    read_lifetime(field, out);
}

// 0 says that there is no limit.
void read_limit(const Field& field, std::uint64_t& out, std::uint64_t least, std::string_view unit) {
  if (is_word(field, "0"))
    out = 0;
  else
    read_size(field, out, least, UINT64_MAX, unit);
}

// RFC 6479's window is a ring of words: powers of two.
void read_window(const Field& field, std::uint32_t& out) {
  constexpr std::array<std::string_view, 10> kWindows{"0",    "64",   "128",  "256",  "512",
                                                      "1024", "2048", "4096", "8192", "16384"};
  if (std::none_of(kWindows.begin(), kWindows.end(),
                   [&field](std::string_view window) { return is_word(field, window); }))
    return field.expected(
        "0 (no replay check) or one of 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384 packets");
  read_unsigned(field, out, 0, 16384);
}

void read_tfc(const Field& field, std::uint16_t& out) {
  const auto bytes = number_in(field);
  if (is_word(field, "mtu"))
    out = channel::kTfcToMtu;
  else if (bytes && (*bytes == 0 || (*bytes >= kLeastPadded && *bytes <= kMostPadded)))
    out = static_cast<std::uint16_t>(*bytes);
  else
    field.expected(
        fmt::format("mtu, 0 (no padding) or a number of bytes from {} to {}", kLeastPadded, kMostPadded));
}

void read_dscp(const Field& field, std::optional<std::uint8_t>& out) {
  const auto value = number_in(field);
  if (is_word(field, "copy"))
    out.reset();
  else if (value && *value < channel::kDscps)
    out = static_cast<std::uint8_t>(*value);
  else
    field.expected(fmt::format("copy or a number from 0 to {}", channel::kDscps - 1));
}

constexpr Key<Tunnel> kIkeKeys[] = {
    {"proposals", Need::optional,
     [](const Field& f, Tunnel& t) { read_proposals<IkeProposal, parse_ike_proposal>(f, t.ike_proposals); }},
    {"lifetime", Need::optional, [](const Field& f, Tunnel& t) { read_lifetime(f, t.ike_lifetime); }},
    {"reauth", Need::optional, [](const Field& f, Tunnel& t) { read_reauth(f, t.ike_reauth); }},
    {"childless", Need::optional, [](const Field& f, Tunnel& t) { read_choice(f, t.childless, kChildless); }},
};
constexpr Key<Tunnel> kEspKeys[] = {
    {"proposals", Need::optional,
     [](const Field& f, Tunnel& t) { read_proposals<EspProposal, parse_esp_proposal>(f, t.esp_proposals); }},
    {"lifetime", Need::optional, [](const Field& f, Tunnel& t) { read_lifetime(f, t.child_lifetime); }},
    {"bytes", Need::optional,
     [](const Field& f, Tunnel& t) { read_limit(f, t.child_bytes, kFewestBytes, "bytes"); }},
    {"packets", Need::optional,
     [](const Field& f, Tunnel& t) { read_limit(f, t.child_packets, kFewestPackets, "packets"); }},
    {"verify", Need::optional, [](const Field& f, Tunnel& t) { read_bool(f, t.verify_rekey); }},
    {"replay-window", Need::optional, [](const Field& f, Tunnel& t) { read_window(f, t.replay_window); }},
    {"esn", Need::optional, [](const Field& f, Tunnel& t) { read_choice(f, t.esn, kEsn); }},
    {"tfc", Need::optional, [](const Field& f, Tunnel& t) { read_tfc(f, t.tfc_length); }},
};

constexpr Key<Tunnel> kOuterKeys[] = {
    {"dscp", Need::optional, [](const Field& f, Tunnel& t) { read_dscp(f, t.outer.dscp); }},
    {"ecn", Need::optional, [](const Field& f, Tunnel& t) { read_choice(f, t.outer.ecn, kEcn); }},
    {"df", Need::optional, [](const Field& f, Tunnel& t) { read_choice(f, t.outer.df, kDf); }},
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
    {"table", Need::optional, [](const Field& f, Tunnel& t) { read_name(f, t.overlay.name); }},
    {"kernel", Need::optional, [](const Field& f, Tunnel& t) { read_twin(f, t.kernel); }},
};

constexpr Key<Tunnel> kTunnelKeys[] = {
    {"name", Need::required, [](const Field& f, Tunnel& t) { read_name(f, t.name); }},
    {"profile", Need::optional, [](const Field& f, Tunnel& t) { read_choice(f, t.profile, kProfile); }},
    {"legacy", Need::optional, [](const Field& f, Tunnel& t) { read_bool(f, t.legacy); }},
    {"table", Need::optional, [](const Field& f, Tunnel& t) { read_name(f, t.table.name); }},
    {"parent", Need::optional, [](const Field& f, Tunnel& t) { read_name(f, t.parent); }},
    {"local", Need::optional, read_local},
    {"remote", Need::optional, read_remote},
    {"peers", Need::optional, [](const Field& f, Tunnel& t) { read_unsigned(f, t.peers, 1, kMostPeers); }},
    {"psks-file", Need::optional, [](const Field& f, Tunnel& t) { read_peer_secrets(f, t.secrets); }},
    {"psk", Need::optional, [](const Field& f, Tunnel& t) { read_psk(f, t.psk); }},
    {"psk-file", Need::optional, [](const Field& f, Tunnel& t) { read_psk_file(f, t.psk); }},
    {"ppks", Need::optional, [](const Field& f, Tunnel& t) { read_ppks(f, t.ppks); }},
    {"ppk-use", Need::optional, [](const Field& f, Tunnel& t) { read_choice(f, t.ppk_use, kPpkUse); }},
    {"mode", Need::optional, [](const Field& f, Tunnel& t) { read_choice(f, t.mode, kMode); }},
    {"manual", Need::optional, [](const Field& f, Tunnel& t) { read_manual(f, t.manual); }},
    {"ike", Need::optional, [](const Field& f, Tunnel& t) { read_block(f, kIkeKeys, t); }},
    {"esp", Need::optional, [](const Field& f, Tunnel& t) { read_block(f, kEspKeys, t); }},
    {"selectors", Need::optional, [](const Field& f, Tunnel& t) { read_block(f, kSelectorKeys, t); }},
    {"dpd", Need::optional,
     [](const Field& f, Tunnel& t) { read_duration(f, t.dpd_interval, seconds(0), hours(1)); }},
    {"start", Need::optional, [](const Field& f, Tunnel& t) { read_choice(f, t.start, kStart); }},
    {"encapsulation", Need::optional,
     [](const Field& f, Tunnel& t) { read_choice(f, t.encapsulation, kEncapsulation); }},
    {"keepalive", Need::optional,
     [](const Field& f, Tunnel& t) { read_duration(f, t.keepalive, seconds(0), kLongestKeepalive); }},
    {"outer", Need::optional, [](const Field& f, Tunnel& t) { read_block(f, kOuterKeys, t); }},
    {"fragmentation", Need::optional,
     [](const Field& f, Tunnel& t) { read_choice(f, t.fragmentation, kFragmentation); }},
    {"spread", Need::optional, [](const Field& f, Tunnel& t) { read_bool(f, t.spread); }},
    {"interface", Need::optional, [](const Field& f, Tunnel& t) { read_block(f, kInterfaceKeys, t); }},
    {"bfd", Need::optional, read_bfd},
    {"probe", Need::optional, read_probe},
    {"hold-down", Need::optional, read_hold_down},
};

// As if the profile's keys stood in the file; what does stand there is read later, and counts.
void apply_profile(const Field& block, Tunnel& out) {
  const Node& named = block.node.at("profile");
  if (&named == &block.node) return;
  Reading reading{Errors(std::string()), Secrets::skip, {}};  // the profiles are right: the tests read each
  read_choice(Field{reading, named, "profile"}, out.profile, kProfile);
  const Node& profile = profile_node(out.profile);
  for (const Key<Tunnel>& key : kTunnelKeys)
    if (const Node& value = profile.at(key.name); &value != &profile)
      key.read({reading, value, key.name}, out);
}

void read_tunnel(const Field& item, Tunnel& out) {
  out.mark = item.node.mark;
  const Field block{item.reading, item.node, "tunnel"};
  apply_profile(block, out);
  read_block(block, kTunnelKeys, out);
  if (is_child(item.node)) return;
  for (const std::string_view end : {"local", "remote"})
    if (item.node.kind == NodeKind::map && &item.node.at(end) == &item.node)
      block.error(fmt::format("tunnel: the key {} is missing", in_quotes(end)));
  complete_tunnel(block, out);
}

// Once more, on top of what its parent came to.
void read_child(const Field& item, Tunnel& out, const Tunnel& parent) {
  Reading silent{Errors(std::string()), Secrets::skip, {}};  // what is wrong was said the first time
  static_cast<Inherited&>(out) = parent;
  for (const Key<Tunnel>& key : kTunnelKeys)
    if (const Node& value = item.node.at(key.name); &value != &item.node && !is_parents(key.name))
      key.read({silent, value, key.name}, out);
  complete_child({item.reading, item.node, "tunnel"}, out);
}

}  // namespace

bool is_child(const Node& tunnel) { return &tunnel.at("parent") != &tunnel; }

bool is_parents(std::string_view key) {
  constexpr std::array<std::string_view, 16> kParents{
      "profile", "legacy",  "table", "local",  "remote", "psk", "psk-file",      "peers",
      "ppks",    "ppk-use", "mode",  "manual", "ike",    "dpd", "encapsulation", "psks-file"};
  return std::ranges::count(kParents, key) != 0;
}

void read_tunnels(const Field& field, std::vector<Tunnel>& out, std::size_t most) {
  read_list(field, out, most, read_tunnel);
  std::map<std::string_view, std::uint32_t> parents;
  for (std::uint32_t i = 0; i < out.size(); ++i)
    if (!is_child(field.node.at(i))) parents.emplace(out[i].name, i);
  const Tunnel nobody;  // in the place of one that is not there, which check_names tells
  for (std::uint32_t i = 0; i < out.size(); ++i) {
    if (!is_child(field.node.at(i))) continue;
    const auto found = parents.find(out[i].parent);
    if (found != parents.end()) out[i].parent_index = found->second;
    read_child({field.reading, field.node.at(i), field.key}, out[i],
               found != parents.end() ? out[found->second] : nobody);
  }
}

void append_tunnel_keys(std::vector<KnownKey>& to) {
  append_keys(to, "tunnels", kTunnelKeys);
  append_auth_keys(to);
  append_ppk_keys(to);
  append_identity_keys(to);
  append_manual_keys(to);
  append_keys(to, "tunnels.ike", kIkeKeys);
  append_keys(to, "tunnels.esp", kEspKeys);
  append_keys(to, "tunnels.outer", kOuterKeys);
  append_keys(to, "tunnels.selectors", kSelectorKeys);
  append_keys(to, "tunnels.interface", kInterfaceKeys);
  append_watch_keys(to);
}

}  // namespace espgate::conf
