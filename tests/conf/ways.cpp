// Routes into tunnels that may not carry them, and MTUs that no port has. Each row changes one line of the
// base.
#include <catch2/catch.hpp>
#include <string>

#include "tests/conf/base.hpp"

using namespace espgate::conf;
using espgate::conf::tests::words_of;

namespace {

const std::string kSecret = "    psk: secret\n";

std::string with_selectors(const std::string& remote, const std::string& route) {
  return words_of(tests::with_line(8, kSecret + "    selectors: {remote: [" + remote + "]}") + route);
}

std::string with_interface(const std::string& interface, const std::string& more = "") {
  return words_of(tests::with_line(9, "    interface: {name: vti-a, " + interface + "}" + more));
}

std::string too_large(unsigned mtu, unsigned outer, unsigned column) {
  return "gw.yaml:9:" + std::to_string(column) + ": mtu: a packet of " + std::to_string(mtu) + " bytes has " +
         std::to_string(outer) +
         " or more when it is encrypted, and no port's MTU is above 1500; expected a smaller one, none (then "
         "it "
         "is derived), or fragmentation: after";
}

}  // namespace

TEST_CASE("routes into a tunnel whose selectors do not reach there") {
  const std::string by_group =
      "gw.yaml:19:10: to: 10.2.0.0/16 is nothing that tunnel \"west-a\" may carry; its "
      "remote selectors are: ";
  CHECK(with_selectors("10.2.0.0/16", "") == "accepted");
  CHECK(with_selectors("10.2.1.0/24", "") == "accepted");  // some of it
  CHECK(with_selectors("10.0.0.0/8", "") == "accepted");
  CHECK(with_selectors("10.3.0.0/16", "") == by_group + "10.3.0.0/16");
  CHECK(with_selectors("10.3.0.0/16, 10.4.0.0/16", "") == by_group + "10.3.0.0/16, 10.4.0.0/16");
  CHECK(with_selectors("10.3.0.0/16, 10.2.0.0/17", "") == "accepted");
  CHECK(
      with_selectors("10.2.0.0/16", "  - {to: \"fd00:2::/64\", tunnel: west-a}\n") ==
      "gw.yaml:21:10: to: fd00:2::/64 is nothing that tunnel \"west-a\" may carry; its remote selectors are: "
      "10.2.0.0/16");
  CHECK(with_selectors("10.2.0.0/16", "  - {to: \"fd00:2::/64\", tunnel: west-b}\n") == "accepted");
}

// 1446 bytes in AES-GCM are 1500, and one more needs four more.
TEST_CASE("an MTU that no port can carry once it is encrypted") {
  CHECK(with_interface("mtu: 1446") == "accepted");
  CHECK(with_interface("mtu: 1447") == too_large(1447, 1504, 35));
  CHECK(with_interface("mtu: 1500") == too_large(1500, 1556, 35));
  CHECK(with_interface("mtu: 1500", "\n    fragmentation: after") == "accepted");
  CHECK(with_interface("mtu: 1438", "\n    encapsulation: udp") == "accepted");
  CHECK(with_interface("mtu: 1439", "\n    encapsulation: udp") == too_large(1439, 1504, 35));
  // The suite that leaves most counts, as it may be the one that is agreed on.
  CHECK(with_interface("mtu: 1447", "\n    esp: {proposals: [aes256gcm8, aes256-sha512]}") == "accepted");
}

TEST_CASE("an MTU that a port could carry to which no route of the tunnel's table leads") {
  const auto configured = [](const std::string& more) {
    return words_of(R"(tables: [{name: inet}, {name: other}]
ports:
  - {name: lan, device: "af_packet:lan", addresses: [10.1.0.1/24], mtu: 9000}
  - {name: wan, device: "af_packet:wan", addresses: [192.0.2.1/24], table: inet}
  - {name: jumbo, device: "af_packet:jumbo", addresses: [198.51.100.1/24], table: other, mtu: 9000}
tunnels:
  - name: a
    table: inet
    local: {address: 192.0.2.1}
    remote: {address: 203.0.113.1}
    psk: secret
    interface: {name: vti-a, mtu: 1447}
routes:
)" + more);
  };
  CHECK(configured("  - {to: 203.0.113.0/24, table: inet, via: 192.0.2.254}\n") ==
        "gw.yaml:12:35: mtu: a packet of 1447 bytes has 1504 or more when it is encrypted, and no port's MTU "
        "in "
        "table \"inet\" is above 1500; expected a smaller one, none (then it is derived), or fragmentation: "
        "after");
  CHECK(configured("  - {to: 203.0.113.0/24, table: inet, via: 198.51.100.9, via-table: other}\n") ==
        "accepted");
}
