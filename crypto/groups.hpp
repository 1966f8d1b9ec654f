// The packets of one suite that do not go by a call for each: many of them at a time, through ipsec-mb's
// lanes.
#pragma once

#include <span>

#include "crypto/bulk_scratch.hpp"

namespace espgate::crypto {

// Which of ipsec-mb's managers does what.
struct Managers {
  IMB_MGR* cipher;
  IMB_MGR* hash;
};

// A group of one suite, of at most kBurst jobs whose payloads are valid; `ok` is set in each. A cipher and an
// HMAC after each other. `plan` is a copy, so that no write to a packet has it read again.
void seal_bursts(Managers by, BulkScratch& scratch, Plan plan, std::span<EspJob* const> group) noexcept;
void open_bursts(Managers by, BulkScratch& scratch, Plan plan, std::span<EspJob* const> group) noexcept;
// The AEADs that ipsec-mb has as jobs only.
void seal_jobs(Managers by, BulkScratch& scratch, Plan plan, std::span<EspJob* const> group) noexcept;
void open_jobs(Managers by, BulkScratch& scratch, Plan plan, std::span<EspJob* const> group) noexcept;

}  // namespace espgate::crypto
