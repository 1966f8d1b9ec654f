// One tunnel's block for many peers: the tunnels that it stands for, and what it must and may not say.
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>

#include "conf/credentials.hpp"
#include "tests/conf/base.hpp"

using namespace espgate;
using namespace espgate::conf;
using espgate::conf::tests::words_of;

namespace {

const std::string kBase = R"(ports:
  - {name: lan, device: "af_packet:lan", addresses: [10.1.0.1/24]}
  - {name: wan, device: "af_packet:wan", addresses: [192.0.2.1/24]}
routes:
  - {to: 10.64.0.0/10, blackhole: true}
  - {to: 0.0.0.0/0, via: 192.0.2.254}
tunnels:
  - name: branch
    local: {address: 192.0.2.1, certificate: hub.pem, key: hub.key}
    remote: {address: any, id: "*.branches.example", authorities: [root.pem]}
    peers: 3
    selectors: {remote: [10.64.0.0/10]}
    esp: {lifetime: 20m}
  - name: child
    parent: west
    selectors: {remote: [10.4.0.0/16]}
  - name: west
    local: {address: 192.0.2.1}
    remote: {address: 192.0.2.2}
    psk: secret
    selectors: {remote: [10.3.0.0/16]}
)";

std::string changed(const std::string& from, const std::string& to) {
  return tests::replaced(kBase, from, to);
}

std::string with(const std::string& line) {
  return changed("    peers: 3\n", "    peers: 3\n    " + line + "\n");
}

bool says(const std::string& file, const std::string& words) {
  const std::string said = words_of(file);
  CAPTURE(said, words);
  CHECK(said.find(words) != std::string::npos);
  return said.find(words) != std::string::npos;
}

// A file beside a configuration that names it.
class SecretsFile {
 public:
  explicit SecretsFile(const std::string& text, mode_t mode = 0600) {
    char name[] = "/tmp/espgate-conf-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    folder_ = name;
    std::ofstream(folder_ / "branches.psks") << text;
    REQUIRE(chmod((folder_ / "branches.psks").c_str(), mode) == 0);
  }
  ~SecretsFile() { std::filesystem::remove_all(folder_); }
  SecretsFile(const SecretsFile&) = delete;
  SecretsFile& operator=(const SecretsFile&) = delete;

  [[nodiscard]] std::string file() const {
    std::string text = changed("certificate: hub.pem, key: hub.key", "id: hub.example");
    const std::string remote =
        "    remote: {address: any, id: \"*.branches.example\", authorities: [root.pem]}\n";
    text.replace(text.find(remote), remote.size(),
                 "    remote: any\n    psks-file: " + (folder_ / "branches.psks").string() + "\n");
    return text;
  }

  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
};

std::string text_of(const crypto::SecretBytes& secret) {
  return {secret.view().begin(), secret.view().end()};
}

}  // namespace

TEST_CASE("a template becomes as many tunnels as there may be peers, in its place") {
  const Configuration file = load_text(kBase, "gw.yaml");
  REQUIRE(file.tunnels.size() == 5);
  for (std::uint32_t i = 0; i < 3; ++i) {
    const Tunnel& slot = file.tunnels[i];
    CHECK(slot.name == "branch/" + std::to_string(i + 1));
    CHECK(slot.interface == slot.name);
    CHECK(slot.first_slot == 0U);
    CHECK(slot.peers == 3);
    CHECK_FALSE(slot.remote.is_set());
    CHECK(slot.remote_id.pattern);
    CHECK(slot.start == Start::wait);
    CHECK(slot.child_lifetime == std::chrono::minutes(20));
    CHECK(slot.remote_auth.by == Auth::certificate);
    CHECK(slot.ike_proposals.size() == file.tunnels[4].ike_proposals.size());
    REQUIRE(slot.remote_selectors.size() == 1);
    CHECK((slot.files != nullptr) == (i == 0));
  }
  CHECK(file.tunnels[3].name == "child");
  CHECK(file.tunnels[3].parent_index == 4U);
  CHECK_FALSE(file.tunnels[4].first_slot);
}

TEST_CASE("of a template each identity may have a secret of its own") {
  const SecretsFile secrets(
      "# the branches\n\nb1.example:  one: 1 \nops@example: two\n2001:db8::7: three\r\n");
  const Configuration file = load_text(secrets.file(), "gw.yaml");
  CHECK(file.tunnels[0].remote_id.text == "b1.example");
  CHECK(text_of(file.tunnels[0].psk) == "one: 1");
  CHECK(file.tunnels[1].remote_id.type == IdentityType::email);
  CHECK(text_of(file.tunnels[1].psk) == "two");
  CHECK(file.tunnels[2].remote_id.type == IdentityType::ipv6);
  CHECK(text_of(file.tunnels[2].psk) == "three");
  const Configuration skipped = load_text(secrets.file(), "gw.yaml", conf::Secrets::skip);
  CHECK(skipped.tunnels.size() == file.tunnels.size());
  CHECK(skipped.tunnels[0].remote_id.data.empty());
}

TEST_CASE("who holds no secrets learns whose they are") {
  const SecretsFile secrets("b1.example: one\nb2.example: two\n");
  const std::filesystem::path path = secrets.folder() / "gw.yaml";
  std::ofstream(path) << secrets.file();
  const Loaded loaded = load_public(path.string(), 0);
  REQUIRE(loaded.configuration.tunnels.size() == 5);
  CHECK(loaded.configuration.tunnels[0].remote_id.text == "b1.example");
  CHECK(loaded.configuration.tunnels[1].remote_id.data.size() == 10);
  CHECK(loaded.configuration.tunnels[2].remote_id.data.empty());
  for (const Tunnel& tunnel : loaded.configuration.tunnels) CHECK(tunnel.psk.empty());
}

