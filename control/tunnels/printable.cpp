#include "control/tunnels/printable.hpp"

#include <fmt/format.h>

#include <iterator>

namespace espgate::control {

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char character : text) {
    const auto byte = static_cast<unsigned char>(character);
    if (character == '\\')
      out += "\\\\";
    else if (byte >= 0x20 && byte < 0x7f)
      out += character;
    else
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", byte);
  }
  return out;
}

}  // namespace espgate::control
