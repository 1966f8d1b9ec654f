// Tunnels with a parent: what they have from it, what they say themselves, and what they may not. And groups
// whose members are chosen by their selectors.
#include <algorithm>
#include <catch2/catch.hpp>
#include <string>

#include "tests/conf/base.hpp"

using namespace espgate;
using namespace espgate::conf;
using espgate::conf::tests::words_of;

namespace {

// The child stands before its parent.
const std::string kBase = R"(ports:
  - {name: lan, device: "af_packet:lan", addresses: [10.1.0.1/24]}
  - {name: wan, device: "af_packet:wan", addresses: [192.0.2.1/24]}
tunnels:
  - name: voice
    parent: hq
    selectors: {local: [10.1.1.0/24], remote: [10.2.0.0/16]}
  - name: hq
    local: {address: 192.0.2.1, id: east.example}
    remote: {address: 192.0.2.2, id: west.example}
    psk: secret
    ike: {lifetime: 2h}
    esp: {proposals: [aes256gcm16-ecp384], lifetime: 30m, esn: yes}
    selectors: {local: [10.1.0.0/24], remote: [10.2.0.0/16]}
    interface: {name: vti-hq, addresses: [169.254.1.1/30], mtu: 1300, clamp-mss: false}
    dpd: 7s
    start: wait
    bfd: {peer: 169.254.1.2}
groups:
  - {name: both, by: selectors, tunnels: [voice, hq]}
routes:
  - {to: 10.2.0.0/16, group: both}
)";

std::string changed(const std::string& from, const std::string& to) {
  return tests::replaced(kBase, from, to);
}

std::string child_with(const std::string& line) {
  return changed("    parent: hq\n", "    parent: hq\n    " + line + "\n");
}

}  // namespace

TEST_CASE("a child has from its parent what it does not say") {
  const Configuration file = load_text(kBase, "gw.yaml");
  const Tunnel& voice = file.tunnels.at(0);
  CHECK(voice.parent_index == 1U);
  CHECK_FALSE(file.tunnels.at(1).parent_index);
  CHECK(to_string(voice.local) == "192.0.2.1");
  CHECK(to_string(voice.remote) == "192.0.2.2");
  CHECK(voice.remote_id.text == "west.example");
  REQUIRE(voice.esp_proposals.size() == 1);
  CHECK(voice.esp_proposals.front().text == "aes256gcm16-ecp384");
  CHECK(voice.esp_proposals.front().esn == Esn::yes);
  CHECK(voice.child_lifetime == std::chrono::minutes(30));
  CHECK(voice.mtu == 1300);
  CHECK_FALSE(voice.clamp_mss);
  CHECK(voice.start == Start::wait);
  CHECK(voice.psk.empty());
  // What is one tunnel's alone.
  CHECK(voice.interface == "voice");
  CHECK(voice.addresses.empty());
  CHECK_FALSE(voice.bfd);
  REQUIRE(voice.local_selectors.size() == 1);
  CHECK(to_string(voice.local_selectors.front()) == "10.1.1.0/24");
}

TEST_CASE("a child may say otherwise what is of its child SAs, its interface and its far end") {
  const Configuration file = load_text(child_with(R"(esp: {proposals: [aes128gcm16], esn: no, packets: 5000}
    start: initiate
    keepalive: 5s
    outer: {dscp: 46}
    fragmentation: before
    spread: true
    interface: {name: v, addresses: [169.254.2.1/30], mtu: 1290}
    probe: {to: 169.254.2.2}
    hold-down: {initial: 2s})"),
                                       "gw.yaml");
  const Tunnel& voice = file.tunnels.at(0);
  REQUIRE(voice.esp_proposals.size() == 1);
  CHECK(voice.esp_proposals.front().text == "aes128gcm16");
  CHECK(voice.esp_proposals.front().esn == Esn::no);
  CHECK(voice.child_packets == 5000);
  CHECK(voice.child_lifetime == std::chrono::minutes(30));
  CHECK(voice.start == Start::initiate);
  CHECK(voice.outer.dscp == 46);
  CHECK(voice.interface == "v");
  CHECK(voice.mtu == 1290);
  CHECK(voice.probe);
  CHECK(file.tunnels.at(1).esp_proposals.front().esn == Esn::yes);
}

TEST_CASE("what is the IKE SA's is the parent's") {
  for (const char* line : {"local: {address: 192.0.2.1}", "remote: {address: 192.0.2.2}", "psk: secret",
                           "psk-file: x.psk", "ike: {lifetime: 1h}", "dpd: 5s", "profile: oci",
                           "legacy: true", "table: main", "mode: tunnel", "encapsulation: udp"}) {
    CAPTURE(line);
    const std::string key(line, std::string(line).find(':'));
    const std::string expected =
        "gw.yaml:7:5: " + key +
        ": a tunnel with a parent has its parent's; expected no such key, or no parent";
    CHECK(words_of(child_with(line)).starts_with(expected));
  }
  CHECK(words_of(child_with("esp: {verify: true}")).starts_with("gw.yaml:7:19: verify: only the child SA"));
}

