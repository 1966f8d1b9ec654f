// The Encrypted payload (RFC 7296 section 3.14, RFC 5282) and the Encrypted Fragment payload (RFC 7383
// section 2.5): one datagram of either, sealed and opened.
#include <algorithm>

#include "control/ike/message_wire.hpp"

namespace espgate::ike {
namespace {

constexpr std::size_t kFragmentFields = 4;  // fragment number and total fragments
constexpr std::size_t kPadLengthField = 1;

// The content, padding and pad length as a multiple of the cipher's block.
std::size_t padded_length(std::size_t content, std::size_t block) {
  return (content + kPadLengthField + block - 1) / block * block;
}

crypto::SecretBytes pad(Bytes content, std::size_t block) {
  crypto::SecretBytes padded(padded_length(content.size(), block));
  std::copy(content.begin(), content.end(), padded.bytes().begin());
  padded.bytes().back() = static_cast<std::uint8_t>(padded.size() - content.size() - kPadLengthField);
  return padded;
}

std::size_t overhead(const crypto::IkeCipher& cipher, bool fragment) {
  return Header::kLength + kGenericHeader + (fragment ? kFragmentFields : 0) + cipher.iv_length() +
         cipher.icv_length();
}

// From the IKE header to before the IV, with final lengths: what integrity covers besides IV and ciphertext.
Writer write_associated(const Header& header, PayloadType first, std::optional<FragmentNumber> fragment,
                        std::size_t sealed_length) {
  Writer out;
  write_header(out, header, fragment ? PayloadType::encrypted_fragment : PayloadType::encrypted);
  const std::size_t start = out.size();
  out.u8(static_cast<std::uint8_t>(first));
  out.u8(0);
  const std::size_t length = kGenericHeader + (fragment ? kFragmentFields : 0) + sealed_length;
  if (length > 0xffff) throw std::length_error("an IKE message longer than its Encrypted payload can hold");
  out.u16(static_cast<std::uint16_t>(length));
  if (fragment) {
    out.u16(fragment->number);
    out.u16(fragment->total);
  }
  set_message_length(out, start + length);
  return out;
}

}  // namespace

std::size_t protected_capacity(const crypto::IkeCipher& cipher, bool fragment, std::size_t max_datagram) {
  const std::size_t around = overhead(cipher, fragment);
  if (max_datagram <= around) return 0;
  const std::size_t blocks = (max_datagram - around) / cipher.block_length();
  const std::size_t padded = blocks * cipher.block_length();
  return padded > kPadLengthField ? padded - kPadLengthField : 0;
}

ByteVector seal_datagram(const Header& header, PayloadType first, std::optional<FragmentNumber> fragment,
                         Bytes content, crypto::IkeCipher& cipher) {
  const crypto::SecretBytes padded = pad(content, cipher.block_length());
  Writer out =
      write_associated(header, first, fragment, cipher.iv_length() + padded.size() + cipher.icv_length());
  out.bytes(cipher.seal(out.view(), padded.view()));
  return std::move(out).take();
}

std::optional<ProtectedPayload> locate_protected(Bytes datagram) noexcept {
  constexpr std::size_t kNextPayloadField = 16;
  Cursor cursor(datagram);
  cursor.skip(Header::kLength);
  ProtectedPayload found;
  found.first = static_cast<PayloadType>(cursor.u8());
  cursor.skip(1);  // critical and reserved
  const std::uint16_t length = cursor.u16();
  if (!cursor.ok()) return std::nullopt;
  const auto type = static_cast<PayloadType>(datagram[kNextPayloadField]);
  if (type == PayloadType::encrypted_fragment) {
    const std::uint16_t number = cursor.u16();
    found.fragment = FragmentNumber{number, cursor.u16()};
  } else if (type != PayloadType::encrypted) {
    return std::nullopt;
  }
  // Section 3.14: it is the last payload of the message.
  cursor.require(length == datagram.size() - Header::kLength, "it does not fill the message");
  if (!cursor.ok()) return std::nullopt;
  found.associated = datagram.first(datagram.size() - cursor.left());
  found.sealed = cursor.rest();
  return found;
}

OpenedPayload open_payload(const ProtectedPayload& payload, const crypto::IkeCipher& cipher) {
  if (payload.sealed.size() < cipher.iv_length() + cipher.icv_length() + kPadLengthField) return {};
  const std::optional<crypto::SecretBytes> padded = cipher.open(payload.associated, payload.sealed);
  if (!padded) return {};
  // Section 3.14: any padding is accepted, as long as it is there.
  if (padded->empty() || padded->view().back() + kPadLengthField > padded->size())
    return {true, std::nullopt};
  const std::size_t length = padded->size() - kPadLengthField - padded->view().back();
  return {true, crypto::SecretBytes(padded->view().first(length))};
}

Opened open_message(const Header& header, Bytes datagram, const crypto::IkeCipher& cipher) {
  const auto payload = locate_protected(datagram);
  if (!payload || payload->fragment || datagram.size() != header.length)
    return {false, Refusal{std::nullopt, {}, "the message is not protected by an Encrypted payload"}};
  const OpenedPayload opened = open_payload(*payload, cipher);
  if (!opened.authentic) return {false, Refusal{std::nullopt, {}, "the message is not authentic"}};
  if (!opened.content) return {true, invalid_syntax("the Encrypted payload is shorter than its padding")};
  return {true, parse_payloads(payload->first, opened.content->view())};
}

}  // namespace espgate::ike
