#include "conf/keys.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

std::string unknown_words(std::string_view key, std::span<const std::string_view> names) {
  std::string words = fmt::format("unknown key {}; expected one of: {}", in_quotes(key), join(names));
  if (const std::string_view near = nearest(key, names); !near.empty())
    words += fmt::format(" (did you mean {}?)", in_quotes(near));
  return words;
}

}  // namespace

void check_keys(const Field& block, std::span<const std::string_view> names, std::span<const bool> required) {
  std::map<std::string_view, int> lines;
  const std::vector<Node>& children = block.node.children;
  for (std::size_t i = 0; i + 1 < children.size(); i += 2) {
    const Node& key = children[i];
    Errors& errors = block.reading.errors;
    if (key.kind != NodeKind::scalar) {
      errors.add(key.mark,
                 fmt::format("a key can't be a list, a block or nothing; expected one of: {}", join(names)));
    } else if (const auto [first, is_new] = lines.emplace(key.text, key.mark.line); !is_new) {
      errors.add(key.mark, fmt::format("key {} stands here twice; first on line {}", in_quotes(key.text),
                                       first->second));
    } else if (std::find(names.begin(), names.end(), key.text) == names.end()) {
      errors.add(key.mark, unknown_words(key.text, names));
    }
  }
  for (std::size_t i = 0; i < names.size(); ++i)
    if (required[i] && !lines.contains(names[i]))
      block.error(fmt::format("{}: the key {} is missing", block.key, in_quotes(names[i])));
}

std::vector<KnownKey> known_keys() {
  std::vector<KnownKey> keys;
  append_gateway_keys(keys);
  append_tunnel_keys(keys);
  return keys;
}

}  // namespace espgate::conf
