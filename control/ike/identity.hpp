// Identities as they travel (RFC 7296 section 3.5) and as people read them.
#pragma once

#include <string>

#include "conf/schema.hpp"
#include "control/ike/payloads.hpp"

namespace espgate::ike {

[[nodiscard]] IdPayload id_payload(const conf::Identity& identity, bool initiator);
// What two identities that are the same have in common, unless they are distinguished names.
[[nodiscard]] ByteVector comparable(const IdPayload& id);
// Or of those that a pattern stands for.
[[nodiscard]] bool is_identity(const IdPayload& id, const conf::Identity& identity);
// The identity in quotes, with anything unprintable as hex: it comes from a peer not yet authenticated.
[[nodiscard]] std::string words(const IdPayload& id);
[[nodiscard]] std::string words(const conf::Identity& identity);
[[nodiscard]] std::string text_of(const IdPayload& id);  // the same without quotes

}  // namespace espgate::ike
