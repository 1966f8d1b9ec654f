// ARP and neighbour discovery against packets that scapy made, and the life of a neighbour.
#include <catch2/catch.hpp>

#include <algorithm>

#include "tests/dataplane/host/desk.hpp"

using namespace espgate;
using namespace espgate::test;
using dataplane::NeighbourState;

namespace {

const Octets kPeerMac{2, 0, 0, 0, 0x99, 2};
const Octets kNewMac{2, 0, 0, 0, 0x99, 9};

NeighbourState state_of(Desk& desk, std::string_view address, std::uint8_t port = kLan) {
  const auto id = desk.tables.neighbours.find(port, *parse_address(address));
  return id == dataplane::kNoNeighbour ? NeighbourState::free : desk.tables.neighbours.link(id).state();
}

Octets mac_of(Desk& desk, std::string_view address) {
  const auto id = desk.tables.neighbours.find(kLan, *parse_address(address));
  const std::uint64_t word = desk.tables.neighbours.link(id).word;
  Octets out;
  for (int i = 0; i < 6; i++) out.push_back(static_cast<std::uint8_t>(word >> (8 * i)));
  return out;
}

void mark_used(Desk& desk, std::string_view address) {
  desk.tables.neighbours.mark_used(desk.tables.neighbours.find(kLan, *parse_address(address)));
}

void check_one_frame(Desk& desk, const std::string& expected, std::uint8_t port = kLan) {
  const auto sent = desk.sent();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].errand == Errand::frame);
  CHECK(sent[0].port == port);
  CHECK(hex(sent[0].data) == hex(packet(expected)));
}

}  // namespace

TEST_CASE("an ARP request for our address is answered, and its sender is known from then on") {
  Desk desk;
  desk.raise(Exception::arp, packet("arp_request"));
  check_one_frame(desk, "arp_answer");
  CHECK(state_of(desk, "10.1.0.2") == NeighbourState::stale);
  CHECK(mac_of(desk, "10.1.0.2") == kPeerMac);
  CHECK(desk.all_drops() == 0);
}

// What scapy expects of an untagged port, with the tag.
TEST_CASE("on a VLAN, answers and questions of ARP and neighbour discovery have its tag") {
  Desk desk;
  desk.interfaces[kLan].vlan = 100;
  const auto check_tagged = [&desk](const std::string& expected) {
    const auto sent = desk.sent();
    REQUIRE(sent.size() == 1);
    CHECK(hex(sent[0].data) == hex(with_tag(packet(expected), 100)));
  };
  desk.raise(Exception::arp, packet("arp_request"));
  check_tagged("arp_answer");
  desk.raise(Exception::to_host, packet("ns"));
  check_tagged("ns_answer");
}

TEST_CASE("an ARP probe is answered and teaches nothing") {
  Desk desk;
  desk.raise(Exception::arp, packet("arp_probe"));
  check_one_frame(desk, "arp_probe_answer");
  CHECK(desk.tables.neighbours.find(kLan, *parse_address("0.0.0.0")) == dataplane::kNoNeighbour);
}

TEST_CASE("ARP for others, and on the wrong port, is neither answered nor learnt") {
  Desk desk;
  desk.raise(Exception::arp, packet("arp_for_another"));
  desk.raise(Exception::arp, packet("arp_request"), kWan);
  CHECK(desk.sent().empty());
  CHECK(state_of(desk, "10.1.0.2") == NeighbourState::free);
}

TEST_CASE("gratuitous ARP corrects what is known and adds nothing") {
  Desk desk;
  desk.raise(Exception::arp, packet("arp_gratuitous"));
  CHECK(state_of(desk, "10.1.0.2") == NeighbourState::free);
  desk.raise(Exception::arp, packet("arp_request"));
  desk.raise(Exception::arp, packet("arp_gratuitous"));
  CHECK(mac_of(desk, "10.1.0.2") == Octets{2, 0, 0, 0, 0x99, 3});
  CHECK(state_of(desk, "10.1.0.2") == NeighbourState::stale);
}

