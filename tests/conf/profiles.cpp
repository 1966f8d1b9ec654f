// Profiles, what of them the file overrides, and what is shown of it.
#include <catch2/catch.hpp>
#include <map>
#include <string>

#include "tests/conf/base.hpp"

using namespace espgate::conf;
using namespace espgate::conf::tests;
using namespace std::chrono_literals;

namespace {

// The base, whose first tunnel has these lines more.
std::string with_tunnel(std::string_view lines) {
  return with_line(8, std::string("    psk: secret\n").append(lines));
}

Tunnel tunnel_of(std::string_view lines) {
  return std::move(load_text(with_tunnel(lines), "gw.yaml").tunnels.at(0));
}

std::vector<std::string> texts(const auto& proposals) {
  std::vector<std::string> texts;
  for (const auto& proposal : proposals) texts.push_back(proposal.text);
  return texts;
}

struct Shown {
  std::string value;
  std::string origin;
  bool operator==(const Shown&) const = default;
};

std::map<std::string, Shown> shown(const std::string& text, std::size_t tunnel = 0) {
  std::map<std::string, Shown> values;
  const ExplainedFile file = explain_text(text, "gw.yaml");
  for (const Explained& row : file.tunnels.at(tunnel).values) values[row.key] = {row.value, row.origin};
  return values;
}

}  // namespace

