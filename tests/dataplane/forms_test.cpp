// SAs that are not plain: IPv6 outside, transport mode, ESN, outer fields of the tunnel's own choice,
// padding. Whether the bytes are right for others is tests/packets' business (scapy); here is what they do to
// packets.
#include <algorithm>
#include <catch2/catch.hpp>

#include "channel/spi.hpp"
#include "tests/dataplane/rig.hpp"

namespace espgate::test {
namespace {

constexpr auto kGcm = crypto::EspSuite::aes128_gcm16;
constexpr auto kCbc = crypto::EspSuite::aes128_cbc_sha256;
constexpr std::uint64_t kTwoTo32 = std::uint64_t{1} << 32;

Octets hops_later(Octets ip, unsigned hops) {
  ip.at(ip[0] >> 4 == 6 ? 7 : 8) -= static_cast<std::uint8_t>(hops);
  if (ip[0] >> 4 == 4) fix_ipv4_checksum(ip);
  return ip;
}

// The one packet that left on the outside, without its Ethernet header.
Octets outer_of(const Output& out) {
  REQUIRE(out.frames[kOutside].size() == 1);
  return slice(out.frames[kOutside][0], 14);
}
Octets outer_of(Pair& pair, const Octets& ip) { return outer_of(pair.left.receive_ip(kInside, ip)); }

bool passes(Pair& pair, const Octets& ip) {
  const Output out = Pair::carry(pair.left.receive_ip(kInside, ip), pair.right);
  return out.frames[kInside].size() == 1 && slice(out.frames[kInside][0], 14) == hops_later(ip, 2);
}

const char* text_of(Form form) {
  static char text[64];
  std::snprintf(text, sizeof text, "IPv%d%s%s", form.outer6 ? 6 : 4, form.udp ? ", UDP" : "",
                form.esn ? ", ESN" : "");
  return text;
}

// One for each length of IV and ICV, and each alignment.
std::vector<crypto::SuiteRow> shapes() {
  std::vector<crypto::SuiteRow> rows;
  for (const crypto::SuiteRow& row : crypto::kSuites)
    if (std::ranges::none_of(rows, [&row](const crypto::SuiteRow& other) {
          return other.iv_length == row.iv_length && other.icv_length == row.icv_length &&
                 other.alignment == row.alignment;
        }))
      rows.push_back(row);
  return rows;
}

std::vector<Form> all_forms(bool transport) {
  std::vector<Form> forms;
  for (const bool udp : {false, true})
    for (const bool outer6 : {false, true})
      for (const bool esn : {false, true})
        forms.push_back({.udp = udp, .outer6 = outer6, .transport = transport, .esn = esn});
  return forms;
}

// What a host sends itself, in transport mode.
Octets own_packet(Form form, const Octets& payload, unsigned protocol = 17) {
  if (form.outer6)
    return ipv6_packet({.source = "2001:db8:ff::1", .destination = "2001:db8:ff::2", .next_header = protocol},
                       payload);
  return ipv4_packet({.source = "192.0.2.1", .destination = "192.0.2.2", .protocol = protocol}, payload);
}
Output protect(Pair& pair, const Octets& ip) {
  return pair.left.errand(Errand::protect, ip, 0, dataplane::Note::kNoPort);
}

bool udp6_checksum_is_right(const Octets& ip) {
  return internet_sum(ip, 40, ip.size() - 40, internet_sum(ip, 8, 32) + 17 + ip.size() - 40) == 0xffff;
}

}  // namespace

TEST_CASE("Tunnels of every form carry packets of every length and both families") {
  for (const crypto::SuiteRow& row : shapes())
    for (const Form form : all_forms(false)) {
      Pair pair(row.suite, form);
      INFO(row.name << ", " << text_of(form));
      for (unsigned size = 0; size < 40; ++size) {
        CHECK(passes(pair, ipv4_packet({}, udp(1, 2, filling(size)))));
        CHECK(passes(pair, ipv6_packet({}, udp(1, 2, filling(size * 33)))));
      }
      CHECK(pair.left.all_drops() + pair.right.all_drops() == 0);
    }
}

TEST_CASE("Transport mode of every form gives the far end what this one sent") {
  for (const crypto::SuiteRow& row : shapes())
    for (const Form form : all_forms(true)) {
      Pair pair(row.suite, form);
      INFO(row.name << ", " << text_of(form));
      for (unsigned size = 0; size < 40; ++size) {
        const Octets sent = own_packet(form, udp(1, 2, filling(size)));
        const Output out = Pair::carry(protect(pair, sent), pair.right);
        REQUIRE(out.raised.size() == 1);
        CHECK(out.raised[0].why == Exception::to_host);
        CHECK(out.raised[0].data == sent);
        CHECK(out.raised[0].note.tunnel == 0);
      }
      CHECK(pair.left.all_drops() + pair.right.all_drops() == 0);
    }
}

TEST_CASE("Transport mode leaves options and the extension headers that routers read in front of ESP") {
  SECTION("IPv4 options") {
    Pair pair(kGcm, {.transport = true});
    const Octets sent = ipv4_packet(
        {.source = "192.0.2.1", .destination = "192.0.2.2", .options = {1, 1, 1, 0}}, udp(1, 2, filling(20)));
    const Output out = protect(pair, sent);
    CHECK(outer_of(out)[9] == 50);
    CHECK(slice(outer_of(out), 20, 4) == Octets{1, 1, 1, 0});
    CHECK(Pair::carry(out, pair.right).raised.at(0).data == sent);
  }
  SECTION("a hop-by-hop header, and a destination options header that ESP protects") {
    Pair pair(kCbc, {.outer6 = true, .transport = true});
    const Octets hop_by_hop{60, 0, 1, 4, 0, 0, 0, 0};
    const Octets destination{17, 0, 1, 4, 0, 0, 0, 0};
    const Octets sent = own_packet({.outer6 = true}, hop_by_hop + destination + udp(1, 2, filling(20)), 0);
    const Output out = protect(pair, sent);
    CHECK(outer_of(out)[6] == 0);
    CHECK(outer_of(out)[40] == 50);
    CHECK(Pair::carry(out, pair.right).raised.at(0).data == sent);
  }
}

TEST_CASE("Transport mode is for whole packets") {
  Pair pair(kGcm, {.transport = true});
  const Octets whole = own_packet({}, udp(1, 2, filling(100)));
  const Output out = protect(pair, fragment_of(whole, 0, 64));
  CHECK(out.frames[kOutside].empty());
  CHECK(pair.left.drops(DropReason::transport_fragment) == 1);
}

TEST_CASE("A packet too large for transport mode is cut once it is sealed") {
  Pair pair(kGcm, {.transport = true});
  const Octets sent = own_packet({}, udp(1, 2, filling(1472)));
  REQUIRE(sent.size() == 1500);
  const Output out = protect(pair, sent);
  REQUIRE(out.frames[kOutside].size() == 2);
  CHECK((get16(out.frames[kOutside][0], 14 + 6) & 0x2000U) != 0);
}

TEST_CASE("ESP in UDP over IPv6 has the checksum that IPv6 wants") {
  for (const bool transport : {false, true}) {
    const Form form{.udp = true, .outer6 = true, .transport = transport};
    Pair pair(kGcm, form);
    for (unsigned size = 0; size < 64; ++size) {
      const Octets outer = transport ? outer_of(protect(pair, own_packet(form, udp(1, 2, filling(size)))))
                                     : outer_of(pair, ipv6_packet({}, udp(1, 2, filling(size))));
      CHECK(outer[6] == 17);
      CHECK(udp6_checksum_is_right(outer));
    }
  }
}

TEST_CASE("The outer IPv6 header is the tunnel's") {
  Pair pair(kGcm, {.outer6 = true});
  const Octets first = outer_of(pair, ipv4_packet({.ttl = 3, .tos = 0xb9}, udp(1, 2, filling(10))));
  const Octets second = outer_of(pair, ipv6_packet({.traffic_class = 0x2a}, udp(1, 2, filling(10))));
  CHECK((get32(first, 0) >> 20 & 0xff) == 0xb9);
  CHECK((get32(second, 0) >> 20 & 0xff) == 0x2a);
  CHECK((get32(first, 0) & 0xfffff) == (get32(second, 0) & 0xfffff));
  CHECK((get32(first, 0) & 0xfffff) != 0);
  CHECK(get16(first, 4) == first.size() - 40);
  CHECK(first[7] == 64);
  CHECK(slice(first, 8, 16) == v6_bytes("2001:db8:ff::1"));
  CHECK(slice(first, 24, 16) == v6_bytes("2001:db8:ff::2"));
}

TEST_CASE("DSCP and ECN of the outer header are the tunnel's choice") {
  const unsigned dscp = GENERATE(0U, 1U, 47U, 64U);
  const bool compatible = GENERATE(false, true);
  const bool outer6 = GENERATE(false, true);
  Pair pair(kGcm, {.outer6 = outer6}, [&](channel::InstallSa& install) {
    install.fixed_dscp = static_cast<std::uint8_t>(dscp);
    install.ecn = compatible ? channel::EcnMode::compatibility : channel::EcnMode::normal;
  });
  const Octets outer = outer_of(pair, ipv4_packet({.tos = 0xba}, udp(1, 2, filling(10))));
  const unsigned service = outer6 ? get32(outer, 0) >> 20 & 0xff : outer[1];
  CHECK(service >> 2 == (dscp == 0 ? 0xbaU >> 2 : dscp - 1));
  CHECK((service & 3) == (compatible ? 0U : 2U));
}

TEST_CASE("A congestion mark on an outer IPv6 header reaches the inner packet") {
  Pair pair(kGcm, {.outer6 = true});
  Output sent = pair.left.receive_ip(kInside, ipv4_packet({.tos = 2}, udp(1, 2, filling(10))));
  sent.frames[kOutside][0][14 + 1] |= 0x30;
  const Output out = Pair::carry(sent, pair.right);
  REQUIRE(out.frames[kInside].size() == 1);
  CHECK((out.frames[kInside][0][14 + 1] & 3) == 3);
}

TEST_CASE("DF of the outer header is the tunnel's choice") {
  using channel::DontFragment;
  const auto choice = GENERATE(DontFragment::clear, DontFragment::set, DontFragment::copy);
  Pair pair(kGcm, {}, [choice](channel::InstallSa& install) { install.df = choice; });
  const auto has_df = [&](const Octets& ip) { return (get16(outer_of(pair, ip), 6) & 0x4000U) != 0; };
  CHECK(has_df(ipv4_packet({.fragment = 0x4000}, udp(1, 2, filling(10)))) == (choice != DontFragment::clear));
  CHECK(has_df(ipv4_packet({}, udp(1, 2, filling(10)))) == (choice == DontFragment::set));
  CHECK(has_df(ipv6_packet({}, udp(1, 2, filling(10)))) == (choice != DontFragment::clear));
  CHECK(passes(pair, ipv4_packet({}, udp(1, 2, filling(10)))));
}

TEST_CASE("TFC padding hides the inner packets' lengths, and is taken off again") {
  struct Row {
    std::uint16_t wanted;
    unsigned size, length;  // inner packet; padded
  };
  const Row row = GENERATE(Row{600, 100, 600}, Row{600, 601, 601}, Row{channel::kTfcToMtu, 64, 1400},
                           Row{channel::kTfcToMtu, 1400, 1400});
  const bool outer6 = GENERATE(false, true);
  Pair pair(kCbc, {.outer6 = outer6}, [&](channel::InstallSa& install) { install.tfc_length = row.wanted; });
  const Octets inner = ipv4_packet({}, udp(1, 2, filling(row.size - 28)));
  // The rig's buffers have little room behind the packet: here they have what a real one has.
  const Octets frame = pair.left.frame_to(kInside, inner);
  const Output sent =
      pair.left.receive(kInside, std::vector<rte_mbuf*>{pair.left.make(frame, dataplane::kHeadroom, 1500)});
  const std::size_t blocks = (row.length + 2 + 15) / 16 * 16;
  CHECK(outer_of(sent).size() == (outer6 ? 40U : 20U) + 8 + 16 + blocks + 16);
  const Output out = Pair::carry(sent, pair.right);
  REQUIRE(out.frames[kInside].size() == 1);
  CHECK(slice(out.frames[kInside][0], 14) == hops_later(inner, 2));
}

TEST_CASE("TFC padding is as much as the buffer has room for") {
  Pair pair(kGcm, {}, [](channel::InstallSa& install) { install.tfc_length = channel::kTfcToMtu; });
  const Octets inner = ipv4_packet({}, udp(1, 2, filling(10)));
  CHECK(passes(pair, inner));
  CHECK(outer_of(pair, inner).size() < 200);
}

TEST_CASE("Extended sequence numbers run on beyond 2^32") {
  Pair pair(kGcm, {.esn = true});
  pair.outbound().sequence = kTwoTo32 - 3;
  const auto packet = [](unsigned i) { return ipv4_packet({}, udp(i, 2, filling(30))); };
  CHECK(passes(pair, packet(0)));  // from 0 to nearly 2^32: the window jumps
  std::vector<Output> sent;
  for (unsigned i = 1; i < 6; ++i) sent.push_back(pair.left.receive_ip(kInside, packet(i)));
  CHECK(get32(sent[0].frames[kOutside][0], 14 + 20 + 4) == 0xffffffff);
  CHECK(get32(sent[1].frames[kOutside][0], 14 + 20 + 4) == 0);
  for (const std::size_t i : {std::size_t{3}, std::size_t{0}, std::size_t{4}, std::size_t{1}, std::size_t{2}})
    CHECK(Pair::carry(sent[i], pair.right).frames[kInside].size() == 1);
  for (const Output& again : sent) CHECK(Pair::carry(again, pair.right).frames[kInside].empty());
  CHECK(pair.right.drops(DropReason::replay_duplicate) == 5);
  CHECK(pair.inbound().window.highest() == kTwoTo32 + 3);
  CHECK(pair.outbound().sequence == kTwoTo32 + 3);
}

TEST_CASE("The high bits of a sequence number are authenticated") {
  Pair pair(kCbc, {.esn = true});
  pair.outbound().sequence = 5 * kTwoTo32;
  CHECK_FALSE(passes(pair, ipv4_packet({}, udp(1, 2, filling(30)))));
  CHECK(pair.right.drops(DropReason::integrity) == 1);
}

TEST_CASE("An SA ends with its last sequence number") {
  const bool esn = GENERATE(false, true);
  Pair pair(kGcm, {.esn = esn});
  const std::uint64_t last = dataplane::last_of_sequence(esn);
  pair.outbound().sequence = last - 1;
  const Octets packet = ipv4_packet({}, udp(1, 2, filling(30)));
  CHECK(pair.left.receive_ip(kInside, packet).frames[kOutside].size() == 1);
  CHECK(pair.left.receive_ip(kInside, packet).frames[kOutside].empty());
  CHECK(pair.left.drops(DropReason::sequence_exhausted) == 1);
  CHECK(pair.outbound().sequence == last);
}

TEST_CASE("Outer IPv6 packets must be the SA's") {
  const bool in_udp = GENERATE(false, true);
  Pair pair(kGcm, {.udp = in_udp, .outer6 = true});
  const auto changed = [&](std::size_t at, std::uint8_t value) {
    Output sent = pair.left.receive_ip(kInside, ipv4_packet({}, udp(1, 2, filling(30))));
    sent.frames[kOutside][0][14 + at] = value;
    return Pair::carry(sent, pair.right);
  };
  SECTION("source") {
    // In UDP the peer's address may change.
    CHECK(changed(23, 9).frames[kInside].size() == (in_udp ? 1 : 0));
    CHECK(pair.right.drops(DropReason::outer_mismatch) == (in_udp ? 0 : 1));
  }
  SECTION("an address of ours that is not the SA's") {
    pair.right.route("2001:db8:ff::7", {NextHopKind::host, kOutside, 0, 0});
    CHECK(changed(39, 7).frames[kInside].empty());
    CHECK(pair.right.drops(DropReason::outer_mismatch) == 1);
  }
  SECTION("a destination that is not ours is forwarded, or has no route") {
    CHECK(changed(39, 8).raised.at(0).why == Exception::unreachable);
  }
}

TEST_CASE("An SA's outer family is part of it") {
  Pair pair(kGcm, {.outer6 = true});
  const channel::InstallSa four = pair.right.command(kGcm, 1, false, channel::make_spi(0, 2, 5), 1);
  CHECK(pair.right.receive_ip(kOutside, sealed(four, 1, with_trailer(ipv4_packet({}, {}), kGcm, 4)))
            .frames[kInside]
            .empty());
  CHECK(pair.right.drops(DropReason::outer_mismatch) == 1);
}

TEST_CASE("ESP is found behind IPv6 extension headers, and not in fragments") {
  Pair pair(kGcm, {.outer6 = true});
  const Octets inner = ipv4_packet({}, udp(1, 2, filling(30)));
  const Octets esp = slice(outer_of(pair, inner), 40);
  const auto carried = [&](unsigned first, const Octets& headers) {
    return pair.right.receive_ip(
        kOutside,
        ipv6_packet({.source = "2001:db8:ff::1", .destination = "2001:db8:ff::2", .next_header = first},
                    headers + esp));
  };
  SECTION("hop-by-hop and destination options") {
    const Output out =
        carried(0, {60, 0, 1, 4, 0, 0, 0, 0, 50, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
    REQUIRE(out.frames[kInside].size() == 1);
    CHECK(slice(out.frames[kInside][0], 14) == hops_later(inner, 2));
  }
  SECTION("a fragment is the main thread's") {
    CHECK(carried(44, {50, 0, 0, 1, 0, 0, 0, 9}).raised.at(0).why == Exception::to_host);
  }
}

TEST_CASE("What an SA's form leaves of an MTU is what fits it") {
  for (const crypto::SuiteRow& row : shapes())
    for (const bool transport : {false, true})
      for (const Form form : all_forms(transport)) {
        Pair pair(row.suite, form);
        INFO(row.name << ", " << text_of(form) << (transport ? ", transport" : ""));
        for (const std::uint16_t outer : {std::uint16_t{576}, std::uint16_t{1280}, std::uint16_t{1500}}) {
          const unsigned mtu = dataplane::inner_mtu(outer, around(pair.outbound()));
          const auto length = [&](unsigned inner) {
            const unsigned front = form.outer6 ? 48 : 28;
            const Octets payload = udp(1, 2, filling(inner - front));
            pair.left.tables().ports[kOutside].mtu = 2000;
            pair.left.set_tunnel(0, 2000);
            if (transport) return outer_of(protect(pair, own_packet(form, payload))).size();
            return outer_of(pair, form.outer6 ? ipv6_packet({}, payload) : ipv4_packet({}, payload)).size();
          };
          CHECK(length(mtu) <= outer);
          CHECK(length(mtu + 1) > outer);
        }
      }
}

}  // namespace espgate::test
