// Every error that a file can have, with its exact place and words. Each row changes one line of the base.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>

#include "tests/conf/base.hpp"

using namespace espgate::conf;
using espgate::conf::tests::words_of;

namespace {

struct Row {
  int line;
  std::string text;  // what stands there instead; line 20 is behind the end
  std::string_view expected;
};

// Line 3 as it is, for what is to stand on line 4.
const std::string kWan = "  - {name: wan, device: \"af_packet:wan\", addresses: [192.0.2.1/24]}\n";

template <std::size_t N>
void check(const Row (&rows)[N]) {
  for (const Row& row : rows) {
    CAPTURE(row.line, row.text);
    CHECK(words_of(tests::with_line(row.line, row.text)) == row.expected);
  }
}

}  // namespace

TEST_CASE("the base itself is good") { CHECK(words_of(std::string(tests::kBase)) == "accepted"); }

TEST_CASE("errors at the top of the file") {
  check({
      {20, "nmae: east",
       "gw.yaml:20:1: unknown key \"nmae\"; expected one of: name, runtime-directory, state-directory, user, "
       "dataplane, tables, loopbacks, ports, "
       "routes, tunnels, groups (did you mean \"name\"?)"},
      {20, "colour: green",
       "gw.yaml:20:1: unknown key \"colour\"; expected one of: name, runtime-directory, state-directory, "
       "user, "
       "dataplane, tables, loopbacks, ports, "
       "routes, tunnels, groups"},
      {20, "name: east\nname: west", "gw.yaml:21:1: key \"name\" stands here twice; first on line 20"},
      {20, "name: two words",
       "gw.yaml:20:7: name: expected a name of 1 to 31 letters, digits, '-', '_' or '.', not \"two words\""},
      {20, "name: \"\"",
       "gw.yaml:20:7: name: expected a name of 1 to 31 letters, digits, '-', '_' or '.', not \"\""},
      {20, "name: [east]",
       "gw.yaml:20:7: name: expected a name of 1 to 31 letters, digits, '-', '_' or '.', not a list of 1"},
      {20, "runtime-directory: run",
       "gw.yaml:20:20: runtime-directory: expected an absolute path of at most 80 characters, not \"run\""},
      {20, "[1, 2]: x",
       "gw.yaml:20:1: a key can't be a list, a block or nothing; expected one of: name, runtime-directory, "
       "state-directory, user, "
       "dataplane, tables, loopbacks, ports, routes, tunnels, groups"},
      {1, "port:",
       "gw.yaml:1:1: unknown key \"port\"; expected one of: name, runtime-directory, state-directory, user, "
       "dataplane, tables, loopbacks, ports, "
       "routes, tunnels, groups (did you mean \"ports\"?)\ngw.yaml:1:1: file: the key \"ports\" is "
       "missing\ngw.yaml:6:22: address: 192.0.2.1 is on no port or loopback; the IPv4 addresses there are: "
       "none\ngw.yaml:11:22: address: 192.0.2.1 is on no port or loopback; the IPv4 addresses there are: "
       "none\ngw.yaml:19:26: via: 192.0.2.254 lies on no port's network; expected an address next to one of "
       "the ports' addresses"},
      {20, "dataplane:\n  workers: []",
       "gw.yaml:21:12: workers: expected the CPU of at least one worker, such as [1], not an empty list"},
  });
}

TEST_CASE("errors of the dataplane block") {
  check({
      {20, "dataplane: busy", "gw.yaml:20:12: dataplane: expected a block of keys, not \"busy\""},
      {20, "dataplane: {workers: []}",
       "gw.yaml:20:22: workers: expected the CPU of at least one worker, such as [1], not an empty list"},
      {20, "dataplane: {workers: 1}", "gw.yaml:20:22: workers: expected a list, not \"1\""},
      {20, "dataplane: {workers: [1, -1]}",
       "gw.yaml:20:26: workers: expected a number from 0 to 1023, not \"-1\""},
      {20, "dataplane: {workers: [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}",
       "gw.yaml:20:22: workers: expected a list of at most 16 entries, not a list of 17"},
      {20, "dataplane: {idle: lazy}", "gw.yaml:20:19: idle: expected adaptive or busy, not \"lazy\""},
      {20, "dataplane: {hugepages: yes}",
       "gw.yaml:20:24: hugepages: expected auto or never or require, not \"yes\""},
      {20, "dataplane: {memory: 64, packet-buffers: 1e6, max-tunnels: 0, max-routes: 99999999}",
       "gw.yaml:20:21: memory: expected a number from 128 to 1048576, not \"64\"\ngw.yaml:20:41: "
       "packet-buffers: expected a number from 2048 to 16777216, not \"1e6\"\ngw.yaml:20:59: max-tunnels: "
       "expected a number from 1 to 131072, not \"0\"\ngw.yaml:20:74: max-routes: expected a number from 16 "
       "to 16777216, not \"99999999\""},
      {20, "dataplane: {main-cpu: 1.5}",
       "gw.yaml:20:23: main-cpu: expected a number from 0 to 1023, not \"1.5\""},
      {20, "dataplane: {max-tunnels: 1}",
       "gw.yaml:5:3: tunnels: expected at most 1 (dataplane's max-tunnels), not 2"},
      {20, "dataplane: {work-ers: [1]}",
       "gw.yaml:20:13: unknown key \"work-ers\"; expected one of: workers, main-cpu, idle, hugepages, "
       "memory, packet-buffers, max-tunnels, max-routes, ipv6-blocks, crypto-devices (did you mean "
       "\"workers\"?)"},
  });
}

