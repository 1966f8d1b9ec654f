// Echo replies and ICMP errors against what scapy says they are, the rules about when there is none, and the
// slow path's drop reasons.
#include <catch2/catch.hpp>
#include <map>

#include "tests/dataplane/host/desk.hpp"

using namespace espgate;
using namespace espgate::test;
using dataplane::UnknownSpis;

namespace {

void check_routed(Desk& desk, const std::string& expected) {
  const auto sent = desk.sent();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].errand == Errand::route);
  CHECK(hex(sent[0].data) == hex(packet(expected)));
}

}  // namespace

TEST_CASE("echo requests are answered") {
  Desk desk;
  SECTION("IPv4") {
    desk.raise(Exception::to_host, packet("echo4"));
    check_routed(desk, "echo4_answer");
  }
  SECTION("IPv4, in a frame with padding") {
    desk.raise(Exception::to_host, packet("echo4") + Octets(11));
    check_routed(desk, "echo4_answer");
  }
  SECTION("IPv6") {
    desk.raise(Exception::to_host, packet("echo6"));
    check_routed(desk, "echo6_answer");
  }
  SECTION("IPv6, between link-local addresses: by way of the neighbour table") {
    desk.raise(Exception::to_host, packet("ns_link_local"));
    (void)desk.sent();
    desk.raise(Exception::to_host, packet("echo6_link_local"));
    const auto sent = desk.sent();
    REQUIRE(sent.size() == 1);
    CHECK(sent[0].errand == Errand::frame);
    CHECK(hex(sent[0].data) == hex(packet("echo6_link_local_answer")));
  }
  CHECK(desk.all_drops() == 0);
}

TEST_CASE("the sender is told why a packet goes no further") {
  struct Row {
    const char* packet;
    Exception why;
    DropReason reason;
    const char* error;
  };
  const Row rows[] = {
      {"udp4", Exception::ttl_exceeded, DropReason::ttl_exceeded, "ttl4_error"},
      {"udp6", Exception::ttl_exceeded, DropReason::ttl_exceeded, "ttl6_error"},
      {"large4", Exception::too_big, DropReason::too_big, "too_big4_error"},
      {"large6", Exception::too_big, DropReason::too_big, "too_big6_error"},
      {"udp4", Exception::unreachable, DropReason::no_route, "no_route4_error"},
      {"udp6", Exception::unreachable, DropReason::no_route, "no_route6_error"},
      {"udp4", Exception::unreachable, DropReason::tunnel_down, "host4_error"},
      {"udp6", Exception::unreachable, DropReason::tunnel_down, "host6_error"},
      {"udp4", Exception::resolve, DropReason::no_route, "no_route4_error"},  // its route went meanwhile
      {"to_port4", Exception::to_host, DropReason::host_protocol, "to_port4_error"},
      {"to_gre4", Exception::to_host, DropReason::host_protocol, "to_gre4_error"},
      {"to_port6", Exception::to_host, DropReason::host_protocol, "to_port6_error"},
      {"to_gre6", Exception::to_host, DropReason::host_protocol, "to_gre6_error"},
  };
  for (const Row& row : rows) {
    Desk desk;
    CAPTURE(row.error, row.packet);
    desk.raise(row.why, packet(row.packet), kLan, row.reason, 1300);
    check_routed(desk, row.error);
    CHECK(desk.drops(row.reason) == 1);
    CHECK(desk.all_drops() == 1);
  }
}

TEST_CASE("no ICMP error is sent about these") {
  for (const char* quiet :
       {"about_icmp_error4", "about_icmp_error6", "about_later_fragment4", "about_no_source4",
        "about_group_source4", "about_group4", "about_no_source6", "echo4_from_ourselves"}) {
    Desk desk;
    CAPTURE(quiet);
    desk.raise(Exception::ttl_exceeded, packet(quiet), kLan, DropReason::ttl_exceeded);
    CHECK(desk.sent().empty());
    CHECK(desk.drops(DropReason::icmp_error_quiet) == 1);
    CHECK(desk.drops(DropReason::ttl_exceeded) == 1);
  }
  Desk desk;
  desk.raise(Exception::ttl_exceeded, packet("about_echo4"), kLan, DropReason::ttl_exceeded);
  CHECK(desk.sent().size() == 1);  // a query is no error
}

