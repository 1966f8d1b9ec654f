// Identities as they are compared.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "conf/schema.hpp"

namespace espgate::conf {

// The bytes of an identity; of a domain name, and of a mailbox its domain, in lower case, for case does not
// count there (RFC 4945 section 3.1, RFC 5280 section 7.5). Distinguished names are compared otherwise.
inline std::vector<std::uint8_t> comparable(IdentityType type, std::span<const std::uint8_t> identity) {
  std::vector<std::uint8_t> out(identity.begin(), identity.end());
  auto from = out.end();
  if (type == IdentityType::fqdn) from = out.begin();
  if (type == IdentityType::email) from = std::find(out.begin(), out.end(), std::uint8_t{'@'});
  std::transform(from, out.end(), from, [](std::uint8_t c) {
    return c >= 'A' && c <= 'Z' ? static_cast<std::uint8_t>(c | 0x20) : c;
  });
  return out;
}

inline std::vector<std::uint8_t> comparable(const Identity& identity) {
  return comparable(identity.type, identity.data);
}

}  // namespace espgate::conf
