// One tunnel's block for many peers (`remote: any`): what it must say, what has no meaning for so many, and
// the tunnels that it stands for.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "channel/messages.hpp"
#include "conf/comparable.hpp"
#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

constexpr std::size_t kMostSecret = 4096;
constexpr std::size_t kMostSecretsFile = 4U << 20;

// The value at "interface.kernel"; null: it does not stand there.
const Node* find(const Node& block, std::string_view path) {
  const std::size_t dot = path.find('.');
  const Node& value = block.at(path.substr(0, dot));
  if (&value == &block) return nullptr;
  return dot == path.npos ? &value : find(value, path.substr(dot + 1));
}

struct Senseless {
  std::string_view path;
  std::string_view why;
};
constexpr Senseless kSenseless[] = {
    {"manual", "there are no keys agreed by hand with peers that are not known before"},
    {"ppks", "a tunnel with remote: any has no PPKs yet"},
    {"interface.addresses", "each peer's interface would have the same"},
    {"interface.kernel", "the peers' interfaces come and go with them, and have no twins in the kernel"},
    {"bfd", "each peer's interface would need an address of its own"},
    {"probe", "each peer's interface would need an address of its own"},
    {"hold-down", "the far ends of a tunnel with remote: any are not watched"},
};

void refuse_senseless(const Field& tunnel, const Tunnel& out) {
  Errors& errors = tunnel.reading.errors;
  for (const auto& [path, why] : kSenseless)
    if (const Node* const there = find(tunnel.node, path))
      errors.add(there->mark, fmt::format("{}: {}; expected no such key, or a remote address",
                                          path.substr(path.rfind('.') + 1), why));
  const Node* const start = find(tunnel.node, "start");
  if (start != nullptr && out.start == Start::initiate)
    errors.add(start->mark,
               "start: a peer that may be anywhere begins itself; expected wait, or a remote address");
  if (out.mode == channel::Mode::transport)
    errors.add(tunnel.node.at("mode").mark,
               "mode: transport mode is between two known ends; expected tunnel, or a remote address");
}

void check_identities(const Field& tunnel, const Tunnel& out) {
  Errors& errors = tunnel.reading.errors;
  const Node* const id = find(tunnel.node, "remote.id");
  const Node& remote = tunnel.node.at("remote");
  switch (out.remote_auth.by) {
    case Auth::psk:
      if (id != nullptr)
        errors.add(id->mark, "id: the peers' identities stand in psks-file; expected no such key");
      return;
    case Auth::public_key:
      return errors.add(
          remote.mark,
          "remote: one public key can't be that of several peers; expected authorities, or psks-file");
    case Auth::certificate:
      if (id == nullptr)
        errors.add(
            remote.mark,
            "remote: the key \"id\" is missing: which peers of those that the authorities know, such as "
            "\"*.branches.example\", or \"*\" for all");
  }
}

void check_count(const Field& tunnel, const Tunnel& out) {
  if (find(tunnel.node, "peers") == nullptr)
    return tunnel.error("tunnel: the key \"peers\" is missing: how many at once, as remote is any");
  const std::size_t most = channel::kNameLength - 2 - std::to_string(out.peers).size();
  if (std::max(out.name.size(), out.interface.size()) > most)
    tunnel.error(
        fmt::format("tunnel: its name and its interface's get a number for each peer; expected at most "
                    "{} characters",
                    most));
}

void refuse_without_any(const Field& tunnel, const Tunnel& out) {
  for (const std::string_view key : {"peers", "psks-file"})
    if (const Node* const there = find(tunnel.node, key))
      tunnel.reading.errors.add(there->mark,
                                fmt::format("{}: is for many peers; expected remote: {{address: any}}", key));
  if (out.remote_id.pattern)
    tunnel.reading.errors.add(
        tunnel.node.at("remote").at("id").mark,
        "id: * is for many peers; expected remote: {address: any}, or the peer's identity");
}

// A line: `identity: secret`. What stands in the file never stands in a message.
class SecretLines {
 public:
  SecretLines(const Field& field, std::vector<PeerSecret>& out) : field_(field), out_(out) {}

  void read(std::string_view text) {
    for (std::size_t number = 1; !text.empty(); ++number) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      line(trimmed(text.substr(0, end)), number);
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    if (out_.empty() && sound_) field_.error(fmt::format("{}: no line of the file has a secret", field_.key));
  }

 private:
  static std::string_view trimmed(std::string_view text) {
    constexpr std::string_view kBlank = " \t\r";
    const std::size_t begin = text.find_first_not_of(kBlank);
    if (begin == text.npos) return {};
    return text.substr(begin, text.find_last_not_of(kBlank) + 1 - begin);
  }

  void wrong(std::size_t number, std::string_view what) {
    sound_ = false;
    field_.error(fmt::format("{}: line {} of the file: {}", field_.key, number, what));
  }

