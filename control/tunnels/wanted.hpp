// What the configuration asks of the dataplane, as commands: tunnels, groups and static routes between
// sync_begin and sync_end. A tunnel's or group's index is its place in the file, so that it is the same after
// a restart.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>

#include "channel/messages.hpp"
#include "conf/schema.hpp"

namespace espgate::control {

class Wanted {
 public:
  // `configuration` must outlive this; the loader has checked its names and references.
  explicit Wanted(const conf::Configuration& configuration);

  [[nodiscard]] std::size_t size() const noexcept;
  // The commands one by one, `position` < size(). Made when asked for: a full table of routes is not kept
  // twice.
  [[nodiscard]] channel::Command command(std::size_t position) const;
  // One of them: that of this tunnel of the configuration.
  [[nodiscard]] channel::Command tunnel(std::size_t index) const;

 private:
  [[nodiscard]] channel::Command group(std::size_t index) const;
  [[nodiscard]] channel::Command route(std::size_t index) const;

  const conf::Configuration& configuration_;
  std::unordered_map<std::string, std::uint32_t> tunnels_;
  std::unordered_map<std::string, std::uint32_t> groups_;
};

// A name as it travels: at most kNameLength - 1 bytes, closed with zeros. And back: up to the first zero.
[[nodiscard]] channel::Name to_name(const std::string& text) noexcept;
[[nodiscard]] std::string from_name(const channel::Name& name);

}  // namespace espgate::control
