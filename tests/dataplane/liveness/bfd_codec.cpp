// Reads a UDP payload in hex from each line; writes what BFD's parser makes of it: its fields and the packet
// that our encoder makes of these, or "discarded". For check_bfd.py.
#include <fmt/format.h>

#include <iostream>
#include <string>
#include <vector>

#include "dataplane/liveness/bfd.hpp"

using namespace espgate::dataplane;

namespace {

std::vector<std::uint8_t> unhex(const std::string& line) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i + 1 < line.size(); i += 2)
    bytes.push_back(static_cast<std::uint8_t>(std::stoul(line.substr(i, 2), nullptr, 16)));
  return bytes;
}

std::string answer(const bfd::ControlPacket& p) {
  std::string text = fmt::format("{} {} {:d} {:d} {:d} {:d} {} {} {} {} {} {} ", static_cast<int>(p.state),
                                 static_cast<int>(p.diagnostic), p.poll, p.final, p.control_plane_independent,
                                 p.demand, p.detect_multiplier, p.my_discriminator, p.your_discriminator,
                                 p.desired_min_tx, p.required_min_rx, p.required_min_echo_rx);
  for (const std::uint8_t byte : bfd::encode(p)) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    const auto packet = bfd::parse(unhex(line));
    std::cout << (packet ? answer(*packet) : "discarded") << '\n';
  }
  return 0;
}
