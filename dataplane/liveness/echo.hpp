// ICMP echo (RFC 792, RFC 4443 section 4) as it is sent to a tunnel's far end. Main thread only.
#pragma once

#include <cstdint>
#include <optional>

#include "channel/address.hpp"
#include "dataplane/ports/outbox.hpp"

namespace espgate::dataplane {

struct Echo {
  std::uint16_t identifier;
  std::uint16_t number;
};

// A request; both addresses of one family. Null: no buffer was free; counted.
[[nodiscard]] rte_mbuf* make_echo(Outbox& outbox, const IpAddress& from, const IpAddress& to,
                                  const Echo& echo) noexcept;

// What a reply answers: the data are at an IP header, a whole packet of one segment. nullopt: it is no reply,
// or a damaged one.
[[nodiscard]] std::optional<Echo> read_echo_reply(rte_mbuf* packet) noexcept;

}  // namespace espgate::dataplane
