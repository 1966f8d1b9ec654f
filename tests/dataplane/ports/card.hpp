// A model of a card that steers, filters multicast, and speaks up when it is unplugged or wants a reset. It
// answers the calls of rte_flow, and those about MAC addresses, events and resets, in DPDK's place: in a
// program that links it, its functions of those names come first. A rule is kept as the bytes of its items,
// and compared with the bytes of a frame.
#pragma once

#include <rte_ethdev.h>
#include <rte_flow.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "tests/dataplane/frames.hpp"

// What DPDK leaves to the driver: here, a rule as the card has it.
struct rte_flow {
  struct Header {
    rte_flow_item_type type;
    espgate::test::Octets spec;  // empty: any
    espgate::test::Octets mask;
  };
  std::uint16_t port;
  std::vector<Header> headers;
  std::uint16_t queue;
};

namespace espgate::test {

// While one lives, it is the card behind every port. What is called with nonsense throws, or, from where
// nothing may be thrown, ends the program.
class Card {
 public:
  Card();
  ~Card();
  Card(const Card&) = delete;
  Card& operator=(const Card&) = delete;

  // What it can do.
  std::size_t capacity{1000};  // rules
  bool masks_of_spi{true};     // or only whole SPIs
  bool esp{true};
  bool esp_in_udp{true};
  bool talks{true};           // says why it refuses
  bool destroys{true};        // or destroying fails
  unsigned fail_at{0};        // this call of those that ask for rules fails, counted from 1
  bool filters_groups{true};  // or takes all multicast or none
  bool all_multicast{true};   // can do that
  bool promiscuous{true};     // can be
  bool resets{true};          // or the driver knows no reset
  std::function<void(std::uint16_t port)> on_change{[](std::uint16_t) {}};  // a rule comes or goes

  [[nodiscard]] std::size_t rules() const { return rules_.size(); }
  [[nodiscard]] unsigned calls() const { return calls_; }
  // The queue that a frame comes to by a rule; none: no rule is about it. Throws if rules contradict.
  [[nodiscard]] std::optional<std::uint16_t> queue_of(std::uint16_t port, const Octets& frame) const;

  // What its ports let through besides their own address.
  std::map<std::uint16_t, std::set<Mac>> groups;
  std::set<std::uint16_t> let_all_multicast_through;
  std::set<std::uint16_t> let_all_through;

  // Who listens, by port and event.
  using Listener = std::pair<rte_eth_dev_cb_fn, void*>;
  std::map<std::pair<std::uint16_t, rte_eth_event_type>, Listener> listeners;
  // Tells of the event as its driver would. Throws if nobody listens.
  void say(std::uint16_t port, rte_eth_event_type event);

  // What the functions of rte_flow do; 0 or a negative errno.
  int validate(const rte_flow_attr& attributes, const rte_flow_item* pattern, const rte_flow_action* actions,
               rte_flow_error* error);
  rte_flow* create(std::uint16_t port, const rte_flow_attr& attributes, const rte_flow_item* pattern,
                   const rte_flow_action* actions, rte_flow_error* error);
  int destroy(std::uint16_t port, const rte_flow* rule, rte_flow_error* error);

 private:
  int refuse(int why, const char* words, rte_flow_error* error) const;

  std::vector<std::unique_ptr<rte_flow>> rules_;
  unsigned calls_{0};
};

}  // namespace espgate::test
