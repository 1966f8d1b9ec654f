// Work with secrets in a process of its own, which ends and takes them along: what comes back is what may be
// known here. Only for processes with one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "conf/node.hpp"

namespace espgate::conf {

// Runs `work` in a child process and returns what it returned. Throws Error: with the words of what it threw,
// or where there can't be a child.
[[nodiscard]] std::string apart(const std::function<std::string()>& work);

// Asterisks in the place of every secret that stands in the file itself, as many as it has characters.
void blank_secrets(Node& root);

// A tree, and other texts, as one text and back. `Unpacker` throws Error: it is something else.
class Packer {
 public:
  void number(std::uint32_t value);
  void text(std::string_view value);
  void tree(const Node& root);
  [[nodiscard]] std::string take() && { return std::move(out_); }

 private:
  std::string out_;
};
class Unpacker {
 public:
  explicit Unpacker(std::string_view packed) : rest_(packed) {}
  [[nodiscard]] std::uint32_t number();
  [[nodiscard]] std::string text();
  [[nodiscard]] Node tree(std::size_t depth = 0);
  [[nodiscard]] bool empty() const noexcept { return rest_.empty(); }

 private:
  std::string_view rest_;
};

}  // namespace espgate::conf
