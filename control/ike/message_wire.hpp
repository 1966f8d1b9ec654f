// What the files of the message codec share. Inside the codec only; others use message.hpp.
#pragma once

#include "control/ike/cursor.hpp"
#include "control/ike/message.hpp"

namespace espgate::ike {

inline constexpr std::size_t kGenericHeader = 4;  // RFC 7296 section 3.2
inline constexpr std::size_t kHeaderLengthField = 24;

[[nodiscard]] Refusal invalid_syntax(std::string words);

// The IKE header with a length of zero, to be set when it is known.
void write_header(Writer& out, const Header& header, PayloadType next);
void set_message_length(Writer& out, std::size_t length);

// A chain of payloads, each behind its generic header. The type of the first is first_type(payloads).
void write_chain(Writer& out, const std::vector<Payload>& payloads);
[[nodiscard]] PayloadType first_type(const std::vector<Payload>& payloads) noexcept;

// Which part of a message a protected payload carries (RFC 7383 section 2.5); a whole message has none.
struct FragmentNumber {
  std::uint16_t number{0};  // from 1
  std::uint16_t total{0};
};

// How many bytes of inner payloads fit into one protected datagram of at most `max_datagram` bytes; 0: none.
[[nodiscard]] std::size_t protected_capacity(const crypto::IkeCipher& cipher, bool fragment,
                                             std::size_t max_datagram);

// One datagram with one Encrypted or Encrypted Fragment payload around `content`, a chain that begins with
// `first`.
[[nodiscard]] ByteVector seal_datagram(const Header& header, PayloadType first,
                                       std::optional<FragmentNumber> fragment, Bytes content,
                                       crypto::IkeCipher& cipher);

// An Encrypted or Encrypted Fragment payload found in its datagram, not opened yet.
struct ProtectedPayload {
  PayloadType first{};  // of the chain inside; in fragments only the first one's counts
  std::optional<FragmentNumber> fragment;
  Bytes associated;  // from the IKE header to before the IV
  Bytes sealed;      // IV, ciphertext, ICV
};

// The protected payload of a datagram; nullopt: it is not its first payload or does not end where the
// datagram does.
[[nodiscard]] std::optional<ProtectedPayload> locate_protected(Bytes datagram) noexcept;

// The payload's content without padding. `authentic` and nothing in `content`: the padding is impossible.
struct OpenedPayload {
  bool authentic{false};
  std::optional<crypto::SecretBytes> content;
};
[[nodiscard]] OpenedPayload open_payload(const ProtectedPayload& payload, const crypto::IkeCipher& cipher);

}  // namespace espgate::ike
