// A card that does ESP's cryptography: a port of rings (Cable) with a security context of its own, callbacks
// in its queues for what silicon would do, and OpenSSL for that. It answers rte_flow's calls and those that
// ask for a port's abilities: in a program that links it, its functions of those names come first. It checks
// whatever it is asked, and what it finds wrong it writes down.
#pragma once

#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_security_driver.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/dataplane/offload/esp_oracle.hpp"

struct rte_flow {
  std::uint32_t session;
  espgate::test::Octets destination;
  std::uint32_t spi;
  bool udp;
};

namespace espgate::test {

class SecurityCard {
 public:
  // In the queues 0 of a port that has been configured, or in none.
  explicit SecurityCard(std::uint16_t port, bool in_queues = true);
  ~SecurityCard();
  SecurityCard(const SecurityCard&) = delete;
  SecurityCard& operator=(const SecurityCard&) = delete;

  // What it can do, and is told to fail at.
  std::size_t capacity{64};  // sessions
  bool udp{true};            // ESP in UDP
  bool names_queue{false};   // takes rules that also name a queue
  bool takes_rules{true};
  bool destroys_rules{true};
  unsigned fail_metadata{0};  // so many calls fail
  bool needs_metadata{true};  // else it finds the session by the SPI
  // Forgets all sessions and rules, as a card does that is reset.
  void reset();

  // What came of it.
  [[nodiscard]] std::size_t sessions() const { return sessions_.size(); }
  [[nodiscard]] std::size_t rules() const { return rules_.size(); }
  std::uint64_t sealed{0};
  std::uint64_t opened{0};
  std::uint64_t forged{0};
  std::uint64_t refused{0};  // sessions, rules and metadata
  std::vector<std::string> faults;

  // What DPDK's functions do for it.
  int create_session(const rte_security_session_conf& conf, rte_security_session& session);
  int destroy_session(const rte_security_session& session);
  int set_metadata(const rte_security_session& session, rte_mbuf& mbuf);
  [[nodiscard]] const rte_security_capability* capabilities();
  int validate(const rte_flow_action* actions, rte_flow_error* error);
  rte_flow* create_rule(const rte_flow_item* pattern, const rte_flow_action* actions, rte_flow_error* error);
  int destroy_rule(rte_flow* rule, rte_flow_error* error);
  void send(rte_mbuf& mbuf);
  void receive(rte_mbuf& mbuf);
  [[nodiscard]] rte_security_ctx* context() { return &context_; }
  [[nodiscard]] std::uint16_t port() const { return port_; }

 private:
  struct Session {
    bool egress;
    std::uint32_t spi;
    bool udp;
    OracleSa sa;
  };
  void fault(const std::string& words) { faults.push_back(words); }
  [[nodiscard]] std::uint32_t number_of(const rte_security_session& session) const;
  [[nodiscard]] const Session* session_to_seal(rte_mbuf& mbuf, const Octets& frame);
  void check_frame(const rte_mbuf& mbuf, const Octets& frame);

  std::uint16_t port_;
  rte_security_ctx context_{};
  const rte_eth_rxtx_callback* rx_{nullptr};
  const rte_eth_rxtx_callback* tx_{nullptr};
  std::uint32_t next_{1};
  std::map<std::uint32_t, Session> sessions_;
  std::vector<std::unique_ptr<rte_flow>> rules_;
  std::vector<std::unique_ptr<rte_flow>> kept_rules_;  // that were to be destroyed
};

}  // namespace espgate::test
