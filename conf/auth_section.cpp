// The two ends of a tunnel, and how each shows who it is.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "conf/choices.hpp"
#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

constexpr std::size_t kMostFiles = 32;

constexpr std::array<std::pair<std::string_view, Auth>, 3> kAuth{
    {{"psk", Auth::psk}, {"certificate", Auth::certificate}, {"public-key", Auth::public_key}}};

constexpr std::string_view kAnywhere = "any";

// Which link a link-local address is on, it does not say.
void read_endpoint(const Field& field, IpAddress& out) {
  static const IpPrefix kLinkLocal = *parse_prefix("fe80::/10");
  const auto address = field.is_scalar() ? parse_address(field.node.text) : std::nullopt;
  if (address && contains(kLinkLocal, *address))
    return field.expected("an address that is not of one link alone");
  read_address(field, out);
}

CredentialFiles& files_of(Tunnel& tunnel) {
  if (!tunnel.files) tunnel.files = std::make_unique<CredentialFiles>();
  return *tunnel.files;
}

void read_file_name(const Field& field, NamedFile& out) {
  std::string name;
  read_text(field, name);
  if (!name.empty()) out = {(std::filesystem::path(field.reading.folder) / name).string(), field.node.mark};
}

void read_file_names(const Field& field, std::vector<NamedFile>& out) {
  if (field.node.kind != NodeKind::list || field.node.children.empty())
    return field.expected("a list of at least one file");
  read_list(field, out, kMostFiles, read_file_name);
}

constexpr Key<Tunnel> kLocalKeys[] = {
    {"address", Need::required, [](const Field& f, Tunnel& t) { read_endpoint(f, t.local); }},
    {"id", Need::optional, [](const Field& f, Tunnel& t) { read_identity(f, t.local_id); }},
    {"auth", Need::optional, [](const Field& f, Tunnel& t) { read_choice(f, t.local_auth.by, kAuth); }},
    {"certificate", Need::optional,
     [](const Field& f, Tunnel& t) { read_file_name(f, files_of(t).certificate); }},
    {"key", Need::optional, [](const Field& f, Tunnel& t) { read_file_name(f, files_of(t).key); }},
    {"pkcs12", Need::optional, [](const Field& f, Tunnel& t) { read_file_name(f, files_of(t).pkcs12); }},
    {"password-file", Need::optional,
     [](const Field& f, Tunnel& t) { read_file_name(f, files_of(t).password); }},
    {"rsa-pss", Need::optional, [](const Field& f, Tunnel& t) { read_bool(f, t.local_auth.rsa_pss); }},
    {"ocsp-response", Need::optional,
     [](const Field& f, Tunnel& t) { read_file_name(f, files_of(t).ocsp_response); }},
};
constexpr Key<Tunnel> kRemoteKeys[] = {
    {"address", Need::required,
     [](const Field& f, Tunnel& t) {
       if (!f.is_scalar() || f.node.text != kAnywhere) read_endpoint(f, t.remote);
     }},
    {"id", Need::optional,
     [](const Field& f, Tunnel& t) { read_identity(f, t.remote_id, Patterns::allowed); }},
    {"auth", Need::optional, [](const Field& f, Tunnel& t) { read_choice(f, t.remote_auth.by, kAuth); }},
    {"authorities", Need::optional,
     [](const Field& f, Tunnel& t) { read_file_names(f, files_of(t).authorities); }},
    {"crl", Need::optional, [](const Field& f, Tunnel& t) { read_file_names(f, files_of(t).crls); }},
    {"ocsp", Need::optional, [](const Field& f, Tunnel& t) { read_choice(f, t.remote_auth.ocsp, kOcsp); }},
    {"public-key", Need::optional,
     [](const Field& f, Tunnel& t) { read_file_name(f, files_of(t).public_key); }},
};

// One side's block, and what of it is there.
struct Side {
  const Field& tunnel;
  std::string_view name;
  const Node& block;

  Side(const Field& whole, std::string_view side) : tunnel(whole), name(side), block(whole.node.at(side)) {}
  [[nodiscard]] bool there() const { return &block != &tunnel.node && block.kind == NodeKind::map; }
  [[nodiscard]] bool has(std::string_view key) const { return there() && &block.at(key) != &block; }
  void error(std::string_view key, const std::string& what) const {
    tunnel.reading.errors.add(block.at(key).mark, fmt::format("{}: {}", key, what));
  }
  // Each of `keys` that is there means nothing with `method`.
  void refuse(std::initializer_list<std::string_view> keys, std::string_view method) const {
    for (const std::string_view key : keys)
      if (has(key)) error(key, fmt::format("means nothing where {} authenticates by {}", name, method));
  }
  void require(std::string_view key, std::string_view method) const {
    if (there() && !has(key))
      tunnel.reading.errors.add(block.mark, fmt::format("{}: the key {} is missing, which auth: {} needs",
                                                        name, in_quotes(key), method));
  }
};

