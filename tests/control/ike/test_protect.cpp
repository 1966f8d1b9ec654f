// The Encrypted payload and its fragments. What is opened was sealed by python3-cryptography.
#include <catch2/catch.hpp>
#include <numeric>

#include "control/ike/cursor.hpp"
#include "tests/control/ike/support.hpp"

using namespace espgate;
using namespace espgate::ike;
using namespace espgate::ike::test;

namespace {

using Payloads = std::vector<Payload>;

Opened open_golden(const std::string& name) {
  const ByteVector& datagram = golden(name);
  return open_message(header_of(datagram), datagram, *golden_cipher(name.substr(0, 3)));
}

Payloads content(const std::string& name) {
  const ByteVector& bytes = golden(name);
  return expect(parse_payloads(static_cast<PayloadType>(bytes[0]), Bytes(bytes).subspan(1)));
}

ByteVector encoded(const Payloads& payloads) { return encode_plain(Header{}, payloads); }

Header auth_header() {
  Header header;
  header.spi_initiator = 0xa1a2a3a4a5a6a7a8;
  header.spi_responder = 0xb1b2b3b4b5b6b7b8;
  header.exchange = Exchange::ike_auth;
  header.from_initiator = true;
  header.message_id = 1;
  return header;
}

// Answers what a golden message has for the same question, and remembers the question: our part of sealing
// against bytes that are not ours.
class Recorder final : public crypto::IkeCipher {
 public:
  Recorder(std::size_t iv, std::size_t icv, std::size_t block) : iv_(iv), icv_(icv), block_(block) {}
  std::size_t iv_length() const noexcept override { return iv_; }
  std::size_t icv_length() const noexcept override { return icv_; }
  std::size_t block_length() const noexcept override { return block_; }
  ByteVector seal(Bytes aad, Bytes padded) override {
    associated = to_vector(aad);
    plaintext = to_vector(padded);
    return ByteVector(iv_ + padded.size() + icv_);
  }
  std::optional<crypto::SecretBytes> open(Bytes, Bytes sealed) const override {
    return crypto::SecretBytes(sealed.subspan(iv_, sealed.size() - iv_ - icv_));
  }
  ByteVector associated, plaintext;

 private:
  std::size_t iv_, icv_, block_;
};

std::vector<ByteVector> golden_fragments(const std::string& suite) {
  std::vector<ByteVector> fragments;
  for (int i = 1; i <= 4; ++i) fragments.push_back(golden(suite + "_fragment_" + std::to_string(i)));
  return fragments;
}

Payloads large_content() {
  Payloads payloads = content("content_auth");
  ByteVector vendor(400);
  std::iota(vendor.begin(), vendor.end(), std::uint8_t{0});
  payloads.emplace_back(VendorPayload{vendor});
  return payloads;
}

// Adds one after the other; only the last may complete the message.
Payloads reassemble(Reassembly& reassembly, const std::vector<ByteVector>& fragments,
                    const crypto::IkeCipher& cipher) {
  for (std::size_t i = 0; i < fragments.size(); ++i) {
    const auto progress = reassembly.add(header_of(fragments[i]), fragments[i], cipher);
    if (!progress.authentic) throw std::runtime_error("a fragment is not authentic");
    if (progress.payloads.has_value() != (i + 1 == fragments.size()))
      throw std::runtime_error("complete at a wrong time");
    if (progress.payloads) return expect(*progress.payloads);
  }
  return {};
}

// A datagram around chosen plaintext, padding included, for what no sender should send.
ByteVector seal_raw(PayloadType first, Bytes padded, crypto::IkeCipher& cipher, std::uint32_t fragment = 0) {
  Header header = auth_header();
  header.next_payload = fragment != 0 ? PayloadType::encrypted_fragment : PayloadType::encrypted;
  const std::size_t fields = fragment != 0 ? 4 : 0;
  const std::size_t inside = 4 + fields + cipher.iv_length() + padded.size() + cipher.icv_length();
  Writer out;
  ByteVector head = encode_plain(header, {});
  head[16] = static_cast<std::uint8_t>(header.next_payload);
  head[26] = static_cast<std::uint8_t>((28 + inside) >> 8);
  head[27] = static_cast<std::uint8_t>(28 + inside);
  out.bytes(head);
  out.u8(static_cast<std::uint8_t>(first));
  out.u8(0);
  out.u16(static_cast<std::uint16_t>(inside));
  if (fragment != 0) out.u32(fragment);
  out.bytes(cipher.seal(out.view(), padded));
  return to_vector(out.view());
}

}  // namespace

TEST_CASE("golden protected messages open to what was put in") {
  for (const char* suite : {"cbc", "gcm"}) {
    CAPTURE(suite);
    const Opened auth = open_golden(suite + std::string("_auth"));
    REQUIRE(auth.authentic);
    CHECK(encoded(expect(auth.payloads)) == encoded(content("content_auth")));
    const Opened dpd = open_golden(suite + std::string("_dpd"));
    REQUIRE(dpd.authentic);
    CHECK(expect(dpd.payloads).empty());
  }
  CHECK(encoded(expect(open_golden("cbc_padded").payloads)) == encoded(content("content_rekey")));
  CHECK(encoded(expect(open_golden("gcm_padded").payloads)) == encoded(content("content_ike_rekey")));
  CHECK(find<DeletePayload>(expect(open_golden("gcm_delete_esp").payloads))->spis.size() == 2);
  CHECK(find<DeletePayload>(expect(open_golden("gcm_delete_ike").payloads))->protocol == Protocol::ike);
}

