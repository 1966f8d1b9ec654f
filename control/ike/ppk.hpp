// Post-quantum pre-shared keys (RFC 8784): which is meant, and whether it is valid. Knows no IKE SA.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "conf/schema.hpp"
#include "control/ike/payloads.hpp"

namespace espgate::ike {

// Places in conf::Tunnel::ppks. `now`: Unix time in seconds.
[[nodiscard]] std::optional<std::size_t> first_valid_ppk(const conf::Tunnel& tunnel, std::int64_t now);
// The one that a PPK_IDENTITY names (section 5.1), valid or not.
[[nodiscard]] std::optional<std::size_t> find_ppk(const conf::Tunnel& tunnel, Bytes identity);

// PPK_IDENTITY's data: the type, and what it is called.
[[nodiscard]] ByteVector ppk_identity(const conf::Ppk& ppk);
// "\"a1\""; what a peer says, at most 128 characters of it, with dots for what is not printable.
[[nodiscard]] std::string ppk_words(Bytes identity);
[[nodiscard]] std::string ppk_words(const conf::Ppk& ppk);
// "has expired on 2026-12-31 23:59:59 UTC"; empty: it is valid.
[[nodiscard]] std::string ppk_objection(const conf::Ppk& ppk, std::int64_t now);
// All that are not valid, with why: "\"a1\" has expired on ..."; empty: there is none.
[[nodiscard]] std::string ppk_objections(const conf::Tunnel& tunnel, std::int64_t now);

}  // namespace espgate::ike
