#include <catch2/catch.hpp>
#include <string>

#include "conf/load.hpp"
#include "tests/conf/base.hpp"

using namespace espgate;
using namespace espgate::conf;
using std::chrono::seconds;

namespace {

Configuration load(std::string_view text) { return load_text(text, "gw.yaml"); }
Tunnel first_tunnel(const std::string& text) { return std::move(load(text).tunnels.at(0)); }

// The base with one more line in its first tunnel.
Tunnel tunnel_with(std::string_view line) {
  return first_tunnel(tests::with_line(8, "    psk: secret\n    " + std::string(line)));
}

constexpr std::string_view kWhole = R"(
name: east
runtime-directory: /run/espgate-east
dataplane: {workers: [2, 3, 3], main-cpu: 1, idle: busy, hugepages: require, memory: 1024, packet-buffers: 32768,
            max-tunnels: 100, max-routes: 1000,
            crypto-devices: [crypto_openssl0, {device: "3d:01.0,qat_sym_cipher_crc_enable=1", suites: [aes256gcm16, aes256-sha256]}]}
ports:
  - {name: lan, device: "af_packet:lan", addresses: [10.1.0.1/24, "fd00:1::1/64"], mtu: 9000, offload: require}
  - {name: guests, parent: lan, vlan: 100, addresses: [10.9.0.1/24]}
  - {name: phones, parent: lan, vlan: 4094, mtu: 1500}
  - {name: wan, device: "0000:01:00.0", addresses: [192.0.2.1/24]}
routes:
  - {to: 10.2.0.0/16, group: cloud}
  - {to: 10.3.0.0/16, tunnel: west-a}
  - {to: 0.0.0.0/0, via: 192.0.2.254}
  - {to: 10.99.0.0/16, blackhole: true}
  - {to: 10.3.1.0/24, group: cloud, blackhole: false}
tunnels:
  - name: west-a
    local: {address: 192.0.2.1, id: east.example}
    remote: {address: 192.0.2.2, id: ops@west.example}
    psk: "a secret: with # signs"
    ike: {proposals: [aes256-sha384-ecp384, aes128gcm16-prfsha256-x25519], lifetime: 8h}
    esp: {proposals: [aes256gcm16-ecp384], lifetime: 1h30m, bytes: 100G, packets: 2G, replay-window: 4096, esn: either, tfc: 1200}
    selectors: {local: [10.1.0.0/24], remote: [10.2.0.0/16, 10.3.0.0/16]}
    dpd: 0
    start: wait
    encapsulation: udp
    keepalive: 45s
    outer: {dscp: 46, ecn: compatibility, df: copy}
    fragmentation: before
    spread: true
    interface: {name: vti-a, addresses: [169.254.1.1/30], mtu: 1400, clamp-mss: false}
    bfd: {peer: 169.254.1.2, interval: 1s50ms, multiplier: 5}
    probe: {to: 10.2.0.9, interval: 2, losses: 4}
    hold-down: {initial: 250ms, maximum: 1m}
  - {name: west-b, local: {address: 192.0.2.1}, remote: {address: 192.0.2.3}, psk: other}
groups:
  - {name: cloud, tunnels: [west-b, west-a]}
)";

}  // namespace

