#include "control/tunnels/expiries.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "crypto/certificate.hpp"
#include "crypto/ocsp.hpp"

namespace espgate::control {
namespace {

using ByWords = std::map<std::string, std::int64_t>;  // many tunnels share what they name

void add_ours(const conf::Tunnel& tunnel, ByWords& to) {
  const conf::LocalAuth& ours = tunnel.local_auth;
  if (!ours.chain) return;
  const crypto::Certificate& leaf = *ours.chain->front();
  to[fmt::format("our certificate {}", leaf.words())] = leaf.not_after();
  if (!ours.ocsp_response) return;
  if (const auto next = crypto::read_ocsp(*ours.ocsp_response, leaf).next_update)
    to[fmt::format("the OCSP response of our certificate {}", leaf.words())] = *next;
}

void add_theirs(const conf::Tunnel& tunnel, ByWords& to) {
  if (!tunnel.remote_auth.trust) return;
  for (const crypto::TrustStore::List& list : tunnel.remote_auth.trust->lists()) {
    if (list.next_update == 0) continue;
    std::int64_t& at = to[fmt::format("the revocation list of {}", list.issuer)];
    at = std::max(at, list.next_update);  // of several the newest counts
  }
}

}  // namespace

std::vector<Expiry> expiries_of(const conf::Configuration& configuration) {
  ByWords found;
  for (const conf::Tunnel& tunnel : configuration.tunnels) {
    add_ours(tunnel, found);
    add_theirs(tunnel, found);
    for (const conf::Ppk& ppk : tunnel.ppks)
      if (ppk.not_after != INT64_MAX)
        found[fmt::format("the PPK \"{}\" of tunnel {}", ppk.id, tunnel.name)] = ppk.not_after;
  }
  std::vector<Expiry> out;
  for (const auto& [what, at] : found) out.push_back({at, what});
  std::ranges::stable_sort(out, {}, &Expiry::at);
  return out;
}

std::vector<std::string> Expiries::due(std::int64_t now) {
  std::vector<std::string> lines;
  for (; ended_ < all_.size() && all_[ended_].at < now; ++ended_)
    lines.push_back(fmt::format("{} has ended on {}", all_[ended_].what, crypto::utc_words(all_[ended_].at)));
  for (ending_ = std::max(ending_, ended_); ending_ < all_.size() && all_[ending_].at < now + kAhead;
       ++ending_)
    lines.push_back(fmt::format("{} ends on {}", all_[ending_].what, crypto::utc_words(all_[ending_].at)));
  return lines;
}

}  // namespace espgate::control
