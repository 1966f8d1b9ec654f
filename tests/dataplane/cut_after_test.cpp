// Fragments that are made of outer packets, behind encryption. Whether others put them together is
// tests/packets' business (scapy) and the interop tests' (Linux); here: their form, which packets become
// them, and in which order.
#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <set>

#include "dataplane/path/identifications.hpp"
#include "tests/dataplane/rig.hpp"

namespace espgate::test {
namespace {

using crypto::EspSuite;
using dataplane::Fit;
using dataplane::Identifications;

constexpr auto kSuite = EspSuite::aes128_gcm16;
constexpr std::uint16_t kUncut = 1400;

std::vector<Octets> without_ethernet(const std::vector<Octets>& frames) {
  std::vector<Octets> packets;
  for (const Octets& frame : frames) packets.push_back(slice(frame, 14));
  return packets;
}

bool is_v6(const Octets& ip) { return ip[0] >> 4 == 6; }
bool is_piece(const Octets& ip) { return is_v6(ip) ? ip[6] == 44 : (get16(ip, 6) & 0x3fff) != 0; }
bool has_more(const Octets& ip) {
  return is_v6(ip) ? (get16(ip, 42) & 1) != 0 : (get16(ip, 6) & 0x2000) != 0;
}
std::uint32_t identification(const Octets& ip) { return is_v6(ip) ? get32(ip, 44) : get16(ip, 4); }

// RFC 791 and RFC 8200 section 4.5, by the letter: of fragments in their order, each where the one before
// ended.
Octets put_together(const std::vector<Octets>& pieces, std::size_t mtu) {
  const bool v6 = is_v6(pieces.at(0));
  const std::size_t front = v6 ? 48 : 20;
  Octets payload;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const Octets& piece = pieces[i];
    REQUIRE(piece.size() <= mtu);
    REQUIRE(piece.size() == (v6 ? 40U + get16(piece, 4) : get16(piece, 2)));
    REQUIRE((v6 || internet_sum(piece, 0, 20) == 0xffff));
    REQUIRE((v6 ? get16(piece, 42) & 0xfff8U : (get16(piece, 6) & 0x1fffU) * 8) == payload.size());
    REQUIRE(has_more(piece) == (i + 1 < pieces.size()));
    REQUIRE((i + 1 == pieces.size() || (piece.size() - front) % 8 == 0));
    REQUIRE(identification(piece) == identification(pieces[0]));
    REQUIRE(slice(piece, v6 ? 6 : 8, 2) == slice(pieces[0], v6 ? 6 : 8, 2));
    REQUIRE(slice(piece, v6 ? 8 : 12, v6 ? 33 : 8) == slice(pieces[0], v6 ? 8 : 12, v6 ? 33 : 8));
    payload = payload + slice(piece, front);
  }
  Octets whole = slice(pieces[0], 0, v6 ? 40 : 20) + payload;
  if (v6) {
    whole[6] = pieces[0][40];
    put16(whole, 4, static_cast<unsigned>(payload.size()));
    return whole;
  }
  put16(whole, 2, static_cast<unsigned>(whole.size()));
  put16(whole, 6, 0);
  fix_ipv4_checksum(whole);
  return whole;
}

// Outer packets that follow each other, whole or in pieces, put together.
std::vector<Octets> outer_packets(const Output& out, std::size_t mtu) {
  std::vector<Octets> packets, pieces;
  for (const Octets& ip : without_ethernet(out.frames[kOutside])) {
    REQUIRE(ip.size() <= mtu);
    pieces.push_back(ip);
    if (is_piece(ip) && has_more(ip)) continue;
    packets.push_back(is_piece(ip) ? put_together(pieces, mtu) : ip);
    pieces.clear();
  }
  CHECK(pieces.empty());
  return packets;
}

// What comes out at the other end, of outer packets in their order.
std::vector<Octets> inner_packets(Pair& pair, const std::vector<Octets>& outer) {
  std::vector<Octets> inner;
  for (const Octets& ip : outer)
    for (const Octets& frame : pair.right.receive_ip(kOutside, ip).frames[kInside])
      inner.push_back(slice(frame, 14));
  return inner;
}

Octets hops_later(Octets ip, unsigned hops) {
  ip.at(is_v6(ip) ? 7 : 8) -= static_cast<std::uint8_t>(hops);
  if (!is_v6(ip)) fix_ipv4_checksum(ip);
  return ip;
}

// What is taken up to `most` bytes is cut to what `outer` says, once it is sealed.
void cut_after(Rig& rig, std::uint16_t most, std::uint16_t outer, bool clamp = false) {
  rig.tables().tunnels[0].fit = Fit{kUncut, clamp, false, most, outer};
}
void make_large(Pair& pair) {
  pair.right.tables().ports[kInside].mtu = pair.left.tables().ports[kInside].mtu = 9000;
}

Octets sized(bool v6, std::size_t size, unsigned flags = 0) {
  return v6 ? ipv6_packet({}, udp(7, 9, filling(size - 48)))
            : ipv4_packet({.fragment = flags}, udp(7, 9, filling(size - 28)));
}

std::vector<Form> tunnel_forms() {
  std::vector<Form> forms;
  for (const bool udp : {false, true})
    for (const bool outer6 : {false, true})
      for (const bool esn : {false, true}) forms.push_back({.udp = udp, .outer6 = outer6, .esn = esn});
  return forms;
}

std::uint64_t cuts_after(Pair& pair) { return pair.left.tables().tunnels[0].outbound.load()->cut_after; }
std::uint64_t cuts_before(Pair& pair) { return pair.left.tables().tunnels[0].outbound.load()->cut_before; }

}  // namespace

