// assault-esp [COUNT]: COUNT (200,000 if not told) random or mutated frames through the receive way of a
// gateway with established SAs. Nothing may crash, no packet buffer may be lost, and the SAs work afterwards
// as before.
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "tests/dataplane/hostile.hpp"

using namespace espgate;
using namespace espgate::test;

namespace {

class Attacker {
 public:
  explicit Attacker(Target& target) : target_(target) {
    const Octets inner =
        ipv4_packet({.source = "10.2.0.2", .destination = "10.1.0.2"}, udp(1, 2, filling(60)));
    const Octets inner6 =
        ipv6_packet({.source = "2001:db8:2::2", .destination = "2001:db8:1::2"}, udp(1, 2, filling(60)));
    seeds_ = {
        {kOutside, sealed(target.inbound, 1, with_trailer(inner, Target::kSuite, 4))},
        {kOutside, sealed(target.in_udp, 1, with_trailer(inner6, Target::kSuite, 41))},
        {kOutside, sealed(target.in_cbc, 1, with_trailer(inner, crypto::EspSuite::aes128_cbc_sha1, 4))},
        {kOutside,
         ipv4_packet({.source = "192.0.2.2", .destination = "192.0.2.1"}, udp(500, 500, filling(80)))},
        {kOutside, ipv4_packet({.source = "192.0.2.2", .destination = "192.0.2.1"}, udp(4500, 4500, {0xff}))},
        {kInside, ipv4_packet({}, udp(1, 2, filling(100)))},
        {kInside,
         ipv4_packet({.options = {0x94, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 0}}, udp(1, 2, filling(2000)))},
        {kInside, ipv4_packet({.protocol = 6}, syn())},
        {kInside, ipv6_packet({.next_header = 6}, syn())},
        {kInside, ipv6_packet({.next_header = 0}, Octets{60, 0, 1, 4, 0, 0, 0, 0, 17, 1} + filling(90))},
        {kInside,
         ipv6_packet({.destination = "ff02::1:ff00:1", .next_header = 58, .hop_limit = 255}, filling(32))},
    };
  }

  [[nodiscard]] std::uint8_t port() const { return port_; }
  Octets next() {
    port_ = one_in(2) ? kOutside : kInside;
    if (one_in(4)) return random_frame();
    const Seed& seed = seeds_[below(static_cast<std::uint32_t>(seeds_.size()))];
    port_ = seed.port;
    Octets ip = one_in(4) ? authentic() : seed.ip;
    mutate(ip);
    // Half of the mutated headers get a right checksum again, or nothing would get past it.
    if (one_in(2) && ip.size() >= 20 && (ip[0] & 15U) * 4U <= ip.size() && ip[0] >> 4 == 4)
      fix_ipv4_checksum(ip);
    return target_.frame_to(port_, ip);
  }

 private:
  struct Seed {
    std::uint8_t port;
    Octets ip;
  };
  std::uint32_t below(std::uint32_t limit) { return static_cast<std::uint32_t>(random_() % limit); }
  bool one_in(std::uint32_t n) { return below(n) == 0; }

  static Octets syn() {
    Octets tcp(20);
    tcp[12] = 0x80;
    tcp[13] = 2;
    return tcp + Octets{1, 2, 4, 5, 0xb4, 1, 0, 0, 0, 0, 0, 0};
  }
  Octets random_frame() {
    Octets frame(below(200));
    for (std::uint8_t& byte : frame) byte = static_cast<std::uint8_t>(random_());
    const Mac mac = target_.mac(port_);
    if (frame.size() >= 14 && !one_in(8)) {
      std::copy(mac.begin(), mac.end(), frame.begin());
      put16(frame, 12, one_in(2) ? 0x0800 : 0x86dd);
    }
    return frame;
  }
  // Sealed by the peer's key, but with anything at all inside.
  Octets authentic() {
    Octets plain(4 * (1 + below(40)));
    for (std::uint8_t& byte : plain) byte = static_cast<std::uint8_t>(random_());
    if (one_in(2))
      plain = with_trailer(ipv4_packet({.source = "10.2.0.2", .destination = "10.1.0.2"}, plain),
                           Target::kSuite, 4);
    if (one_in(2))
      plain[below(static_cast<std::uint32_t>(plain.size()))] ^= static_cast<std::uint8_t>(1 + below(255));
    port_ = kOutside;
    // Mostly fresh, so that it is not the replay window that looks at it.
    return sealed(target_.inbound, one_in(16) ? below(1000) : ++target_.sequence, plain);
  }
  void mutate(Octets& bytes) {
    for (std::uint32_t changes = below(4); changes > 0 && !bytes.empty(); --changes) {
      const std::uint32_t at = below(static_cast<std::uint32_t>(bytes.size()));
      switch (below(5)) {
        case 0:
          bytes[at] ^= static_cast<std::uint8_t>(1U << below(8));
          break;
        case 1:
          bytes[at] = static_cast<std::uint8_t>(random_());
          break;
        case 2:
          bytes.resize(at);
          break;
        case 3:
          bytes.resize(bytes.size() + below(64));
          break;
        default:
          bytes[below(std::min<std::uint32_t>(44, at + 1))] = one_in(2) ? 0 : 0xff;
          break;
      }
    }
  }

  Target& target_;
  std::minstd_rand random_{4303};
  std::vector<Seed> seeds_;
  std::uint8_t port_{kOutside};
};

bool flush(Target& target, std::uint8_t port, std::vector<rte_mbuf*>& burst) {
  (void)target.receive(port, std::move(burst));
  burst.clear();
  return target.buffers_out() == 0;
}

bool assault(Target& target, unsigned long count) {
  Attacker attacker(target);
  std::vector<rte_mbuf*> burst;
  std::uint8_t port = kOutside;
  for (unsigned long i = 1; i <= count; ++i) {
    const Octets frame = attacker.next();
    if ((attacker.port() != port || burst.size() == 1 + i % 64) && !flush(target, port, burst)) return false;
    port = attacker.port();
    burst.push_back(target.make(frame, 128, i % 3 == 0 ? 0 : 64));
    if (i % 100000 != 0) continue;
    if (!flush(target, port, burst)) return false;
    target.renew();
    if (!target.still_works()) return false;
  }
  if (!flush(target, port, burst)) return false;
  target.renew();
  return target.still_works();
}

}  // namespace

int main(int argc, char** argv) {
  const bool told = argc > 1 && std::isdigit(static_cast<unsigned char>(argv[1][0])) != 0;
  const unsigned long count = told ? std::strtoul(argv[1], nullptr, 10) : 200000;
  Target target;
  if (!target.still_works() || !assault(target, count)) {
    std::fprintf(stderr, "assault-esp: a packet buffer was lost, or the SA does not work any more\n");
    return 1;
  }
  std::printf("%lu frames, %lu packets out of SAs, %lu into one; dropped by reason:\n", count,
              target.received, target.sent);
  for (std::size_t i = 0; i < channel::kDropReasons; ++i)
    if (const std::uint64_t drops = target.drops(static_cast<DropReason>(i)); drops != 0)
      std::printf("  %-24s %lu\n", std::string(channel::kDropReasonText[i].name).c_str(), drops);
}
