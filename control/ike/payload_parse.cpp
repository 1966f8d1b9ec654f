// The bodies of payloads other than SA, from bytes to values (RFC 7296 sections 3.4 to 3.13).
#include <algorithm>

#include "control/ike/payload_codec.hpp"

namespace espgate::ike {
namespace {

constexpr std::uint8_t kIdIpv4 = 1;
constexpr std::uint8_t kIdIpv6 = 5;
constexpr std::uint8_t kTsIpv4 = 7;
constexpr std::uint8_t kTsIpv6 = 8;
constexpr std::size_t kTsHeader = 8;

// Section 3.4. Whether the length is right for the group is for the exchange to say, which knows the group.
KePayload parse_ke(Cursor& body) {
  KePayload ke;
  ke.group = body.u16();
  body.skip(2);  // reserved
  body.require(!body.empty(), "it holds no key exchange data");
  ke.data = to_vector(body.rest());
  return ke;
}

// Section 3.5.
IdPayload parse_id(Cursor& body, bool initiator) {
  IdPayload id;
  id.initiator = initiator;
  id.type = body.u8();
  std::ranges::generate(id.reserved, [&body] { return body.u8(); });
  id.data = to_vector(body.rest());
  body.require(id.type != kIdIpv4 || id.data.size() == 4, "an IPv4 address is not 4 bytes long");
  body.require(id.type != kIdIpv6 || id.data.size() == 16, "an IPv6 address is not 16 bytes long");
  return id;
}

// Sections 3.6 and 3.7. What is in it is for the exchange to say, which knows what it asked for.
template <class Cert>
Cert parse_cert(Cursor& body) {
  Cert cert;
  cert.encoding = body.u8();
  cert.data = to_vector(body.rest());
  return cert;
}

// Section 3.8.
AuthPayload parse_auth(Cursor& body) {
  AuthPayload auth;
  auth.method = body.u8();
  body.skip(3);  // reserved
  auth.data = to_vector(body.rest());
  return auth;
}

// Section 3.9: 16 to 256 bytes.
NoncePayload parse_nonce(Cursor& body) {
  body.require(body.left() >= 16 && body.left() <= 256, "a nonce is 16 to 256 bytes long");
  return {to_vector(body.rest())};
}

// The lengths that RFC 7296 sets: a cookie of 1 to 64 bytes (section 2.6), the two bytes of the wanted group
// (1.2).
bool is_notify_data_size(NotifyType type, std::size_t size) {
  if (type == NotifyType::cookie) return size >= 1 && size <= 64;
  if (type == NotifyType::invalid_ke_payload) return size == 2;
  return true;
}

// Section 3.10. Unknown types are kept: errors fail the request, the others are ignored, both by the
// exchange.
NotifyPayload parse_notify(Cursor& body) {
  NotifyPayload notify;
  notify.protocol = static_cast<Protocol>(body.u8());
  const std::uint8_t spi_size = body.u8();
  notify.type = static_cast<NotifyType>(body.u16());
  notify.spi = to_vector(body.take(spi_size));
  const bool of_child = notify.protocol == Protocol::ah || notify.protocol == Protocol::esp;
  body.require(!of_child || spi_size == 0 || spi_size == 4, "the SPI of AH or ESP is not 4 bytes long");
  if (spi_size == 0) notify.protocol = Protocol::none;  // without an SPI it MUST be ignored
  notify.data = to_vector(body.rest());
  body.require(is_notify_data_size(notify.type, notify.data.size()),
               "its data has the wrong length for its type");
  return notify;
}

// Section 3.11. For IKE the SPIs are the header's, and the count says nothing.
DeletePayload parse_delete(Cursor& body) {
  DeletePayload gone;
  gone.protocol = static_cast<Protocol>(body.u8());
  const std::uint8_t spi_size = body.u8();
  const std::uint16_t count = body.u16();
  const bool of_child = gone.protocol == Protocol::ah || gone.protocol == Protocol::esp;
  body.require(of_child || gone.protocol == Protocol::ike, "its protocol is neither IKE, AH nor ESP");
  body.require(spi_size == (of_child ? 4 : 0), "its SPIs have the wrong size");
  body.require(body.left() == std::size_t{spi_size} * count, "its length does not fit its number of SPIs");
  while (body.ok() && !body.empty()) gone.spis.push_back(body.u32());
  return gone;
}

IpAddress parse_ip(Cursor& cursor, Family family) {
  IpAddress address;
  address.family = family;
  std::ranges::copy(cursor.take(family == Family::v4 ? 4 : 16), address.bytes.begin());
  return address;
}

// Section 3.13.1: 65535 to 0 says OPAQUE; any other range runs upwards.
bool is_port_range(const TrafficSelector& selector) {
  return selector.first_port <= selector.last_port ||
         (selector.first_port == 65535 && selector.last_port == 0);
}

TrafficSelector parse_ip_selector(Cursor& content, std::uint8_t protocol, Family family) {
  TrafficSelector selector;
  selector.protocol = protocol;
  selector.first_port = content.u16();
  selector.last_port = content.u16();
  selector.first = parse_ip(content, family);
  selector.last = parse_ip(content, family);
  content.require(content.empty(), "a traffic selector's length does not fit its type");
  content.require(selector.first <= selector.last, "a traffic selector's address range runs backwards");
  content.require(is_port_range(selector), "a traffic selector's port range runs backwards");
  return selector;
}

// Section 3.13.1. A selector of a type that we do not know selects nothing that we could carry: it is left
// out, which narrows the payload as section 2.9 lets a responder do.
void parse_selector(Cursor& selectors, TsPayload& ts) {
  const std::uint8_t type = selectors.u8();
  const std::uint8_t protocol = selectors.u8();
  const std::uint16_t length = selectors.u16();
  if (!selectors.require(length >= kTsHeader, "a traffic selector's length is too small")) return;
  Cursor content(selectors.take(length - 4U));
  if (type == kTsIpv4 || type == kTsIpv6)
    ts.selectors.push_back(parse_ip_selector(content, protocol, type == kTsIpv4 ? Family::v4 : Family::v6));
  selectors.require(content.ok(), content.words());
}

// Section 3.13. One without a selector that we know is no error: the exchange answers it with
// TS_UNACCEPTABLE.
TsPayload parse_ts(Cursor& body, bool initiator) {
  TsPayload ts;
  ts.initiator = initiator;
  const std::uint8_t count = body.u8();
  body.skip(3);  // reserved
  for (unsigned i = 0; i < count && body.ok(); ++i) parse_selector(body, ts);
  body.require(body.empty(), "it is longer than its traffic selectors");
  return ts;
}

}  // namespace

Payload parse_body(PayloadType type, bool critical, Cursor& body) {
  switch (type) {
    case PayloadType::sa:
      return parse_sa(body);
    case PayloadType::ke:
      return parse_ke(body);
    case PayloadType::id_initiator:
      return parse_id(body, true);
    case PayloadType::id_responder:
      return parse_id(body, false);
    case PayloadType::certificate:
      return parse_cert<CertPayload>(body);
    case PayloadType::certificate_request:
      return parse_cert<CertRequestPayload>(body);
    case PayloadType::auth:
      return parse_auth(body);
    case PayloadType::nonce:
      return parse_nonce(body);
    case PayloadType::notify:
      return parse_notify(body);
    case PayloadType::delete_:
      return parse_delete(body);
    case PayloadType::vendor_id:
      return VendorPayload{to_vector(body.rest())};
    case PayloadType::ts_initiator:
      return parse_ts(body, true);
    case PayloadType::ts_responder:
      return parse_ts(body, false);
    default:
      return OpaquePayload{static_cast<std::uint8_t>(type), critical, to_vector(body.rest())};
  }
}

}  // namespace espgate::ike
