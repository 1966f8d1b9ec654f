// ESP suites in DPDK's words: the transforms that a card or a crypto device is given for an SA, and whether
// its capabilities have them. Main thread only.
#pragma once

#include <rte_cryptodev.h>

#include "channel/messages.hpp"
#include "crypto/secret.hpp"
#include "crypto/suite.hpp"

namespace espgate::dataplane {

// The transforms of one SA, chained as its direction wants them: cipher, then ICV, when sealing; the other
// way round when opening. An AEAD is one transform. They point into `keys`, which must outlive them.
class Transforms {
 public:
  // `keys`: cipher key | salt | integrity key, as in InstallSa. `iv_offset`: from the start of a crypto
  // operation to its IV (a card has none: 0). `esn`: an AEAD's AAD has the high half of the sequence number.
  Transforms(const crypto::SuiteRow& row, crypto::Bytes keys, channel::Direction direction,
             std::uint16_t iv_offset, bool esn = false) noexcept;
  Transforms(const Transforms&) = delete;
  Transforms& operator=(const Transforms&) = delete;

  [[nodiscard]] rte_crypto_sym_xform* chain() noexcept { return first_; }
  // Does the list, which ends with RTE_CRYPTO_OP_TYPE_UNDEFINED, have every one of them, with these key and
  // ICV lengths?
  [[nodiscard]] bool all_in(const rte_cryptodev_capabilities* list) const noexcept;
  // Does the crypto device, with its IV and AAD lengths, too?
  [[nodiscard]] bool all_in(std::uint8_t device) const noexcept;

 private:
  void set_aead(rte_crypto_aead_algorithm algorithm) noexcept;
  void set_gmac() noexcept;
  void set_chain() noexcept;

  const crypto::SuiteRow& row_;
  crypto::Bytes keys_;
  bool sealing_;
  std::uint16_t iv_offset_;
  std::uint16_t aad_;  // bytes
  rte_crypto_sym_xform cipher_{};
  rte_crypto_sym_xform integrity_{};  // or the AEAD
  rte_crypto_sym_xform* first_;
};

}  // namespace espgate::dataplane