TEST_CASE("A tunnel that cuts after encryption carries what is larger than its packets, in every form") {
  for (const EspSuite suite : {kSuite, EspSuite::aes256_cbc_sha512})
    for (const Form form : tunnel_forms())
      for (const std::uint16_t mtu : {std::uint16_t{1280}, std::uint16_t{1500}}) {
        CAPTURE(form.udp, form.outer6, form.esn, mtu);
        Pair pair(suite, form);
        make_large(pair);
        cut_after(pair.left, 9000, mtu);
        std::uint64_t larger = 0;
        for (const std::size_t size : {1399U, 1400U, 1401U, 1500U, 2048U, 4000U, 8000U, 8999U, 9000U})
          for (const bool v6 : {false, true}) {
            const Octets ip = sized(v6, size, v6 ? 0 : 0x4000);
            const auto outer =
                outer_packets(pair.left.receive_ip(kInside, ip), std::max<std::size_t>(1500, mtu));
            REQUIRE(outer.size() == 1);
            if (outer[0].size() > (size <= kUncut ? 1500 : mtu)) ++larger;
            REQUIRE(inner_packets(pair, outer) == std::vector<Octets>{hops_later(ip, 2)});
          }
        CHECK(cuts_after(pair) == larger);
        CHECK(cuts_before(pair) == 0);
        CHECK(pair.left.all_drops() + pair.right.all_drops() == 0);
      }
}

TEST_CASE("No piece is larger than what is known of the path, whatever the port carries") {
  for (const bool outer6 : {false, true})
    for (std::uint16_t mtu = 1280; mtu < 1296; ++mtu) {
      Pair pair(kSuite, {.outer6 = outer6});
      cut_after(pair.left, 9000, mtu);
      const Octets ip = sized(false, 1450);
      CHECK(inner_packets(pair, outer_packets(pair.left.receive_ip(kInside, ip), mtu)) ==
            std::vector<Octets>{hops_later(ip, 2)});
    }
}

