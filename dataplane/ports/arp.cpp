#include "dataplane/ports/arp.hpp"

#include <rte_arp.h>
#include <rte_ether.h>

#include <algorithm>
#include <cstring>

#include "dataplane/ports/resolver.hpp"

namespace espgate::dataplane {

namespace {

struct Frame {
  rte_ether_hdr ethernet;
  rte_arp_hdr arp;
};
static_assert(sizeof(Frame) == 42);

constexpr Mac kBroadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

// In network order, as the header holds it.
std::uint32_t raw(const IpAddress& address) noexcept {
  std::uint32_t value;
  std::memcpy(&value, address.bytes.data(), 4);
  return value;
}

IpAddress address_of(std::uint32_t raw_address) noexcept {
  IpAddress address;
  address.family = Family::v4;
  std::memcpy(address.bytes.data(), &raw_address, 4);
  return address;
}

struct Ends {
  Mac target_mac;
  IpAddress sender;
  IpAddress target;
};

void send(Outbox& outbox, std::uint8_t port, const Interface& interface, std::uint16_t operation,
          const Mac& destination, const Ends& ends) noexcept {
  rte_mbuf* packet = outbox.make(sizeof(rte_arp_hdr));
  if (packet == nullptr) return;
  rte_arp_hdr arp{};
  arp.arp_hardware = rte_cpu_to_be_16(RTE_ARP_HRD_ETHER);
  arp.arp_protocol = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
  arp.arp_hlen = 6;
  arp.arp_plen = 4;
  arp.arp_opcode = rte_cpu_to_be_16(operation);
  std::copy(interface.mac.begin(), interface.mac.end(), arp.arp_data.arp_sha.addr_bytes);
  arp.arp_data.arp_sip = raw(ends.sender);
  std::copy(ends.target_mac.begin(), ends.target_mac.end(), arp.arp_data.arp_tha.addr_bytes);
  arp.arp_data.arp_tip = raw(ends.target);
  std::memcpy(rte_pktmbuf_mtod(packet, void*), &arp, sizeof(arp));
  outbox.send_to(port, interface, destination, RTE_ETHER_TYPE_ARP, packet);
}

// Our address in the network of `target`: what the neighbour will answer to. Else the first IPv4 address.
IpAddress source_for(const Interface& interface, const IpAddress& target) noexcept {
  IpAddress first;
  for (const IpPrefix& own : interface.addresses) {
    if (!own.address.is_v4()) continue;
    if (contains(own, target)) return own.address;
    if (!first.is_set()) first = own.address;
  }
  return first;
}

bool well_formed(const rte_arp_hdr& arp) noexcept {
  const std::uint16_t operation = rte_be_to_cpu_16(arp.arp_opcode);
  if (arp.arp_hardware != rte_cpu_to_be_16(RTE_ARP_HRD_ETHER)) return false;
  if (arp.arp_protocol != rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4)) return false;
  if (arp.arp_hlen != 6 || arp.arp_plen != 4) return false;
  if (operation != RTE_ARP_OP_REQUEST && operation != RTE_ARP_OP_REPLY) return false;
  if (!rte_is_valid_assigned_ether_addr(&arp.arp_data.arp_sha)) return false;
  // A probe (RFC 5227 section 1.1) has no sender address; anything else must be one station's.
  const std::uint32_t sender = arp.arp_data.arp_sip;
  return (sender == 0 && operation == RTE_ARP_OP_REQUEST) || is_unicast(address_of(sender));
}

}  // namespace

void send_arp_request(Outbox& outbox, std::uint8_t port, const Interface& interface, const IpAddress& target,
                      const Mac* known) noexcept {
  const IpAddress source = source_for(interface, target);
  if (!source.is_set()) return;
  send(outbox, port, interface, RTE_ARP_OP_REQUEST, known != nullptr ? *known : kBroadcast,
       {Mac{}, source, target});
}

void announce_by_arp(Outbox& outbox, std::uint8_t port, const Interface& interface,
                     const IpAddress& own) noexcept {
  send(outbox, port, interface, RTE_ARP_OP_REQUEST, kBroadcast, {Mac{}, own, own});
}

void handle_arp(Outbox& outbox, Resolver& resolver, std::uint8_t port, const Interface& interface,
                rte_mbuf* packet, std::uint64_t now) {
  Frame frame;
  if (packet->data_len < sizeof(frame)) return outbox.drop(packet, DropReason::arp_malformed);
  std::memcpy(&frame, rte_pktmbuf_mtod(packet, const void*), sizeof(frame));
  if (!well_formed(frame.arp)) return outbox.drop(packet, DropReason::arp_malformed);
  rte_pktmbuf_free(packet);

  Mac mac;
  std::copy_n(frame.arp.arp_data.arp_sha.addr_bytes, 6, mac.begin());
  const IpAddress sender = address_of(frame.arp.arp_data.arp_sip);
  const IpAddress target = address_of(frame.arp.arp_data.arp_tip);
  const bool request = frame.arp.arp_opcode == rte_cpu_to_be_16(RTE_ARP_OP_REQUEST);
  if (request && sender != target && owns(interface, target)) {
    resolver.heard_request(port, sender, mac, now);
    send(outbox, port, interface, RTE_ARP_OP_REPLY, mac, {mac, target, sender});
    return;
  }
  // RFC 826: what is known already is corrected by any ARP packet, and nothing new is learnt from it.
  const bool solicited = !request && resolver.awaits(port, sender);
  resolver.heard_answer(port, sender, {.mac = &mac, .solicited = solicited, .override = true}, now);
}

}  // namespace espgate::dataplane
