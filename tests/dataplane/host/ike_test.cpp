// IKE datagrams both ways, against packets that scapy made.
#include <catch2/catch.hpp>

#include "tests/dataplane/host/desk.hpp"

using namespace espgate;
using namespace espgate::test;

namespace {

Octets bytes_of(const channel::IkeDatagram& datagram) {
  return {datagram.bytes.begin(), datagram.bytes.begin() + datagram.length};
}

std::unique_ptr<channel::IkeDatagram> outgoing(std::uint16_t local_port, std::uint16_t remote_port,
                                               const Octets& message) {
  auto out = std::make_unique<channel::IkeDatagram>();
  out->local = *parse_address("192.0.2.1");
  out->remote = *parse_address("192.0.2.2");
  out->local_port = local_port;
  out->remote_port = remote_port;
  out->length = static_cast<std::uint32_t>(message.size());
  std::copy(message.begin(), message.end(), out->bytes.begin());
  return out;
}

std::unique_ptr<channel::IkeDatagram> outgoing6(std::uint16_t local_port, std::uint16_t remote_port,
                                                const Octets& message) {
  auto out = outgoing(local_port, remote_port, message);
  out->local = *parse_address("fd00:1::1");
  out->remote = *parse_address("fd00:1::2");
  return out;
}

Octets from_source(const Octets& whole, unsigned number) {
  Octets out = whole;
  out[14] = static_cast<std::uint8_t>(number >> 8);
  out[15] = static_cast<std::uint8_t>(number);
  put16(out, 26, 0);  // no UDP checksum
  fix_ipv4_checksum(out);
  return out;
}

}  // namespace

TEST_CASE("IKE from the wire reaches the control process without marker") {
  Desk desk;
  desk.receive_ike({packet("ike_500"), packet("ike_4500"), packet("ike_no_checksum")});
  REQUIRE(desk.control.datagrams.size() == 3);
  for (const auto& datagram : desk.control.datagrams) {
    CHECK(bytes_of(datagram) == packet("ike"));
    CHECK(to_string(datagram.remote) == "192.0.2.2");
    CHECK(to_string(datagram.local) == "192.0.2.1");
  }
  CHECK(desk.control.datagrams[0].local_port == 500);
  CHECK(desk.control.datagrams[0].remote_port == 500);
  CHECK(desk.control.datagrams[1].local_port == 4500);
  CHECK(desk.control.datagrams[1].remote_port == 31000);
  CHECK(desk.all_drops() == 0);
}

TEST_CASE("IKE over IPv6 reaches the control process, also behind extension headers") {
  Desk desk;
  const auto frame = [&](const char* name) {
    return ethernet(desk.tables.ports[kLan].mac, 0x86dd, packet(name));
  };
  (void)desk.pass(kLan, {frame("ike6_500"), frame("ike6_4500"), frame("ike6_behind_options")});
  REQUIRE(desk.control.datagrams.size() == 3);
  for (const auto& datagram : desk.control.datagrams) {
    CHECK(bytes_of(datagram) == packet("ike"));
    CHECK(to_string(datagram.remote) == "fd00:1::2");
    CHECK(to_string(datagram.local) == "fd00:1::1");
  }
  CHECK(desk.control.datagrams[1].local_port == 4500);
  CHECK(desk.control.datagrams[1].remote_port == 31000);
  CHECK(desk.all_drops() == 0);
}

TEST_CASE("a known peer's IKE over IPv6 has the larger share") {
  Desk desk;
  desk.peers.add(kMainTable, *parse_address("fd00:1::2"));
  for (int i = 0; i < 20; i++) desk.receive_ike(std::vector<Octets>(20, packet("ike6_500")));
  CHECK(desk.control.datagrams.size() == dataplane::IkePort::kPeerLimits.source_burst);
}

