// The stages that more than one file uses, and the two ways.
#pragma once

#include <cstdint>
#include <span>

#include "dataplane/path/burst.hpp"
#include "dataplane/path/headers.hpp"
#include "dataplane/path/scratch.hpp"
#include "dataplane/worker.hpp"

namespace espgate::dataplane {

// classify.cpp: sorts frames into worker.scratch's `esp` and `plain`; what is neither leaves here.
void classify(Worker& worker, std::uint8_t port, std::span<rte_mbuf*> frames) noexcept;
// Sorts one IP packet, whose mbuf begins at its IP header, the same way. `forwarded` as in Packet.
void sort_ip(Worker& worker, rte_mbuf* mbuf, std::uint8_t port, bool forwarded) noexcept;

// decrypt.cpp: what comes out of the SAs is forwarded.
void decrypt(Worker& worker, Burst& burst) noexcept;
// encrypt.cpp: routes IP packets, sends those in clear that a route sends to a port, and encrypts those for
// tunnels.
void forward(Worker& worker, Burst& burst) noexcept;
// From where the tunnel is chosen.
void encrypt(Worker& worker, Burst& burst) noexcept;

// route.cpp
void route(Worker& worker, Burst& burst) noexcept;

// mtu.cpp
void fit_mtu(Worker& worker, Burst& burst) noexcept;
// Fills the empty burst with the fragments of the next packet that fit_mtu set aside. False: there is none.
[[nodiscard]] bool next_fragments(Worker& worker, Burst& burst) noexcept;

// fragments.cpp: cuts an IPv4 packet that may be fragmented into pieces of at most `mtu` bytes, each a packet
// of its own with its data at the IP header. The mbuf is used up. Returns how many are in `out`; 0: none, and
// it is counted.
[[nodiscard]] unsigned cut(Worker& worker, rte_mbuf* mbuf, std::uint16_t mtu,
                           std::span<rte_mbuf*> out) noexcept;

// transmit.cpp: sends one IP packet by `hop` (connected or gateway), whose Ethernet header is written here.
void send(Worker& worker, Packet& packet, NextHop hop) noexcept;
// A finished frame.
void send_frame(Worker& worker, std::uint8_t port, rte_mbuf* frame) noexcept;

// hand_off.cpp: gives packets to the worker that owns their SA. `set_aside` until `deliver`, which sends them
// all.
void set_aside(Worker& worker, std::uint32_t owner, Packet& packet, Errand why) noexcept;
void deliver_set_aside(Worker& worker) noexcept;

// The packet leaves the straight way: fills its note, and gives it to the main thread.
void leave(Worker& worker, Packet& packet, Exception why, DropReason reason, std::uint16_t mtu = 0) noexcept;

}  // namespace espgate::dataplane
