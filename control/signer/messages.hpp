// What the control process asks espgate-signer and what it answers, a datagram each (SOCK_SEQPACKET). Tunnels
// go by their names: an index would mean another one to who has read another state of the file.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "control/ike/payloads.hpp"

namespace espgate::signer {

using ike::Bytes;
using ike::ByteVector;

inline constexpr const char* kSocketName = "signer.sock";  // in the runtime directory
inline constexpr std::size_t kMaxMessage = 32768;          // bytes: the longest IKE message, and some

enum class Question : std::uint8_t { shared_key_auths = 1, sign, mix_ppk };

// `parts` by question: octets, perhaps further ones | octets | SK_d, SK_pi, SK_pr. All in the memory of the
// message.
struct Request {
  Question question{};
  std::uint8_t algorithm{0};  // crypto::Prf, or crypto::SignatureScheme of `sign`
  std::uint32_t number{0};    // of the answer, too
  std::uint32_t ppk{0};       // of `mix_ppk`: its place
  std::string_view tunnel;
  std::array<Bytes, 3> parts{};
};

// `parts` by question: AUTH over each | the signature | the new keys. Where there is no answer, why not, in
// words.
struct Answer {
  bool good{false};
  std::uint32_t number{0};
  std::array<Bytes, 3> parts{};
};

// Throw std::length_error: longer than kMaxMessage.
[[nodiscard]] crypto::SecretBytes encode(const Request& request);
[[nodiscard]] crypto::SecretBytes encode(const Answer& answer);
// nullopt: it is none, whole and without anything behind it.
[[nodiscard]] std::optional<Request> parse_request(Bytes message);
[[nodiscard]] std::optional<Answer> parse_answer(Bytes message);

}  // namespace espgate::signer
