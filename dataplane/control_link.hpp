// What the dataplane's main thread tells the control process. Attachment is the real one; tests keep what was
// said.
#pragma once

#include <cstdint>

#include "channel/messages.hpp"

namespace espgate::dataplane {

class ControlLink {
 public:
  virtual ~ControlLink() = default;
  // Lost (and counted) when nobody is attached, or when the process does not read for long.
  virtual void tell(const channel::Event& event) = 0;
  // False: nobody is attached, or the ring is full.
  [[nodiscard]] virtual bool deliver(const channel::IkeDatagram& datagram) = 0;
  // Datagrams delivered and not read yet: 0..channel::kIkeSlots.
  [[nodiscard]] virtual std::uint32_t undelivered() const = 0;
};

}  // namespace espgate::dataplane
