// Parsing: golden messages by scapy, and what RFC 7296 section 3 forbids.
#include <catch2/catch.hpp>
#include <utility>

#include "control/ike/cursor.hpp"
#include "control/ike/proposal_choice.hpp"
#include "tests/control/ike/support.hpp"

using namespace espgate;
using namespace espgate::ike;
using namespace espgate::ike::test;

namespace {

using Payloads = std::vector<Payload>;

// Payloads as they stand inside of an Encrypted payload.
Payloads content(const std::string& name) {
  const ByteVector& bytes = golden(name);
  return expect(parse_payloads(static_cast<PayloadType>(bytes[0]), Bytes(bytes).subspan(1)));
}

Payloads parse_golden(const std::string& name) {
  const ByteVector& datagram = golden(name);
  return expect(parse_plain(header_of(datagram), datagram));
}

// One payload of `type` with the body `hex`, behind a right generic header.
Result<Payloads> parse_one(PayloadType type, const std::string& hex) {
  const ByteVector body = from_hex(hex);
  Writer out;
  out.u16(0);
  out.u16(static_cast<std::uint16_t>(body.size() + 4));
  out.bytes(body);
  return parse_payloads(type, out.view());
}

bool is_refused(PayloadType type, const std::string& hex) { return is_syntax_error(parse_one(type, hex)); }
template <class T>
T parsed(PayloadType type, const std::string& hex) {
  return std::get<T>(expect(parse_one(type, hex)).at(0));
}

ByteVector with_length(ByteVector datagram) {
  for (std::size_t i = 0; i < 4; ++i)
    datagram.at(24 + i) = static_cast<std::uint8_t>(datagram.size() >> (24 - 8 * i));
  return datagram;
}

std::string repeat(const std::string& text, std::size_t count) {
  std::string all;
  while (count-- > 0) all += text;
  return all;
}

}  // namespace

TEST_CASE("a cursor that runs over fails and stays failed") {
  const ByteVector bytes{1, 2, 3, 4, 5};
  Cursor cursor(bytes);
  CHECK(cursor.u16() == 0x0102);
  CHECK(cursor.u32() == 0);
  CHECK_FALSE(cursor.ok());
  CHECK(cursor.empty());
  CHECK(cursor.u8() == 0);
  CHECK(cursor.words() == std::string("it is cut short"));
}

TEST_CASE("golden IKE_SA_INIT request") {
  const ByteVector& datagram = golden("sa_init_request");
  const Header header = header_of(datagram);
  CHECK(header.spi_initiator == 0xa1a2a3a4a5a6a7a8);
  CHECK(header.spi_responder == 0);
  CHECK(header.exchange == Exchange::ike_sa_init);
  CHECK(header.from_initiator);
  CHECK_FALSE(header.response);
  CHECK(header.next_payload == PayloadType::sa);

  const Payloads payloads = expect(parse_plain(header, datagram));
  REQUIRE(payloads.size() == 8);
  const SaPayload& sa = *find<SaPayload>(payloads);
  REQUIRE(sa.proposals.size() == 2);
  CHECK(sa.proposals[0].number == 1);
  CHECK(sa.proposals[0].protocol == Protocol::ike);
  CHECK(sa.proposals[0].spi.empty());
  CHECK(sa.proposals[0].transforms == std::vector<Transform>{{TransformType::cipher, 12, 256, false},
                                                             {TransformType::integrity, 13, 0, false},
                                                             {TransformType::prf, 6, 0, false},
                                                             {TransformType::dh, 20, 0, false}});
  CHECK(sa.proposals[1].transforms.size() == 6);
  CHECK(find<KePayload>(payloads)->group == 20);
  CHECK(find<KePayload>(payloads)->data.size() == 96);
  CHECK(find<NoncePayload>(payloads)->data.front() == 0x40);
  CHECK(find_notify(payloads, NotifyType::nat_detection_source_ip)->data.front() == 0x60);
  CHECK(find_notify(payloads, NotifyType::nat_detection_destination_ip)->data.size() == 20);
  CHECK(find_notify(payloads, NotifyType::fragmentation_supported)->data.empty());
  CHECK(find_error(payloads) == nullptr);
  CHECK(find<VendorPayload>(payloads)->data.size() == 16);
}

