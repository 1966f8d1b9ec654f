// A TUN of the kernel: whoever holds it is what lies behind an interface without link layer. It is there for
// as long as somebody holds one of its descriptors, of which one carries packets and the other none: that one
// is for the control process to keep, so that the interface outlives this process with its addresses, routes
// and carrier.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "channel/region.hpp"

namespace espgate::dataplane {

class Tun {
 public:
  // Takes hold of the TUN of this name, or makes it. Throws std::runtime_error with words: no /dev/net/tun,
  // another interface has the name.
  explicit Tun(const std::string& name);

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  // An IP packet into the kernel's network stack. False: the interface is down, or has gone.
  [[nodiscard]] bool write(std::span<const std::uint8_t> packet) const noexcept;
  // A packet that the kernel sends, cut off at the end of `room`. 0: there is none now; negative: the
  // interface was deleted.
  [[nodiscard]] int read(std::span<std::uint8_t> room) const noexcept;
  // What the kernel takes for the link's state.
  void set_carrier(bool up) const noexcept;
  // The descriptor that carries no packets.
  [[nodiscard]] int keepsake() const noexcept { return keepsake_.get(); }

 private:
  channel::Fd keepsake_;  // before the other, so that there never are two that get packets
  channel::Fd fd_;
};

}  // namespace espgate::dataplane
