// What is wrong with a file, all of it, in the order of the file. Only conf/ itself includes this.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "conf/schema.hpp"

namespace espgate::conf {

class Errors {
 public:
  explicit Errors(std::string file) : file_(std::move(file)) {}

  void add(Mark mark, std::string what);
  [[nodiscard]] bool empty() const { return entries_.empty(); }
  // Throws Error with one line for each; nothing if there are none.
  void raise() const;

 private:
  struct Entry {
    Mark mark;
    std::string what;
  };
  std::string file_;
  std::vector<Entry> entries_;
};

// `text` between quotes, cut short if long, with control characters made visible.
[[nodiscard]] std::string in_quotes(std::string_view text);
// "a, b, c".
[[nodiscard]] std::string join(std::span<const std::string_view> words);
// The candidate that `text` was most likely meant to be; empty if none is near.
[[nodiscard]] std::string_view nearest(std::string_view text, std::span<const std::string_view> candidates);

}  // namespace espgate::conf