TEST_CASE("every key arrives where it belongs") {
  const Configuration c = load(kWhole);
  CHECK(c.name == "east");
  CHECK(c.runtime_directory == "/run/espgate-east");
  CHECK(c.dataplane.workers == std::vector<unsigned>{2, 3, 3});
  CHECK(c.dataplane.main_cpu == 1);
  CHECK(c.dataplane.idle == Idle::busy);
  CHECK(c.dataplane.hugepages == Hugepages::require);
  CHECK(c.dataplane.memory_mib == 1024);
  CHECK(c.dataplane.packet_buffers == 32768);
  CHECK(c.dataplane.max_tunnels == 100);
  CHECK(c.dataplane.max_routes == 1000);
  REQUIRE(c.dataplane.crypto_devices.size() == 2);
  CHECK(c.dataplane.crypto_devices[0].device == "crypto_openssl0");
  CHECK(c.dataplane.crypto_devices[0].suites.empty());
  CHECK(c.dataplane.crypto_devices[1].device == "3d:01.0,qat_sym_cipher_crc_enable=1");
  using enum espgate::crypto::EspSuite;
  CHECK(c.dataplane.crypto_devices[1].suites == std::vector{aes256_gcm16, aes256_cbc_sha256});

  REQUIRE(c.ports.size() == 4);
  CHECK(c.ports[0].name == "lan");
  CHECK(c.ports[0].device == "af_packet:lan");
  REQUIRE(c.ports[0].addresses.size() == 2);
  CHECK(to_string(c.ports[0].addresses[0]) == "10.1.0.1/24");
  CHECK(to_string(c.ports[0].addresses[1]) == "fd00:1::1/64");
  CHECK(c.ports[0].mtu == 9000);
  CHECK(c.ports[0].offload == Offload::require);
  CHECK(c.ports[0].mark.line == 8);
  CHECK(c.ports[0].mark.column == 5);
  CHECK(c.ports[1].parent == "lan");
  CHECK(c.ports[1].vlan == 100);
  CHECK(c.ports[1].mtu == 9000);  // the parent's
  CHECK(c.ports[2].vlan == 4094);
  CHECK(c.ports[2].mtu == 1500);
  CHECK(c.ports[3].mtu == 1500);
  CHECK(c.ports[1].offload == Offload::automatic);

  REQUIRE(c.routes.size() == 5);
  CHECK(to_string(c.routes[0].to) == "10.2.0.0/16");
  CHECK(c.routes[0].group == "cloud");
  CHECK_FALSE(c.routes[0].via);
  CHECK(c.routes[1].tunnel == "west-a");
  CHECK(to_string(c.routes[2].via.value()) == "192.0.2.254");
  CHECK(c.routes[3].blackhole);
  CHECK_FALSE(c.routes[4].blackhole);

  REQUIRE(c.groups.size() == 1);
  CHECK(c.groups[0].name == "cloud");
  REQUIRE(c.groups[0].members.size() == 2);
  CHECK(c.groups[0].members[0].tunnel == "west-b");
  CHECK(c.groups[0].members[1].tunnel == "west-a");
  CHECK(c.groups[0].members[1].weight == 1);
  CHECK(c.groups[0].members[1].priority == 1);
}

