// The SA payload: proposals, transforms, attributes (RFC 7296 section 3.3).
#include "control/ike/payload_codec.hpp"

namespace espgate::ike {
namespace {

constexpr std::uint8_t kLast = 0;
constexpr std::uint8_t kMoreProposals = 2;
constexpr std::uint8_t kMoreTransforms = 3;
constexpr std::size_t kSubstructureHeader = 8;
constexpr std::uint16_t kAttributeFormatTv = 0x8000;
constexpr std::uint16_t kKeyLength = 14;

// Section 3.3.5. A second Key Length, one of zero or one in the variable format can't be chosen any more than
// an attribute that we do not know (section 3.3.6), so all of them are marked alike.
void parse_attribute(Cursor& attributes, Transform& transform) {
  const std::uint16_t type = attributes.u16();
  const std::uint16_t value_or_length = attributes.u16();
  const bool fixed = (type & kAttributeFormatTv) != 0;
  if (!fixed) attributes.skip(value_or_length);
  const bool first_key_length =
      fixed && (type & ~kAttributeFormatTv) == kKeyLength && transform.key_bits == 0 && value_or_length != 0;
  if (first_key_length)
    transform.key_bits = value_or_length;
  else
    transform.unknown_attribute = true;
}

// Section 3.3.2. `last`: it is the last that the proposal announced.
Transform parse_transform(Cursor& transforms, bool last) {
  const std::uint8_t more = transforms.u8();
  transforms.skip(1);  // reserved
  const std::uint16_t length = transforms.u16();
  transforms.require(more == (last ? kLast : kMoreTransforms),
                     "a transform's last-substructure flag is wrong");
  transforms.require(length >= kSubstructureHeader, "a transform's length is too small");
  Transform transform;
  transform.type = static_cast<TransformType>(transforms.u8());
  transforms.skip(1);  // reserved
  transform.id = transforms.u16();
  if (!transforms.ok()) return transform;
  Cursor attributes(transforms.take(length - kSubstructureHeader));
  while (attributes.ok() && !attributes.empty()) parse_attribute(attributes, transform);
  transforms.require(attributes.ok(), "a transform's attributes are cut short");
  return transform;
}

// Section 3.3.1: none or 8 bytes for IKE, 4 for AH and ESP. A protocol that we do not know has its own rule.
bool is_spi_size(Protocol protocol, std::size_t size) {
  if (protocol == Protocol::ike) return size == 0 || size == 8;
  if (protocol == Protocol::ah || protocol == Protocol::esp) return size == 4;
  return true;
}

void parse_proposal_content(Cursor& content, Proposal& proposal) {
  proposal.number = content.u8();
  proposal.protocol = static_cast<Protocol>(content.u8());
  const std::uint8_t spi_size = content.u8();
  const std::uint8_t count = content.u8();
  content.require(is_spi_size(proposal.protocol, spi_size), "a proposal's SPI has the wrong size");
  proposal.spi = to_vector(content.take(spi_size));
  for (unsigned i = 1; i <= count && content.ok(); ++i)
    proposal.transforms.push_back(parse_transform(content, i == count));
  content.require(content.empty(), "a proposal is longer than its transforms");
}

Proposal parse_proposal(Cursor& proposals) {
  const std::uint8_t more = proposals.u8();
  proposals.skip(1);  // reserved
  const std::uint16_t length = proposals.u16();
  proposals.require(length >= kSubstructureHeader, "a proposal's length is too small");
  Proposal proposal;
  if (!proposals.ok()) return proposal;
  Cursor content(proposals.take(length - 4U));
  parse_proposal_content(content, proposal);
  proposals.require(content.ok(), content.words());
  proposals.require(more == (proposals.empty() ? kLast : kMoreProposals),
                    "a proposal's last-substructure flag is wrong");
  return proposal;
}

// Section 3.3.1: an offer counts from 1 in steps of 1. An answer is a single proposal that keeps its offer's
// number.
bool are_numbers_right(const std::vector<Proposal>& proposals) {
  if (proposals.size() == 1) return proposals.front().number != 0;
  for (std::size_t i = 0; i < proposals.size(); ++i)
    if (proposals[i].number != i + 1) return false;
  return true;
}

std::size_t begin_substructure(Writer& out, std::uint8_t more) {
  const std::size_t start = out.size();
  out.u8(more);
  out.zeros(3);  // reserved, and the length to come
  return start;
}

void write_transform(Writer& out, const Transform& transform, bool last) {
  const std::size_t start = begin_substructure(out, last ? kLast : kMoreTransforms);
  out.u8(static_cast<std::uint8_t>(transform.type));
  out.u8(0);
  out.u16(transform.id);
  if (transform.key_bits != 0) {
    out.u16(kAttributeFormatTv | kKeyLength);
    out.u16(transform.key_bits);
  }
  out.set_length16(start + 2, start);
}

void write_proposal(Writer& out, const Proposal& proposal, bool last) {
  if (proposal.transforms.size() > 255 || proposal.spi.size() > 255)
    throw std::length_error("an IKE proposal with more than 255 transforms or bytes of SPI");
  const std::size_t start = begin_substructure(out, last ? kLast : kMoreProposals);
  out.u8(proposal.number);
  out.u8(static_cast<std::uint8_t>(proposal.protocol));
  out.u8(static_cast<std::uint8_t>(proposal.spi.size()));
  out.u8(static_cast<std::uint8_t>(proposal.transforms.size()));
  out.bytes(proposal.spi);
  for (const Transform& transform : proposal.transforms)
    write_transform(out, transform, &transform == &proposal.transforms.back());
  out.set_length16(start + 2, start);
}

}  // namespace

SaPayload parse_sa(Cursor& body) {
  SaPayload sa;
  body.require(!body.empty(), "it holds no proposal");
  while (body.ok() && !body.empty()) sa.proposals.push_back(parse_proposal(body));
  body.require(are_numbers_right(sa.proposals), "its proposals are not numbered 1, 2, 3");
  return sa;
}

void write_sa(Writer& out, const SaPayload& sa) {
  for (const Proposal& proposal : sa.proposals)
    write_proposal(out, proposal, &proposal == &sa.proposals.back());
}

}  // namespace espgate::ike
