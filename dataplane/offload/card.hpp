// A port's card that does ESP's cryptography itself, on the way in and out (rte_security, inline crypto).
// What it is asked to hold, and what it says to that. Main thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "channel/messages.hpp"
#include "crypto/secret.hpp"
#include "crypto/suite.hpp"
#include "dataplane/offload/session.hpp"

struct rte_flow;
struct rte_mempool;

namespace espgate::dataplane {

// What a card is told of an SA.
struct CardSa {
  channel::Direction direction;
  const crypto::SuiteRow* suite;
  std::uint32_t spi;  // host byte order
  IpAddress local;    // outer
  IpAddress remote;
  bool udp;
  std::uint16_t local_port;  // with `udp`; host byte order
  std::uint16_t remote_port;
  std::shared_ptr<crypto::SecretBytes> keys;  // drivers may look at them as long as a session lives
  std::optional<std::uint16_t> queue;         // inbound: the receive queue of its worker, if it has one there
};
[[nodiscard]] CardSa describe_for_card(const channel::InstallSa& install, channel::Direction direction);

// An SA that a card holds, with what is needed to have it forgotten.
struct HeldByCard : CardSession {
  rte_flow* rule{nullptr};  // inbound: what leads its packets to the session
  std::shared_ptr<crypto::SecretBytes> keys;
};

class Card {
 public:
  // `ethdev` must have been started, with the security offloads enabled that `receives` and `sends` tell of.
  // nullptr: it has no inline cryptography. `port` is its index among the ports, `name` its name in the log.
  [[nodiscard]] static std::unique_ptr<Card> probe(std::string name, std::uint8_t port, std::uint16_t ethdev,
                                                   bool receives, bool sends);
  ~Card();  // its sessions must have been destroyed
  Card(const Card&) = delete;
  Card& operator=(const Card&) = delete;

  // Do its capabilities have this SA's direction, suite and encapsulation? Outbound only suites whose IV is
  // the sequence number: a card does not make CBC's unpredictable ones.
  [[nodiscard]] bool can(const CardSa& sa) const noexcept;
  // nullptr: refused; the reason is logged when it is another than the last.
  [[nodiscard]] std::shared_ptr<HeldByCard> hold(const CardSa& sa);
  void forget(HeldByCard& held);

  [[nodiscard]] std::uint8_t port() const noexcept { return port_; }
  // The suites it takes, in words.
  [[nodiscard]] std::string describe() const;

 private:
  Card(std::string name, std::uint8_t port, std::uint16_t ethdev, rte_security_ctx* context,
       rte_mempool* pool, bool receives, bool sends);
  [[nodiscard]] bool lead_to(HeldByCard& held, const CardSa& sa);
  void say(const std::string& words);

  std::string name_;
  std::uint8_t port_;
  std::uint16_t ethdev_;
  rte_security_ctx* context_;
  rte_mempool* pool_;  // of sessions
  bool receives_;
  bool sends_;
  std::string said_;
};

}  // namespace espgate::dataplane