TEST_CASE("every key of a tunnel arrives where it belongs") {
  const Configuration c = load(kWhole);
  REQUIRE(c.tunnels.size() == 2);
  const Tunnel& t = c.tunnels[0];
  CHECK(t.name == "west-a");
  CHECK(to_string(t.local) == "192.0.2.1");
  CHECK(to_string(t.remote) == "192.0.2.2");
  CHECK(t.local_id.type == IdentityType::fqdn);
  CHECK(t.remote_id.type == IdentityType::email);
  CHECK(std::string(t.psk.view().begin(), t.psk.view().end()) == "a secret: with # signs");
  REQUIRE(t.ike_proposals.size() == 2);
  CHECK(t.ike_proposals[1].text == "aes128gcm16-prfsha256-x25519");
  REQUIRE(t.esp_proposals.size() == 1);
  CHECK(t.ike_lifetime == seconds(8 * 3600));
  CHECK(t.child_lifetime == seconds(5400));
  CHECK(t.child_bytes == 100'000'000'000);
  CHECK(t.child_packets == 2'000'000'000);
  CHECK(t.tfc_length == 1200);
  CHECK(t.esn == Esn::either);
  CHECK(t.esp_proposals[0].esn == Esn::either);
  CHECK(t.mode == channel::Mode::tunnel);
  CHECK(t.keepalive == seconds(45));
  CHECK(t.outer.dscp == 46);
  CHECK(t.outer.ecn == channel::EcnMode::compatibility);
  CHECK(t.outer.df == channel::DontFragment::copy);
  CHECK(t.replay_window == 4096);
  CHECK(t.dpd_interval == seconds(0));
  REQUIRE(t.local_selectors.size() == 1);
  REQUIRE(t.remote_selectors.size() == 2);
  CHECK(to_string(t.remote_selectors[1]) == "10.3.0.0/16");
  CHECK(t.start == Start::wait);
  CHECK(t.encapsulation == Encapsulation::udp);
  CHECK(t.interface == "vti-a");
  REQUIRE(t.addresses.size() == 1);
  CHECK(t.mtu == 1400);
  CHECK_FALSE(t.clamp_mss);
  CHECK(t.spread);
  CHECK(t.fragmentation == Fragmentation::before);
  using std::chrono::milliseconds;
  REQUIRE((t.bfd && t.probe));
  CHECK(to_string(t.bfd->peer) == "169.254.1.2");
  CHECK(t.bfd->interval == milliseconds(1050));
  CHECK(t.bfd->multiplier == 5);
  CHECK(to_string(t.probe->to) == "10.2.0.9");
  CHECK(t.probe->interval == milliseconds(2000));
  CHECK(t.probe->losses == 4);
  CHECK(t.hold_down.initial == milliseconds(250));
  CHECK(t.hold_down.maximum == milliseconds(60000));
  CHECK(c.tunnels[1].hold_down.initial == milliseconds(0));  // nobody watches it
}

TEST_CASE("what a tunnel does not say has a default") {
  const Configuration c = load(kWhole);
  const Tunnel& t = c.tunnels.at(1);
  CHECK(t.local_id.type == IdentityType::ipv4);
  CHECK(t.local_id.text == "192.0.2.1");
  CHECK(t.local_id.data == std::vector<std::uint8_t>{192, 0, 2, 1});
  CHECK(t.remote_id.text == "192.0.2.3");
  CHECK(t.ike_proposals.front().text == "aes256gcm16-prfsha384-ecp384-x25519-ecp256");
  CHECK(t.esp_proposals.front().suites.front() == crypto::EspSuite::aes256_gcm16);
  CHECK_FALSE(t.esp_proposals.front().groups.empty());
  CHECK(t.esp_proposals.at(1).groups.empty());  // for peers without PFS
  CHECK(t.ike_lifetime == seconds(8 * 3600));
  CHECK(t.child_lifetime == seconds(3600));
  CHECK(t.child_bytes == 0);
  CHECK(t.child_packets == 0);
  CHECK(t.tfc_length == 0);
  CHECK(t.esn == Esn::no);
  CHECK(t.esp_proposals[0].esn == Esn::no);
  CHECK(t.keepalive == seconds(20));
  CHECK_FALSE(t.outer.dscp);
  CHECK(t.outer.ecn == channel::EcnMode::normal);
  CHECK(t.outer.df == channel::DontFragment::clear);
  CHECK(t.replay_window == 1024);
  CHECK(t.dpd_interval == seconds(10));
  REQUIRE(t.local_selectors.size() == 2);
  CHECK(to_string(t.local_selectors[0]) == "0.0.0.0/0");
  CHECK(to_string(t.remote_selectors[1]) == "::/0");
  CHECK(t.start == Start::initiate);
  CHECK(t.encapsulation == Encapsulation::automatic);
  CHECK(t.interface == "west-b");
  CHECK(t.addresses.empty());
  CHECK(t.mtu == 0);
  CHECK(t.clamp_mss);
  CHECK_FALSE(t.spread);
  CHECK(t.fragmentation == Fragmentation::before);
}

TEST_CASE("a tunnel's ends may be IPv6, and in transport mode they are the selectors") {
  const Configuration c = load(R"(
ports: [{name: wan, device: net_null0, addresses: ["2001:db8::1/64"]}]
tunnels:
  - {name: a, local: {address: "2001:db8::1"}, remote: {address: "2001:db8::2"}, psk: s, mode: transport}
)");
  const Tunnel& t = c.tunnels.at(0);
  CHECK(t.local_id.type == IdentityType::ipv6);
  CHECK(t.mode == channel::Mode::transport);
  REQUIRE(t.local_selectors.size() == 1);
  CHECK(to_string(t.local_selectors[0]) == "2001:db8::1/128");
  REQUIRE(t.remote_selectors.size() == 1);
  CHECK(to_string(t.remote_selectors[0]) == "2001:db8::2/128");
}

TEST_CASE("lists whose lines are all commented out are empty, and so are blocks") {
  const Configuration c =
      load("ports:\n  - {name: lan, device: net_null0}\nroutes:\ntunnels:\ngroups: ~\ndataplane:\n");
  CHECK(c.ports.size() == 1);
  CHECK(c.tunnels.empty());
  CHECK(c.dataplane.workers == std::vector<unsigned>{1});
  CHECK(c.name == "espgate");
  CHECK(c.runtime_directory == "/run/espgate");
}

TEST_CASE("JSON is YAML") {
  const Configuration c =
      load(R"({"ports": [{"name": "lan", "device": "net_null0", "addresses": ["10.1.0.1/24"],
    "mtu": 1500}], "tunnels": [{"name": "t", "local": {"address": "10.1.0.1"}, "remote": {"address": "10.1.0.2"},
    "psk": "s", "dpd": 5, "interface": {"clamp-mss": true}}], "groups": []})");
  CHECK(c.tunnels.at(0).dpd_interval == seconds(5));
}

