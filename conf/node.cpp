#include "conf/node.hpp"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <cstring>
#include <istream>
#include <map>
#include <streambuf>
#include <utility>

namespace espgate::conf {
namespace {

// A stream over text that stays where it is: a stringstream would keep a copy of the secrets in it.
class TextBuffer : public std::streambuf {
 public:
  explicit TextBuffer(std::string_view text) {
    char* begin = const_cast<char*>(text.data());  // streambuf's interface; nothing writes
    setg(begin, begin, begin + text.size());
  }
};

Mark to_mark(const YAML::Mark& mark) { return {mark.line + 1, mark.column + 1}; }

std::size_t count_nodes(const Node& node) {
  std::size_t count = 1;
  for (const Node& child : node.children) count += count_nodes(child);
  return count;
}

std::size_t depth_of(const Node& node) {
  std::size_t deepest = 0;
  for (const Node& child : node.children) deepest = std::max(deepest, depth_of(child));
  return deepest + 1;
}

// Builds the tree from the parser's events. The parser recurses with the document, so its depth is bounded
// here, where throwing stops it.
class Builder : public YAML::EventHandler {
 public:
  Node take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    attach(Node(NodeKind::null, to_mark(mark)), anchor);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    refuse_tag(mark, tag);
    Node node(NodeKind::scalar, to_mark(mark));
    node.text = value;
    // `~` and `null` unquoted say "nothing" in YAML.
    if (tag != "!" && (value == "~" || value == "null")) node.kind = NodeKind::null;
    attach(std::move(node), anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(NodeKind::list, mark, tag, anchor);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(NodeKind::map, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchored_.find(anchor);
    if (found == anchored_.end()) throw SyntaxError(to_mark(mark), "an alias inside of what it stands for");
    if (open_.size() + depth_of(found->second) > kMaxNesting) refuse_depth(to_mark(mark));
    count(count_nodes(found->second), to_mark(mark));
    attach(Node(found->second), 0);
  }

 private:
  static void refuse_tag(const YAML::Mark& mark, const std::string& tag) {
    if (!tag.empty() && tag != "?" && tag != "!") throw SyntaxError(to_mark(mark), "tags mean nothing here");
  }
  [[noreturn]] static void refuse_depth(Mark mark) {
    throw SyntaxError(mark, "nested deeper than " + std::to_string(kMaxNesting) + " levels");
  }

  void count(std::size_t nodes, Mark mark) {
    nodes_ += nodes;
    if (nodes_ > kMaxNodes) throw SyntaxError(mark, "more than " + std::to_string(kMaxNodes) + " values");
  }

  void open(NodeKind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    refuse_tag(mark, tag);
    if (open_.size() >= kMaxNesting) refuse_depth(to_mark(mark));
    open_.emplace_back(Node(kind, to_mark(mark)), anchor);
  }

  void close() {
    auto [node, anchor] = std::move(open_.back());
    open_.pop_back();
    attach(std::move(node), anchor);
  }

  void attach(Node node, YAML::anchor_t anchor) {
    count(1, node.mark);
    if (anchor != 0) {
      count(count_nodes(node), node.mark);
      anchored_.insert_or_assign(anchor, Node(node));
    }
    if (open_.empty()) {
      root_ = std::move(node);
    } else {
      std::vector<Node>& siblings = open_.back().first.children;
      // The parser places "nothing" at whatever comes next, maybe lines below: its key is the better place.
      const bool is_value = open_.back().first.kind == NodeKind::map && siblings.size() % 2 == 1;
      if (is_value && node.kind == NodeKind::null) node.mark = siblings.back().mark;
      siblings.push_back(std::move(node));
    }
  }

  Node root_;
  std::vector<std::pair<Node, YAML::anchor_t>> open_;
  std::map<YAML::anchor_t, Node> anchored_;
  std::size_t nodes_{0};
};

Node parse_bounded(std::string_view text) {
  // The parser takes an unclosed quote for closed when a line break is the last it sees.
  TextBuffer buffer(text.substr(0, text.find_last_not_of(" \t\r\n") + 1));
  std::istream stream(&buffer);
  YAML::Parser parser(stream);
  Builder builder;
  if (!parser.HandleNextDocument(builder)) return {NodeKind::null, {1, 1}};
  Builder rest;
  if (parser.HandleNextDocument(rest)) throw SyntaxError(rest.take().mark, "a second document; expected one");
  return builder.take();
}

}  // namespace

Node::~Node() {
  if (!text.empty()) explicit_bzero(text.data(), text.size());
}

const Node& Node::at(std::string_view key) const noexcept {
  if (kind != NodeKind::map) return *this;
  for (std::size_t i = 0; i + 1 < children.size(); i += 2)
    if (children[i].kind == NodeKind::scalar && children[i].text == key) return children[i + 1];
  return *this;
}

const Node& Node::at(std::size_t index) const noexcept {
  return kind == NodeKind::list && index < children.size() ? children[index] : *this;
}

Node parse_yaml(std::string_view text) {
  if (text.size() > kMaxFileBytes)
    throw SyntaxError({1, 1}, "larger than " + std::to_string(kMaxFileBytes >> 20) + " MiB");
  try {
    return parse_bounded(text);
  } catch (const YAML::Exception& error) {
    throw SyntaxError(to_mark(error.mark), error.msg);
  }
}

}  // namespace espgate::conf
