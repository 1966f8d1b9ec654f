#include "control/ike/story.hpp"

#include <algorithm>
#include <string_view>

#include "control/ike/payload_codec.hpp"

namespace espgate::ike {
namespace {

constexpr std::size_t kMostProposals = 8;
constexpr std::size_t kMostTransforms = 24;  // of each
constexpr std::size_t kMostSelectors = 16;
constexpr std::size_t kMostIdentity = 255;
constexpr std::size_t kMostSoftware = 60;  // characters

// 32: none.
unsigned bit_of(const Payload& payload) {
  const unsigned type = static_cast<unsigned>(type_of(payload)),
                 first = static_cast<unsigned>(PayloadType::sa);
  return type < first || type >= first + 32 ? 32 : type - first;
}

void note_notifies(const std::vector<Payload>& payloads, bool errors, std::size_t& count, Told& out) {
  for (const Payload& payload : payloads) {
    const auto* notify = std::get_if<NotifyPayload>(&payload);
    if (notify == nullptr || is_error(notify->type) != errors || count == out.notifies.size()) continue;
    out.notifies[count++] = notify->type;
  }
}

SaPayload cut_short(const SaPayload& sa) {
  SaPayload out{sa.proposals};
  if (out.proposals.size() > kMostProposals) out.proposals.resize(kMostProposals);
  for (Proposal& proposal : out.proposals)
    if (proposal.transforms.size() > kMostTransforms) proposal.transforms.resize(kMostTransforms);
  return out;
}

IdPayload cut_short(const IdPayload& id) {
  IdPayload out = id;
  if (out.data.size() > kMostIdentity) out.data.resize(kMostIdentity);
  return out;
}

// What is known of them. As text most begin with the name of their maker.
struct Vendor {
  std::string_view hex;  // how it begins
  std::string_view name;
};
constexpr Vendor kVendors[] = {
    {"882fe56d6fd20dbc2251613b2ebe5beb", "strongSwan"},
    {"1e2b516905991c7d7c96fcbfb587e461", "Microsoft"},
    {"8299031757a36082c6a621de", "FortiGate"},
};

std::string hex_of(const ByteVector& data) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : data) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

bool is_text(const ByteVector& data) {
  return std::ranges::all_of(data, [](std::uint8_t byte) { return byte >= 0x20 && byte < 0x7f; });
}

std::string name_of(const VendorPayload& vendor) {
  if (vendor.data.empty()) return {};
  if (is_text(vendor.data))
    return std::string(vendor.data.begin(), vendor.data.end()).substr(0, kMostSoftware);
  const std::string hex = hex_of(vendor.data);
  for (const auto& [begin, name] : kVendors)
    if (hex.starts_with(begin)) return std::string(name);
  return hex.substr(0, 32);
}

}  // namespace

void Story::add(const Header& header, bool sent, const std::vector<Payload>& payloads,
                std::chrono::steady_clock::time_point now) {
  if (!sent) listen(header, payloads);
  if (payloads.empty()) return;  // DPD would drive out all else
  Told told{now, header.message_id, 0, {}, header.exchange, 0, sent, header.response};
  for (const Payload& payload : payloads)
    if (const unsigned bit = bit_of(payload); bit < 32) told.payloads |= 1U << bit;
  std::size_t count = 0;
  for (const bool errors : {true, false}) note_notifies(payloads, errors, count, told);
  if (ring_.size() < kMost) {
    ring_.push_back(told);
  } else {
    ring_[oldest_] = told;
    oldest_ = (oldest_ + 1) % kMost;
  }
}

void Story::repeated() {
  for (std::size_t back = 1; back <= ring_.size(); ++back) {
    Told& told = ring_[(oldest_ + ring_.size() - back) % ring_.size()];
    if (!told.sent || told.response) continue;
    if (told.repeats < UINT8_MAX) ++told.repeats;
    return;
  }
}

std::vector<Told> Story::messages() const {
  std::vector<Told> out;
  for (std::size_t i = 0; i < ring_.size(); ++i) out.push_back(ring_[(oldest_ + i) % ring_.size()]);
  return out;
}

Heard& Story::hear() {
  if (!heard_) heard_ = std::make_unique<Heard>();
  return *heard_;
}

void Story::nat(bool local, bool remote) {
  Heard& heard = hear();
  heard.nat_local = local;
  heard.nat_remote = remote;
}

void Story::listen(const Header& header, const std::vector<Payload>& payloads) {
  if (header.exchange == Exchange::informational) {
    // RFC 7296 section 2.21.2: an initiator says there what it thinks of our answer to IKE_AUTH.
    const NotifyPayload* refusal = find_notify(payloads, NotifyType::authentication_failed);
    if (refusal != nullptr) hear().error = refusal->type;
    return;
  }
  Heard& heard = hear();
  if (const NotifyPayload* error = find_error(payloads)) heard.error = error->type;
  if (const auto* sa = find<SaPayload>(payloads); sa != nullptr && !sa->proposals.empty()) {
    const bool ike = sa->proposals.front().protocol == Protocol::ike;
    (ike ? heard.ike : heard.esp) = cut_short(*sa);
    (ike ? heard.offered_ike : heard.offered_esp) = !header.response;
    if (!ike) heard.pfs = header.exchange == Exchange::create_child_sa;
  }
  // A request names the initiator first, an answer only the responder.
  if (const IdPayload* id = find_id(payloads, !header.response)) heard.peer_id = cut_short(*id);
  if (const IdPayload* id = find_id(payloads, header.response)) heard.our_id = cut_short(*id);
  const auto selectors = [&payloads](bool initiator) {
    const TsPayload* ts = find_ts(payloads, initiator);
    std::vector<TrafficSelector> out = ts == nullptr ? std::vector<TrafficSelector>{} : ts->selectors;
    if (out.size() > kMostSelectors) out.resize(kMostSelectors);
    return out;
  };
  if (find_ts(payloads, true) == nullptr) return;
  heard.their_selectors = selectors(!header.response);
  heard.our_selectors = selectors(header.response);
}

void NotifyCounters::add(bool sent, const std::vector<Payload>& payloads) {
  for (const Payload& payload : payloads) {
    const auto* notify = std::get_if<NotifyPayload>(&payload);
    if (notify == nullptr) continue;
    Count& count = count_of(notify->type);
    ++(sent ? count.sent : count.received);
  }
}

NotifyCounters::Count& NotifyCounters::count_of(NotifyType type) {
  constexpr unsigned kMostUnnamed = 64;
  if (const auto known = counts_.find(type); known != counts_.end()) return known->second;
  if (!has_name(type) && unnamed_ == kMostUnnamed) return counts_[NotifyType{}];
  if (!has_name(type)) ++unnamed_;
  return counts_[type];
}

std::string software_of(const std::vector<Payload>& payloads) {
  std::string text;
  for (const Payload& payload : payloads) {
    const auto* vendor = std::get_if<VendorPayload>(&payload);
    if (vendor == nullptr) continue;
    const std::string name = name_of(*vendor);
    if (name.empty() || text.size() + name.size() + 2 > kMostSoftware) continue;
    text += (text.empty() ? "" : ", ") + name;
  }
  return text;
}

}  // namespace espgate::ike