TEST_CASE("what can't be IKE is dropped by name") {
  for (const char* bad : {"ike_bad_checksum", "ike_wrong_length", "ike_short", "ike_no_marker", "ike_port_0",
                          "ike_other_port", "ike_udp_overruns", "ike_fragment", "echo6", "ike6_no_checksum",
                          "ike6_bad_checksum", "ike6_udp_overruns", "ike6_fragment", "ike6_chain_overruns"}) {
    Desk desk;
    CAPTURE(bad);
    desk.receive_ike({packet(bad)});
    CHECK(desk.drops(DropReason::ike_malformed) == 1);
    CHECK(desk.all_drops() == 1);
    CHECK(desk.control.datagrams.empty());
  }
  Desk desk;
  for (std::size_t length = 0; length < packet("ike_500").size(); length += 5)
    desk.receive_ike({slice(packet("ike_500"), 0, length)});
  for (std::size_t length = 0; length < packet("ike6_500").size(); length += 5)
    desk.receive_ike({slice(packet("ike6_behind_options"), 0, length)});
  CHECK(desk.control.datagrams.empty());
}

TEST_CASE("with nobody attached IKE is dropped by name") {
  Desk desk;
  desk.control.attached = false;
  desk.receive_ike({packet("ike_500")});
  CHECK(desk.drops(DropReason::ike_ring_full) == 1);
}

TEST_CASE("one stranger has a small share, a known peer a larger one") {
  Desk desk;
  const auto flood = [&] {
    for (int i = 0; i < 20; i++) desk.receive_ike(std::vector<Octets>(20, packet("ike_500")));
    const std::size_t got = desk.control.datagrams.size();
    desk.control.datagrams.clear();
    desk.control.waiting = 0;
    return got;
  };
  CHECK(flood() == dataplane::IkePort::kStrangerLimits.source_burst);
  CHECK(desk.drops(DropReason::ike_rate_limited) == 400 - dataplane::IkePort::kStrangerLimits.source_burst);
  desk.peers.add(kMainTable, *parse_address("192.0.2.2"));
  CHECK(flood() == dataplane::IkePort::kPeerLimits.source_burst);
}

// Anybody can send the former in a peer's name.
TEST_CASE("a flood of IKE_SA_INIT requests leaves the IKE SAs of the same source alone") {
  for (const bool known : {true, false}) {
    CAPTURE(known);
    Desk desk;
    if (known) desk.peers.add(kMainTable, *parse_address("192.0.2.2"));
    const auto burst = known ? dataplane::IkePort::kPeerLimits.source_burst
                             : dataplane::IkePort::kStrangerLimits.source_burst;
    const auto get = [&](std::uint8_t spi) {
      Octets message = packet("ike_no_checksum");
      std::fill_n(message.begin() + 36, 8, std::uint8_t{0});
      message[43] = spi;  // the responder's
      for (int i = 0; i < 20; i++) desk.receive_ike(std::vector<Octets>(20, message));
      const std::size_t got = desk.control.datagrams.size();
      desk.control.datagrams.clear();
      desk.control.waiting = 0;
      return got;
    };
    CHECK(get(0) == burst);
    CHECK(get(0) == 0);
    CHECK(get(1) == burst);
    CHECK(get(2) == 0);
    CHECK(desk.drops(DropReason::ike_rate_limited) == 4 * 400 - 2 * burst);
  }
}

TEST_CASE("strangers fill half of the ring, and known peers go ahead of them") {
  Desk desk;
  desk.peers.add(kMainTable, *parse_address("192.0.2.2"));
  desk.control.waiting = 250;
  std::vector<Octets> burst;
  for (unsigned i = 0; i < 40; i++) burst.push_back(from_source(packet("ike_500"), 0x4000 + i));
  burst.push_back(packet("ike_500"));
  desk.receive_ike(burst);
  REQUIRE_FALSE(desk.control.datagrams.empty());
  CHECK(to_string(desk.control.datagrams.front().remote) == "192.0.2.2");
  CHECK(desk.control.datagrams.size() == 6);  // up to 256
  desk.receive_ike({packet("ike_500")});
  CHECK(desk.control.datagrams.size() == 7);
  desk.control.waiting = 512;
  desk.receive_ike({packet("ike_500")});
  CHECK(desk.drops(DropReason::ike_ring_full) == 1);
}

