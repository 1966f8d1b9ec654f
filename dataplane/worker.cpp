#include "dataplane/worker.hpp"

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_pause.h>
#include <sys/prctl.h>
#include <time.h>

#include <algorithm>
#include <utility>

#include "dataplane/offload/flights.hpp"
#include "dataplane/path/cleartext.hpp"
#include "dataplane/path/mirror.hpp"
#include "dataplane/path/ways.hpp"

namespace espgate::dataplane {

void process_received(Worker& worker, std::uint8_t port, std::span<rte_mbuf*> packets) noexcept {
  Scratch& scratch = worker.scratch;
  scratch.now = rte_rdtsc();
  scratch.plain.count = scratch.esp.count = 0;
  if (worker.tables->is_mirrored()) [[unlikely]]
    mirror_frames(worker, port, packets);
  classify(worker, port, packets);
  mark(worker, Stage::classify);
  decrypt(worker, scratch.esp);
  if (worker.tables->some_encrypted_only) [[unlikely]]
    refuse_cleartext(worker, scratch.plain);
  forward(worker, scratch.plain);
}

namespace {

// The tunnel is chosen; which SA it has is looked up here, because that may have changed meanwhile.
void accept_chosen(Worker& worker, rte_mbuf* mbuf, const Note& note, bool handed_over) noexcept {
  Scratch& scratch = worker.scratch;
  const unsigned before = scratch.plain.count;
  sort_ip(worker, mbuf, {Note::kNoPort, note.table, false});
  if (scratch.plain.count == before) return;
  Packet& packet = scratch.chosen.add() = scratch.plain[--scratch.plain.count];
  packet.tunnel = note.tunnel;
  packet.port = note.port;
  packet.handed_over = handed_over;
}

// The slot may have gone to another SA meanwhile.
void move_sa(Worker& worker, rte_mbuf* mbuf) noexcept {
  const Move move = load<Move>(rte_pktmbuf_mtod(mbuf, const std::uint8_t*));
  OutboundSa& sa = worker.tables->outbound[worker.index][move.slot];
  if (sa.spi.load(std::memory_order_acquire) == move.spi) turn_to(sa, move);
  rte_pktmbuf_free(mbuf);
}

void run_errand(Worker& worker, rte_mbuf* mbuf) noexcept {
  const Note note = note_of(mbuf);
  switch (static_cast<Errand>(note.why)) {
    case Errand::frame:
      return send_frame(worker, note.port, mbuf);
    case Errand::route:
    case Errand::ike:
      return sort_ip(worker, mbuf, {Note::kNoPort, note.table, false});
    case Errand::decrypt:
      return sort_ip(worker, mbuf, {note.port, note.table, true});
    case Errand::move:
      return move_sa(worker, mbuf);
    case Errand::encrypt:
      return accept_chosen(worker, mbuf, note, true);
    case Errand::protect:
      return accept_chosen(worker, mbuf, note, false);
  }
}

}  // namespace

void process_inbox(Worker& worker, std::span<rte_mbuf*> packets) noexcept {
  Scratch& scratch = worker.scratch;
  scratch.now = rte_rdtsc();
  scratch.plain.count = scratch.esp.count = scratch.chosen.count = 0;
  for (rte_mbuf* const mbuf : packets) run_errand(worker, mbuf);
  decrypt(worker, scratch.esp);
  encrypt(worker, scratch.chosen);
  if (worker.tables->some_encrypted_only) [[unlikely]]
    refuse_cleartext(worker, scratch.plain);
  forward(worker, scratch.plain);
}

unsigned poll_once(Worker& worker) noexcept {
  auto& received = worker.scratch.received;
  unsigned total = worker.flights != nullptr ? worker.flights->land(worker) : 0;
  for (const PortQueue& queue : worker.receive) {
    const std::uint16_t ethdev = worker.tables->ports[queue.port].ethdev.load(std::memory_order_acquire);
    if (ethdev == PortInfo::kNoDevice) [[unlikely]]
      continue;
    const std::uint16_t count = rte_eth_rx_burst(ethdev, queue.queue, received.data(), kBurst);
    if (count == 0) continue;
    process_received(worker, queue.port, {received.data(), count});
    total += count;
  }
  const unsigned count =
      rte_ring_sc_dequeue_burst(worker.inbox, reinterpret_cast<void**>(received.data()), kBurst, nullptr);
  if (count != 0) process_inbox(worker, {received.data(), count});
  if (worker.flights != nullptr) worker.flights->take_off();
  flush_transmit(worker);
  total += count;
  return total != 0 ? total : help_others(worker);
}

unsigned help_others(Worker& worker) noexcept {
  unsigned pieces = 0;
  for (Worker* const other : *worker.workers)
    if (other != &worker)
      while (other->loan.help(worker.engine)) ++pieces;
  return pieces;
}

namespace {

// An idle worker spins for a while, because traffic comes in trains, then sleeps for a small part of the time
// that it has been idle: what was idle for long may wait a little. While it sleeps it holds nothing that the
// main thread might want to reclaim.
class Idle {
 public:
  Idle(Rcu& rcu, std::uint32_t worker) noexcept : rcu_(rcu), worker_(worker) {}

