// NAT keepalives (RFC 3948 section 4). Main thread only.
#pragma once

#include "dataplane/ports/outbox.hpp"
#include "dataplane/tables/sa.hpp"

namespace espgate::dataplane {

// Gives a worker the one-byte datagram of RFC 3948 section 2.3 to route and send. Both ends are of one family
// and have ports.
void send_keepalive(Outbox& outbox, const OuterEnds& ends, TableId table) noexcept;

}  // namespace espgate::dataplane
