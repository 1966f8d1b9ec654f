// NAT keepalives (RFC 3948 section 4). Main thread only.
#pragma once

#include "channel/address.hpp"
#include "dataplane/ports/outbox.hpp"

namespace espgate::dataplane {

// The outer ends of an SA's packets; ports in host byte order, 0 without UDP.
struct OuterEnds {
  IpAddress local;
  IpAddress remote;
  std::uint16_t local_port;
  std::uint16_t remote_port;
  bool operator==(const OuterEnds&) const noexcept = default;
};

// Gives a worker the one-byte datagram of RFC 3948 section 2.3 to route and send. Both ends are of one family
// and have ports.
void send_keepalive(Outbox& outbox, const OuterEnds& ends) noexcept;

}  // namespace espgate::dataplane
