// Keys and certificates behind the names of files, and how each side of a tunnel authenticates.
#include "conf/credentials.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "conf/apart.hpp"
#include "tests/conf/base.hpp"
#include "tests/crypto/pki_bytes.hpp"
#include "tests/crypto/usage_vectors.hpp"

using namespace espgate::conf;
using namespace espgate::crypto::test;
using Catch::Contains;
using espgate::conf::tests::with_line;

namespace {

constexpr std::int64_t kNow = kMidYear;

// A folder with the vectors as files in DER, all of them readable by their owner alone.
struct Folder {
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "espgate-conf-XXXXXX").string();
    path = mkdtemp(pattern.data());
    const std::pair<const char*, std::string_view> files[] = {
        {"p256.key", kPrivate_p256},  {"p384.key", kPrivate_p384},       {"p256.pub", kPublic_p256},
        {"west.crt", kDer_west_p256}, {"east.crt", kDer_east},           {"expired.crt", kDer_expired},
        {"future.crt", kDer_future},  {"encipher.crt", kDer_no_signing}, {"code.crt", kUsage_code},
        {"root.crt", kDer_root},      {"other.crt", kDer_other},         {"root.crl", kDer_crl_root},
        {"west.p12", kDer_pkcs12},    {"rsa.crt", kDer_west_rsa},        {"rsa.key", kPrivate_rsa}};
    for (const auto& [name, hex] : files) {
      const auto bytes = bytes_of_hex(hex);
      write(name, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    }
  }
  ~Folder() { std::filesystem::remove_all(path); }

  void write(const std::string& name, std::string_view text, mode_t mode = 0600) const {
    const std::string file = (path / name).string();
    std::ofstream(file, std::ios::binary) << text;
    chmod(file.c_str(), mode);
  }

  struct Loaded {
    Configuration configuration;
    std::vector<std::string> late;
    std::string error;  // without the folder
  };
  [[nodiscard]] Loaded load(const std::string& text, std::int64_t now = kNow) const {
    write("gw.yaml", text);
    Loaded out;
    try {
      out.configuration = load_file((path / "gw.yaml").string());
      out.late = load_credentials(out.configuration, "gw.yaml", now);
    } catch (const Error& error) {
      out.error = error.what();
    }
    for (std::string* line : {&out.error}) shorten(*line);
    for (std::string& line : out.late) shorten(line);
    return out;
  }
  void shorten(std::string& words) const {
    const std::string folder = path.string() + "/";
    for (std::size_t at = words.find(folder); at != words.npos; at = words.find(folder))
      words.erase(at, folder.size());
  }

  std::filesystem::path path;
};

std::string pem_of(std::string_view hex) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const auto der = bytes_of_hex(hex);
  const auto at = [&der](std::size_t i) { return i < der.size() ? der[i] : 0U; };
  std::string out = "-----BEGIN CERTIFICATE-----\n";
  for (std::size_t i = 0; i < der.size(); i += 3) {
    const unsigned group = at(i) << 16 | at(i + 1) << 8 | at(i + 2);
    for (int j = 0; j < 4; ++j)
      out += i + static_cast<std::size_t>(j) > der.size() ? '=' : kDigits[group >> (18 - 6 * j) & 63];
    if (i / 3 % 16 == 15) out += '\n';
  }
  return out + "\n-----END CERTIFICATE-----\n";
}

// The base's first tunnel with these ends and, if any, this line for its secret.
std::string tunnel(std::string_view local, std::string_view remote, std::string_view secret = "") {
  std::string text = with_line(8, secret);
  const std::string before_local = "    local: {address: 192.0.2.1, id: east.example}";
  const std::string before_remote = "    remote: {address: 192.0.2.2, id: west-a.example}";
  text.replace(text.find(before_local), before_local.size(),
               "    local: {address: 192.0.2.1, " + std::string(local) + "}");
  text.replace(text.find(before_remote), before_remote.size(),
               "    remote: {address: 192.0.2.2, " + std::string(remote) + "}");
  return text;
}

constexpr std::string_view kOurs = "id: west.example, certificate: west.crt, key: p256.key";
constexpr std::string_view kTheirs = "id: east.example, authorities: [root.crt]";

}  // namespace