void infer(const Side& local, const Side& remote, Tunnel& out) {
  if (!local.has("auth")) {
    const bool certificate = local.has("certificate") || local.has("pkcs12");
    out.local_auth.by = certificate ? Auth::certificate : local.has("key") ? Auth::public_key : Auth::psk;
  }
  if (!remote.has("auth"))
    out.remote_auth.by = remote.has("authorities")  ? Auth::certificate
                         : remote.has("public-key") ? Auth::public_key
                                                    : Auth::psk;
}

void check_local(const Side& local, Auth by) {
  switch (by) {
    case Auth::psk:
      return local.refuse({"certificate", "key", "pkcs12", "password-file", "rsa-pss", "ocsp-response"},
                          "psk");
    case Auth::public_key:
      local.require("key", "public-key");
      return local.refuse({"certificate", "pkcs12", "password-file", "ocsp-response"}, "public-key");
    case Auth::certificate:
      break;
  }
  if (local.has("pkcs12")) {
    for (const std::string_view key : {"certificate", "key"})
      if (local.has(key)) local.error(key, "is in the pkcs12 file; expected only one of them");
    return;
  }
  local.require("certificate", "certificate");
  local.require("key", "certificate");
  if (local.has("password-file")) local.error("password-file", "is for pkcs12; a key has none");
}

void check_remote(const Side& remote, Auth by) {
  switch (by) {
    case Auth::psk:
      return remote.refuse({"authorities", "crl", "ocsp", "public-key"}, "psk");
    case Auth::public_key:
      remote.require("public-key", "public-key");
      return remote.refuse({"authorities", "crl", "ocsp"}, "public-key");
    case Auth::certificate:
      remote.require("authorities", "certificate");
      return remote.refuse({"public-key"}, "certificate");
  }
}

void check_psk(const Field& tunnel, const Tunnel& out) {
  if (is_template(tunnel.node)) return check_peer_secrets(tunnel, out);
  const bool inline_psk = &tunnel.node.at("psk") != &tunnel.node;
  const bool in_file = &tunnel.node.at("psk-file") != &tunnel.node;
  const bool needed = out.local_auth.by == Auth::psk || out.remote_auth.by == Auth::psk;
  if (inline_psk && in_file) return tunnel.error("tunnel: two secrets; expected either psk or psk-file");
  if (needed && !inline_psk && !in_file)
    return tunnel.error(
        "tunnel: no secret; expected psk, psk-file or manual, or certificates or keys of both sides");
  if (needed || (!inline_psk && !in_file)) return;
  const std::string_view key = inline_psk ? "psk" : "psk-file";
  tunnel.reading.errors.add(tunnel.node.at(key).mark,
                            fmt::format("{}: neither side authenticates by it", key));
}

}  // namespace

void read_local(const Field& field, Tunnel& out) { read_block(field, kLocalKeys, out); }
void read_remote(const Field& field, Tunnel& out) {
  if (!field.is_scalar() || field.node.text != kAnywhere) read_block(field, kRemoteKeys, out);
}

bool is_template(const Node& tunnel) {
  const Node& remote = tunnel.at("remote");
  if (&remote == &tunnel) return false;
  const Node& where = remote.kind == NodeKind::map ? remote.at("address") : remote;
  return where.kind == NodeKind::scalar && where.text == kAnywhere;
}

void complete_auth(const Field& tunnel, Tunnel& out) {
  const Side local(tunnel, "local");
  const Side remote(tunnel, "remote");
  infer(local, remote, out);
  if (tunnel.node.kind != NodeKind::map || out.manual) return;
  check_local(local, out.local_auth.by);
  check_remote(remote, out.remote_auth.by);
  check_psk(tunnel, out);
}

void append_auth_keys(std::vector<KnownKey>& to) {
  append_keys(to, "tunnels.local", kLocalKeys);
  append_keys(to, "tunnels.remote", kRemoteKeys);
}

}  // namespace espgate::conf