TEST_CASE("malformed ARP is dropped by name") {
  Desk desk;
  const Octets good = packet("arp_request");
  std::uint64_t expected = 0;
  const auto spoil = [&](std::size_t at, std::uint8_t value) {
    Octets bad = good;
    bad.at(at) = value;
    desk.raise(Exception::arp, bad);
    CAPTURE(at);
    CHECK(desk.drops(DropReason::arp_malformed) == ++expected);
  };
  spoil(15, 6);     // hardware: not Ethernet
  spoil(16, 0x86);  // protocol: not IPv4
  spoil(18, 8);     // address lengths
  spoil(19, 16);
  spoil(21, 3);    // operation
  spoil(22, 3);    // sender's MAC is a group
  spoil(28, 224);  // sender is a group
  spoil(28, 127);  // or loopback
  Octets zero_mac = good;
  std::fill_n(zero_mac.begin() + 22, 6, std::uint8_t{0});
  desk.raise(Exception::arp, zero_mac);
  CHECK(desk.drops(DropReason::arp_malformed) == ++expected);
  for (std::size_t length = 0; length < good.size(); length++) {
    desk.raise(Exception::arp, slice(good, 0, length));
    CHECK(desk.drops(DropReason::arp_malformed) == ++expected);
  }
  CHECK(desk.sent().empty());
}

TEST_CASE("a packet waits for its neighbour: ARP") {
  Desk desk;
  desk.raise(Exception::resolve, packet("to_new4"), kWan, DropReason::neighbour_unresolved);
  check_one_frame(desk, "arp_our_question");
  desk.raise(Exception::resolve, packet("to_new4"), kWan, DropReason::neighbour_unresolved);
  CHECK(desk.sent().empty());  // asked already
  CHECK(desk.slow_path.resolver().queued() == 2);
  desk.raise(Exception::arp, packet("arp_their_answer"));
  const auto sent = desk.sent();
  REQUIRE(sent.size() == 2);
  const Octets header = kNewMac + Octets{2, 0, 0, 0, 1, 0, 8, 0};
  CHECK(hex(sent[0].data) == hex(header + packet("to_new4")));
  CHECK(sent[0].port == kLan);
  CHECK(state_of(desk, "10.1.0.9") == NeighbourState::reachable);
  CHECK(desk.all_drops() == 0);
}

TEST_CASE("a packet waits for its neighbour: neighbour discovery") {
  Desk desk;
  desk.raise(Exception::resolve, packet("to_new6"), kWan, DropReason::neighbour_unresolved);
  check_one_frame(desk, "nd_our_question");
  desk.raise(Exception::to_host, packet("nd_their_answer"));
  const auto sent = desk.sent();
  REQUIRE(sent.size() == 1);
  CHECK(hex(sent[0].data) == hex(kNewMac + Octets{2, 0, 0, 0, 1, 0, 0x86, 0xdd} + packet("to_new6")));
  CHECK(state_of(desk, "fd00:1::9") == NeighbourState::reachable);
}

TEST_CASE("who does not answer is asked three times, then the senders are told") {
  Desk desk;
  Octets from_lan = packet("udp4");  // from 10.1.0.2
  std::copy_n(v4_bytes("10.1.0.9").begin(), 4, from_lan.begin() + 16);
  fix_ipv4_checksum(from_lan);
  desk.raise(Exception::resolve, from_lan, kLan, DropReason::neighbour_unresolved);
  CHECK(desk.sent().size() == 1);
  desk.wait(kSecond);
  check_one_frame(desk, "arp_our_question");
  desk.wait(kSecond);
  check_one_frame(desk, "arp_our_question");
  CHECK(desk.drops(DropReason::neighbour_unresolved) == 0);
  desk.wait(kSecond);
  const auto sent = desk.sent();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].errand == Errand::route);
  CHECK(get16(sent[0].data, 20) == 0x0301);  // host unreachable
  CHECK(desk.drops(DropReason::neighbour_unresolved) == 1);
  CHECK(state_of(desk, "10.1.0.9") == NeighbourState::failed);
  // For a while nobody is asked again, and senders are told at once.
  desk.raise(Exception::resolve, from_lan, kLan, DropReason::neighbour_unresolved);
  CHECK(desk.drops(DropReason::neighbour_unresolved) == 2);
  CHECK(desk.sent().size() == 1);
  desk.wait(6 * kSecond);
  CHECK(state_of(desk, "10.1.0.9") == NeighbourState::free);
  desk.raise(Exception::resolve, from_lan, kLan, DropReason::neighbour_unresolved);
  check_one_frame(desk, "arp_our_question");
}

