// The header and the chain of payloads, from values to bytes (RFC 7296 sections 3.1 and 3.2).
#include "control/ike/message_wire.hpp"
#include "control/ike/payload_codec.hpp"

namespace espgate::ike {
namespace {

constexpr std::uint8_t kVersion = 0x20;  // whatever the peer's minor version was (section 2.5)
constexpr std::uint8_t kFlagInitiator = 0x08;
constexpr std::uint8_t kFlagResponse = 0x20;
constexpr std::uint8_t kCritical = 0x80;

// Section 3.2: only payloads outside of RFC 7296 are ever critical.
std::uint8_t flags_of(const Payload& payload) {
  const auto* opaque = std::get_if<OpaquePayload>(&payload);
  return opaque != nullptr && opaque->critical ? kCritical : 0;
}

}  // namespace

void write_header(Writer& out, const Header& header, PayloadType next) {
  out.u64(header.spi_initiator);
  out.u64(header.spi_responder);
  out.u8(static_cast<std::uint8_t>(next));
  out.u8(kVersion);
  out.u8(static_cast<std::uint8_t>(header.exchange));
  out.u8(static_cast<std::uint8_t>((header.from_initiator ? kFlagInitiator : 0) |
                                   (header.response ? kFlagResponse : 0)));
  out.u32(header.message_id);
  out.u32(0);
}

void set_message_length(Writer& out, std::size_t length) {
  if (length > 0xffffffff) throw std::length_error("an IKE message longer than its length field can say");
  for (std::size_t i = 0; i < 4; ++i)
    out.set_u8(kHeaderLengthField + i, static_cast<std::uint8_t>(length >> (24 - 8 * i)));
}

PayloadType first_type(const std::vector<Payload>& payloads) noexcept {
  return payloads.empty() ? PayloadType::none : type_of(payloads.front());
}

void write_chain(Writer& out, const std::vector<Payload>& payloads) {
  for (std::size_t i = 0; i < payloads.size(); ++i) {
    const std::size_t start = out.size();
    const bool last = i + 1 == payloads.size();
    out.u8(static_cast<std::uint8_t>(last ? PayloadType::none : type_of(payloads[i + 1])));
    out.u8(flags_of(payloads[i]));
    out.zeros(2);  // the length to come
    write_body(out, payloads[i]);
    out.set_length16(start + 2, start);
  }
}

ByteVector encode_plain(Header header, const std::vector<Payload>& payloads) {
  Writer out;
  write_header(out, header, first_type(payloads));
  write_chain(out, payloads);
  set_message_length(out, out.size());
  return std::move(out).take();
}

}  // namespace espgate::ike