TEST_CASE("errors of tunnels with a parent") {
  CHECK(words_of(changed("parent: hq", "parent: hg")) ==
        "gw.yaml:6:13: no tunnel without a parent is named \"hg\"; did you mean \"hq\"?");
  CHECK(words_of(changed("parent: hq", "parent: voice")) ==
        "gw.yaml:6:13: no tunnel without a parent is named \"voice\"; expected one of: hq");
  CHECK(words_of(changed("parent: hq", "parent: [hq]")).starts_with("gw.yaml:6:13: parent: expected a name"));
  CHECK(words_of(changed("    selectors: {local: [10.1.1.0/24], remote: [10.2.0.0/16]}\n", "")) ==
        "gw.yaml:5:5: tunnel: the key \"selectors\" is missing, by which a tunnel with a parent is known");
  CHECK(words_of(changed("10.1.1.0/24", "10.1.0.0/24")) ==
        "gw.yaml:7:16: selectors: the same as those of \"hq\", with which the tunnel shares an IKE SA; "
        "expected others");
  CHECK(words_of(child_with("interface: {name: vti-hq}")).find("a second interface is named \"vti-hq\"") !=
        std::string::npos);
  CHECK(words_of(child_with("esp: {proposals: [aes256-sha1]}")).find("too weak by now: sha1") !=
        std::string::npos);
  CHECK(words_of(changed("10.1.1.0/24", "\"fd00::/64\""))
            .find("expected local and remote networks of the same family") != std::string::npos);
  CHECK(words_of(changed("    psk: secret\n", "    psk: secret\n    legacy: true\n")) == "accepted");
}

TEST_CASE("a parent negotiates, in tunnel mode") {
  std::string transport = kBase;
  for (const char* line :
       {"    selectors: {local: [10.1.0.0/24], remote: [10.2.0.0/16]}\n", "    bfd: {peer: 169.254.1.2}\n"})
    transport.erase(transport.find(line), std::string(line).size());
  const std::string interface =
      "    interface: {name: vti-hq, addresses: [169.254.1.1/30], mtu: 1300, "
      "clamp-mss: false}\n";
  transport.replace(transport.find(interface), interface.size(), "    mode: transport\n");
  CHECK(words_of(transport).find("parent: \"hq\" is in transport mode, which is for its two ends alone") !=
        std::string::npos);
}

TEST_CASE("a child's values are explained with where they come from") {
  const ExplainedFile file = explain_text(child_with("keepalive: 5s"), "gw.yaml");
  const auto find = [&file](std::string_view key) {
    const auto& values = file.tunnels.at(0).values;
    const auto found =
        std::ranges::find_if(values, [key](const Explained& value) { return value.key == key; });
    return found == values.end() ? std::string("absent") : found->value + " by " + found->origin;
  };
  CHECK(find("parent") == "hq by line 6");
  CHECK(find("keepalive") == "5s by line 7");
  CHECK(find("esp.lifetime") == "30m by tunnel hq");
  CHECK(find("interface.name") == "voice by default");
  CHECK(find("selectors.local") == "[10.1.1.0/24] by line 8");
  CHECK(find("interface.mtu") == "1300 by tunnel hq");
  for (const char* key : {"ike.lifetime", "psk", "dpd", "local.id", "esp.verify", "mode"}) {
    CAPTURE(key);
    CHECK(find(key) == "absent");
  }
}

TEST_CASE("a group by selectors is of tunnels, one of which has what a route leads there") {
  CHECK(load_text(kBase, "gw.yaml").groups.front().by == channel::GroupChoice::selectors);
  CHECK(words_of(changed("by: selectors", "by: hash")) ==
        "gw.yaml:20:22: by: expected flow or selectors, not \"hash\"");
  CHECK(words_of(changed("tunnels: [voice, hq]}", "members: [{tunnel: hq}, {via: 192.0.2.9}]}")) ==
        "gw.yaml:20:63: via: a gateway has no selectors by which it could be chosen; expected a tunnel");
  CHECK(words_of(changed("tunnels: [voice, hq]}", "members: [{tunnel: hq, weight: 2}]}")) ==
        "gw.yaml:20:64: weight: with by: selectors nothing is shared out; expected no such key");
  const std::string other =
      changed("remote: [10.2.0.0/16]}\n  - name: hq", "remote: [10.3.0.0/16]}\n  - name: hq");
  CHECK(words_of(other) == "accepted");
  std::string flow = other;
  flow.replace(flow.find("by: selectors, "), 15, "");
  CHECK(words_of(flow).find("is nothing that tunnel \"voice\" may carry") != std::string::npos);
  std::string none = other;
  none.replace(none.find("to: 10.2.0.0/16"), 15, "to: 10.9.0.0/16");
  CHECK(words_of(none).find("is nothing that a tunnel of group \"both\" may carry") != std::string::npos);
}