TEST_CASE("errors of crypto devices") {
  check({
      {20, "dataplane: {crypto-devices: crypto_openssl0}",
       "gw.yaml:20:29: crypto-devices: expected a list, not \"crypto_openssl0\""},
      {20, "dataplane: {crypto-devices: [net_ring0]}",
       "gw.yaml:20:30: device: \"net_ring0\" is no crypto device; expected a PCI address (0000:01:00.0) or "
       "DPDK's own devargs (crypto_...)"},
      {20, "dataplane: {crypto-devices: [{device: crypto_}]}",
       "gw.yaml:20:39: device: \"crypto_\" is no crypto device; expected a PCI address (0000:01:00.0) or "
       "DPDK's own devargs (crypto_...)"},
      {20, "dataplane: {crypto-devices: [{suites: [aes128gcm16]}]}",
       "gw.yaml:20:30: crypto-devices: the key \"device\" is missing"},
      {20, "dataplane: {crypto-devices: [{device: crypto_openssl0, suites: [aes128gcm16, des]}]}",
       "gw.yaml:20:78: suites: expected an ESP suite, such as aes256gcm16 or aes256-sha256, not \"des\""},
      {20,
       "dataplane: {crypto-devices: [\"0000:3d:01.0\", crypto_openssl0, \"crypto_openssl0,socket_id=0\"]}",
       "gw.yaml:20:63: crypto-devices: the device of line 20 again"},
  });
}

TEST_CASE("errors of ports") {
  check({
      {2, "  - {name: lan, adress: 10.1.0.1/24, device: \"af_packet:lan\"}",
       "gw.yaml:2:17: unknown key \"adress\"; expected one of: name, device, parent, vlan, addresses, table, "
       "encrypted-only, mtu, "
       "offload, kernel "
       "(did you "
       "mean \"addresses\"?)"},
      {2, "  - {device: \"af_packet:lan\"}", "gw.yaml:2:5: port: the key \"name\" is missing"},
      {2, "  - {name: lan}", "gw.yaml:2:5: port: the key \"device\" or \"parent\" is missing"},
      {3, kWan + "  - {name: v, device: \"af_packet:v\", parent: lan, vlan: 1}",
       "gw.yaml:4:5: port: expected a device, or a parent and a vlan, not both"},
      {3, kWan + "  - {name: v, device: \"af_packet:v\", vlan: 1}",
       "gw.yaml:4:5: port: a vlan needs a parent"},
      {3, kWan + "  - {name: v, parent: lan}",
       "gw.yaml:4:5: port: the key \"vlan\" is missing, for the parent's frames"},
      {3, kWan + "  - {name: v, parent: lan, vlan: 0}",
       "gw.yaml:4:34: vlan: expected a number from 1 to 4094, not \"0\""},
      {3, kWan + "  - {name: v, parent: lan, vlan: 4095}",
       "gw.yaml:4:34: vlan: expected a number from 1 to 4094, not \"4095\""},
      {3, kWan + "  - {name: v, parent: wam, vlan: 7}",
       "gw.yaml:4:23: no port is named \"wam\"; did you mean \"wan\"?"},
      {3, kWan + "  - {name: v, parent: lan, vlan: 7, mtu: 1600}",
       "gw.yaml:4:42: mtu: expected at most 1500, which is \"lan\"'s"},
      {3, kWan + "  - {name: v, parent: lan, vlan: 7}\n  - {name: w, parent: lan, vlan: 7}",
       "gw.yaml:5:34: vlan: 7 of \"lan\" is another port's already, on line 4"},
      {3, kWan + "  - {name: v, parent: lan, vlan: 7}\n  - {name: w, parent: v, vlan: 8}",
       "gw.yaml:5:23: \"v\" is a sub-interface itself; a frame has one VLAN tag"},
      {3, kWan + "  - {name: v, parent: v, vlan: 7}",
       "gw.yaml:4:23: \"v\" is a sub-interface itself; a frame has one VLAN tag"},
      {2, "  - lan", "gw.yaml:2:5: port: expected a block of keys, not \"lan\""},
      {2, "  - {name: a-name-of-thirty-two-characters-x, device: \"af_packet:lan\"}",
       "gw.yaml:2:12: name: expected a name of 1 to 31 letters, digits, '-', '_' or '.', not "
       "\"a-name-of-thirty-two-characters-x\""},
      {2, "  - {name: lan, device: eth0}",
       "gw.yaml:2:25: device: \"eth0\" is no device; expected a PCI address (0000:01:00.0), af_packet:IF, "
       "af_xdp:IF, tap:NAME, memif:SOCKET,... or DPDK's own devargs (net_...)"},
      {2, "  - {name: lan, device: \"af_packet:wan\"}",
       "gw.yaml:3:25: device \"af_packet:wan\" is another port's already, on line 2"},
      {2, "  - {name: lan, device: \"af_packet:an-interface-name\"}",
       "gw.yaml:2:25: device: \"an-interface-name\" is no interface name; expected 1 to 15 characters "
       "without '/'"},
      {2, "  - {name: lan, device: \"af_xdp:lan\", offload: yes}",
       "gw.yaml:2:48: offload: expected auto or never or require, not \"yes\""},
      {2, "  - {name: lan, device: \"af_xdp:lan\", mtu: 9000}",
       "gw.yaml:2:25: device: af_xdp carries no frames larger than an MTU of 1500; expected such an mtu, or "
       "af_packet"},
      {2, "  - {name: lan, device: \"af_packet:lan\", mtu: 575}",
       "gw.yaml:2:47: mtu: expected a number from 576 to 9000, not \"575\""},
      {2, "  - {name: lan, device: \"af_packet:lan\", mtu: 9001}",
       "gw.yaml:2:47: mtu: expected a number from 576 to 9000, not \"9001\""},
      {2, "  - {name: lan, device: \"af_packet:lan\", mtu: 1279, addresses: [\"fd00:1::1/64\"]}",
       "gw.yaml:2:47: mtu: expected at least 1280, since there is an IPv6 address"},
      {2, "  - {name: lan, device: \"af_packet:lan\", addresses: [10.1.0.1]}",
       "gw.yaml:2:54: addresses: expected an address with its network's length, such as 10.1.0.1/24, not "
       "\"10.1.0.1\""},
      {2, "  - {name: lan, device: \"af_packet:lan\", addresses: [10.1.0.300/24]}",
       "gw.yaml:2:54: addresses: expected an address with its network's length, such as 10.1.0.1/24, not "
       "\"10.1.0.300/24\""},
      {2, "  - {name: lan, device: \"af_packet:lan\", addresses: [10.1.0.0/24]}",
       "gw.yaml:2:54: addresses: expected an address that a host may have in its network, not "
       "\"10.1.0.0/24\""},
      {2, "  - {name: lan, device: \"af_packet:lan\", addresses: [127.0.0.1/8]}",
       "gw.yaml:2:54: addresses: expected an address that a host may have in its network, not "
       "\"127.0.0.1/8\""},
      {2, "  - {name: lan, device: \"af_packet:lan\", addresses: 10.1.0.1/24}",
       "gw.yaml:2:53: addresses: expected a list, not \"10.1.0.1/24\""},
      {2, "  - {name: lan, device: \"af_packet:lan\", addresses: [10.1.0.1/24, 10.1.0.1/24]}",
       "gw.yaml:2:67: 10.1.0.1/24 is the same address as 10.1.0.1/24 of \"lan\" on line 2"},
      {2, "  - {name: wan, device: \"af_packet:lan\", addresses: [10.1.0.1/24]}",
       "gw.yaml:3:12: a second interface is named \"wan\"; the first is on line 2"},
      {2, "  - {name: lan, device: \"af_packet:lan\", addresses: [192.0.2.129/25]}",
       "gw.yaml:3:54: 192.0.2.1/24 overlaps 192.0.2.129/25 of \"lan\" on line 2"},
      {2, "  - {name: lan, device: \"af_packet:lan\", addresses: [192.0.2.1/32]}",
       "gw.yaml:3:54: 192.0.2.1/24 is the same address as 192.0.2.1/32 of \"lan\" on line 2"},
  });
}