  // An IPv6 address has colons, too, but no space behind them.
  void line(std::string_view text, std::size_t number) {
    if (text.empty() || text.front() == '#') return;
    const std::size_t colon = text.find(": ");
    const std::string_view secret = colon == text.npos ? "" : trimmed(text.substr(colon + 2));
    if (secret.empty() || secret.size() > kMostSecret)
      return wrong(number,
                   fmt::format("expected an identity, a colon, a space and a secret of at most {} bytes",
                               kMostSecret));
    Reading reading{Errors(std::string()), Secrets::skip, {}};
    Node node(NodeKind::scalar, field_.node.mark);
    node.text = std::string(trimmed(text.substr(0, colon)));
    Identity id;
    read_identity({reading, node, "id"}, id);
    if (id.data.empty() || !reading.errors.empty())
      return wrong(number, "what stands before the colon is no identity");
    if (!seen_.emplace(id.type, comparable(id)).second)
      return wrong(number, "the identity stands in the file before");
    out_.push_back({std::move(id), crypto::SecretBytes(secret)});
  }

  const Field& field_;
  std::vector<PeerSecret>& out_;
  std::set<std::pair<IdentityType, std::vector<std::uint8_t>>> seen_;
  bool sound_{true};
};

Tunnel make_slot(const Tunnel& from, std::uint32_t number) {
  Tunnel slot;
  static_cast<Inherited&>(slot) = from;
  slot.name = fmt::format("{}/{}", from.name, number);
  slot.interface = fmt::format("{}/{}", from.interface, number);
  slot.peers = from.peers;
  slot.local_auth.by = from.local_auth.by;  // the rest comes with the files
  slot.local_auth.rsa_pss = from.local_auth.rsa_pss;
  slot.remote_auth.by = from.remote_auth.by;
  slot.remote_auth.ocsp = from.remote_auth.ocsp;
  slot.ike_proposals = from.ike_proposals;
  slot.ike_lifetime = from.ike_lifetime;
  slot.ike_reauth = from.ike_reauth;
  slot.childless = from.childless;
  slot.verify_rekey = from.verify_rekey;
  slot.dpd_interval = from.dpd_interval;
  slot.mode = from.mode;
  slot.local_selectors = from.local_selectors;
  slot.remote_selectors = from.remote_selectors;
  slot.mark = from.mark;
  return slot;
}

void append_slots(Tunnel& from, std::vector<Tunnel>& to) {
  const auto first = static_cast<std::uint32_t>(to.size());
  for (std::uint32_t number = 1; number <= from.peers; ++number) {
    Tunnel& slot = to.emplace_back(make_slot(from, number));
    slot.first_slot = first;
    if (number > from.secrets.size()) continue;
    slot.remote_id = std::move(from.secrets[number - 1].id);
    slot.psk = std::move(from.secrets[number - 1].secret);
  }
  to[first].files = std::move(from.files);
}

}  // namespace

void read_peer_secrets(const Field& field, std::vector<PeerSecret>& out) {
  const auto file = read_file_of(field, field.reading.secrets == Secrets::load, kMostSecretsFile);
  if (!file) return;
  SecretLines(field, out).read({reinterpret_cast<const char*>(file->view().data()), file->size()});
}

void check_peer_secrets(const Field& tunnel, const Tunnel& out) {
  Errors& errors = tunnel.reading.errors;
  for (const std::string_view key : {"psk", "psk-file"})
    if (const Node* const there = find(tunnel.node, key))
      errors.add(there->mark,
                 fmt::format("{}: whoever has a secret that several peers have can pretend to be any of "
                             "them; expected psks-file, with one for each",
                             key));
  const Node* const secrets = find(tunnel.node, "psks-file");
  const bool needed = out.remote_auth.by == Auth::psk;
  if (needed && secrets == nullptr)
    tunnel.error("tunnel: no secrets; expected psks-file, or authorities of the peers' certificates");
  if (!needed && secrets != nullptr)
    errors.add(secrets->mark, "psks-file: the peers do not authenticate by it");
  if (!needed && out.local_auth.by == Auth::psk)
    tunnel.error("tunnel: the peers have certificates, and we have none; expected a certificate of ours");
  if (needed && out.secrets.size() > out.peers && out.peers != 0)
    errors.add(secrets->mark,
               fmt::format("psks-file: has the secrets of {} peers; expected at most {}, the tunnel's "
                           "peers",
                           out.secrets.size(), out.peers));
}

void check_template(const Field& tunnel, Tunnel& out) {
  if (!is_template(tunnel.node)) return refuse_without_any(tunnel, out);
  refuse_senseless(tunnel, out);
  out.start = Start::wait;
  check_identities(tunnel, out);
  check_count(tunnel, out);
  if (find(tunnel.node, "selectors.remote") == nullptr)
    tunnel.error(
        "tunnel: selectors.remote is missing, the networks of which each peer may have a part, as remote is "
        "any");
}

// What refers to another tunnel by its place follows it to its new one.
void expand_templates(Configuration& configuration) {
  std::vector<Tunnel>& tunnels = configuration.tunnels;
  if (std::ranges::none_of(tunnels, [](const Tunnel& tunnel) { return tunnel.peers != 0; })) return;
  std::vector<Tunnel> expanded;
  std::vector<std::uint32_t> places;
  for (Tunnel& tunnel : tunnels) {
    places.push_back(static_cast<std::uint32_t>(expanded.size()));
    if (tunnel.peers != 0)
      append_slots(tunnel, expanded);
    else
      expanded.push_back(std::move(tunnel));
  }
  for (Tunnel& tunnel : expanded)
    if (tunnel.parent_index) tunnel.parent_index = places[*tunnel.parent_index];
  tunnels = std::move(expanded);
}

}  // namespace espgate::conf