TEST_CASE("golden IKE_SA_INIT response with a certificate request") {
  const Payloads payloads = parse_golden("sa_init_response");
  CHECK(find<SaPayload>(payloads)->proposals.at(0).number == 2);
  const CertRequestPayload& request = *find<CertRequestPayload>(payloads);
  CHECK(request.encoding == 4);
  CHECK(request.data.size() == 20);
}

TEST_CASE("reserved bits, critical bits of known payloads and unknown payloads change nothing") {
  const ByteVector& datagram = golden("sa_init_quirks");
  const Header header = header_of(datagram);
  CHECK(header.from_initiator);
  CHECK_FALSE(header.response);
  const Payloads payloads = expect(parse_plain(header, datagram));
  REQUIRE(payloads.size() == 9);
  for (std::size_t i = 0; i < 8; ++i)
    CHECK(encode_body(payloads[i]) == encode_body(parse_golden("sa_init_request")[i]));
  CHECK(std::get<OpaquePayload>(payloads.back()).type == 200);
}

TEST_CASE("golden error responses") {
  CHECK(find_notify(parse_golden("cookie"), NotifyType::cookie)->data.size() == 32);
  const Payloads invalid_ke = parse_golden("invalid_ke");
  CHECK(find_error(invalid_ke)->type == NotifyType::invalid_ke_payload);
  CHECK(find_error(invalid_ke)->data == ByteVector{0, 19});
  CHECK(name_of(find_error(parse_golden("no_proposal"))->type) == "NO_PROPOSAL_CHOSEN");
  const Payloads unknown = parse_golden("unknown_notify");
  REQUIRE(unknown.size() == 2);
  CHECK(name_of(find_error(unknown)->type) == "notify 8191");
  CHECK(std::get<NotifyPayload>(unknown[0]).data == ByteVector{'h', 'e', 'l', 'l', 'o'});
}

TEST_CASE("golden contents of IKE_AUTH and CREATE_CHILD_SA") {
  const Payloads auth = content("content_auth");
  CHECK(find_id(auth, true)->type == 2);
  CHECK(find_id(auth, true)->data.size() == 12);
  CHECK(find_id(auth, false)->data == ByteVector{192, 0, 2, 1});
  CHECK(find<AuthPayload>(auth)->method == 2);
  CHECK(find<AuthPayload>(auth)->data.size() == 48);
  CHECK(find<SaPayload>(auth)->proposals.at(1).spi == ByteVector{0xc0, 0xff, 0xee, 0x01});
  const TsPayload& tsi = *find_ts(auth, true);
  REQUIRE(tsi.selectors.size() == 2);
  CHECK(tsi.selectors[0].first.is_v4());
  CHECK(tsi.selectors[0].last.bytes[0] == 255);
  CHECK(tsi.selectors[1].first.is_v6());
  const TrafficSelector& port = find_ts(auth, false)->selectors.at(0);
  CHECK(std::pair(port.first_port, port.last_port) == std::pair<std::uint16_t, std::uint16_t>(53, 53));
  CHECK(port.protocol == 17);

  const Payloads rekey = content("content_rekey");
  const NotifyPayload& old = *find_notify(rekey, NotifyType::rekey_sa);
  CHECK(old.protocol == Protocol::esp);
  CHECK(old.spi == ByteVector{0xc0, 0xff, 0xee, 0x01});
  CHECK(find<SaPayload>(content("content_ike_rekey"))->proposals.at(0).spi.size() == 8);
  CHECK(find<DeletePayload>(content("content_delete"))->spis ==
        std::vector<std::uint32_t>{0xc0ffee01, 0xc0ffee03});
}

TEST_CASE("golden request for transport mode with either size of sequence numbers") {
  const Payloads payloads = content("content_transport");
  REQUIRE(find_notify(payloads, NotifyType::use_transport_mode) != nullptr);
  CHECK(find_notify(payloads, NotifyType::use_transport_mode)->data.empty());
  CHECK(find_ts(payloads, false)->selectors.at(0).last == *parse_address("2001:db8::2"));

  // What scapy wrote is what we would offer; and we would answer it.
  conf::EspProposal wanted{
      "", {crypto::EspSuite::aes256_gcm16}, {crypto::DhGroup::ecp384}, conf::Esn::either};
  const SaPayload& offered = *find<SaPayload>(payloads);
  CHECK(offered.proposals.at(0).transforms ==
        offer_esp({wanted}, 0xc0ffee04, true).proposals.at(0).transforms);
  const auto choice = choose_esp(offered, {wanted}, 0xc0ffee05, true);
  REQUIRE(choice);
  CHECK(choice->esn);
}

