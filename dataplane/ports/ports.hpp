// The ports: configured, wired to workers, started, watched; and what becomes of them when their devices
// vanish. No offload is taken for granted: checksums are made in software. Main thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "channel/region.hpp"
#include "conf/schema.hpp"
#include "dataplane/offload/offload.hpp"
#include "dataplane/ports/device.hpp"
#include "dataplane/ports/interfaces.hpp"
#include "dataplane/tables/forwarding.hpp"
#include "dataplane/worker.hpp"

namespace espgate::dataplane {

// Bytes of a buffer behind the headroom: what a frame of the largest port's MTU needs, or a packet as large
// as a tunnel's interface says whose peer fragments it after encryption as we do.
[[nodiscard]] std::uint16_t buffer_size(const conf::Configuration& configuration) noexcept;

enum class PortChange : std::uint8_t {
  up,
  down,
  absent,   // its device vanished, and will be looked for; until then it is down
  renewed,  // up, for the first time with another device than before: who was at the wire may be there no
            // more
};

class Ports {
 public:
  // A device that did not come back is tried again after this, then after twice as long, and so on up to the
  // latter. That a kernel interface or a PCI device exists again is seen at the next poll.
  static constexpr std::uint64_t kFirstRetry = 1'000'000'000;  // ns
  static constexpr std::uint64_t kLastRetry = 30'000'000'000;  // ns

  // Configures every port for `workers` and fills `tables.ports` and `interfaces`. Throws std::runtime_error
  // naming the port and what failed. `pool` feeds the receive queues. All must outlive this.
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
  // Tells `offload` of the cards that do ESP's cryptography, and of those that come and go later. Throws
  // where the configuration requires one and there is none. After start, before there are SAs. The ports are
  // not polled when it is gone.
  void offer_cards(Offload& offload);

  // Reads link state and statistics, calls `changed` for each port that changed, takes out devices that have
  // vanished and looks for them. `now`: CLOCK_MONOTONIC, ns.
  using Changed = std::function<void(std::uint32_t port, PortChange change)>;
  void poll(std::uint64_t now, const Changed& changed);

 private:
  // A device that vanishes is marked first; workers may still be about to use it until they have been quiet.
  enum class Stage : std::uint8_t { present, leaving, released, absent };
  struct State {
    std::string name;
    unsigned parent;                 // the port whose device it uses; itself where it has one of its own
    std::unique_ptr<Device> device;  // where it has one of its own
    bool must_offload;               // the configuration does not want it without a card
    bool renewed{false};             // it has not been up since its device came back
    Stage stage{Stage::present};
    std::uint64_t retry_ns{0};  // absent: not before
    std::uint64_t pause{kFirstRetry};
    std::string said;  // why it could not come back
  };
  [[nodiscard]] const Device& device_of(unsigned port) const noexcept {
    return *ports_[ports_[port].parent].device;
  }
  void publish(unsigned index, const conf::Port& wanted);
  void take_address(unsigned device);
  void publish_device(unsigned device) noexcept;
  [[nodiscard]] std::uint32_t worker_of(unsigned port, unsigned queue) const noexcept;
  void bring_up(unsigned device);
  void tell_spreading(unsigned port);
  void offer_card(unsigned device);
  void read_statistics(unsigned device) noexcept;
  void poll_link(unsigned port, std::uint64_t now, const Changed& changed);
  void set_flags(unsigned port, bool present, bool up, std::uint64_t now) noexcept;

  // ports_plug.cpp
  void watch(unsigned device, std::uint64_t now, const Changed& changed);
  void take_out(unsigned device, std::uint64_t now, const Changed& changed);
  void let_go(unsigned device, std::uint64_t now);
  void look_for(unsigned device, std::uint64_t now);
  void put_in(unsigned device, std::uint64_t now);

  Forwarding& tables_;
  Interfaces& interfaces_;
  channel::CountersPage& page_;
  Offload* offload_{nullptr};
  unsigned workers_;
  std::vector<State> ports_;
};

}  // namespace espgate::dataplane