  void found_work() noexcept {
    rounds_ = 0;
    slept_ = 0;
  }
  void found_nothing() noexcept {
    if (rounds_ < kSpin) {
      ++rounds_;
      return rte_pause();
    }
    sleep(std::clamp(slept_ / kPart, kShortest, kLongest));
  }

 private:
  static constexpr unsigned kSpin = 2000;
  static constexpr long kPart = 128;
  static constexpr long kShortest = 2'000;     // ns
  static constexpr long kLongest = 1'500'000;  // ns

  void sleep(long nanoseconds) noexcept {
    rcu_.offline(worker_);
    const timespec time{0, nanoseconds};
    nanosleep(&time, nullptr);
    rcu_.online(worker_);
    slept_ += nanoseconds;
  }

  Rcu& rcu_;
  std::uint32_t worker_;
  unsigned rounds_{0};
  long slept_{0};  // ns since there was work
};

// Sees that the thread began a round late.
class Pauses {
 public:
  void begin_round(Worker& worker, std::uint64_t now) noexcept {
    const std::uint64_t cycles = now - std::exchange(last_, now);
    if (cycles >= least_) [[unlikely]]
      channel::note_pause(*worker.counters, cycles / cycles_a_us_ * 1000);
  }

 private:
  std::uint64_t cycles_a_us_{std::max<std::uint64_t>(rte_get_tsc_hz() / 1'000'000, 1)};
  std::uint64_t least_{channel::kPauseNs / 1000 * cycles_a_us_};
  std::uint64_t last_{rte_rdtsc()};
};

void count_round(Worker& worker, unsigned packets, std::uint64_t began) noexcept {
  channel::add(worker.counters->loops, 1);
  if (packets == 0) return;
  channel::add(worker.counters->busy_loops, 1);
  channel::add(worker.counters->busy_cycles, rte_rdtsc() - began);
}

}  // namespace

void run(Worker& worker, const std::atomic<bool>& stop) noexcept {
  Rcu& rcu = worker.tables->rcu;
  prctl(PR_SET_TIMERSLACK, 1UL);  // the default, 50 us, is much of the longest sleep
  rcu.online(worker.index);
  Idle idle(rcu, worker.index);
  Pauses pauses;
  while (!stop.load(std::memory_order_relaxed)) {
    const std::uint64_t began = rte_rdtsc();
    pauses.begin_round(worker, began);
    const unsigned packets = poll_once(worker);
    count_round(worker, packets, began);
    const bool waiting = worker.flights != nullptr && !worker.flights->empty();
    if (worker.flights == nullptr)
      rcu.quiet(worker.index);
    else
      worker.flights->be_quiet(rcu, worker.index);
    if (packets != 0 || waiting || !worker.adaptive)
      idle.found_work();
    else
      idle.found_nothing();
  }
  if (worker.flights != nullptr) worker.flights->finish(worker);
  rcu.offline(worker.index);
}

}  // namespace espgate::dataplane
