// The file's blocks as tables of keys, one row each: reading, the errors about unknown and missing keys, and
// the test of docs/configuration.md all come from them. Only conf/ itself and its tests include this.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "conf/values.hpp"

namespace espgate::conf {

enum class Need : std::uint8_t { optional, required };

template <class T>
struct Key {
  std::string_view name;
  Need need;
  void (*read)(const Field& field, T& out);
};

// What a block's keys come to, apart from their values. `block`: "tunnel", for messages.
void check_keys(const Field& block, std::span<const std::string_view> names, std::span<const bool> required);

template <class T, std::size_t N>
[[nodiscard]] constexpr std::array<std::string_view, N> names_of(const Key<T> (&keys)[N]) {
  std::array<std::string_view, N> names;
  for (std::size_t i = 0; i < N; ++i) names[i] = keys[i].name;
  return names;
}

// Reads a block of keys into `out`. Of a key that is given twice the first counts. A block without a value
// (all its lines commented out) is an empty one.
template <class T, std::size_t N>
void read_block(const Field& field, const Key<T> (&keys)[N], T& out) {
  if (field.node.kind != NodeKind::map && field.node.kind != NodeKind::null)
    return field.expected("a block of keys");
  std::array<bool, N> required;
  for (std::size_t i = 0; i < N; ++i) required[i] = keys[i].need == Need::required;
  check_keys(field, names_of(keys), required);
  for (const Key<T>& key : keys)
    if (const Node& value = field.node.at(key.name); &value != &field.node)
      key.read({field.reading, value, key.name}, out);
}

// Reads a list; an item that is wrong still counts, so that `out` and the list have the same indices. A key
// without a value (all its lines commented out) is an empty list.
template <class T, class Read>
void read_list(const Field& field, std::vector<T>& out, std::size_t most, Read read) {
  if (field.node.kind == NodeKind::null) return;
  if (field.node.kind != NodeKind::list) return field.expected("a list");
  if (field.node.children.size() > most)
    return field.expected("a list of at most " + std::to_string(most) + " entries");
  out.clear();
  for (const Node& item : field.node.children) {
    out.emplace_back();
    read(Field{field.reading, item, field.key}, out.back());
  }
}

// A key's full name and the block it belongs to.
struct KnownKey {
  std::string block;  // "" for the file itself, "tunnels.local"
  std::string name;
};
[[nodiscard]] std::vector<KnownKey> known_keys();

template <class T, std::size_t N>
void append_keys(std::vector<KnownKey>& to, std::string_view block, const Key<T> (&keys)[N]) {
  for (const Key<T>& key : keys) to.push_back({std::string(block), std::string(key.name)});
}

}  // namespace espgate::conf
