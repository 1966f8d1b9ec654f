// A child SA pair as the daemon keeps it.
#pragma once

#include "control/ike/daemon.hpp"
#include "control/ike/timers.hpp"
#include "crypto/ike.hpp"

namespace espgate::ike {

class IkeSa;

struct ChildSa {
  enum class State : std::uint8_t {
    installed,
    rekeying,  // our request to rekey it is queued or under way
    replaced,  // another took its place; who began the rekey deletes it
    deleting,  // our delete is under way
  };

  ChildSa(Timers& timers, ChildInstall from, crypto::DhGroup group)
      : install(std::move(from)), pfs_group(group), rekey(timers), expire(timers), later(timers) {}

  ChildInstall install;  // its keys are erased when both directions are in the dataplane
  crypto::DhGroup pfs_group;
  IkeSa* owner{nullptr};
  State state{State::installed};
  bool sending{false};    // its outbound SA was installed
  bool verifying{false};  // its first rekey is to show that one can be made
  bool refused{false};    // a rekey of it came to nothing, and may again
  Time established{}, rekey_at{}, expires_at{};
  Timer rekey, expire;
  Timer later;  // to begin sending, or to remove what the peer should have deleted

  [[nodiscard]] std::uint32_t spi() const { return install.inbound_spi; }
};

}  // namespace espgate::ike
