// What to change, here or at the peer, when a tunnel does not come about or does not carry packets both ways.
// In words, for `explain tunnel`.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "conf/schema.hpp"
#include "control/ike/daemon.hpp"
#include "control/ike/story.hpp"

namespace espgate::control {

struct Advice {
  std::vector<std::string> here, there;
};

// After `reason`; what it says is what the operator knows already. No text of the peer's is unprintable in
// it.
[[nodiscard]] Advice advice_after(const ike::Reason& reason, const conf::Tunnel& tunnel,
                                  const ike::Story& story);

// Of a tunnel that is up, in sum over its SAs.
struct Carried {
  std::uint64_t in{0}, out{0};  // packets
  std::chrono::seconds age{0};  // of the oldest SA
  bool udp_encapsulation{false};
};
// "packets go out, and none comes back"; empty: both ways, or too little to tell.
[[nodiscard]] std::string one_way(const Carried& carried);
[[nodiscard]] Advice advice_one_way(const Carried& carried, const conf::Tunnel& tunnel);

}  // namespace espgate::control
