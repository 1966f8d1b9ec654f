// What transport mode means for the gateway's own packets: all between the two ends are protected, both ways,
// but IKE and neighbour discovery.
#include <catch2/catch.hpp>

#include "tests/dataplane/host/desk.hpp"

using namespace espgate;
using namespace espgate::test;

namespace {

constexpr std::string_view kPeer = "192.0.2.2";

Octets echo_request(const std::string& source) {
  Octets icmp{8, 0, 0, 0, 0, 1, 0, 1};
  icmp = icmp + filling(16);
  put16(icmp, 2, ~internet_sum(icmp, 0, icmp.size()) & 0xffff);
  return ipv4_packet({.source = source, .destination = "192.0.2.1", .protocol = 1}, icmp);
}

channel::Command transport_tunnel(std::string_view local, std::string_view remote) {
  channel::Command command = set_tunnel(0, remote);
  command.body.set_tunnel.local = *parse_address(local);
  command.body.set_tunnel.mode = channel::Mode::transport;
  return command;
}

void raise_from_tunnel(Desk& desk, const Octets& ip) {
  desk.raise(Exception::to_host, ip, dataplane::Note::kNoPort, DropReason{}, 0, 0);
}

}  // namespace

TEST_CASE("The answer to what came protected is protected") {
  Desk desk;
  REQUIRE(desk.run(transport_tunnel("192.0.2.1", kPeer)) == channel::CommandStatus::ok);
  raise_from_tunnel(desk, echo_request(std::string(kPeer)));
  const auto sent = desk.sent();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].errand == Errand::protect);
  CHECK(sent[0].data[20] == 0);  // an echo reply
}

TEST_CASE("What should be protected and came in clear is dropped") {
  Desk desk;
  REQUIRE(desk.run(transport_tunnel("192.0.2.1", kPeer)) == channel::CommandStatus::ok);
  desk.raise(Exception::to_host, echo_request(std::string(kPeer)), kWan);
  CHECK(desk.sent().empty());
  CHECK(desk.drops(DropReason::unprotected) == 1);
  SECTION("others' packets need no protection") {
    desk.raise(Exception::to_host, echo_request("192.0.2.3"), kWan);
    const auto sent = desk.sent();
    REQUIRE(sent.size() == 1);
    CHECK(sent[0].errand == Errand::route);
  }
  SECTION("without the tunnel neither do these") {
    channel::Command remove = command(channel::CommandKind::remove_tunnel);
    remove.body.remove_tunnel.index = 0;
    REQUIRE(desk.run(remove) == channel::CommandStatus::ok);
    desk.raise(Exception::to_host, echo_request(std::string(kPeer)), kWan);
    CHECK(desk.sent().size() == 1);
  }
  SECTION("nor do they when it is in tunnel mode now") {
    REQUIRE(desk.run(set_tunnel(0, kPeer)) == channel::CommandStatus::ok);
    desk.raise(Exception::to_host, echo_request(std::string(kPeer)), kWan);
    CHECK(desk.sent().size() == 1);
  }
}

TEST_CASE("Neighbours in transport mode discover each other in clear") {
  Desk desk;
  // Unreachability detection asks the neighbour itself (RFC 4861 section 7.3).
  Octets solicitation = packet("ns");
  const Octets own = v6_bytes("fd00:1::1");
  std::copy(own.begin(), own.end(), solicitation.begin() + 24);
  const std::size_t length = solicitation.size() - 40;
  put16(solicitation, 42, 0);
  put16(solicitation, 42,
        ~internet_sum(solicitation, 40, length, internet_sum(solicitation, 8, 32) + 58 + length) & 0xffff);
  REQUIRE(desk.run(transport_tunnel("fd00:1::1", "fd00:1::2")) == channel::CommandStatus::ok);
  desk.raise(Exception::to_host, solicitation);
  CHECK(desk.sent().size() == 1);
  CHECK(desk.drops(DropReason::unprotected) == 0);
}
