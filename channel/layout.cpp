// Two builds may attach to each other only when they agree on where everything lies and what every number
// means.
#include <cstddef>
#include <initializer_list>

#include "channel/region.hpp"

namespace espgate::channel {
namespace {

// FNV-1a: any change must show, nothing here is secret or hostile.
class Fold {
 public:
  constexpr void byte(std::uint8_t value) noexcept { hash_ = (hash_ ^ value) * 0x100000001b3; }
  constexpr void numbers(std::initializer_list<std::size_t> values) noexcept {
    for (std::size_t value : values)
      for (unsigned shift = 0; shift < 64; shift += 8) byte(static_cast<std::uint8_t>(value >> shift));
  }
  constexpr void text(std::string_view value) noexcept {
    for (char c : value) byte(static_cast<std::uint8_t>(c));
    byte(0);
  }
  [[nodiscard]] constexpr std::uint64_t hash() const noexcept { return hash_; }

 private:
  std::uint64_t hash_{0xcbf29ce484222325};
};

#define AT(type, member) offsetof(type, member), sizeof(type::member)

constexpr void fold_tables(Fold& fold) {
  fold.numbers({sizeof(IpAddress), AT(IpAddress, bytes), AT(IpAddress, family)});
  fold.numbers({sizeof(IpPrefix), AT(IpPrefix, address), AT(IpPrefix, length)});
  fold.numbers({sizeof(SetTunnel), AT(SetTunnel, index), AT(SetTunnel, name), AT(SetTunnel, interface_name),
                AT(SetTunnel, addresses), AT(SetTunnel, address_count), AT(SetTunnel, mtu),
                AT(SetTunnel, clamp_mss), AT(SetTunnel, spread), AT(SetTunnel, mode),
                AT(SetTunnel, cut_after), AT(SetTunnel, local), AT(SetTunnel, remote)});
  fold.numbers({sizeof(SetGroup), AT(SetGroup, index), AT(SetGroup, name), AT(SetGroup, member_count),
                AT(SetGroup, table), AT(SetGroup, members)});
  fold.numbers({sizeof(GroupMember), AT(GroupMember, tunnel), AT(GroupMember, gateway),
                AT(GroupMember, priority), AT(GroupMember, weight)});
  fold.numbers({sizeof(SetRoute), AT(SetRoute, destination), AT(SetRoute, kind), AT(SetRoute, gateway),
                AT(SetRoute, index), sizeof(RemoveRoute), sizeof(RemoveTunnel), sizeof(RemoveGroup)});
}

constexpr void fold_sas(Fold& fold) {
  fold.numbers({sizeof(Selector), AT(Selector, first), AT(Selector, last), AT(Selector, first_port),
                AT(Selector, last_port), AT(Selector, protocol)});
  fold.numbers({sizeof(Selectors), AT(Selectors, local), AT(Selectors, remote), AT(Selectors, local_count),
                AT(Selectors, remote_count)});
  fold.numbers({sizeof(InstallSa),           AT(InstallSa, tunnel),         AT(InstallSa, spi),
                AT(InstallSa, partner_spi),  AT(InstallSa, suite),          AT(InstallSa, udp_encapsulation),
                AT(InstallSa, local_port),   AT(InstallSa, remote_port),    AT(InstallSa, local),
                AT(InstallSa, remote),       AT(InstallSa, keys),           AT(InstallSa, replay_window),
                AT(InstallSa, worker),       AT(InstallSa, soft_bytes),     AT(InstallSa, hard_bytes),
                AT(InstallSa, soft_packets), AT(InstallSa, hard_packets),   AT(InstallSa, mode),
                AT(InstallSa, esn),          AT(InstallSa, follow),         AT(InstallSa, df),
                AT(InstallSa, ecn),          AT(InstallSa, fixed_dscp),     AT(InstallSa, keepalive),
                AT(InstallSa, tfc_length),   AT(InstallSa, sequence_limit), AT(InstallSa, last_sequence),
                AT(InstallSa, label),        AT(InstallSa, selectors)});
  fold.numbers({sizeof(RemoveSa), AT(RemoveSa, tunnel), AT(RemoveSa, spi)});
  fold.numbers({sizeof(ExtendSa), AT(ExtendSa, tunnel), AT(ExtendSa, spi), AT(ExtendSa, sequence_limit)});
  fold.numbers(
      {sizeof(MoveSa), AT(MoveSa, tunnel), AT(MoveSa, spi), AT(MoveSa, remote), AT(MoveSa, remote_port)});
}

constexpr void fold_messages(Fold& fold) {
  fold.numbers({sizeof(Command), AT(Command, sequence), AT(Command, kind), AT(Command, body)});
  fold.numbers({sizeof(Event), AT(Event, kind), AT(Event, body)});
  fold.numbers({sizeof(CommandDone), AT(CommandDone, sequence), AT(CommandDone, status)});
  fold.numbers({sizeof(SaHeld), AT(SaHeld, tunnel), AT(SaHeld, tunnel_name), AT(SaHeld, spi),
                AT(SaHeld, partner_spi), AT(SaHeld, suite), AT(SaHeld, direction), AT(SaHeld, age_ns),
                AT(SaHeld, local), AT(SaHeld, remote), AT(SaHeld, sequence_limit), AT(SaHeld, label)});
  fold.numbers({sizeof(SaLifetime), AT(SaLifetime, tunnel), AT(SaLifetime, spi), AT(SaLifetime, direction)});
  fold.numbers({sizeof(SaLimitNear), AT(SaLimitNear, tunnel), AT(SaLimitNear, spi), AT(SaLimitNear, sequence),
                AT(SaLimitNear, sequence_limit)});
  fold.numbers({sizeof(PortChange), sizeof(UnknownSpi), AT(UnknownSpi, source), AT(UnknownSpi, destination),
                AT(UnknownSpi, spi), AT(UnknownSpi, packets)});
  fold.numbers({sizeof(PeerMoved), AT(PeerMoved, tunnel), AT(PeerMoved, inbound_spi), AT(PeerMoved, remote),
                AT(PeerMoved, remote_port)});
  fold.numbers({sizeof(PathMtu), AT(PathMtu, tunnel), AT(PathMtu, mtu), AT(PathMtu, said_by)});
  fold.numbers({sizeof(IkeDatagram), AT(IkeDatagram, local), AT(IkeDatagram, remote),
                AT(IkeDatagram, local_port), AT(IkeDatagram, remote_port), AT(IkeDatagram, length),
                AT(IkeDatagram, bytes)});
  fold.numbers({sizeof(Hello), AT(Hello, workers), AT(Hello, inbound_slots), AT(Hello, outbound_slots),
                AT(Hello, max_tunnels), AT(Hello, max_groups), AT(Hello, ports)});
}

constexpr void fold_counters(Fold& fold) {
  fold.numbers({sizeof(InterfaceCounters), AT(InterfaceCounters, rx_packets), AT(InterfaceCounters, rx_bytes),
                AT(InterfaceCounters, tx_packets), AT(InterfaceCounters, tx_bytes),
                AT(InterfaceCounters, rx_ipsec), AT(InterfaceCounters, tx_ipsec),
                AT(InterfaceCounters, rx_crypto), AT(InterfaceCounters, tx_crypto),
                AT(InterfaceCounters, cut_before), AT(InterfaceCounters, cut_after)});
  fold.numbers({sizeof(CryptoDeviceCounters), AT(CryptoDeviceCounters, opened),
                AT(CryptoDeviceCounters, sealed), AT(CryptoDeviceCounters, failed),
                AT(CryptoDeviceCounters, lost)});
  fold.numbers({sizeof(CryptoDeviceStatus), AT(CryptoDeviceStatus, name), AT(CryptoDeviceStatus, driver),
                AT(CryptoDeviceStatus, suites), AT(CryptoDeviceStatus, state),
                AT(CryptoDeviceStatus, sessions), AT(CryptoDeviceStatus, most_sessions),
                AT(CryptoDeviceStatus, queue_pairs)});
  fold.numbers({sizeof(WorkerCounters), AT(WorkerCounters, loops), AT(WorkerCounters, busy_loops),
                AT(WorkerCounters, busy_cycles), AT(WorkerCounters, handed_off),
                AT(WorkerCounters, reassembled), AT(WorkerCounters, longest_pause_ns),
                AT(WorkerCounters, long_pauses), AT(WorkerCounters, drops), AT(WorkerCounters, ports),
                AT(WorkerCounters, crypto_devices)});
  fold.numbers({sizeof(PortStatus), AT(PortStatus, name), AT(PortStatus, driver), AT(PortStatus, spreading),
                AT(PortStatus, mac), AT(PortStatus, flags), AT(PortStatus, mtu), AT(PortStatus, speed),
                AT(PortStatus, receive_queues), AT(PortStatus, transmit_queues), AT(PortStatus, changed_ns),
                AT(PortStatus, missed), AT(PortStatus, no_buffer), AT(PortStatus, receive_errors),
                AT(PortStatus, transmit_errors)});
  fold.numbers({sizeof(GroupStatus), sizeof(GroupMemberStatus), AT(GroupMemberStatus, state),
                AT(GroupMemberStatus, buckets), AT(GroupMemberStatus, packets)});
  fold.numbers({sizeof(SaStatus), AT(SaStatus, spi), AT(SaStatus, tunnel), AT(SaStatus, packets),
                AT(SaStatus, bytes), AT(SaStatus, highest_sequence), AT(SaStatus, replayed),
                AT(SaStatus, failed), AT(SaStatus, last_used_ns), AT(SaStatus, by_card),
                AT(SaStatus, by_device)});
  fold.numbers({sizeof(CountersHeader), AT(CountersHeader, shape), AT(CountersHeader, main_thread),
                AT(CountersHeader, heartbeat_ns), AT(CountersHeader, crypto_devices),
                AT(CountersHeader, lost_events)});
}

constexpr void fold_rings(Fold& fold) {
  using Commands = decltype(RegionMemory::commands);
  fold.numbers({sizeof(RegionMemory), AT(RegionMemory, hello), AT(RegionMemory, commands),
                AT(RegionMemory, events), AT(RegionMemory, ike_received), AT(RegionMemory, ike_to_send)});
  fold.numbers({AT(Commands, written), AT(Commands, read), AT(Commands, slots)});
  fold.numbers({kCommandSlots, kEventSlots, kIkeSlots});
}

#undef AT

// Numbers whose meaning would shift when a row is put in the middle of an enum.
constexpr void fold_meanings(Fold& fold) {
  fold.numbers({static_cast<std::size_t>(CommandKind::set_mirror),
                static_cast<std::size_t>(EventKind::ike_unreachable),
                static_cast<std::size_t>(CommandStatus::kernel_refused),
                static_cast<std::size_t>(RouteKind::blackhole)});
  for (const DropReasonText& reason : kDropReasonText) fold.text(reason.name);
}

constexpr std::uint64_t layout_hash() {
  Fold fold;
  fold_tables(fold);
  fold_sas(fold);
  fold_messages(fold);
  fold_counters(fold);
  fold_rings(fold);
  fold_meanings(fold);
  return fold.hash();
}

}  // namespace

constinit const std::uint64_t kLayoutHash = layout_hash();

}  // namespace espgate::channel
