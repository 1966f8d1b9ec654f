// Small things that several exchanges need.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "control/ike/payloads.hpp"
#include "crypto/ike.hpp"

namespace espgate::ike {

inline constexpr unsigned kMaxGroupAnswers =
    2;  // INVALID_KE_PAYLOAD answers that one exchange of ours follows

[[nodiscard]] NotifyPayload plain_notify(NotifyType type, ByteVector data = {});
[[nodiscard]] KePayload ke_payload(const crypto::DhKey& dh);
[[nodiscard]] ByteVector fresh_nonce();
// RFC 7296 section 2.8.1: octet by octet; a nonce that is the other's beginning is the lower one.
[[nodiscard]] ByteVector lower_nonce(Bytes a, Bytes b);

// The data of INVALID_KE_PAYLOAD (section 3.10.1), and what a peer's says; none: it says nothing.
[[nodiscard]] ByteVector group_data(crypto::DhGroup group);
[[nodiscard]] crypto::DhGroup asked_group(const NotifyPayload& notify) noexcept;

template <class Proposal>
[[nodiscard]] bool offers(const std::vector<Proposal>& proposals, crypto::DhGroup group) {
  return std::any_of(proposals.begin(), proposals.end(), [group](const Proposal& p) {
    return std::find(p.groups.begin(), p.groups.end(), group) != p.groups.end();
  });
}

}  // namespace espgate::ike
