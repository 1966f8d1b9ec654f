// Proposal strings, as operators write them: names joined by dashes, alternatives of one kind in order of
// preference.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "conf/errors.hpp"
#include "conf/load.hpp"
#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

using crypto::DhGroup;
using crypto::IkeCipherId;
using crypto::IkeIntegrity;
using crypto::Prf;

template <class T>
struct Name {
  std::string_view name;
  T value;
};

struct Cipher {
  std::uint16_t id;  // IANA IKEv2 transform type 1
  std::uint16_t key_bits;
  bool aead;
  bool operator==(const Cipher&) const = default;
};
constexpr Cipher kAesCbc128{static_cast<std::uint16_t>(IkeCipherId::aes_cbc), 128, false};
constexpr Cipher kAesCbc256{static_cast<std::uint16_t>(IkeCipherId::aes_cbc), 256, false};
constexpr Cipher kAesGcm128{static_cast<std::uint16_t>(IkeCipherId::aes_gcm16), 128, true};
constexpr Cipher kAesGcm256{static_cast<std::uint16_t>(IkeCipherId::aes_gcm16), 256, true};
// IKE's own; those of ESP are in the table of suites.
constexpr Name<Cipher> kCiphers[] = {
    {"aes128", kAesCbc128},      {"aes256", kAesCbc256},    {"aes128gcm16", kAesGcm128},
    {"aes256gcm16", kAesGcm256}, {"aes128gcm", kAesGcm128}, {"aes256gcm", kAesGcm256},
};
// A hash: as integrity algorithm, and as the PRF that goes with it.
struct Hash {
  IkeIntegrity integrity;
  Prf prf;
  bool operator==(const Hash&) const = default;
};
constexpr Name<Hash> kHashes[] = {
    {"sha1", {IkeIntegrity::hmac_sha1_96, Prf::hmac_sha1}},
    {"sha256", {IkeIntegrity::hmac_sha256_128, Prf::hmac_sha256}},
    {"sha384", {IkeIntegrity::hmac_sha384_192, Prf::hmac_sha384}},
    {"sha512", {IkeIntegrity::hmac_sha512_256, Prf::hmac_sha512}},
};
constexpr Name<Prf> kPrfs[] = {{"prfsha1", Prf::hmac_sha1},
                               {"prfsha256", Prf::hmac_sha256},
                               {"prfsha384", Prf::hmac_sha384},
                               {"prfsha512", Prf::hmac_sha512}};
constexpr Name<DhGroup> kGroups[] = {
    {"modp2048", DhGroup::modp2048},
    {"modp3072", DhGroup::modp3072},
    {"modp4096", DhGroup::modp4096},
    {"ecp256", DhGroup::ecp256},
    {"ecp384", DhGroup::ecp384},
    {"ecp521", DhGroup::ecp521},
    {"curve25519", DhGroup::curve25519},
    {"x25519", DhGroup::curve25519},
    {"modp768", DhGroup::modp768},
    {"modp1024", DhGroup::modp1024},
    {"modp1536", DhGroup::modp1536},
    {"modp1024s160", DhGroup::modp1024s160},
    {"modp2048s224", DhGroup::modp2048s224},
    {"modp2048s256", DhGroup::modp2048s256},
};
// What other gateways may still offer, and no key of a tunnel brings back.
constexpr std::pair<std::string_view, std::string_view> kRefused[] = {
    {"des", "its keys of 56 bits can be searched (RFC 8247 section 2.1); the peer must be set to AES"},
    {"3des",
     "its blocks of 64 bits repeat after some gigabytes (RFC 8221 section 5); the peer must be set to AES"},
    {"md5", "it is broken (RFC 8221 section 6, RFC 8247 section 2.3); the peer must be set to SHA-2"},
    {"prfmd5", "it is broken (RFC 8247 section 2.2); the peer must be set to SHA-2"},
};

// What stands in one proposal, by kind, each in the order written.
struct Parts {
  std::vector<Cipher> ciphers;
  std::vector<Hash> hashes;
  std::vector<Prf> prfs;
  std::vector<DhGroup> groups;
};

[[noreturn]] void refuse(std::string_view text, std::string_view why) {
  throw Error(fmt::format("{}: {}", in_quotes(text), why));
}

template <class Table>
std::string names_of(const Table& table) {
  std::string names;
  for (const auto& row : table) names.append(names.empty() ? "" : " ").append(row.name);
  return names;
}

std::string_view cipher_name(const crypto::SuiteRow& row) { return row.name.substr(0, row.name.find('-')); }

// The ciphers of the suites, each once and in their order.
std::vector<Name<Cipher>> esp_ciphers() {
  std::vector<Name<Cipher>> ciphers;
  for (const crypto::SuiteRow& row : crypto::kSuites) {
    const auto is_it = [&row](const Name<Cipher>& known) { return known.name == cipher_name(row); };
    if (std::ranges::any_of(ciphers, is_it)) continue;
    const Cipher cipher{row.ike_cipher, ike_key_bits(row), row.ike_integrity == 0};
    ciphers.push_back({cipher_name(row), cipher});
    if (cipher_name(row).ends_with("gcm16"))  // short for it: "aes128gcm"
      ciphers.push_back({cipher_name(row).substr(0, cipher_name(row).size() - 2), cipher});
  }
  return ciphers;
}

// True if `word` is one of the table's; false otherwise. Throws when the same was said before.
template <class Table, class T>
bool take(std::string_view word, std::string_view text, const Table& table, std::vector<T>& into) {
  for (const Name<T>& row : table) {
    if (row.name != word) continue;
    if (std::find(into.begin(), into.end(), row.value) != into.end())
      refuse(text, fmt::format("{} twice", in_quotes(word)));
    into.push_back(row.value);
    return true;
  }
  return false;
}

