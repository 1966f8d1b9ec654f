#include "control/signer/messages.hpp"

#include <algorithm>
#include <span>
#include <stdexcept>

#include "control/ike/cursor.hpp"
#include "crypto/ike.hpp"
#include "crypto/signature.hpp"

namespace espgate::signer {
namespace {

constexpr std::uint32_t kRequest = 0x45533251;  // "ES2Q": of this form, and no other
constexpr std::uint32_t kAnswer = 0x45533241;   // "ES2A"

// Fills memory of the right length, which erases itself: a part may be a key.
class Filler {
 public:
  explicit Filler(std::size_t size) : out_(size) {
    if (size > kMaxMessage) throw std::length_error("longer than what espgate-signer takes");
  }
  void number(std::uint32_t value, unsigned bytes) {
    while (bytes-- > 0) out_.bytes()[at_++] = static_cast<std::uint8_t>(value >> 8 * bytes);
  }
  void part(Bytes bytes) {
    number(static_cast<std::uint32_t>(bytes.size()), 2);
    std::ranges::copy(bytes, out_.bytes().subspan(at_).begin());
    at_ += bytes.size();
  }
  [[nodiscard]] crypto::SecretBytes take() && { return std::move(out_); }

 private:
  crypto::SecretBytes out_;
  std::size_t at_{0};
};

std::size_t size_of(std::span<const Bytes> parts) {
  std::size_t size = 0;
  for (const Bytes part : parts) size += 2 + part.size();
  return size;
}

Bytes take_part(ike::Cursor& in) { return in.take(in.u16()); }

bool is_prf(std::uint8_t value) {
  switch (static_cast<crypto::Prf>(value)) {
    case crypto::Prf::hmac_sha1:
    case crypto::Prf::hmac_sha256:
    case crypto::Prf::hmac_sha384:
    case crypto::Prf::hmac_sha512:
      return true;
  }
  return false;
}

// Whether each part that the question takes is there, and no other.
bool has_parts(const Request& request, unsigned count) {
  for (unsigned i = 0; i < request.parts.size(); ++i)
    if (request.parts.at(i).empty() == (i < count)) return false;
  return true;
}

bool is_whole(const Request& request) {
  switch (request.question) {
    case Question::shared_key_auths:
      return is_prf(request.algorithm) && (has_parts(request, 1) || has_parts(request, 2));
    case Question::sign:
      return request.algorithm <= static_cast<std::uint8_t>(crypto::SignatureScheme::ed25519) &&
             has_parts(request, 1);
    case Question::mix_ppk:
      return is_prf(request.algorithm) && has_parts(request, 3);
  }
  return false;
}

}  // namespace

crypto::SecretBytes encode(const Request& request) {
  const Bytes name(reinterpret_cast<const std::uint8_t*>(request.tunnel.data()), request.tunnel.size());
  Filler out(14 + size_of(std::array{name}) + size_of(request.parts));
  out.number(kRequest, 4);
  out.number(static_cast<std::uint32_t>(request.question), 1);
  out.number(request.algorithm, 1);
  out.number(request.number, 4);
  out.number(request.ppk, 4);
  out.part(name);
  for (const Bytes part : request.parts) out.part(part);
  return std::move(out).take();
}

crypto::SecretBytes encode(const Answer& answer) {
  Filler out(9 + size_of(answer.parts));
  out.number(kAnswer, 4);
  out.number(answer.good ? 1 : 0, 1);
  out.number(answer.number, 4);
  for (const Bytes part : answer.parts) out.part(part);
  return std::move(out).take();
}

std::optional<Request> parse_request(Bytes message) {
  ike::Cursor in(message);
  Request out;
  const bool ours = in.u32() == kRequest;
  out.question = static_cast<Question>(in.u8());
  out.algorithm = in.u8();
  out.number = in.u32();
  out.ppk = in.u32();
  const Bytes name = take_part(in);
  out.tunnel = {reinterpret_cast<const char*>(name.data()), name.size()};
  for (Bytes& part : out.parts) part = take_part(in);
  if (!ours || !in.ok() || !in.empty() || message.size() > kMaxMessage || !is_whole(out)) return std::nullopt;
  return out;
}

std::optional<Answer> parse_answer(Bytes message) {
  ike::Cursor in(message);
  Answer out;
  const bool ours = in.u32() == kAnswer;
  const std::uint8_t good = in.u8();
  out.good = good == 1;
  out.number = in.u32();
  for (Bytes& part : out.parts) part = take_part(in);
  if (!ours || good > 1 || !in.ok() || !in.empty() || message.size() > kMaxMessage) return std::nullopt;
  return out;
}

}  // namespace espgate::signer