TEST_CASE("errors of routes") {
  check({
      {18, "  - {to: 10.2.0.0/16, group: clout}",
       "gw.yaml:18:30: no group is named \"clout\"; did you mean \"cloud\"?"},
      {18, "  - {to: 10.2.0.0/16, tunnel: west-c}",
       "gw.yaml:18:31: no tunnel is named \"west-c\"; did you mean \"west-a\"?"},
      {18, "  - {to: 10.2.0.0/16}",
       "gw.yaml:18:5: route: expected exactly one of: via, tunnel, group, blackhole"},
      {18, "  - {to: 10.2.0.0/16, group: cloud, tunnel: west-a}",
       "gw.yaml:18:5: route: expected exactly one of: via, tunnel, group, blackhole"},
      {18, "  - {to: 10.2.0.0/16, group: cloud, blackhole: true}",
       "gw.yaml:18:5: route: expected exactly one of: via, tunnel, group, blackhole"},
      {18, "  - {to: 10.2.0.0/16, blackhole: false}",
       "gw.yaml:18:5: route: expected exactly one of: via, tunnel, group, blackhole"},
      {18, "  - {to: 10.2.0.0/16, blackhole: maybe}",
       "gw.yaml:18:5: route: expected exactly one of: via, tunnel, group, blackhole\ngw.yaml:18:34: "
       "blackhole: expected true or false, not \"maybe\""},
      {18, "  - {to: 10.2.0.1/16, group: cloud}",
       "gw.yaml:18:10: to: expected a network (10.2.0.0/16, without host bits), not \"10.2.0.1/16\""},
      {18, "  - {to: 10.2/16, group: cloud}",
       "gw.yaml:18:10: to: expected a network such as 10.2.0.0/16 or fd00:2::/64, not \"10.2/16\""},
      {18, "  - {group: cloud}", "gw.yaml:18:5: route: the key \"to\" is missing"},
      {18, "  - {to: 0.0.0.0/0, group: cloud}",
       "gw.yaml:19:10: to: 0.0.0.0/0 is a route's destination already, on line 18"},
      {18, "  - {to: 10.1.0.0/24, group: cloud}",
       "gw.yaml:18:10: to: 10.1.0.0/24 is the network of 10.1.0.1/24 of \"lan\" on line 2"},
      {19, "  - {to: 0.0.0.0/0, via: 198.51.100.1}",
       "gw.yaml:19:26: via: 198.51.100.1 lies on no port's network; expected an address next to one of the "
       "ports' addresses"},
      {19, "  - {to: 0.0.0.0/0, via: 192.0.2.1}",
       "gw.yaml:19:26: via: 192.0.2.1 is this gateway's own address"},
      {19, "  - {to: 0.0.0.0/0, via: 169.254.1.2}",
       "gw.yaml:19:26: via: 169.254.1.2 lies on no port's network; expected an address next to one of the "
       "ports' addresses"},
      {19, "  - {to: \"::/0\", via: 192.0.2.254}",
       "gw.yaml:19:23: via: 192.0.2.254 is of another family than ::/0"},
      {19, "  - {to: 0.0.0.0/0, via: gateway}",
       "gw.yaml:19:26: via: expected the address of a host, such as 192.0.2.1, not \"gateway\""},
      {19, "  - {to: 0.0.0.0/0, via: 0.0.0.0}",
       "gw.yaml:19:26: via: expected the address of a host, such as 192.0.2.1, not \"0.0.0.0\""},
  });
}

