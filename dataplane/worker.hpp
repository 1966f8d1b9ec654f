// One worker: a thread on a core that polls its queues and carries bursts through the two ways. Everything it
// writes is its own; everything it shares with the main thread is in Forwarding (read), the two rings to the
// main thread (write) and its inbox (read).
#pragma once

#include <rte_ether.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "channel/counters.hpp"
#include "channel/drop_reasons.hpp"
#include "crypto/bulk.hpp"
#include "dataplane/path/identifications.hpp"
#include "dataplane/path/loan.hpp"
#include "dataplane/path/scratch.hpp"
#include "dataplane/tables/forwarding.hpp"

namespace espgate::dataplane {

using channel::DropReason;

// Packets that wait for one port's transmit queue. Flushed once a poll round, or when full.
struct TransmitBuffer {
  static constexpr unsigned kSize = 256;
  std::array<rte_mbuf*, kSize> packets;
  unsigned count{0};
};

// A receive queue that a worker polls.
struct PortQueue {
  std::uint8_t port;  // index into Forwarding::ports
  std::uint16_t queue;
};

struct StageClock;
class Flights;

struct Worker {
  std::uint32_t index{0};
  Forwarding* tables{nullptr};
  std::vector<Worker*>* workers{nullptr};  // all of them, by index, for hand-off
  crypto::BulkEngine engine;
  Loan loan;
  channel::WorkerCounters* counters{nullptr};  // this worker's block of the counters page
  rte_ring* inbox{nullptr};                    // Errands; many producers
  rte_ring* liveness{nullptr};                 // to the main thread, ahead of these: signs of life
  rte_ring* exceptions{nullptr};               // to the main thread; many producers
  rte_ring* ike{nullptr};                      // IKE datagrams to the main thread (data: the outer IP header)
  rte_ring* mirror{nullptr};                   // to the main thread: copies of a mirrored interface's packets
  rte_mempool* pool{nullptr};                  // for packets made here (fragments)
  std::vector<PortQueue> receive;              // polled in turn
  // For each port: the transmit queue this worker owns, or the worker that has one (hand over as
  // Errand::frame).
  struct TransmitQueue {
    std::uint16_t queue;
    std::uint16_t owner;
  };
  std::array<TransmitQueue, channel::kMaxPorts> transmit_queues{};
  std::array<TransmitBuffer, channel::kMaxPorts> transmit{};
  Flights* flights{nullptr};        // packets that are with crypto devices; nullptr: there are none
  bool adaptive{true};              // sleep when idle
  Identifications identifications;  // of the IPv6 fragments made here

  Worker() = default;
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void drop(rte_mbuf* packet, DropReason reason) noexcept {
    channel::add(counters->drops[static_cast<std::size_t>(reason)], 1);
    rte_pktmbuf_free(packet);
  }
  // To the main thread, or a drop (exception_full). The note's port and tunnel must be set.
  void raise(rte_mbuf* packet, Exception why) noexcept;

  StageClock* stage_clock{nullptr};  // the benchmark's; ways.hpp
  Scratch scratch;
};

// One poll round: receive from every queue and the inbox, carry, transmit. Returns packets handled;
// with none, pieces done for others.
unsigned poll_once(Worker& worker) noexcept;

// Does pieces of what other workers lend; returns how many.
unsigned help_others(Worker& worker) noexcept;

// Polls until `stop`; the body of a worker's thread. Sleeps when idle if `adaptive`; quiet for RCU each
// round.
void run(Worker& worker, const std::atomic<bool>& stop) noexcept;

// The ways on their own, as poll_once calls them, for tests, fuzzing and benchmarks. `packets` (at most
// kBurst) begin at the Ethernet header and came in on `port`. Everything that comes out lies in
// worker.transmit, in the rings, or was dropped and counted; nothing is flushed to a port.
void process_received(Worker& worker, std::uint8_t port, std::span<rte_mbuf*> packets) noexcept;
void process_inbox(Worker& worker, std::span<rte_mbuf*> packets) noexcept;
void flush_transmit(Worker& worker) noexcept;

}  // namespace espgate::dataplane
