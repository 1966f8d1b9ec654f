// Encoding: byte for byte what scapy made, and what was encoded parses to what it was.
#include <catch2/catch.hpp>

#include "tests/control/ike/support.hpp"

using namespace espgate;
using namespace espgate::ike;
using namespace espgate::ike::test;

TEST_CASE("a golden message encodes to itself") {
  for (const char* name : {"sa_init_request", "sa_init_response", "cookie", "invalid_ke", "no_proposal"}) {
    const ByteVector& datagram = golden(name);
    const Header header = header_of(datagram);
    CAPTURE(name);
    CHECK(to_hex(encode_plain(header, expect(parse_plain(header, datagram)))) == to_hex(datagram));
  }
  for (const char* name :
       {"content_auth", "content_rekey", "content_ike_rekey", "content_delete", "content_transport"}) {
    const ByteVector& bytes = golden(name);
    const auto payloads = expect(parse_payloads(static_cast<PayloadType>(bytes[0]), Bytes(bytes).subspan(1)));
    CAPTURE(name);
    CHECK(to_hex(Bytes(encode_plain(Header{}, payloads)).subspan(28)) == to_hex(Bytes(bytes).subspan(1)));
  }
}

TEST_CASE("random messages survive encoding and parsing") {
  std::mt19937 random(7296);
  for (int i = 0; i < 2000; ++i) {
    const auto payloads = random_payloads(random);
    Header header;
    header.spi_initiator = random() + std::uint64_t{1};
    header.spi_responder = random();
    header.exchange = static_cast<Exchange>(34 + i % 4);
    header.from_initiator = i % 2 == 0;
    header.response = i % 3 == 0;
    header.message_id = static_cast<std::uint32_t>(i);
    const ByteVector datagram = encode_plain(header, payloads);
    const Header back = header_of(datagram);
    CHECK(back.spi_responder == header.spi_responder);
    CHECK(back.response == header.response);
    CHECK(back.from_initiator == header.from_initiator);
    CHECK(back.message_id == header.message_id);
    const auto again = expect(parse_plain(back, datagram));
    REQUIRE(again.size() == payloads.size());
    for (std::size_t p = 0; p < again.size(); ++p) {
      CHECK(again[p].index() == payloads[p].index());
      CHECK(encode_body(again[p]) == encode_body(payloads[p]));
    }
  }
}

TEST_CASE("an unprotected error response is one notify behind a header") {
  Header header;
  header.spi_initiator = 1;
  header.spi_responder = 2;
  header.exchange = Exchange::informational;
  header.response = true;
  const NotifyPayload notify{Protocol::none, {}, NotifyType::invalid_ike_spi, {}};
  CHECK(to_hex(encode_plain(header, {notify})) ==
        "00000000000000010000000000000002292025200000000000000024"
        "0000000800000004");
}

TEST_CASE("what its fields can't hold is not encoded") {
  CHECK_THROWS_AS(encode_plain(Header{}, {VendorPayload{ByteVector(65532)}}), std::length_error);
  CHECK_NOTHROW(encode_plain(Header{}, {VendorPayload{ByteVector(65531)}}));
  TsPayload ts;
  ts.selectors.resize(256);
  CHECK_THROWS_AS(encode_body(ts), std::length_error);
}
