// The cost of ipsec-mb alone: the fewest calls that seal or open the same bytes, with everything prepared
// that can be prepared. What the benchmarks compare the product with.
#pragma once

#include <intel-ipsec-mb.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "crypto/bulk.hpp"

namespace espgate::bench {

// ESP packets of one suite and one key, at most kMaxPackets. Each of `packets` points at the SPI; `payload`
// counts the encrypted bytes.
class RawCrypto {
 public:
  static constexpr std::size_t kMaxPackets = 64;

  // `keys`: what BulkEngine::expand takes. Terminates on a suite that is none.
  RawCrypto(const crypto::BulkEngine& engine, crypto::EspSuite suite, crypto::Bytes keys);

  // One direct call a packet for AES-GCM and GMAC; jobs for the other AEADs; for a cipher with an HMAC one
  // synchronous burst of the cipher and one of the hash, on the managers that the engine would choose. The IV
  // is what lies in the packet, and the ICV is computed, not compared.
  void seal(std::span<std::uint8_t* const> packets, std::uint32_t payload) noexcept;
  void open(std::span<std::uint8_t* const> packets, std::uint32_t payload) noexcept;
  // The same for packets of different sizes.
  void seal(std::span<std::uint8_t* const> packets, std::span<const std::uint32_t> payloads) noexcept;
  void open(std::span<std::uint8_t* const> packets, std::span<const std::uint32_t> payloads) noexcept;

  // AES-CBC by ipsec-mb's other way: its queue of chained jobs on the manager that it picks itself.
  void seal_chained(std::span<std::uint8_t* const> packets, std::uint32_t payload) noexcept;

 private:
  void gcm(std::span<std::uint8_t* const> packets, std::span<const std::uint32_t> payloads,
           aes_gcm_enc_dec_t call, bool sealing) noexcept;
  void aead_jobs(std::span<std::uint8_t* const> packets, std::span<const std::uint32_t> payloads,
                 bool sealing) noexcept;
  void cipher_burst(IMB_MGR* manager, std::uint32_t count, IMB_CIPHER_DIRECTION direction) noexcept;
  [[nodiscard]] std::span<const std::uint32_t> all(std::size_t count, std::uint32_t payload) noexcept;
  template <class Call>
  [[nodiscard]] Call by_key(Call of_128, Call of_192, Call of_256) const noexcept {
    return key_size_ == IMB_KEY_128_BYTES ? of_128 : key_size_ == IMB_KEY_192_BYTES ? of_192 : of_256;
  }
  void describe(IMB_JOB& job, std::uint8_t* esp, std::uint32_t payload, std::uint8_t* icv) const noexcept;

  const crypto::BulkEngine& engine_;
  const crypto::SuiteRow& suite_;
  IMB_CIPHER_MODE cipher_;
  IMB_HASH_ALG hash_;
  IMB_KEY_SIZE_BYTES key_size_;
  // Where the engine has it, with ipsec-mb's hash keys at the beginning of a line.
  struct alignas(64) GcmKey {
    std::array<std::uint8_t, 16> before;
    gcm_key_data data;
  } gcm_key_{};
  alignas(64) gcm_context_data gcm_context_{};
  std::array<std::uint8_t, IMB_GCM_IV_DATA_LEN> nonce_{};
  alignas(64) std::array<std::uint8_t, 240> encrypt_{};
  alignas(64) std::array<std::uint8_t, 240> decrypt_{};
  alignas(64) std::array<std::uint8_t, 64> inner_{};
  alignas(64) std::array<std::uint8_t, 64> outer_{};
  std::array<IMB_JOB, kMaxPackets> jobs_{};
  std::array<std::uint32_t, kMaxPackets> payloads_{};
  std::array<std::array<std::uint8_t, 32>, kMaxPackets> icvs_{};
};

}  // namespace espgate::bench
