#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "conf/load.hpp"
#include "tests/conf/base.hpp"

using namespace espgate::conf;
using Catch::Contains;

namespace {

struct Folder {
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "espgate-conf-XXXXXX").string();
    path = mkdtemp(pattern.data());
  }
  ~Folder() { std::filesystem::remove_all(path); }

  std::string write(const std::string& name, std::string_view text, mode_t mode = 0600) const {
    const std::string file = (path / name).string();
    std::ofstream(file, std::ios::binary) << text;
    chmod(file.c_str(), mode);
    return file;
  }
  std::filesystem::path path;
};

std::string psk_of(const Configuration& configuration) {
  const auto view = configuration.tunnels.at(0).psk.view();
  return {view.begin(), view.end()};
}

const std::string kWithFile = tests::with_line(8, "    psk-file: west-a.psk");

std::string words_of(const std::string& file) {
  try {
    (void)load_file(file);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("a psk-file lies beside the configuration, and an editor's newline is not part of the secret") {
  const Folder folder;
  const std::string file = folder.write("gw.yaml", kWithFile);
  for (const auto& [text, secret] : {std::pair("s3cret", "s3cret"),
                                     {"s3cret\n", "s3cret"},
                                     {"s3cret\r\n", "s3cret"},
                                     {" two  words \n", " two  words "},
                                     {"one\ntwo\n\n", "one\ntwo\n"}}) {
    CAPTURE(text);
    folder.write("west-a.psk", text);
    CHECK(psk_of(load_file(file)) == secret);
  }
}

TEST_CASE("an absolute psk-file is taken as it is") {
  const Folder folder;
  const Folder elsewhere;
  const std::string secret = elsewhere.write("k", "abc");
  CHECK(psk_of(load_file(folder.write("gw.yaml", tests::with_line(8, "    psk-file: " + secret)))) == "abc");
}

TEST_CASE("a psk-file that others can read is refused, and how to mend it is said") {
  const Folder folder;
  const std::string file = folder.write("gw.yaml", kWithFile);
  const std::string secret = (folder.path / "west-a.psk").string();
  for (const mode_t mode : {0644U, 0640U, 0604U, 0620U, 0602U}) {
    CAPTURE(mode);
    folder.write("west-a.psk", "abc", mode);
    const std::string words = words_of(file);
    CHECK_THAT(words, Catch::StartsWith(file + ":8:15: psk-file: "));
    CHECK_THAT(words, Contains("can be read by others than its owner"));
    CHECK_THAT(words, Catch::EndsWith("; chmod 600 " + secret));
  }
  folder.write("west-a.psk", "abc", 0400);
  CHECK(words_of(file) == "accepted");
}

TEST_CASE("a psk-file that is missing, empty, too long or no file") {
  const Folder folder;
  const std::string file = folder.write("gw.yaml", kWithFile);
  const std::string secret = (folder.path / "west-a.psk").string();
  const std::string place = file + ":8:15: psk-file: \"" + secret + "\" ";
  CHECK(words_of(file) == place + "can't be read: No such file or directory");
  folder.write("west-a.psk", "");
  CHECK(words_of(file) == place + "is empty or longer than 4096 bytes");
  folder.write("west-a.psk", "\n");
  CHECK(words_of(file) == place + "is empty or longer than 4096 bytes");
  folder.write("west-a.psk", std::string(4097, 'x'));
  CHECK(words_of(file) == place + "is empty or longer than 4096 bytes");
  folder.write("west-a.psk", std::string(4096, 'x'));
  CHECK(words_of(file) == "accepted");
  std::filesystem::remove(secret);
  REQUIRE(mkfifo(secret.c_str(), 0600) == 0);  // must not hold up the loader
  CHECK(words_of(file) == place + "is not a file");
  std::filesystem::remove(secret);
  std::filesystem::create_directory(secret);
  CHECK(words_of(file) == place + "is not a file");
}

TEST_CASE("the dataplane neither opens secrets nor keeps them") {
  const Folder folder;
  // The file does not exist: opening it would be an error.
  const Configuration skipped = load_file(folder.write("gw.yaml", kWithFile), Secrets::skip);
  for (const Tunnel& tunnel : skipped.tunnels) CHECK(tunnel.psk.empty());
  // That there is no secret at all is an error for both.
  CHECK_THROWS_WITH(load_text(tests::with_line(8, ""), "gw.yaml", Secrets::skip),
                    "gw.yaml:5:5: tunnel: no secret; expected psk, psk-file or manual, or certificates or "
                    "keys of both sides");
}

TEST_CASE("no error repeats a secret") {
  for (const std::string_view line :
       {"    psk: hunter2hunter2\n    psk: hunter2hunter2", "    psk: [hunter2hunter2]",
        "    psk: {hunter2hunter2: x}", "    psk: hunter2hunter2\n    psk-file: /nonexistent",
        "    psk: !!str hunter2hunter2", "    psk: \"hunter2hunter2",
        "    psk: 'hunter2hunter2' hunter2hunter2"}) {
    CAPTURE(line);
    try {
      (void)load_text(tests::with_line(8, line), "gw.yaml");
      FAIL("accepted");
    } catch (const Error& error) {
      CHECK_THAT(error.what(), !Contains("hunter2"));
    }
  }
}

TEST_CASE("PPKs are in files of their own, as they are or in hex, from when until when") {
  const Folder folder;
  const auto with = [&](const std::string& ppk) {
    return folder.write("gw.yaml", tests::with_line(8, "    psk: secret\n    ppks: [" + ppk + "]"));
  };
  const auto secret_of = [&](std::string_view text) {
    folder.write("a1.ppk", text);
    const auto configuration = load_file(with("{id: a1, file: a1.ppk}"));
    const auto view = configuration.tunnels.at(0).ppks.at(0).secret.view();
    return std::string(view.begin(), view.end());
  };
  CHECK(secret_of("as it stands\n") == "as it stands");
  CHECK(secret_of("0x414243\n") == "ABC");
  CHECK(secret_of("414243") == "414243");
  folder.write("a1.ppk", "0x41424");
  CHECK_THAT(
      words_of(with("{id: a1, file: a1.ppk}")),
      Contains(":9:27: file: ") && Contains("begins with 0x, and what follows are not pairs of hex digits"));
  folder.write("a1.ppk", "secret", 0644);
  CHECK_THAT(words_of(with("{id: a1, file: a1.ppk}")), Contains("can be read by others than its owner"));
  folder.write("a1.ppk", "secret");
  const auto times =
      load_file(with("{id: a1, file: a1.ppk, not-before: 2026-01-01, not-after: 2026-01-01}, "
                     "{id: a2, file: a1.ppk, type: opaque, not-after: 2026-01-01T12:00:01Z}"));
  const auto& ppks = times.tunnels.at(0).ppks;
  CHECK(ppks.at(0).not_before == 1767225600);
  CHECK(ppks.at(0).not_after == 1767225600 + 86399);
  CHECK(ppks.at(1).not_before == INT64_MIN);
  CHECK(ppks.at(1).not_after == 1767225600 + 43201);
  CHECK(ppks.at(1).type == PpkIdType::opaque);
  CHECK(times.tunnels.at(0).ppk_use == PpkUse::required);
  const Configuration without = load_file((folder.path / "gw.yaml").string(), Secrets::skip);
  for (const Ppk& ppk : without.tunnels.at(0).ppks) CHECK(ppk.secret.empty());
}

TEST_CASE("a configuration that can't be read") {
  CHECK_THROWS_WITH(load_file("/nonexistent/gw.yaml"),
                    "/nonexistent/gw.yaml: can't be read: No such file or directory");
  CHECK_THROWS_WITH(load_file("/"), "/: can't be read: Is a directory");
}
