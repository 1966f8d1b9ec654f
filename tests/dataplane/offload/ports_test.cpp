// What a port's configuration makes of its card, and what becomes of its SAs when it is unplugged.
#define ALLOW_EXPERIMENTAL_API  // DPDK 22.11's events about devices

#include <rte_dev.h>

#include "dataplane/ports/ports.hpp"
#include "tests/dataplane/offload/line.hpp"

namespace espgate::test {
namespace {

using conf::Offload;

// A port of DPDK's to which nothing comes, by its number in DPDK.
std::uint16_t null_device(const std::string& name) {
  start_eal();
  if (rte_eal_hotplug_add("vdev", name.c_str(), "no-rx=1") != 0) throw std::runtime_error("no device");
  std::uint16_t port = 0;
  if (rte_eth_dev_get_port_by_name(name.c_str(), &port) != 0) throw std::runtime_error("no port");
  return port;
}

// What the port was configured with. DPDK 22.11 calls its function for that experimental.
rte_eth_conf configuration_of(std::uint16_t device) {
  rte_eth_conf conf{};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  REQUIRE(rte_eth_dev_conf_get(device, &conf) == 0);
#pragma GCC diagnostic pop
  return conf;
}

struct Outcome {
  bool started;
  bool offloads;  // enabled at the port
  std::size_t sessions;
  std::string words;  // why it did not start
};

Outcome outcome_of(Offload wanted, bool has_card) {
  static unsigned count = 0;
  conf::Port port;
  port.name = "wan";
  port.device = "net_null" + std::to_string(100 + count++);
  port.addresses = {*parse_prefix("192.0.2.1/24")};
  port.offload = wanted;
  const std::uint16_t device = null_device(port.device);
  std::optional<SecurityCard> card;
  if (has_card) card.emplace(device, false);
  Desk desk;
  dataplane::Interfaces interfaces;
  channel::CountersPage page(desk.tables.shape);
  dataplane::Ports ports({port}, desk.tables, interfaces, page, desk.pool.get(), 1);
  ports.start();
  const rte_eth_conf conf = configuration_of(device);
  const bool offloads = (conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_SECURITY) != 0 &&
                        (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_SECURITY) != 0;
  dataplane::Offload offload(desk.tables);
  try {
    ports.offer_cards(offload);
  } catch (const std::runtime_error& error) {
    return {false, offloads, 0, error.what()};
  }
  channel::Command command = install_outbound(0, 1000);
  dataplane::OutboundSa& sa = desk.tables.outbound[0][0];
  sa.plain = true;  // as prepare says of it
  offload.adopt(sa, command.body.install_sa);
  const NextHop hop = offload.with_card(sa, {NextHopKind::gateway, 0, 0, 0});
  CHECK((hop.card == 1) == (offload.sessions() == 1));
  return {true, offloads, offload.sessions(), {}};
}

}  // namespace

TEST_CASE("A port's card is used, left alone or insisted on") {
  const Outcome used = outcome_of(Offload::automatic, true);
  CHECK((used.started && used.offloads && used.sessions == 1));
  const Outcome none = outcome_of(Offload::automatic, false);
  CHECK((none.started && !none.offloads && none.sessions == 0));
  const Outcome left = outcome_of(Offload::never, true);
  CHECK((left.started && !left.offloads && left.sessions == 0));
  const Outcome insisted = outcome_of(Offload::require, true);
  CHECK((insisted.started && insisted.offloads && insisted.sessions == 1));
  const Outcome missing = outcome_of(Offload::require, false);
  CHECK_FALSE(missing.started);
  CHECK(missing.words ==
        "port wan: offload is required, and its card or driver has no inline IPsec cryptography");
}

TEST_CASE("A card that is unplugged leaves its SAs to software, and has them again when it is back") {
  conf::Port port;
  port.name = "wan";
  port.device = "net_null200";
  port.addresses = {*parse_prefix("192.0.2.1/24")};
  const std::uint16_t device = null_device(port.device);
  SecurityCard card(device, false);
  Desk desk;
  dataplane::Interfaces interfaces;
  channel::CountersPage page(desk.tables.shape);
  dataplane::Ports ports({port}, desk.tables, interfaces, page, desk.pool.get(), 1);
  ports.start();
  dataplane::Offload offload(desk.tables);
  ports.offer_cards(offload);
  dataplane::OutboundSa& sa = desk.tables.outbound[0][0];
  sa.plain = true;
  offload.adopt(sa, install_outbound(0, 1000).body.install_sa);
  sa.outer = offload.with_card(sa, {NextHopKind::gateway, 0, 0, 0});
  REQUIRE(sa.outer.load().card == 1);
  std::uint64_t now = 0;
  const auto poll = [&](std::uint64_t later) {
    now += later;
    ports.poll(now, [&](std::uint32_t index, dataplane::PortChange change) {
      offload.port_went(index, change == dataplane::PortChange::renewed);
    });
    desk.tables.rcu.reclaim_ready();
    offload.poll(now);
  };
  rte_dev_event_callback_process("net_null200", RTE_DEV_EVENT_REMOVE);
  desk.tables.rcu.online(0);
  poll(1);
  CHECK(sa.outer.load().card == 0);
  CHECK(offload.sessions() == 0);
  CHECK(card.sessions() == 1);  // a worker may still use it
  desk.tables.rcu.quiet(0);
  poll(1);
  poll(1);
  CHECK(card.sessions() == 0);
  desk.tables.rcu.offline(0);
  poll(dataplane::Ports::kFirstRetry);
  CHECK(sa.outer.load().card == 1);
  CHECK(offload.sessions() == 1);
  CHECK(card.sessions() == 1);
  CHECK(card.faults.empty());
}

}  // namespace espgate::test
