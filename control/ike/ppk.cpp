#include "control/ike/ppk.hpp"

#include <algorithm>

#include "crypto/certificate.hpp"

namespace espgate::ike {

std::optional<std::size_t> first_valid_ppk(const conf::Tunnel& tunnel, std::int64_t now) {
  const auto valid = [now](const conf::Ppk& ppk) { return ppk_objection(ppk, now).empty(); };
  const auto found = std::ranges::find_if(tunnel.ppks, valid);
  if (found == tunnel.ppks.end()) return std::nullopt;
  return static_cast<std::size_t>(found - tunnel.ppks.begin());
}

std::optional<std::size_t> find_ppk(const conf::Tunnel& tunnel, Bytes identity) {
  const auto named = [identity](const conf::Ppk& ppk) {
    return std::ranges::equal(ppk_identity(ppk), identity);
  };
  const auto found = std::ranges::find_if(tunnel.ppks, named);
  if (found == tunnel.ppks.end()) return std::nullopt;
  return static_cast<std::size_t>(found - tunnel.ppks.begin());
}

ByteVector ppk_identity(const conf::Ppk& ppk) {
  ByteVector out(1 + ppk.id.size(), static_cast<std::uint8_t>(ppk.type));
  std::ranges::copy(ppk.id, out.begin() + 1);
  return out;
}

std::string ppk_words(Bytes identity) {
  constexpr std::size_t kMost = 128;
  if (identity.size() < 2) return "without an id";
  std::string out("\"");
  for (const std::uint8_t c : identity.subspan(1, std::min(kMost, identity.size() - 1)))
    out += c > 0x20 && c < 0x7f && c != '"' ? static_cast<char>(c) : '.';
  out += '"';
  switch (static_cast<conf::PpkIdType>(identity[0])) {
    case conf::PpkIdType::fixed:
      return out;
    case conf::PpkIdType::opaque:
      return out + " (opaque)";
  }
  return out + " (of type " + std::to_string(identity[0]) + ")";
}

std::string ppk_words(const conf::Ppk& ppk) { return ppk_words(ppk_identity(ppk)); }

std::string ppk_objection(const conf::Ppk& ppk, std::int64_t now) {
  if (now > ppk.not_after) return "has expired on " + crypto::utc_words(ppk.not_after);
  if (now < ppk.not_before) return "is not valid before " + crypto::utc_words(ppk.not_before);
  return {};
}

std::string ppk_objections(const conf::Tunnel& tunnel, std::int64_t now) {
  std::string out;
  for (const conf::Ppk& ppk : tunnel.ppks)
    if (const std::string why = ppk_objection(ppk, now); !why.empty())
      out.append(out.empty() ? "" : "; ").append(ppk_words(ppk)).append(" ").append(why);
  return out;
}

}  // namespace espgate::ike
