// How descriptors travel on the Unix stream socket between the processes: the region's, in one message at the
// start; then those of the kernel's TUNs, which the control process keeps so that they outlive the dataplane.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "channel/region.hpp"

namespace espgate::channel {

inline constexpr std::size_t kDescriptors = 3;  // region, counters page, the receiver's end of the wakes
using Descriptors = std::array<Fd, kDescriptors>;

// Never blocks. False: the peer is gone.
[[nodiscard]] bool send_descriptors(int socket, const std::array<int, kDescriptors>& descriptors) noexcept;

// Blocks for as long as the socket's own timeout. Throws std::runtime_error with words for the operator.
[[nodiscard]] Descriptors receive_descriptors(int socket);

// Something for the control process to keep open, of a name of 1 to 31 characters.
struct Keepsake {
  std::string name;
  Fd fd;
};

// Never blocks. False: the socket has no room now, or the peer is gone.
[[nodiscard]] bool send_keepsake(int socket, const std::string& name, int fd) noexcept;

// Never blocks. nullopt: there is none now. Throws std::runtime_error with words: the peer is gone, or said
// something else.
[[nodiscard]] std::optional<Keepsake> receive_keepsake(int socket);

}  // namespace espgate::channel
