#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "channel/region.hpp"

using namespace espgate::channel;
using Catch::Contains;

namespace {

struct Folder {
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "espgate-channel-XXXXXX").string();
    path = mkdtemp(pattern.data());
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string file(const char* name) const { return (path / name).string(); }
  std::filesystem::path path;
};

}  // namespace

TEST_CASE("a socket is its owner's alone, whatever the umask") {
  const Folder folder;
  const mode_t before = umask(0);
  const Fd listening = listen_at(folder.file("s"));
  umask(before);
  struct stat status {};
  REQUIRE(stat(folder.file("s").c_str(), &status) == 0);
  CHECK(S_ISSOCK(status.st_mode));
  CHECK((status.st_mode & 0777) == 0600);
  CHECK((fcntl(listening.get(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("a live socket is not taken over, and its owner sees nothing of the attempt") {
  const Folder folder;
  const Fd listening = listen_at(folder.file("s"));
  CHECK_THROWS_WITH(listen_at(folder.file("s")), Contains("another process listens there"));
  CHECK(accept(listening.get(), nullptr, nullptr) == -1);
  CHECK(errno == EAGAIN);
  const Fd connection = connect_to(folder.file("s"));
  CHECK(connection);
  CHECK(Fd(accept(listening.get(), nullptr, nullptr)));
}

TEST_CASE("a dead socket's file is replaced") {
  const Folder folder;
  { const Fd dead = listen_at(folder.file("s")); }
  CHECK(std::filesystem::exists(folder.file("s")));
  CHECK_THROWS_AS(connect_to(folder.file("s")), std::system_error);
  const Fd listening = listen_at(folder.file("s"));
  CHECK(connect_to(folder.file("s")));
}

TEST_CASE("another kind of file stays what it is") {
  const Folder folder;
  std::ofstream(folder.file("s")) << "precious";
  CHECK_THROWS_WITH(listen_at(folder.file("s")), Contains("not a socket"));
  CHECK(std::filesystem::file_size(folder.file("s")) == 8);
}

TEST_CASE("paths that can't be are errors") {
  const Folder folder;
  CHECK_THROWS_AS(listen_at(""), std::system_error);
  CHECK_THROWS_AS(listen_at(folder.file("no/such/folder")), std::system_error);
  CHECK_THROWS_AS(listen_at(folder.file(std::string(200, 'x').c_str())), std::system_error);
  CHECK_THROWS_AS(connect_to(folder.file("s")), std::system_error);
}

TEST_CASE("a descriptor is closed once, by its last owner") {
  int pair[2];
  REQUIRE(pipe(pair) == 0);
  const auto open = [](int fd) { return fcntl(fd, F_GETFD) >= 0; };
  {
    Fd first(pair[0]);
    Fd second(std::move(first));
    CHECK_FALSE(first);
    CHECK(second.get() == pair[0]);
    second = Fd(pair[1]);
    CHECK_FALSE(open(pair[0]));
    CHECK(open(pair[1]));
  }
  CHECK_FALSE(open(pair[1]));
}
