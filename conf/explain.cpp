// `espgate check --explain`: each tunnel's values as they are in use, and where each comes from.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "conf/choices.hpp"
#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

using Show = std::string (*)(const Tunnel& tunnel);

template <class Range, class Text>
std::string list_of(const Range& range, Text text) {
  std::vector<std::string> words;
  for (const auto& item : range) words.push_back(text(item));
  return fmt::format("[{}]", fmt::join(words, ", "));
}

std::string text_of(const std::vector<IpPrefix>& prefixes) {
  return list_of(prefixes, [](const IpPrefix& prefix) { return to_string(prefix); });
}

std::string limit(std::uint64_t value) { return value == 0 ? "0 (no limit)" : std::to_string(value); }

std::string tfc(const Tunnel& tunnel) {
  return tunnel.tfc_length == channel::kTfcToMtu ? "mtu" : std::to_string(tunnel.tfc_length);
}

std::string mtu(const Tunnel& tunnel) {
  if (tunnel.mtu != 0) return std::to_string(tunnel.mtu);
  return tunnel.fragmentation == Fragmentation::after ? "9000" : "derived from the port's and the SA's";
}

constexpr auto kProposalText = [](const auto& proposal) { return proposal.text; };

// Of what has a value where the file is silent. Other keys are shown as the file has them.
const std::map<std::string_view, Show>& shows() {
  static const std::map<std::string_view, Show> kShows{
      {"profile", [](const Tunnel& t) { return std::string(word_of(t.profile, kProfile)); }},
      {"legacy", [](const Tunnel& t) { return std::string(word_of(t.legacy, kBool)); }},
      {"table", [](const Tunnel& t) { return t.table.name; }},
      {"local.id", [](const Tunnel& t) { return t.local_id.text; }},
      {"remote.id", [](const Tunnel& t) { return t.remote_id.text; }},
      {"remote.ocsp", [](const Tunnel& t) { return std::string(word_of(t.remote_auth.ocsp, kOcsp)); }},
      {"ppks", [](const Tunnel& t) { return list_of(t.ppks, [](const Ppk& ppk) { return ppk.id; }); }},
      {"ppk-use", [](const Tunnel& t) { return std::string(word_of(t.ppk_use, kPpkUse)); }},
      {"mode", [](const Tunnel& t) { return std::string(word_of(t.mode, kMode)); }},
      {"ike.proposals", [](const Tunnel& t) { return list_of(t.ike_proposals, kProposalText); }},
      {"ike.lifetime", [](const Tunnel& t) { return duration_words(t.ike_lifetime); }},
      {"ike.reauth",
       [](const Tunnel& t) { return t.ike_reauth.count() == 0 ? "never" : duration_words(t.ike_reauth); }},
      {"ike.childless", [](const Tunnel& t) { return std::string(word_of(t.childless, kChildless)); }},
      {"esp.proposals", [](const Tunnel& t) { return list_of(t.esp_proposals, kProposalText); }},
      {"esp.lifetime", [](const Tunnel& t) { return duration_words(t.child_lifetime); }},
      {"esp.bytes", [](const Tunnel& t) { return limit(t.child_bytes); }},
      {"esp.packets", [](const Tunnel& t) { return limit(t.child_packets); }},
      {"esp.verify", [](const Tunnel& t) { return std::string(word_of(t.verify_rekey, kBool)); }},
      {"esp.replay-window", [](const Tunnel& t) { return std::to_string(t.replay_window); }},
      {"esp.esn", [](const Tunnel& t) { return std::string(word_of(t.esn, kEsn)); }},
      {"esp.tfc", tfc},
      {"selectors.local", [](const Tunnel& t) { return text_of(t.local_selectors); }},
      {"selectors.remote", [](const Tunnel& t) { return text_of(t.remote_selectors); }},
      {"dpd", [](const Tunnel& t) { return duration_words(t.dpd_interval); }},
      {"start", [](const Tunnel& t) { return std::string(word_of(t.start, kStart)); }},
      {"encapsulation",
       [](const Tunnel& t) { return std::string(word_of(t.encapsulation, kEncapsulation)); }},
      {"keepalive", [](const Tunnel& t) { return duration_words(t.keepalive); }},
      {"outer.dscp",
       [](const Tunnel& t) { return t.outer.dscp ? std::to_string(*t.outer.dscp) : std::string("copy"); }},
      {"outer.ecn", [](const Tunnel& t) { return std::string(word_of(t.outer.ecn, kEcn)); }},
      {"outer.df", [](const Tunnel& t) { return std::string(word_of(t.outer.df, kDf)); }},
      {"fragmentation",
       [](const Tunnel& t) { return std::string(word_of(t.fragmentation, kFragmentation)); }},
      {"spread", [](const Tunnel& t) { return std::string(word_of(t.spread, kBool)); }},
      {"interface.name", [](const Tunnel& t) { return t.interface; }},
      {"interface.addresses", [](const Tunnel& t) { return text_of(t.addresses); }},
      {"interface.mtu", mtu},
      {"interface.clamp-mss", [](const Tunnel& t) { return std::string(word_of(t.clamp_mss, kBool)); }},
      {"interface.table", [](const Tunnel& t) { return t.overlay.name; }},
      {"interface.kernel", [](const Tunnel& t) { return t.kernel.empty() ? "false" : t.kernel; }},
  };
  return kShows;
}