// Which of a peer's certificates it will be is not known before it comes.
TEST_CASE("SHA-1 signatures are told of where they are allowed and there may be RSA") {
  const Folder folder;
  constexpr std::string_view kRsa = "id: west.example, certificate: rsa.crt, key: rsa.key";
  constexpr std::string_view kTheirKey = "id: east.example, public-key: p256.pub";
  const auto words = [&](std::string_view local, std::string_view remote, std::string_view more) {
    const auto loaded = folder.load(tunnel(local, remote, more));
    CHECK(loaded.error.empty());
    return legacy_words(loaded.configuration);
  };
  constexpr std::string_view kLegacy = "    legacy: true";
  CHECK(words(kOurs, kTheirKey, kLegacy).empty());
  CHECK(words(kRsa, kTheirKey, "").empty());
  CHECK(words(kOurs, kTheirs, "").empty());
  CHECK(words(kRsa, kTheirKey, kLegacy).starts_with("legacy algorithms are allowed: sha1 signatures for "));
  CHECK(words(kOurs, kTheirs, kLegacy).starts_with("legacy algorithms are allowed: sha1 signatures for "));
}

TEST_CASE("certificates on both sides") {
  const Folder folder;
  const auto loaded =
      folder.load(tunnel(kOurs, "id: east.example, authorities: [root.crt, other.crt], crl: [root.crl]"));
  REQUIRE(loaded.error.empty());
  CHECK(loaded.late.empty());
  const Tunnel& made = loaded.configuration.tunnels[0];
  CHECK(made.local_auth.by == Auth::certificate);
  CHECK(made.local_auth.chain->size() == 1);
  CHECK(made.local_auth.private_key != nullptr);
  CHECK(made.local_auth.public_key->words() == "ECDSA P-256");
  CHECK(made.remote_auth.by == Auth::certificate);
  CHECK(made.remote_auth.trust->authority_hashes().size() == 40);
  CHECK(made.psk.empty());
  CHECK(made.files == nullptr);
  CHECK(loaded.configuration.tunnels[1].local_auth.by == Auth::psk);
}

TEST_CASE("without an id the certificate's subject is ours, in its own bytes") {
  const Folder folder;
  const auto loaded = folder.load(tunnel("certificate: west.crt, key: p256.key", kTheirs));
  REQUIRE(loaded.error.empty());
  const Identity& id = loaded.configuration.tunnels[0].local_id;
  CHECK(id.type == IdentityType::directory_name);
  CHECK(id.text == "C=DE, O=Example, CN=west");
  CHECK(std::ranges::equal(id.data, certificate_of(kDer_west_p256)->subject()));
  // Written by hand it may differ in case, spaces and kinds of strings.
  const auto by_hand =
      folder.load(tunnel("id: \"c=de, o=EXAMPLE,  CN=West\", certificate: west.crt, key: p256.key", kTheirs));
  REQUIRE(by_hand.error.empty());
  CHECK(by_hand.configuration.tunnels[0].local_id.data == id.data);
}

TEST_CASE("PKCS#12, a key without a certificate, and a different method on each side") {
  const Folder folder;
  folder.write("password", "a password\n");
  auto loaded = folder.load(tunnel("id: west.example, pkcs12: west.p12, password-file: password", kTheirs));
  REQUIRE(loaded.error.empty());
  CHECK(loaded.configuration.tunnels[0].local_auth.chain->size() == 2);
  loaded = folder.load(tunnel("key: p384.key", "public-key: p256.pub"));
  REQUIRE(loaded.error.empty());
  CHECK(loaded.configuration.tunnels[0].local_auth.by == Auth::public_key);
  CHECK(loaded.configuration.tunnels[0].local_id.text == "192.0.2.1");
  CHECK(loaded.configuration.tunnels[0].remote_auth.public_key->words() == "ECDSA P-256");
  loaded = folder.load(tunnel("key: p384.key", "public-key: east.crt"));  // the key in a certificate
  REQUIRE(loaded.error.empty());
  loaded = folder.load(tunnel(kOurs, "auth: psk", "    psk: secret"));
  REQUIRE(loaded.error.empty());
  CHECK(loaded.configuration.tunnels[0].remote_auth.by == Auth::psk);
}

