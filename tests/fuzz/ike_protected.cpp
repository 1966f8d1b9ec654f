// What an authenticated peer may send: the input is sealed with a fixed key, whole and in fragments, and
// opened again.
#include <algorithm>

#include "control/ike/message_wire.hpp"
#include "tests/fuzz/ike_consume.hpp"

using namespace espgate;
using namespace espgate::ike;

namespace {

crypto::IkeCipher& cipher() {
  static const ByteVector key(36, 7);
  static const auto made =
      crypto::IkeCipher::make(crypto::IkeCipherId::aes_gcm16, 256, crypto::IkeIntegrity::none, key, {});
  return *made;
}

Header header_with(std::uint32_t message_id) {
  Header header;
  header.spi_initiator = 1;
  header.spi_responder = 2;
  header.exchange = Exchange::ike_auth;
  header.message_id = message_id;
  return header;
}

Header parsed_header(Bytes datagram) {
  const auto header = parse_header(datagram);
  fuzz::demand(std::holds_alternative<Header>(header), "our own header is refused");
  return std::get<Header>(header);
}

void open_whole(PayloadType first, Bytes content) {
  const ByteVector datagram = seal_datagram(header_with(1), first, std::nullopt, content, cipher());
  const Opened opened = open_message(parsed_header(datagram), datagram, cipher());
  fuzz::demand(opened.authentic, "our own message is not authentic");
  fuzz::check(opened.payloads);
}

// In `total` parts, the last one first. What comes together must be taken or refused as the whole would be.
void open_fragments(PayloadType first, Bytes content, std::uint16_t total) {
  Reassembly reassembly;
  const std::size_t size = content.size() / total + 1;
  for (std::uint16_t number = total; number > 0; --number) {
    const std::size_t from = std::min(content.size(), (number - 1U) * size);
    const Bytes part = content.subspan(from, std::min(size, content.size() - from));
    const ByteVector datagram =
        seal_datagram(header_with(1), first, FragmentNumber{number, total}, part, cipher());
    const auto progress = reassembly.add(parsed_header(datagram), datagram, cipher());
    fuzz::demand(progress.authentic, "our own fragment is not authentic");
    fuzz::demand(progress.payloads.has_value() == (number == 1), "complete at a wrong time");
    if (progress.payloads)
      fuzz::demand(progress.payloads->index() == parse_payloads(first, content).index(), "not what was cut");
  }
}

// Fragments in an order of the fuzzer's choosing, with duplicates, other totals and other message IDs between
// them.
void open_script(PayloadType first, Bytes script) {
  Reassembly reassembly;
  while (script.size() >= 2) {
    const FragmentNumber fragment{static_cast<std::uint16_t>(script[0] & 7),
                                  static_cast<std::uint16_t>(script[0] >> 3 & 7)};
    const std::uint32_t message_id = script[0] >> 6;
    const std::size_t size = std::min<std::size_t>(script[1], script.size() - 2);
    const ByteVector datagram =
        seal_datagram(header_with(message_id), first, fragment, script.subspan(2, size), cipher());
    const auto progress = reassembly.add(parsed_header(datagram), datagram, cipher());
    if (progress.payloads) fuzz::check(*progress.payloads);
    script = script.subspan(2 + size);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2 || size > 60000) return 0;
  const auto first = static_cast<PayloadType>(data[1]);
  const Bytes content = Bytes(data, size).subspan(2);
  if ((data[0] & 1) != 0) {
    open_script(first, content);
    return 0;
  }
  open_whole(first, content);
  open_fragments(first, content, static_cast<std::uint16_t>(1 + (data[0] >> 1) % 64));
  return 0;
}
