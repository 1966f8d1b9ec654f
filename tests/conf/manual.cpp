// Tunnels with manual keys: what is read, and what is refused with words and place.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "channel/spi.hpp"
#include "conf/load.hpp"
#include "tests/conf/base.hpp"

using namespace espgate;
using namespace espgate::conf;
using Catch::Contains;

namespace {

// The base, of which west-a (lines 5 to 9) has manual keys.
struct Files {
  Files() {
    std::string pattern = (std::filesystem::temp_directory_path() / "espgate-conf-XXXXXX").string();
    path = mkdtemp(pattern.data());
    write("in.key", std::string(36, 'i'));
    write("out.key", std::string(36, 'o'));
  }
  ~Files() { std::filesystem::remove_all(path); }

  std::string write(const std::string& name, std::string_view text, mode_t mode = 0600) const {
    const std::string file = (path / name).string();
    std::ofstream(file, std::ios::binary) << text;
    chmod(file.c_str(), mode);
    return file;
  }
  std::string gateway(const std::string& manual, const std::string& more = "") const {
    return write("gw.yaml", with(manual, more));
  }
  static std::string with(const std::string& manual, const std::string& more = "") {
    std::string text = tests::with_line(8, "    manual: " + manual + more);
    const std::string ids =
        "local: {address: 192.0.2.1, id: east.example}\n    remote: {address: 192.0.2.2, "
        "id: west-a.example}";
    return text.replace(text.find(ids), ids.size(),
                        "local: {address: 192.0.2.1}\n    remote: {address: 192.0.2.2}");
  }
  // What is wrong, without the file's name.
  std::string words(const std::string& manual, const std::string& more = "") const {
    const std::string file = gateway(manual, more);
    try {
      (void)load_file(file);
    } catch (const Error& error) {
      std::string text = error.what();
      for (std::size_t at; (at = text.find(file + ":")) != text.npos;) text.erase(at, file.size() + 1);
      return text;
    }
    return "accepted";
  }
  std::filesystem::path path;
};

const std::string kGood =
    "{suite: aes256gcm16, inbound: {spi: 0x00040007, key-file: in.key}, outbound: {spi: 4096, key-file: "
    "out.key}}";

std::string but(const std::string& from, const std::string& to) {
  std::string text = kGood;
  return text.replace(text.find(from), from.size(), to);
}

}  // namespace

TEST_CASE("a tunnel with manual keys, and its defaults") {
  const Files files;
  const Configuration configuration = load_file(files.gateway(kGood));
  const Tunnel& tunnel = configuration.tunnels.at(0);
  REQUIRE(tunnel.manual.has_value());
  const Manual& manual = *tunnel.manual;
  CHECK(manual.suite == crypto::EspSuite::aes256_gcm16);
  CHECK(manual.inbound.spi == 0x00040007);
  CHECK(manual.outbound.spi == 4096);
  CHECK(manual.inbound.key.view()[35] == 'i');
  CHECK(manual.outbound.key.size() == 36);
  CHECK_FALSE(manual.esn);
  CHECK_FALSE(manual.udp);
  CHECK(manual.remote_port == 4500);
  CHECK(configuration.state_directory == "/var/lib/espgate");
  CHECK_FALSE(configuration.tunnels.at(1).manual.has_value());
}

TEST_CASE("every key of a manual tunnel") {
  const Files files;
  const std::string all =
      "{suite: aes128-sha256, esn: true, encapsulation: udp, remote-port: 4501, inbound: {spi: "
      "0x100, key-file: in.key}, outbound: {spi: 0xFFFFFFFF, key-file: out.key}}";
  files.write("in.key", std::string(96, '1'));  // hex digits
  files.write("out.key", std::string(48, '2') + "\n" + std::string(48, 'F') + "\n");
  const Configuration configuration = load_file(files.gateway(all, "\n    esp: {replay-window: 64}"));
  const Manual& manual = *configuration.tunnels.at(0).manual;
  CHECK(manual.suite == crypto::EspSuite::aes128_cbc_sha256);
  CHECK(manual.esn);
  CHECK(manual.udp);
  CHECK(manual.remote_port == 4501);
  CHECK(manual.outbound.spi == 0xffffffff);
  CHECK(manual.inbound.key.size() == 48);
  CHECK(manual.inbound.key.view()[0] == 0x11);
  CHECK(manual.outbound.key.view()[47] == 0xff);
  CHECK(configuration.tunnels.at(0).replay_window == 64);
}

