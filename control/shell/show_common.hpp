// What the commands that show something have in common.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "control/shell/commands.hpp"

namespace espgate::control {

[[nodiscard]] inline std::uint64_t read(const channel::Counter& counter) noexcept {
  return counter.load(std::memory_order_relaxed);
}
[[nodiscard]] std::int64_t seconds_since(Time then, Time now);

// What a command needs; without it they throw CommandError with words.
void want_no_arguments(const Arguments& arguments);
// The dataplane is attached: its counters.
const channel::CountersView& want_counters(const Gateway& gateway);
// And it knows all tunnels.
void want_ready(const Gateway& gateway);
[[nodiscard]] TunnelId tunnel_named(const Gateway& gateway, const std::string& name);
[[nodiscard]] TunnelId one_tunnel(const Gateway& gateway, const Arguments& arguments);
// The tunnel that was named, or all.
[[nodiscard]] std::vector<TunnelId> chosen_tunnels(const Gateway& gateway, const Arguments& arguments);

// What went through an interface.
struct Traffic {
  std::uint64_t rx_packets{0}, rx_bytes{0}, tx_packets{0}, tx_bytes{0}, rx_ipsec{0}, tx_ipsec{0},
      rx_crypto{0}, tx_crypto{0};
  void add(const channel::InterfaceCounters& counters) noexcept {
    rx_packets += read(counters.rx_packets);
    rx_bytes += read(counters.rx_bytes);
    tx_packets += read(counters.tx_packets);
    tx_bytes += read(counters.tx_bytes);
    rx_ipsec += read(counters.rx_ipsec);
    tx_ipsec += read(counters.tx_ipsec);
    rx_crypto += read(counters.rx_crypto);
    tx_crypto += read(counters.tx_crypto);
  }
  void put_into(json& row) const {
    row["rx_packets"] = rx_packets;
    row["rx_bytes"] = rx_bytes;
    row["tx_packets"] = tx_packets;
    row["tx_bytes"] = tx_bytes;
    row["rx_ipsec"] = rx_ipsec;
    row["tx_ipsec"] = tx_ipsec;
    row["rx_crypto"] = rx_crypto;
    row["tx_crypto"] = tx_crypto;
  }
};

[[nodiscard]] Traffic tunnel_traffic(const channel::CountersView& page, TunnelId tunnel);

// Packets that all threads dropped for one reason, by its number.
[[nodiscard]] std::uint64_t drops_of(const channel::CountersView& page, std::size_t reason);

}  // namespace espgate::control
