// docs/configuration.md against the loader, both ways, and the examples.
#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "conf/keys.hpp"
#include "conf/load.hpp"

using namespace espgate::conf;

namespace {

const std::filesystem::path kRoot = ESPGATE_SOURCE_ROOT;

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path);
  REQUIRE(file);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// "tunnels.local.address" of every row "| `address` | ..." below the heading "## `tunnels.local`"; keys of
// the file itself stand below "## The file".
std::set<std::string> documented_keys() {
  std::istringstream text(read(kRoot / "docs" / "configuration.md"));
  std::set<std::string> keys;
  std::string block;
  bool in_keys = false;  // and not in another table
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("## ")) {
      const std::size_t begin = line.find('`');
      block = begin == line.npos ? "" : line.substr(begin + 1, line.rfind('`') - begin - 1);
    }
    if (!line.starts_with("|")) in_keys = false;
    if (line.starts_with("| key |")) in_keys = true;
    if (!in_keys || !line.starts_with("| `")) continue;
    const std::string key = line.substr(3, line.find('`', 3) - 3);
    keys.insert(block.empty() ? key : block + "." + key);
  }
  return keys;
}

// An identity's keys are the same at both ends of a tunnel, and a manual SA's in both directions: they are
// described once.
std::set<std::string> loader_keys() {
  std::set<std::string> keys;
  for (const KnownKey& key : known_keys()) {
    std::string block = key.block.ends_with(".id") ? "id" : key.block;
    if (block == "tunnels.manual.outbound") block = "tunnels.manual.inbound";
    keys.insert(block.empty() ? key.name : block + "." + key.name);
  }
  return keys;
}

}  // namespace

TEST_CASE("every key that the loader knows is documented, and no other") {
  const std::set<std::string> documented = documented_keys();
  const std::set<std::string> known = loader_keys();
  CHECK(known.size() > 40);
  for (const std::string& key : known) {
    CAPTURE(key);
    CHECK(documented.contains(key));
  }
  for (const std::string& key : documented) {
    CAPTURE(key);
    CHECK(known.contains(key));
  }
}

TEST_CASE("every example loads") {
  unsigned examples = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kRoot / "conf" / "examples")) {
    if (entry.path().extension() != ".yaml") continue;
    CAPTURE(entry.path());
    // Keys lie in files that the operator makes.
    const std::string text = read(entry.path());
    const bool files = text.find("key-file:") != std::string::npos ||
                       text.find("psk-file:") != std::string::npos ||
                       text.find("psks-file:") != std::string::npos;
    CHECK_NOTHROW(load_file(entry.path().string(), files ? Secrets::skip : Secrets::load));
    ++examples;
  }
  CHECK(examples >= 2);
}

TEST_CASE("the examples in the documentation load") {
  const std::string text = read(kRoot / "docs" / "configuration.md");
  unsigned examples = 0;
  for (std::size_t at = text.find("```yaml\n"); at != text.npos; at = text.find("```yaml\n", at + 1)) {
    const std::size_t begin = at + 8;
    const std::string example = text.substr(begin, text.find("```", begin) - begin);
    CAPTURE(example);
    CHECK_NOTHROW(load_text(example, "docs/configuration.md", Secrets::skip));
    ++examples;
  }
  CHECK(examples >= 1);
}

TEST_CASE("the quickstart's example is the pair of tunnels that scripts/quickstart expects") {
  const Configuration c = load_file((kRoot / "conf" / "examples" / "quickstart.yaml").string());
  CHECK(c.name == "east");
  REQUIRE(c.tunnels.size() == 2);
  for (const Tunnel& tunnel : c.tunnels) {
    CHECK(to_string(tunnel.local) == "192.0.2.1");
    CHECK(tunnel.local_id.text == "east.example");
    CHECK(tunnel.remote_id.text == tunnel.name + ".example");
    CHECK(tunnel.ike_proposals.at(0).text == "aes256-sha384-ecp384");
    CHECK(tunnel.esp_proposals.at(0).text == "aes256gcm16-ecp384");
    const std::string psk(tunnel.psk.view().begin(), tunnel.psk.view().end());
    CHECK(psk.starts_with("quickstart-only-"));
  }
  CHECK(c.groups.at(0).members.at(1).tunnel == "west-b");
}