TEST_CASE("keys: raw bytes, or hex with what people put between") {
  const Files files;
  std::string digits;
  for (int i = 0; i < 36; ++i) digits += "a5";
  for (const std::string& text :
       {digits, digits + "\n", "0x" + digits, digits.substr(0, 30) + ":" + digits.substr(30),
        digits.substr(0, 64) + "\r\n" + digits.substr(64) + "\r\n", std::string(36, '\xa5')}) {
    CAPTURE(text);
    files.write("in.key", text);
    const Configuration configuration = load_file(files.gateway(kGood));
    const auto key = configuration.tunnels.at(0).manual->inbound.key.view();
    CHECK(std::all_of(key.begin(), key.end(), [](std::uint8_t byte) { return byte == 0xa5; }));
    CHECK(key.size() == 36);
  }
  files.write("in.key", std::string(35, 'x') + "\n");  // a raw key may end with any byte
  CHECK(load_file(files.gateway(kGood)).tunnels.at(0).manual->inbound.key.view()[35] == '\n');
}

TEST_CASE("a manual key of the wrong length is told what is expected") {
  const Files files;
  const std::string wants =
      "aes256gcm16 takes 36 (a cipher key of 32, then a salt of 4), as they are or as 72 hex "
      "digits";
  for (const auto& [text, bytes] : {std::pair(std::string(35, 'x'), 35),
                                    {std::string(70, 'a'), 35},
                                    {std::string(71, 'a'), 71},
                                    {std::string(72, 'x'), 72}}) {
    files.write("in.key", text);
    CHECK_THAT(files.words(kGood),
               Contains("holds " + std::to_string(bytes) + " bytes of key, but " + wants));
  }
  files.write("in.key", std::string(36, 'x'));
  CHECK_THAT(files.words(but("aes256gcm16", "aes256-sha512")),
             Contains("aes256-sha512 takes 96 (a cipher key of 32, then an integrity key of 64)"));
  CHECK_THAT(files.words(but("aes256gcm16", "null-sha256")), Contains("takes 32 (an integrity key of 32)"));
  files.write("in.key", "");
  CHECK_THAT(files.words(kGood), Contains("is empty or longer than 4096 bytes"));
  files.write("in.key", std::string(36, 'x'), 0644);
  CHECK_THAT(files.words(kGood), Contains("can be read by others than its owner (mode 0644); chmod 600"));
}

TEST_CASE("manual SPIs and suites that can't be") {
  const Files files;
  const std::string row = GENERATE("0", "255", "0xff", "-1", "0x", "0x1g", "4294967296", "0x100000000", "[]");
  CHECK_THAT(files.words(but("4096", row)), Contains("spi: expected an SPI from 0x00000100 to 0xffffffff"));
  CHECK_THAT(files.words(but("0x00040007", row)),
             Contains("spi: expected an SPI from 0x00000100 to 0xffffffff"));
  CHECK_THAT(files.words(but("aes256gcm16", "aes256gcm16-ecp256")), Contains("suite: expected one suite"));
  CHECK_THAT(files.words(but("aes256gcm16", "aes256-aes128-sha256")), Contains("suite: expected one suite"));
  CHECK_THAT(files.words(but("aes256gcm16", "aes256")),
             Contains("suite: \"aes256\": no integrity algorithm"));
  CHECK_THAT(files.words(but("aes256gcm16", "rot13")), Contains("8:21: suite: "));
}

