#include "control/ike/payloads.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "control/ike/payload_codec.hpp"

namespace espgate::ike {
namespace {

// As IANA writes them.
constexpr auto kNotifyNames = std::to_array<std::pair<NotifyType, std::string_view>>({
    {NotifyType::unsupported_critical_payload, "UNSUPPORTED_CRITICAL_PAYLOAD"},
    {NotifyType::invalid_ike_spi, "INVALID_IKE_SPI"},
    {NotifyType::invalid_major_version, "INVALID_MAJOR_VERSION"},
    {NotifyType::invalid_syntax, "INVALID_SYNTAX"},
    {NotifyType::invalid_message_id, "INVALID_MESSAGE_ID"},
    {NotifyType::invalid_spi, "INVALID_SPI"},
    {NotifyType::no_proposal_chosen, "NO_PROPOSAL_CHOSEN"},
    {NotifyType::invalid_ke_payload, "INVALID_KE_PAYLOAD"},
    {NotifyType::authentication_failed, "AUTHENTICATION_FAILED"},
    {NotifyType::single_pair_required, "SINGLE_PAIR_REQUIRED"},
    {NotifyType::no_additional_sas, "NO_ADDITIONAL_SAS"},
    {NotifyType::internal_address_failure, "INTERNAL_ADDRESS_FAILURE"},
    {NotifyType::failed_cp_required, "FAILED_CP_REQUIRED"},
    {NotifyType::ts_unacceptable, "TS_UNACCEPTABLE"},
    {NotifyType::invalid_selectors, "INVALID_SELECTORS"},
    {NotifyType::temporary_failure, "TEMPORARY_FAILURE"},
    {NotifyType::child_sa_not_found, "CHILD_SA_NOT_FOUND"},
    {NotifyType::unacceptable_addresses, "UNACCEPTABLE_ADDRESSES"},
    {NotifyType::unexpected_nat_detected, "UNEXPECTED_NAT_DETECTED"},
    {NotifyType::initial_contact, "INITIAL_CONTACT"},
    {NotifyType::set_window_size, "SET_WINDOW_SIZE"},
    {NotifyType::additional_ts_possible, "ADDITIONAL_TS_POSSIBLE"},
    {NotifyType::ipcomp_supported, "IPCOMP_SUPPORTED"},
    {NotifyType::nat_detection_source_ip, "NAT_DETECTION_SOURCE_IP"},
    {NotifyType::nat_detection_destination_ip, "NAT_DETECTION_DESTINATION_IP"},
    {NotifyType::cookie, "COOKIE"},
    {NotifyType::use_transport_mode, "USE_TRANSPORT_MODE"},
    {NotifyType::http_cert_lookup_supported, "HTTP_CERT_LOOKUP_SUPPORTED"},
    {NotifyType::rekey_sa, "REKEY_SA"},
    {NotifyType::esp_tfc_padding_not_supported, "ESP_TFC_PADDING_NOT_SUPPORTED"},
    {NotifyType::non_first_fragments_also, "NON_FIRST_FRAGMENTS_ALSO"},
    {NotifyType::mobike_supported, "MOBIKE_SUPPORTED"},
    {NotifyType::additional_ip4_address, "ADDITIONAL_IP4_ADDRESS"},
    {NotifyType::additional_ip6_address, "ADDITIONAL_IP6_ADDRESS"},
    {NotifyType::no_additional_addresses, "NO_ADDITIONAL_ADDRESSES"},
    {NotifyType::update_sa_addresses, "UPDATE_SA_ADDRESSES"},
    {NotifyType::cookie2, "COOKIE2"},
    {NotifyType::no_nats_allowed, "NO_NATS_ALLOWED"},
    {NotifyType::auth_lifetime, "AUTH_LIFETIME"},
    {NotifyType::multiple_auth_supported, "MULTIPLE_AUTH_SUPPORTED"},
    {NotifyType::another_auth_follows, "ANOTHER_AUTH_FOLLOWS"},
    {NotifyType::redirect_supported, "REDIRECT_SUPPORTED"},
    {NotifyType::redirect, "REDIRECT"},
    {NotifyType::ticket_request, "TICKET_REQUEST"},
    {NotifyType::eap_only_authentication, "EAP_ONLY_AUTHENTICATION"},
    {NotifyType::childless_ikev2_supported, "CHILDLESS_IKEV2_SUPPORTED"},
    {NotifyType::quick_crash_detection, "QUICK_CRASH_DETECTION"},
    {NotifyType::ikev2_message_id_sync_supported, "IKEV2_MESSAGE_ID_SYNC_SUPPORTED"},
    {NotifyType::ipsec_replay_counter_sync_supported, "IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED"},
    {NotifyType::fragmentation_supported, "IKEV2_FRAGMENTATION_SUPPORTED"},
    {NotifyType::signature_hash_algorithms, "SIGNATURE_HASH_ALGORITHMS"},
    {NotifyType::use_ppk, "USE_PPK"},
    {NotifyType::ppk_identity, "PPK_IDENTITY"},
    {NotifyType::no_ppk_auth, "NO_PPK_AUTH"},
    {NotifyType::intermediate_exchange_supported, "INTERMEDIATE_EXCHANGE_SUPPORTED"},
});

// RFC 7296 section 3.2, from 33 on.
constexpr std::array<std::string_view, 16> kPayloadNames{
    "SA",     "KE",     "IDi",       "IDr", "CERT", "CERTREQ",   "AUTH",          "Nonce",
    "Notify", "Delete", "Vendor ID", "TSi", "TSr",  "Encrypted", "Configuration", "EAP"};

template <class T, class Condition>
const T* find_if(const std::vector<Payload>& payloads, Condition condition) noexcept {
  for (const Payload& payload : payloads) {
    const T* found = std::get_if<T>(&payload);
    if (found != nullptr && condition(*found)) return found;
  }
  return nullptr;
}

}  // namespace

bool has_name(NotifyType type) noexcept {
  return std::ranges::any_of(kNotifyNames, [type](const auto& pair) { return pair.first == type; });
}

std::string name_of(NotifyType type) {
  const auto* row = std::ranges::find(kNotifyNames, type, [](const auto& pair) { return pair.first; });
  if (row != kNotifyNames.end()) return std::string(row->second);
  return "notify " + std::to_string(static_cast<unsigned>(type));
}

std::string name_of(PayloadType type) {
  const auto number = static_cast<unsigned>(type);
  if (is_known(type)) return std::string(kPayloadNames.at(number - 33));
  if (type == PayloadType::encrypted_fragment) return "Encrypted Fragment";
  return "type " + std::to_string(number);
}

const NotifyPayload* find_notify(const std::vector<Payload>& payloads, NotifyType type) noexcept {
  return find_if<NotifyPayload>(payloads,
                                [type](const NotifyPayload& notify) { return notify.type == type; });
}

const IdPayload* find_id(const std::vector<Payload>& payloads, bool initiator) noexcept {
  return find_if<IdPayload>(payloads, [initiator](const IdPayload& id) { return id.initiator == initiator; });
}

const TsPayload* find_ts(const std::vector<Payload>& payloads, bool initiator) noexcept {
  return find_if<TsPayload>(payloads, [initiator](const TsPayload& ts) { return ts.initiator == initiator; });
}

const NotifyPayload* find_error(const std::vector<Payload>& payloads) noexcept {
  return find_if<NotifyPayload>(payloads, [](const NotifyPayload& notify) { return is_error(notify.type); });
}

}  // namespace espgate::ike
