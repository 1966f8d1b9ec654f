// Every reason for which a packet may end here: one row each. The counters, the shell's `show drops` and the
// documentation come from this table; a test provokes each row.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace espgate::channel {

// X(identifier, "name", "help")
#define ESPGATE_DROP_REASONS(X)                                                                              \
  X(runt_frame, "runt-frame", "an Ethernet frame too short for the headers it announces")                    \
  X(oversized_frame, "oversized-frame",                                                                      \
    "larger than a packet buffer, which holds what the largest mtu allows")                                  \
  X(other_mac, "other-mac", "a unicast frame for another station's MAC address")                             \
  X(unknown_ethertype, "unknown-ethertype", "neither IPv4, IPv6 nor ARP")                                    \
  X(unknown_vlan, "unknown-vlan", "a frame of a VLAN of which the port has no sub-interface")                \
  X(stacked_vlan, "stacked-vlan", "a frame with more than one VLAN tag, or a service tag (IEEE 802.1ad)")    \
  X(malformed_ipv4, "malformed-ipv4", "an IPv4 header with an impossible version, length or checksum")       \
  X(malformed_ipv6, "malformed-ipv6", "an IPv6 header with an impossible version or length")                 \
  X(multicast, "multicast", "multicast or broadcast that no protocol here asked for")                        \
  X(host_fragment, "host-fragment", "a fragment to this gateway of neither ESP nor UDP, or out of a tunnel") \
  X(reassembly_malformed, "reassembly-malformed", "fragments of ESP or UDP that make no packet")             \
  X(reassembly_too_big, "reassembly-too-big", "reassembled, and larger than a packet buffer")                \
  X(reassembly_full, "reassembly-full", "fragments beyond their source's share, or with no room to wait")    \
  X(reassembly_timeout, "reassembly-timeout", "fragments of ESP or UDP whose rest did not come in time")     \
  X(cleartext_in, "cleartext-in", "came in clear by a port that is encrypted-only")                          \
  X(cleartext_out, "cleartext-out", "was to leave in clear by a port that is encrypted-only")                \
  X(no_route, "no-route", "no route to the destination; the sender is told")                                 \
  X(blackhole, "blackhole", "a blackhole route")                                                             \
  X(ttl_exceeded, "ttl-exceeded", "TTL or hop limit ran out; the sender is told")                            \
  X(too_big, "too-big",                                                                                      \
    "larger than the tunnel's or port's MTU and not to be fragmented; the sender is told")                   \
  X(neighbour_unresolved, "neighbour-unresolved", "the next hop did not answer ARP or neighbour discovery")  \
  X(tunnel_down, "tunnel-down", "the tunnel (or every member of the group) has no SA to send on")            \
  X(outside_selectors_out, "outside-selectors-out",                                                          \
    "a packet to send that the child SA's selectors exclude")                                                \
  X(outside_selectors_in, "outside-selectors-in",                                                            \
    "a decrypted packet that the child SA's selectors exclude")                                              \
  X(transport_fragment, "transport-fragment",                                                                \
    "a fragment to send in transport mode, which is for whole packets")                                      \
  X(sequence_exhausted, "sequence-exhausted", "the outbound SA has used its last sequence number")           \
  X(sequence_unreserved, "sequence-unreserved",                                                              \
    "the SA has used the sequence numbers reserved for it, and the control process reserves no more")        \
  X(lifetime_hard, "lifetime-hard", "the SA is past its hard lifetime in bytes or packets")                  \
  X(esp_truncated, "esp-truncated", "an ESP packet too short for its headers, IV and ICV, or not in blocks") \
  X(unknown_spi, "unknown-spi", "no inbound SA has this SPI")                                                \
  X(stale_spi, "stale-spi", "the SPI of an inbound SA that was removed")                                     \
  X(outer_mismatch, "outer-mismatch", "outer addresses or encapsulation are not those of the SA")            \
  X(wrong_table, "wrong-table",                                                                              \
    "ESP or IKE by a port that is not of the route table in which its tunnel ends")                          \
  X(replay_duplicate, "replay-duplicate", "a sequence number that was received before")                      \
  X(replay_old, "replay-old", "a sequence number left of the replay window")                                 \
  X(integrity, "integrity", "the ICV does not match: altered on the way, or wrong keys")                     \
  X(crypto_device_full, "crypto-device-full", "more waits for the crypto device than there is room for")     \
  X(crypto_device_failed, "crypto-device-failed",                                                            \
    "to be sealed, and the crypto device answered with an error")                                            \
  X(crypto_device_lost, "crypto-device-lost", "given to a crypto device that stopped answering")             \
  X(bad_padding, "bad-padding", "authentic, but the padding is not 1, 2, 3, ... or longer than the packet")  \
  X(bad_next_header, "bad-next-header", "authentic, but neither IPv4 nor IPv6 inside")                       \
  X(dummy, "dummy", "an ESP dummy packet (next header 59): traffic flow confidentiality, not an error")      \
  X(malformed_inner, "malformed-inner", "authentic, but the inner IP header is impossible")                  \
  X(ecn_illegal, "ecn-illegal", "outer congestion mark on an inner packet that is not ECN-capable")          \
  X(nat_keepalive, "nat-keepalive", "a NAT keepalive (RFC 3948): not an error")                              \
  X(udp_encap_unknown, "udp-encap-unknown", "UDP to port 4500 that is neither ESP, IKE nor a keepalive")     \
  X(ike_malformed, "ike-malformed", "UDP to port 500 or 4500 that can't be an IKE message")                  \
  X(ike_rate_limited, "ike-rate-limited", "IKE from one source beyond its share")                            \
  X(ike_ring_full, "ike-ring-full", "the control process is away or does not keep up")                       \
  X(unprotected, "unprotected",                                                                              \
    "to this gateway in clear, where a tunnel in transport mode should protect it")                          \
  X(host_protocol, "host-protocol", "to an address of this gateway, but a protocol that nobody here serves") \
  X(bfd_malformed, "bfd-malformed", "BFD out of a tunnel that RFC 5880 6.8.6 says to discard")               \
  X(bfd_hops, "bfd-hops", "BFD whose TTL or hop limit is not 255: not from the tunnel's other end")          \
  X(bfd_no_session, "bfd-no-session", "BFD from another than the tunnel's peer, or for another session")     \
  X(liveness_full, "liveness-full", "signs of life from far ends that the main thread has no time for")      \
  X(kernel_rate_limited, "kernel-rate-limited", "for the kernel's twin of an interface, beyond its share")   \
  X(mirror_full, "mirror-full", "copies for a mirror in the kernel that found no room, or no reader")        \
  X(kernel_refused, "kernel-refused", "for the kernel's twin of an interface, which is down or was deleted") \
  X(icmp_rate_limited, "icmp-rate-limited",                                                                  \
    "ICMP beyond the rate at which errors and answers are sent, or looked at")                               \
  X(icmp_error_quiet, "icmp-error-quiet", "no ICMP error is sent about such a packet (RFC 1122 3.2.2)")      \
  X(icmp_unbelieved, "icmp-unbelieved",                                                                      \
    "\"too big\" about no packet of a live SA, or of a size that can't be")                                  \
  X(arp_malformed, "arp-malformed", "an ARP packet with impossible fields")                                  \
  X(nd_malformed, "nd-malformed", "a neighbour discovery message that RFC 4861 7.1 says to discard")         \
  X(exception_full, "exception-full", "the slow path does not keep up")                                      \
  X(hand_off_full, "hand-off-full", "the owning worker does not keep up")                                    \
  X(inject_full, "inject-full", "the worker that transmits for the slow path does not keep up")              \
  X(transmit_full, "transmit-full", "the port's transmit queue is full")                                     \
  X(port_down, "port-down", "the port to send on is down")                                                   \
  X(no_buffer, "no-buffer", "no packet buffer was free")                                                     \
  X(wrong_worker, "wrong-worker", "handed over for an SA that moved meanwhile")

enum class DropReason : std::uint8_t {
#define X(identifier, name, help) identifier,
  ESPGATE_DROP_REASONS(X)
#undef X
      count_
};
inline constexpr std::size_t kDropReasons = static_cast<std::size_t>(DropReason::count_);

struct DropReasonText {
  std::string_view name;
  std::string_view help;
};
inline constexpr std::array<DropReasonText, kDropReasons> kDropReasonText{{
#define X(identifier, name, help) {name, help},
    ESPGATE_DROP_REASONS(X)
#undef X
}};

}  // namespace espgate::channel
