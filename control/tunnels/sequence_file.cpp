#include "control/tunnels/sequence_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <stdexcept>

#include "channel/write_all.hpp"
#include "crypto/ike.hpp"

namespace espgate::control {

namespace {

constexpr std::string_view kHead = "espgate sequence numbers, version 1\n";
constexpr std::string_view kEnd = "end ";
constexpr const char* kFresh = "sequence-numbers.new";

using Numbers = std::map<KeyFingerprint, std::uint64_t>;

crypto::Bytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

std::string hex(crypto::Bytes bytes) {
  std::string text;
  for (const std::uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

// Against damage by accident; whoever may write here may also write this.
std::string last_line(std::string_view lines) {
  const crypto::SecretBytes sum =
      crypto::prf(crypto::Prf::hmac_sha256, bytes_of("espgate sequence numbers"), {bytes_of(lines)});
  return fmt::format("{}{}\n", kEnd, hex(sum.view()));
}

bool parse_hex(std::string_view text, KeyFingerprint& out) {
  if (text.size() != 2 * out.size()) return false;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const char* at = text.data() + 2 * i;
    const auto [end, error] = std::from_chars(at, at + 2, out[i], 16);
    if (error != std::errc() || end != at + 2) return false;
  }
  return true;
}

// "<fingerprint> <number>".
bool parse_line(std::string_view line, Numbers& out) {
  const std::size_t space = line.find(' ');
  KeyFingerprint key;
  if (space == line.npos || !parse_hex(line.substr(0, space), key)) return false;
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(line.data() + space + 1, line.data() + line.size(), number);
  return error == std::errc() && end == line.data() + line.size() && out.emplace(key, number).second;
}

// Everything of `fd`, or nullopt: it can't be read, or is too long.
std::optional<std::string> read_all(int fd) {
  std::string text;
  char buffer[65536];
  for (;;) {
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 || text.size() > SequenceFile::kMaxBytes) return std::nullopt;
    if (got == 0) return text;
    text.append(buffer, static_cast<std::size_t>(got));
  }
}

// Who could write there could have numbers used again.
bool open_to_others(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) != 0 || (status.st_mode & 022) != 0;
}

}  // namespace

std::string format_sequence_numbers(const Numbers& numbers) {
  std::string text(kHead);
  for (const auto& [key, number] : numbers) text += fmt::format("{} {}\n", hex(key), number);
  return text + last_line(text);
}

std::optional<Numbers> parse_sequence_numbers(std::string_view text) {
  const std::size_t end = text.rfind(kEnd);
  if (!text.starts_with(kHead) || end == text.npos || end < kHead.size()) return std::nullopt;
  const std::string_view lines = text.substr(0, end);
  if (text.substr(end) != last_line(lines)) return std::nullopt;
  Numbers numbers;
  for (std::size_t at = kHead.size(); at < lines.size();) {
    const std::size_t stop = lines.find('\n', at);
    if (stop == lines.npos || !parse_line(lines.substr(at, stop - at), numbers)) return std::nullopt;
    at = stop + 1;
  }
  return numbers;
}

SequenceFile::SequenceFile(const std::string& directory)
    : directory_path_(directory), path_(directory + "/" + std::string(kName)) {
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(directory).parent_path(), ignored);
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) fail("can't make the directory " + directory);
  directory_ = channel::Fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory_) fail("can't open the directory " + directory);
  if (open_to_others(directory_.get()))
    throw std::runtime_error(fmt::format(
        "the directory {} can be written by others than its owner; chmod 700 {}", directory, directory));
  lock_ = channel::Fd(::openat(directory_.get(), "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock_) fail("can't make a file in " + directory);
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0)
    throw std::runtime_error(fmt::format(
        "another espgate-control uses {}; give each gateway a state-directory of its own", directory));
  read();
}

void SequenceFile::fail(const std::string& what) const {
  throw std::runtime_error(fmt::format("{}: {}", what, std::strerror(errno)));
}

void SequenceFile::read() {
  const channel::Fd file(
      ::openat(directory_.get(), std::string(kName).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file && errno == ENOENT) return;
  if (!file) fail("can't read " + path_);
  if (open_to_others(file.get()))
    throw std::runtime_error(fmt::format("{} can be written by others than its owner; chmod 600 it", path_));
  const std::optional<std::string> text = read_all(file.get());
  std::optional<Numbers> numbers = text ? parse_sequence_numbers(*text) : std::nullopt;
  if (!numbers)
    throw std::runtime_error(fmt::format(
        "{} is damaged, so nobody knows any more which sequence numbers were used: put new keys into all "
        "manual tunnels' key files, here and at their peers, and then remove it",
        path_));
  last_ = std::move(*numbers);
}

std::optional<std::uint64_t> SequenceFile::last(const KeyFingerprint& key) const {
  const auto found = last_.find(key);
  if (found == last_.end()) return std::nullopt;
  return found->second;
}

void SequenceFile::raise(const KeyFingerprint& key, std::uint64_t last) {
  const auto [entry, is_new] = last_.try_emplace(key, last);
  if (!is_new && entry->second >= last) return;
  entry->second = last;
  changed_ = true;
}

void SequenceFile::commit() {
  if (!changed_) return;
  write(format_sequence_numbers(last_));
  changed_ = false;
}

// The new file is whole on disk before it takes the old one's name, and the name before we go on.
void SequenceFile::write(const std::string& text) const {
  const channel::Fd file(
      ::openat(directory_.get(), kFresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file || !channel::write_all(file.get(), text) || ::fsync(file.get()) != 0)
    fail(fmt::format("can't write {}/{}", directory_path_, kFresh));
  if (::renameat(directory_.get(), kFresh, directory_.get(), std::string(kName).c_str()) != 0)
    fail("can't replace " + path_);
  if (::fsync(directory_.get()) != 0) fail("can't write the directory " + directory_path_);
}

}  // namespace espgate::control