TEST_CASE("an anchor may stand for what several tunnels share") {
  const Configuration c = load(R"(
ports: [{name: wan, device: net_null0, addresses: [192.0.2.1/24]}]
tunnels:
  - {name: a, local: &here {address: 192.0.2.1, id: east}, remote: {address: 192.0.2.2}, psk: s, ike: &ike {lifetime: 2h}}
  - {name: b, local: *here, remote: {address: 192.0.2.3}, psk: s, ike: *ike}
)");
  CHECK(c.tunnels.at(1).ike_lifetime == seconds(7200));
  CHECK(c.tunnels.at(1).local_id.text == "east");
}

TEST_CASE("times") {
  struct Row {
    std::string_view text;
    int seconds;
  };
  static constexpr Row rows[] = {{"90", 90},       {"90s", 90},     {"2m", 120},   {"1h", 3600},
                                 {"1d", 86400},    {"1h30m", 5400}, {"1m30s", 90}, {"1d1h1m1s", 90061},
                                 {"30d", 2592000}, {"\"5\"", 5}};
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(tunnel_with("ike: {lifetime: " + std::string(row.text) + "}").ike_lifetime == seconds(row.seconds));
  }
  for (std::string_view bad : {"1h1h", "1s1m", "h", "1", "1hm", "-5s", "1.5h", "5 s", "5S", "1h30"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(tunnel_with("ike: {lifetime: \"" + std::string(bad) + "\"}"), Error);
  }
}

