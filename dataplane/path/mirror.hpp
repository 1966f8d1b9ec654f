// Copies of one interface's packets, for the kernel's mirror of it (tcpdump): of a port the frames that come
// and go, of a tunnel what comes out of it and what goes in. Nothing, but for one look a burst, while nobody
// asks.
#pragma once

#include <rte_mbuf.h>

#include <span>

#include "dataplane/path/burst.hpp"

namespace espgate::dataplane {

struct Worker;

// What came out of the tunnel, as decryption left it.
void mirror_opened(Worker& worker, Burst& burst) noexcept;
// What goes into it, before encryption.
void mirror_chosen(Worker& worker, Burst& burst) noexcept;
// That came by this port, or are to leave by it.
void mirror_frames(Worker& worker, std::uint8_t port, std::span<rte_mbuf* const> frames) noexcept;

}  // namespace espgate::dataplane