TEST_CASE("errors of a file with secrets name the line, and never what stands in it") {
  CHECK(says(SecretsFile("b1.example: x\nb2.example hush\n").file(),
             "psks-file: line 2 of the file: expected an identity, a colon, a space and a secret"));
  CHECK(says(SecretsFile("b1.example: \n").file(), "line 1 of the file: expected an identity"));
  CHECK(says(SecretsFile("two words: hush\n").file(),
             "line 1 of the file: what stands before the colon is no identity"));
  CHECK(says(SecretsFile("a.example: x\nb.example: y\nA.Example: z\n").file(),
             "line 3 of the file: the identity stands in the file before"));
  CHECK(says(SecretsFile("# none\n").file(), "psks-file: no line of the file has a secret"));
  CHECK(says(SecretsFile("a: 1\nb: 2\nc: 3\nd: 4\n").file(),
             "psks-file: has the secrets of 4 peers; expected at most 3"));
  CHECK(says(SecretsFile("a: hush\n", 0644).file(), "psks-file: "));
  for (const char* text : {"b2.example hush\n", "two words: hush\n"})
    CHECK(words_of(SecretsFile(text).file()).find("hush") == std::string::npos);
}

TEST_CASE("patterns of identities") {
  const auto id = [](const std::string& text) {
    return changed("\"*.branches.example\"", "\"" + text + "\"");
  };
  for (const char* good :
       {"*", "*@branches.example", "C=DE, O=Example, CN=*", "O=Example, OU = *, CN=*", "b1.example"}) {
    CAPTURE(good);
    CHECK(words_of(id(good)) == "accepted");
  }
  for (const char* bad : {"b*.example", "*.*.example", "**", "a*@example", "O=Ex*, CN=x", "C=DE, CN=b*"}) {
    CAPTURE(bad);
    CHECK(words_of(id(bad)).find("* stands for the first label") != std::string::npos);
  }
  CHECK(load_text(id("*"), "gw.yaml").tunnels[0].remote_id.data.empty());
  CHECK(says(changed("remote: {address: 192.0.2.2}", "remote: {address: 192.0.2.2, id: \"*.example\"}"),
             "id: * is for many peers; expected remote: {address: any}, or the peer's identity"));
}

TEST_CASE("what a template must say") {
  CHECK(says(changed("    peers: 3\n", ""), "tunnel: the key \"peers\" is missing: how many at once"));
  CHECK(says(changed("peers: 3", "peers: 0"), "peers: expected a number from 1 to 65535"));
  CHECK(
      says(changed("    selectors: {remote: [10.64.0.0/10]}\n", ""), "tunnel: selectors.remote is missing"));
  CHECK(says(changed(", id: \"*.branches.example\"", ""), "remote: the key \"id\" is missing: which peers"));
  CHECK(says(changed(", authorities: [root.pem]", ""),
             "tunnel: no secrets; expected psks-file, or authorities"));
  CHECK(says(changed("name: branch", "name: branch-of-many-letters-and-more"),
             "expected at most 29 characters"));
  CHECK(says(changed("peers: 3", "peers: 2000"),
             "tunnels: expected at most 1024 (dataplane's max-tunnels), not 2002"));
}

TEST_CASE("what has no meaning for many peers") {
  CHECK(says(with("start: initiate"), "start: a peer that may be anywhere begins itself"));
  CHECK(words_of(with("start: wait")) == "accepted");
  CHECK(words_of(with("profile: aws")) == "accepted");
  CHECK(says(with("mode: transport"), "mode: transport mode is between two known ends"));
  CHECK(says(with("psk: x"),
             "psk: whoever has a secret that several peers have can pretend to be any of them"));
  CHECK(says(with("interface: {addresses: [169.254.1.1/30]}"),
             "addresses: each peer's interface would have the same"));
  CHECK(says(with("interface: {kernel: true}"), "kernel: the peers' interfaces come and go"));
  CHECK(says(with("psks-file: none"), "psks-file: "));
  CHECK(says(changed("authorities: [root.pem]", "public-key: x.pem"),
             "one public key can't be that of several peers"));
  CHECK(says(changed("    psk: secret\n", "    psk: secret\n    peers: 4\n"), "peers: is for many peers"));
  CHECK(says(changed("parent: west", "parent: branch"), "parent: \"branch\" is for many peers"));
  CHECK(says(changed("  - {to: 10.64.0.0/10, blackhole: true}", "  - {to: 10.64.0.0/12, tunnel: branch}"),
             "tunnel \"branch\" is for many peers (remote: any), and what they may carry are routes by "
             "itself; no route "
             "leads into it"));
}

TEST_CASE("nothing else of the gateway leads into what peers may have") {
  CHECK(says(changed("remote: [10.64.0.0/10]", "remote: [10.0.0.0/8]"),
             "remote: 10.0.0.0/8 overlaps 10.1.0.0/24 (the network of port \"lan\")"));
  CHECK(says(changed("{to: 10.64.0.0/10, blackhole: true}", "{to: 10.65.0.0/16, blackhole: true}"),
             "remote: 10.64.0.0/10 overlaps 10.65.0.0/16 (the route on line 5)"));
  CHECK(words_of(changed("{to: 10.64.0.0/10, blackhole: true}", "{to: 10.0.0.0/8, blackhole: true}")) ==
        "accepted");
}

TEST_CASE("a template is explained once") {
  const ExplainedFile file = explain_text(kBase, "gw.yaml");
  REQUIRE(file.tunnels.size() == 3);
  CHECK(file.tunnels[0].name == "branch");
  CHECK(file.configuration.tunnels.size() == 5);
}
