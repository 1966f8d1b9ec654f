// What the two ways do with an SA: its counters, its selectors, congestion marks, groups of tunnels, and the
// workers that own SAs.
#include <catch2/catch.hpp>
#include <map>

#include "channel/spi.hpp"
#include "tests/dataplane/rig.hpp"

namespace espgate::test {
namespace {

constexpr crypto::EspSuite kSuite = crypto::EspSuite::aes256_gcm16;

}  // namespace

TEST_CASE("SAs count inner packets and bytes") {
  Pair pair(kSuite);
  const Octets ip = ipv4_packet({}, udp(1, 2, filling(100)));
  for (unsigned i = 0; i < 3; ++i) (void)Pair::carry(pair.left.receive_ip(kInside, ip), pair.right);
  const dataplane::OutboundSa& out = *pair.left.tables().tunnels[0].outbound;
  CHECK(out.sequence == 3);
  CHECK(out.bytes == 3 * ip.size());
  CHECK(out.last_used_tsc != 0);
  const dataplane::InboundSa& in = pair.right.tables().inbound[0].slots[5];
  CHECK(in.packets == 3);
  CHECK(in.bytes == 3 * ip.size());
  CHECK(in.window.highest() == 3);
}

TEST_CASE("Replays and failures are counted in their SA, and a failure does not move the window") {
  Pair pair(kSuite);
  Output sent = pair.left.receive_ip(kInside, ipv4_packet({}, filling(50)));
  Output altered = sent;
  altered.frames[kOutside][0].back() ^= 1;
  (void)Pair::carry(altered, pair.right);
  const dataplane::InboundSa& in = pair.right.tables().inbound[0].slots[5];
  CHECK(in.failed == 1);
  CHECK(in.window.highest() == 0);
  CHECK(Pair::carry(sent, pair.right).frames[kInside].size() == 1);
  CHECK(Pair::carry(sent, pair.right).frames[kInside].empty());
  CHECK(in.replayed == 1);
}

TEST_CASE("The largest window takes what is 16,383 packets late, and nothing later") {
  Rig rig;
  channel::InstallSa install = rig.command(kSuite, 2, false, channel::make_spi(0, 1, 3));
  install.replay_window = crypto::ReplayWindow::kMaxPackets;
  dataplane::InboundSa& sa = rig.install_inbound(install);
  const Octets inner =
      with_trailer(ipv4_packet({.source = "10.2.0.2", .destination = "10.1.0.2"}, filling(50)), kSuite, 4);
  const auto arrives = [&](std::uint32_t sequence) {
    return rig.receive_ip(kOutside, sealed(install, sequence, inner)).frames[kInside].size() == 1;
  };
  CHECK(arrives(100'000));
  CHECK(arrives(100'000 - 16'383));
  CHECK_FALSE(arrives(100'000 - 16'383));
  CHECK(rig.drops(DropReason::replay_duplicate) == 1);
  CHECK_FALSE(arrives(100'000 - 16'384));
  CHECK(rig.drops(DropReason::replay_old) == 1);
  CHECK(arrives(100'001));
  CHECK_FALSE(arrives(100'000 - 16'383));
  CHECK(rig.drops(DropReason::replay_old) == 2);
  CHECK(sa.replayed == 3);
}

TEST_CASE("The last sequence numbers of an SA go out, and not one more, in one burst") {
  Pair pair(kSuite);
  pair.left.tables().tunnels[0].outbound.load()->sequence = 0xfffffffd;
  const std::vector<Octets> frames(5, pair.left.frame_to(kInside, ipv4_packet({}, filling(50))));
  const Output out = pair.left.receive(kInside, frames);
  REQUIRE(out.frames[kOutside].size() == 2);
  CHECK(get32(out.frames[kOutside][1], 14 + 24) == 0xffffffff);
  CHECK(pair.left.drops(DropReason::sequence_exhausted) == 3);
}

TEST_CASE("Hard lifetimes in one burst: outbound to the packet, inbound to the burst") {
  constexpr unsigned kPackets = 64;
  constexpr unsigned kLength = 60;
  Rig rig;
  rig.set_tunnel(0);
  rig.route("10.2.0.0/16", {NextHopKind::tunnel, 0, 0, 0});
  channel::InstallSa out = rig.command(kSuite, 2, false, 0x1000);
  channel::InstallSa in = rig.command(kSuite, 2, false, channel::make_spi(0, 1, 3));
  const bool bytes = GENERATE(true, false);
  (bytes ? out.hard_bytes : out.hard_packets) = bytes ? 10 * kLength - 1 : 10;
  (bytes ? in.hard_bytes : in.hard_packets) = bytes ? 10 * kLength - 1 : 10;
  rig.install_outbound(out);
  rig.install_inbound(in);
  const std::vector<Octets> to_send(kPackets, rig.frame_to(kInside, ipv4_packet({}, filling(kLength - 20))));
  CHECK(rig.receive(kInside, to_send).frames[kOutside].size() == 10);
  CHECK(rig.receive(kInside, to_send).frames[kOutside].empty());
  CHECK(rig.drops(DropReason::lifetime_hard) == 2 * kPackets - 10);

  const Octets inner = ipv4_packet({.source = "10.2.0.2", .destination = "10.1.0.2"}, filling(kLength - 20));
  std::uint32_t sequence = 0;
  const auto burst = [&](unsigned packets) {
    std::vector<Octets> frames;
    for (unsigned i = 0; i < packets; ++i)
      frames.push_back(rig.frame_to(kOutside, sealed(in, ++sequence, with_trailer(inner, kSuite, 4))));
    return rig.receive(kOutside, frames).frames[kInside].size();
  };
  CHECK(burst(9) == 9);
  CHECK(burst(kPackets) == kPackets);  // begun below the limit
  CHECK(burst(kPackets) == 0);
  CHECK(rig.drops(DropReason::lifetime_hard) == 3 * kPackets - 10);
}

TEST_CASE("An SA that goes on where its key was used before") {
  Rig rig;
  rig.set_tunnel(0);
  rig.route("10.2.0.0/16", {NextHopKind::tunnel, 0, 0, 0});
  channel::InstallSa out = rig.command(kSuite, 2, false, 0x1000);
  out.last_sequence = 1000;
  SECTION("sends the next numbers, as many packets as it may") {
    out.hard_packets = 2;
    rig.install_outbound(out);
    const std::vector<Octets> frames(3, rig.frame_to(kInside, ipv4_packet({}, filling(50))));
    const Output sent = rig.receive(kInside, frames);
    REQUIRE(sent.frames[kOutside].size() == 2);
    CHECK(get32(sent.frames[kOutside][0], 14 + 24) == 1001);
    CHECK(get32(sent.frames[kOutside][1], 14 + 24) == 1002);
    CHECK(rig.drops(DropReason::lifetime_hard) == 1);
  }
  SECTION("and up to its limit, which can be raised while it sends") {
    out.sequence_limit = 1001;
    dataplane::OutboundSa& sa = rig.install_outbound(out);
    const std::vector<Octets> frames(3, rig.frame_to(kInside, ipv4_packet({}, filling(50))));
    CHECK(rig.receive(kInside, frames).frames[kOutside].size() == 1);
    CHECK(rig.drops(DropReason::sequence_unreserved) == 2);
    sa.last_sequence = 1003;
    const Output sent = rig.receive(kInside, frames);
    REQUIRE(sent.frames[kOutside].size() == 2);
    CHECK(get32(sent.frames[kOutside][1], 14 + 24) == 1003);
    CHECK(rig.drops(DropReason::sequence_unreserved) == 3);
  }
  SECTION("receives nothing again") {
    channel::InstallSa in = rig.command(kSuite, 2, false, channel::make_spi(0, 1, 3));
    in.replay_window = 64;
    in.last_sequence = 1000;
    rig.install_inbound(in);
    const Octets inner = ipv4_packet({.source = "10.2.0.2", .destination = "10.1.0.2"}, filling(40));
    const auto taken = [&](std::uint32_t sequence) {
      const Octets packet = sealed(in, sequence, with_trailer(inner, kSuite, 4));
      return rig.receive_ip(kOutside, packet).frames[kInside].size() == 1;
    };
    CHECK_FALSE(taken(1000));
    CHECK_FALSE(taken(999));
    CHECK_FALSE(taken(900));
    CHECK(rig.drops(DropReason::replay_duplicate) == 2);
    CHECK(rig.drops(DropReason::replay_old) == 1);
    CHECK(taken(1002));
    CHECK(taken(1001));
    CHECK_FALSE(taken(1001));
  }
}

TEST_CASE("Runs of several SAs in one burst each count for their own") {
  Rig rig;
  for (const std::uint32_t tunnel : {0U, 1U}) {
    rig.set_tunnel(tunnel);
    channel::InstallSa install = rig.command(kSuite, 2, false, 0x1000 + tunnel);
    install.tunnel = tunnel;
    install.hard_packets = tunnel == 0 ? 2 : 0;
    rig.install_outbound(install, tunnel);
    rig.route(tunnel == 0 ? "10.2.0.0/16" : "10.3.0.0/16", {NextHopKind::tunnel, 0, 0, tunnel});
  }
  std::vector<Octets> frames;
  for (const char* to : {"10.2.0.1", "10.2.0.1", "10.2.0.1", "10.3.0.1", "10.2.0.1", "10.3.0.1"})
    frames.push_back(rig.frame_to(kInside, ipv4_packet({.destination = to}, filling(40))));
  const Output out = rig.receive(kInside, frames);
  std::vector<std::pair<unsigned, unsigned>> sent;
  for (const Octets& frame : out.frames[kOutside]) sent.emplace_back(get32(frame, 34), get32(frame, 38));
  CHECK(sent ==
        std::vector<std::pair<unsigned, unsigned>>{{0x1000, 1}, {0x1000, 2}, {0x1001, 1}, {0x1001, 2}});
  CHECK(rig.drops(DropReason::lifetime_hard) == 2);
  CHECK(rig.tables().outbound[0][0].bytes == 120);
  CHECK(rig.tables().outbound[0][1].bytes == 120);
}

TEST_CASE("Congestion marks: RFC 6040 figure 4") {
  // Rows: inner Not-ECT, ECT(1), ECT(0), CE; columns: outer, in the order of the code points. 4: dropped.
  constexpr unsigned kFigure[4][4] = {{0, 0, 0, 4}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3}};
  for (const bool v4 : {true, false})
    for (unsigned inner = 0; inner < 4; ++inner)
      for (unsigned outer = 0; outer < 4; ++outer) {
        INFO("IPv" << (v4 ? 4 : 6) << ", inner " << inner << ", outer " << outer);
        Pair pair(kSuite);
        const unsigned tos = 0xb8 + inner;
        Output sent = pair.left.receive_ip(kInside, v4 ? ipv4_packet({.tos = tos}, filling(40))
                                                       : ipv6_packet({.traffic_class = tos}, filling(40)));
        Octets ip = slice(sent.frames[kOutside][0], 14);
        CHECK(ip[1] == tos);  // DSCP and ECN were copied
        ip[1] = static_cast<std::uint8_t>(0xb8 + outer);
        fix_ipv4_checksum(ip);
        const Output out = pair.right.receive_ip(kOutside, ip);
        if (kFigure[inner][outer] == 4) {
          CHECK(pair.right.drops(DropReason::ecn_illegal) == 1);
          continue;
        }
        REQUIRE(out.frames[kInside].size() == 1);
        const Octets result = slice(out.frames[kInside][0], 14);
        CHECK((v4 ? result[1] : get16(result, 0) >> 4 & 0xff) == 0xb8 + kFigure[inner][outer]);
        if (v4) CHECK(internet_sum(result, 0, 20) == 0xffff);
      }
}

TEST_CASE("ESP in UDP is taken from wherever the peer's NAT sends it now") {
  Pair pair(kSuite, {.udp = true});
  const Output sent = pair.left.receive_ip(kInside, ipv4_packet({}, filling(40)));
  Octets ip = slice(sent.frames[kOutside][0], 14);
  CHECK(get16(ip, 20) == 4500);
  CHECK(get16(ip, 26) == 0);  // RFC 3948 section 2.1
  const Octets moved = v4_bytes("198.51.100.7");
  std::copy(moved.begin(), moved.end(), ip.begin() + 12);
  put16(ip, 20, 61234);
  fix_ipv4_checksum(ip);
  CHECK(pair.right.receive_ip(kOutside, ip).frames[kInside].size() == 1);
}

TEST_CASE("A dummy's neighbours in a burst come through; TFC padding is cut off") {
  Rig rig;
  const channel::InstallSa install = rig.command(kSuite, 2, false, channel::make_spi(0, 1, 3));
  rig.install_inbound(install);
  const Octets inner = ipv4_packet({.source = "10.2.0.2", .destination = "10.1.0.2"}, filling(40));
  const Output out = rig.receive(
      kOutside,
      std::vector<Octets>{
          rig.frame_to(kOutside, sealed(install, 1, with_trailer(inner, kSuite, 4))),
          rig.frame_to(kOutside, sealed(install, 2, with_trailer({}, kSuite, 59))),
          rig.frame_to(kOutside, sealed(install, 3, with_trailer(inner + Octets(100), kSuite, 4)))});
  REQUIRE(out.frames[kInside].size() == 2);
  CHECK(out.frames[kInside][0] == out.frames[kInside][1]);
}

TEST_CASE("Padding of every length is looked at, to its last byte") {
  Rig rig;
  const channel::InstallSa install = rig.command(kSuite, 2, false, channel::make_spi(0, 1, 3));
  rig.install_inbound(install);
  const Octets inner = ipv4_packet({.source = "10.2.0.2", .destination = "10.1.0.2"}, filling(24));
  std::uint32_t sequence = 0;
  std::uint64_t wrong = 0;
  const auto open = [&](const Octets& plaintext) {
    return rig.receive_ip(kOutside, sealed(install, ++sequence, plaintext)).frames[kInside].size();
  };
  for (unsigned length = 2; length <= 254; length += 4) {
    CAPTURE(length);
    Octets plaintext = inner;
    for (unsigned i = 1; i <= length; ++i) plaintext.push_back(static_cast<std::uint8_t>(i));
    plaintext = plaintext + Octets{static_cast<std::uint8_t>(length), 4};
    CHECK(open(plaintext) == 1);
    for (unsigned i = 0; i < length; ++i, ++wrong) {
      Octets spoilt = plaintext;
      spoilt[inner.size() + i] ^= 0x10;
      CHECK(open(spoilt) == 0);
    }
  }
  CHECK(rig.drops(DropReason::bad_padding) == wrong);
}

TEST_CASE("What a tunnel brings may leave by another tunnel") {
  Rig rig;
  rig.set_tunnel(1);
  channel::InstallSa onward = rig.command(kSuite, 2, false, 0x2000, 5);
  onward.tunnel = 1;
  rig.install_outbound(onward);
  rig.route("10.3.0.0/16", {NextHopKind::tunnel, 0, 0, 1});
  const channel::InstallSa install = rig.command(kSuite, 2, false, channel::make_spi(0, 1, 3));
  rig.install_inbound(install);
  const Octets inner = ipv4_packet({.source = "10.2.0.2", .destination = "10.3.0.2"}, filling(40));
  const Output out = rig.receive_ip(kOutside, sealed(install, 1, with_trailer(inner, kSuite, 4)));
  REQUIRE(out.frames[kOutside].size() == 1);
  CHECK(get32(out.frames[kOutside][0], 34) == 0x2000);
}

TEST_CASE("IKE and ESP that come out of a tunnel are nobody's peer") {
  Rig rig;
  const channel::InstallSa install = rig.command(kSuite, 2, false, channel::make_spi(0, 1, 3));
  rig.install_inbound(install);
  for (const Octets& payload : {udp(500, 500, filling(40)), udp(4500, 4500, filling(40))}) {
    const Octets inner = ipv4_packet({.source = "192.0.2.2", .destination = "192.0.2.1"}, payload);
    static std::uint32_t sequence = 0;
    const Output out = rig.receive_ip(kOutside, sealed(install, ++sequence, with_trailer(inner, kSuite, 4)));
    CHECK(out.ike.empty());
    REQUIRE(out.raised.size() == 1);
    CHECK(out.raised[0].why == Exception::to_host);
    CHECK(out.raised[0].note.tunnel == 0);
    CHECK(out.raised[0].note.port == dataplane::Note::kNoPort);
  }
}

TEST_CASE("Selectors: addresses, protocols and ports, on both ways") {
  struct Row {
    const char* what;
    channel::Selector local, remote;
    Octets ip;  // outbound
    bool passes;
  };
  const auto to = [](unsigned port, unsigned fragment = 0) {
    return ipv4_packet({.fragment = fragment}, udp(4000, port, filling(30)));
  };
  const channel::Selector any = selector("0.0.0.0", "255.255.255.255");
  const channel::Selector any6 = selector("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
  const channel::Selector dns = selector("10.2.0.0", "10.2.255.255", 17, 53, 53);
  const channel::Selector echo = selector("10.2.0.0", "10.2.255.255", 1, 8 << 8, 8 << 8);
  const channel::Selector dns6 = selector("2001:db8:2::", "2001:db8:2::ffff", 17, 53, 53);
  const Octets options{60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0};
  const Row rows[] = {
      {"the first address of a range", any, selector("10.2.0.2", "10.2.0.9"), to(53), true},
      {"the last address of a range", any, selector("10.2.0.0", "10.2.0.2"), to(53), true},
      {"before a range", any, selector("10.2.0.3", "10.2.0.9"), to(53), false},
      {"behind a range", any, selector("10.2.0.0", "10.2.0.1"), to(53), false},
      {"a source outside", selector("10.1.0.3", "10.1.0.9"), any, to(53), false},
      {"the right port", any, dns, to(53), true},
      {"another port", any, dns, to(54), false},
      {"another protocol", any, dns, ipv4_packet({.protocol = 6}, filling(40)), false},
      {"a first fragment has its port", any, dns, to(53, 0x2000), true},
      {"a later fragment has none", any, dns, to(53, 0x2010), false},
      {"a later fragment, any port", any, selector("10.2.0.0", "10.2.255.255", 17), to(53, 0x2010), true},
      {"ICMP by type and code", any, echo, ipv4_packet({.protocol = 1}, Octets{8, 0, 0, 0, 0, 0, 0, 0}),
       true},
      {"another ICMP type", any, echo, ipv4_packet({.protocol = 1}, Octets{0, 0, 0, 0, 0, 0, 0, 0}), false},
      {"IPv4 by IPv6 selectors", any6, any6, to(53), false},
      {"IPv6 behind extension headers", any6, dns6, ipv6_packet({.next_header = 0}, options + udp(1, 53, {})),
       true},
      {"IPv6, another port behind them", any6, dns6,
       ipv6_packet({.next_header = 0}, options + udp(1, 54, {})), false},
      {"IPv6, headers that run over the end", any6, dns6,
       ipv6_packet({.next_header = 0}, Octets{17, 9, 0, 0, 0, 0, 0, 0}), false},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    Pair pair(kSuite);
    channel::InstallSa out = pair.left.command(kSuite, 2, false, channel::make_spi(0, 2, 5));
    out.selectors = {};
    out.selectors.local[0] = row.local;
    out.selectors.remote[0] = row.remote;
    out.selectors.local_count = out.selectors.remote_count = 1;
    const Output unchecked = pair.left.receive_ip(kInside, row.ip);
    pair.left.install_outbound(out);
    CHECK(pair.left.receive_ip(kInside, row.ip).frames[kOutside].size() == (row.passes ? 1 : 0));
    CHECK(pair.left.drops(DropReason::outside_selectors_out) == (row.passes ? 0 : 1));
    channel::InstallSa in = pair.right.command(kSuite, 1, false, channel::make_spi(0, 2, 5));
    in.selectors = out.selectors;
    std::swap(in.selectors.local, in.selectors.remote);
    pair.right.install_inbound(in);
    CHECK(Pair::carry(unchecked, pair.right).frames[kInside].size() == (row.passes ? 1 : 0));
    CHECK(pair.right.drops(DropReason::outside_selectors_in) == (row.passes ? 0 : 1));
  }
}

namespace {

// Every bucket is a tunnel of its own, as far as there are tunnels: 8.
struct GroupRig : Rig {
  GroupRig() {
    for (std::uint32_t i = 0; i < 8; ++i) {
      set_tunnel(i);
      channel::InstallSa install = command(kSuite, 2, false, 0x1000 + i);
      install.tunnel = i;
      install_outbound(install, i);
    }
    for (std::uint32_t i = 0; i < 8; ++i) group.members[i] = {NextHopKind::tunnel, 0, 0, i};
    for (std::uint32_t i = 0; i < dataplane::Buckets::kCount; ++i) group.buckets.member[i] = i % 8;
    group.packets = &packets;
    tables().groups[0] = &group;
    route("10.3.0.0/16", {NextHopKind::group, 0, 0, 0});
    route("2001:db8:3::/48", {NextHopKind::group, 0, 0, 0});
  }
  std::uint32_t tunnel_of(const Octets& ip) {
    const Output out = receive_ip(kInside, ip);
    REQUIRE(out.frames[kOutside].size() == 1);
    return get32(out.frames[kOutside][0], 34) - 0x1000;
  }
  dataplane::GroupPackets packets;
  dataplane::Group group;
};

}  // namespace

TEST_CASE("A group spreads flows evenly, and a flow stays where it is") {
  GroupRig rig;
  std::map<std::uint32_t, unsigned> ports, hosts, hosts6;
  for (unsigned i = 0; i < 1600; ++i) {
    const Octets ip = ipv4_packet({.destination = "10.3.0.1"}, udp(1024 + i, 80, filling(8)));
    const std::uint32_t tunnel = rig.tunnel_of(ip);
    CHECK(rig.tunnel_of(ip) == tunnel);
    ++ports[tunnel];
    const std::string host = "10.3." + std::to_string(i / 250) + "." + std::to_string(i % 250);
    ++hosts[rig.tunnel_of(ipv4_packet({.destination = host}, udp(1, 80, filling(8))))];
    char host6[40];
    std::snprintf(host6, sizeof host6, "2001:db8:3::%x", i);
    ++hosts6[rig.tunnel_of(ipv6_packet({.destination = host6}, udp(1, 80, filling(8))))];
  }
  for (const auto& counts : {ports, hosts, hosts6}) {
    REQUIRE(counts.size() == 8);
    for (const auto& [tunnel, count] : counts) {
      INFO("tunnel " << tunnel);
      CHECK(count > 120);  // of 200 expected; five standard deviations are 66
      CHECK(count < 280);
    }
  }
}

TEST_CASE("An IPv6 flow label tells flows apart, whatever is inside; without one it is the ports") {
  GroupRig rig;
  const auto labelled = [](unsigned label, unsigned port) {
    Octets ip = ipv6_packet({.destination = "2001:db8:3::1"}, udp(port, 80, filling(8)));
    put32(ip, 0, 6U << 28 | label);
    return ip;
  };
  std::map<std::uint32_t, unsigned> labels, ports;
  for (unsigned i = 0; i < 1600; ++i) {
    ++labels[rig.tunnel_of(labelled(1 + i, 1024))];
    ++ports[rig.tunnel_of(labelled(0, 1024 + i))];
    if (i < 64) CHECK(rig.tunnel_of(labelled(7, 1024 + i)) == rig.tunnel_of(labelled(7, 1024)));
  }
  for (const auto& counts : {labels, ports}) {
    REQUIRE(counts.size() == 8);
    for (const auto& [tunnel, count] : counts) {
      INFO("tunnel " << tunnel);
      CHECK(count > 120);  // of 200 expected; five standard deviations are 66
      CHECK(count < 280);
    }
  }
}

TEST_CASE("All fragments of a packet take one tunnel") {
  GroupRig rig;
  for (unsigned i = 0; i < 64; ++i) {
    const auto piece = [&](unsigned fragment, const Octets& data) {
      return rig.tunnel_of(
          ipv4_packet({.destination = "10.3.0." + std::to_string(i), .fragment = fragment}, data));
    };
    CHECK(piece(0x2000, udp(1, 2, filling(56))) == piece(0x0008, filling(64)));
  }
}

TEST_CASE("Packets of another worker's SAs are handed over and go on there") {
  Rig rig(1, 2);
  rig.set_tunnel(0);
  channel::InstallSa out = rig.command(kSuite, 2, false, 0x1234);
  out.worker = 1;
  rig.install_outbound(out);
  rig.route("10.2.0.0/16", {NextHopKind::tunnel, 0, 0, 0});
  const channel::InstallSa in = rig.command(kSuite, 2, false, channel::make_spi(1, 1, 3));
  rig.install_inbound(in);
  const auto run_inbox = [&rig] {
    rte_mbuf* packets[64];
    const unsigned count =
        rte_ring_dequeue_burst(rig.worker(1).inbox, reinterpret_cast<void**>(packets), 64, nullptr);
    process_inbox(rig.worker(1), {packets, count});
    return rig.collect(1);
  };
  const Octets ip = ipv4_packet({.ttl = 9}, filling(50));
  std::vector<Octets> frames(3, rig.frame_to(kInside, ip));
  CHECK(rig.receive(kInside, frames).frames[kOutside].empty());
  CHECK(rig.worker(0).counters->handed_off == 3);
  const Output sent = run_inbox();
  REQUIRE(sent.frames[kOutside].size() == 3);
  CHECK(get32(sent.frames[kOutside][2], 38) == 3);
  const Octets inner = ipv4_packet({.source = "10.2.0.2", .destination = "10.1.0.2", .ttl = 9}, filling(50));
  CHECK(rig.receive_ip(kOutside, sealed(in, 1, with_trailer(inner, kSuite, 4))).frames[kInside].empty());
  const Output opened = run_inbox();
  REQUIRE(opened.frames[kInside].size() == 1);
  CHECK(opened.frames[kInside][0][14 + 8] == 8);
  CHECK(rig.all_drops() == 0);
}

TEST_CASE("A burst of everything at once") {
  Pair pair(kSuite);
  const Octets arp = ethernet(pair.right.mac(kOutside), 0x0806, filling(28));
  const Octets to_right = pair.left.receive_ip(kInside, ipv4_packet({}, filling(40))).frames[kOutside][0];
  Octets esp = to_right;
  const Mac mac = pair.right.mac(kOutside);
  std::copy(mac.begin(), mac.end(), esp.begin());
  const auto frame = [&](const Octets& ip) { return pair.right.frame_to(kOutside, ip); };
  const Output out = pair.right.receive(
      kOutside,
      std::vector<Octets>{arp, esp, frame(ipv4_packet({.destination = "10.2.0.2"}, filling(9))), Octets(5),
                          frame(ipv6_packet({}, filling(9))), esp,
                          frame(ipv4_packet({.source = "10.9.9.9", .destination = "10.1.0.2"}, filling(9)))});
  CHECK(out.raised.size() == 1);
  CHECK(out.frames[kInside].size() == 3);   // out of the tunnel, and two in clear
  CHECK(out.frames[kOutside].size() == 1);  // into the tunnel
  CHECK(pair.right.drops(DropReason::runt_frame) == 1);
  CHECK(pair.right.drops(DropReason::replay_duplicate) == 1);
}

}  // namespace espgate::test