TEST_CASE("errors to a host behind a tunnel come from the tunnel's address") {
  Desk desk;
  REQUIRE(desk.run(set_tunnel(3)) == channel::CommandStatus::ok);
  REQUIRE(desk.run(set_route("10.9.0.0/16", channel::RouteKind::tunnel, 3)) == channel::CommandStatus::ok);
  (void)desk.sent();
  Octets from_tunnel = packet("udp4");
  std::copy_n(v4_bytes("10.9.0.5").begin(), 4, from_tunnel.begin() + 12);
  fix_ipv4_checksum(from_tunnel);
  desk.raise(Exception::unreachable, from_tunnel, kWan, DropReason::no_route, 0, 3);
  const auto sent = desk.sent();
  REQUIRE(sent.size() == 1);
  CHECK(slice(sent[0].data, 12, 4) == v4_bytes("169.254.3.1"));
  CHECK(slice(sent[0].data, 16, 4) == v4_bytes("10.9.0.5"));
}

TEST_CASE("a flood of errors is held down, for one source and for all") {
  Desk desk;
  for (int i = 0; i < 300; i++) {
    desk.raise(Exception::ttl_exceeded, packet("udp4"), kLan, DropReason::ttl_exceeded);
    (void)desk.sent();
  }
  CHECK(desk.drops(DropReason::icmp_rate_limited) == 300 - dataplane::Icmp::kErrorLimits.source_burst);
  desk.now += kSecond;
  desk.raise(Exception::ttl_exceeded, packet("udp4"), kLan, DropReason::ttl_exceeded);
  CHECK(desk.sent().size() == 1);

  Desk many;
  std::uint64_t answered = 0;
  for (unsigned i = 0; i < 1000; i++) {
    Octets from = packet("udp4");
    from[13] = static_cast<std::uint8_t>(i);
    from[14] = static_cast<std::uint8_t>(i / 256);
    fix_ipv4_checksum(from);
    many.raise(Exception::ttl_exceeded, from, kLan, DropReason::ttl_exceeded);
    answered += many.sent().size();
  }
  CHECK(answered <= dataplane::Icmp::kErrorLimits.burst);
  CHECK(answered + many.drops(DropReason::icmp_rate_limited) + many.drops(DropReason::icmp_error_quiet) ==
        1000);
}

TEST_CASE("a flood of echo requests is held down") {
  Desk desk;
  for (unsigned i = 0; i < dataplane::Icmp::kEchoLimits.source_burst + 7; i++) {
    desk.raise(Exception::to_host, packet("echo4"));
    (void)desk.sent();
  }
  CHECK(desk.drops(DropReason::icmp_rate_limited) == 7);
}

TEST_CASE("packets to this host that end here have a name") {
  struct Row {
    const char* packet;
    DropReason reason;
  };
  for (const Row& row : {Row{"echo4_bad_checksum", DropReason::malformed_ipv4},
                         {"echo6_bad_checksum", DropReason::malformed_ipv6},
                         {"echo4_fragment", DropReason::host_fragment},
                         {"echo4_from_ourselves", DropReason::icmp_error_quiet},
                         {"echo4_reply_to_us", DropReason::host_protocol},
                         {"router_advertisement", DropReason::host_protocol},
                         {"echo6_to_group", DropReason::multicast},
                         {"echo4_to_group", DropReason::multicast},
                         {"echo6_to_other_link_local", DropReason::no_route}}) {
    Desk desk;
    CAPTURE(row.packet);
    desk.raise(Exception::to_host, packet(row.packet));
    CHECK(desk.drops(row.reason) == 1);
    CHECK(desk.all_drops() == 1);
    CHECK(desk.sent().empty());
  }
}

TEST_CASE("whatever is cut short or no IP at all is dropped, not read") {
  Desk desk;
  std::uint64_t raised = 0;
  for (const char* whole : {"echo4", "echo6", "ns", "to_port4"})
    for (std::size_t length = 0; length < packet(whole).size(); length += 3)
      for (const Exception why : {Exception::to_host, Exception::ttl_exceeded, Exception::unknown_spi}) {
        desk.raise(why, slice(packet(whole), 0, length));
        raised++;
      }
  CHECK(desk.drops(DropReason::malformed_ipv4) + desk.drops(DropReason::malformed_ipv6) == raised);
  CHECK(desk.sent().empty());
}