TEST_CASE("Beyond what such a tunnel takes, IPv4 is cut before, once, or the sender is told that size") {
  Pair pair(kSuite);
  make_large(pair);
  cut_after(pair.left, 3000, 1500);
  const Output told = pair.left.receive_ip(kInside, sized(false, 3001, 0x4000));
  REQUIRE(told.raised.size() == 1);
  CHECK(told.raised[0].why == Exception::too_big);
  CHECK(told.raised[0].note.mtu == 3000);
  const Output told6 = pair.left.receive_ip(kInside, sized(true, 3001));
  REQUIRE(told6.raised.size() == 1);
  CHECK(told6.raised[0].note.mtu == 3000);
  const Output out = pair.left.receive_ip(kInside, sized(false, 3001));
  for (const Octets& ip : without_ethernet(out.frames[kOutside])) CHECK_FALSE(is_piece(ip));
  const std::vector<Octets> inner = inner_packets(pair, outer_packets(out, 1500));
  REQUIRE(inner.size() == 3);
  CHECK(put_together(inner, kUncut) == hops_later(sized(false, 3001), 2));
  CHECK(cuts_before(pair) == 1);
  CHECK(cuts_after(pair) == 0);
}

TEST_CASE("TCP is clamped to what need not be cut") {
  Pair pair(kSuite);
  cut_after(pair.left, 9000, 1500, true);
  Octets tcp(24);
  tcp[12] = 6 << 4;
  tcp[13] = 2;  // SYN
  tcp[20] = 2;
  tcp[21] = 4;
  put16(tcp, 22, 8960);
  const auto outer = outer_packets(pair.left.receive_ip(kInside, ipv4_packet({.protocol = 6}, tcp)), 1500);
  CHECK(get16(inner_packets(pair, outer).at(0), 42) == kUncut - 40);
}

TEST_CASE("Packets do not overtake the fragments of those before them, whichever way these are cut") {
  std::mt19937 random(7);
  for (const bool outer6 : {false, true}) {
    Pair pair(kSuite, {.outer6 = outer6});
    make_large(pair);
    cut_after(pair.left, 2500, 1300);
    for (unsigned round = 0; round < 100; ++round) {
      std::vector<Octets> frames;
      std::vector<unsigned> sizes;
      for (unsigned i = 0; i < 40; ++i) {
        const auto any = [&random](unsigned least, unsigned most) {
          return std::uniform_int_distribution<unsigned>(least, most)(random);
        };
        const unsigned kind = any(0, 3);
        sizes.push_back(kind == 0 ? any(2501, 3500) : kind == 1 ? any(kUncut + 1, 2500) : any(28, kUncut));
        Octets ip = sized(false, sizes.back());
        put16(ip, 4, i);
        fix_ipv4_checksum(ip);
        frames.push_back(pair.left.frame_to(kInside, ip));
      }
      std::vector<Octets> pieces;
      unsigned number = 0;
      for (const Octets& inner :
           inner_packets(pair, outer_packets(pair.left.receive(kInside, frames), 1500))) {
        REQUIRE(get16(inner, 4) == number);
        pieces.push_back(inner);
        if (has_more(inner)) continue;
        Octets whole = pieces.size() > 1 ? put_together(pieces, kUncut) : inner;
        REQUIRE(slice(whole, 20) == slice(sized(false, sizes[number]), 20));
        pieces.clear();
        ++number;
      }
      REQUIRE(number == sizes.size());
    }
    CHECK(pair.left.all_drops() + pair.right.all_drops() == 0);
  }
}

TEST_CASE("More fragments than a port's buffer holds go out in their order") {
  // What does not fit the buffer is handed to the worker that has the port's queue; here, nobody takes it.
  Rig two(1, 2);
  two.worker(0).transmit_queues[kOutside].owner = 1;
  two.set_tunnel(0, kUncut);
  cut_after(two, 9000, 1500);
  two.route("10.2.0.0/16", {NextHopKind::tunnel, 0, 0, 0});
  two.install_outbound(two.command(kSuite, 2, false, 0x1234));
  std::vector<Octets> frames;
  for (unsigned i = 0; i < 60; ++i) frames.push_back(two.frame_to(kInside, sized(false, 5000 + i)));
  std::vector<Octets> sent;
  const Output rest = two.receive(kInside, frames);
  void* object = nullptr;
  while (rte_ring_dequeue(two.worker(1).inbox, &object) == 0) {
    auto* const mbuf = static_cast<rte_mbuf*>(object);
    CHECK(static_cast<Errand>(dataplane::note_of(mbuf).why) == Errand::frame);
    const auto* const data = rte_pktmbuf_mtod(mbuf, const std::uint8_t*);
    sent.emplace_back(data, data + mbuf->data_len);
    rte_pktmbuf_free(mbuf);
  }
  CHECK_FALSE(sent.empty());
  sent.insert(sent.end(), rest.frames[kOutside].begin(), rest.frames[kOutside].end());
  REQUIRE(sent.size() == 60 * 4);
  Output all;
  all.frames[kOutside] = sent;
  const std::vector<Octets> outer = outer_packets(all, 1500);
  REQUIRE(outer.size() == 60);
  for (std::uint32_t i = 0; i < 60; ++i) CHECK(get32(outer[i], 24) == i + 1);
}

