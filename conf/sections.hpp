// The parts of the file, each read on its own, and the checks between them. Only conf/ itself includes this.
#pragma once

#include "conf/keys.hpp"

namespace espgate::conf {

// gateway_section.cpp: the file itself, with `dataplane`, `ports`, `routes` and `groups`.
void read_gateway(const Field& file, Configuration& out);
void append_gateway_keys(std::vector<KnownKey>& to);

// tunnel_section.cpp. `is_child`: of a tunnel's block; `is_parents`: a child has no such key of its own.
void read_tunnels(const Field& field, std::vector<Tunnel>& out, std::size_t most);
[[nodiscard]] bool is_child(const Node& tunnel);
[[nodiscard]] bool is_parents(std::string_view key);
void append_tunnel_keys(std::vector<KnownKey>& to);

// profiles.cpp: a profile as a block of a tunnel's keys, whose places in it mean nothing; empty for none.
[[nodiscard]] const Node& profile_node(Profile profile);

// legacy.cpp: what is too weak needs `legacy: true`.
void check_legacy(const Field& tunnel, const Tunnel& out);
void check_child_legacy(const Field& tunnel, const Tunnel& out);

// proposals.cpp: as operators write it.
[[nodiscard]] std::string name_of(crypto::DhGroup group);

// watch_section.cpp: `bfd`, `probe` and `hold-down`. `complete_watch`: what the rest of the tunnel must have
// for them, and no hold-down where nobody asked for any of them.
void read_bfd(const Field& field, Tunnel& out);
void read_probe(const Field& field, Tunnel& out);
void read_hold_down(const Field& field, Tunnel& out);
void complete_watch(const Field& tunnel, Tunnel& out);
void append_watch_keys(std::vector<KnownKey>& to);

// tunnel_whole.cpp: defaults of what was not given, and the checks between a tunnel's keys. `block`: the
// tunnel.
void complete_tunnel(const Field& block, Tunnel& tunnel);
void complete_child(const Field& block, Tunnel& child);

// auth_section.cpp: `local` and `remote`. `complete_auth`: who authenticates by what, and whether the keys of
// the tunnel fit that.
void read_local(const Field& field, Tunnel& out);
void read_remote(const Field& field, Tunnel& out);
void complete_auth(const Field& tunnel, Tunnel& out);
[[nodiscard]] bool is_template(const Node& tunnel);  // its remote is any
void append_auth_keys(std::vector<KnownKey>& to);

// template_section.cpp: one tunnel's block for many peers. `check_template`: what that leaves room for.
// `expand_templates`: slots instead, when all was checked by its place in the file.
void read_peer_secrets(const Field& field, std::vector<PeerSecret>& out);
void check_peer_secrets(const Field& tunnel, const Tunnel& out);
void check_template(const Field& tunnel, Tunnel& out);
void expand_templates(Configuration& configuration);

// ppk_section.cpp: `ppks`. `check_ppks`: what the tunnel's other keys say of them.
void read_ppks(const Field& field, std::vector<Ppk>& out);
void check_ppks(const Field& tunnel, const Tunnel& out);
void append_ppk_keys(std::vector<KnownKey>& to);

// directory_name.cpp: a Name in DER; nullopt: the text is none.
[[nodiscard]] bool looks_like_directory_name(std::string_view text);
[[nodiscard]] std::optional<std::vector<std::uint8_t>> encode_directory_name(std::string_view text);

// identity.cpp: `east.example`, `192.0.2.1`, `ops@example`, `C=DE, CN=east`, or {type: keyid, value: ...}.
enum class Patterns : std::uint8_t { refused, allowed };
void read_identity(const Field& field, Identity& out, Patterns patterns = Patterns::refused);
void append_identity_keys(std::vector<KnownKey>& to);
[[nodiscard]] Identity identity_of(const IpAddress& address);

// secret.cpp: whatever key of this name there will be.
[[nodiscard]] bool is_secret(std::string_view key);

// explain.cpp: `root` is the file that `configuration` was read from.
[[nodiscard]] std::vector<ExplainedTunnel> explain_tunnels(const Configuration& configuration,
                                                           const Node& root);

// load.cpp: the file as a tree, and what the tree says. Throw Error.
[[nodiscard]] Node read_tree(const std::string& path);
[[nodiscard]] Configuration load_tree(const Node& root, const std::string& path, Secrets secrets);

// manual_section.cpp. `check_without_ike`: nothing in the block `tunnel` is IKE's. `path`: "esp.lifetime".
[[nodiscard]] bool belongs_to_ike(std::string_view path);
void read_manual(const Field& field, std::optional<Manual>& out);
void check_without_ike(const Field& tunnel);
void append_manual_keys(std::vector<KnownKey>& to);

// secret.cpp: none opens the file nor keeps anything with Secrets::skip.
// What is in the file that the field names, at most `most` bytes; nullopt: the field is no name, it is not
// `wanted`, or it was said what is wrong.
[[nodiscard]] std::optional<crypto::SecretBytes> read_file_of(const Field& field, bool wanted,
                                                              std::size_t most);
void read_psk(const Field& field, crypto::SecretBytes& out);
void read_psk_file(const Field& field, crypto::SecretBytes& out);
// The file's bytes as they are but for a line break at the end, or behind 0x hex digits.
void read_ppk_file(const Field& field, crypto::SecretBytes& out);
// A key of exactly the suite's length: the bytes themselves, or hex digits.
void read_key_file(const Field& field, const crypto::SuiteRow& suite, crypto::SecretBytes& out);

// kernel_twins.cpp: `true`, `false`, or the twin's name. `name_twin` gives one that has no name of its own
// the interface's; once that is known.
void read_twin(const Field& field, std::string& out);
void name_twin(std::string& twin, const std::string& interface);
void check_kernel_twins(Errors& errors, const Node& root, const Configuration& configuration);

// check_names.cpp, check_addresses.cpp, check_manual.cpp, check_tables.cpp, check_ways.cpp,
// check_children.cpp, check_templates.cpp: what several parts must agree on. `root` is the file
// `configuration` was read from, for the places of errors. What is empty or unset was reported before.
void check_names(Errors& errors, const Node& root, const Configuration& configuration);
void check_addresses(Errors& errors, const Node& root, const Configuration& configuration);
void check_manual(Errors& errors, const Node& root, const Configuration& configuration);
void check_tables(Errors& errors, const Node& root, const Configuration& configuration);
void check_ways(Errors& errors, const Node& root, const Configuration& configuration);
void check_children(Errors& errors, const Node& root, const Configuration& configuration);
void check_templates(Errors& errors, const Node& root, const Configuration& configuration);

}  // namespace espgate::conf
