// Reading one value of the file: each function checks type and range, and on an error notes what was expected
// and leaves `out` as it was. Only conf/ itself includes this.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "conf/errors.hpp"
#include "conf/load.hpp"
#include "conf/node.hpp"

namespace espgate::conf {

// What all of one load share.
struct Reading {
  Errors errors;
  Secrets secrets;
  std::string folder;  // of the file, for relative psk-file paths
};

// A value to read: the node, and the key it stands at.
struct Field {
  Reading& reading;
  const Node& node;
  std::string_view key;

  void error(const std::string& what) const { reading.errors.add(node.mark, what); }
  // "mtu: expected a number from 576 to 9000, not "big"".
  void expected(std::string_view what) const;
  [[nodiscard]] bool is_scalar() const noexcept { return node.kind == NodeKind::scalar; }
};

void read_text(const Field& field, std::string& out);  // not empty, no control characters
void read_name(const Field& field, std::string& out);  // of a port, tunnel, ...; kept even when wrong
void read_bool(const Field& field, bool& out);
void read_address(const Field& field, IpAddress& out);
void read_network(const Field& field, IpPrefix& out);            // no host bits
void read_interface_address(const Field& field, IpPrefix& out);  // "10.1.0.1/24"
void read_duration(const Field& field, std::chrono::seconds& out, std::chrono::seconds least,
                   std::chrono::seconds most);  // "1h30m", "90s", "90"
void read_duration(const Field& field, std::chrono::milliseconds& out, std::chrono::milliseconds least,
                   std::chrono::milliseconds most);  // as well "250ms"
// The largest unit that divides the time: what an operator would write.
[[nodiscard]] std::string duration_words(std::chrono::milliseconds time);
// "100G", "64Ki"; `unit`: "bytes", for messages.
void read_size(const Field& field, std::uint64_t& out, std::uint64_t least, std::uint64_t most,
               std::string_view unit);
[[nodiscard]] std::optional<std::uint64_t> number_in(const Field& field);  // nullopt: it holds none
[[nodiscard]] bool read_number(const Field& field, std::uint64_t& out, std::uint64_t least,
                               std::uint64_t most);

template <class T>
void read_unsigned(const Field& field, T& out, std::uint64_t least, std::uint64_t most) {
  std::uint64_t value = 0;
  if (read_number(field, value, least, most)) out = static_cast<T>(value);
}

template <class T, std::size_t N>
void read_choice(const Field& field, T& out, const std::array<std::pair<std::string_view, T>, N>& choices) {
  std::string names;
  for (const auto& [name, value] : choices) {
    if (field.is_scalar() && field.node.text == name) {
      out = value;
      return;
    }
    names.append(names.empty() ? "" : " or ").append(name);
  }
  field.expected(names);
}

}  // namespace espgate::conf