TEST_CASE("a profile is what its cloud publishes") {
  const Tunnel oci = tunnel_of("    profile: oci");
  CHECK(texts(oci.ike_proposals) == std::vector<std::string>{"aes256-sha384-ecp384"});
  CHECK(texts(oci.esp_proposals) == std::vector<std::string>{"aes256gcm16-ecp384-modp1536"});
  CHECK(oci.ike_lifetime == 8h);
  CHECK(oci.child_lifetime == 1h);
  CHECK(oci.dpd_interval == 10s);
  CHECK(oci.legacy);

  const Tunnel aws = tunnel_of("    profile: aws");
  CHECK(texts(aws.esp_proposals) == std::vector<std::string>{"aes256gcm16-ecp384"});
  CHECK(aws.replay_window == 1024);
  CHECK(aws.mtu == 1438);
  CHECK_FALSE(aws.legacy);

  const Tunnel azure = tunnel_of("    profile: azure");
  CHECK(azure.ike_lifetime == 28800s);
  CHECK(azure.child_lifetime == 27000s);
  CHECK(azure.child_bytes == 102'400'000'000);
  CHECK(azure.mtu == 1400);
  CHECK(azure.legacy);

  const Tunnel gcp = tunnel_of("    profile: gcp");
  CHECK(texts(gcp.ike_proposals) == std::vector<std::string>{"aes256gcm16-prfsha384-modp3072"});
  CHECK(gcp.ike_lifetime == 36000s);
  CHECK(gcp.child_lifetime == 10800s);
  CHECK(gcp.replay_window == 4096);
  CHECK_FALSE(gcp.legacy);
}

TEST_CASE("what the file says overrides the profile, wherever it stands") {
  const Tunnel before = tunnel_of("    dpd: 3s\n    esp: {lifetime: 20m}\n    profile: oci");
  const Tunnel after = tunnel_of("    profile: oci\n    dpd: 3s\n    esp: {lifetime: 20m}");
  for (const Tunnel* tunnel : {&before, &after}) {
    CHECK(tunnel->dpd_interval == 3s);
    CHECK(tunnel->child_lifetime == 20min);
    CHECK(tunnel->ike_lifetime == 8h);
    CHECK(texts(tunnel->esp_proposals) == std::vector<std::string>{"aes256gcm16-ecp384-modp1536"});
  }
  const Tunnel others =
      tunnel_of("    profile: oci\n    legacy: false\n    esp: {proposals: [aes256gcm16-ecp384]}");
  CHECK(texts(others.esp_proposals) == std::vector<std::string>{"aes256gcm16-ecp384"});
  CHECK_FALSE(others.legacy);
}

TEST_CASE("profiles that can't be, in words") {
  CHECK(words_of(with_tunnel("    profile: ibm")) ==
        "gw.yaml:9:14: profile: expected oci or aws or azure or gcp, not \"ibm\"");
  CHECK(words_of(with_tunnel("    profile: oci\n    legacy: false")) ==
        "gw.yaml:10:13: legacy: the profile oci has proposals with modp1536; expected proposals of your own, "
        "or no "
        "such key");
  CHECK(
      words_of(
          with_line(8,
                    "    profile: oci\n    manual: {suite: aes256gcm16, inbound: {spi: 0x00040001, key-file: "
                    "x}, outbound: {spi: 256, key-file: y}}"))
          .find("profile: belongs to IKE, but the tunnel has manual keys") != std::string::npos);
}

TEST_CASE("what is too weak by now needs legacy: true") {
  const std::string expected =
      "; expected legacy: true of the tunnel, for a peer that has nothing better, or others";
  CHECK(words_of(with_tunnel("    ike: {proposals: [aes256-sha384-ecp384, aes128-sha1-modp1024]}")) ==
        "gw.yaml:9:45: \"aes128-sha1-modp1024\": too weak by now: modp1024, sha1" + expected);
  CHECK(words_of(with_tunnel("    ike: {proposals: [aes256gcm16-prfsha1-ecp384]}")) ==
        "gw.yaml:9:23: \"aes256gcm16-prfsha1-ecp384\": too weak by now: prfsha1" + expected);
  for (const char* group :
       {"modp768", "modp1024", "modp1536", "modp1024s160", "modp2048s224", "modp2048s256"}) {
    const std::string esp = std::string("    esp: {proposals: [aes256gcm16-") + group + "]}";
    CHECK(words_of(with_tunnel(esp)) ==
          std::string("gw.yaml:9:23: \"aes256gcm16-") + group + "\": too weak by now: " + group + expected);
    CHECK(words_of(with_tunnel(esp + "\n    legacy: true")) == "accepted");
  }
  // The profile's word is for its own proposals.
  CHECK(words_of(with_tunnel("    profile: oci\n    esp: {proposals: [aes128-sha1]}")) ==
        "gw.yaml:10:23: \"aes128-sha1\": too weak by now: sha1" + expected);
  CHECK(words_of(
            with_line(8,
                      "    manual: {suite: aes128-sha1, inbound: {spi: 0x00040001, key-file: x}, outbound: "
                      "{spi: 256, key-file: y}}"))
            .find("gw.yaml:8:21: suite: sha1 is too weak by now; expected legacy: true of the tunnel") !=
        std::string::npos);
}

TEST_CASE("legacy algorithms are told of in one line") {
  const auto words = [](std::string_view lines) {
    return legacy_words(load_text(with_tunnel(lines), "gw.yaml"));
  };
  CHECK(words("    dpd: 5s").empty());
  CHECK(words("    legacy: true").empty());
  CHECK(words("    profile: gcp").empty());
  CHECK(words("    profile: oci").starts_with("legacy algorithms are allowed: modp1536 for west-a. "));
  CHECK(words("    legacy: true\n    ike: {proposals: [aes128-sha1-modp1024]}")
            .starts_with("legacy algorithms are allowed: modp1024, sha1 for west-a. "));
  Configuration many = load_text(with_tunnel("    profile: oci"), "gw.yaml");
  Configuration whole;
  for (int i = 0; i < 7; ++i) {
    whole.tunnels.emplace_back();
    whole.tunnels.back().name = std::string("t").append(std::to_string(i));
    whole.tunnels.back().esp_proposals = many.tunnels[0].esp_proposals;
  }
  CHECK(legacy_words(whole).find(" for t0, t1, t2, t3, t4 and 2 more. ") != std::string::npos);
}

TEST_CASE("every value of a tunnel is explained") {
  const std::string text = with_tunnel("    profile: aws\n    dpd: 3s\n    esp: {lifetime: 1200}");
  auto values = shown(text);
  CHECK(values["profile"] == Shown{"aws", "line 9"});
  CHECK(values["dpd"] == Shown{"3s", "line 10"});
  CHECK(values["esp.lifetime"] == Shown{"20m", "line 11"});
  CHECK(values["ike.lifetime"] == Shown{"8h", "profile aws"});
  CHECK(values["esp.proposals"] == Shown{"[aes256gcm16-ecp384]", "profile aws"});
  CHECK(values["interface.mtu"] == Shown{"1438", "profile aws"});
  CHECK(values["interface.addresses"] == Shown{"[169.254.1.1/30]", "line 12"});
  CHECK(values["local.address"] == Shown{"192.0.2.1", "line 6"});
  CHECK(values["local.id"] == Shown{"east.example", "line 6"});
  CHECK(values["keepalive"] == Shown{"20s", "default"});
  CHECK(values["esp.esn"] == Shown{"no", "default"});
  CHECK(values["legacy"] == Shown{"false", "default"});
  CHECK(values["selectors.local"] == Shown{"[0.0.0.0/0, ::/0]", "default"});
  CHECK(values["psk"] == Shown{"(not shown)", "line 8"});
  CHECK_FALSE(values.contains("bfd.interval"));

  values = shown(text, 1);  // the tunnel without a profile
  CHECK(values["profile"] == Shown{"none", "default"});
  CHECK(values["ike.lifetime"] == Shown{"8h", "default"});
  CHECK(values["interface.mtu"] == Shown{"derived from the port's and the SA's", "default"});
  CHECK(values["remote.id"] == Shown{"west-b.example", "line 15"});
}

TEST_CASE("no secret is explained") {
  const std::string text =
      with_tunnel("    keepalive: 0\n    outer: {dscp: 46}\n    esp: {tfc: mtu, bytes: 1G}");
  const ExplainedFile file = explain_text(text, "gw.yaml");
  for (const ExplainedTunnel& tunnel : file.tunnels)
    for (const Explained& row : tunnel.values) CHECK(row.value != "secret");
  auto values = shown(text);
  CHECK(values["keepalive"] == Shown{"0s", "line 9"});
  CHECK(values["outer.dscp"] == Shown{"46", "line 10"});
  CHECK(values["esp.tfc"] == Shown{"mtu", "line 11"});
  CHECK(values["esp.bytes"] == Shown{"1000000000", "line 11"});
}

TEST_CASE("what an alias stands for is explained where it was written") {
  const std::string text = with_line(8,
                                     "    psk: secret\n    ike: &i {lifetime: 4h}\n  - {name: c, local: "
                                     "{address: 192.0.2.1}, remote: {address: "
                                     "192.0.2.9}, psk: s, ike: *i, bfd: {peer: 169.254.9.2}, interface: "
                                     "{addresses: [169.254.9.1/30]}}\n  - name: "
                                     "d\n    local: {address: 192.0.2.1}\n    remote: {address: 192.0.2.8, "
                                     "id: {type: keyid, value: k7}}\n    "
                                     "psk: s");
  auto values = shown(text, 1);
  CHECK(values["ike.lifetime"] == Shown{"4h", "line 9"});
  CHECK(values["bfd.peer"] == Shown{"169.254.9.2", "line 10"});
  CHECK(shown(text, 2)["remote.id"] == Shown{"k7", "line 13"});
}
