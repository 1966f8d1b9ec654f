// Everything the workers read and the main thread changes, in one place. Commands.cpp fills it; the tests and
// the benchmarks fill it the same way.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "channel/messages.hpp"
#include "dataplane/tables/group.hpp"
#include "dataplane/tables/neighbours.hpp"
#include "dataplane/tables/rcu.hpp"
#include "dataplane/tables/routes.hpp"
#include "dataplane/tables/sa.hpp"
#include "dataplane/tables/tunnel.hpp"

namespace espgate::dataplane {

// A port as the ways see it.
struct PortInfo {
  static constexpr std::uint16_t kNoDevice = 0xffff;
  std::array<std::uint8_t, 6> mac{};
  std::uint16_t mtu{1500};
  // DPDK's port id; kNoDevice while the device is absent: then workers neither receive nor send there. What
  // else is here changes only then, and is read after this or after `up` was.
  std::atomic<std::uint16_t> ethdev{0};
  std::uint16_t vlan{0};       // the tag of its frames (IEEE 802.1Q); 0: they have none
  std::uint8_t parent{0};      // if they have: the port on whose wire they are
  TableId table{kMainTable};   // whose routes its packets take
  bool encrypted_only{false};  // path/cleartext.hpp
  std::atomic<bool> up{false};
  IpAddress address4;  // first of each family, source of ICMP errors; may be unset
  IpAddress address6;
};

// The inbound SAs of one worker: the SPI is the address.
struct InboundTable {
  InboundSa* slots{nullptr};
  std::uint32_t count{0};
};

// The interface whose packets are copied for the kernel to show.
struct alignas(8) Mirrored {  // an atomic is one word
  enum class Kind : std::uint32_t { nothing, port, tunnel };
  Kind kind{Kind::nothing};
  std::uint32_t index{0};
};

struct Forwarding {
  // Groups that the dataplane makes itself, behind those of the control process.
  static constexpr std::uint32_t kSharedGroups = 1024;

  // The sizes of the main table and of each other one. Throws std::bad_alloc or std::runtime_error when
  // DPDK's memory does not suffice.
  Forwarding(const channel::Hello& shape, Routes::Size main, std::span<const Routes::Size> others = {});
  Forwarding(const channel::Hello& hello, std::uint32_t max_routes)
      : Forwarding(hello, Routes::Size{max_routes}) {}
  ~Forwarding();
  Forwarding(const Forwarding&) = delete;
  Forwarding& operator=(const Forwarding&) = delete;

  // `table` < table_count().
  [[nodiscard]] Routes& routes(TableId table) noexcept { return *route_tables_[table]; }
  [[nodiscard]] const Routes& routes(TableId table) const noexcept { return *route_tables_[table]; }
  [[nodiscard]] std::size_t table_count() const noexcept { return route_tables_.size(); }

  // What a next hop comes to for a flow with this hash: of a group the member, kind `none` while none is up.
  // Main thread only.
  [[nodiscard]] NextHop member(NextHop next_hop, std::uint32_t hash) const noexcept;

  channel::Hello shape;
  Rcu rcu;
  Neighbours neighbours;
  std::array<PortInfo, channel::kMaxPorts> ports;
  bool some_encrypted_only{false};  // of them
  std::atomic<Mirrored> mirrored{};
  [[nodiscard]] bool is_mirrored() const noexcept {
    return mirrored.load(std::memory_order_relaxed).kind != Mirrored::Kind::nothing;
  }
  // [port][VLAN]: one more than the index of the port that has this VLAN's frames; 0: none has.
  std::array<std::array<std::uint8_t, 4096>, channel::kMaxPorts> vlans{};
  TunnelSlot* tunnels{nullptr};                // [shape.max_tunnels]
  std::atomic<const Group*>* groups{nullptr};  // [shape.max_groups], then [kSharedGroups]
  std::vector<InboundTable> inbound;           // [worker]
  std::vector<OutboundSa*> outbound;           // [worker] -> [outbound_slots]

 private:
  void free_arrays() noexcept;

  std::vector<std::unique_ptr<Routes>> route_tables_;
};

}  // namespace espgate::dataplane
