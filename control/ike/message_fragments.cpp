// IKEv2 fragmentation (RFC 7383): a protected message cut into Encrypted Fragment payloads, and put together
// again.
#include <algorithm>

#include "control/ike/message_wire.hpp"

namespace espgate::ike {
namespace {

constexpr std::size_t kMaxFragments = 64;
// Below this a datagram would be all overhead; RFC 7383 section 2.5.1 does not go below 576 bytes of IP
// packet.
constexpr std::size_t kSmallestDatagram = 256;

std::vector<ByteVector> seal_fragments(const Header& header, PayloadType first, Bytes content,
                                       crypto::IkeCipher& cipher, std::size_t capacity) {
  const std::size_t total = (content.size() + capacity - 1) / capacity;
  if (total > kMaxFragments) throw std::length_error("an IKE message of more than 64 fragments");
  std::vector<ByteVector> datagrams;
  for (std::size_t i = 0; i < total; ++i) {
    const Bytes part = content.subspan(i * capacity, std::min(capacity, content.size() - i * capacity));
    const FragmentNumber fragment{static_cast<std::uint16_t>(i + 1), static_cast<std::uint16_t>(total)};
    // Section 2.5: only the first one names the type of the first payload inside.
    datagrams.push_back(seal_datagram(header, i == 0 ? first : PayloadType::none, fragment, part, cipher));
  }
  return datagrams;
}

}  // namespace

std::vector<ByteVector> seal_message(Header header, const std::vector<Payload>& payloads,
                                     crypto::IkeCipher& cipher, std::size_t max_datagram) {
  Writer chain;
  write_chain(chain, payloads);
  const std::size_t limit = std::max(max_datagram, kSmallestDatagram);
  const PayloadType first = first_type(payloads);
  if (max_datagram == 0 || chain.size() <= protected_capacity(cipher, false, limit))
    return {seal_datagram(header, first, std::nullopt, chain.view(), cipher)};
  return seal_fragments(header, first, chain.view(), cipher, protected_capacity(cipher, true, limit));
}

bool is_fragment(Bytes datagram) noexcept {
  const auto payload = locate_protected(datagram);
  return payload && payload->fragment;
}

void Reassembly::clear() { *this = Reassembly(); }

// Section 2.6. A smaller total than that of the set being collected is an older attempt of the sender; a
// larger one replaces the set.
bool Reassembly::is_wanted(std::uint32_t message_id, std::uint16_t number, std::uint16_t total) const {
  if (number == 0 || number > total || total > kMaxFragments) return false;
  if (message_id != message_id_ || total > total_) return true;
  return total == total_ && !parts_[number - 1U];
}

void Reassembly::begin(std::uint32_t message_id, std::uint16_t total) {
  clear();
  message_id_ = message_id;
  total_ = total;
  parts_.resize(total);
}

Result<std::vector<Payload>> Reassembly::assemble() {
  crypto::SecretBytes content(bytes_);
  auto out = content.bytes().begin();
  for (const auto& part : parts_) out = std::copy(part->view().begin(), part->view().end(), out);
  const PayloadType first = first_;
  clear();
  return parse_payloads(first, content.view());
}

Reassembly::Progress Reassembly::add(const Header& header, Bytes datagram, const crypto::IkeCipher& cipher,
                                     std::size_t most) {
  const auto payload = locate_protected(datagram);
  if (!payload || !payload->fragment || datagram.size() != header.length) return {};
  const auto [number, total] = *payload->fragment;
  if (!is_wanted(header.message_id, number, total)) return {};
  OpenedPayload opened = open_payload(*payload, cipher);
  if (!opened.authentic) return {};
  if (!opened.content) return {true, invalid_syntax("a fragment is shorter than its padding")};
  if (header.message_id != message_id_ || total != total_) begin(header.message_id, total);
  if (number == 1) first_ = payload->first;
  bytes_ += opened.content->size();
  parts_[number - 1U] = std::move(opened.content);
  if (bytes_ > most) {
    clear();
    return {true,
            invalid_syntax("a message of more than " + std::to_string(most / 1024) + " KiB in fragments")};
  }
  if (++received_ < total_) return {true, std::nullopt};
  return {true, assemble()};
}

}  // namespace espgate::ike
