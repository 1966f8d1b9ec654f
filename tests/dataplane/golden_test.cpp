// Packets that others sealed (tests/packets/make_golden.py), through the decrypt way.
#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/dataplane/rig.hpp"

namespace espgate::test {
namespace {

using Json = nlohmann::json;

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

std::string class_of(const Json& packet) {
  std::string text = packet["suite"];
  for (const char* key : {"transport", "outer", "inner", "udp", "esn"}) text += ' ' + packet[key].dump();
  return text;
}

dataplane::InboundSa& install(Rig& rig, const Json& packet) {
  const crypto::SuiteRow* const row = crypto::find_suite(packet["suite"].get<std::string>());
  REQUIRE(row != nullptr);
  channel::InstallSa command = rig.command(row->suite, 2, packet["udp"], packet["spi"]);
  set_form(command,
           {.udp = packet["udp"],
            .outer6 = packet["outer"] == 6,
            .transport = packet["transport"],
            .esn = packet["esn"]},
           1, 2);
  const Octets keys = from_hex(packet["keys"]);
  std::copy(keys.begin(), keys.end(), command.keys.begin());
  dataplane::InboundSa& sa = rig.install_inbound(command);
  const std::uint64_t highest = packet["highest"];
  if (highest != 0) REQUIRE(sa.window.commit(highest) == crypto::ReplayWindow::Verdict::fresh);
  return sa;
}

void check_opened(const Json& packet, const Output& out) {
  const Octets opened = from_hex(packet["opened"]);
  if (packet["transport"]) {
    REQUIRE(out.raised.size() == 1);
    CHECK(out.raised[0].why == Exception::to_host);
    CHECK(out.raised[0].data == opened);
  } else {
    REQUIRE(out.frames[kInside].size() == 1);
    CHECK(slice(out.frames[kInside][0], 14) == one_hop_later(opened));
  }
}

}  // namespace

TEST_CASE("What others sealed comes out as they put it in") {
  std::ifstream file(GOLDEN_PACKETS);
  const Json packets = Json::parse(file);
  Rig rig;
  rig.route("2001:db8:ff::1", {NextHopKind::host, kOutside, 0, 0});
  std::set<std::string> classes;
  for (const Json& packet : packets) {
    const std::string name = class_of(packet);
    INFO(name << ": suite, transport, IP outside, IP inside, UDP, ESN");
    const dataplane::InboundSa& sa = install(rig, packet);
    check_opened(packet, rig.receive_ip(kOutside, from_hex(packet["sealed"])));
    const std::uint64_t sequence = packet["sequence"];
    CHECK(sa.window.highest() == std::max(sequence, packet["highest"].get<std::uint64_t>()));
    CHECK(sa.bytes == packet["opened"].get<std::string>().size() / 2);
    classes.insert(name);
  }
  CHECK(rig.all_drops() == 0);
  // Tunnel mode: families outside and inside, UDP, ESN. Transport mode has one family.
  CHECK(classes.size() == crypto::kSuites.size() * (16 + 8));
}

}  // namespace espgate::test
