// What to do with the SAs that the dataplane holds when this process attaches to it.
#pragma once

#include <vector>

#include "channel/messages.hpp"
#include "conf/schema.hpp"
#include "control/tunnels/sa_book.hpp"

namespace espgate::control {

struct Takeover {
  std::vector<ChildRecord> kept;          // adopted, with the end of their lifetime in remove_at
  std::vector<channel::SaHeld> unwanted;  // of tunnels that are no more, renamed, or past their lifetime
};

// Pairs up the directions of each child SA. A held SA is kept when the tunnel at its index still has its name
// and end points, and when less than the configured child lifetime has passed since it was installed.
[[nodiscard]] Takeover sort_held(const std::vector<channel::SaHeld>& held,
                                 const std::vector<conf::Tunnel>& tunnels, Time now);

}  // namespace espgate::control
