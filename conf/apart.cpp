#include "conf/apart.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "channel/write_all.hpp"
#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

constexpr char kDone = 'd';
constexpr char kFailed = 'f';

std::string read_all(int fd) {
  std::string out;
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return out;
    out.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

// Nothing that the parent has to do at its end is done here: no destructors of its objects, no buffers.
[[noreturn]] void be_apart(int out, const std::function<std::string()>& work) {
  static_cast<void>(::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT));  // a lock is not inherited
  std::string text;
  try {
    text = kDone + work();
  } catch (const std::exception& error) {
    text = kFailed + std::string(error.what());
  }
  ::_exit(channel::write_all(out, text) ? 0 : 1);
}

[[noreturn]] void no_child() {
  throw Error(
      fmt::format("the configuration can't be read in a process of its own: {}", std::strerror(errno)));
}

void blank(Node& node) {
  if (node.kind == NodeKind::scalar) node.text.assign(node.text.size(), '*');
  const std::size_t step = node.kind == NodeKind::map ? 2 : 1;
  for (std::size_t i = step - 1; i < node.children.size(); i += step) blank(node.children[i]);
}

}  // namespace

std::string apart(const std::function<std::string()>& work) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) no_child();
  const pid_t child = ::fork();
  if (child == 0) be_apart(ends[1], work);
  ::close(ends[1]);
  std::string text = child > 0 ? read_all(ends[0]) : std::string();
  const int problem = errno;
  ::close(ends[0]);
  errno = problem;
  if (child < 0) no_child();
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || text.empty())
    throw Error("the process that reads the configuration ended before it had done so");
  const bool done = text.front() == kDone;
  text.erase(0, 1);
  if (!done) throw Error(text);
  return text;
}

void blank_secrets(Node& root) {
  if (root.kind != NodeKind::map) {
    for (Node& child : root.children) blank_secrets(child);
    return;
  }
  for (std::size_t i = 0; i + 1 < root.children.size(); i += 2)
    is_secret(root.children[i].text) ? blank(root.children[i + 1]) : blank_secrets(root.children[i + 1]);
}

void Packer::number(std::uint32_t value) { out_.append(reinterpret_cast<const char*>(&value), sizeof value); }

void Packer::text(std::string_view value) {
  number(static_cast<std::uint32_t>(value.size()));
  out_.append(value);
}

void Packer::tree(const Node& root) {
  number(static_cast<std::uint32_t>(root.kind));
  number(static_cast<std::uint32_t>(root.mark.line));
  number(static_cast<std::uint32_t>(root.mark.column));
  text(root.text);
  number(static_cast<std::uint32_t>(root.children.size()));
  for (const Node& child : root.children) tree(child);
}

std::uint32_t Unpacker::number() {
  std::uint32_t value = 0;
  if (rest_.size() < sizeof value) throw Error("what came back of the configuration is cut short");
  std::memcpy(&value, rest_.data(), sizeof value);
  rest_.remove_prefix(sizeof value);
  return value;
}

std::string Unpacker::text() {
  const std::uint32_t size = number();
  if (rest_.size() < size) throw Error("what came back of the configuration is cut short");
  std::string out(rest_.substr(0, size));
  rest_.remove_prefix(size);
  return out;
}

Node Unpacker::tree(std::size_t depth) {
  const std::uint32_t kind = number();
  if (kind > static_cast<std::uint32_t>(NodeKind::map) || depth > kMaxNesting)
    throw Error("what came back of the configuration is none");
  Node out(static_cast<NodeKind>(kind), {});
  out.mark.line = static_cast<int>(number());
  out.mark.column = static_cast<int>(number());
  out.text = text();
  for (std::uint32_t left = number(); left > 0; --left) out.children.push_back(tree(depth + 1));
  return out;
}

}  // namespace espgate::conf