TEST_CASE("tunnels that name the same files share what is in them") {
  const Folder folder;
  std::string text = tunnel(kOurs, kTheirs);
  const std::string second = "    local: {address: 192.0.2.1, id: east.example}";
  text.replace(text.find(second), second.size(),
               "    local: {address: 192.0.2.1, " + std::string(kOurs) + "}");
  text.erase(text.rfind("    psk: secret\n"), 16);
  const std::string peer = "id: west-b.example}";
  text.replace(text.find(peer), peer.size(), "id: west-b.example, authorities: [root.crt]}");
  const auto loaded = folder.load(text);
  REQUIRE(loaded.error.empty());
  const auto& tunnels = loaded.configuration.tunnels;
  CHECK(tunnels[0].local_auth.chain == tunnels[1].local_auth.chain);
  CHECK(tunnels[0].local_auth.private_key == tunnels[1].local_auth.private_key);
  CHECK(tunnels[0].remote_auth.trust == tunnels[1].remote_auth.trust);
}

TEST_CASE("who has no business with secrets gets what is public of them") {
  const Folder folder;
  folder.write("password", "a password\n");
  folder.write("short.ppk", "a short one");
  const std::string boxed = "id: west.example, pkcs12: west.p12, password-file: password";
  const std::string raw = "id: west.example, auth: public-key, key: p256.key";
  for (const std::string& ours : {std::string(kOurs), boxed, raw, std::string("id: west.example")}) {
    CAPTURE(ours);
    const bool by_psk = ours == "id: west.example";
    std::string text = tunnel(ours, kTheirs, by_psk ? "    psk: \"a secret: with signs\"" : "");
    text.insert(text.find("    local:"), "    ppks: [{id: a, file: short.ppk}]\n");
    const auto whole = folder.load(text);
    REQUIRE(whole.error == "");
    const auto [configuration, late] = load_public((folder.path / "gw.yaml").string(), kNow);
    CHECK(late.size() == 1);
    CHECK(late.size() == whole.late.size());
    REQUIRE(configuration.tunnels.size() == whole.configuration.tunnels.size());
    const LocalAuth& all = whole.configuration.tunnels[0].local_auth;
    const LocalAuth& some = configuration.tunnels[0].local_auth;
    CHECK(some.private_key == nullptr);
    REQUIRE((some.public_key == nullptr) == (all.public_key == nullptr));
    if (all.public_key) CHECK(std::ranges::equal(some.public_key->der(), all.public_key->der()));
    REQUIRE((some.chain == nullptr) == (all.chain == nullptr));
    if (all.chain) CHECK(some.chain->size() == all.chain->size());
    CHECK(configuration.tunnels[0].local_id.data == whole.configuration.tunnels[0].local_id.data);
    CHECK(configuration.tunnels[0].remote_auth.trust != nullptr);
    for (const Tunnel& tunnel : configuration.tunnels) {
      CHECK(tunnel.psk.empty());
      for (const Ppk& ppk : tunnel.ppks) CHECK(ppk.secret.empty());
    }
  }
}

TEST_CASE("what is wrong with secrets is told as by who reads them itself") {
  const Folder folder;
  for (const std::string_view ours :
       {"id: west.example, certificate: west.crt, key: none.key", "id: west.example, pkcs12: west.crt"}) {
    const auto whole = folder.load(tunnel(ours, kTheirs));
    REQUIRE_FALSE(whole.error.empty());
    try {
      (void)load_public((folder.path / "gw.yaml").string(), kNow);
      FAIL("it was read");
    } catch (const Error& error) {
      std::string words = error.what();
      folder.shorten(words);
      CHECK(words == whole.error);
    }
  }
}

