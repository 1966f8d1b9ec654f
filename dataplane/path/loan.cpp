#include "dataplane/path/loan.hpp"

#include <rte_pause.h>

#include <algorithm>

namespace espgate::dataplane {

namespace {

constexpr std::uint64_t kLoanShift = 32;
constexpr std::uint64_t kPiecesShift = 16;
constexpr std::uint64_t kMask = 0xffff;

}  // namespace

bool Loan::help(crypto::BulkEngine& engine) noexcept {
  std::uint64_t state = state_.load(std::memory_order_acquire);
  do {
    if ((state & kMask) >= (state >> kPiecesShift & kMask)) return false;
  } while (
      !state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel, std::memory_order_acquire));
  // From here until done_ is raised the loan stays as it is.
  const std::size_t first = (state & kMask) * piece_;
  const std::span<crypto::EspJob> piece = jobs_.subspan(first, std::min(piece_, jobs_.size() - first));
  if (sealing_)
    engine.seal(piece);
  else
    engine.open(piece);
  done_.fetch_add(1, std::memory_order_release);
  return true;
}

void Loan::lend(crypto::BulkEngine& engine, std::span<crypto::EspJob> jobs, std::size_t workers,
                bool sealing) noexcept {
  jobs_ = jobs;
  piece_ = std::max<std::size_t>((jobs.size() + workers - 1) / workers, kPiece);
  const auto pieces = static_cast<std::uint32_t>((jobs.size() + piece_ - 1) / piece_);
  sealing_ = sealing;
  done_.store(0, std::memory_order_relaxed);
  const std::uint64_t number = (state_.load(std::memory_order_relaxed) >> kLoanShift) + 1;
  state_.store(number << kLoanShift | std::uint64_t{pieces} << kPiecesShift, std::memory_order_release);
  while (help(engine)) {
  }
  while (done_.load(std::memory_order_acquire) < pieces) rte_pause();
}

}  // namespace espgate::dataplane