TEST_CASE("IPv6 packets that only pass through are never cut") {
  Rig rig;
  rig.route("2001:db8:1::/48", {NextHopKind::connected, kInside, 0, 0});
  rig.tables().ports[kInside].mtu = 1280;
  const Output out = rig.receive_ip(
      kOutside, ipv6_packet({.source = "2001:db8:9::1", .destination = "2001:db8:1::2"}, filling(1300)));
  REQUIRE(out.raised.size() == 1);
  CHECK(out.raised[0].why == Exception::too_big);
  CHECK(out.raised[0].note.mtu == 1280);
  CHECK(out.frames[kInside].empty());
}

TEST_CASE("An outer IPv6 packet larger than its port is cut whether or not the tunnel says so") {
  SECTION("an inner packet of IPv6's least MTU in a tunnel that is smaller") {
    Pair pair(kSuite, {.outer6 = true});
    pair.left.tables().ports[kOutside].mtu = 1280;
    pair.left.tables().tunnels[0].fit = Fit{1200, false, false, 0, 1280};
    const Octets ip = sized(true, 1280);
    CHECK(inner_packets(pair, outer_packets(pair.left.receive_ip(kInside, ip), 1280)) ==
          std::vector<Octets>{hops_later(ip, 2)});
    CHECK(cuts_after(pair) == 1);
  }
  SECTION("one that passed for small enough, because the route has changed") {
    Pair pair(kSuite, {.outer6 = true});
    pair.left.tables().ports[kOutside].mtu = 1280;
    const Octets ip = sized(false, 1390);
    CHECK(inner_packets(pair, outer_packets(pair.left.receive_ip(kInside, ip), 1280)) ==
          std::vector<Octets>{hops_later(ip, 2)});
  }
  SECTION("in transport mode, with what routers read before the fragment header") {
    Pair pair(kSuite, {.outer6 = true, .transport = true});
    const Octets hop_by_hop{17, 0, 1, 4, 0, 0, 0, 0};
    const Octets ip =
        ipv6_packet({.source = "2001:db8:ff::1", .destination = "2001:db8:ff::2", .next_header = 0},
                    hop_by_hop + udp(1, 2, filling(2000)));
    const Output out = pair.left.errand(Errand::protect, ip, 0, dataplane::Note::kNoPort);
    const std::vector<Octets> pieces = without_ethernet(out.frames[kOutside]);
    REQUIRE(pieces.size() == 2);
    for (const Octets& piece : pieces) {
      CHECK(piece.size() <= 1500);
      CHECK(piece[6] == 0);
      CHECK(slice(piece, 40, 8) == Octets{44, 0, 1, 4, 0, 0, 0, 0});
      CHECK(piece[48] == 50);
    }
    CHECK(get16(pieces[1], 50) == pieces[0].size() - 56);
  }
  SECTION("but not with headers that are larger than anybody's") {
    Pair pair(kSuite, {.outer6 = true, .transport = true});
    Octets hop_by_hop(96);
    hop_by_hop[0] = 17;
    hop_by_hop[1] = 11;
    hop_by_hop[2] = 1;
    hop_by_hop[3] = 92;
    const Octets ip =
        ipv6_packet({.source = "2001:db8:ff::1", .destination = "2001:db8:ff::2", .next_header = 0},
                    hop_by_hop + udp(1, 2, filling(2000)));
    const Output out = pair.left.errand(Errand::protect, ip, 0, dataplane::Note::kNoPort);
    CHECK(out.frames[kOutside].empty());
    CHECK(pair.left.drops(DropReason::too_big) == 1);
    CHECK(cuts_after(pair) == 0);
  }
}

