// Choosing from an offer, and checking what was chosen from ours (RFC 7296 sections 2.7, 3.3 and 3.3.6).
#include "control/ike/proposal_choice.hpp"

#include <algorithm>

#include "control/ike/cursor.hpp"
#include "control/ike/proposal_match.hpp"

namespace espgate::ike {
namespace {

// RFC 4303 section 2.1: 0 is never on the wire, 1 to 255 are IANA's.
constexpr std::uint32_t kFirstSpi = 256;

bool is_none(const Transform& transform) {
  const bool may_be_none = transform.type == TransformType::integrity || transform.type == TransformType::dh;
  return may_be_none && transform.id == 0 && !transform.unknown_attribute;
}

// An SPI of `size` bytes that may be used: for IKE 0 bytes, or 8 that are not all zero; for ESP 4.
bool is_usable_spi(Bytes spi, std::size_t size) {
  if (spi.size() != size) return false;
  if (size == 4) return Cursor(spi).u32() >= kFirstSpi;
  return size == 0 || std::ranges::any_of(spi, [](std::uint8_t byte) { return byte != 0; });
}

// One proposal of each side that agree.
struct Agreement {
  const Proposal* theirs;
  std::vector<Transform> transforms;
};

// `ours` all have the same protocol and an SPI of the length that theirs must have.
std::optional<Agreement> first_agreement(const SaPayload& offered, const SaPayload& ours) {
  for (const Proposal& theirs : offered.proposals)
    for (const Proposal& mine : ours.proposals) {
      if (theirs.protocol != mine.protocol || !is_usable_spi(theirs.spi, mine.spi.size())) continue;
      if (auto transforms = match(theirs, mine)) return Agreement{&theirs, std::move(*transforms)};
    }
  return std::nullopt;
}

const Transform* chosen(const std::vector<Transform>& transforms, TransformType type) {
  const auto found = std::ranges::find(transforms, type, &Transform::type);
  return found != transforms.end() ? &*found : nullptr;
}

std::uint16_t chosen_id(const std::vector<Transform>& transforms, TransformType type) {
  const Transform* transform = chosen(transforms, type);
  return transform != nullptr ? transform->id : std::uint16_t{0};
}

IkeChoice ike_choice(const Agreement& agreement, Bytes answer_spi) {
  const std::vector<Transform>& transforms = agreement.transforms;
  IkeChoice choice;
  choice.algorithms.cipher = static_cast<crypto::IkeCipherId>(chosen_id(transforms, TransformType::cipher));
  if (const Transform* cipher = chosen(transforms, TransformType::cipher))
    choice.algorithms.key_bits = cipher->key_bits;
  choice.algorithms.integrity =
      static_cast<crypto::IkeIntegrity>(chosen_id(transforms, TransformType::integrity));
  choice.algorithms.prf = static_cast<crypto::Prf>(chosen_id(transforms, TransformType::prf));
  choice.algorithms.group = static_cast<crypto::DhGroup>(chosen_id(transforms, TransformType::dh));
  choice.peer_spi = agreement.theirs->spi;
  choice.answer.proposals.push_back(
      {agreement.theirs->number, Protocol::ike, to_vector(answer_spi), agreement.transforms});
  return choice;
}

std::optional<crypto::EspSuite> suite_of(const std::vector<Transform>& transforms) {
  const Transform* cipher = chosen(transforms, TransformType::cipher);
  const std::uint16_t integrity = chosen_id(transforms, TransformType::integrity);
  for (const crypto::SuiteRow& row : crypto::kSuites)
    if (cipher != nullptr && row.ike_cipher == cipher->id && ike_key_bits(row) == cipher->key_bits &&
        row.ike_integrity == integrity)
      return row.suite;
  return std::nullopt;
}

std::optional<EspChoice> esp_choice(const Agreement& agreement, Bytes answer_spi) {
  const auto suite = suite_of(agreement.transforms);
  if (!suite) return std::nullopt;
  EspChoice choice;
  choice.suite = *suite;
  choice.group = static_cast<crypto::DhGroup>(chosen_id(agreement.transforms, TransformType::dh));
  choice.esn = chosen_id(agreement.transforms, TransformType::esn) == 1;
  choice.peer_spi = Cursor(agreement.theirs->spi).u32();
  choice.answer.proposals.push_back(
      {agreement.theirs->number, Protocol::esp, to_vector(answer_spi), agreement.transforms});
  return choice;
}

// The groups of an offer in IKE_AUTH mean nothing: there is no key exchange in it (RFC 7296 section 1.2).
SaPayload without_groups(SaPayload sa) {
  for (Proposal& proposal : sa.proposals)
    std::erase_if(proposal.transforms, [](const Transform& transform) {
      return transform.type == TransformType::dh && transform.id != 0;
    });
  return sa;
}

// Section 3.3.6: an answer is a single proposal with one transform of each type at most.
bool is_answer(const SaPayload& answer) {
  if (answer.proposals.size() != 1) return false;
  const std::vector<Transform>& transforms = answer.proposals.front().transforms;
  return std::ranges::all_of(transforms, [&transforms](const Transform& transform) {
    return std::ranges::count(transforms, transform.type, &Transform::type) == 1;
  });
}

// The answer against the proposal of `offer` that has its number (section 3.3.1).
std::optional<Agreement> check_answer(const SaPayload& answer, const SaPayload& offer) {
  if (!is_answer(answer)) return std::nullopt;
  const auto mine = std::ranges::find(offer.proposals, answer.proposals.front().number, &Proposal::number);
  if (mine == offer.proposals.end()) return std::nullopt;
  return first_agreement(answer, SaPayload{{*mine}});
}

}  // namespace

std::vector<Transform> of_type(const std::vector<Transform>& transforms, TransformType type) {
  std::vector<Transform> found;
  std::ranges::copy_if(transforms, std::back_inserter(found),
                       [type](const Transform& transform) { return transform.type == type; });
  return found;
}

TypeMatch match_type(TransformType type, const std::vector<Transform>& theirs,
                     const std::vector<Transform>& ours) {
  // Some peers leave "no ESN" unsaid. Any other type that we ask for has to be there.
  const bool unsaid_esn = type == TransformType::esn && theirs.empty() &&
                          std::ranges::find(ours, std::uint16_t{0}, &Transform::id) != ours.end();
  if (unsaid_esn || (theirs.empty() && ours.empty())) return {true, std::nullopt};
  for (const Transform& mine : ours)
    if (std::ranges::find(theirs, mine) != theirs.end()) return {true, mine};
  // Integrity with AEAD ciphers, and groups without PFS: NONE says the same as silence (section 3.3.3).
  const auto none = std::ranges::find_if(theirs, is_none);
  if (ours.empty() && none != theirs.end()) return {true, *none};
  return {};
}

std::optional<unsigned> unknown_type(const Proposal& proposal) {
  for (const Transform& transform : proposal.transforms)
    if (std::ranges::find(kTransformTypes, transform.type) == kTransformTypes.end())
      return static_cast<unsigned>(transform.type);
  return std::nullopt;
}

std::optional<std::vector<Transform>> match(const Proposal& theirs, const Proposal& ours) {
  if (unknown_type(theirs)) return std::nullopt;  // section 3.3.6
  std::vector<Transform> transforms;
  for (const TransformType type : kTransformTypes) {
    const TypeMatch matched =
        match_type(type, of_type(theirs.transforms, type), of_type(ours.transforms, type));
    if (!matched.agreed) return std::nullopt;
    if (matched.chosen) transforms.push_back(*matched.chosen);
  }
  return transforms;
}

std::optional<IkeChoice> choose_ike(const SaPayload& offered, const std::vector<conf::IkeProposal>& wanted,
                                    Bytes our_spi) {
  const auto agreement = first_agreement(offered, offer_ike(wanted, our_spi));
  if (!agreement) return std::nullopt;
  return ike_choice(*agreement, our_spi);
}

std::optional<EspChoice> choose_esp(const SaPayload& offered, const std::vector<conf::EspProposal>& wanted,
                                    std::uint32_t our_spi, bool with_groups) {
  const SaPayload theirs = with_groups ? offered : without_groups(offered);
  const SaPayload ours = offer_esp(wanted, our_spi, with_groups);
  const auto agreement = first_agreement(theirs, ours);
  if (!agreement) return std::nullopt;
  return esp_choice(*agreement, ours.proposals.front().spi);
}

std::optional<IkeChoice> accept_ike(const SaPayload& answer, const SaPayload& offer) {
  const auto agreement = check_answer(answer, offer);
  if (!agreement) return std::nullopt;
  return ike_choice(*agreement, agreement->theirs->spi);
}

std::optional<EspChoice> accept_esp(const SaPayload& answer, const SaPayload& offer) {
  const auto agreement = check_answer(answer, offer);
  if (!agreement) return std::nullopt;
  return esp_choice(*agreement, agreement->theirs->spi);
}

}  // namespace espgate::ike