TEST_CASE("no more than eight packets wait for a neighbour, and the oldest goes first") {
  Desk desk;
  for (std::uint8_t i = 0; i < 10; i++) {
    Octets numbered = packet("to_new4");
    numbered.back() = i;
    desk.raise(Exception::resolve, numbered, kWan, DropReason::neighbour_unresolved);
  }
  CHECK(desk.slow_path.resolver().queued() == 8);
  CHECK(desk.drops(DropReason::neighbour_unresolved) == 2);
  (void)desk.sent();
  desk.raise(Exception::arp, packet("arp_their_answer"));
  const auto sent = desk.sent();
  REQUIRE(sent.size() == 8);
  CHECK(sent.front().data.back() == 2);
  CHECK(sent.back().data.back() == 9);
}

TEST_CASE("a scan of the network stays within its bounds") {
  Desk desk(1, 4095);
  for (std::uint32_t i = 0; i < 3000; i++) {
    Octets to = packet("to_new6");
    to[38] = static_cast<std::uint8_t>(i >> 8);
    to[39] = static_cast<std::uint8_t>(i);
    if (i <= 1) continue;
    desk.raise(Exception::resolve, to, kWan, DropReason::neighbour_unresolved);
    (void)desk.sent();
  }
  CHECK(desk.slow_path.resolver().queued() == dataplane::Resolver::kQueueOfAll);
  CHECK(desk.drops(DropReason::neighbour_unresolved) == 2998 - dataplane::Resolver::kQueueOfAll);
  desk.wait(20 * kSecond);
  CHECK(desk.slow_path.resolver().queued() == 0);
  CHECK(desk.drops(DropReason::neighbour_unresolved) == 2998);
  CHECK(state_of(desk, "fd00:1::99") == NeighbourState::free);
}

TEST_CASE("a reachable neighbour grows stale, is probed when used, and forgotten when not") {
  Desk desk;
  desk.raise(Exception::resolve, packet("to_new4"), kWan, DropReason::neighbour_unresolved);
  desk.raise(Exception::arp, packet("arp_their_answer"));
  (void)desk.sent();
  desk.wait(29 * kSecond);
  CHECK(state_of(desk, "10.1.0.9") == NeighbourState::reachable);
  desk.wait(2 * kSecond);
  CHECK(state_of(desk, "10.1.0.9") == NeighbourState::stale);
  CHECK(desk.sent().empty());
  mark_used(desk, "10.1.0.9");
  desk.wait(2 * kSecond);
  CHECK(state_of(desk, "10.1.0.9") == NeighbourState::probing);
  const auto probes = desk.sent();
  REQUIRE_FALSE(probes.empty());
  CHECK(hex(probes[0].data) == hex(packet("arp_our_probe")));
  desk.raise(Exception::arp, packet("arp_their_answer"));
  CHECK(state_of(desk, "10.1.0.9") == NeighbourState::reachable);
  desk.wait(31 * kSecond + 62 * kSecond);
  CHECK(state_of(desk, "10.1.0.9") == NeighbourState::free);
}

TEST_CASE("a neighbour that stops answering its probes is asked for by everybody, then fails") {
  Desk desk;
  desk.raise(Exception::resolve, packet("to_new4"), kWan, DropReason::neighbour_unresolved);
  desk.raise(Exception::arp, packet("arp_their_answer"));
  desk.wait(31 * kSecond);
  mark_used(desk, "10.1.0.9");
  (void)desk.sent();
  desk.wait(7 * kSecond + kSecond / 2);
  const auto sent = desk.sent();
  REQUIRE(sent.size() == 6);
  for (std::size_t i = 0; i < 6; i++)
    CHECK(hex(sent[i].data) == hex(packet(i < 3 ? "arp_our_probe" : "arp_our_question")));
  CHECK(state_of(desk, "10.1.0.9") == NeighbourState::failed);
}

