// IKEv2 payloads as values (RFC 7296 section 3). A payload is validated whole when parsed; what is here can
// be used.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "channel/address.hpp"
#include "crypto/secret.hpp"

namespace espgate::ike {

using crypto::Bytes;
using ByteVector = std::vector<std::uint8_t>;

enum class PayloadType : std::uint8_t {
  none = 0,
  sa = 33,
  ke = 34,
  id_initiator = 35,
  id_responder = 36,
  certificate = 37,
  certificate_request = 38,
  auth = 39,
  nonce = 40,
  notify = 41,
  delete_ = 42,
  vendor_id = 43,
  ts_initiator = 44,
  ts_responder = 45,
  encrypted = 46,
  configuration = 47,
  eap = 48,
  encrypted_fragment = 53
};

// "SA", "KE", "IDi", or "type 99".
[[nodiscard]] std::string name_of(PayloadType type);

enum class Protocol : std::uint8_t { none = 0, ike = 1, ah = 2, esp = 3 };
enum class TransformType : std::uint8_t { cipher = 1, prf = 2, integrity = 3, dh = 4, esn = 5 };

struct Transform {
  TransformType type{};
  std::uint16_t id{0};
  std::uint16_t key_bits{0};  // the Key Length attribute; 0: absent
  // Carries an attribute that we do not know: can't be chosen (RFC 7296 section 3.3.6).
  bool unknown_attribute{false};
  bool operator==(const Transform&) const = default;
};

struct Proposal {
  std::uint8_t number{0};
  Protocol protocol{};
  ByteVector spi;  // 0, 4 or 8 bytes
  std::vector<Transform> transforms;
};

struct SaPayload {
  std::vector<Proposal> proposals;
};
struct KePayload {
  std::uint16_t group{0};
  ByteVector data;
};
struct IdPayload {
  bool initiator{true};
  std::uint8_t type{0};
  ByteVector data;
  std::array<std::uint8_t, 3>
      reserved{};  // as received: AUTH covers them (RFC 7296 section 2.15), nothing else looks
};
// RFC 7296 sections 3.6 and 3.7. ocsp_content: RFC 4806. raw_public_key: RFC 7670.
enum class CertEncoding : std::uint8_t { x509_signature = 4, ocsp_content = 14, raw_public_key = 15 };
struct CertPayload {
  std::uint8_t encoding{0};
  ByteVector data;
};
struct CertRequestPayload {
  std::uint8_t encoding{0};
  ByteVector data;  // hashes of authorities' keys, 20 bytes each; with OCSP, of responders', or none: any
};
// RFC 7296 section 3.8, RFC 4754, RFC 7427.
enum class AuthMethod : std::uint8_t {
  rsa = 1,
  shared_key = 2,
  ecdsa_256 = 9,
  ecdsa_384 = 10,
  ecdsa_521 = 11,
  digital_signature = 14
};
struct AuthPayload {
  std::uint8_t method{0};
  ByteVector data;
};
struct NoncePayload {
  ByteVector data;
};  // 16..256 bytes

enum class NotifyType : std::uint16_t {
  unsupported_critical_payload = 1,
  invalid_ike_spi = 4,
  invalid_major_version = 5,
  invalid_syntax = 7,
  invalid_message_id = 9,
  invalid_spi = 11,
  no_proposal_chosen = 14,
  invalid_ke_payload = 17,
  authentication_failed = 24,
  single_pair_required = 34,
  no_additional_sas = 35,
  internal_address_failure = 36,
  failed_cp_required = 37,
  ts_unacceptable = 38,
  invalid_selectors = 39,
  unacceptable_addresses = 40,  // RFC 4555
  unexpected_nat_detected = 41,
  temporary_failure = 43,
  child_sa_not_found = 44,
  initial_contact = 16384,
  set_window_size = 16385,
  additional_ts_possible = 16386,
  ipcomp_supported = 16387,
  nat_detection_source_ip = 16388,
  nat_detection_destination_ip = 16389,
  cookie = 16390,
  use_transport_mode = 16391,
  http_cert_lookup_supported = 16392,
  rekey_sa = 16393,
  esp_tfc_padding_not_supported = 16394,
  non_first_fragments_also = 16395,
  mobike_supported = 16396,  // RFC 4555
  additional_ip4_address = 16397,
  additional_ip6_address = 16398,
  no_additional_addresses = 16399,
  update_sa_addresses = 16400,
  cookie2 = 16401,
  no_nats_allowed = 16402,
  auth_lifetime = 16403,            // RFC 4478
  multiple_auth_supported = 16404,  // RFC 4739
  another_auth_follows = 16405,
  redirect_supported = 16406,  // RFC 5685
  redirect = 16407,
  ticket_request = 16410,  // RFC 5723
  eap_only_authentication = 16417,
  childless_ikev2_supported = 16418,
  quick_crash_detection = 16419,            // RFC 6290
  ikev2_message_id_sync_supported = 16420,  // RFC 6311
  ipsec_replay_counter_sync_supported = 16421,
  fragmentation_supported = 16430,
  signature_hash_algorithms = 16431,
  use_ppk = 16435,  // RFC 8784
  ppk_identity = 16436,
  no_ppk_auth = 16437,
  intermediate_exchange_supported = 16438  // RFC 9242
};
// "NO_PROPOSAL_CHOSEN", or "notify 12345".
[[nodiscard]] std::string name_of(NotifyType type);
[[nodiscard]] bool has_name(NotifyType type) noexcept;
// Types below 16384 are errors (RFC 7296 section 3.10.1).
[[nodiscard]] constexpr bool is_error(NotifyType type) noexcept {
  return static_cast<std::uint16_t>(type) < 16384;
}

struct NotifyPayload {
  Protocol protocol{};
  ByteVector spi;
  NotifyType type{};
  ByteVector data;
};

struct DeletePayload {
  Protocol protocol{};
  std::vector<std::uint32_t> spis;  // empty for IKE
};

struct VendorPayload {
  ByteVector data;
};

struct TrafficSelector {
  std::uint8_t protocol{0};  // 0: any
  std::uint16_t first_port{0};
  std::uint16_t last_port{65535};
  IpAddress first;
  IpAddress last;
  auto operator<=>(const TrafficSelector&) const = default;
};
// Selectors of other types than IPv4 and IPv6 ranges are left out, so there may be none. Addresses run
// upwards and are of one family; so do ports, except that 65535 to 0 says OPAQUE (RFC 7296 section 3.13.1).
struct TsPayload {
  bool initiator{true};
  std::vector<TrafficSelector> selectors;
};

// A payload of a type that is not consumed here. With `critical` set the message is refused with
// UNSUPPORTED_CRITICAL_PAYLOAD (RFC 7296 section 2.5) when the type is one we do not know at all.
struct OpaquePayload {
  std::uint8_t type{0};
  bool critical{false};
  ByteVector data;
};

using Payload =
    std::variant<SaPayload, KePayload, IdPayload, CertPayload, CertRequestPayload, AuthPayload, NoncePayload,
                 NotifyPayload, DeletePayload, VendorPayload, TsPayload, OpaquePayload>;

// The first payload of kind T, or nullptr.
template <class T>
[[nodiscard]] const T* find(const std::vector<Payload>& payloads) noexcept {
  for (const Payload& payload : payloads)
    if (const T* found = std::get_if<T>(&payload)) return found;
  return nullptr;
}
[[nodiscard]] const NotifyPayload* find_notify(const std::vector<Payload>& payloads,
                                               NotifyType type) noexcept;
[[nodiscard]] const IdPayload* find_id(const std::vector<Payload>& payloads, bool initiator) noexcept;
[[nodiscard]] const TsPayload* find_ts(const std::vector<Payload>& payloads, bool initiator) noexcept;
// The first notify below 16384.
[[nodiscard]] const NotifyPayload* find_error(const std::vector<Payload>& payloads) noexcept;

}  // namespace espgate::ike