TEST_CASE("the header is refused for what section 3.1 forbids") {
  const ByteVector& good = golden("sa_init_request");
  const auto refusal = [](const ByteVector& datagram) { return std::get<Refusal>(parse_header(datagram)); };
  const auto with = [&good](std::size_t at, std::uint8_t value) {
    ByteVector changed = good;
    changed.at(at) = value;
    return changed;
  };
  CHECK(refusal(with(17, 0x30)).notify == NotifyType::invalid_major_version);
  CHECK_FALSE(refusal(with(17, 0x10)).notify);
  CHECK(std::get<Header>(parse_header(with(17, 0x2f))).version == 0x2f);  // a minor version is not looked at
  CHECK_FALSE(refusal(with(18, 33)).notify);
  CHECK_FALSE(refusal(with(18, 38)).notify);
  CHECK_FALSE(refusal(with(27, 0)).notify);
  CHECK_FALSE(refusal(ByteVector(27)).notify);
  CHECK_FALSE(refusal({}).notify);
  ByteVector zero = good;
  std::fill_n(zero.begin(), 8, std::uint8_t{0});
  CHECK(refusal(zero).words == "the initiator's SPI is zero");
}

TEST_CASE("a message cut anywhere is refused") {
  for (const char* name : {"sa_init_request", "sa_init_response", "cookie", "unknown_notify"}) {
    const ByteVector& whole = golden(name);
    for (std::size_t length = 0; length < whole.size(); ++length) {
      const ByteVector cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
      CAPTURE(name, length);
      CHECK(std::holds_alternative<Refusal>(parse_header(cut)));
      if (length < Header::kLength) continue;
      const ByteVector fixed = with_length(cut);
      CHECK(is_syntax_error(parse_plain(header_of(fixed), fixed)));
    }
  }
}

TEST_CASE("a content cut anywhere, or with a byte more, is refused") {
  for (const char* name :
       {"content_auth", "content_rekey", "content_ike_rekey", "content_delete", "content_transport"}) {
    const Bytes whole = Bytes(golden(name)).subspan(1);
    const auto first = static_cast<PayloadType>(golden(name)[0]);
    for (std::size_t length = 0; length < whole.size(); ++length) {
      CAPTURE(name, length);
      CHECK(is_syntax_error(parse_payloads(first, whole.first(length))));
    }
    ByteVector longer = to_vector(whole);
    longer.push_back(0);
    CHECK(is_syntax_error(parse_payloads(first, longer)));
  }
}