[[noreturn]] void refuse_word(std::string_view word, std::string_view text, bool esp) {
  for (const auto& [name, why] : kRefused)
    if (name == word)
      refuse(text, fmt::format("{} is refused, legacy: true or not: {}", in_quotes(word), why));
  const std::string known =
      esp ? fmt::format("ciphers: {}; hashes: {}; groups: {}", names_of(esp_ciphers()), names_of(kHashes),
                        names_of(kGroups))
          : fmt::format("ciphers: {}; hashes: {}; PRFs: {}; groups: {}", names_of(kCiphers),
                        names_of(kHashes), names_of(kPrfs), names_of(kGroups));
  refuse(text,
         fmt::format("{} is not supported; {}", word.empty() ? "an empty name" : in_quotes(word), known));
}

Parts split(std::string_view text, bool esp) {
  Parts parts;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find('-', begin), text.size());
    const std::string_view word = text.substr(begin, end - begin);
    const bool is_cipher =
        esp ? take(word, text, esp_ciphers(), parts.ciphers) : take(word, text, kCiphers, parts.ciphers);
    const bool known = is_cipher || take(word, text, kHashes, parts.hashes) ||
                       take(word, text, kPrfs, parts.prfs) || take(word, text, kGroups, parts.groups);
    if (!known) refuse_word(word, text, esp);
    begin = end + 1;
  }
  return parts;
}

// Do the ciphers authenticate as well? RFC 7296 section 3.3: the two kinds can't share a proposal.
bool are_aead(const Parts& parts, std::string_view text, bool esp) {
  if (parts.ciphers.empty())
    refuse(text,
           fmt::format("no cipher; expected one of: {}", esp ? names_of(esp_ciphers()) : names_of(kCiphers)));
  const auto count = std::ranges::count(parts.ciphers, true, &Cipher::aead);
  if (count == 0) return false;
  if (static_cast<std::size_t>(count) == parts.ciphers.size()) return true;
  refuse(text, "AEAD ciphers and others don't go together; expected a proposal for each");
}

// With an AEAD the PRF must be said, as `prfsha384` or, short, as the hash's own name.
void set_aead_prfs(const Parts& parts, IkeProposal& out) {
  if (!parts.prfs.empty() && !parts.hashes.empty())
    refuse(out.text, "an AEAD cipher takes no integrity algorithm");
  if (parts.prfs.empty() && parts.hashes.empty())
    refuse(out.text, fmt::format("an AEAD cipher needs a PRF; expected one of: {}", names_of(kPrfs)));
  out.prfs = parts.prfs;
  for (const Hash& hash : parts.hashes) out.prfs.push_back(hash.prf);
}

void set_cbc_integrity(const Parts& parts, IkeProposal& out) {
  if (parts.hashes.empty())
    refuse(out.text, fmt::format("no integrity algorithm; expected one of: {}", names_of(kHashes)));
  out.prfs = parts.prfs;
  for (const Hash& hash : parts.hashes) {
    out.integrity.push_back(hash.integrity);
    if (parts.prfs.empty()) out.prfs.push_back(hash.prf);
  }
}

void add_suite(const Cipher& cipher, std::uint16_t integrity, EspProposal& out) {
  for (const crypto::SuiteRow& row : crypto::kSuites) {
    const bool fits =
        row.ike_cipher == cipher.id && ike_key_bits(row) == cipher.key_bits && row.ike_integrity == integrity;
    if (fits) out.suites.push_back(row.suite);
  }
}

void set_hmac_suites(const Parts& parts, EspProposal& out) {
  if (parts.hashes.empty())
    refuse(out.text, fmt::format("no integrity algorithm; expected one of: {}", names_of(kHashes)));
  for (const Cipher& cipher : parts.ciphers)
    for (const Hash& hash : parts.hashes) add_suite(cipher, static_cast<std::uint16_t>(hash.integrity), out);
}

}  // namespace

std::string name_of(DhGroup group) {
  const auto* row = std::ranges::find(kGroups, group, &Name<DhGroup>::value);
  return row == std::end(kGroups) ? "none" : std::string(row->name);
}

IkeProposal parse_ike_proposal(std::string_view text) {
  const Parts parts = split(text, false);
  IkeProposal proposal;
  proposal.text = text;
  if (are_aead(parts, text, false))
    set_aead_prfs(parts, proposal);
  else
    set_cbc_integrity(parts, proposal);
  if (parts.groups.empty())
    refuse(text, fmt::format("no Diffie-Hellman group; expected one of: {}", names_of(kGroups)));
  for (const Cipher& cipher : parts.ciphers)
    proposal.ciphers.push_back({static_cast<IkeCipherId>(cipher.id), cipher.key_bits});
  proposal.groups = parts.groups;
  return proposal;
}

EspProposal parse_esp_proposal(std::string_view text) {
  const Parts parts = split(text, true);
  EspProposal proposal;
  proposal.text = text;
  if (!parts.prfs.empty()) refuse(text, "a PRF belongs to IKE's proposals");
  if (!are_aead(parts, text, true))
    set_hmac_suites(parts, proposal);
  else if (!parts.hashes.empty())
    refuse(text, "an AEAD cipher takes no integrity algorithm");
  else
    for (const Cipher& cipher : parts.ciphers) add_suite(cipher, 0, proposal);
  proposal.groups = parts.groups;
  return proposal;
}

}  // namespace espgate::conf