// The value at "ike.lifetime" below `tunnel`; nullptr: it does not stand there.
const Node* find(const Node& tunnel, std::string_view path) {
  const std::size_t dot = path.find('.');
  const std::string_view key = path.substr(0, dot);
  const Node& value = tunnel.at(key);
  if (&value == &tunnel) return nullptr;
  return dot == path.npos ? &value : find(value, path.substr(dot + 1));
}

std::string as_written(const Node& node) {
  if (node.kind == NodeKind::scalar) return node.text;
  return node.kind == NodeKind::list ? list_of(node.children, as_written) : std::string();
}

// "ike.lifetime" of all keys that hold a value, and not a block.
std::vector<std::string> paths() {
  constexpr std::string_view kTunnels = "tunnels";
  std::vector<KnownKey> keys;
  append_tunnel_keys(keys);
  const auto is_block = [&keys](const KnownKey& key) {
    const std::string block = key.block + "." + key.name;
    return std::ranges::any_of(keys, [&block](const KnownKey& other) { return other.block == block; });
  };
  std::vector<std::string> paths;
  for (const KnownKey& key : keys) {
    const std::string path = key.block + "." + key.name;
    // An identity is one value, however it is written, and so are all PPKs.
    const bool part = key.block.ends_with(".id") || key.block.ends_with(".ppks");
    const bool whole = key.name != "id" && key.name != "ppks" && is_block(key);
    if (!part && !whole) paths.push_back(path.substr(kTunnels.size() + 1));
  }
  return paths;
}

// What tells a tunnel from its parent.
bool is_inherited(std::string_view path) {
  constexpr std::array<std::string_view, 5> kOwn{"selectors.local", "selectors.remote", "interface.name",
                                                 "interface.addresses", "interface.kernel"};
  return std::ranges::count(kOwn, path) == 0;
}

// A child's values, where they are not its parent's alone.
std::vector<Explained> explain_child(const Tunnel& child, const Node& in_file) {
  std::vector<Explained> values;
  for (const std::string& path : paths()) {
    const auto show = shows().find(path);
    const Node* const written = find(in_file, path);
    const bool absent = written == nullptr && (show == shows().end() || path == "esp.verify");
    if (absent || is_parents(path.substr(0, path.find('.')))) continue;
    std::string origin = is_inherited(path) ? fmt::format("tunnel {}", child.parent) : "default";
    if (written != nullptr) origin = fmt::format("line {}", written->mark.line);
    values.push_back(
        {path, show != shows().end() ? show->second(child) : as_written(*written), std::move(origin)});
  }
  return values;
}

std::vector<Explained> explain(const Tunnel& tunnel, const Node& in_file) {
  if (!tunnel.parent.empty()) return explain_child(tunnel, in_file);
  std::vector<Explained> values;
  for (const std::string& path : paths()) {
    const auto show = shows().find(path);
    const Node* const written = find(in_file, path);
    const bool by_profile = written == nullptr && find(profile_node(tunnel.profile), path) != nullptr;
    const bool negotiated = !tunnel.manual || !belongs_to_ike(path);
    if (written == nullptr && (show == shows().end() || !negotiated)) continue;
    std::string origin = "default";
    if (written != nullptr) origin = fmt::format("line {}", written->mark.line);
    if (by_profile) origin = fmt::format("profile {}", word_of(tunnel.profile, kProfile));
    std::string value = show != shows().end() ? show->second(tunnel) : as_written(*written);
    values.push_back({path, is_secret(path.substr(path.rfind('.') + 1)) ? "(not shown)" : std::move(value),
                      std::move(origin)});
  }
  return values;
}

}  // namespace

std::vector<ExplainedTunnel> explain_tunnels(const Configuration& configuration, const Node& root) {
  std::vector<ExplainedTunnel> tunnels;
  const Node& list = root.at("tunnels");
  for (std::size_t i = 0; i < configuration.tunnels.size(); ++i)
    tunnels.push_back({configuration.tunnels[i].name, explain(configuration.tunnels[i], list.at(i))});
  return tunnels;
}

}  // namespace espgate::conf
