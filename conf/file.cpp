#include "conf/file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "conf/errors.hpp"

namespace espgate::conf {
namespace {

struct Descriptor {
  explicit Descriptor(int value) : fd(value) {}
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int fd;
};

// Reads to the end. Empty: nothing there, or more than `most`.
crypto::SecretBytes read_all(int fd, std::size_t size, std::size_t most) {
  crypto::SecretBytes buffer(std::min(size, most) + 1);
  std::size_t length = 0;
  while (length < buffer.size()) {
    const ssize_t got = read(fd, buffer.bytes().data() + length, buffer.size() - length);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    length += static_cast<std::size_t>(got);
  }
  if (length == buffer.size()) return {};
  return crypto::SecretBytes(buffer.view().first(length));
}

std::string objection(int fd, const std::string& path, Readers readers, struct stat& status) {
  if (fd < 0 || fstat(fd, &status) != 0)
    return fmt::format("{} can't be read: {}", in_quotes(path), std::strerror(errno));
  if (!S_ISREG(status.st_mode)) return fmt::format("{} is not a file", in_quotes(path));
  if (readers == Readers::owner && (status.st_mode & 077) != 0)
    return fmt::format("{} can be read by others than its owner (mode {:04o}); chmod 600 {}", in_quotes(path),
                       status.st_mode & 07777, path);
  return {};
}

}  // namespace

FileContent read_whole(const std::string& path, Readers readers, std::size_t most) {
  // Not blocking: a pipe in the file's place must not hold up the start.
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat status {};
  FileContent out;
  out.objection = objection(file.fd, path, readers, status);
  if (!out.objection.empty()) return out;
  out.bytes = read_all(file.fd, static_cast<std::size_t>(status.st_size), most);
  if (out.bytes.empty())
    out.objection = fmt::format("{} is empty or longer than {} bytes", in_quotes(path), most);
  return out;
}

}  // namespace espgate::conf
