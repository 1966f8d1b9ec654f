// Tunnels that are worth more than a core (`spread`): a worker lends the cryptography of a burst, in pieces,
// to workers that have nothing to do. It keeps sequence numbers, replay window and everything else to itself,
// and goes on when the last piece is done; so no packet overtakes another.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "crypto/bulk.hpp"

namespace espgate::dataplane {

// What one worker lends. The owner fills it in and takes pieces like everybody else.
class Loan {
 public:
  // Packets in a piece, at least: so many lanes ipsec-mb fills at a time.
  static constexpr unsigned kPiece = 16;

  // The owner's thread. Returns when all jobs are done, by `engine` and by whoever called `help` meanwhile. A
  // helper that is taken off its CPU in the middle of a piece holds the owner up: workers need cores of their
  // own. `workers`: how many there are, the owner among them.
  void seal(crypto::BulkEngine& engine, std::span<crypto::EspJob> jobs, std::size_t workers) noexcept {
    lend(engine, jobs, workers, true);
  }
  void open(crypto::BulkEngine& engine, std::span<crypto::EspJob> jobs, std::size_t workers) noexcept {
    lend(engine, jobs, workers, false);
  }

  // Another worker's thread: does a piece, if there is one. The SAs of the jobs are kept by the owner, which
  // is not quiet before they are done.
  bool help(crypto::BulkEngine& engine) noexcept;

 private:
  void lend(crypto::BulkEngine& engine, std::span<crypto::EspJob> jobs, std::size_t workers,
            bool sealing) noexcept;

  // Number of the loan (32 bits) | pieces of it (16) | the next to be taken (16): one word, so that nobody
  // takes a piece of a loan that is over.
  alignas(64) std::atomic<std::uint64_t> state_{0};
  std::span<crypto::EspJob> jobs_;
  std::size_t piece_{kPiece};  // packets
  bool sealing_{false};
  alignas(64) std::atomic<std::uint32_t> done_{0};
};

}  // namespace espgate::dataplane
