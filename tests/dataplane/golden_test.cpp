// Packets that scapy sealed (tests/packets/make_golden.py), through the decrypt way.
#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/dataplane/rig.hpp"

namespace espgate::test {
namespace {

Octets from_hex(const std::string& text) {
  Octets out;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    out.push_back(static_cast<std::uint8_t>(std::stoul(text.substr(i, 2), nullptr, 16)));
  return out;
}

// What the inner packet looks like after this gateway forwarded it.
Octets one_hop_later(Octets ip) {
  if (ip[0] >> 4 == 6) {
    --ip[7];
    return ip;
  }
  --ip[8];
  fix_ipv4_checksum(ip);
  return ip;
}

}  // namespace

TEST_CASE("What scapy sealed comes out as scapy put it in") {
  std::ifstream file(GOLDEN_PACKETS);
  const nlohmann::json packets = nlohmann::json::parse(file);
  REQUIRE(packets.size() == 192 + 8 * (crypto::kSuites.size() - 6));
  Rig rig;
  for (const auto& packet : packets) {
    const Octets keys = from_hex(packet["keys"]);
    const Octets inner = from_hex(packet["inner"]);
    INFO(packet["suite"] << (packet["udp"] ? " in UDP, " : ", ") << inner.size() << " bytes inside");
    const crypto::SuiteRow* const row = crypto::find_suite(packet["suite"].get<std::string>());
    REQUIRE(row != nullptr);
    channel::InstallSa install = rig.command(row->suite, 2, packet["udp"], packet["spi"]);
    std::copy(keys.begin(), keys.end(), install.keys.begin());
    dataplane::InboundSa& sa = rig.install_inbound(install);
    const Output out = rig.receive_ip(kOutside, from_hex(packet["outer"]));
    REQUIRE(out.frames[kInside].size() == 1);
    CHECK(slice(out.frames[kInside][0], 14) == one_hop_later(inner));
    CHECK(sa.window.highest() == packet["sequence"]);
    CHECK(sa.bytes == inner.size());
  }
  CHECK(rig.all_drops() == 0);
}

}  // namespace espgate::test