TEST_CASE("IKE to send becomes a UDP datagram") {
  Desk desk;
  SECTION("port 500") {
    desk.ike.send(*outgoing(500, 500, packet("ike")), desk.now);
    const auto sent = desk.sent();
    REQUIRE(sent.size() == 1);
    CHECK(sent[0].errand == Errand::ike);
    CHECK(hex(sent[0].data) == hex(packet("ike_out_500")));
  }
  SECTION("port 4500: behind the marker") {
    desk.ike.send(*outgoing(4500, 31000, packet("ike")), desk.now);
    const auto sent = desk.sent();
    REQUIRE(sent.size() == 1);
    CHECK(hex(sent[0].data) == hex(packet("ike_out_4500")));
  }
  SECTION("IPv6, port 500") {
    desk.ike.send(*outgoing6(500, 500, packet("ike")), desk.now);
    const auto sent = desk.sent();
    REQUIRE(sent.size() == 1);
    CHECK(sent[0].errand == Errand::ike);
    CHECK(hex(sent[0].data) == hex(packet("ike6_out_500")));
  }
  SECTION("IPv6, port 4500: behind the marker") {
    desk.ike.send(*outgoing6(4500, 31000, packet("ike")), desk.now);
    const auto sent = desk.sent();
    REQUIRE(sent.size() == 1);
    CHECK(hex(sent[0].data) == hex(packet("ike6_out_4500")));
  }
  SECTION("IPv6, larger than its least MTU: in fragments") {
    desk.ike.send(*outgoing6(500, 500, packet("ike_4000")), desk.now);
    const auto sent = desk.sent();
    REQUIRE(sent.size() == 4);
    for (std::size_t i = 0; i < 4; i++) {
      Octets expected = packet("ike6_out_piece_" + std::to_string(i));
      put32(expected, 44, get32(sent[0].data, 44));  // of our choice (RFC 7739)
      CHECK(hex(sent[i].data) == hex(expected));
    }
  }
  SECTION("larger than the MTU: in fragments") {
    desk.ike.send(*outgoing(500, 500, packet("ike_4000")), desk.now);
    const auto sent = desk.sent();
    REQUIRE(sent.size() == 3);
    for (std::size_t i = 0; i < 3; i++)
      CHECK(hex(sent[i].data) == hex(packet("ike_out_piece_" + std::to_string(i))));
  }
  CHECK(desk.all_drops() == 0);
}

TEST_CASE("IKE to send that makes no sense is dropped by name") {
  Desk desk;
  std::uint64_t expected = 0;
  const auto refuse = [&](auto&& spoil) {
    auto datagram = outgoing(500, 500, packet("ike"));
    spoil(*datagram);
    desk.ike.send(*datagram, desk.now);
    CHECK(desk.drops(DropReason::ike_malformed) == ++expected);
  };
  refuse([](auto& d) { d.length = 27; });
  refuse([](auto& d) { d.length = channel::kMaxIkeDatagram + 1; });
  refuse([](auto& d) { d.length = 0xffffffff; });
  refuse([](auto& d) { d.local_port = 501; });
  refuse([](auto& d) { d.remote_port = 0; });
  refuse([](auto& d) { d.local = *parse_address("192.0.2.9"); });  // not ours
  refuse([](auto& d) { d.remote = *parse_address("224.0.0.1"); });
  refuse([](auto& d) { d.remote = *parse_address("2001:db8::1"); });  // of another family
  refuse([](auto& d) {
    d.local = *parse_address("fd00:1::9");  // not ours
    d.remote = *parse_address("fd00:1::2");
  });
  refuse([](auto& d) {
    d.local = *parse_address("fd00:1::1");
    d.remote = *parse_address("ff02::1");
  });
  refuse([](auto& d) { d.local = d.remote = IpAddress{}; });
  refuse([](auto& d) { d.local.family = static_cast<Family>(77); });
  CHECK(desk.sent().empty());
}

TEST_CASE("IKE never goes into a tunnel") {
  Desk desk;
  REQUIRE(desk.run(set_tunnel(1)) == channel::CommandStatus::ok);
  REQUIRE(desk.run(set_route("0.0.0.0/0", channel::RouteKind::tunnel, 1)) == channel::CommandStatus::ok);
  auto datagram = outgoing(500, 500, packet("ike"));
  datagram->remote = *parse_address("203.0.113.5");
  (void)desk.sent();
  desk.ike.send(*datagram, desk.now);
  CHECK(desk.drops(DropReason::no_route) == 1);
  CHECK(desk.sent().empty());
}
