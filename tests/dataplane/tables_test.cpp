// Route tables: the same destination means another place in each, and a packet's table follows it from where
// it came to where it goes.
#include <catch2/catch.hpp>

#include "channel/spi.hpp"
#include "tests/dataplane/rig.hpp"

namespace espgate::test {

namespace {

constexpr TableId kRed = 1;
constexpr std::uint16_t kVlan = 42;
const std::uint32_t kSpi = channel::make_spi(0, 1, 3);

// A gateway of two tables: the VLAN of the inside is in the red one, all else in the main one. 10.50.0.0/16
// and 2001:db8:50::/48 are outside for the main table, and inside for the red one.
struct TwoTables {
  TwoTables() {
    rig.add_vlan(kInside, kVlan);
    rig.tables().ports[kOnVlan].table = kRed;
    const auto id = rig.tables().neighbours.find(kInside, *parse_address("10.1.0.2"));
    const NextHop inside{NextHopKind::gateway, kInside, 0, id};
    for (const char* to : {"10.50.0.0/16", "2001:db8:50::/48"}) {
      rig.route(to, rig.outside_gateway());
      rig.route(to, inside, kRed);
    }
  }
  [[nodiscard]] Octets frame(TableId table, const Octets& ip) const {
    const Octets plain = rig.frame_to(kInside, ip);
    return table == kRed ? with_tag(plain, kVlan) : plain;
  }
  Rig rig{1, 1, 1};
};

Octets packet4(unsigned number) {
  return ipv4_packet({.source = "10.60.0.1", .destination = "10.50.0.2"},
                     udp(1, static_cast<std::uint16_t>(number), filling(20)));
}
Octets packet6(unsigned number) {
  return ipv6_packet({.source = "2001:db8:60::1", .destination = "2001:db8:50::2"},
                     udp(1, static_cast<std::uint16_t>(number), filling(20)));
}

}  // namespace

TEST_CASE("Packets of one burst take the routes of their own tables, and keep their order") {
  TwoTables two;
  std::vector<Octets> frames;
  std::vector<Octets> expected[2];
  for (unsigned i = 0; i < dataplane::kBurst; ++i) {
    // Runs of one, two and three of a table, of both families.
    const TableId table = (i * 7 / 4) % 2 == 0 ? kMainTable : kRed;
    const bool v4 = i % 3 != 0;
    const Octets ip = v4 ? packet4(i) : packet6(i);
    frames.push_back(two.frame(table, ip));
    expected[table].push_back(slice(ip, v4 ? 20 : 40));
  }
  const Output out = two.rig.receive(kInside, frames);
  const auto upper = [](const std::vector<Octets>& sent) {
    std::vector<Octets> all;
    for (const Octets& each : sent) all.push_back(slice(each, each[14] >> 4 == 4 ? 34 : 54));
    return all;
  };
  CHECK(upper(out.frames[kOutside]) == expected[kMainTable]);
  CHECK(upper(out.frames[kInside]) == expected[kRed]);
  CHECK(two.rig.all_drops() == 0);
}

TEST_CASE("What has no route in its own table is told so there, whatever the other one has") {
  TwoTables two;
  two.rig.route("10.70.0.0/16", two.rig.outside_gateway());
  const Octets ip = ipv4_packet({.source = "10.60.0.1", .destination = "10.70.0.2"}, udp(1, 2, filling(9)));
  const Output out = two.rig.receive(kInside, {two.frame(kRed, ip)});
  CHECK(out.frames[kOutside].empty());
  REQUIRE(out.raised.size() == 1);
  CHECK(out.raised[0].why == Exception::unreachable);
  CHECK(out.raised[0].note.table == kRed);
}

TEST_CASE("What comes out of a tunnel takes the routes of the tunnel's overlay table") {
  for (const TableId table : {kMainTable, kRed}) {
    TwoTables two;
    const channel::InstallSa install = two.rig.command(crypto::EspSuite::aes128_gcm16, 2, false, kSpi);
    two.rig.install_inbound(install).overlay = table;
    const Octets inner = packet4(9);
    const Output out = two.rig.receive_ip(
        kOutside, sealed(install, 1, with_trailer(inner, crypto::EspSuite::aes128_gcm16, 4)));
    CHECK(out.frames[kOutside].size() == (table == kMainTable ? 1 : 0));
    CHECK(out.frames[kInside].size() == (table == kRed ? 1 : 0));
  }
}

TEST_CASE("ESP by a port of another table than its tunnel's is refused, unless it only passes through") {
  TwoTables two;
  const channel::InstallSa install = two.rig.command(crypto::EspSuite::aes128_gcm16, 2, false, kSpi);
  two.rig.install_inbound(install);
  const Octets outer = sealed(install, 1, with_trailer(packet4(9), crypto::EspSuite::aes128_gcm16, 4));
  SECTION("to an address that is ours there, too") {
    two.rig.route("192.0.2.1", {NextHopKind::host, kOnVlan, 0, 0}, kRed);
    (void)two.rig.receive(kInside, {two.frame(kRed, outer)});
    CHECK(two.rig.drops(DropReason::wrong_table) == 1);
  }
  SECTION("to somebody else's there") {
    const auto id = two.rig.tables().neighbours.find(kInside, *parse_address("10.1.0.2"));
    two.rig.route("192.0.2.0/24", {NextHopKind::gateway, kInside, 0, id}, kRed);
    const Output out = two.rig.receive(kInside, {two.frame(kRed, outer)});
    CHECK(out.frames[kInside].size() == 1);
    CHECK(two.rig.all_drops() == 0);
  }
  SECTION("and by the right port it is opened") {
    const Output out = two.rig.receive_ip(kOutside, outer);
    CHECK(out.frames[kOutside].size() == 1);
  }
}

}  // namespace espgate::test
