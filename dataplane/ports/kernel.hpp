// Kernel interfaces behind ports, in this process's network namespace.
#pragma once

#include <net/if.h>

#include <map>
#include <set>
#include <string>

#include "channel/region.hpp"
#include "dataplane/ports/interfaces.hpp"

namespace espgate::dataplane {

// Asks about the interface with this index. False: there is none, or it has no answer.
[[nodiscard]] bool ask_kernel(unsigned index, unsigned long request, ifreq& answer) noexcept;

// Sets it up. False: it could not be.
[[nodiscard]] bool set_up(unsigned index) noexcept;

// What a kernel interface lets through, packet sockets get. The kernel forgets the wish with the socket, so
// nothing is left behind. None: there is no such interface, or it refuses.
[[nodiscard]] channel::Fd join_groups(unsigned index, const std::set<Mac>& groups);

// This process's AF_XDP sockets and BPF maps, by descriptor, each with what no other ever has.
[[nodiscard]] std::map<int, std::string> xdp_descriptors();

// Has a TAP of this process been deleted? One that was moved into another namespace is out of sight, but
// lives.
[[nodiscard]] bool lost_a_tap();

}  // namespace espgate::dataplane
