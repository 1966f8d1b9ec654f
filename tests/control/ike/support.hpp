// What the tests of the IKE codec share: the kept vectors, ciphers with the keys that made them, random
// messages.
#pragma once

#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "control/ike/message.hpp"

namespace espgate::ike::test {

[[nodiscard]] ByteVector from_hex(std::string_view text);
[[nodiscard]] std::string to_hex(Bytes bytes);

// The bytes of `name` in golden.txt or kdf_vectors.txt. Throws if there are none of that name.
[[nodiscard]] const ByteVector& golden(const std::string& name);
[[nodiscard]] const ByteVector& kdf(const std::string& name);
[[nodiscard]] std::vector<std::string> golden_names();

// The keys of make_golden.py: "cbc" or "gcm".
[[nodiscard]] std::unique_ptr<crypto::IkeCipher> golden_cipher(const std::string& suite);

template <class T>
[[nodiscard]] const T& expect(const Result<T>& result) {
  if (const Refusal* refusal = std::get_if<Refusal>(&result)) throw std::runtime_error(refusal->words);
  return std::get<T>(result);
}
[[nodiscard]] inline const Refusal* refusal_of(const Result<std::vector<Payload>>& result) {
  return std::get_if<Refusal>(&result);
}
[[nodiscard]] Header header_of(Bytes datagram);

// INVALID_SYNTAX, with words.
[[nodiscard]] bool is_syntax_error(const Result<std::vector<Payload>>& result);

// A valid message of up to 12 payloads with random content. The same seed gives the same message.
[[nodiscard]] std::vector<Payload> random_payloads(std::mt19937& random);

}  // namespace espgate::ike::test
