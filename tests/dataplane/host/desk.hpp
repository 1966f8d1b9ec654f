// The main thread's half of a gateway, without ports and without EAL threads: packets are raised to it as a
// worker would, what it sends is taken from the workers' inboxes, and time is the test's own.
//
//   port 0 "lan" 10.1.0.1/24, fd00:1::1/64, 02:00:00:00:01:00     port 1 "wan" 192.0.2.1/24,
//   02:00:00:00:01:01
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/associations.hpp"
#include "dataplane/commands.hpp"
#include "dataplane/control_link.hpp"
#include "dataplane/gateway.hpp"
#include "dataplane/groups.hpp"
#include "dataplane/ports/ike.hpp"
#include "dataplane/ports/slow_path.hpp"
#include "dataplane/tables/forwarding.hpp"
#include "dataplane/tables/rib.hpp"
#include "tests/dataplane/frames.hpp"
#include "tests/dataplane/rig.hpp"

namespace espgate::test {

inline constexpr std::uint8_t kLan = 0;
inline constexpr std::uint8_t kWan = 1;
inline constexpr TableId kRed = 1;  // a route table without ports
inline constexpr std::uint64_t kSecond = 1'000'000'000;

// A control process that reads all or nothing.
class Listener final : public dataplane::ControlLink {
 public:
  void tell(const channel::Event& event) override { events.push_back(event); }
  bool deliver(const channel::IkeDatagram& datagram) override {
    if (!attached || waiting >= 512) return false;
    datagrams.push_back(datagram);
    waiting++;
    return true;
  }
  [[nodiscard]] std::uint32_t undelivered() const override { return waiting; }

  bool attached{true};
  std::uint32_t waiting{0};  // as if it had not read them
  std::deque<channel::Event> events;
  std::deque<channel::IkeDatagram> datagrams;
};

struct Sent {
  Errand errand;
  std::uint8_t port;
  Octets data;
};

class Desk {
 public:
  explicit Desk(unsigned workers = 1, unsigned buffers = 2047, std::uint32_t max_routes = 256);
  ~Desk();
  Desk(const Desk&) = delete;
  Desk& operator=(const Desk&) = delete;

  // As a worker raises it.
  void raise(Exception why, const Octets& data, std::uint8_t port = kLan,
             DropReason reason = DropReason::no_route, std::uint16_t mtu = 0,
             std::uint32_t tunnel = dataplane::Note::kNoTunnel);
  void receive_ike(const std::vector<Octets>& packets);
  // Frames received by a worker; then workers and main thread take turns until nothing is left to do. What
  // is to leave by the ports, by port, and IKE in `control`.
  Output pass(std::uint8_t port, const std::vector<Octets>& frames, unsigned worker = 0);
  std::vector<Sent> sent();  // since the last call
  [[nodiscard]] unsigned buffers_out() const { return rte_mempool_in_use_count(pool.get()); }
  void wait(std::uint64_t ns);  // in steps of a quarter of a second
  std::uint64_t drops(DropReason reason) const;
  std::uint64_t all_drops() const;
  void know(std::uint8_t port, std::string_view address, const Octets& mac);

  channel::CommandStatus run(const channel::Command& command);
  rte_mbuf* make(const Octets& bytes);

  std::uint64_t now{1000 * kSecond};
  dataplane::Pool pool;
  channel::CountersPage page;
  dataplane::Forwarding tables;
  std::vector<dataplane::Ring> rings;
  std::vector<std::unique_ptr<dataplane::Worker>> owned;
  std::vector<dataplane::Worker*> workers;
  dataplane::Interfaces interfaces;
  Listener control;
  crypto::BulkEngine engine;
  dataplane::Ring copies;  // for the mirror
  dataplane::Outbox outbox;
  dataplane::KnownPeers peers;
  dataplane::Liveness liveness;
  dataplane::SlowPath slow_path;
  dataplane::Twins twins;
  dataplane::IkePort ike;
  dataplane::Ribs ribs;
  dataplane::Offload offload;
  dataplane::Associations associations;
  dataplane::Groups groups;
  dataplane::StaticRoutes kernel_routes;
  dataplane::Mirror mirror;
  dataplane::Commands commands;

 private:
  void add_worker(std::uint32_t index);
  void add_port(std::string name, std::vector<std::string> addresses);
  bool serve_rings();
};

// How many of a group's buckets lead into each tunnel; kNobody: to none.
inline constexpr std::uint32_t kNobody = 0xffffffff;
[[nodiscard]] std::map<std::uint32_t, unsigned> buckets(const Desk& desk, std::uint32_t group);

// tests/packets/host.json, made by scapy.
const Octets& packet(const std::string& name);
[[nodiscard]] std::string hex(const Octets& octets);

// Commands with sound values, for tests to spoil.
[[nodiscard]] channel::Name name(std::string_view text);
[[nodiscard]] channel::Command command(channel::CommandKind kind);
[[nodiscard]] channel::Command set_tunnel(std::uint32_t index, std::string_view remote = "192.0.2.2");
[[nodiscard]] channel::Command set_group(std::uint32_t index, const std::vector<std::uint32_t>& tunnels);
[[nodiscard]] channel::Command set_route(std::string_view prefix, channel::RouteKind kind,
                                         std::uint32_t index, std::string_view gateway = "");
[[nodiscard]] channel::Command install_inbound(std::uint32_t tunnel, std::uint32_t spi);
[[nodiscard]] channel::Command install_outbound(std::uint32_t tunnel, std::uint32_t spi);
[[nodiscard]] channel::Command remove_sa(channel::CommandKind kind, std::uint32_t tunnel, std::uint32_t spi);

}  // namespace espgate::test
