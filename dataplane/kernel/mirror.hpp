// What one interface carries, for tcpdump: an interface of the kernel where copies arrive (path/mirror.hpp),
// and nothing else. The kernel believes nothing that comes there, and nothing that is sent there goes
// anywhere. Main thread only.
#pragma once

#include <rte_ring.h>

#include <memory>

#include "channel/messages.hpp"
#include "dataplane/kernel/tun.hpp"
#include "dataplane/tables/forwarding.hpp"

namespace espgate::dataplane {

class Mirror {
 public:
  // `copies`: what the workers have copied. Both must outlive this.
  Mirror(Forwarding& tables, rte_ring* copies) noexcept : tables_(tables), copies_(copies) {}
  ~Mirror();
  Mirror(const Mirror&) = delete;
  Mirror& operator=(const Mirror&) = delete;

  // The one mirror there is becomes this one, or none. False: the kernel did not do it, and the log says why;
  // then there is none. Index and name must be sound.
  [[nodiscard]] bool set(const channel::SetMirror& wanted);
  // Gives the kernel some of what has been copied; returns how many packets.
  unsigned serve();

 private:
  Forwarding& tables_;
  rte_ring* copies_;
  std::unique_ptr<Tun> tun_;
};

}  // namespace espgate::dataplane
