#include "tests/control/ike/support.hpp"

#include <algorithm>
#include <fstream>
#include <map>
#include <numeric>
#include <stdexcept>

namespace espgate::ike::test {
namespace {

using Vectors = std::map<std::string, ByteVector>;

Vectors load(const std::string& file) {
  std::ifstream in(std::string(ESPGATE_IKE_TEST_DATA "/") + file);
  Vectors vectors;
  for (std::string line; std::getline(in, line);) {
    const std::size_t space = line.find(' ');
    vectors[line.substr(0, space)] = from_hex(std::string_view(line).substr(space + 1));
  }
  if (vectors.empty()) throw std::runtime_error("no vectors in " + file);
  return vectors;
}

const Vectors& golden_vectors() {
  static const Vectors vectors = load("golden.txt");
  return vectors;
}

const ByteVector& find(const Vectors& vectors, const std::string& name) {
  const auto found = vectors.find(name);
  if (found == vectors.end()) throw std::runtime_error("no vector named " + name);
  return found->second;
}

ByteVector pattern(std::uint8_t first, std::size_t count) {
  ByteVector bytes(count);
  std::iota(bytes.begin(), bytes.end(), first);
  return bytes;
}

// Draws for random messages.
class Draw {
 public:
  explicit Draw(std::mt19937& random) : random_(random) {}
  std::size_t below(std::size_t limit) {
    return std::uniform_int_distribution<std::size_t>(0, limit - 1)(random_);
  }
  std::size_t between(std::size_t low, std::size_t high) { return low + below(high - low + 1); }
  bool coin() { return below(2) == 1; }
  std::uint8_t u8() { return static_cast<std::uint8_t>(below(256)); }
  std::uint16_t u16() { return static_cast<std::uint16_t>(below(65536)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(random_()); }
  ByteVector bytes(std::size_t low, std::size_t high) {
    ByteVector drawn(between(low, high));
    std::ranges::generate(drawn, [this] { return u8(); });
    return drawn;
  }

 private:
  std::mt19937& random_;
};

Proposal draw_proposal(Draw& draw, std::size_t number) {
  Proposal proposal;
  proposal.number = static_cast<std::uint8_t>(number);
  proposal.protocol = draw.coin() ? Protocol::ike : Protocol::esp;
  if (proposal.protocol == Protocol::esp)
    proposal.spi = draw.bytes(4, 4);
  else if (draw.coin())
    proposal.spi = draw.bytes(8, 8);
  for (std::size_t i = draw.below(8); i > 0; --i)
    proposal.transforms.push_back({static_cast<TransformType>(draw.u8()), draw.u16(),
                                   draw.coin() ? draw.u16() : std::uint16_t{0}, false});
  return proposal;
}

TrafficSelector draw_selector(Draw& draw) {
  TrafficSelector selector;
  selector.protocol = draw.u8();
  selector.first_port = draw.u16();
  selector.last_port = static_cast<std::uint16_t>(draw.between(selector.first_port, 65535));
  for (IpAddress* address : {&selector.first, &selector.last}) address->family = Family::v4;
  const std::size_t size = draw.coin() ? 4 : 16;
  if (size == 16)
    for (IpAddress* address : {&selector.first, &selector.last}) address->family = Family::v6;
  for (IpAddress* address : {&selector.first, &selector.last})
    std::ranges::copy(draw.bytes(size, size), address->bytes.begin());
  if (selector.last < selector.first) std::swap(selector.first, selector.last);
  return selector;
}

TsPayload draw_ts(Draw& draw, bool initiator) {
  TsPayload ts{initiator, {}};
  for (std::size_t i = draw.between(1, 5); i > 0; --i) ts.selectors.push_back(draw_selector(draw));
  return ts;
}

SaPayload draw_sa(Draw& draw) {
  SaPayload sa;
  const std::size_t count = draw.between(1, 5);
  for (std::size_t number = 1; number <= count; ++number) sa.proposals.push_back(draw_proposal(draw, number));
  return sa;
}

NotifyPayload draw_notify(Draw& draw) {
  NotifyPayload notify;
  notify.type = static_cast<NotifyType>(draw.between(16391, 65535));
  if (draw.coin()) {
    notify.protocol = Protocol::esp;
    notify.spi = draw.bytes(4, 4);
  }
  notify.data = draw.bytes(0, 40);
  return notify;
}

DeletePayload draw_delete(Draw& draw) {
  if (draw.coin()) return {Protocol::ike, {}};
  DeletePayload gone{Protocol::esp, {}};
  for (std::size_t i = draw.below(4); i > 0; --i) gone.spis.push_back(draw.u32());
  return gone;
}

// One of each that may be there but once, and some of the others.
std::vector<Payload> draw_all(Draw& draw) {
  std::vector<Payload> all;
  all.emplace_back(draw_sa(draw));
  all.emplace_back(KePayload{draw.u16(), draw.bytes(1, 200)});
  all.emplace_back(IdPayload{true, 2, draw.bytes(0, 30), {}});
  all.emplace_back(IdPayload{false, 11, draw.bytes(0, 30), {}});
  all.emplace_back(CertPayload{draw.u8(), draw.bytes(0, 200)});
  all.emplace_back(CertRequestPayload{draw.u8(), draw.bytes(0, 60)});
  all.emplace_back(AuthPayload{draw.u8(), draw.bytes(0, 100)});
  all.emplace_back(NoncePayload{draw.bytes(16, 256)});
  all.emplace_back(draw_ts(draw, true));
  all.emplace_back(draw_ts(draw, false));
  all.emplace_back(draw_delete(draw));
  all.emplace_back(VendorPayload{draw.bytes(0, 40)});
  all.emplace_back(OpaquePayload{static_cast<std::uint8_t>(draw.between(54, 255)), false, draw.bytes(0, 40)});
  for (std::size_t i = draw.below(4); i > 0; --i) all.emplace_back(draw_notify(draw));
  return all;
}

}  // namespace

ByteVector from_hex(std::string_view text) {
  ByteVector bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    bytes.push_back(static_cast<std::uint8_t>(std::stoul(std::string(text.substr(i, 2)), nullptr, 16)));
  return bytes;
}

std::string to_hex(Bytes bytes) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

const ByteVector& golden(const std::string& name) { return find(golden_vectors(), name); }

const ByteVector& kdf(const std::string& name) {
  static const Vectors vectors = load("kdf_vectors.txt");
  return find(vectors, name);
}

std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  for (const auto& [name, bytes] : golden_vectors()) names.push_back(name);
  return names;
}

std::unique_ptr<crypto::IkeCipher> golden_cipher(const std::string& suite) {
  if (suite == "gcm")
    return crypto::IkeCipher::make(crypto::IkeCipherId::aes_gcm16, 256, crypto::IkeIntegrity::none,
                                   pattern(0, 36), {});
  return crypto::IkeCipher::make(crypto::IkeCipherId::aes_cbc, 256, crypto::IkeIntegrity::hmac_sha256_128,
                                 pattern(0, 32), pattern(0x80, 32));
}

Header header_of(Bytes datagram) { return expect(parse_header(datagram)); }

bool is_syntax_error(const Result<std::vector<Payload>>& result) {
  const Refusal* refusal = refusal_of(result);
  return refusal != nullptr && refusal->notify == NotifyType::invalid_syntax && !refusal->words.empty();
}

std::vector<Payload> random_payloads(std::mt19937& random) {
  Draw draw(random);
  std::vector<Payload> all = draw_all(draw);
  std::shuffle(all.begin(), all.end(), random);
  all.resize(draw.between(0, all.size()));
  return all;
}

}  // namespace espgate::ike::test