TEST_CASE("whatever a flipped bit leaves acceptable can be encoded and parsed again") {
  for (const std::string& name : golden_names()) {
    const bool content = name.starts_with("content_");
    ByteVector bytes = golden(name);
    const PayloadType first = static_cast<PayloadType>(content ? bytes[0] : bytes[16]);
    if (first == PayloadType::encrypted || first == PayloadType::encrypted_fragment) continue;
    bytes.erase(bytes.begin(), bytes.begin() + (content ? 1 : 28));
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      bytes[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
      const auto result = parse_payloads(first, bytes);
      if (const Payloads* payloads = std::get_if<Payloads>(&result)) {
        const ByteVector again = encode_plain(Header{}, *payloads);
        CAPTURE(name, bit);
        CHECK(expect(parse_payloads(static_cast<PayloadType>(again[16]), Bytes(again).subspan(28))).size() ==
              payloads->size());
      } else {
        CHECK(refusal_of(result)->notify.has_value());
      }
      bytes[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
    }
  }
}

TEST_CASE("SA payload: section 3.3") {
  const auto sa = [](const std::string& hex) { return is_refused(PayloadType::sa, hex); };
  const std::string transform = "0000000801000003";
  CHECK_FALSE(sa("0000001001010001" + transform));
  CHECK(sa(""));                                                               // no proposal
  CHECK(sa("0200001001010001" + transform));                                   // more announced
  CHECK(sa("0000001001010001" + transform + "0000001002010001" + transform));  // last, and yet one more
  CHECK_FALSE(sa("0200001001010001" + transform + "0000001002010001" + transform));
  CHECK(sa("0200001001010001" + transform + "0000001003010001" + transform));  // numbered 1, 3
  CHECK(sa("0200001002010001" + transform + "0000001003010001" + transform));  // from 2 on
  CHECK_FALSE(sa("0000001007010001" + transform));                             // an answer keeps its number
  CHECK(sa("0000001000010001" + transform));                                   // number 0
  CHECK(sa("0000001001010002" + transform));  // fewer transforms than announced
  CHECK(sa("0000001001010000" + transform));  // more
  CHECK(
      sa("0000001001010001"
         "0300000801000003"));  // a transform announced, none there
  CHECK(
      sa("0000001001010001"
         "0000000701000003"));                // transform length too small
  CHECK(sa("0000000701010001" + transform));  // proposal length too small
  CHECK(
      sa("0000001401010401"
         "00000001" +
         transform));  // IKE with an SPI of 4 bytes
  CHECK_FALSE(
      sa("0000001801010801"
         "0000000000000001" +
         transform));
  CHECK_FALSE(
      sa("0000001401030401"
         "00000001" +
         transform));
  CHECK(sa("0000001001030001" + transform));  // ESP without an SPI
  CHECK_FALSE(
      sa("0000001101090101"
         "77" +
         transform));                         // an unknown protocol has its own rule
  CHECK(sa("000000100101ff01" + transform));  // SPI longer than the proposal
}

TEST_CASE("transform attributes: section 3.3.5") {
  const auto transform = [](const std::string& attributes) {
    const auto size = static_cast<std::uint8_t>(attributes.size() / 2);
    const std::string hex = "000000" + to_hex(ByteVector{static_cast<std::uint8_t>(16 + size)}) +
                            "01010001000000" + to_hex(ByteVector{static_cast<std::uint8_t>(8 + size)}) +
                            "0100000c" + attributes;
    return parsed<SaPayload>(PayloadType::sa, hex).proposals.at(0).transforms.at(0);
  };
  const auto aes = [](std::uint16_t bits, bool unknown) {
    return Transform{TransformType::cipher, 12, bits, unknown};
  };
  CHECK(transform("") == aes(0, false));
  CHECK(transform("800e0100") == aes(256, false));
  CHECK(transform("800e0100800e0080") == aes(256, true));  // twice
  CHECK(transform("800e0000") == aes(0, true));            // a key of 0 bits
  CHECK(transform("000e00020100") == aes(0, true));        // in the variable format
  CHECK(transform("80110001") == aes(0, true));
  CHECK(transform("00110003aabbcc800e0080") == aes(128, true));
  CHECK(is_refused(PayloadType::sa, "00000014010100010000000c0100000c00110001"));  // value missing
  CHECK(is_refused(PayloadType::sa, "00000012010100010000000a0100000c8011"));      // cut in the attribute
}

TEST_CASE("identities, keys, nonces: sections 3.4, 3.5, 3.9") {
  CHECK(is_refused(PayloadType::id_initiator, "01000000c00002"));
  CHECK(is_refused(PayloadType::id_responder, "05000000c0000201"));
  CHECK(is_refused(PayloadType::id_responder, "0200"));
  CHECK_FALSE(is_refused(PayloadType::id_responder, "02000000"));
  const auto id = parsed<IdPayload>(PayloadType::id_initiator, "01aabbccc0000201");
  CHECK(encode_body(id) == from_hex("01aabbccc0000201"));  // AUTH covers the reserved bytes as they came
  CHECK(is_refused(PayloadType::ke, "00130000"));
  CHECK(is_refused(PayloadType::ke, "001300"));
  CHECK(is_refused(PayloadType::nonce, repeat("aa", 15)));
  CHECK_FALSE(is_refused(PayloadType::nonce, repeat("aa", 16)));
  CHECK_FALSE(is_refused(PayloadType::nonce, repeat("aa", 256)));
  CHECK(is_refused(PayloadType::nonce, repeat("aa", 257)));
  CHECK(is_refused(PayloadType::auth, "0200"));
}

TEST_CASE("notifies: section 3.10") {
  CHECK(is_refused(PayloadType::notify, "0000"));
  CHECK(is_refused(PayloadType::notify, "0304400900ffee"));            // SPI cut short
  CHECK(is_refused(PayloadType::notify, "030840090000000000000000"));  // an SPI of 8 bytes for ESP
  CHECK(is_refused(PayloadType::notify, "00004006"));                  // an empty cookie
  CHECK(is_refused(PayloadType::notify, "00004006" + repeat("cc", 65)));
  CHECK(is_refused(PayloadType::notify, "000000110013ff"));  // INVALID_KE_PAYLOAD with 3 bytes
  CHECK(parsed<NotifyPayload>(PayloadType::notify, "0100000e").protocol == Protocol::none);
}

TEST_CASE("deletes: section 3.11") {
  CHECK(parsed<DeletePayload>(PayloadType::delete_, "01000000").spis.empty());
  CHECK_FALSE(is_refused(PayloadType::delete_, "01000001"));
  CHECK(is_refused(PayloadType::delete_, "0100000011223344"));
  CHECK(is_refused(PayloadType::delete_, "010400010a0b0c0d"));
  CHECK(is_refused(PayloadType::delete_, "030400020a0b0c0d"));
  CHECK(is_refused(PayloadType::delete_, "030400010a0b0c0d0e"));
  CHECK(is_refused(PayloadType::delete_, "030800010a0b0c0d0a0b0c0d"));
  CHECK(is_refused(PayloadType::delete_, "07040000"));
}

TEST_CASE("traffic selectors: section 3.13") {
  const auto ts = [](const std::string& hex) { return is_refused(PayloadType::ts_initiator, hex); };
  const std::string any = "070000100000ffff00000000ffffffff";
  CHECK_FALSE(ts("01000000" + any));
  CHECK_FALSE(ts("00000000"));  // the exchange's to refuse
  CHECK(ts("02000000" + any));
  CHECK(ts("01000000" + any + any));
  CHECK(ts("01000000070000100000ffff0a0000020a000001"));        // backwards
  CHECK(ts("0100000007060010006400630a0000010a000001"));        // ports backwards
  CHECK_FALSE(ts("0100000007060010ffff00000a0000010a000001"));  // OPAQUE
  CHECK(ts("01000000070000140000ffff00000000ffffffff00000000"));
  CHECK(ts("01000000080000100000ffff00000000ffffffff"));
  CHECK(ts("0100000007000003"));
  const auto mixed = parsed<TsPayload>(PayloadType::ts_responder,
                                       "02000000"
                                       "0a00000c0000ffffaabbccdd" +
                                           any);
  CHECK(mixed.selectors.size() == 1);  // a selector of an unknown type is left out
  CHECK_FALSE(mixed.initiator);
  CHECK(ts("010000000a00000d0000ffffaabbccdd"));  // unknown, but longer than the payload
}

TEST_CASE("the chain: sections 2.5 and 3.2") {
  CHECK(expect(parse_payloads(PayloadType::none, {})).empty());
  CHECK(is_syntax_error(parse_payloads(PayloadType::none, from_hex("00"))));
  CHECK(is_syntax_error(parse_payloads(PayloadType::vendor_id, from_hex("00000003"))));
  CHECK(is_syntax_error(parse_payloads(PayloadType::vendor_id, from_hex("00000005"))));

  const auto critical = parse_payloads(static_cast<PayloadType>(99), from_hex("00800004"));
  REQUIRE(refusal_of(critical) != nullptr);
  CHECK(refusal_of(critical)->notify == NotifyType::unsupported_critical_payload);
  CHECK(refusal_of(critical)->notify_data == ByteVector{99});
  CHECK(expect(parse_payloads(PayloadType::configuration, from_hex("00800004"))).size() == 1);
  CHECK(expect(parse_payloads(static_cast<PayloadType>(1), from_hex("00000004"))).size() == 1);

  const std::string nonce = "28000014" + repeat("aa", 16);
  CHECK(is_syntax_error(parse_payloads(PayloadType::nonce, from_hex(nonce + "00000014" + repeat("bb", 16)))));
  CHECK(is_syntax_error(parse_payloads(PayloadType::encrypted, from_hex("00000004"))));
  CHECK(is_syntax_error(parse_payloads(PayloadType::encrypted_fragment, from_hex("00000004"))));

  const std::string vendor = "2b000004";
  CHECK(expect(parse_payloads(PayloadType::vendor_id, from_hex(repeat(vendor, 63) + "00000004"))).size() ==
        64);
  CHECK(is_syntax_error(parse_payloads(PayloadType::vendor_id, from_hex(repeat(vendor, 64) + "00000004"))));
}