TEST_CASE("what stands in the place of secrets, on its way from one process to another") {
  Node root = parse_yaml("{tunnels: [{name: a, psk: abc}, {psk: {b: c}}], password: [d, e], list: [1, [~]]}");
  blank_secrets(root);
  const auto& tunnels = root.at("tunnels");
  CHECK(tunnels.at(0).at("psk").text == "***");
  CHECK(tunnels.at(0).at("name").text == "a");
  CHECK(tunnels.at(1).at("psk").at("b").text == "*");
  CHECK(root.at("password").at(1).text == "*");
  CHECK(root.at("list").at(0).text == "1");

  Packer packer;
  packer.tree(root);
  packer.text("behind it");
  const std::string packed = std::move(packer).take();
  Unpacker whole(packed);
  const Node again = whole.tree();
  CHECK(again.at("tunnels").at(0).at("name").text == "a");
  CHECK(again.at("list").at(1).at(0).kind == NodeKind::null);
  CHECK(again.at("list").mark.column == root.at("list").mark.column);
  CHECK(whole.text() == "behind it");
  CHECK(whole.empty());
  for (std::size_t length = 0; length < packed.size(); ++length) {
    Unpacker cut(std::string_view(packed).substr(0, length));
    CHECK_THROWS_AS(cut.tree().text + cut.text(), Error);
  }
  CHECK_THROWS_WITH(apart([]() -> std::string { throw Error("words"); }), "words");
  CHECK_THROWS_AS(apart([]() -> std::string { ::_exit(0); }), Error);
}

TEST_CASE("an OCSP response of ours, and whether the peer must send one") {
  const Folder folder;
  for (const auto& [name, hex] : {std::pair{"good.ocsp", kDer_ocsp_good},
                                  {"old.ocsp", kDer_ocsp_old},
                                  {"other.ocsp", kDer_ocsp_of_other}}) {
    const auto bytes = bytes_of_hex(hex);
    folder.write(name, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}, 0644);
  }
  const std::string west = "id: west.example, certificate: west.crt, key: p256.key, ocsp-response: ";
  const std::string peer = "id: east.example, authorities: [root.crt], ocsp: ";
  const auto loaded = folder.load(tunnel(west + "good.ocsp", peer + "require"));
  REQUIRE(loaded.error.empty());
  CHECK(loaded.late.empty());
  const Tunnel& made = loaded.configuration.tunnels[0];
  CHECK(*made.local_auth.ocsp_response == bytes_of_hex(kDer_ocsp_good));
  CHECK(made.remote_auth.ocsp == Ocsp::require);
  CHECK(loaded.configuration.tunnels[1].remote_auth.ocsp == Ocsp::no);
  const auto old = folder.load(tunnel(west + "old.ocsp", peer + "accept"));
  REQUIRE(old.late.size() == 1);
  CHECK_THAT(old.late.front(), Contains("ocsp-response: is past its next update of 2026-02-01 00:00:00 UTC"));
  const std::pair<std::string, std::string> rows[] = {
      {folder.load(tunnel(west + "other.ocsp", kTheirs)).error,
       "ocsp-response: \"other.ocsp\" holds an OCSP response of another certificate than \"C=DE, O=Example, "
       "CN=west\""},
      {folder.load(tunnel(west + "root.crt", kTheirs)).error, "holds an OCSP response that can't be read"},
      {folder.load(tunnel(west + "none.ocsp", kTheirs)).error, "can't be read: No such file or directory"},
      {folder.load(tunnel(kOurs, peer + "yes")).error, "ocsp: expected no or accept or require, not \"yes\""},
      {folder.load(tunnel(kOurs, "ocsp: accept", "    psk: secret")).error,
       "ocsp: means nothing where remote authenticates by psk"},
      {folder.load(tunnel("key: p256.key, ocsp-response: good.ocsp", kTheirs)).error,
       "ocsp-response: means nothing where local authenticates by public-key"}};
  for (const auto& [error, words] : rows) CHECK_THAT(error, Contains(words));
}