TEST_CASE("errors of groups") {
  std::string many = "[t0";
  for (int i = 1; i < 65; ++i) many += fmt::format(",t{}", i);
  many += "]";
  check({
      {16, "  - {name: cloud, tunnels: [west-a, west-x]}",
       "gw.yaml:16:37: no tunnel is named \"west-x\"; did you mean \"west-a\"?"},
      {16, "  - {name: cloud, tunnels: [west-a, west-a]}",
       "gw.yaml:16:37: tunnel \"west-a\" is in the group already"},
      {16, "  - {name: cloud, tunnels: []}", "gw.yaml:16:28: tunnels: expected at least one tunnel"},
      {16, "  - {name: cloud}", "gw.yaml:16:5: group: expected exactly one of: tunnels, members"},
      {16, "  - {name: cloud, tunnels: [west-a], members: [{tunnel: west-b}]}",
       "gw.yaml:16:5: group: expected exactly one of: tunnels, members"},
      {16, "  - {name: cloud, members: []}", "gw.yaml:16:28: members: expected at least one"},
      {16, "  - {name: cloud, members: [{weight: 2}]}",
       "gw.yaml:16:29: member: expected exactly one of: tunnel, via"},
      {16, "  - {name: cloud, members: [{tunnel: west-a, via: 192.0.2.9}]}",
       "gw.yaml:16:29: member: expected exactly one of: tunnel, via"},
      {16, "  - {name: cloud, members: [{tunnel: west-x}]}",
       "gw.yaml:16:38: no tunnel is named \"west-x\"; did you mean \"west-a\"?"},
      {16, "  - {name: cloud, members: [{tunnel: west-a}, {tunnel: west-a, weight: 2}]}",
       "gw.yaml:16:56: tunnel \"west-a\" is in the group already"},
      {16, "  - {name: cloud, members: [{via: 192.0.2.9}, {via: 192.0.2.9}]}",
       "gw.yaml:16:53: gateway \"192.0.2.9\" is in the group already"},
      {16, "  - {name: cloud, members: [{tunnel: west-a, weight: 0}]}",
       "gw.yaml:16:54: weight: expected a number from 1 to 256, not \"0\""},
      {16, "  - {name: cloud, members: [{tunnel: west-a, priority: 256}]}",
       "gw.yaml:16:56: priority: expected a number from 1 to 255, not \"256\""},
      {16, "  - {name: cloud, members: [{via: 203.0.113.9}]}",
       "gw.yaml:16:35: via: 203.0.113.9 lies on no port's network; expected an address next to one of the "
       "ports' "
       "addresses"},
      {16, "  - {name: cloud, tunnels: " + many + "}",
       "gw.yaml:16:28: tunnels: expected a list of at most 64 entries, not a list of 65"},
      {16, "  - {name: cloud, tunnels: [west-a]}\n  - {name: cloud, tunnels: [west-b]}",
       "gw.yaml:17:12: a second group is named \"cloud\"; the first is on line 16"},
  });
}

