// What is answered to an IKE_SA_INIT request before there is any state: a cookie, another group, a refusal.
#pragma once

#include "control/ike/core.hpp"
#include "control/ike/message.hpp"

namespace espgate::ike {

void receive_init_request(Core& core, const Header& header, Bytes datagram, const Endpoint& local,
                          const Endpoint& remote);

// An unprotected response with one notify, rate-limited over all strangers together.
void reply_unprotected(Core& core, const Header& request, const NotifyPayload& notify, const Endpoint& local,
                       const Endpoint& remote);

}  // namespace espgate::ike
