// The configured proposals as SA payloads (RFC 7296 section 3.3).
#include <algorithm>

#include "control/ike/proposal_choice.hpp"

namespace espgate::ike {
namespace {

template <class Id>
Transform transform(TransformType type, Id id, std::uint16_t key_bits = 0) {
  return {type, static_cast<std::uint16_t>(id), key_bits, false};
}

template <class Id>
void add_all(Proposal& proposal, TransformType type, const std::vector<Id>& ids) {
  for (const Id id : ids) proposal.transforms.push_back(transform(type, id));
}

void add(SaPayload& sa, Proposal proposal) {
  proposal.number = static_cast<std::uint8_t>(sa.proposals.size() + 1);
  sa.proposals.push_back(std::move(proposal));
}

constexpr bool is_aead(crypto::IkeCipherId id) { return id == crypto::IkeCipherId::aes_gcm16; }

// RFC 5282 section 8: combined-mode ciphers and the others never share a proposal, and the former come
// without integrity algorithms. No proposal comes of a kind of which `wanted` has no cipher.
void add_ike(SaPayload& sa, const conf::IkeProposal& wanted, Bytes spi, bool aead) {
  Proposal proposal{0, Protocol::ike, {spi.begin(), spi.end()}, {}};
  for (const conf::IkeCipherChoice& cipher : wanted.ciphers)
    if (is_aead(cipher.id) == aead)
      proposal.transforms.push_back(transform(TransformType::cipher, cipher.id, cipher.key_bits));
  if (proposal.transforms.empty()) return;
  if (!aead) add_all(proposal, TransformType::integrity, wanted.integrity);
  add_all(proposal, TransformType::prf, wanted.prfs);
  add_all(proposal, TransformType::dh, wanted.groups);
  add(sa, std::move(proposal));
}

ByteVector big_endian(std::uint32_t spi) {
  return {static_cast<std::uint8_t>(spi >> 24), static_cast<std::uint8_t>(spi >> 16),
          static_cast<std::uint8_t>(spi >> 8), static_cast<std::uint8_t>(spi)};
}

std::vector<const crypto::SuiteRow*> rows_of(const std::vector<crypto::EspSuite>& suites) {
  std::vector<const crypto::SuiteRow*> rows;
  for (const crypto::EspSuite suite : suites)
    if (const crypto::SuiteRow* row = crypto::find_suite(suite)) rows.push_back(row);
  return rows;
}

// The integrity algorithms of the suites (0: none, for AEAD), each once and in order.
std::vector<std::uint16_t> integrities_of(const std::vector<const crypto::SuiteRow*>& rows) {
  std::vector<std::uint16_t> ids;
  for (const crypto::SuiteRow* row : rows)
    if (std::ranges::find(ids, row->ike_integrity) == ids.end()) ids.push_back(row->ike_integrity);
  return ids;
}

// In order of preference: who takes either is better off with sequence numbers that do not run out.
std::vector<std::uint16_t> esn_of(conf::Esn esn) {
  switch (esn) {
    case conf::Esn::yes:
      return {1};
    case conf::Esn::either:
      return {1, 0};
    case conf::Esn::no:
      break;
  }
  return {0};
}

// A proposal per integrity algorithm, so that no combination of its transforms is a suite that was not asked
// for.
void add_esp(SaPayload& sa, const conf::EspProposal& wanted, std::uint32_t spi, bool with_groups) {
  const std::vector<const crypto::SuiteRow*> rows = rows_of(wanted.suites);
  for (const std::uint16_t integrity : integrities_of(rows)) {
    Proposal proposal{0, Protocol::esp, big_endian(spi), {}};
    for (const crypto::SuiteRow* row : rows)
      if (row->ike_integrity == integrity)
        proposal.transforms.push_back(transform(TransformType::cipher, row->ike_cipher, ike_key_bits(*row)));
    if (integrity != 0) proposal.transforms.push_back(transform(TransformType::integrity, integrity));
    if (with_groups) add_all(proposal, TransformType::dh, wanted.groups);
    add_all(proposal, TransformType::esn, esn_of(wanted.esn));
    add(sa, std::move(proposal));
  }
}

}  // namespace

SaPayload offer_ike(const std::vector<conf::IkeProposal>& wanted, Bytes spi) {
  SaPayload sa;
  for (const conf::IkeProposal& proposal : wanted)
    for (const bool aead : {true, false}) add_ike(sa, proposal, spi, aead);
  return sa;
}

SaPayload offer_esp(const std::vector<conf::EspProposal>& wanted, std::uint32_t spi, bool with_groups) {
  SaPayload sa;
  for (const conf::EspProposal& proposal : wanted) add_esp(sa, proposal, spi, with_groups);
  return sa;
}

}  // namespace espgate::ike
