// A device for lookaside cryptography (rte_cryptodev): started, asked what it can do, and given sessions.
// Main thread only.
#pragma once

#include <bitset>
#include <cstdint>
#include <memory>
#include <string>

#include "conf/schema.hpp"
#include "dataplane/offload/card.hpp"
#include "dataplane/offload/flights.hpp"
#include "dataplane/offload/session.hpp"

struct rte_mempool;

namespace espgate::dataplane {

// An SA that a device holds; drivers may look at the keys as long as the session lives.
struct HeldByDevice : DeviceSession {
  std::shared_ptr<crypto::SecretBytes> keys;
};

class CryptoDevice {
 public:
  static constexpr unsigned kMostSessions = 4095;

  // EAL must know the device. With a queue pair for each of `workers`, and memory of the device's socket.
  // `index`: its place among the gateway's. Throws std::runtime_error naming the device and what failed.
  CryptoDevice(const conf::CryptoDevice& wanted, std::uint8_t index, unsigned workers,
               unsigned most_sessions = kMostSessions);
  ~CryptoDevice();  // the workers must have stopped; sessions that are left go with it
  CryptoDevice(const CryptoDevice&) = delete;
  CryptoDevice& operator=(const CryptoDevice&) = delete;

  // Do its capabilities have the suite, with its key, IV, ICV and AAD lengths, and does the configuration
  // want it? With ESN only AEADs: what comes behind the ciphertext with an HMAC (RFC 4303 section 2.2.1), or
  // into the middle of what GMAC authenticates, is not in the packet.
  [[nodiscard]] bool can(const crypto::SuiteRow& suite, bool esn) const noexcept;
  // nullptr: refused; the reason is logged when it is another than the last.
  [[nodiscard]] std::shared_ptr<HeldByDevice> hold(const CardSa& sa, bool esn);
  // No operation may be on its way with it.
  void forget(HeldByDevice& held) noexcept;

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const std::string& driver() const noexcept { return driver_; }
  [[nodiscard]] unsigned sessions() const noexcept { return sessions_; }
  [[nodiscard]] unsigned most_sessions() const noexcept { return most_sessions_; }
  [[nodiscard]] int socket() const noexcept { return socket_; }
  [[nodiscard]] DeviceLink& link() noexcept { return link_; }
  [[nodiscard]] const DeviceLink& link() const noexcept { return link_; }
  // The suites it is used for, in words.
  [[nodiscard]] std::string describe() const;

 private:
  using Suites = std::bitset<crypto::kSuites.size()>;  // by row of the table
  void start(unsigned workers);
  void find_suites(const conf::CryptoDevice& wanted);
  [[nodiscard]] bool covers(const crypto::SuiteRow& suite, bool esn) const noexcept;
  [[noreturn]] void fail(const std::string& what) const;
  void say(const std::string& words);

  std::string name_;
  std::string driver_;
  std::uint8_t index_;
  int socket_{0};
  bool chains_{false};
  bool started_{false};
  unsigned most_sessions_;
  unsigned sessions_{0};
  rte_mempool* pool_{nullptr};  // of sessions
  DeviceLink link_{};
  Suites suites_;      // without ESN
  Suites esn_suites_;  // with it
  std::string said_;
};

}  // namespace espgate::dataplane