TEST_CASE("an inbound SPI must be the address of a slot that there is, and of nobody else") {
  const Files files;
  CHECK(files.words(but("0x00040007", "0x00041000")) == "accepted");  // of 4352 slots
  CHECK(files.words(but("0x00040007", "0x00041100")) ==
        "8:49: spi: 0x00041100 says worker 0 (its first 6 bits) and slot 4352 (its last 18), but there are "
        "workers 0 to 0 and slots 0 to 4351; expected an SPI such as 0x00040000");
  CHECK_THAT(files.words(but("0x00040007", "0x04040007")), Contains("says worker 1"));
  files.write("in2.key", std::string(36, 'j'));
  files.write("out2.key", std::string(36, 'p'));
  const auto second = [&](const std::string& in, const std::string& remote, const std::string& out,
                          const std::string& key = "in2.key") {
    return "\n  - name: third\n    local: {address: 192.0.2.1}\n    remote: {address: " + remote +
           "}\n    manual: {suite: aes256gcm16, inbound: {spi: " + in + ", key-file: " + key +
           "}, outbound: {spi: " + out + ", key-file: out2.key}}\n    interface: {name: third}\n" +
           "  - name: fourth\n    local: {address: 192.0.2.1}\n    remote: {address: 192.0.2.77}\n    psk: x";
  };
  CHECK(files.words(kGood, second("0x00040008", "192.0.2.2", "4097")) == "accepted");
  CHECK(files.words(kGood, second("0x00040008", "192.0.2.9", "4096")) == "accepted");
  CHECK_THAT(
      files.words(kGood, second("0x00080007", "192.0.2.9", "4096")),
      Contains("spi: 0x00080007 has the same worker and slot (first 6 and last 18 bits) as the inbound SPI "
               "of tunnel \"west-a\" on line 8"));
  CHECK_THAT(
      files.words(kGood, second("0x00040008", "192.0.2.2", "4096")),
      Contains("spi: 0x00001000 is also the outbound SPI of tunnel \"west-a\" on line 8, to the same peer"));
  CHECK_THAT(
      files.words(kGood, second("0x00040008", "192.0.2.9", "4096", "out.key")),
      Contains("key-file: holds the same key as that of tunnel \"west-a\" on line 8; each direction of "
               "each tunnel needs its own"));
  CHECK_THAT(files.words(but("out.key", "in.key")), Contains("8:112: key-file: holds the same key"));
}

TEST_CASE("manual keys and IKE exclude each other on one tunnel") {
  const Files files;
  for (const auto& [key, line] : {std::pair("psk", "psk: x"),
                                  {"psk-file", "psk-file: x"},
                                  {"ike", "ike: {lifetime: 1h}"},
                                  {"dpd", "dpd: 5s"},
                                  {"start", "start: wait"},
                                  {"encapsulation", "encapsulation: udp"},
                                  {"proposals", "esp: {proposals: [aes128gcm16]}"},
                                  {"lifetime", "esp: {lifetime: 1h}"},
                                  {"bytes", "esp: {bytes: 1G}"},
                                  {"packets", "esp: {packets: 1M}"},
                                  {"esn", "esp: {esn: yes}"}}) {
    CAPTURE(line);
    const std::string words = files.words(kGood, std::string("\n    ") + line);
    CHECK_THAT(words,
               Contains(std::string(key) + ": belongs to IKE, but the tunnel has manual keys (line 8)"));
    CHECK_THAT(words, Catch::StartsWith("9:"));
  }
  CHECK_THROWS_WITH(
      load_text(tests::with_line(8, "    manual: " + kGood), "gw.yaml", Secrets::skip),
      Contains("gw.yaml:6:37: id: belongs to IKE") && Contains("gw.yaml:7:38: id: belongs to IKE"));
  CHECK(load_text(Files::with(kGood), "gw.yaml", Secrets::skip).tunnels.at(0).manual->inbound.key.empty());
}

TEST_CASE("ESN needs the replay window") {
  const Files files;
  CHECK_THAT(files.words(but("suite:", "esn: true, suite:"), "\n    esp: {replay-window: 0}"),
             Contains("esn: needs the replay window"));
}