TEST_CASE("PPKs that have expired, or are too short, are told of") {
  const Folder folder;
  folder.write("long.ppk", std::string(32, 'x'));
  folder.write("short.ppk", std::string(31, 'x'));
  const auto load = [&](std::string_view ppks) {
    return folder.load(with_line(8, "    psk: secret\n    ppks: [" + std::string(ppks) + "]"));
  };
  CHECK(load("{id: a1, file: long.ppk, not-before: 2026-07-01}").late.empty());
  const auto loaded = load("{id: a1, file: long.ppk, not-after: 2026-01-31}, {id: a2, file: short.ppk}");
  REQUIRE(loaded.error.empty());
  CHECK(loaded.late ==
        std::vector<std::string>{"gw.yaml:9:12: ppks: \"a1\" has expired on 2026-01-31 23:59:59 UTC",
                                 "gw.yaml:9:61: ppks: \"a2\" is of 31 bytes, too short to withstand a "
                                 "quantum computer; make it of at "
                                 "least 32"});
}

TEST_CASE("what does not go together is said with its place") {
  const Folder folder;
  const std::tuple<std::string_view, std::string_view, std::string_view, std::string_view> rows[] = {
      {kOurs, "auth: psk", "",
       "no secret; expected psk, psk-file or manual, or certificates or keys of both sides"},
      {kOurs, kTheirs, "    psk: secret", "gw.yaml:8:10: psk: neither side authenticates by it"},
      {"certificate: west.crt", kTheirs, "",
       "gw.yaml:6:12: local: the key \"key\" is missing, which auth: certificate needs"},
      {"auth: psk, key: p256.key", "auth: psk", "    psk: secret",
       "key: means nothing where local authenticates by psk"},
      {"auth: public-key, key: p256.key, certificate: west.crt", "public-key: p256.pub", "",
       "certificate: means nothing where local authenticates by public-key"},
      {"pkcs12: west.p12, key: p256.key", kTheirs, "",
       "key: is in the pkcs12 file; expected only one of them"},
      {"certificate: west.crt, key: p256.key, password-file: x", kTheirs, "",
       "password-file: is for pkcs12; a key has none"},
      {kOurs, "auth: certificate", "",
       "remote: the key \"authorities\" is missing, which auth: certificate needs"},
      {kOurs, "auth: public-key", "",
       "remote: the key \"public-key\" is missing, which auth: public-key needs"},
      {kOurs, "authorities: [root.crt], public-key: p256.pub", "",
       "public-key: means nothing where remote authenticates by certificate"},
      {kOurs, "authorities: []", "", "authorities: expected a list of at least one file, not an empty list"},
      {kOurs, "crl: [root.crl]", "    psk: secret", "crl: means nothing where remote authenticates by psk"},
      {"auth: eap", "auth: psk", "    psk: secret",
       "auth: expected psk or certificate or public-key, not \"eap\""},
      {"id: \"C=DE, CM=west\"", "auth: psk", "    psk: secret",
       "id: expected a name such as C=DE, O=Example, CN=east"},
  };
  for (const auto& [local, remote, secret, words] : rows)
    CHECK_THAT(folder.load(tunnel(local, remote, secret)).error, Contains(std::string(words)));
}