TEST_CASE("no flipped bit goes unnoticed in a protected message") {
  for (const char* name : {"cbc_auth", "gcm_auth", "gcm_dpd"}) {
    ByteVector datagram = golden(name);
    const auto cipher = golden_cipher(std::string(name).substr(0, 3));
    for (std::size_t bit = 0; bit < datagram.size() * 8; ++bit) {
      datagram[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
      const auto header = parse_header(datagram);
      if (std::holds_alternative<Header>(header)) {
        const Opened opened = open_message(std::get<Header>(header), datagram, *cipher);
        CAPTURE(name, bit);
        CHECK_FALSE(opened.authentic);
        CHECK_FALSE(refusal_of(opened.payloads)->notify.has_value());  // not authentic: no answer
      }
      datagram[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
    }
  }
}

TEST_CASE("a protected message cut anywhere is not authentic") {
  const ByteVector& whole = golden("gcm_auth");
  const auto cipher = golden_cipher("gcm");
  for (std::size_t length = Header::kLength; length < whole.size(); ++length) {
    ByteVector cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
    cut[26] = static_cast<std::uint8_t>(length >> 8);
    cut[27] = static_cast<std::uint8_t>(length);
    CHECK_FALSE(open_message(header_of(cut), cut, *cipher).authentic);
    if (length < 32) continue;
    cut[30] = static_cast<std::uint8_t>((length - 28) >> 8);
    cut[31] = static_cast<std::uint8_t>(length - 28);
    CHECK_FALSE(open_message(header_of(cut), cut, *cipher).authentic);
  }
}

TEST_CASE("sealing covers and pads what the golden messages do") {
  struct Row {
    const char* name;
    Recorder recorder;
  };
  for (Row& row : std::vector<Row>{{"cbc_auth", {16, 16, 16}}, {"gcm_auth", {8, 16, 1}}}) {
    const ByteVector& datagram = golden(row.name);
    const auto sealed = seal_message(auth_header(), content("content_auth"), row.recorder, 0);
    REQUIRE(sealed.size() == 1);
    CAPTURE(row.name);
    CHECK(sealed[0].size() == datagram.size());
    CHECK(to_hex(row.recorder.associated) == to_hex(Bytes(datagram).first(32)));
    const auto cipher = golden_cipher(std::string(row.name).substr(0, 3));
    const auto padded = cipher->open(Bytes(datagram).first(32), Bytes(datagram).subspan(32));
    REQUIRE(padded);
    CHECK(to_hex(row.recorder.plaintext) == to_hex(padded->view()));
  }
}

TEST_CASE("random messages survive sealing and opening, whole and in fragments") {
  std::mt19937 random(7383);
  for (const char* suite : {"cbc", "gcm"}) {
    const auto cipher = golden_cipher(suite);
    for (int i = 0; i < 300; ++i) {
      const Payloads payloads = random_payloads(random);
      const std::size_t limit = i % 3 == 0 ? 0 : 256 + random() % 1024;
      const auto datagrams = seal_message(auth_header(), payloads, *cipher, limit);
      CAPTURE(suite, i, limit);
      Payloads back;
      if (datagrams.size() == 1) {
        CHECK_FALSE(is_fragment(datagrams[0]));
        const Opened opened = open_message(header_of(datagrams[0]), datagrams[0], *cipher);
        REQUIRE(opened.authentic);
        back = expect(opened.payloads);
      } else {
        for (const ByteVector& datagram : datagrams) {
          CHECK(datagram.size() <= limit);
          CHECK(is_fragment(datagram));
          CHECK_FALSE(open_message(header_of(datagram), datagram, *cipher).authentic);
        }
        Reassembly reassembly;
        back = reassemble(reassembly, datagrams, *cipher);
      }
      CHECK(encoded(back) == encoded(payloads));
    }
  }
}

TEST_CASE("impossible padding, or payloads that do not parse: authentic and refused") {
  const auto cipher = golden_cipher("gcm");
  const auto open = [&cipher](const ByteVector& datagram) {
    return open_message(header_of(datagram), datagram, *cipher);
  };
  const Opened padding = open(seal_raw(PayloadType::none, ByteVector{1}, *cipher));
  CHECK(padding.authentic);
  CHECK(is_syntax_error(padding.payloads));
  const Opened cut = open(seal_raw(PayloadType::nonce, from_hex("0000001400"), *cipher));
  CHECK(cut.authentic);
  CHECK(is_syntax_error(cut.payloads));
  const Opened nested = open(seal_raw(PayloadType::encrypted, from_hex("0000000400"), *cipher));
  CHECK(nested.authentic);
  CHECK(is_syntax_error(nested.payloads));
  const Opened empty = open(seal_raw(PayloadType::none, {}, *cipher));
  CHECK_FALSE(empty.authentic);  // not even a pad length
}

TEST_CASE("an Encrypted payload that is not the only one outside is not opened") {
  const auto cipher = golden_cipher("gcm");
  ByteVector datagram = golden("gcm_dpd");
  datagram.insert(datagram.end(), {0, 0, 0, 4});
  datagram[27] = static_cast<std::uint8_t>(datagram.size());
  CHECK_FALSE(open_message(header_of(datagram), datagram, *cipher).authentic);
  const ByteVector& plain = golden("no_proposal");
  CHECK_FALSE(open_message(header_of(plain), plain, *cipher).authentic);
}

TEST_CASE("golden fragments come together in any order") {
  for (const char* suite : {"cbc", "gcm"}) {
    const auto cipher = golden_cipher(suite);
    std::vector<ByteVector> fragments = golden_fragments(suite);
    std::vector<int> order{0, 1, 2, 3};
    Reassembly reassembly;
    do {
      std::vector<ByteVector> shuffled;
      for (const int i : order) shuffled.push_back(fragments[static_cast<std::size_t>(i)]);
      CHECK(encoded(reassemble(reassembly, shuffled, *cipher)) == encoded(large_content()));
    } while (std::next_permutation(order.begin(), order.end()));
  }
}

TEST_CASE("duplicates, forgeries and older sets do not disturb a reassembly") {
  const auto cipher = golden_cipher("gcm");
  const std::vector<ByteVector> fragments = golden_fragments("gcm");
  Reassembly reassembly;
  const auto add = [&](const ByteVector& datagram) {
    return reassembly.add(header_of(datagram), datagram, *cipher);
  };
  CHECK(add(fragments[0]).authentic);
  CHECK_FALSE(add(fragments[0]).authentic);  // a duplicate is not opened again
  ByteVector forged = fragments[1];
  forged.back() ^= 1;
  CHECK_FALSE(add(forged).authentic);
  CHECK_FALSE(add(seal_raw(PayloadType::none, ByteVector{0}, *cipher, 0x00010003)).authentic);  // of fewer
  CHECK_FALSE(add(seal_raw(PayloadType::none, ByteVector{0}, *cipher, 0x00050004)).authentic);  // 5 of 4
  CHECK_FALSE(add(seal_raw(PayloadType::none, ByteVector{0}, *cipher, 0x00000004)).authentic);  // 0 of 4
  CHECK_FALSE(add(seal_raw(PayloadType::none, ByteVector{0}, *cipher, 0x00010041)).authentic);  // 1 of 65
  CHECK_FALSE(add(golden("gcm_auth")).authentic);                                               // no fragment
  CHECK(add(fragments[2]).authentic);
  CHECK(add(fragments[3]).authentic);
  const auto last = add(fragments[1]);
  REQUIRE(last.payloads.has_value());
  CHECK(encoded(expect(*last.payloads)) == encoded(large_content()));
}

TEST_CASE("a larger total and another message ID begin anew") {
  const auto cipher = golden_cipher("cbc");
  const Payloads payloads = large_content();
  const auto small = seal_message(auth_header(), payloads, *cipher, 300);
  const auto large = seal_message(auth_header(), payloads, *cipher, 600);
  REQUIRE(small.size() > large.size());
  REQUIRE(large.size() > 1);
  Reassembly reassembly;
  CHECK(reassembly.add(header_of(large[0]), large[0], *cipher).authentic);
  CHECK(encoded(reassemble(reassembly, small, *cipher)) == encoded(payloads));

  Header next = auth_header();
  next.message_id = 2;
  CHECK(reassembly.add(header_of(small[0]), small[0], *cipher).authentic);
  CHECK(encoded(reassemble(reassembly, seal_message(next, payloads, *cipher, 600), *cipher)) ==
        encoded(payloads));
  reassembly.clear();
  CHECK(encoded(reassemble(reassembly, small, *cipher)) == encoded(payloads));
}

TEST_CASE("a reassembly holds 64 KiB at most") {
  const auto cipher = golden_cipher("gcm");
  Reassembly reassembly;
  const ByteVector part(40001);  // of padding 0
  const ByteVector first = seal_raw(PayloadType::vendor_id, part, *cipher, 0x00010003);
  const ByteVector second = seal_raw(PayloadType::vendor_id, part, *cipher, 0x00020003);
  CHECK_FALSE(reassembly.add(header_of(first), first, *cipher).payloads.has_value());
  const auto progress = reassembly.add(header_of(second), second, *cipher);
  CHECK(progress.authentic);
  REQUIRE(progress.payloads.has_value());
  CHECK(is_syntax_error(*progress.payloads));
}

TEST_CASE("messages that fit into no Encrypted payload are not sealed") {
  const auto cipher = golden_cipher("gcm");
  const Payloads payloads{VendorPayload{ByteVector(65000)}, VendorPayload{ByteVector(65000)}};
  CHECK_THROWS_AS(seal_message(auth_header(), payloads, *cipher, 0), std::length_error);
  CHECK_THROWS_AS(seal_message(auth_header(), payloads, *cipher, 1280), std::length_error);
}
