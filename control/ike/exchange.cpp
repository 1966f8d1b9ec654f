#include "control/ike/exchange.hpp"

namespace espgate::ike {

NotifyPayload plain_notify(NotifyType type, ByteVector data) {
  return {Protocol::none, {}, type, std::move(data)};
}

KePayload ke_payload(const crypto::DhKey& dh) {
  const Bytes value = dh.public_value();
  return {static_cast<std::uint16_t>(dh.group()), {value.begin(), value.end()}};
}

ByteVector fresh_nonce() {
  constexpr std::size_t kLength = 32;  // section 2.10: half the longest PRF's key at least
  ByteVector out(kLength);
  crypto::random_bytes(out);
  return out;
}

ByteVector lower_nonce(Bytes a, Bytes b) {
  const bool a_first = std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
  const Bytes lower = a_first ? a : b;
  return {lower.begin(), lower.end()};
}

ByteVector group_data(crypto::DhGroup group) {
  const auto number = static_cast<std::uint16_t>(group);
  return {static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)};
}

crypto::DhGroup asked_group(const NotifyPayload& notify) noexcept {
  if (notify.data.size() != 2) return crypto::DhGroup::none;
  return static_cast<crypto::DhGroup>(notify.data[0] << 8 | notify.data[1]);
}

}  // namespace espgate::ike
