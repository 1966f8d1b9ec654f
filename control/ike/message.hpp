// IKEv2 messages: header, payload chain, the Encrypted payload and its fragments (RFC 7296
// sections 3.1, 3.2, 3.14; RFC 7383). Parsing never reads past its input and allocates no more than a small
// multiple of it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "control/ike/payloads.hpp"
#include "crypto/ike.hpp"

namespace espgate::ike {

enum class Exchange : std::uint8_t {
  ike_sa_init = 34,
  ike_auth = 35,
  create_child_sa = 36,
  informational = 37
};

[[nodiscard]] std::string name_of(Exchange exchange);  // "IKE_SA_INIT"

struct Header {
  static constexpr std::size_t kLength = 28;
  std::uint64_t spi_initiator{0};
  std::uint64_t spi_responder{0};
  PayloadType next_payload{};
  std::uint8_t version{0x20};
  Exchange exchange{};
  bool from_initiator{false};  // of the IKE SA: the I flag
  bool response{false};        // the R flag
  std::uint32_t message_id{0};
  std::uint32_t length{0};
};

// Why a message was refused: the notify RFC 7296 asks for (none: drop in silence), and words for the log.
struct Refusal {
  std::optional<NotifyType> notify;
  ByteVector notify_data;
  std::string words;
};
template <class T>
using Result = std::variant<T, Refusal>;

// The header alone. Checks the version's major number (a higher one: INVALID_MAJOR_VERSION), and without a
// notify: a lower version, the length against the datagram, the initiator's SPI (never zero) and the exchange
// type.
[[nodiscard]] Result<Header> parse_header(Bytes datagram);

// A chain of payloads that begins with type `first` and fills `bytes` exactly.
// A known payload with an error inside, two where there can be but one (SA, KE, IDi, IDr, AUTH, nonce, TSi,
// TSr), an Encrypted payload inside: INVALID_SYNTAX. An unknown critical one: UNSUPPORTED_CRITICAL_PAYLOAD
// with its type as data. Unknown and not critical: kept as OpaquePayload. At most 64 payloads.
[[nodiscard]] Result<std::vector<Payload>> parse_payloads(PayloadType first, Bytes bytes);

// A whole unprotected message (IKE_SA_INIT, or an unprotected INFORMATIONAL with one notify). The header's
// length and next payload are set from `payloads`, its version is 2.0. Encoding throws std::length_error for
// values that their fields can't hold.
[[nodiscard]] ByteVector encode_plain(Header header, const std::vector<Payload>& payloads);
[[nodiscard]] Result<std::vector<Payload>> parse_plain(const Header& header, Bytes datagram);

// The body of one payload without its generic header, as AUTH signs it (ID payloads) or as encode_plain
// writes it.
[[nodiscard]] ByteVector encode_body(const Payload& payload);

// A protected message, in one datagram, or in as many Encrypted Fragments as `max_datagram` (bytes of UDP
// payload; 0: never fragment; less than 256 counts as 256) asks for. Each element is a datagram. Throws
// std::length_error for a message that fits into neither.
[[nodiscard]] std::vector<ByteVector> seal_message(Header header, const std::vector<Payload>& payloads,
                                                   crypto::IkeCipher& cipher, std::size_t max_datagram);

// Opens a protected message that came in one datagram, with the Encrypted payload as its only payload
// outside. Not authentic: a Refusal without notify, `authentic` false; malformed inside: a Refusal with
// `authentic` true.
struct Opened {
  bool authentic{false};
  Result<std::vector<Payload>> payloads;
};
[[nodiscard]] Opened open_message(const Header& header, Bytes datagram, const crypto::IkeCipher& cipher);

[[nodiscard]] bool is_fragment(Bytes datagram) noexcept;  // the first payload is an Encrypted Fragment

// Of a message in fragments, bytes inside: of a peer, and of somebody who has not shown who it is. The latter
// is what the longest chain takes that is looked at (nine certificates, with RSA of 4096 bits some 2 KiB
// each), an OCSP response with its responder's certificate, AUTH, and 2 KiB for the rest.
inline constexpr std::size_t kMaxContent = 65536;
inline constexpr std::size_t kMaxContentBeforeAuth = 24576;

// Collects the fragments of one message at a time for each direction (RFC 7383 section 2.6): bounded in count
// (64) and bytes (`most`), each authenticated before it is kept, a larger total replaces an older set,
// another message ID begins anew: give it only fragments of a message ID that is awaited. What is not wanted
// (a duplicate, a fragment of an older set) is left unopened, so `authentic` is false for it.
class Reassembly {
 public:
  // `payloads` is empty until the last missing fragment came.
  struct Progress {
    bool authentic{false};
    std::optional<Result<std::vector<Payload>>> payloads;
  };
  [[nodiscard]] Progress add(const Header& header, Bytes datagram, const crypto::IkeCipher& cipher,
                             std::size_t most = kMaxContent);
  void clear();

 private:
  [[nodiscard]] bool is_wanted(std::uint32_t message_id, std::uint16_t number, std::uint16_t total) const;
  void begin(std::uint32_t message_id, std::uint16_t total);
  [[nodiscard]] Result<std::vector<Payload>> assemble();

  std::uint32_t message_id_{0};
  std::size_t bytes_{0};
  std::uint16_t total_{0};
  std::uint16_t received_{0};
  PayloadType first_{};
  std::vector<std::optional<crypto::SecretBytes>> parts_;
};

}  // namespace espgate::ike
