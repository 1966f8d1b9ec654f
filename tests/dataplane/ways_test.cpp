// Both ways at once: what one gateway seals another opens, and nobody else.
#include <catch2/catch.hpp>
#include <random>

#include "tests/dataplane/rig.hpp"

namespace espgate::test {
namespace {

Octets after_hops(Octets ip, unsigned hops) {
  if (ip[0] >> 4 == 6) {
    ip[7] = static_cast<std::uint8_t>(ip[7] - hops);
    return ip;
  }
  ip[8] = static_cast<std::uint8_t>(ip[8] - hops);
  fix_ipv4_checksum(ip);
  return ip;
}

Octets random_packet(std::minstd_rand& random) {
  Octets payload(random() % 1340);
  for (std::uint8_t& byte : payload) byte = static_cast<std::uint8_t>(random());
  const auto up_to = [&random](unsigned limit) { return static_cast<unsigned>(random() % limit); };
  const unsigned protocol = up_to(2) == 0 ? 17 : up_to(256);
  const unsigned ttl = 3 + up_to(253);
  const unsigned tos = up_to(256);
  // IPv6 protocols 0, 43, 44, 60 would be extension headers of random contents: as good as any.
  if (random() % 2 == 0)
    return ipv6_packet({.next_header = protocol, .hop_limit = ttl, .traffic_class = tos}, payload);
  const Octets options = random() % 4 == 0 ? Octets{1, 1, 1, 0} : Octets{};
  return ipv4_packet({.protocol = protocol, .ttl = ttl, .tos = tos, .fragment = 0x4000, .options = options},
                     payload);
}

}  // namespace

TEST_CASE("Any packet that fits comes out as it went in, two hops later") {
  std::minstd_rand random(4303);
  for (const crypto::SuiteRow& row : crypto::kSuites)
    for (const bool udp : {false, true}) {
      Pair pair(row.suite, {.udp = udp});
      for (unsigned i = 0; i < 300; ++i) {
        const Octets ip = random_packet(random);
        INFO(row.name << (udp ? " in UDP, " : ", ") << ip.size() << " bytes");
        const Output outer = pair.left.receive_ip(kInside, ip);
        REQUIRE(outer.frames[kOutside].size() == 1);
        const Output inner = Pair::carry(outer, pair.right);
        REQUIRE(inner.frames[kInside].size() == 1);
        CHECK(slice(inner.frames[kInside][0], 14) == after_hops(ip, 2));
      }
      CHECK(pair.left.all_drops() + pair.right.all_drops() == 0);
    }
}

TEST_CASE("Bursts keep their order") {
  Pair pair(crypto::EspSuite::aes256_cbc_sha256);
  std::vector<Octets> frames;
  for (unsigned i = 0; i < 64; ++i)
    frames.push_back(pair.left.frame_to(kInside, ipv4_packet({}, udp(i, 9, filling(i * 20)))));
  const Output inner = Pair::carry(pair.left.receive(kInside, frames), pair.right);
  REQUIRE(inner.frames[kInside].size() == 64);
  for (unsigned i = 0; i < 64; ++i) CHECK(get16(inner.frames[kInside][i], 14 + 20) == i);
}

TEST_CASE("One bit flipped anywhere in the ESP packet is a named drop") {
  for (const crypto::SuiteRow& row : crypto::kSuites) {
    Pair pair(row.suite);
    const Output sent = pair.left.receive_ip(kInside, ipv4_packet({}, udp(1, 2, filling(30))));
    const std::size_t first = 14 + 20;
    for (std::size_t bit = first * 8; bit < sent.frames[kOutside][0].size() * 8; ++bit) {
      Output flipped = sent;
      flipped.frames[kOutside][0][bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
      const std::uint64_t before = pair.right.all_drops();
      const Output out = Pair::carry(flipped, pair.right);
      INFO(row.name << ", bit " << bit - first * 8);
      CHECK(out.frames[kInside].empty());
      CHECK(pair.right.all_drops() - before + out.raised.size() == 1);
    }
    CHECK(Pair::carry(sent, pair.right).frames[kInside].size() == 1);
  }
}

}  // namespace espgate::test
