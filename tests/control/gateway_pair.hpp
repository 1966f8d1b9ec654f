// Two whole control processes without sockets, each over a fake dataplane, wired to each other in virtual
// time.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "control/gateway.hpp"
#include "tests/control/fake_dataplane.hpp"

namespace espgate::test {

using namespace std::chrono_literals;
using control::Gateway;
using control::TunnelState;
using ike::Time;

inline conf::IkeProposal ike_proposal(crypto::DhGroup group = crypto::DhGroup::curve25519) {
  conf::IkeProposal proposal;
  proposal.ciphers = {{crypto::IkeCipherId::aes_gcm16, 256}};
  proposal.prfs = {crypto::Prf::hmac_sha256};
  proposal.groups = {group};
  return proposal;
}

inline conf::Identity fqdn(const std::string& name) {
  return {conf::IdentityType::fqdn, name, {name.begin(), name.end()}};
}

struct End {
  std::string name, address;
};

inline conf::Tunnel tunnel_between(const End& here, const End& there, conf::Start start) {
  conf::Tunnel tunnel;
  tunnel.name = "to-" + there.name;
  tunnel.interface = tunnel.name;
  tunnel.local = *parse_address(here.address);
  tunnel.remote = *parse_address(there.address);
  tunnel.local_id = fqdn(here.name + ".example");
  tunnel.remote_id = fqdn(there.name + ".example");
  tunnel.psk = crypto::SecretBytes(std::string_view("a shared secret"));
  tunnel.ike_proposals.push_back(ike_proposal());
  conf::EspProposal esp;
  esp.suites = {crypto::EspSuite::aes128_gcm16};
  tunnel.esp_proposals.push_back(esp);
  tunnel.local_selectors = {*parse_prefix("0.0.0.0/0")};
  tunnel.remote_selectors = {*parse_prefix("0.0.0.0/0")};
  tunnel.start = start;
  return tunnel;
}

// One side. `restart_control` is kill -9 of espgate-control and a new one: the dataplane stays.
struct Side {
  explicit Side(conf::Configuration wanted) : configuration(std::move(wanted)) {}

  void start(Time now) {
    gateway = std::make_unique<Gateway>(configuration, keeper, link, log, ike::Settings{}, now);
    link.attach(dataplane.accept());
    gateway->attached(now);
  }
  void kill_control() {
    gateway.reset();
    link.detach();
  }
  const control::TunnelStatus& status(ike::TunnelId tunnel = 0) const {
    return gateway->manager().status(tunnel);
  }

  conf::Configuration configuration;
  FakeDataplane dataplane;
  control::DataplaneLink link;
  control::Log log{nullptr};
  ike::LocalKeeper keeper{configuration.tunnels};
  std::unique_ptr<Gateway> gateway;
};

struct Pair {
  Pair() : Pair(conf::Start::initiate, conf::Start::wait) {}
  Pair(conf::Start west_start, conf::Start east_start)
      : west(conf::Configuration{}), east(conf::Configuration{}) {
    west.configuration.tunnels.push_back(tunnel_between(west_end, east_end, west_start));
    east.configuration.tunnels.push_back(tunnel_between(east_end, west_end, east_start));
  }

  void start() {
    west.start(now);
    east.start(now);
  }

  // One round without delay: both sides work until nothing moves any more.
  void settle() {
    for (int round = 0; round < 200; ++round) {
      bool moved = false;
      for (auto [from, to] : {std::pair{&west, &east}, std::pair{&east, &west}}) {
        if (from->gateway) {
          from->gateway->poll(now);
          from->gateway->advance(now);
        }
        for (channel::IkeDatagram& datagram : from->dataplane.poll()) {
          moved = true;
          std::swap(datagram.local, datagram.remote);
          std::swap(datagram.local_port, datagram.remote_port);
          if (wire(datagram)) to->dataplane.deliver(datagram);
        }
      }
      if (each_round) each_round();
      if (!moved && round > 4) return;
    }
  }

  void run(std::chrono::milliseconds duration) {
    const Time end = now + duration;
    while (now < end) {
      settle();
      now += 50ms;
    }
    settle();
  }

  // Whether what `from` sends, the other side can open.
  static bool carries(const Side& from, const Side& to) {
    const auto sending = from.dataplane.sending.find(0);
    return sending != from.dataplane.sending.end() && to.dataplane.inbound.contains(sending->second) &&
           to.dataplane.inbound.at(sending->second).keys ==
               from.dataplane.outbound.at({0, sending->second}).keys;
  }
  bool carries_both_ways() const { return carries(west, east) && carries(east, west); }

  End west_end{"west", "192.0.2.1"};
  End east_end{"east", "192.0.2.2"};
  Side west, east;
  Time now{Time(std::chrono::hours(1))};
  std::function<bool(const channel::IkeDatagram&)> wire = [](const channel::IkeDatagram&) { return true; };
  std::function<void()> each_round;
};

}  // namespace espgate::test
