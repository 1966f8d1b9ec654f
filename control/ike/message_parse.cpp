// The header and the chain of payloads, from bytes to values (RFC 7296 sections 2.5, 3.1 and 3.2).
#include <bitset>

#include "control/ike/message_wire.hpp"
#include "control/ike/payload_codec.hpp"

namespace espgate::ike {
namespace {

constexpr std::uint8_t kFlagInitiator = 0x08;
constexpr std::uint8_t kFlagResponse = 0x20;
constexpr std::uint8_t kCritical = 0x80;
constexpr unsigned kMajorVersion = 2;
constexpr std::size_t kMaxPayloads = 64;

Refusal silent(std::string words) { return {std::nullopt, {}, std::move(words)}; }

bool is_known(Exchange exchange) {
  return exchange >= Exchange::ike_sa_init && exchange <= Exchange::informational;
}

// Section 2.5: a higher major version is answered with the one we speak, a lower one (IKEv1) is not answered.
std::optional<Refusal> refuse_version(std::uint8_t version) {
  const unsigned major = version >> 4;
  if (major == kMajorVersion) return std::nullopt;
  std::string words =
      "the peer speaks IKE version " + std::to_string(major) + ", only version 2 is spoken here";
  if (major < kMajorVersion) return silent(std::move(words));
  return Refusal{NotifyType::invalid_major_version, {}, std::move(words)};
}

std::optional<Refusal> refuse_header(const Header& header, std::size_t datagram_length) {
  if (auto refusal = refuse_version(header.version)) return refusal;
  if (header.length != datagram_length)
    return silent("the header says " + std::to_string(header.length) + " bytes, the datagram has " +
                  std::to_string(datagram_length));
  if (header.spi_initiator == 0) return silent("the initiator's SPI is zero");  // section 3.1: MUST NOT
  if (!is_known(header.exchange))
    return silent("unknown exchange type " + std::to_string(static_cast<unsigned>(header.exchange)));
  return std::nullopt;
}

// No exchange carries two of these (section 1.2 and on, appendix C).
bool is_single(PayloadType type) {
  switch (type) {
    case PayloadType::sa:
    case PayloadType::ke:
    case PayloadType::id_initiator:
    case PayloadType::id_responder:
    case PayloadType::auth:
    case PayloadType::nonce:
    case PayloadType::ts_initiator:
    case PayloadType::ts_responder:
      return true;
    default:
      return false;
  }
}

bool is_protection(PayloadType type) {
  return type == PayloadType::encrypted || type == PayloadType::encrypted_fragment;
}

class ChainParser {
 public:
  ChainParser(PayloadType first, Bytes bytes) : next_(first), chain_(bytes) {}

  Result<std::vector<Payload>> parse() {
    while (next_ != PayloadType::none)
      if (auto refusal = parse_one()) return std::move(*refusal);
    if (!chain_.empty()) return invalid_syntax("there are bytes behind the last payload");
    return std::move(payloads_);
  }

 private:
  // Section 3.2.
  std::optional<Refusal> parse_one() {
    const PayloadType type = next_;
    next_ = static_cast<PayloadType>(chain_.u8());
    const bool critical = (chain_.u8() & kCritical) != 0;  // the other bits are reserved
    const std::uint16_t length = chain_.u16();
    chain_.require(length >= kGenericHeader, "its length is too small");
    Cursor body(chain_.ok() ? chain_.take(length - kGenericHeader) : Bytes{});
    if (!chain_.ok()) return invalid_syntax(name_of(type) + " payload: " + chain_.words());
    if (auto refusal = refuse_type(type, critical)) return refusal;
    payloads_.push_back(parse_body(type, critical, body));
    body.require(body.empty(), "it is longer than its content");
    if (!body.ok()) return invalid_syntax(name_of(type) + " payload: " + body.words());
    return std::nullopt;
  }

  std::optional<Refusal> refuse_type(PayloadType type, bool critical) {
    const auto number = static_cast<std::uint8_t>(type);
    if (is_protection(type))  // section 3.14: once, last and outside
      return invalid_syntax("an " + name_of(type) + " payload where none may be");
    if (critical && !espgate::ike::is_known(type))  // section 2.5
      return Refusal{NotifyType::unsupported_critical_payload,
                     {number},
                     "a critical payload of unknown type " + std::to_string(number)};
    if (is_single(type) && seen_.test(number)) return invalid_syntax("two " + name_of(type) + " payloads");
    if (payloads_.size() == kMaxPayloads) return invalid_syntax("more than 64 payloads");
    seen_.set(number);
    return std::nullopt;
  }

  PayloadType next_;
  Cursor chain_;
  std::bitset<256> seen_;
  std::vector<Payload> payloads_;
};

}  // namespace

std::string name_of(Exchange exchange) {
  switch (exchange) {
    case Exchange::ike_sa_init:
      return "IKE_SA_INIT";
    case Exchange::ike_auth:
      return "IKE_AUTH";
    case Exchange::create_child_sa:
      return "CREATE_CHILD_SA";
    case Exchange::informational:
      return "INFORMATIONAL";
  }
  return "exchange " + std::to_string(static_cast<unsigned>(exchange));
}

Refusal invalid_syntax(std::string words) { return {NotifyType::invalid_syntax, {}, std::move(words)}; }

Result<Header> parse_header(Bytes datagram) {
  Cursor cursor(datagram);
  Header header;
  header.spi_initiator = cursor.u64();
  header.spi_responder = cursor.u64();
  header.next_payload = static_cast<PayloadType>(cursor.u8());
  header.version = cursor.u8();
  header.exchange = static_cast<Exchange>(cursor.u8());
  const std::uint8_t flags = cursor.u8();
  header.from_initiator = (flags & kFlagInitiator) != 0;
  header.response = (flags & kFlagResponse) != 0;
  header.message_id = cursor.u32();
  header.length = cursor.u32();
  if (!cursor.ok())
    return silent("a datagram of " + std::to_string(datagram.size()) + " bytes holds no IKE header");
  if (auto refusal = refuse_header(header, datagram.size())) return std::move(*refusal);
  return header;
}

Result<std::vector<Payload>> parse_payloads(PayloadType first, Bytes bytes) {
  return ChainParser(first, bytes).parse();
}

Result<std::vector<Payload>> parse_plain(const Header& header, Bytes datagram) {
  if (datagram.size() < Header::kLength) return invalid_syntax("no IKE header");
  return parse_payloads(header.next_payload, datagram.subspan(Header::kLength));
}

}  // namespace espgate::ike
