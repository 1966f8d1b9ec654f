// A datagram from a stranger: the header, the unprotected payloads, and all that is done with them.
#include "tests/fuzz/ike_consume.hpp"

using namespace espgate::ike;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes datagram(data, size);
  static_cast<void>(is_fragment(datagram));
  const auto header = parse_header(datagram);
  if (std::holds_alternative<Refusal>(header)) {
    fuzz::demand(!std::get<Refusal>(header).words.empty(), "a refusal without words");
    // What is behind a header that is refused is parsed all the same: the fuzzer need not find out its
    // length.
    if (size > Header::kLength)
      fuzz::check(parse_payloads(static_cast<PayloadType>(datagram[16]), datagram.subspan(Header::kLength)));
    return 0;
  }
  fuzz::check(parse_plain(std::get<Header>(header), datagram));
  return 0;
}
