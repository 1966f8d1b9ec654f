// A YAML document as a plain tree that knows where everything stands. Only conf/ itself includes this.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "conf/schema.hpp"

namespace espgate::conf {

enum class NodeKind : std::uint8_t { null, scalar, list, map };

struct Node {
  NodeKind kind{NodeKind::null};
  Mark mark;
  std::string text;            // of a scalar; erased with the node, since it may be a secret
  std::vector<Node> children;  // of a list; of a map: key, value, key, value, ...

  Node() = default;
  Node(NodeKind what, Mark where) : kind(what), mark(where) {}
  Node(const Node&) = default;
  Node(Node&&) = default;
  Node& operator=(Node&&) = default;
  Node& operator=(const Node&) = delete;
  ~Node();

  // The value of a map's key, or a list's item; this node itself where there is none, so that the place of
  // root.at("routes").at(3).at("via") is as near as the file allows.
  [[nodiscard]] const Node& at(std::string_view key) const noexcept;
  [[nodiscard]] const Node& at(std::size_t index) const noexcept;
};

// The text is no YAML, or not the kind of YAML that is accepted.
struct SyntaxError : std::runtime_error {
  SyntaxError(Mark where, const std::string& what) : std::runtime_error(what), mark(where) {}
  Mark mark;
};

inline constexpr std::size_t kMaxFileBytes = 4U << 20;
inline constexpr std::size_t kMaxNesting = 64;
inline constexpr std::size_t kMaxNodes = 1U << 20;  // with what aliases repeat

// Throws SyntaxError: no YAML, more than one document, deeper or larger than the limits above.
[[nodiscard]] Node parse_yaml(std::string_view text);

}  // namespace espgate::conf
