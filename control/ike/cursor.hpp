// Reading and writing of network byte order, bounds-checked. A cursor that is asked for more than there is
// fails, stays failed, and answers zeros from then on: a parser reads a whole structure and asks once whether
// it was there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>

#include "control/ike/payloads.hpp"

namespace espgate::ike {

class Cursor {
 public:
  explicit Cursor(Bytes bytes) noexcept : rest_(bytes) {}

  [[nodiscard]] bool ok() const noexcept { return words_ == nullptr; }
  [[nodiscard]] const char* words() const noexcept { return words_; }  // what failed first; nullptr: nothing
  [[nodiscard]] bool empty() const noexcept { return rest_.empty(); }
  [[nodiscard]] std::size_t left() const noexcept { return rest_.size(); }

  // Fails with `words` (a string literal) unless `condition` holds. Returns whether all is well so far.
  bool require(bool condition, const char* words) noexcept {
    if (!condition && ok()) {
      words_ = words;
      rest_ = {};
    }
    return ok();
  }

  [[nodiscard]] Bytes take(std::size_t count) noexcept {
    if (!require(count <= rest_.size(), "it is cut short")) return {};
    const Bytes taken = rest_.first(count);
    rest_ = rest_.subspan(count);
    return taken;
  }
  [[nodiscard]] Bytes rest() noexcept { return take(rest_.size()); }
  void skip(std::size_t count) noexcept { static_cast<void>(take(count)); }

  [[nodiscard]] std::uint8_t u8() noexcept { return static_cast<std::uint8_t>(number(1)); }
  [[nodiscard]] std::uint16_t u16() noexcept { return static_cast<std::uint16_t>(number(2)); }
  [[nodiscard]] std::uint32_t u32() noexcept { return static_cast<std::uint32_t>(number(4)); }
  [[nodiscard]] std::uint64_t u64() noexcept { return number(8); }

 private:
  [[nodiscard]] std::uint64_t number(std::size_t count) noexcept {
    std::uint64_t value = 0;
    for (const std::uint8_t byte : take(count)) value = value << 8 | byte;
    return value;
  }

  Bytes rest_;
  const char* words_{nullptr};
};

[[nodiscard]] inline ByteVector to_vector(Bytes bytes) { return {bytes.begin(), bytes.end()}; }

class Writer {
 public:
  void u8(std::uint8_t value) { bytes_.push_back(value); }
  void u16(std::uint16_t value) { number(value, 2); }
  void u32(std::uint32_t value) { number(value, 4); }
  void u64(std::uint64_t value) { number(value, 8); }
  void bytes(Bytes bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
  void zeros(std::size_t count) { bytes_.resize(bytes_.size() + count); }

  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
  void set_u8(std::size_t at, std::uint8_t value) { bytes_.at(at) = value; }
  // Writes at `at` how many bytes there are from `from` on. Throws std::length_error beyond 16 bits.
  void set_length16(std::size_t at, std::size_t from) {
    const std::size_t length = bytes_.size() - from;
    if (length > 0xffff) throw std::length_error("an IKE payload longer than 65535 bytes");
    bytes_.at(at) = static_cast<std::uint8_t>(length >> 8);
    bytes_.at(at + 1) = static_cast<std::uint8_t>(length);
  }
  [[nodiscard]] Bytes view() const noexcept { return bytes_; }
  [[nodiscard]] ByteVector take() && { return std::move(bytes_); }

 private:
  void number(std::uint64_t value, std::size_t count) {
    for (std::size_t shift = count * 8; shift > 0; shift -= 8)
      bytes_.push_back(static_cast<std::uint8_t>(value >> (shift - 8)));
  }

  ByteVector bytes_;
};

}  // namespace espgate::ike