TEST_CASE("sizes are in powers of 1000, or of 1024 where they say so") {
  struct Row {
    std::string_view text;
    std::uint64_t bytes;
  };
  static constexpr Row rows[] = {{"0", 0},
                                 {"10000", 10000},
                                 {"10k", 10'000},
                                 {"500M", 500'000'000},
                                 {"10G", 10'000'000'000},
                                 {"2T", 2'000'000'000'000},
                                 {"64Ki", 65536},
                                 {"1Mi", 1 << 20},
                                 {"1Gi", 1 << 30},
                                 {"1Ti", 1ULL << 40},
                                 {"18446744073709551615", UINT64_MAX}};
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(tunnel_with("esp: {bytes: " + std::string(row.text) + "}").child_bytes == row.bytes);
  }
  for (std::string_view bad :
       {"1.5G", "10GB", "10K", "G", "-1", "18446744073709551616", "16777216Ti", "10 G"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(tunnel_with("esp: {bytes: " + std::string(bad) + "}"), Error);
  }
}

TEST_CASE("an identity's type is told by its form, or given") {
  struct Row {
    std::string_view text;
    IdentityType type;
    std::vector<std::uint8_t> data;
  };
  const auto bytes = [](std::string_view text) {
    return std::vector<std::uint8_t>(text.begin(), text.end());
  };
  const Row rows[] = {
      {"east.example", IdentityType::fqdn, bytes("east.example")},
      {"east", IdentityType::fqdn, bytes("east")},
      {"10.1.2.3", IdentityType::ipv4, {10, 1, 2, 3}},
      {"\"fd00::1\"", IdentityType::ipv6, {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
      {"ops@west.example", IdentityType::email, bytes("ops@west.example")},
      {"{type: keyid, value: branch 7}", IdentityType::key_id, bytes("branch 7")},
      {"{type: keyid, value: 10.1.2.3}", IdentityType::key_id, bytes("10.1.2.3")},
      {"{type: keyid, value: 0x00fF10}", IdentityType::key_id, {0x00, 0xff, 0x10}},
      {"{type: fqdn, value: 10.1.2.3}", IdentityType::fqdn, bytes("10.1.2.3")},
      {"{type: address, value: 10.1.2.3}", IdentityType::ipv4, {10, 1, 2, 3}},
      {"{type: email, value: ops@west}", IdentityType::email, bytes("ops@west")},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const std::string line = "    remote: {address: 192.0.2.2, id: " + std::string(row.text) + "}";
    const Tunnel tunnel = first_tunnel(tests::with_line(7, line));
    CHECK(tunnel.remote_id.type == row.type);
    CHECK(tunnel.remote_id.data == row.data);
  }
  CHECK_THROWS_AS(first_tunnel(tests::with_line(
                      7, "    remote: {address: 192.0.2.2, id: " + std::string(256, 'x') + "}")),
                  Error);
}

TEST_CASE("how old an authentication may be, how an IKE SA begins, and what its first child has to show") {
  const Tunnel plain = tunnel_with("mode: tunnel");
  CHECK(plain.ike_reauth == seconds(0));
  CHECK(plain.childless == Childless::allow);
  CHECK_FALSE(plain.verify_rekey);
  CHECK(tunnel_with("ike: {reauth: 8h}").ike_reauth == seconds(8 * 3600));
  CHECK(tunnel_with("ike: {reauth: never}").ike_reauth == seconds(0));
  CHECK(tunnel_with("ike: {childless: never}").childless == Childless::never);
  CHECK(tunnel_with("ike: {childless: prefer}").childless == Childless::prefer);
  CHECK(tunnel_with("ike: {childless: require}").childless == Childless::require);
  CHECK(tunnel_with("esp: {verify: true}").verify_rekey);
}

TEST_CASE("what is near a limit and still right is accepted") {
  CHECK_NOTHROW(tunnel_with("esp: {replay-window: 0}"));
  CHECK_NOTHROW(tunnel_with("esp: {replay-window: 64}"));
  CHECK(tunnel_with("esp: {replay-window: 16384}").replay_window == 16384);
  CHECK(tunnel_with("esp: {tfc: mtu}").tfc_length == channel::kTfcToMtu);
  CHECK(tunnel_with("esp: {tfc: 9000}").tfc_length == 9000);
  CHECK(tunnel_with("esp: {packets: 0}").child_packets == 0);
  CHECK(tunnel_with("outer: {dscp: 0}").outer.dscp == 0);
  CHECK_FALSE(tunnel_with("outer: {dscp: copy}").outer.dscp);
  CHECK(tunnel_with("keepalive: 0").keepalive == seconds(0));
  CHECK(tunnel_with("keepalive: 255s").keepalive == seconds(255));
  CHECK_NOTHROW(tunnel_with("ike: {lifetime: 5s}"));
  CHECK_NOTHROW(tunnel_with("dpd: 1h"));
  // Two addresses in one network of one interface; a /31 and a /32; neighbours that touch and do not overlap.
  CHECK_NOTHROW(
      load(tests::with_line(2, "  - {name: lan, device: net_null0, addresses: [10.1.0.1/24, 10.1.0.2/24]}")));
  CHECK_NOTHROW(
      load(tests::with_line(14, "    interface: {name: vti-b, addresses: [169.254.1.4/31, 10.7.7.7/32]}")));
  // The same peer under two identities, and the same identity at two peers.
  CHECK_NOTHROW(load(tests::with_line(12, "    remote: {address: 192.0.2.2, id: west-b.example}")));
  CHECK_NOTHROW(load(tests::with_line(12, "    remote: {address: 192.0.2.3, id: west-a.example}")));
  // A tunnel's interface may not be named as a port; a tunnel and a group may share a name.
  CHECK_NOTHROW(load(
      tests::with_line(16, "  - {name: cloud, tunnels: [west-a]}\n  - {name: west-a, tunnels: [west-b]}")));
}

TEST_CASE("ten thousand tunnels load in a moment") {
  std::string text =
      "dataplane: {max-tunnels: 10000}\nports: [{name: wan, device: net_null0, addresses: "
      "[192.0.0.1/8]}]\ntunnels:\n";
  for (int i = 0; i < 10'000; ++i) {
    const std::string n = std::to_string(i);
    const std::string middle =
        std::to_string(i / 16384) + "." + std::to_string(i / 64 % 256) + "." + std::to_string(i % 64 * 4 + 1);
    text += "  - {name: t" + n + ", local: {address: 192.0.0.1}, remote: {address: 192.1." +
            std::to_string(i / 250) + "." + std::to_string(i % 250 + 1) +
            "}, psk: s, interface: {addresses: [10." + middle + "/30]}}\n";
  }
  CHECK(load(text).tunnels.size() == 10'000);
}

TEST_CASE("members of a group: tunnels and gateways, with weights and priorities") {
  const Configuration c = load(tests::with_line(16,
                                                "  - {name: cloud, members: [{tunnel: west-b, weight: 3}, "
                                                "{via: 192.0.2.9, priority: 2, weight: 256}]}"));
  REQUIRE(c.groups.size() == 1);
  REQUIRE(c.groups[0].members.size() == 2);
  const GroupMember& tunnel = c.groups[0].members[0];
  CHECK(tunnel.tunnel == "west-b");
  CHECK_FALSE(tunnel.via);
  CHECK(tunnel.weight == 3);
  CHECK(tunnel.priority == 1);
  const GroupMember& gateway = c.groups[0].members[1];
  CHECK(to_string(gateway.via.value()) == "192.0.2.9");
  CHECK(gateway.weight == 256);
  CHECK(gateway.priority == 2);
}
