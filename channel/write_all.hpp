#pragma once

#include <unistd.h>

#include <cerrno>
#include <string_view>

namespace espgate::channel {

// However often it is interrupted. False: not all of it could be written (errno). Any thread.
[[nodiscard]] inline bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = ::write(fd, text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(put));
  }
  return true;
}

}  // namespace espgate::channel
