// The stages that more than one file uses, and the two ways.
#pragma once

#include <rte_cycles.h>

#include <array>
#include <cstdint>
#include <span>
#include <utility>

#include "dataplane/path/burst.hpp"
#include "dataplane/path/headers.hpp"
#include "dataplane/path/scratch.hpp"
#include "dataplane/worker.hpp"

namespace espgate::dataplane {

// The benchmark's view of a burst: TSC cycles by stage. A stage lasts from the mark before to its own.
enum class Stage : std::uint8_t {
  classify,
  find_sa,
  check_replay,
  open,
  decapsulate,
  route,
  choose_sa,
  encapsulate,
  seal,
  transmit,
};
inline constexpr std::size_t kStages = 10;
struct StageClock {
  std::array<std::uint64_t, kStages> cycles;
  std::uint64_t last;
};
inline void mark(const Worker& worker, Stage stage) noexcept {
  if (worker.stage_clock == nullptr) [[likely]]
    return;
  StageClock& clock = *worker.stage_clock;
  const std::uint64_t now = rte_rdtsc();
  clock.cycles[static_cast<std::size_t>(stage)] += now - clock.last;
  clock.last = now;
}

// buffers.cpp: the packet in one segment, with room before and behind it for encapsulation; what came in is
// used up. Null: it was dropped, as oversized_frame or no_buffer.
[[nodiscard]] rte_mbuf* in_one_buffer(Worker& worker, rte_mbuf* packet) noexcept;

// classify.cpp: sorts frames into worker.scratch's `esp` and `plain`; what is neither leaves here.
void classify(Worker& worker, std::uint8_t port, std::span<rte_mbuf*> frames) noexcept;
// Where a packet came in; as in Packet.
struct Origin {
  std::uint8_t port;
  TableId table;
  bool forwarded;
};
// Sorts one IP packet, whose mbuf begins at its IP header, the same way.
void sort_ip(Worker& worker, rte_mbuf* mbuf, Origin origin) noexcept;

// decrypt.cpp: what comes out of the SAs is forwarded.
void decrypt(Worker& worker, Burst& burst) noexcept;
// From where their ICVs are known to be right.
void accept_opened(Worker& worker, Burst& burst) noexcept;
// encrypt.cpp: routes IP packets, sends those in clear that a route sends to a port, and encrypts those for
// tunnels.
void forward(Worker& worker, Burst& burst) noexcept;
// From where the tunnel is chosen.
void encrypt(Worker& worker, Burst& burst) noexcept;

// route.cpp. Not of an empty burst.
void route(Worker& worker, Burst& burst) noexcept;

// fragments.cpp: cuts an IPv4 packet that may be fragmented, or an IPv6 packet of which this gateway is the
// source, into pieces of at most `mtu` bytes, each a packet of its own with its data at the IP header. The
// mbuf is used up. Returns how many are in `out`; 0: none, and it is counted.
[[nodiscard]] unsigned cut(Worker& worker, rte_mbuf* mbuf, std::uint16_t mtu,
                           std::span<rte_mbuf*> out) noexcept;

// transmit.cpp: sends the outer packets whose next hop is a neighbour (connected or gateway): here they get
// their Ethernet headers, and are cut where they are larger than the port's MTU. The burst is empty
// afterwards.
void transmit(Worker& worker, Burst& burst) noexcept;
// The same of packets that were deferred, whose way may carry less than their port.
void transmit_deferred(Worker& worker, Burst& burst) noexcept;
// The packets that routes send to a port as they are; the others, for tunnels, stay.
void send_clear(Worker& worker, Burst& burst) noexcept;
// A finished frame.
void send_frame(Worker& worker, std::uint8_t port, rte_mbuf* frame) noexcept;

// The engine's jobs, one for each packet that goes through, in the burst's order. take_jobs empties the list;
// what it returned is valid until the next add_job. Field by field: g++ copies the whole in pieces that would
// wait for the stores of its fields.
[[gnu::always_inline]] inline void add_job(Worker& worker, const crypto::EspJob& job) noexcept {
  Scratch& scratch = worker.scratch;
  crypto::EspJob& place = scratch.jobs[scratch.job_count++];
  place.key = job.key;
  place.esp = job.esp;
  place.sequence = job.sequence;
  place.payload = job.payload;
  place.scheme = job.scheme;
  place.ok = false;
}
[[nodiscard]] inline std::span<crypto::EspJob> take_jobs(Worker& worker) noexcept {
  Scratch& scratch = worker.scratch;
  return {scratch.jobs.data(), std::exchange(scratch.job_count, 0U)};
}

// Whether a burst is one to be lent out: whose first packet belongs to a tunnel that is spread, and that is
// worth it.
[[nodiscard]] inline bool is_spread(const Worker& worker, std::uint32_t tunnel, const Burst& burst) noexcept {
  return worker.tables->tunnels[tunnel].fit.load(std::memory_order_relaxed).spread &&
         burst.count >= 2 * Loan::kPiece && worker.workers->size() > 1;
}

// hand_off.cpp: gives packets to the worker that owns their SA. `set_aside` until `deliver`, which
// sends them all.
void set_aside(Worker& worker, std::uint32_t owner, Packet& packet, Errand why) noexcept;
void deliver_set_aside(Worker& worker) noexcept;

// The packet leaves the straight way: fills its note, and gives it to the main thread.
void leave(Worker& worker, Packet& packet, Exception why, DropReason reason, std::uint16_t mtu = 0) noexcept;

}  // namespace espgate::dataplane