TEST_CASE("the main thread's own limits have names") {
  SECTION("no buffer for an answer") {
    Desk desk(1, 63);
    std::vector<rte_mbuf*> hoard;
    rte_mbuf* last = desk.make(packet("udp4"));
    dataplane::note_of(last) = {static_cast<std::uint8_t>(Exception::ttl_exceeded),
                                kLan,
                                0,
                                dataplane::Note::kNoTunnel,
                                {},
                                DropReason::ttl_exceeded};
    while (rte_mbuf* mbuf = rte_pktmbuf_alloc(desk.pool.get())) hoard.push_back(mbuf);
    desk.slow_path.handle(last, desk.now);
    CHECK(desk.drops(DropReason::no_buffer) == 1);
    for (rte_mbuf* mbuf : hoard) rte_pktmbuf_free(mbuf);
  }
  SECTION("the worker's inbox is full") {
    Desk desk;
    for (int i = 0; i < 1100; i++) desk.raise(Exception::to_host, packet("echo4"));
    CHECK(desk.drops(DropReason::inject_full) == 1100 - 1023);
  }
}

TEST_CASE("an unknown SPI is told once a second for each source, and always counted") {
  Desk desk;
  const auto events = [&] {
    const std::size_t count = desk.control.events.size();
    if (count > 0) {
      const channel::Event& event = desk.control.events.front();
      CHECK(event.kind == channel::EventKind::unknown_spi);
      CHECK(event.body.unknown_spi.spi == 0x0badcafe);
      CHECK(to_string(event.body.unknown_spi.source) == "192.0.2.2");
      CHECK(to_string(event.body.unknown_spi.destination) == "192.0.2.1");
    }
    desk.control.events.clear();
    return count;
  };
  desk.raise(Exception::unknown_spi, packet("esp"), kWan, DropReason::unknown_spi);
  CHECK(events() == 1);
  for (int i = 0; i < 50; i++)
    desk.raise(Exception::unknown_spi, packet("esp"), kWan, DropReason::unknown_spi);
  CHECK(events() == 0);
  CHECK(desk.drops(DropReason::unknown_spi) == 51);
  desk.now += kSecond;
  desk.raise(Exception::unknown_spi, packet("esp_udp"), kWan, DropReason::unknown_spi);
  CHECK(events() == 1);
}

TEST_CASE("unknown SPIs: every packet is told of once, however many sources there are") {
  Listener control;
  UnknownSpis table(control, 7);
  const IpAddress us = *parse_address("192.0.2.1");
  std::uint64_t now = 1000 * kSecond;
  const auto source = [](std::uint32_t number) {
    IpAddress address = *parse_address("10.0.0.0");
    for (int i = 0; i < 3; ++i) address.bytes[3 - i] = static_cast<std::uint8_t>(number >> 8 * i);
    return address;
  };
  const auto told = [&] {
    std::map<IpAddress, std::uint64_t> packets;
    for (const channel::Event& event : control.events)
      packets[event.body.unknown_spi.source] += event.body.unknown_spi.packets;
    return packets;
  };
  SECTION("one source: at once, then once a second with all that came, and the last ones too") {
    for (int i = 0; i < 10; ++i) table.note(source(1), us, 0x1000 + i, now);
    REQUIRE(control.events.size() == 1);
    CHECK(control.events[0].body.unknown_spi.packets == 1);
    table.advance(now + kSecond / 2);
    CHECK(control.events.size() == 1);
    table.advance(now + 2 * kSecond);
    REQUIRE(control.events.size() == 2);
    CHECK(control.events[1].body.unknown_spi.packets == 9);
    CHECK(control.events[1].body.unknown_spi.spi == 0x1009);
    table.advance(now + 9 * kSecond);
    CHECK(control.events.size() == 2);
  }
  SECTION("a flood of forged sources: bounded events, and nothing uncounted") {
    constexpr std::uint32_t kPackets = 100'000;
    for (std::uint32_t i = 0; i < kPackets; ++i) table.note(source(i), us, i, now);
    CHECK(control.events.size() <= UnknownSpis::kTellRate);
    for (int second = 1; second < 5; ++second) table.advance(now + second * kSecond);
    std::uint64_t sum = 0;
    for (const auto& [from, packets] : told()) sum += packets;
    CHECK(sum == kPackets);
    CHECK(told()[IpAddress{}] > kPackets / 2);
    CHECK(control.events.size() <= 2 * UnknownSpis::kTellRate + 8);
  }
}
