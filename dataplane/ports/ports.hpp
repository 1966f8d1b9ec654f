// The ports: configured, wired to workers, started, watched. No offload is taken for granted: checksums are
// made in software. Main thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "channel/region.hpp"
#include "conf/schema.hpp"
#include "dataplane/offload/offload.hpp"
#include "dataplane/ports/interfaces.hpp"
#include "dataplane/ports/steering.hpp"
#include "dataplane/tables/forwarding.hpp"
#include "dataplane/worker.hpp"

namespace espgate::dataplane {

// Bytes of a buffer behind the headroom that a frame of the largest port's MTU needs.
[[nodiscard]] std::uint16_t buffer_size(const std::vector<conf::Port>& ports) noexcept;

class Ports {
 public:
  // Configures every port for `workers` and fills `tables.ports` and `interfaces`. Throws std::runtime_error
  // naming the port and what failed. `pool` feeds the receive queues.
  Ports(const std::vector<conf::Port>& wanted, Forwarding& tables, Interfaces& interfaces,
        channel::CountersPage& page, rte_mempool* pool, unsigned workers);
  ~Ports();  // stops and closes them; the workers must have stopped
  Ports(const Ports&) = delete;
  Ports& operator=(const Ports&) = delete;

  // Gives each worker its receive queues, and its transmit queue or the worker that has one.
  void wire(std::vector<Worker*>& workers) const;
  // Starts the ports and has their cards steer ESP; before the workers run, and before there are SAs, so that
  // no flow changes its queue.
  void start();
  // Tells `offload` of the cards that do ESP's cryptography. Throws where the configuration requires one and
  // there is none. After start, before there are SAs.
  void offer_cards(Offload& offload) const;

  // Reads link state and missed packets, and calls `changed` for each port that went up or down.
  void poll(const std::function<void(std::uint32_t port, bool up)>& changed);

 private:
  struct State {
    std::string name;
    unsigned parent;  // the port whose device it uses; itself where it has one of its own
    std::uint16_t ethdev;
    std::uint16_t receive_queues;
    std::uint16_t transmit_queues;
    unsigned kernel_interface;  // its index where a kernel interface is behind the port; 0: none
    bool hashes;                // the card spreads packets over the queues (RSS)
    bool hashes_spi;            // and takes the SPI into its hash
    bool seals;                 // security offloads are enabled: transmit
    bool opens;                 // receive
    bool must_offload;          // the configuration does not want it without
    bool started;
    std::unique_ptr<Steering> steering;
    channel::Fd
        groups;  // by which a kernel interface is told to receive multicast; none: the driver tells it
  };
  void open(State& port, const conf::Port& wanted, unsigned index, rte_mempool* pool);
  void configure(State& port, const conf::Port& wanted, rte_mempool* pool);
  void publish(std::uint32_t index, const conf::Port& wanted, Interfaces& interfaces);
  [[nodiscard]] std::uint32_t worker_of(unsigned port, unsigned queue) const noexcept;
  void steer(unsigned port);
  void listen_to_groups(unsigned port);
  void tell_spreading(unsigned port);
  void read_statistics(unsigned port) noexcept;
  [[nodiscard]] bool link_up(const State& port) const noexcept;

  Forwarding& tables_;
  const Interfaces& interfaces_;
  channel::CountersPage& page_;
  unsigned workers_;
  std::vector<State> ports_;
};

}  // namespace espgate::dataplane
