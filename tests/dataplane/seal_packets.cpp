// Seals packets by the encrypt way and prints them, one JSON object a line, for
// tests/packets/check_sealed.py.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tests/dataplane/rig.hpp"

using namespace espgate;
using namespace espgate::test;

namespace {

std::string hex(const std::uint8_t* bytes, std::size_t length) {
  std::string out;
  char digits[3];
  for (std::size_t i = 0; i < length; ++i) {
    std::snprintf(digits, sizeof digits, "%02x", bytes[i]);
    out += digits;
  }
  return out;
}

void seal_one(Rig& rig, const crypto::SuiteRow& row, bool udp, const Octets& inner, std::uint32_t spi) {
  const channel::InstallSa install = rig.command(row.suite, 2, udp, spi, spi);
  rig.install_outbound(install);
  // Two of them: what the second packet of an SA looks like is no less a matter of the peer's.
  for (unsigned sequence = 1; sequence <= 2; ++sequence) {
    const Output out = rig.receive_ip(kInside, inner);
    if (out.frames[kOutside].size() != 1) std::abort();
    const Octets outer = slice(out.frames[kOutside][0], 14);
    nlohmann::json line{{"suite", row.name}, {"spi", spi}, {"udp", udp}, {"sequence", sequence}};
    line["keys"] = hex(install.keys.data(), key_material_length(row));
    line["inner"] = hex(inner.data(), inner.size());
    line["outer"] = hex(outer.data(), outer.size());
    std::puts(line.dump().c_str());
  }
}

}  // namespace

int main() {
  Rig rig;
  rig.set_tunnel(0);
  rig.route("10.2.0.0/16", {NextHopKind::tunnel, 0, 0, 0});
  rig.route("2001:db8:2::/48", {NextHopKind::tunnel, 0, 0, 0});
  std::uint32_t spi = 0x100;
  for (const crypto::SuiteRow& row : crypto::kSuites)
    for (const bool udp : {false, true})
      for (const unsigned size : {0U, 1U, 2U, 3U, 4U, 13U, 64U, 512U, 1300U}) {
        const Octets payload = test::udp(4000, 53, filling(size));
        seal_one(rig, row, udp, ipv4_packet({.tos = size % 2 != 0 ? 0xbaU : 0}, payload), ++spi);
        seal_one(rig, row, udp, ipv6_packet({.traffic_class = size % 2 != 0 ? 0xbaU : 0}, payload), ++spi);
      }
}
