// Small things that several exchanges need.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include "control/ike/payloads.hpp"
#include "crypto/ike.hpp"

namespace espgate::ike {

inline constexpr unsigned kMaxGroupAnswers =
    2;  // INVALID_KE_PAYLOAD answers that one exchange of ours follows

// Until a rekey that did not come about is tried again, and after TEMPORARY_FAILURE; sooner where less is
// left.
inline constexpr auto kRetry = std::chrono::milliseconds(10000);
inline constexpr auto kTemporaryRetry = std::chrono::milliseconds(2000);
// By how much an SA may outlive its lifetime while its rekey is on its way; looked at in steps.
inline constexpr auto kOvertime = std::chrono::seconds(30);
inline constexpr auto kOvertimeStep = std::chrono::milliseconds(500);

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