TEST_CASE("errors of tunnels") {
  check({
      {10, "  - name: west-a",
       "gw.yaml:10:11: a second tunnel is named \"west-a\"; the first is on line 5\ngw.yaml:16:37: no tunnel "
       "is named \"west-b\"; did you mean \"west-a\"?"},
      {14, "    interface: {name: vti-a, addresses: [169.254.2.1/30]}",
       "gw.yaml:14:23: a second interface is named \"vti-a\"; the first is on line 9"},
      {14, "    interface: {name: lan, addresses: [169.254.2.1/30]}",
       "gw.yaml:14:23: a second interface is named \"lan\"; the first is on line 2"},
      {14, "    interface: {name: vti-b, addresses: [169.254.1.2/30]}",
       "gw.yaml:14:42: 169.254.1.2/30 overlaps 169.254.1.1/30 of \"vti-a\" on line 9"},
      {14, "    interface: {name: vti-b, addresses: [169.254.1.5/29]}",
       "gw.yaml:14:42: 169.254.1.5/29 overlaps 169.254.1.1/30 of \"vti-a\" on line 9"},
      {14, "    interface: {name: vti-b, mtu: 500}",
       "gw.yaml:14:35: mtu: expected a number from 576 to 9000, not \"500\""},
      {14, "    interface: {name: vti-b, mtu: 1000, addresses: [\"fd00:9::1/64\"]}",
       "gw.yaml:14:35: mtu: expected at least 1280, since there is an IPv6 address"},
      {14, "    interface: {name: vti-b, clamp-mss: on}",
       "gw.yaml:14:41: clamp-mss: expected true or false, not \"on\""},
      {14,
       "    interface: {name: vti-b, addresses: [10.9.0.1/30, 10.9.1.1/30, 10.9.2.1/30, 10.9.3.1/30, "
       "10.9.4.1/30]}",
       "gw.yaml:14:41: addresses: expected a list of at most 4 entries, not a list of 5"},
      {14, "    interface: vti-b", "gw.yaml:14:16: interface: expected a block of keys, not \"vti-b\""},
      {12, "    remote: {address: 192.0.2.2, id: west-a.example}",
       "gw.yaml:10:5: tunnel: same local address, remote address and remote id as \"west-a\" on line 5"},
      {12, "    remote: {address: 192.0.2.1, id: west-b.example}",
       "gw.yaml:12:23: address: 192.0.2.1 is this gateway's own"},
      {12, "    remote: {address: \"2001:db8::1\", id: west-b.example}",
       "gw.yaml:12:23: address: 2001:db8::1 is of another family than the local address 192.0.2.1"},
      {12, "    remote: {address: \"fe80::1\", id: west-b.example}",
       "gw.yaml:12:23: address: expected an address that is not of one link alone, not \"fe80::1\""},
      {11, "    local: {address: \"fd00:1::9\", id: east.example}",
       "gw.yaml:11:22: address: fd00:1::9 is on no port or loopback; the IPv6 addresses there are: "
       "fd00:1::1\ngw.yaml:12:23: address: 192.0.2.3 is of another family than the local address fd00:1::9"},
      {12, "    remote: {address: west.example, id: west-b.example}",
       "gw.yaml:12:23: address: expected the address of a host, such as 192.0.2.1, not \"west.example\""},
      {12, "    remote: {id: west-b.example}", "gw.yaml:12:13: remote: the key \"address\" is missing"},
      {12, "    remote:", "gw.yaml:12:5: remote: the key \"address\" is missing"},
      {12, "", "gw.yaml:10:5: tunnel: the key \"remote\" is missing"},
      {12, "    remote: {address: 192.0.2.3, id: \"@west-b.example\"}",
       "gw.yaml:12:38: id: expected an identity; a domain name is written without the leading @, not "
       "\"@west-b.example\""},
      {12, "    remote: {address: 192.0.2.3, id: 10.0.0.256}",
       "gw.yaml:12:38: id: expected an identity; this looks like an address, but is none, not "
       "\"10.0.0.256\""},
      {12, "    remote: {address: 192.0.2.3, id: \"fd00::x\"}",
       "gw.yaml:12:38: id: expected an identity; this looks like an address, but is none, not \"fd00::x\""},
      {12, "    remote: {address: 192.0.2.3, id: \"ops@\"}",
       "gw.yaml:12:38: id: expected an email address such as ops@example, not \"ops@\""},
      {12, "    remote: {address: 192.0.2.3, id: \"west b\"}",
       "gw.yaml:12:38: id: expected a domain name such as east.example, not \"west b\""},
      {12, "    remote: {address: 192.0.2.3, id: {type: name, value: CN=west}}",
       "gw.yaml:12:45: type: expected address or fqdn or email or dn or keyid, not \"name\""},
      {12, "    remote: {address: 192.0.2.3, id: {type: keyid, value: 0x123}}",
       "gw.yaml:12:59: value: expected an even number of hex digits behind 0x, not \"0x123\""},
      {12, "    remote: {address: 192.0.2.3, id: {type: keyid}}",
       "gw.yaml:12:38: id: the key \"value\" is missing"},
      {11, "    local: {address: 192.0.2.9, id: east.example}",
       "gw.yaml:11:22: address: 192.0.2.9 is on no port or loopback; the IPv4 addresses there are: 10.1.0.1, "
       "192.0.2.1"},
      {11, "    local: {address: 192.0.2.1, identity: east.example}",
       "gw.yaml:11:33: unknown key \"identity\"; expected one of: address, id, auth, certificate, key, "
       "pkcs12, "
       "password-file, rsa-pss, ocsp-response"},
      {13, "",
       "gw.yaml:10:5: tunnel: no secret; expected psk, psk-file or manual, or certificates or keys of both "
       "sides"},
      {13, "    psk: secret\n    psk-file: west-b.psk",
       "gw.yaml:10:5: tunnel: two secrets; expected either psk or psk-file\ngw.yaml:14:15: psk-file: "
       "\"west-b.psk\" can't be read: No such file or directory"},
      {13, "    psk: \"\"", "gw.yaml:13:10: psk: expected text, the pre-shared key"},
      {13, "    psk:", "gw.yaml:13:5: psk: expected text, the pre-shared key"},
      {13, "    psk: [secret]", "gw.yaml:13:10: psk: expected text, the pre-shared key"},
      {13, "    psk-file: /nonexistent/west-b.psk",
       "gw.yaml:13:15: psk-file: \"/nonexistent/west-b.psk\" can't be read: No such file or directory"},
      {13, "    psk: secret\n    dpd: 2h",
       "gw.yaml:14:10: dpd: expected a time from 0s to 1h, such as 90s or 1h30m, not \"2h\""},
      {13, "    psk: secret\n    dpd: soon",
       "gw.yaml:14:10: dpd: expected a time from 0s to 1h, such as 90s or 1h30m, not \"soon\""},
      {13, "    psk: secret\n    start: now", "gw.yaml:14:12: start: expected initiate or wait, not \"now\""},
      {13, "    psk: secret\n    encapsulation: tcp",
       "gw.yaml:14:20: encapsulation: expected auto or udp, not \"tcp\""},
      {13, "    psk: secret\n    ike: {lifetime: 4s}",
       "gw.yaml:14:21: lifetime: expected a time from 5s to 30d, such as 90s or 1h30m, not \"4s\""},
      {13, "    psk: secret\n    ike: {reauth: 4s}",
       "gw.yaml:14:19: reauth: expected a time from 5s to 30d, such as 90s or 1h30m, not \"4s\""},
      {13, "    psk: secret\n    ike: {childless: maybe}",
       "gw.yaml:14:22: childless: expected never or allow or prefer or require, not \"maybe\""},
      {13, "    psk: secret\n    ike: {lifetime: 1m1h}",
       "gw.yaml:14:21: lifetime: expected a time from 5s to 30d, such as 90s or 1h30m, not \"1m1h\""},
      {13, "    psk: secret\n    ike: {lifetime: 31d}",
       "gw.yaml:14:21: lifetime: expected a time from 5s to 30d, such as 90s or 1h30m, not \"31d\""},
      {13, "    psk: secret\n    esp: {lifetime: 99999999999999999999h}",
       "gw.yaml:14:21: lifetime: expected a time from 5s to 30d, such as 90s or 1h30m, not "
       "\"99999999999999999999h\""},
      {13, "    psk: secret\n    esp: {bytes: 10GB}",
       "gw.yaml:14:18: bytes: expected a number of bytes of at least 10000, such as 500M or 10G, not "
       "\"10GB\""},
      {13, "    psk: secret\n    esp: {bytes: 9k}",
       "gw.yaml:14:18: bytes: expected a number of bytes of at least 10000, such as 500M or 10G, not \"9k\""},
      {13, "    psk: secret\n    esp: {bytes: 99999999T}",
       "gw.yaml:14:18: bytes: expected a number of bytes of at least 10000, such as 500M or 10G, not "
       "\"99999999T\""},
      {13, "    psk: secret\n    esp: {replay-window: 1000}",
       "gw.yaml:14:26: replay-window: expected 0 (no replay check) or one of 64, 128, 256, 512, 1024, 2048, "
       "4096, 8192, 16384 packets, not \"1000\""},
      {13, "    psk: secret\n    esp: {replay-window: 32768}",
       "gw.yaml:14:26: replay-window: expected 0 (no replay check) or one of 64, 128, 256, 512, 1024, 2048, "
       "4096, 8192, 16384 packets, not \"32768\""},
      {13, "    psk: secret\n    esp: {packets: 999}",
       "gw.yaml:14:20: packets: expected a number of packets of at least 1000, such as 500M or 10G, not "
       "\"999\""},
      {13, "    psk: secret\n    esp: {esn: maybe}",
       "gw.yaml:14:16: esn: expected no or yes or either, not \"maybe\""},
      {13, "    psk: secret\n    esp: {esn: either, replay-window: 0}",
       "gw.yaml:14:16: esn: extended sequence numbers need the replay check; expected a replay-window other "
       "than 0"},
      {13, "    psk: secret\n    esp: {tfc: 63}",
       "gw.yaml:14:16: tfc: expected mtu, 0 (no padding) or a number of bytes from 64 to 9000, not \"63\""},
      {13, "    psk: secret\n    esp: {tfc: full}",
       "gw.yaml:14:16: tfc: expected mtu, 0 (no padding) or a number of bytes from 64 to 9000, not "
       "\"full\""},
      {13, "    psk: secret\n    esp: {tfc: [mtu]}",
       "gw.yaml:14:16: tfc: expected mtu, 0 (no padding) or a number of bytes from 64 to 9000, not a list of "
       "1"},
      {13, "    psk: secret\n    keepalive: 256s",
       "gw.yaml:14:16: keepalive: expected a time from 0s to 255s, such as 90s or 1h30m, not \"256s\""},
      {13, "    psk: secret\n    dpd: 1s500ms",
       "gw.yaml:14:10: dpd: expected a time from 0s to 1h, such as 90s or 1h30m, not \"1s500ms\""},
      {13, "    psk: secret\n    bfd: {}", "gw.yaml:14:10: bfd: the key \"peer\" is missing"},
      {13, "    psk: secret\n    bfd: {peer: fd00::6}",
       "gw.yaml:14:17: peer: packets to fd00::6 need an address of the interface as their source; "
       "expected "
       "one of that family in interface.addresses"},
      {13, "    psk: secret\n    bfd: {peer: 169.254.2.1}",
       "gw.yaml:14:17: peer: 169.254.2.1 is the interface's own address; expected the far end's"},
      {13, "    psk: secret\n    bfd: {peer: 169.254.2.2, interval: 49ms}",
       "gw.yaml:14:40: interval: expected a time from 50ms to 10s, such as 250ms or 2s, not \"49ms\""},
      {13, "    psk: secret\n    bfd: {peer: 169.254.2.2, multiplier: 1}",
       "gw.yaml:14:42: multiplier: expected a number from 2 to 50, not \"1\""},
      {13, "    psk: secret\n    probe: {to: fd00::6}",
       "gw.yaml:14:17: to: packets to fd00::6 need an address of the interface as their source; expected "
       "one of that family in interface.addresses"},
      {13,
       "    psk: secret\n    probe: {to: 169.254.2.2, losses: "
       "0}",
       "gw.yaml:14:38: losses: expected a number from 1 to 50, not \"0\""},
      {13,
       "    psk: secret\n    probe: {to: 169.254.2.2}\n    "
       "hold-down: {initial: 1m}",
       "gw.yaml:15:16: hold-down: expected a maximum that is not less than initial"},
      {13, "    psk: secret\n    outer: {dscp: 64}",
       "gw.yaml:14:19: dscp: expected copy or a number from 0 to 63, not \"64\""},
      {13, "    psk: secret\n    outer: {dscp: ef}",
       "gw.yaml:14:19: dscp: expected copy or a number from 0 to 63, not \"ef\""},
      {13, "    psk: secret\n    outer: {ecn: full}",
       "gw.yaml:14:18: ecn: expected normal or compatibility, not \"full\""},
      {13, "    psk: secret\n    outer: {df: true}",
       "gw.yaml:14:17: df: expected clear or set or copy, not \"true\""},
      {13, "    psk: secret\n    outer: {tos: 3}",
       "gw.yaml:14:13: unknown key \"tos\"; expected one of: dscp, ecn, df"},
      {13, "    psk: secret\n    ike: {proposals: aes256-sha384-ecp384}",
       "gw.yaml:14:22: proposals: expected a list of at least one proposal, such as [aes256-sha384-ecp384], "
       "not \"aes256-sha384-ecp384\""},
      {13, "    psk: secret\n    ike: {proposals: []}",
       "gw.yaml:14:22: proposals: expected a list of at least one proposal, such as [aes256-sha384-ecp384], "
       "not an empty list"},
      {13, "    psk: secret\n    ike: {proposals: [aes256-sha384-ecp384, aes256]}",
       "gw.yaml:14:45: \"aes256\": no integrity algorithm; expected one of: sha1 sha256 sha384 sha512"},
      {13, "    psk: secret\n    esp: {proposals: [aes256gcm16-sha256]}",
       "gw.yaml:14:23: \"aes256gcm16-sha256\": an AEAD cipher takes no integrity algorithm"},
      {13, "    psk: secret\n    selectors: {local: [10.1.0.0/24], remote: [\"fd00:2::/64\"]}",
       "gw.yaml:14:16: selectors: expected local and remote networks of the same family\n"
       "gw.yaml:19:10: to: 10.2.0.0/16 is nothing that tunnel \"west-b\" may carry; its remote selectors "
       "are: "
       "fd00:2::/64"},
      {13, "    psk: secret\n    selectors: {local: [10.1.0.1/24]}",
       "gw.yaml:14:25: local: expected a network (10.1.0.0/24, without host bits), not \"10.1.0.1/24\""},
      {13, "    psk: secret\n    selectors: {local: []}",
       "gw.yaml:14:24: local: expected a list of at least one network, not an empty list"},
      {13,
       "    psk: secret\n    selectors: {local: [10.0.0.0/24, 10.0.1.0/24, 10.0.2.0/24, 10.0.3.0/24, "
       "10.0.4.0/24, 10.0.5.0/24, 10.0.6.0/24, 10.0.7.0/24, 10.0.8.0/24]}",
       "gw.yaml:14:24: local: expected a list of at most 8 entries, not a list of 9"},
      {13, "    psk: secret\n    mobike: true",
       "gw.yaml:14:5: unknown key \"mobike\"; expected one of: name, profile, legacy, table, parent, local, "
       "remote, "
       "peers, psks-file, psk, psk-file, ppks, ppk-use, "
       "mode, "
       "manual, "
       "ike, esp, "
       "selectors, dpd, start, encapsulation, keepalive, outer, fragmentation, spread, interface, bfd, "
       "probe, hold-down"},
      {13, "    psk: secret\n    interfce: {name: x}",
       "gw.yaml:14:5: unknown key \"interfce\"; expected one of: name, profile, legacy, table, parent, "
       "local, "
       "remote, peers, psks-file, psk, psk-file, ppks, ppk-use, "
       "mode, "
       "manual, "
       "ike, "
       "esp, selectors, dpd, start, encapsulation, keepalive, outer, fragmentation, spread, interface, bfd, "
       "probe, hold-down (did "
       "you mean "
       "\"interface\"?)"},
      {7, "    remote: {adress: 192.0.2.2}",
       "gw.yaml:7:13: remote: the key \"address\" is missing\ngw.yaml:7:14: unknown key \"adress\"; expected "
       "one of: address, id, auth, authorities, crl, ocsp, public-key (did you mean \"address\"?)"},
      {13, "    psk: secret\n    psk-file: \"\"",
       "gw.yaml:10:5: tunnel: two secrets; expected either psk or psk-file\ngw.yaml:14:15: psk-file: "
       "expected text, not \"\""},
  });
}

