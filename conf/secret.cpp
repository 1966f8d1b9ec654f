// Pre-shared keys: from the file itself, or from a file of their own that nobody else can read.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

constexpr std::size_t kMostBytes = 4096;

struct Descriptor {
  explicit Descriptor(int value) : fd(value) {}
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int fd;
};

// Reads to the end, into memory that erases itself. Empty: nothing there, or more than kMostBytes.
crypto::SecretBytes read_secret(int fd) {
  crypto::SecretBytes buffer(kMostBytes + 1);
  std::size_t length = 0;
  while (length < buffer.size()) {
    const ssize_t got = read(fd, buffer.bytes().data() + length, buffer.size() - length);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    length += static_cast<std::size_t>(got);
  }
  if (length > kMostBytes) return {};
  const std::uint8_t* bytes = buffer.view().data();
  // An editor's newline at the end is not part of the secret.
  if (length > 0 && bytes[length - 1] == '\n') --length;
  if (length > 0 && bytes[length - 1] == '\r') --length;
  return crypto::SecretBytes(buffer.view().first(length));
}

// What is wrong with the file as the home of a secret; empty: nothing.
std::string objection(int fd, const std::string& path) {
  struct stat status {};
  if (fd < 0 || fstat(fd, &status) != 0)
    return fmt::format("{} can't be read: {}", in_quotes(path), std::strerror(errno));
  if (!S_ISREG(status.st_mode)) return fmt::format("{} is not a file", in_quotes(path));
  if ((status.st_mode & 077) != 0)
    return fmt::format("{} can be read by others than its owner (mode {:04o}); chmod 600 {}", in_quotes(path),
                       status.st_mode & 07777, path);
  return {};
}

}  // namespace

void read_psk(const Field& field, crypto::SecretBytes& out) {
  // The value never stands in a message.
  if (!field.is_scalar() || field.node.text.empty())
    return field.error("psk: expected text, the pre-shared key");
  if (field.node.text.size() > kMostBytes)
    return field.error(fmt::format("psk: expected at most {} characters", kMostBytes));
  if (field.reading.secrets == Secrets::load) out = crypto::SecretBytes(std::string_view(field.node.text));
}

void read_psk_file(const Field& field, crypto::SecretBytes& out) {
  std::string name;
  read_text(field, name);
  if (name.empty() || field.reading.secrets == Secrets::skip) return;
  const std::string path = (std::filesystem::path(field.reading.folder) / name).string();
  // Not blocking: a pipe in the file's place must not hold up the start.
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (const std::string what = objection(file.fd, path); !what.empty())
    return field.error("psk-file: " + what);
  crypto::SecretBytes secret = read_secret(file.fd);
  if (secret.empty())
    return field.error(
        fmt::format("psk-file: {} is empty or longer than {} bytes", in_quotes(path), kMostBytes));
  out = std::move(secret);
}

}  // namespace espgate::conf
