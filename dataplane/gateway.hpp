// The dataplane put together: tables, ports, workers, and the main thread's round. EAL must have been started
// with eal_arguments() of the same configuration.
#pragma once

#include <rte_mempool.h>
#include <rte_ring.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "channel/region.hpp"
#include "conf/schema.hpp"
#include "dataplane/associations.hpp"
#include "dataplane/attachment.hpp"
#include "dataplane/commands.hpp"
#include "dataplane/groups.hpp"
#include "dataplane/kernel/learned_routes.hpp"
#include "dataplane/kernel/twins.hpp"
#include "dataplane/liveness/hearing.hpp"
#include "dataplane/liveness/liveness.hpp"
#include "dataplane/offload/offload.hpp"
#include "dataplane/pool.hpp"
#include "dataplane/ports/ike.hpp"
#include "dataplane/ports/outbox.hpp"
#include "dataplane/ports/ports.hpp"
#include "dataplane/ports/slow_path.hpp"
#include "dataplane/tables/forwarding.hpp"
#include "dataplane/tables/rib.hpp"
#include "dataplane/worker.hpp"

namespace espgate::dataplane {

// How large the tables are for a configuration.
[[nodiscard]] channel::Hello shape_for(const conf::Configuration& configuration) noexcept;

// Runs every suite's self-test and logs the engine. The result: those that failed.
[[nodiscard]] RefusedSuites test_suites(crypto::BulkEngine& engine);

struct FreeRing {
  void operator()(rte_ring* ring) const noexcept { rte_ring_free(ring); }
};
using Ring = std::unique_ptr<rte_ring, FreeRing>;

class Gateway {
 public:
  // Builds and starts everything; the workers run when it returns. Throws std::exception with words.
  Gateway(const conf::Configuration& configuration, const std::string& socket_path);
  ~Gateway();  // stops the workers first
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  // The main thread, until `stop`.
  void run(const std::atomic<bool>& stop);

 private:
  void make_workers(const conf::Dataplane& dataplane);
  void start_crypto_devices(const conf::Dataplane& dataplane);
  void make_twins(const conf::Configuration& configuration);
  void serve_learned(std::uint64_t now);
  void launch();
  void round(std::uint64_t now);
  [[nodiscard]] unsigned serve_workers(std::uint64_t now);
  [[nodiscard]] unsigned serve_control(std::uint64_t now);
  void serve_liveness(std::uint64_t now);
  void rest(unsigned work);
  void every_quarter_second(std::uint64_t now);
  void port_changed(std::uint32_t port, PortChange change, std::uint64_t now);

  const std::uint64_t identification_secret_;
  channel::CountersPage page_;
  Forwarding tables_;
  Pool pool_;
  Ring exceptions_;
  Ring ike_ring_;
  Ring liveness_ring_;
  Ring mirror_ring_;
  std::vector<Ring> inboxes_;
  std::vector<std::unique_ptr<Worker>> owned_workers_;
  std::vector<Worker*> workers_;
  Interfaces interfaces_;
  std::unique_ptr<Ports> ports_;
  // By port: the kernel's interface that is its device, if the kernel has twins and would answer there, too.
  std::vector<std::string> read_beside_kernel_;
  crypto::BulkEngine engine_;
  Attachment attachment_;
  Outbox outbox_;
  KnownPeers peers_;
  Liveness liveness_;
  Hearing hearing_;
  SlowPath slow_path_;
  Twins twins_;
  IkePort ike_;
  Ribs ribs_;
  Offload offload_;
  Associations associations_;
  Groups groups_;
  StaticRoutes kernel_routes_;
  Mirror mirror_;
  std::vector<std::unique_ptr<LearnedRoutes>> learned_;  // of each table with twins
  Commands commands_;
  std::atomic<bool> stop_workers_{false};
  std::uint64_t next_snapshot_ns_{0};
  unsigned idle_rounds_{0};
  std::uint32_t ike_due_{0};     // datagrams that may be sent once the commands before them are applied
  std::uint32_t before_ike_{0};  // commands that may have been in the ring before these
  channel::Command command_{};   // too large for the stack, and erased after each use
  channel::IkeDatagram datagram_{};
};

}  // namespace espgate::dataplane
