// A worker's working memory of one round, allocated once.
#pragma once

#include <array>
#include <cstdint>

#include "channel/counters.hpp"
#include "crypto/bulk.hpp"
#include "dataplane/path/burst.hpp"

namespace espgate::dataplane {

struct Scratch {
  Burst plain;     // IP packets to be routed: received in clear, decrypted, or made here
  Burst esp;       // ESP packets that may be ours, to be decrypted
  Burst chosen;    // handed over by another worker, with their tunnel chosen
  Burst deferred;  // packets to be cut into fragments before they are sealed, and those behind them
  unsigned next_deferred{0};
  std::uint64_t now{0};  // TSC at the burst's start

  // What the engine is to do: one job for each packet of the burst, in its order.
  std::array<crypto::EspJob, kBurst> jobs;
  unsigned job_count{0};
  unsigned next_opened{0};     // of them, that check_integrity looks at
  bool checksums_due{false};   // some packets of the burst being sealed want a UDP checksum afterwards
  bool all_plain{false};       // the SAs of the burst being opened
  bool opened_by_card{false};  // some of them are done already: those of no suite

  // Bulk route lookup: the addresses of each family, in the burst's order, and the answers.
  std::array<std::uint32_t, kBurst> addresses4;
  std::uint8_t addresses6[kBurst][16];
  std::array<NextHop, kBurst> next_hops4;
  std::array<NextHop, kBurst> next_hops6;
  bool some_in_groups{false};  // of the burst last routed, some go by flow hash
  bool some_in_clear{false};   // of the burst last routed, some go to ports as they are

  // Packets of other workers' SAs, by worker.
  struct Parcel {
    std::array<rte_mbuf*, kBurst> packets;
    unsigned count{0};
  };
  std::array<Parcel, channel::kMaxWorkers> parcels;
  bool set_aside{false};  // there is something in them

  std::array<rte_mbuf*, kBurst> received;
};

}  // namespace espgate::dataplane
