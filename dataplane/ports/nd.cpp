#include "dataplane/ports/nd.hpp"

#include <rte_ether.h>
#include <rte_ip.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "dataplane/ports/resolver.hpp"

namespace espgate::dataplane {

namespace {

constexpr std::uint8_t kSolicitation = 135;
constexpr std::uint8_t kAdvertisement = 136;
constexpr std::uint8_t kSourceLinkAddress = 1;  // options, RFC 4861 section 4.6
constexpr std::uint8_t kTargetLinkAddress = 2;
constexpr std::uint8_t kFlagRouter = 0x80;
constexpr std::uint8_t kFlagSolicited = 0x40;
constexpr std::uint8_t kFlagOverride = 0x20;

// Solicitation and advertisement look alike; one link address option follows.
struct Message {
  std::uint8_t type;
  std::uint8_t code;
  std::uint16_t checksum;
  std::uint8_t flags;
  std::uint8_t reserved[3];
  std::uint8_t target[16];
};
struct LinkOption {
  std::uint8_t type;
  std::uint8_t length;  // in units of 8 bytes
  std::uint8_t mac[6];
};
static_assert(sizeof(Message) == 24 && sizeof(LinkOption) == 8);

IpAddress address_of(const std::uint8_t* bytes) noexcept {
  IpAddress address;
  address.family = Family::v6;
  std::copy_n(bytes, 16, address.bytes.begin());
  return address;
}

IpAddress all_nodes() noexcept {
  IpAddress address;
  address.family = Family::v6;
  address.bytes = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return address;
}

// RFC 4291 section 2.7.1.
IpAddress solicited_node(const IpAddress& target) noexcept {
  IpAddress address;
  address.family = Family::v6;
  address.bytes = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
  std::copy_n(target.bytes.begin() + 13, 3, address.bytes.begin() + 13);
  return address;
}

// RFC 2464 section 7.
Mac multicast_mac(const IpAddress& group) noexcept {
  return {0x33, 0x33, group.bytes[12], group.bytes[13], group.bytes[14], group.bytes[15]};
}

struct Outgoing {
  std::uint8_t type;
  std::uint8_t flags;
  IpAddress source;
  IpAddress destination;
  IpAddress target;
};

// The IP packet, without an Ethernet header. Null: no buffer.
rte_mbuf* build(Outbox& outbox, const Interface& interface, const Outgoing& out) noexcept {
  constexpr std::uint16_t kPayload = sizeof(Message) + sizeof(LinkOption);
  rte_mbuf* packet = outbox.make(sizeof(rte_ipv6_hdr) + kPayload);
  if (packet == nullptr) return nullptr;
  auto* ip = rte_pktmbuf_mtod(packet, rte_ipv6_hdr*);
  *ip = rte_ipv6_hdr{};
  ip->vtc_flow = rte_cpu_to_be_32(0x60000000);
  ip->payload_len = rte_cpu_to_be_16(kPayload);
  ip->proto = IPPROTO_ICMPV6;
  ip->hop_limits = 255;
  std::copy(out.source.bytes.begin(), out.source.bytes.end(), ip->src_addr);
  std::copy(out.destination.bytes.begin(), out.destination.bytes.end(), ip->dst_addr);
  Message message{
      .type = out.type, .code = 0, .checksum = 0, .flags = out.flags, .reserved = {}, .target = {}};
  std::copy(out.target.bytes.begin(), out.target.bytes.end(), message.target);
  LinkOption option{out.type == kSolicitation ? kSourceLinkAddress : kTargetLinkAddress, 1, {}};
  std::copy(interface.mac.begin(), interface.mac.end(), option.mac);
  auto* body = reinterpret_cast<std::uint8_t*>(ip + 1);
  std::memcpy(body, &message, sizeof(message));
  std::memcpy(body + sizeof(message), &option, sizeof(option));
  const std::uint16_t sum = rte_ipv6_udptcp_cksum(ip, body);
  std::memcpy(body + offsetof(Message, checksum), &sum, sizeof(sum));
  return packet;
}

// Our address in the target's network, else the link-local one.
IpAddress source_for(const Interface& interface, const IpAddress& target) noexcept {
  for (const IpPrefix& own : interface.addresses)
    if (own.address.is_v6() && contains(own, target)) return own.address;
  return interface.link_local;
}

// A message whose every option was checked (RFC 4861 sections 7.1.1 and 7.1.2).
struct Received {
  bool solicitation;
  std::uint8_t flags;
  IpAddress source;
  IpAddress destination;
  IpAddress target;
  std::optional<Mac> mac;  // of the link address option that belongs to the message
};

// False: an option of length zero, or one that runs over the end.
bool read_options(const std::uint8_t* at, std::size_t left, std::uint8_t wanted,
                  std::optional<Mac>& mac) noexcept {
  while (left > 0) {
    if (left < 8 || at[1] == 0 || std::size_t{at[1]} * 8 > left) return false;
    if (at[0] == wanted && at[1] == 1) {
      mac.emplace();
      std::copy_n(at + 2, 6, mac->begin());
    }
    left -= std::size_t{at[1]} * 8;
    at += std::size_t{at[1]} * 8;
  }
  return true;
}

bool is_unspecified(const IpAddress& address) noexcept {
  return std::all_of(address.bytes.begin(), address.bytes.end(), [](std::uint8_t b) { return b == 0; });
}

bool plausible(const Received& message) noexcept {
  if (is_multicast(message.target)) return false;
  if (message.mac && ((*message.mac)[0] & 1) != 0) return false;  // a group is nobody's link address
  if (!message.solicitation)
    return is_unicast(message.source) &&
           !(is_multicast(message.destination) && (message.flags & kFlagSolicited) != 0);
  // Duplicate address detection asks without a source: to the solicited-node group, and without a link
  // address.
  if (is_unspecified(message.source))
    return message.destination == solicited_node(message.target) && !message.mac;
  return is_unicast(message.source);
}

std::optional<Received> parse(const rte_ipv6_hdr& ip, const std::uint8_t* icmp, std::size_t length) noexcept {
  if (ip.hop_limits != 255 || length < sizeof(Message))
    return std::nullopt;  // from off the link, or too short
  Message message;
  std::memcpy(&message, icmp, sizeof(message));
  if (message.code != 0) return std::nullopt;
  Received out{message.type == kSolicitation, message.flags, address_of(ip.src_addr), address_of(ip.dst_addr),
               address_of(message.target),    std::nullopt};
  const std::uint8_t wanted = out.solicitation ? kSourceLinkAddress : kTargetLinkAddress;
  if (!read_options(icmp + sizeof(Message), length - sizeof(Message), wanted, out.mac)) return std::nullopt;
  if (!plausible(out)) return std::nullopt;
  return out;
}

void answer(Outbox& outbox, Resolver& resolver, std::uint8_t port, const Interface& interface,
            const Received& asked, std::uint64_t now) {
  const bool detecting = is_unspecified(asked.source);
  const auto flags =
      static_cast<std::uint8_t>(kFlagRouter | kFlagOverride | (detecting ? 0 : kFlagSolicited));
  const IpAddress to = detecting ? all_nodes() : asked.source;
  rte_mbuf* packet = build(outbox, interface, {kAdvertisement, flags, asked.target, to, asked.target});
  if (packet == nullptr) return;
  if (detecting) return outbox.send_ip_to(port, interface, multicast_mac(to), packet);
  if (asked.mac) return outbox.send_ip_to(port, interface, *asked.mac, packet);
  resolver.send(port, to, packet, now);
}

}  // namespace

void send_solicitation(Outbox& outbox, std::uint8_t port, const Interface& interface, const IpAddress& target,
                       const Mac* known) noexcept {
  const IpAddress to = known != nullptr ? target : solicited_node(target);
  rte_mbuf* packet = build(outbox, interface, {kSolicitation, 0, source_for(interface, target), to, target});
  if (packet == nullptr) return;
  const Mac mac = known != nullptr ? *known : multicast_mac(to);
  outbox.send_ip_to(port, interface, mac, packet);
}

void announce_by_nd(Outbox& outbox, std::uint8_t port, const Interface& interface,
                    const IpAddress& own) noexcept {
  rte_mbuf* packet =
      build(outbox, interface, {kAdvertisement, kFlagRouter | kFlagOverride, own, all_nodes(), own});
  if (packet != nullptr) outbox.send_ip_to(port, interface, multicast_mac(all_nodes()), packet);
}

std::vector<Mac> discovery_groups(const Interface& interface) {
  IpAddress all_routers = all_nodes();
  all_routers.bytes[15] = 2;
  std::vector<Mac> groups{multicast_mac(all_nodes()), multicast_mac(all_routers),
                          multicast_mac(solicited_node(interface.link_local))};
  for (const IpPrefix& own : interface.addresses)
    if (own.address.is_v6()) groups.push_back(multicast_mac(solicited_node(own.address)));
  return groups;
}

void handle_nd(Outbox& outbox, Resolver& resolver, std::uint8_t port, const Interface& interface,
               rte_mbuf* packet, std::uint16_t icmp, std::uint16_t length, std::uint64_t now) {
  const auto* ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  const std::uint8_t type = ip[icmp];
  // Routers' messages and redirects are not for a gateway with configured routes.
  if (type != kSolicitation && type != kAdvertisement) return outbox.drop(packet, DropReason::host_protocol);
  const auto message =
      parse(*reinterpret_cast<const rte_ipv6_hdr*>(ip), ip + icmp, std::size_t{length} - icmp);
  if (!message) return outbox.drop(packet, DropReason::nd_malformed);
  rte_pktmbuf_free(packet);
  if (!message->solicitation) {
    const bool solicited = (message->flags & kFlagSolicited) != 0;
    const bool override = (message->flags & kFlagOverride) != 0;
    const Mac* mac = message->mac ? &*message->mac : nullptr;
    return resolver.heard_answer(port, message->target, {mac, solicited, override}, now);
  }
  if (!owns(interface, message->target)) return;
  if (message->mac) resolver.heard_request(port, message->source, *message->mac, now);
  answer(outbox, resolver, port, interface, *message, now);
}

}  // namespace espgate::dataplane