TEST_CASE("An outer packet that waits for its next hop does so in pieces") {
  Pair pair(kSuite);
  cut_after(pair.left, 9000, 1500);
  pair.left.tables().neighbours.set_state(pair.left.outside_gateway().index,
                                          dataplane::NeighbourState::incomplete);
  const Output out = pair.left.receive_ip(kInside, sized(false, 1500));
  REQUIRE(out.raised.size() == 2);
  for (const Raised& raised : out.raised) {
    CHECK(raised.why == Exception::resolve);
    CHECK(raised.data.size() <= 1500);
  }
}

TEST_CASE("An outer packet with DF is not cut, and counted") {
  Pair pair(kSuite, {}, [](channel::InstallSa& install) { install.df = channel::DontFragment::set; });
  cut_after(pair.left, 9000, 1500);
  const Output out = pair.left.receive_ip(kInside, sized(false, 1500));
  CHECK(out.frames[kOutside].empty());
  REQUIRE(out.raised.size() == 1);
  CHECK(out.raised[0].note.reason == DropReason::too_big);
}

TEST_CASE("Identifications never come twice, of whichever workers, and tell nothing of the next") {
  std::set<std::uint32_t> seen;
  constexpr unsigned kEach = 20000;
  for (std::uint32_t place = 0; place < Identifications::kPlaces; ++place) {
    Identifications numbers(77, place);
    for (unsigned i = 0; i < kEach; ++i) seen.insert(numbers.next());
  }
  CHECK(seen.size() == std::size_t{kEach} * Identifications::kPlaces);
  // Each bit as often set as not, and as often changed as not: a count would change few.
  Identifications numbers(77, 0);
  std::array<unsigned, 32> set{}, changed{};
  std::uint32_t last = 0;
  for (unsigned i = 0; i < kEach; ++i) {
    const std::uint32_t number = numbers.next();
    for (unsigned bit = 0; bit < 32; ++bit) {
      set[bit] += number >> bit & 1;
      changed[bit] += (number ^ last) >> bit & 1;
    }
    last = number;
  }
  for (unsigned bit = 0; bit < 32; ++bit) {
    CAPTURE(bit);
    CHECK(set[bit] > kEach * 45 / 100);
    CHECK(set[bit] < kEach * 55 / 100);
    CHECK(changed[bit] > kEach * 45 / 100);
    CHECK(changed[bit] < kEach * 55 / 100);
  }
  CHECK(Identifications(78, 0).next() != Identifications(77, 0).next());
}

TEST_CASE("Two workers' fragments to one peer have identifications of their own") {
  std::set<std::uint32_t> seen;
  Rig rig(1, 2);
  rig.set_tunnel(0, kUncut);
  cut_after(rig, 9000, 1500);
  rig.route("10.2.0.0/16", {NextHopKind::tunnel, 0, 0, 0});
  for (unsigned worker = 0; worker < 2; ++worker) {
    channel::InstallSa install = rig.command(kSuite, 2, false, 0x1234 + worker, 1);
    set_form(install, {.outer6 = true}, 1, 2);
    install.worker = worker;
    rig.install_outbound(install, worker);
    for (unsigned i = 0; i < 500; ++i) {
      const Output out =
          rig.receive(kInside, std::vector<Octets>{rig.frame_to(kInside, sized(false, 1500))}, worker);
      const std::vector<Octets> pieces = without_ethernet(out.frames[kOutside]);
      REQUIRE(pieces.size() == 2);
      REQUIRE(identification(pieces[0]) == identification(pieces[1]));
      seen.insert(identification(pieces[0]));
    }
  }
  CHECK(seen.size() == 1000);
}

}  // namespace espgate::test
