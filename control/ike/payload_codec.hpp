// The bodies of single payloads, between bytes and values. Inside the codec only; others use message.hpp.
#pragma once

#include "control/ike/cursor.hpp"
#include "control/ike/payloads.hpp"

namespace espgate::ike {

// The body of a payload of `type`, which fills `body` exactly. What is returned counts only if `body` is
// still ok.
[[nodiscard]] Payload parse_body(PayloadType type, bool critical, Cursor& body);
[[nodiscard]] SaPayload parse_sa(Cursor& body);

void write_body(Writer& out, const Payload& payload);
void write_sa(Writer& out, const SaPayload& sa);

[[nodiscard]] PayloadType type_of(const Payload& payload) noexcept;

// RFC 7296 defines it, so its critical bit means nothing (section 2.5).
[[nodiscard]] constexpr bool is_known(PayloadType type) noexcept {
  return type >= PayloadType::sa && type <= PayloadType::eap;
}

}  // namespace espgate::ike
