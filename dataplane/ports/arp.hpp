// ARP (RFC 826) for IPv4 over Ethernet. Main thread only.
#pragma once

#include <cstdint>

#include "dataplane/ports/interfaces.hpp"
#include "dataplane/ports/outbox.hpp"

namespace espgate::dataplane {

class Resolver;

// Asks everybody on the link, or `known` alone, for the MAC of `target`.
void send_arp_request(Outbox& outbox, std::uint8_t port, const Interface& interface, const IpAddress& target,
                      const Mac* known) noexcept;
// Gratuitous ARP (RFC 5227 section 3): whoever knows our address by another MAC corrects it.
void announce_by_arp(Outbox& outbox, std::uint8_t port, const Interface& interface,
                     const IpAddress& own) noexcept;

// `packet` (data at the Ethernet header) came in on `port`. Answers, learns, and frees it.
void handle_arp(Outbox& outbox, Resolver& resolver, std::uint8_t port, const Interface& interface,
                rte_mbuf* packet, std::uint64_t now);

}  // namespace espgate::dataplane
