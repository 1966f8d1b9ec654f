// A worker's packets that are with crypto devices (lookaside, rte_cryptodev). They wait in the order in which
// they came, one line for each device, and go on from the line's head: so nothing of an SA is overtaken,
// whatever the device does first, and what the engine has to do after all waits for its turn among them.
#pragma once

#include <rte_crypto.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dataplane/offload/session.hpp"
#include "dataplane/path/burst.hpp"
#include "dataplane/worker.hpp"

namespace espgate::dataplane {

// What the workers know of a device. The main thread makes it, and keeps it for as long as they run.
struct DeviceLink {
  std::uint8_t id;                    // librte_cryptodev's
  std::atomic<bool> given_up{false};  // it did not answer a worker
};

class Flights {
 public:
  static constexpr unsigned kLine = 1024;  // packets in a line, and descriptors of a queue pair
  static constexpr std::uint64_t kPatience =
      1'000'000'000;  // ns without an answer, then a device is given up
  enum class Way : std::uint8_t { seal, open };

  // Main thread. `queue_pair`: the worker's, of every device. `operations`: from make_operations, of as many
  // devices.
  Flights(std::span<DeviceLink* const> devices, std::uint16_t queue_pair, rte_mempool* operations);
  ~Flights();
  Flights(const Flights&) = delete;
  Flights& operator=(const Flights&) = delete;
  // nullptr: no memory.
  [[nodiscard]] static rte_mempool* make_operations(const char* name, unsigned devices, int socket);
  // From the start of a crypto operation to its IV.
  [[nodiscard]] static std::uint16_t iv_offset() noexcept;

  // The rest is the worker's.

  // A packet that `job` tells of, for the SA's session; its data are `length` bytes at `ip`. False: the
  // engine must do it now. Else it is out of its burst: in the line, or dropped where that is full.
  [[nodiscard]] bool give(Worker& worker, const Packet& packet, const crypto::EspJob& job,
                          const std::atomic<DeviceSession*>& session, Way way) noexcept;
  // What waits goes to the devices, as far as their queues have room.
  void take_off() noexcept;
  // What came back goes on: to its port what was sealed, to commit_replay what was opened. Gives up a device
  // that is silent. Returns packets.
  unsigned land(Worker& worker) noexcept;

  [[nodiscard]] bool empty() const noexcept;
  // Rcu::quiet of a worker that may have packets here, which hold their SAs and sessions.
  void be_quiet(Rcu& rcu, std::uint32_t worker) noexcept;
  // Until nothing is here any more; kPatience at most.
  void finish(Worker& worker) noexcept;

 private:
  struct Flight;
  struct Line {
    DeviceLink* device;
    std::array<rte_crypto_op*, kLine> operations;  // nullptr: lost
    std::uint32_t head{0};                         // the oldest; these count on, and wrap
    std::uint32_t given{0};                        // the first that the device was not given
    std::uint32_t tail{0};
    std::uint32_t fence{0};        // what be_quiet waits for
    std::uint32_t outstanding{0};  // that the device has, those among them that were given up
    bool refused{false};           // it took nothing when it was last asked
    std::uint64_t heard{0};        // TSC of its last answer, or since when it owes one
    [[nodiscard]] rte_crypto_op*& at(std::uint32_t i) noexcept { return operations[i % kLine]; }
  };
  static Flight& flight_of(rte_crypto_op* operation) noexcept;
  static void describe(rte_crypto_op& operation, Flight& flight, const DeviceSession& session) noexcept;
  void collect(Line& line, std::uint64_t now) noexcept;
  void ground(Worker& worker, Line& line) noexcept;
  unsigned go_on(Worker& worker, Line& line) noexcept;
  void settle(Worker& worker, rte_crypto_op* operation) noexcept;
  void settle_sealed(Worker& worker, Flight& flight, std::uint8_t status) noexcept;
  void settle_opened(Worker& worker, Flight& flight, std::uint8_t status) noexcept;
  void send_on(Worker& worker) noexcept;

  std::uint16_t queue_pair_;
  rte_mempool* operations_;
  std::uint64_t patience_;                    // TSC cycles
  std::vector<std::unique_ptr<Line>> lines_;  // by device
  Burst sealed_;
  Burst opened_;
  bool fenced_{false};
  std::uint64_t token_{0};  // by which the worker is quiet once the fences are passed
};

}  // namespace espgate::dataplane
