// How the main thread sends: it owns no transmit queue, so a packet goes to a worker's inbox, as an IP packet
// that the worker routes or as a complete frame. Also the main thread's own drop counters.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>
#include <vector>

#include "channel/counters.hpp"
#include "channel/drop_reasons.hpp"
#include "dataplane/ports/interfaces.hpp"
#include "dataplane/worker.hpp"

namespace espgate::dataplane {

class Outbox {
 public:
  // All must outlive this. At least one worker. Main thread only.
  Outbox(std::vector<Worker*>& workers, rte_mempool* pool, channel::WorkerCounters& counters) noexcept
      : workers_(workers), pool_(pool), counters_(counters) {}

  // A packet with `length` bytes of data, not yet written, and room for every header in front. Null: none was
  // free or `length` is more than a buffer holds; counted as no_buffer.
  [[nodiscard]] rte_mbuf* make(std::size_t length) noexcept;

  // A packet that was reassembled, in one segment, with its note. Null: it was dropped, as reassembly_too_big
  // or no_buffer.
  [[nodiscard]] rte_mbuf* in_one_segment(rte_mbuf* packet) noexcept;

  // `packet`'s data begin at an IP header. A worker looks its route up in that table.
  void route(rte_mbuf* packet, TableId table) noexcept;
  // The same, of a packet of our own IKE.
  void route_ike(rte_mbuf* packet, TableId table) noexcept;
  // `packet`'s data begin at an IP header. A worker has it encrypted for the tunnel.
  void protect(std::uint32_t tunnel, rte_mbuf* packet) noexcept;
  // `packet`'s data begin behind the Ethernet header: puts that before them, with this ethertype.
  void send_to(std::uint8_t port, const Interface& interface, const Mac& destination, std::uint16_t type,
               rte_mbuf* packet) noexcept;
  // The same; the data begin at an IP header.
  void send_ip_to(std::uint8_t port, const Interface& interface, const Mac& destination,
                  rte_mbuf* packet) noexcept;
  // `packet`'s data begin at the outer IP header: the worker takes it as if just received on the port in its
  // note. For ESP best the worker that owns its SA.
  void decrypt(std::uint32_t worker, rte_mbuf* packet) noexcept;
  // `packet`'s data begin at the outer IP header: to the IKE port, as the workers give it theirs.
  void ike(rte_mbuf* packet) noexcept;
  // To the worker that owns the outbound SA. False: it can't be told now.
  [[nodiscard]] bool move(std::uint32_t worker, const Move& move) noexcept;

  // How many packet buffers there are in all.
  [[nodiscard]] unsigned buffers() const noexcept { return pool_->size; }

  void count_reassembled() noexcept { channel::add(counters_.reassembled, 1); }
  void count(DropReason reason) noexcept {
    channel::add(counters_.drops[static_cast<std::size_t>(reason)], 1);
  }
  void drop(rte_mbuf* packet, DropReason reason) noexcept {
    count(reason);
    rte_pktmbuf_free(packet);
  }

 private:
  void put(Worker& worker, rte_mbuf* packet, Errand errand, std::uint8_t port, TableId table = kMainTable,
           std::uint32_t tunnel = Note::kNoTunnel) noexcept;
  [[nodiscard]] Worker& worker_for(rte_mbuf* packet) const noexcept;

  std::vector<Worker*>& workers_;
  rte_mempool* pool_;
  channel::WorkerCounters& counters_;
};

}  // namespace espgate::dataplane
