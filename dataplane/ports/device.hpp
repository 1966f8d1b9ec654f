// The DPDK device behind a port: configured, started, watched, and when it has vanished removed and probed
// again. Main thread only.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>

#include "channel/region.hpp"
#include "conf/load.hpp"
#include "dataplane/pool.hpp"
#include "dataplane/ports/interfaces.hpp"
#include "dataplane/ports/steering.hpp"

struct rte_eth_conf;
struct rte_eth_dev_info;

namespace espgate::dataplane {

class Device {
 public:
  // Takes over the one that DPDK made at its start and configures it for up to `workers` queues each way.
  // `index`: the port's place in the configuration. `pool` feeds the receive queues. Throws
  // std::runtime_error naming the port and what failed.
  Device(const conf::Port& wanted, unsigned index, unsigned workers, rte_mempool* pool);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  // Stops it for good; buffers may be in its queues until then, also those of other devices.
  void close() noexcept;

  // Throws like the constructor.
  void start();
  // Has it let these groups' frames through, and no more than can't be helped. Once started.
  void listen_to(const std::set<Mac>& groups);
  // Has it steer ESP: `workers[q]` polls receive queue q. Once started.
  void steer(std::span<const std::uint32_t> workers);

  enum class Health : std::uint8_t { well, wants_reset, gone };
  // What its driver said, or for one over a kernel interface whether that still exists.
  [[nodiscard]] Health health() const noexcept;
  [[nodiscard]] bool link_up() const noexcept;
  // For DPDK's interrupt thread.
  void hear(Health health) noexcept;

  // Stops it and takes it out of DPDK. No worker may be using it, and its card's sessions must be gone.
  // Nothing of it is left but what reopen needs.
  void remove() noexcept;
  // Could it be back? It may be looked for as often as one likes.
  [[nodiscard]] bool can_return() const noexcept;
  // Probes and configures it as the constructor did; it may have another number in DPDK and another MAC
  // address. Throws like the constructor, also when it has fewer queues than before; then it is removed
  // again. `quiet`: DPDK says nothing of it in the log.
  void reopen(bool quiet);
  // Has the driver begin anew, and configures it. Throws like reopen.
  void reset();

  [[nodiscard]] std::uint16_t ethdev() const noexcept { return ethdev_; }
  [[nodiscard]] Mac mac() const;
  [[nodiscard]] std::uint16_t receive_queues() const noexcept { return receive_queues_; }
  [[nodiscard]] std::uint16_t transmit_queues() const noexcept { return transmit_queues_; }
  [[nodiscard]] bool over_kernel() const noexcept { return kernel_interface_ != 0; }
  [[nodiscard]] bool seals() const noexcept { return seals_; }  // security offloads are enabled: transmit
  [[nodiscard]] bool opens() const noexcept { return opens_; }  // receive
  [[nodiscard]] std::string driver() const;
  // How packets come to the receive queues, in words.
  [[nodiscard]] std::string spreading() const;

 private:
  void open();
  void configure();
  void choose_queues(const rte_eth_dev_info& info, const rte_eth_conf& conf);
  [[nodiscard]] rte_mempool* pool_for(const rte_eth_dev_info& info);
  void set_mtu();
  void watch_events() noexcept;
  void ignore_events() noexcept;
  [[nodiscard]] bool on_pci() const noexcept { return device_.eal_arguments.front() == "-a"; }
  void check(const char* what, int result) const;  // throws for a negative errno

  conf::Port wanted_;
  conf::Device device_;
  unsigned workers_;
  rte_mempool* pool_;
  Pool own_pool_;                    // of a driver that keeps buffers for good when it goes
  std::map<int, std::string> made_;  // what xdp_descriptors told of it
  bool there_{false};                // DPDK has it
  bool started_{false};
  std::uint16_t ethdev_{0};
  std::uint16_t receive_queues_{0};
  std::uint16_t transmit_queues_{0};
  unsigned kernel_interface_{0};  // its index where a kernel interface is behind the port; 0: none
  bool hashes_{false};            // the card spreads packets over the queues (RSS)
  bool hashes_spi_{false};        // and takes the SPI into its hash
  bool seals_{false};
  bool opens_{false};
  std::unique_ptr<Steering> steering_;
  channel::Fd groups_;  // by which a kernel interface is told to receive multicast; none: the driver is told
  std::atomic<Health> heard_{Health::well};  // DPDK's interrupt thread writes it, too
};

}  // namespace espgate::dataplane
