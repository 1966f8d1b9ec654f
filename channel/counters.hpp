// The counters page: written by the dataplane, mapped read-only by the control process (the memfd is sealed
// so that no writable mapping can be made from the descriptor it is given). Every field is a relaxed atomic
// with one writer.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "channel/drop_reasons.hpp"
#include "channel/messages.hpp"

namespace espgate::channel {

using Counter = std::atomic<std::uint64_t>;

// One writer, so no locked instruction: a plain load, add and store.
inline void add(Counter& counter, std::uint64_t by) noexcept {
  counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

inline constexpr std::uint32_t kMaxPorts = 16;
inline constexpr std::uint32_t kMaxWorkers = 16;
inline constexpr std::uint32_t kMaxCryptoDevices = 8;

struct alignas(64) InterfaceCounters {
  Counter rx_packets;
  Counter rx_bytes;
  Counter tx_packets;
  Counter tx_bytes;
  Counter rx_ipsec;  // of them, packets whose ESP the port's card did: opened (or found forged), sealed
  Counter tx_ipsec;
  Counter rx_crypto;  // of a tunnel: packets that a crypto device (lookaside) opened, sealed
  Counter tx_crypto;
  Counter cut_before;  // of a tunnel: inner packets that were sent in fragments, each encrypted by itself
  Counter cut_after;   // of a tunnel: outer packets that were sent in fragments
};

struct CryptoDeviceCounters {
  Counter opened;  // packets that were authentic, or not
  Counter sealed;
  Counter failed;  // came back with an error
  Counter lost;    // did not come back
};

// A thread that has its CPU begins a round after some milliseconds of rest at the latest. One that does not
// is late, and whatever it was to do with it: below the second bound no far end takes us for dead.
inline constexpr std::uint64_t kPauseNs = 5'000'000;
inline constexpr std::uint64_t kLongPauseNs = 20'000'000;

struct alignas(64) WorkerCounters {
  Counter loops;             // poll rounds
  Counter busy_loops;        // of them, those that found packets
  Counter busy_cycles;       // TSC cycles of the latter
  Counter handed_off;        // packets given to another worker
  Counter reassembled;       // main thread: outer packets that it put together of their fragments
  Counter longest_pause_ns;  // between two rounds of the thread's loop; 0: never kPauseNs or more
  Counter long_pauses;       // of kLongPauseNs or more
  alignas(64) Counter drops[kDropReasons];
  InterfaceCounters ports[kMaxPorts];
  CryptoDeviceCounters crypto_devices[kMaxCryptoDevices];
};

// By the thread whose counters they are: it begins a round `ns` after the one before.
inline void note_pause(WorkerCounters& counters, std::uint64_t ns) noexcept {
  if (ns < kPauseNs) return;
  if (ns >= kLongPauseNs) add(counters.long_pauses, 1);
  if (ns > counters.longest_pause_ns.load(std::memory_order_relaxed))
    counters.longest_pause_ns.store(ns, std::memory_order_relaxed);
}

enum class PortFlags : std::uint32_t { none = 0, present = 1, link_up = 2 };

struct alignas(64) PortStatus {
  Name name;
  Name driver;  // DPDK's name of it; name at the start, driver and spreading when its device comes
  std::array<char, 224> spreading;   // how packets come to the receive queues, in words, closed by a zero
  std::atomic<std::uint64_t> mac;    // big-endian bytes in the low 48 bits
  std::atomic<std::uint32_t> flags;  // without `present`: its device is not there at the moment
  std::atomic<std::uint32_t> mtu;
  std::atomic<std::uint32_t> speed;  // Mb/s; 0: nobody knows
  std::atomic<std::uint16_t> receive_queues;
  std::atomic<std::uint16_t> transmit_queues;
  std::atomic<std::uint64_t> changed_ns;  // CLOCK_MONOTONIC, when `flags` changed last; 0: never
  // DPDK's rte_eth_stats, of the device that is there now. Of a sub-interface: zero; they are its parent's.
  Counter missed;           // imissed: dropped by the card, because no worker came for them in time
  Counter no_buffer;        // rx_nombuf
  Counter receive_errors;   // ierrors
  Counter transmit_errors;  // oerrors
};

enum class CryptoDeviceState : std::uint32_t { absent, works, given_up };

// A device for lookaside cryptography; written at the start, but for state and sessions.
struct alignas(64) CryptoDeviceStatus {
  Name name;                     // as configured
  Name driver;                   // DPDK's name of it
  std::array<char, 960> suites;  // that it takes, in words, closed by a zero
  std::atomic<CryptoDeviceState> state;
  std::atomic<std::uint32_t> sessions;  // SAs that it has
  std::atomic<std::uint32_t> most_sessions;
  std::atomic<std::uint32_t> queue_pairs;
};

// Refreshed by the dataplane's main thread, four times a second.
struct alignas(8) SaStatus {
  std::atomic<std::uint32_t> spi;  // 0: the slot is free
  std::atomic<std::uint32_t> tunnel;
  Counter packets;
  Counter bytes;  // of inner packets
  Counter highest_sequence;
  Counter replayed;      // inbound: dropped as duplicate or old
  Counter failed;        // inbound: dropped for integrity
  Counter last_used_ns;  // CLOCK_MONOTONIC; 0: never
  Counter by_card;       // of `packets`, those whose ESP a port's card did
  Counter by_device;     // or a crypto device
};

// Why a member of a group gets no flows.
enum class MemberState : std::uint32_t {
  absent = 0,  // there is no such member
  up,
  no_tunnel,     // it has been removed
  no_sa,         // to send on
  no_route,      // to the tunnel's far end
  port_down,     // by which its packets would leave
  no_neighbour,  // the gateway does not answer
  far_end_lost,  // of a watched tunnel
};

struct GroupMemberStatus {
  std::atomic<MemberState> state;
  std::atomic<std::uint32_t> buckets;  // of kGroupBuckets
  Counter packets;                     // sent into it by way of the group
};
inline constexpr std::uint32_t kGroupBuckets = 512;
// In the order of SetGroup; refreshed as SaStatus is.
struct GroupStatus {
  GroupMemberStatus members[kMaxGroupMembers];
};

// The page: this header, then arrays at the offsets it names (from the page's start, multiples of 8).
// [worker] WorkerCounters; [tunnel] InterfaceCounters, which the main thread refreshes as it does SaStatus;
// [port] PortStatus; [group] GroupStatus; [worker][slot] SaStatus, twice.
struct CountersHeader {
  std::uint64_t magic;
  std::uint64_t size;
  Hello shape;
  std::uint64_t workers_offset;
  std::uint64_t tunnels_offset;
  std::uint64_t ports_offset;
  std::uint64_t groups_offset;
  std::uint64_t inbound_offset;
  std::uint64_t outbound_offset;
  WorkerCounters main_thread;               // the slow path's own drops and packets
  std::atomic<std::uint64_t> heartbeat_ns;  // CLOCK_MONOTONIC of the main thread's last round
  CryptoDeviceStatus crypto_devices[kMaxCryptoDevices];
  Counter lost_events;  // events that found the ring full or nobody attached
};
inline constexpr std::uint64_t kCountersMagic = 0x31544e4345505345;  // "ESPECNT1"

}  // namespace espgate::channel
