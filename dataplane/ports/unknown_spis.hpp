// ESP for SPIs that nobody has, counted by source: a peer that still sends on an SA that is gone, or a scan.
// The control process is told at once of a new source and then once a second; no number of forged sources
// makes the table, or the events, more. Main thread only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "channel/address.hpp"
#include "dataplane/control_link.hpp"
#include "dataplane/ports/rate_limit.hpp"

namespace espgate::dataplane {

class UnknownSpis {
 public:
  static constexpr std::size_t kSources = 256;
  static constexpr std::uint64_t kTellEveryNs = 1'000'000'000;
  static constexpr std::uint32_t kTellRate = 256;  // a second, of all sources together

  // `control` must outlive this. `seed` is random, so that nobody can aim at another source's place.
  UnknownSpis(ControlLink& control, std::uint64_t seed) noexcept : control_(control), seed_(seed) {}

  // One packet. Two sources whose places are one drive each other out; what was counted is told first, or
  // counts as of other sources.
  void note(const IpAddress& source, const IpAddress& destination, std::uint32_t spi, std::uint64_t now);
  // Tells what was counted more than a second ago.
  void advance(std::uint64_t now);

 private:
  struct Entry {
    IpAddress source;
    IpAddress destination;
    std::uint32_t spi;
    std::uint64_t packets;  // not told yet
    std::uint64_t told_ns;
  };
  void tell(Entry& entry, std::uint64_t now);
  void drive_out(Entry& entry, std::uint64_t now);

  ControlLink& control_;
  std::uint64_t seed_;
  TokenBucket all_;
  std::array<Entry, kSources> entries_{};
  Entry others_{};  // without a source
  std::uint64_t next_ns_{0};
};

}  // namespace espgate::dataplane
