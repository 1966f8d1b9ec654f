// How the region's descriptors travel: one message on a Unix stream socket. Only channel/ itself includes
// this.
#pragma once

#include <array>

#include "channel/region.hpp"

namespace espgate::channel {

inline constexpr std::size_t kDescriptors = 3;  // region, counters page, the receiver's end of the wakes
using Descriptors = std::array<Fd, kDescriptors>;

// Never blocks. False: the peer is gone.
[[nodiscard]] bool send_descriptors(int socket, const std::array<int, kDescriptors>& descriptors) noexcept;

// Blocks for as long as the socket's own timeout. Throws std::runtime_error with words for the operator.
[[nodiscard]] Descriptors receive_descriptors(int socket);

}  // namespace espgate::channel
