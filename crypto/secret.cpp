#include "crypto/secret.hpp"

#include <sys/random.h>

#include <cerrno>
#include <cstdlib>

namespace espgate::crypto {

bool equal_in_constant_time(Bytes a, Bytes b) noexcept {
  if (a.size() != b.size()) return false;
  std::uint8_t difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference = static_cast<std::uint8_t>(difference | (a[i] ^ b[i]));
    // The compiler must not see that nothing changes any more after the first difference.
    asm volatile("" : "+r"(difference));
  }
  return difference == 0;
}

void random_bytes(MutableBytes out) noexcept {
  while (!out.empty()) {
    const ssize_t got = getrandom(out.data(), out.size(), 0);
    if (got > 0) {
      out = out.subspan(static_cast<std::size_t>(got));
    } else if (errno != EINTR) {
      std::abort();  // a nonce or a key without entropy is worse than no process
    }
  }
}

}  // namespace espgate::crypto
