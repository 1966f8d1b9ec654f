#include "dataplane/offload/inline.hpp"

#include <rte_security.h>

#include "dataplane/offload/flights.hpp"
#include "dataplane/offload/session.hpp"
#include "dataplane/path/ways.hpp"
#include "dataplane/path/wire.hpp"

namespace espgate::dataplane {

namespace {

// The SA's session, if it is usable for a packet that leaves by `port`. A session of another port may still
// be found while the route changes.
CardSession* session_of(const Worker& worker, const OutboundSa& sa, std::uint8_t port) noexcept {
  CardSession* const session = sa.session.load(std::memory_order_acquire);
  if (session == nullptr || session->port != port || session->lost.load(std::memory_order_relaxed))
    return nullptr;
  // What another worker sends waits in its inbox, for how long nobody knows.
  return worker.transmit_queues[port].owner == worker.index ? session : nullptr;
}

// What a driver wants to know (RTE_MBUF_F_TX_SEC_OFFLOAD): where the layers begin, of a frame whose length is
// final; its Ethernet header is written later.
void describe_frame(const Packet& packet) noexcept {
  rte_mbuf& mbuf = *packet.mbuf;
  set_data(&mbuf, packet.ip - kEthernet, static_cast<std::uint16_t>(packet.length + kEthernet));
  const bool v4 = packet.family == Family::v4;
  mbuf.tx_offload = 0;
  mbuf.l2_len = kEthernet;
  mbuf.l3_len = v4 ? kIpv4 : kIpv6;
  mbuf.ol_flags |= RTE_MBUF_F_TX_SEC_OFFLOAD | (v4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6);
}

void undescribe_frame(rte_mbuf& mbuf) noexcept {
  mbuf.ol_flags &= ~(RTE_MBUF_F_TX_SEC_OFFLOAD | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6);
  mbuf.tx_offload = 0;
}

void count_sent(Worker& worker, const Packet& packet, std::uint64_t by) noexcept {
  channel::add(packet.outbound->by_card, by);
  channel::add(worker.counters->ports[packet.next_hop.port].tx_ipsec, by);
}

// True: the card does it. The IV is the sequence number, as the engine's is: whoever seals, no key sees a
// nonce twice.
bool give_to_card(Worker& worker, Packet& packet, const crypto::EspJob& job) noexcept {
  CardSession* const session = session_of(worker, *packet.outbound, packet.next_hop.port);
  if (session == nullptr) return false;
  store(job.esp + kEsp, __builtin_bswap64(job.sequence));
  describe_frame(packet);
  if (session->needs_metadata &&
      rte_security_set_pkt_metadata(session->context, session->session, packet.mbuf, nullptr) != 0) {
    session->lost.store(true, std::memory_order_relaxed);
    undescribe_frame(*packet.mbuf);
    return false;
  }
  count_sent(worker, packet, 1);
  return true;
}

}  // namespace

bool give_away(Worker& worker, Packet& packet, const crypto::EspJob& job) noexcept {
  const bool to_device = std::exchange(packet.next_hop.card, std::uint16_t{0}) == kSealedByDevice;
  if (to_device) {
    if (worker.flights->give(worker, packet, job, packet.outbound->device, Flights::Way::seal)) return false;
  } else if (give_to_card(worker, packet, job)) {
    return true;
  }
  add_job(worker, job);
  return true;
}

void take_from_card(Worker& worker, Packet& packet) noexcept {
  if ((packet.mbuf->ol_flags & RTE_MBUF_F_TX_SEC_OFFLOAD) == 0) return;
  undescribe_frame(*packet.mbuf);
  const OutboundSa& sa = *packet.outbound;
  const std::uint32_t payload = std::uint32_t{packet.length} - sa.front - sa.icv_length;
  crypto::EspJob job{&sa.key, packet.ip + sa.esp_offset, packet.sequence, payload, sa.scheme, false};
  worker.engine.seal({&job, 1});
  count_sent(worker, packet, ~std::uint64_t{0});
}

// The marks are the driver's, of this port and for this SA's session; they go, so that nobody believes them
// of what is inside.
ByCard done_by_card(Worker& worker, Packet& packet) noexcept {
  constexpr std::uint64_t kMarks = RTE_MBUF_F_RX_SEC_OFFLOAD | RTE_MBUF_F_RX_SEC_OFFLOAD_FAILED;
  InboundSa& sa = *packet.inbound;
  const std::uint64_t marks = packet.mbuf->ol_flags & kMarks;
  if (marks == 0 || packet.port + 1U != sa.card.load(std::memory_order_relaxed)) return ByCard::nothing;
  packet.mbuf->ol_flags &= ~kMarks;
  channel::add(worker.counters->ports[packet.port].rx_ipsec, 1);
  if ((marks & RTE_MBUF_F_RX_SEC_OFFLOAD_FAILED) != 0) return ByCard::failed;
  channel::add(sa.by_card, 1);
  return ByCard::opened;
}

}  // namespace espgate::dataplane
