// Steering by the card: flow rules (rte_flow) that bring ESP to a receive queue of the worker whose SA it is,
// so that nothing need be handed over. What a card can't do, hand-over does. Main thread only.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

struct rte_flow;
struct rte_flow_error;

namespace espgate::dataplane {

class Steering {
 public:
  // Installs the rules on the port `ethdev`, which has been started: raw ESP and ESP in UDP each for all of
  // its queues, or not at all. `workers[q]`, below channel::kMaxSpiWorkers, polls receive queue q and no
  // other. What the driver refuses is no error: see describe(). `port` is its name in the log.
  Steering(std::string port, std::uint16_t ethdev, std::span<const std::uint32_t> workers);
  // Removes them; before the port is stopped. What the driver does not remove is logged.
  ~Steering();
  Steering(const Steering&) = delete;
  Steering& operator=(const Steering&) = delete;

  // What the card does, in words, for the log. `hashes_spi`: RSS takes the SPI into its hash.
  [[nodiscard]] std::string describe(bool hashes_spi) const;

 private:
  enum class Encapsulation : std::uint8_t { none, udp };

  [[nodiscard]] bool install(Encapsulation encapsulation, std::span<const std::uint32_t> workers);
  [[nodiscard]] rte_flow* create(Encapsulation encapsulation, std::uint32_t worker, std::uint16_t queue,
                                 rte_flow_error& error) const;
  void remove_after(std::size_t kept);

  std::string port_;
  std::uint16_t ethdev_;
  std::size_t queues_;
  std::vector<rte_flow*> rules_;  // in the order in which they were made
  std::string refusal_;           // why the first that was refused was, in the driver's words
  bool esp_;
  bool esp_in_udp_;
};

}  // namespace espgate::dataplane
