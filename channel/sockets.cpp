// Descriptors and Unix sockets.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "channel/region.hpp"

namespace espgate::channel {
namespace {

[[noreturn]] void fail(int error, const std::string& what) {
  throw std::system_error(error, std::system_category(), what);
}

int type_of(SocketKind kind) { return kind == SocketKind::stream ? SOCK_STREAM : SOCK_SEQPACKET; }

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  if (path.empty() || path.size() >= sizeof(address.sun_path)) fail(ENAMETOOLONG, path);
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

int connect_socket(const Fd& socket, const sockaddr_un& address) noexcept {
  return connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

// Is a socket bound to the file? Asked with a socket of another type, so that the one who listens sees no
// connection.
bool is_live(const sockaddr_un& address) {
  const Fd probe(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!probe) fail(errno, "socket");
  return connect_socket(probe, address) != 0 && errno == EPROTOTYPE;
}

void remove_dead_socket(const std::string& path, const sockaddr_un& address) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return;
    fail(errno, path);
  }
  if (!S_ISSOCK(status.st_mode)) fail(EEXIST, path + " (not a socket)");
  if (is_live(address)) fail(EADDRINUSE, path + " (another process listens there)");
  if (unlink(path.c_str()) != 0 && errno != ENOENT) fail(errno, path);
}

// Two processes that start at once must not remove each other's socket: the folder is locked meanwhile.
Fd lock_folder_of(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  const std::string folder = parent.empty() ? "." : parent;
  Fd lock(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock || flock(lock.get(), LOCK_EX) != 0) fail(errno, folder);
  return lock;
}

}  // namespace

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) close(fd_);
    fd_ = other.release();
  }
  return *this;
}

Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}

Fd listen_at(const std::string& path, SocketKind kind, unsigned mode) {
  const sockaddr_un address = address_of(path);
  Fd listening(socket(AF_UNIX, type_of(kind) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // Set before bind, Linux gives the file this mode from its first moment.
  if (!listening || fchmod(listening.get(), mode) != 0) fail(errno, "socket");
  const Fd lock = lock_folder_of(path);
  remove_dead_socket(path, address);
  if (bind(listening.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    fail(errno, path);
  // What the umask has taken away. Nobody connects before it is listened to.
  if (chmod(path.c_str(), mode) != 0) fail(errno, path);
  if (listen(listening.get(), 16) != 0) fail(errno, path);
  return listening;
}

Fd connect_to(const std::string& path, SocketKind kind) {
  const sockaddr_un address = address_of(path);
  Fd connection(socket(AF_UNIX, type_of(kind) | SOCK_CLOEXEC, 0));
  if (!connection) fail(errno, "socket");
  if (connect_socket(connection, address) != 0) fail(errno, path);
  return connection;
}

void allow_many_descriptors() noexcept {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace espgate::channel
