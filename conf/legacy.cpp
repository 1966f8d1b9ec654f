// `tunnels.legacy`: algorithms that are too weak by now (RFC 8221, RFC 8247), for peers that have no others.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "conf/choices.hpp"
#include "conf/sections.hpp"
#include "crypto/signature.hpp"

namespace espgate::conf {
namespace {

using crypto::DhGroup;
using Names = std::set<std::string>;

// RFC 8247 section 2.4: of too few bits, or (22 to 24) with primes that nobody has seen made.
bool is_legacy(DhGroup group) noexcept {
  constexpr DhGroup kLegacy[] = {DhGroup::modp768,      DhGroup::modp1024,     DhGroup::modp1536,
                                 DhGroup::modp1024s160, DhGroup::modp2048s224, DhGroup::modp2048s256};
  return std::ranges::count(kLegacy, group) != 0;
}

void add_groups(const std::vector<DhGroup>& groups, Names& names) {
  for (const DhGroup group : groups)
    if (is_legacy(group)) names.insert(name_of(group));
}

bool is_sha1(crypto::EspSuite suite) {
  const crypto::SuiteRow* row = crypto::find_suite(suite);
  return row != nullptr &&
         row->ike_integrity == static_cast<std::uint16_t>(crypto::IkeIntegrity::hmac_sha1_96);
}

Names legacy_names(const IkeProposal& proposal) {
  Names names;
  if (std::ranges::count(proposal.integrity, crypto::IkeIntegrity::hmac_sha1_96) != 0) names.insert("sha1");
  if (names.empty() && std::ranges::count(proposal.prfs, crypto::Prf::hmac_sha1) != 0)
    names.insert("prfsha1");
  add_groups(proposal.groups, names);
  return names;
}

Names legacy_names(const EspProposal& proposal) {
  Names names;
  if (std::ranges::any_of(proposal.suites, is_sha1)) names.insert("sha1");
  add_groups(proposal.groups, names);
  return names;
}

bool may_be_rsa(Auth by, const std::shared_ptr<const crypto::PublicKey>& key) {
  return by != Auth::psk && (key == nullptr || key->kind() == crypto::KeyKind::rsa);
}

// RSA with SHA-1 (method 1) is what we sign with, and what we take, where it is allowed. Which key a peer's
// certificate has is not known before it comes.
bool signs_sha1(const Tunnel& tunnel) {
  return tunnel.legacy && (may_be_rsa(tunnel.local_auth.by, tunnel.local_auth.public_key) ||
                           may_be_rsa(tunnel.remote_auth.by, tunnel.remote_auth.public_key));
}

Names legacy_names(const Tunnel& tunnel) {
  Names names;
  if (tunnel.manual) {
    if (is_sha1(tunnel.manual->suite)) names.insert("sha1");
    return names;
  }
  if (signs_sha1(tunnel)) names.insert("sha1 signatures");
  for (const IkeProposal& proposal : tunnel.ike_proposals) names.merge(legacy_names(proposal));
  for (const EspProposal& proposal : tunnel.esp_proposals) names.merge(legacy_names(proposal));
  return names;
}

std::string listed(const Names& names) { return fmt::format("{}", fmt::join(names, ", ")); }

// A profile's `legacy` is for its own proposals: who writes others says himself that they may be weak.
template <class Proposal>
void check_proposals(const Field& tunnel, std::string_view block, const std::vector<Proposal>& proposals) {
  const Node& outer = tunnel.node.at(block);
  const Node& list = outer.at("proposals");
  if (&outer == &tunnel.node || &list == &outer) return;
  for (std::size_t i = 0; i < proposals.size(); ++i)
    if (const Names names = legacy_names(proposals[i]); !names.empty())
      tunnel.reading.errors.add(
          list.at(i).mark, fmt::format("{}: too weak by now: {}; expected legacy: true of the tunnel, for a "
                                       "peer that has nothing better, or others",
                                       in_quotes(proposals[i].text), listed(names)));
}

bool says_legacy(const Field& tunnel) {
  const Node& value = tunnel.node.at("legacy");
  return &value != &tunnel.node && value.text == word_of(true, kBool);
}

}  // namespace

void check_legacy(const Field& tunnel, const Tunnel& out) {
  if (says_legacy(tunnel)) return;
  if (out.manual) {
    if (is_sha1(out.manual->suite))
      tunnel.reading.errors.add(
          tunnel.node.at("manual").at("suite").mark,
          "suite: sha1 is too weak by now; expected legacy: true of the tunnel, or another");
    return;
  }
  check_proposals(tunnel, "ike", out.ike_proposals);
  check_proposals(tunnel, "esp", out.esp_proposals);
  if (out.legacy || out.profile == Profile::none) return;
  if (const Names names = legacy_names(out); !names.empty() && &tunnel.node.at("legacy") != &tunnel.node)
    tunnel.reading.errors.add(
        tunnel.node.at("legacy").mark,
        fmt::format(
            "legacy: the profile {} has proposals with {}; expected proposals of your own, or no such key",
            word_of(out.profile, kProfile), listed(names)));
}

// The parent says it for both.
void check_child_legacy(const Field& tunnel, const Tunnel& out) {
  if (!out.legacy) check_proposals(tunnel, "esp", out.esp_proposals);
}

std::string legacy_words(const Configuration& configuration) {
  constexpr std::size_t kMostNames = 5;
  std::vector<std::string_view> tunnels;
  Names names;
  for (std::uint32_t i = 0; i < configuration.tunnels.size(); ++i) {
    const Tunnel& tunnel = configuration.tunnels[i];
    if (tunnel.first_slot.value_or(i) != i) continue;  // its template's first speaks for it
    Names more = legacy_names(tunnel);
    if (more.empty()) continue;
    tunnels.push_back(tunnel.name);
    names.merge(more);
  }
  if (tunnels.empty()) return {};
  const std::size_t shown = std::min(tunnels.size(), kMostNames);
  std::string text =
      fmt::format("{}", fmt::join(tunnels.begin(), tunnels.begin() + static_cast<long>(shown), ", "));
  if (shown < tunnels.size()) text += fmt::format(" and {} more", tunnels.size() - shown);
  return fmt::format(
      "legacy algorithms are allowed: {} for {}. They are too weak for what must stay secret; take "
      "others as soon as the peer has them",
      listed(names), text);
}

}  // namespace espgate::conf
