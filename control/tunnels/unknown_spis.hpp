// Who sends ESP that no SA takes, as the dataplane tells it: enough for the operator, and bounded, since
// sources can be forged. One thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <vector>

#include "channel/messages.hpp"
#include "control/ike/daemon.hpp"

namespace espgate::control {

using ike::Time;

class UnknownSpis {
 public:
  static constexpr std::size_t kMost = 256;  // sources

  struct Row {
    IpAddress source;
    IpAddress destination;  // of the last packet
    std::uint32_t last_spi{0};
    std::uint64_t packets{0};
    Time first_seen{};
    Time last_seen{};
  };

  // False: the source is here already, or is none. A new one takes the place of the one that was silent for
  // longest, whose packets count as of others from then on.
  bool note(const channel::UnknownSpi& event, Time now);

  [[nodiscard]] std::vector<Row> rows() const;  // the last seen first
  [[nodiscard]] std::uint64_t others() const noexcept { return others_; }

 private:
  void make_room();

  std::map<IpAddress, Row> rows_;
  std::uint64_t others_{0};
};

}  // namespace espgate::control