TEST_CASE("what is wrong with a file is said with the place of its name") {
  const Folder folder;
  folder.write("open.key", "x", 0640);
  folder.write("empty.crt", "");
  folder.write("noise.crt", "noise");
  std::string many;
  for (int i = 0; i < 33; ++i) many += pem_of(kDer_root);
  folder.write("many.pem", many);
  const std::tuple<std::string_view, std::string_view, std::string_view> rows[] = {
      {"id: west.example, certificate: west.crt, key: p384.key", kTheirs,
       "gw.yaml:6:79: key: \"p384.key\" is not the key of \"C=DE, O=Example, CN=west\", the first "
       "certificate of \"west.crt\""},
      {"id: west.example, certificate: west.crt, key: none.key", kTheirs,
       "key: \"none.key\" can't be read: No such file or directory"},
      {"id: west.example, certificate: west.crt, key: open.key", kTheirs,
       "key: \"open.key\" can be read by others than its owner (mode 0640); chmod 600 open.key"},
      {"id: west.example, certificate: west.crt, key: root.crt", kTheirs,
       "key: \"root.crt\" holds no private key in PEM or DER"},
      {"id: west.example, certificate: empty.crt, key: p256.key", kTheirs,
       "certificate: \"empty.crt\" is empty or longer than 1048576 bytes"},
      {"id: west.example, certificate: noise.crt, key: p256.key", kTheirs,
       "certificate: \"noise.crt\" holds a certificate that can't be read"},
      {"id: west.example, certificate: encipher.crt, key: p256.key", kTheirs,
       "is not for signatures (key usage)"},
      {"id: west.example, certificate: code.crt, key: p256.key", kTheirs,
       "is for other things than IKE (extended key usage): codeSigning"},
      {"id: north.example, certificate: west.crt, key: p256.key", kTheirs,
       "certificate: \"west.crt\" does not name us, \"north.example\"; it names C=DE, O=Example, CN=west; "
       "dns west.example"},
      {"id: {type: keyid, value: west}, certificate: west.crt, key: p256.key", kTheirs,
       "does not name us, \"west\""},
      {"id: west.example, pkcs12: west.p12", kTheirs,
       "pkcs12: \"west.p12\" holds a PKCS#12 file with another password"},
      {kOurs, "authorities: [many.pem]", "authorities: 33 certificates in all; expected at most 32"},
      {kOurs, "authorities: [root.crt, noise.crt]",
       "authorities: \"noise.crt\" holds a certificate that can't be read"},
      {kOurs, "authorities: [root.crt], crl: [root.crt]",
       "crl: \"root.crt\" holds a certificate revocation list that can't be read"},
      {kOurs, "id: {type: keyid, value: east}, authorities: [root.crt]", "no certificate can name \"east\""},
      {"key: p384.key", "public-key: noise.crt",
       "public-key: \"noise.crt\" holds no public key in PEM or DER"},
      {"key: p384.key", "public-key: p256.key", "public-key: \"p256.key\" holds no public key in PEM or DER"},
  };
  for (const auto& [local, remote, words] : rows)
    CHECK_THAT(folder.load(tunnel(local, remote)).error, Contains(std::string(words)));
}

TEST_CASE("a certificate that is not valid by now is told, and does not keep the gateway from starting") {
  const Folder folder;
  const auto expired =
      folder.load(tunnel("id: west.example, certificate: expired.crt, key: p256.key", kTheirs));
  CHECK(expired.error.empty());
  REQUIRE(expired.late.size() == 1);
  CHECK(expired.late[0] ==
        "gw.yaml:6:64: certificate: \"C=DE, O=Example, CN=west\" has expired on 2026-02-01 00:00:00 UTC");
  const auto early = folder.load(tunnel("id: west.example, certificate: future.crt, key: p256.key", kTheirs));
  REQUIRE(early.late.size() == 1);
  CHECK_THAT(early.late[0], Contains("is not valid before 2026-11-01"));
  const auto later = folder.load(tunnel(kOurs, kTheirs), 1800000000);
  CHECK(later.late.size() == 2);  // ours, and the authority's
}

TEST_CASE("names of directories") {
  const auto encoded = [](std::string_view text) {
    const auto loaded =
        load_text(tunnel("id: \"" + std::string(text) + "\"", "auth: psk", "    psk: secret"), "gw.yaml");
    return loaded.tunnels[0].local_id.data;
  };
  const auto west = certificate_of(kDer_west_p256);
  CHECK(std::ranges::equal(encoded("C=DE, O=Example, CN=west"), west->subject()));
  const auto escaped = encoded("O=One\\\\, Two,emailAddress=ops@west.example");
  CHECK(espgate::crypto::directory_words(escaped) == "O=One\\, Two, emailAddress=ops@west.example");
  const auto deep =
      encoded("DC=example, DC=west, OU=" + std::string(150, 'x') + ", serialNumber=7, ST=Hamburg");
  CHECK_THAT(espgate::crypto::directory_words(deep), Contains("DC=example, DC=west, OU=xxx"));
}

TEST_CASE("the dataplane opens no file of these") {
  const Folder folder;
  folder.write("gw.yaml", tunnel("certificate: none.crt, key: none.key", "authorities: [none.crt]"));
  CHECK_NOTHROW(load_file((folder.path / "gw.yaml").string(), Secrets::skip));
}
