// A good configuration of which the tests change a line.
#pragma once

#include <catch2/catch.hpp>
#include <string>
#include <string_view>

#include "conf/load.hpp"

namespace espgate::conf::tests {

inline constexpr std::string_view kBase =
    R"(ports:
  - {name: lan, device: "af_packet:lan", addresses: [10.1.0.1/24, "fd00:1::1/64"]}
  - {name: wan, device: "af_packet:wan", addresses: [192.0.2.1/24]}
tunnels:
  - name: west-a
    local: {address: 192.0.2.1, id: east.example}
    remote: {address: 192.0.2.2, id: west-a.example}
    psk: secret
    interface: {name: vti-a, addresses: [169.254.1.1/30]}
  - name: west-b
    local: {address: 192.0.2.1, id: east.example}
    remote: {address: 192.0.2.3, id: west-b.example}
    psk: secret
    interface: {name: vti-b, addresses: [169.254.2.1/30]}
groups:
  - {name: cloud, tunnels: [west-a, west-b]}
routes:
  - {to: 10.2.0.0/16, group: cloud}
  - {to: 0.0.0.0/0, via: 192.0.2.254}
)";

// The base with line `number` (from 1) replaced by `text`, which may be none or several lines; 20 appends.
inline std::string with_line(int number, std::string_view text) {
  std::size_t begin = 0;
  for (int line = 1; line < number && begin < kBase.size(); ++line) begin = kBase.find('\n', begin) + 1;
  const std::size_t end = begin < kBase.size() ? kBase.find('\n', begin) + 1 : begin;
  std::string result(kBase.substr(0, begin));
  result += text;
  if (!text.empty()) result += '\n';
  return result + std::string(kBase.substr(end));
}

// A file with the first `from` in it, which must be there, replaced.
inline std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

// What the loader says of a file, all of it.
inline std::string words_of(const std::string& text) {
  try {
    (void)load_text(text, "gw.yaml");
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

}  // namespace espgate::conf::tests
