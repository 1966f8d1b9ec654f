// Packets and cards: what a worker does with one that a card is to seal, and with one that a card has opened.
#pragma once

#include <cstdint>

#include "dataplane/path/burst.hpp"
#include "dataplane/worker.hpp"

namespace espgate::dataplane {

// The packet is complete but for what `job` tells of, and packet.next_hop.card says who would do it: a card,
// which seals it as it leaves, or a crypto device. Where they can't, the job becomes the engine's. True: the
// packet goes on in its burst, and its next hop is one like any other from here on. False: it left with the
// device, and goes on when it is back (flights.hpp).
[[nodiscard]] bool give_away(Worker& worker, Packet& packet, const crypto::EspJob& job) noexcept;

// The packet was given to a card, perhaps, but does not leave by it after all: seals it now. Else nothing.
void take_from_card(Worker& worker, Packet& packet) noexcept;

// What the port's card did with a packet for an SA that may be in it. `opened`: the ICV is right and the
// payload is decrypted, in place, with all headers and the trailer still there.
enum class ByCard : std::uint8_t { nothing, opened, failed };
[[nodiscard]] ByCard done_by_card(Worker& worker, Packet& packet) noexcept;

}  // namespace espgate::dataplane