TEST_CASE("a pinned neighbour is never forgotten, and asked for again after it failed") {
  Desk desk;
  auto& resolver = desk.slow_path.resolver();
  const auto id = resolver.pin(kLan, *parse_address("10.1.0.9"), desk.now);
  check_one_frame(desk, "arp_our_question");
  desk.wait(9 * kSecond);
  CHECK(desk.sent().size() >= 3);
  desk.raise(Exception::arp, packet("arp_their_answer"));
  // An answer that nobody waits for proves nothing, so it may be stale; but it is usable.
  CHECK(desk.tables.neighbours.link(id).usable());
  desk.wait(200 * kSecond);
  CHECK(desk.tables.neighbours.link(id).usable());
  resolver.unpin(id, desk.now);
  desk.wait(70 * kSecond);
  CHECK(state_of(desk, "10.1.0.9") == NeighbourState::free);
}

TEST_CASE("neighbour solicitations are answered") {
  Desk desk;
  SECTION("to the solicited-node group") {
    desk.raise(Exception::to_host, packet("ns"));
    check_one_frame(desk, "ns_answer");
    CHECK(state_of(desk, "fd00:1::2") == NeighbourState::stale);
    CHECK(mac_of(desk, "fd00:1::2") == kPeerMac);
  }
  SECTION("for the link-local address") {
    desk.raise(Exception::to_host, packet("ns_link_local"));
    check_one_frame(desk, "ns_link_local_answer");
  }
  SECTION("duplicate address detection") {
    desk.raise(Exception::to_host, packet("ns_detection"));
    check_one_frame(desk, "ns_detection_answer");
  }
  CHECK(desk.all_drops() == 0);
}

TEST_CASE("an advertisement without the override flag does not displace a known address") {
  Desk desk;
  desk.know(kLan, "fd00:1::9", Octets{2, 0, 0, 0, 0x99, 0x77});
  Octets answer = packet("nd_their_answer");
  answer[44] = 0x40;                                         // solicited, no override
  put16(answer, 42, (get16(answer, 42) + 0x2000) % 0xffff);  // RFC 1624
  desk.raise(Exception::to_host, answer);
  CHECK(mac_of(desk, "fd00:1::9") == Octets{2, 0, 0, 0, 0x99, 0x77});
  CHECK(state_of(desk, "fd00:1::9") == NeighbourState::stale);
  CHECK(desk.all_drops() == 0);
}

TEST_CASE("neighbour discovery that RFC 4861 section 7.1 discards") {
  for (const char* bad :
       {"ns_hop_limit_64", "ns_code_1", "ns_multicast_target", "ns_option_length_0", "ns_option_overruns",
        "ns_detection_with_link", "ns_detection_to_unicast", "na_multicast_solicited", "ns_too_short"}) {
    Desk desk;
    CAPTURE(bad);
    desk.raise(Exception::to_host, packet(bad));
    CHECK(desk.drops(DropReason::nd_malformed) == 1);
    CHECK(desk.all_drops() == 1);
    CHECK(desk.sent().empty());
    CHECK(state_of(desk, "fd00:1::2") == NeighbourState::free);
  }
}

TEST_CASE("neighbour discovery out of a tunnel is not from the link") {
  Desk desk;
  desk.raise(Exception::to_host, packet("ns"), kWan, DropReason::no_route, 0, 3);
  CHECK(desk.drops(DropReason::nd_malformed) == 1);
}

TEST_CASE("a port that came up tells the link of its addresses") {
  Desk desk;
  desk.slow_path.announce(kLan);
  const auto sent = desk.sent();
  REQUIRE(sent.size() == 2);
  CHECK(hex(sent[0].data) == hex(packet("arp_announcement")));
  CHECK(hex(sent[1].data) == hex(packet("nd_announcement")));
}
