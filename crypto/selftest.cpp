#include <algorithm>
#include <span>
#include <vector>

#include "crypto/bulk.hpp"
#include "crypto/selftest_vectors.hpp"

namespace espgate::crypto {
namespace {

using Packet = std::vector<std::uint8_t>;

std::uint8_t digit(char c) { return static_cast<std::uint8_t>(c <= '9' ? c - '0' : c - 'a' + 10); }

Packet from_hex(std::string_view text) {
  Packet bytes(text.size() / 2);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::uint8_t>(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
  return bytes;
}

// One vector, several times in one burst: how many lanes a burst fills decides which code runs.
class Trial {
 public:
  Trial(BulkEngine& engine, const SelfTestVector& vector, std::size_t copies)
      : engine_(engine),
        vector_(vector),
        row_(*find_suite(vector.suite)),
        wanted_packet_(from_hex(vector.packet)),
        wanted_plaintext_(from_hex(vector.plaintext)),
        packets_(copies, wanted_packet_) {}

  std::string run() {
    if (!engine_.expand(vector_.suite, from_hex(vector_.key_material), key_))
      return "expanding the key failed";
    if (!opens()) return "opening failed";
    if (vector_.seals && !seals()) return "sealing failed";
    if (!refuses_corruption()) return "a corrupted packet was taken for authentic";
    return {};
  }

 private:
  std::vector<EspJob> jobs() {
    std::vector<EspJob> jobs;
    for (Packet& packet : packets_)
      jobs.push_back({&key_,
                      packet.data(),
                      vector_.sequence,
                      static_cast<std::uint32_t>(wanted_plaintext_.size()),
                      {vector_.suite, false},
                      false});
    return jobs;
  }

  std::span<std::uint8_t> payload(Packet& packet) const {
    return std::span(packet).subspan(std::size_t{8} + row_.iv_length, wanted_plaintext_.size());
  }

  bool opens() {
    std::vector<EspJob> burst = jobs();
    engine_.open(burst);
    return std::ranges::all_of(burst, &EspJob::ok) && std::ranges::all_of(packets_, [this](Packet& packet) {
             return std::ranges::equal(payload(packet), wanted_plaintext_);
           });
  }

  bool seals() {
    for (Packet& packet : packets_) {
      std::fill(packet.begin() + 8, packet.end(), std::uint8_t{0});
      std::ranges::copy(wanted_plaintext_, payload(packet).begin());
    }
    std::vector<EspJob> burst = jobs();
    engine_.seal(burst);
    return std::ranges::all_of(burst, &EspJob::ok) &&
           std::ranges::all_of(packets_, [this](const Packet& packet) { return packet == wanted_packet_; });
  }

  // One bit of one packet at a time: in the SPI, the IV, the payload, and both ends of the ICV.
  bool refuses_corruption() {
    const std::size_t size = wanted_packet_.size();
    for (const std::size_t at : {std::size_t{0}, std::size_t{8}, size - row_.icv_length - 1u,
                                 std::size_t{size - row_.icv_length}, size - 1}) {
      std::ranges::fill(packets_, wanted_packet_);
      packets_.back()[at] ^= 1;
      std::vector<EspJob> burst = jobs();
      engine_.open(burst);
      if (burst.back().ok ||
          !std::all_of(burst.begin(), burst.end() - 1, [](const EspJob& job) { return job.ok; }))
        return false;
    }
    return true;
  }

  BulkEngine& engine_;
  const SelfTestVector& vector_;
  const SuiteRow& row_;
  Packet wanted_packet_;
  Packet wanted_plaintext_;
  std::vector<Packet> packets_;
  SaKey key_{};
};

}  // namespace

std::string self_test(BulkEngine& engine, EspSuite suite) {
  bool tried = false;
  for (const SelfTestVector& vector : kSelfTestVectors) {
    if (vector.suite != suite) continue;
    tried = true;
    for (const std::size_t copies : {1, 3, 16}) {
      const std::string failure = Trial(engine, vector, copies).run();
      if (!failure.empty())
        return failure + " (" + std::string(vector.source) + ", " + std::to_string(copies) + " at once)";
    }
  }
  return tried ? std::string{} : "there is no test vector for this suite";
}

}  // namespace espgate::crypto