TEST_CASE("errors of fragmentation") {
  check({
      {13, "    psk: secret\n    fragmentation: after", "accepted"},
      {13, "    psk: secret\n    fragmentation: after\n    outer: {df: clear}", "accepted"},
      {13, "    psk: secret\n    fragmentation: never",
       "gw.yaml:14:20: fragmentation: expected before or after, not \"never\""},
      {13, "    psk: secret\n    fragmentation: [after]",
       "gw.yaml:14:20: fragmentation: expected before or after, not a list of 1"},
      {13, "    psk: secret\n    fragmentation: after\n    outer: {df: copy}",
       "gw.yaml:15:17: df: with fragmentation: after outer packets are cut, which DF forbids; expected "
       "clear, or "
       "fragmentation: before"},
      {13, "    psk: secret\n    outer: {dscp: 3, df: set}\n    fragmentation: after",
       "gw.yaml:14:26: df: with fragmentation: after outer packets are cut, which DF forbids; expected "
       "clear, or "
       "fragmentation: before"},
      {13, "    psk: secret\n    outer: {df: set}\n    fragmentation: before", "accepted"},
  });
}

// Line 16 is the group of both tunnels, and line 14 the second one's interface.
TEST_CASE("errors of transport mode") {
  check({
      {13, "    psk: secret\n    mode: beet",
       "gw.yaml:14:11: mode: expected tunnel or transport, not \"beet\""},
      {16, "  - {name: cloud, tunnels: [west-a]}", "accepted"},
  });
  const auto transport = [](std::string_view more, std::string_view route = "group: cloud") {
    std::string text = tests::with_line(16, "  - {name: cloud, tunnels: [west-a]}");
    const auto replace = [&text](std::string_view what, std::string_view by) {
      text.replace(text.find(what), what.size(), by);
    };
    replace("    interface: {name: vti-b, addresses: [169.254.2.1/30]}\n",
            "    mode: transport\n" + std::string(more));
    replace("group: cloud", route);
    return words_of(text);
  };
  CHECK(transport("") == "accepted");
  CHECK(transport("    selectors: {local: [192.0.2.1/32], remote: [192.0.2.3/32]}\n") == "accepted");
  CHECK(transport("    interface: {name: vti-b}\n") == "accepted");
  CHECK(transport("    fragmentation: before\n") == "accepted");
  CHECK(transport("    fragmentation: after\n") ==
        "gw.yaml:15:20: fragmentation: in transport mode it is always the encrypted packet that is cut; "
        "expected "
        "no such key, or mode: tunnel");
  CHECK(
      transport("    hold-down: {initial: 1s}\n") ==
      "gw.yaml:15:16: hold-down: in transport mode there is nothing to choose between; expected no such key, "
      "or mode: tunnel");
  CHECK(transport("    selectors: {local: [192.0.2.0/24]}\n") ==
        "gw.yaml:15:24: local: transport mode is for the two ends alone; expected 192.0.2.1/32, or no "
        "selectors");
  CHECK(transport("    selectors: {remote: [192.0.2.3/32, 192.0.2.4/32]}\n") ==
        "gw.yaml:15:25: remote: transport mode is for the two ends alone; expected 192.0.2.3/32, or no "
        "selectors");
  CHECK(transport("    interface: {addresses: [169.254.2.1/30]}\n") ==
        "gw.yaml:15:28: addresses: in transport mode packets carry the addresses of the two ends, and no "
        "others; expected none, or mode: tunnel");
  CHECK(transport("    esp: {tfc: mtu}\n") ==
        "gw.yaml:15:16: tfc: only inner packets can be padded (RFC 4303 section 2.7), and transport mode has "
        "none; expected 0, or mode: tunnel");
  CHECK(transport("    encapsulation: udp\n") ==
        "gw.yaml:15:20: encapsulation: udp pretends a NAT, across which there is no transport mode; expected "
        "auto, or mode: tunnel");
  CHECK(transport("", "tunnel: west-b") ==
        "gw.yaml:18:31: tunnel \"west-b\" is in transport mode, which carries only what its two ends say to "
        "each other; no route leads into it");
  CHECK(
      words_of(tests::with_line(13, "    psk: secret\n    mode: transport")) ==
      "gw.yaml:15:41: addresses: in transport mode packets carry the addresses of the two ends, and no "
      "others; expected none, or mode: tunnel\ngw.yaml:17:37: tunnel \"west-b\" is in transport mode, which "
      "carries only what its two ends say to each other; expected tunnels that can carry the same traffic");
}

