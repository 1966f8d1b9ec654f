// Which proposal to take (RFC 7296 section 2.7), and words for when there is none.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "conf/schema.hpp"
#include "control/ike/keys.hpp"
#include "control/ike/payloads.hpp"

namespace espgate::ike {

// The configured proposals as an SA payload offers them.
[[nodiscard]] SaPayload offer_ike(const std::vector<conf::IkeProposal>& wanted, Bytes spi);
// `with_groups`: offer the PFS groups (CREATE_CHILD_SA); false in IKE_AUTH.
[[nodiscard]] SaPayload offer_esp(const std::vector<conf::EspProposal>& wanted, std::uint32_t spi,
                                  bool with_groups);

struct IkeChoice {
  IkeAlgorithms algorithms;
  SaPayload answer;
  ByteVector peer_spi;
};
struct EspChoice {
  crypto::EspSuite suite{};
  crypto::DhGroup group{};
  bool esn{false};
  std::uint32_t peer_spi{0};
  SaPayload answer;
};

// The responder's choice: the first offered proposal that one of ours accepts, in our order of transforms.
// The answer keeps the offer's number and carries `our_spi`. nullopt: none fits.
[[nodiscard]] std::optional<IkeChoice> choose_ike(const SaPayload& offered,
                                                  const std::vector<conf::IkeProposal>& wanted,
                                                  Bytes our_spi);
[[nodiscard]] std::optional<EspChoice> choose_esp(const SaPayload& offered,
                                                  const std::vector<conf::EspProposal>& wanted,
                                                  std::uint32_t our_spi, bool with_groups);

// The initiator's check of an answer: exactly one proposal, one transform of each kind, all from what we
// offered.
[[nodiscard]] std::optional<IkeChoice> accept_ike(const SaPayload& answer, const SaPayload& offer);
[[nodiscard]] std::optional<EspChoice> accept_esp(const SaPayload& answer, const SaPayload& offer);

// "aes256-sha384-ecp384, aes128gcm16-prfsha256-x25519": what was offered, for the log and `explain`.
[[nodiscard]] std::string describe(const SaPayload& offer);
// What separates the two: "they offer DH group modp1024; we accept ecp384, x25519".
[[nodiscard]] std::string mismatch_words(const SaPayload& offered, const SaPayload& accepted);
[[nodiscard]] std::string describe(const IkeAlgorithms& algorithms);

// The same by kind of transform, over all proposals of either side.
struct Compared {
  std::string kind;  // "cipher", "DH group"
  std::string theirs, ours;
  bool common{false};  // at least one is in both
};
[[nodiscard]] std::vector<Compared> compare(const SaPayload& theirs, const SaPayload& ours);

}  // namespace espgate::ike
