// What ICMP says of IKE datagrams that did not arrive: what of it the control process is told. The messages
// are scapy's.
#include <catch2/catch.hpp>

#include "tests/dataplane/host/desk.hpp"

using namespace espgate;
using namespace espgate::test;
using channel::CommandStatus;
using channel::Unreachable;

namespace {

struct Gateway {
  Gateway() { REQUIRE(desk.run(set_tunnel(3)) == CommandStatus::ok); }
  void hear(const std::string& name, std::uint8_t port = kWan) {
    desk.raise(Exception::to_host, packet(name), port);
    CHECK(desk.sent().empty());
    CHECK(desk.buffers_out() == 0);
  }
  std::vector<channel::IkeUnreachable> told() {
    std::vector<channel::IkeUnreachable> out;
    for (const channel::Event& event : desk.control.events)
      if (event.kind == channel::EventKind::ike_unreachable) out.push_back(event.body.ike_unreachable);
    desk.control.events.clear();
    return out;
  }
  Desk desk;
};

}  // namespace

TEST_CASE("an undelivered IKE datagram is told of, with who says so") {
  Gateway gateway;
  gateway.hear("undelivered_3");
  const auto told = gateway.told();
  REQUIRE(told.size() == 1);
  CHECK(told[0].what == Unreachable::port);
  CHECK(told[0].table == kMainTable);
  CHECK(to_string(told[0].said_by) == "198.51.100.1");
  CHECK(to_string(told[0].local) == "192.0.2.1");
  CHECK(to_string(told[0].remote) == "192.0.2.2");
  CHECK(told[0].remote_port == 500);
  CHECK(gateway.desk.all_drops() == 0);
}

TEST_CASE("each code means what the RFCs say, in both families") {
  Gateway gateway;
  const std::pair<const char*, Unreachable> kCodes[] = {
      {"undelivered_0", Unreachable::network},          {"undelivered_1", Unreachable::host},
      {"undelivered_9", Unreachable::prohibited},       {"undelivered_10", Unreachable::prohibited},
      {"undelivered_13", Unreachable::prohibited},      {"undelivered_quoting_28", Unreachable::port},
      {"undelivered_quoting_marked", Unreachable::port}};
  for (const auto& [name, what] : kCodes) {
    INFO(name);
    gateway.hear(name);
    const auto told = gateway.told();
    REQUIRE(told.size() == 1);
    CHECK(told[0].what == what);
  }
}

TEST_CASE("and over IPv6") {
  Gateway gateway;
  channel::Command six = set_tunnel(4);
  six.body.set_tunnel.local = *parse_address("2001:db8:2::1");
  six.body.set_tunnel.remote = *parse_address("2001:db8:2::2");
  REQUIRE(gateway.desk.run(six) == CommandStatus::ok);
  (void)gateway.desk.sent();
  const std::pair<const char*, Unreachable> kCodes[] = {{"undelivered6_0", Unreachable::network},
                                                        {"undelivered6_1", Unreachable::prohibited},
                                                        {"undelivered6_3", Unreachable::host},
                                                        {"undelivered6_4", Unreachable::port}};
  for (const auto& [name, what] : kCodes) {
    INFO(name);
    gateway.hear(name);
    const auto told = gateway.told();
    REQUIRE(told.size() == 1);
    CHECK(told[0].what == what);
    CHECK(to_string(told[0].remote) == "2001:db8:2::2");
  }
  gateway.hear("undelivered6_2");
  CHECK(gateway.told().empty());
}

TEST_CASE("what is not about IKE with a peer of ours is nobody's") {
  Gateway gateway;
  for (const char* name :
       {"undelivered_2", "undelivered_5", "undelivered_quoting_24", "undelivered_quoting_esp",
        "undelivered_quoting_dns", "undelivered_quoting_stranger"}) {
    INFO(name);
    const std::uint64_t before = gateway.desk.drops(DropReason::host_protocol);
    gateway.hear(name);
    CHECK(gateway.told().empty());
    CHECK(gateway.desk.drops(DropReason::host_protocol) == before + 1);
  }
}

TEST_CASE("nobody can make the control process busy with it") {
  Gateway gateway;
  for (int i = 0; i < 1000; ++i) gateway.hear("undelivered_3");
  CHECK(gateway.told().size() <= 20);
  CHECK(gateway.desk.drops(DropReason::icmp_rate_limited) >= 980);
}