TEST_CASE("what is no YAML, or more than is read here") {
  check({
      {20, "name: \"east", "gw.yaml:20:12: illegal EOF in scalar"},
      {20, "\tname: east", "gw.yaml:20:2: end of map not found"},
      {20, "name: !!str east", "gw.yaml:20:7: tags mean nothing here"},
      {20, "name: *nobody", "gw.yaml:20:7: the referenced anchor is not defined"},
      {20, "---\nname: east", "gw.yaml:21:1: a second document; expected one"},
      {20, "name: &x [*x]", "gw.yaml:20:11: an alias inside of what it stands for"},
      {20, "name: \"east\n# no end", "gw.yaml:21:9: illegal EOF in scalar"},
  });
}

TEST_CASE("all errors of a file are told together, in its order") {
  CHECK(
      words_of(
          "tunels: []\nports:\n  - {name: lan, mtu: big}\nroutes:\n  - {to: 10.0.0.0/8, via: 10.9.9.9}\n") ==
      "gw.yaml:1:1: unknown key \"tunels\"; expected one of: name, runtime-directory, state-directory, user, "
      "dataplane, tables, loopbacks, ports, "
      "routes, "
      "tunnels, groups (did you mean \"tunnels\"?)\n"
      "gw.yaml:3:5: port: the key \"device\" or \"parent\" is missing\n"
      "gw.yaml:3:22: mtu: expected a number from 576 to 9000, not \"big\"\n"
      "gw.yaml:5:27: via: 10.9.9.9 lies on no port's network; expected an address next to one of the ports' "
      "addresses");
}

