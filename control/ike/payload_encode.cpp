// The bodies of payloads, from values to bytes (RFC 7296 sections 3.4 to 3.13). Reserved fields are sent as
// zero.
#include "control/ike/message.hpp"
#include "control/ike/payload_codec.hpp"

namespace espgate::ike {
namespace {

void write(Writer& out, const SaPayload& sa) { write_sa(out, sa); }

void write(Writer& out, const KePayload& ke) {
  out.u16(ke.group);
  out.zeros(2);
  out.bytes(ke.data);
}

void write(Writer& out, const IdPayload& id) {
  out.u8(id.type);
  out.bytes(id.reserved);
  out.bytes(id.data);
}

void write(Writer& out, const CertPayload& cert) {
  out.u8(cert.encoding);
  out.bytes(cert.data);
}

void write(Writer& out, const CertRequestPayload& request) {
  out.u8(request.encoding);
  out.bytes(request.data);
}

void write(Writer& out, const AuthPayload& auth) {
  out.u8(auth.method);
  out.zeros(3);
  out.bytes(auth.data);
}

void write(Writer& out, const NoncePayload& nonce) { out.bytes(nonce.data); }

void write(Writer& out, const NotifyPayload& notify) {
  if (notify.spi.size() > 255) throw std::length_error("a notify with more than 255 bytes of SPI");
  out.u8(static_cast<std::uint8_t>(notify.protocol));
  out.u8(static_cast<std::uint8_t>(notify.spi.size()));
  out.u16(static_cast<std::uint16_t>(notify.type));
  out.bytes(notify.spi);
  out.bytes(notify.data);
}

void write(Writer& out, const DeletePayload& gone) {
  const bool of_ike = gone.protocol == Protocol::ike;
  out.u8(static_cast<std::uint8_t>(gone.protocol));
  out.u8(of_ike ? 0 : 4);
  out.u16(static_cast<std::uint16_t>(gone.spis.size()));
  for (const std::uint32_t spi : gone.spis) out.u32(spi);
}

void write(Writer& out, const VendorPayload& vendor) { out.bytes(vendor.data); }

void write_selector(Writer& out, const TrafficSelector& selector) {
  const bool v4 = selector.first.is_v4();
  const std::size_t address_size = v4 ? 4 : 16;
  out.u8(v4 ? 7 : 8);
  out.u8(selector.protocol);
  out.u16(static_cast<std::uint16_t>(8 + 2 * address_size));
  out.u16(selector.first_port);
  out.u16(selector.last_port);
  out.bytes(Bytes(selector.first.bytes).first(address_size));
  out.bytes(Bytes(selector.last.bytes).first(address_size));
}

void write(Writer& out, const TsPayload& ts) {
  if (ts.selectors.size() > 255) throw std::length_error("a TS payload with more than 255 selectors");
  out.u8(static_cast<std::uint8_t>(ts.selectors.size()));
  out.zeros(3);
  for (const TrafficSelector& selector : ts.selectors) write_selector(out, selector);
}

void write(Writer& out, const OpaquePayload& opaque) { out.bytes(opaque.data); }

PayloadType type(const SaPayload& /*payload*/) noexcept { return PayloadType::sa; }
PayloadType type(const KePayload& /*payload*/) noexcept { return PayloadType::ke; }
PayloadType type(const IdPayload& id) noexcept {
  return id.initiator ? PayloadType::id_initiator : PayloadType::id_responder;
}
PayloadType type(const CertPayload& /*payload*/) noexcept { return PayloadType::certificate; }
PayloadType type(const CertRequestPayload& /*payload*/) noexcept { return PayloadType::certificate_request; }
PayloadType type(const AuthPayload& /*payload*/) noexcept { return PayloadType::auth; }
PayloadType type(const NoncePayload& /*payload*/) noexcept { return PayloadType::nonce; }
PayloadType type(const NotifyPayload& /*payload*/) noexcept { return PayloadType::notify; }
PayloadType type(const DeletePayload& /*payload*/) noexcept { return PayloadType::delete_; }
PayloadType type(const VendorPayload& /*payload*/) noexcept { return PayloadType::vendor_id; }
PayloadType type(const TsPayload& ts) noexcept {
  return ts.initiator ? PayloadType::ts_initiator : PayloadType::ts_responder;
}
PayloadType type(const OpaquePayload& opaque) noexcept { return static_cast<PayloadType>(opaque.type); }

}  // namespace

PayloadType type_of(const Payload& payload) noexcept {
  return std::visit([](const auto& value) { return type(value); }, payload);
}

void write_body(Writer& out, const Payload& payload) {
  std::visit([&out](const auto& value) { write(out, value); }, payload);
}

ByteVector encode_body(const Payload& payload) {
  Writer out;
  write_body(out, payload);
  return std::move(out).take();
}

}  // namespace espgate::ike