TEST_CASE("more than there is room for") {
  std::string routes;
  for (int i = 0; i < 6; ++i) routes += fmt::format("  - {{to: 10.{}.0.0/16, blackhole: true}}\n", 100 + i);
  // 10 for the five addresses of interfaces, and the base's two.
  CHECK(words_of(tests::with_line(20, routes + "dataplane: {max-routes: 18}")) == "accepted");
  CHECK(words_of(tests::with_line(20, routes + "dataplane: {max-routes: 17}")) ==
        "gw.yaml:18:3: routes: expected at most 17 (dataplane's max-routes, of which each address of an "
        "interface "
        "takes two), not 18");
  std::string groups = "  - {name: cloud, tunnels: [west-a, west-b]}";
  for (int i = 0; i < 64; ++i) groups += fmt::format("\n  - {{name: g{}, tunnels: [west-a]}}", i);
  CHECK(words_of(tests::with_line(16, groups)) == "accepted");
  CHECK(words_of(tests::with_line(16, groups) + "dataplane: {max-tunnels: 100}\n") ==
        "gw.yaml:16:3: groups: expected at most 64 (64, or half of dataplane's max-tunnels), not 65");
}

TEST_CASE("a file without a single right line does not flood the terminal") {
  std::string text = "ports:\n";
  for (int i = 0; i < 16; ++i) text += "  - {name: 1 2, device: 3 4, mtu: 5 6, colour: 7}\n";
  const std::string words = words_of(text);
  CHECK(std::count(words.begin(), words.end(), '\n') == 50);
  CHECK_THAT(words, Catch::EndsWith("\ngw.yaml: and 44 more"));
}

TEST_CASE("a file that is empty, or a list, or a word") {
  CHECK(words_of("") == "gw.yaml:1:1: file: the key \"ports\" is missing");
  CHECK(words_of("# nothing\n") == "gw.yaml:1:1: file: the key \"ports\" is missing");
  CHECK(words_of("[]") == "gw.yaml:1:1: file: expected a block of keys, not an empty list");
  CHECK(words_of("east") == "gw.yaml:1:1: file: expected a block of keys, not \"east\"");
  CHECK(words_of("ports: []") == "gw.yaml:1:8: ports: expected at least one port, not an empty list");
  CHECK(words_of("ports:\n") == "gw.yaml:1:1: ports: expected at least one port, not nothing");
}

TEST_CASE("errors of PPKs") {
  check({
      {13, "    psk: secret\n    ppks: []",
       "gw.yaml:14:11: ppks: expected a list of at least one PPK, such as [{id: a1, file: a1.ppk}], not an "
       "empty list"},
      {13, "    psk: secret\n    ppk-use: optional", "gw.yaml:14:14: ppk-use: the tunnel has no ppks"},
      {13, "    psk: secret\n    ppk-use: maybe\n    ppks: [{id: a1, file: /nonexistent}]",
       "gw.yaml:14:14: ppk-use: expected required or optional, not \"maybe\"\n"
       "gw.yaml:15:27: file: \"/nonexistent\" can't be read: No such file or directory"},
      {13, "    psk: secret\n    ppks: [{id: a 1}]",
       "gw.yaml:14:12: ppks: the key \"file\" is missing\n"
       "gw.yaml:14:17: id: expected 1 to 128 characters of ASCII without blanks, not \"a 1\""},
  });
  const std::string files =
      tests::with_line(13,
                       "    psk: secret\n    ppks:\n      - {id: a1, file: x, not-before: 2026-02-30}\n"
                       "      - {id: a2, file: x, not-before: 2026-02-28T24:00:00Z}\n"
                       "      - {id: a3, file: x, not-before: 2026-03-01, not-after: 2026-02-28}\n"
                       "      - {id: a1, file: x, type: secret}\n      - {id: a1, file: x, type: opaque}");
  try {
    (void)load_text(files, "gw.yaml", Secrets::skip);
    FAIL("accepted");
  } catch (const Error& error) {
    CHECK(std::string(error.what()) ==
          "gw.yaml:15:39: not-before: expected a date or time in UTC, such as 2026-12-31 or "
          "2026-12-31T18:00:00Z, "
          "not \"2026-02-30\"\n"
          "gw.yaml:16:39: not-before: expected a date or time in UTC, such as 2026-12-31 or "
          "2026-12-31T18:00:00Z, "
          "not \"2026-02-28T24:00:00Z\"\n"
          "gw.yaml:17:62: not-after: comes before not-before\n"
          "gw.yaml:18:14: id: \"a1\" is the id of another PPK (line 15)\n"
          "gw.yaml:18:33: type: expected fixed or opaque, not \"secret\"");
  }
}

TEST_CASE("hostile text is refused before it costs anything") {
  const auto nested = [](std::size_t depth) {
    return "ports: " + std::string(depth, '[') + std::string(depth, ']');
  };
  CHECK_THAT(words_of(nested(63)), !Catch::Contains("nested"));
  CHECK(words_of(nested(64)) == "gw.yaml:1:71: nested deeper than 64 levels");
  CHECK_THAT(words_of(nested(100'000)), Catch::Contains("nested deeper than 64 levels"));
  CHECK_THAT(words_of(std::string(100'000, '[')), Catch::Contains("nested deeper than 64 levels"));
  CHECK_THAT(words_of(std::string(100'000, '{')), Catch::StartsWith("gw.yaml:1:"));
  std::string block;
  for (int i = 0; i < 1000; ++i) block += "- ";
  CHECK(words_of(block) == "gw.yaml:1:129: nested deeper than 64 levels");
  CHECK(words_of(std::string((4U << 20) + 1, '#')) == "gw.yaml:1:1: larger than 4 MiB");
  CHECK(words_of(std::string(4U << 20, '#')) == "gw.yaml:1:1: file: the key \"ports\" is missing");
  // "A billion laughs": ten aliases of ten aliases of ...
  std::string laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 10; ++i) {
    const std::string number = std::to_string(i);
    laughs.append("a").append(number).append(": &a").append(number).append(" [");
    for (int j = 0; j < 10; ++j) laughs.append("*a").append(std::to_string(i - 1)).append(", ");
    laughs.append("]\n");
  }
  CHECK_THAT(words_of(laughs), Catch::Contains("more than 1048576 values"));
}
