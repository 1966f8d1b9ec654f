// Outer packets that came in fragments: what is put together is what was cut, and nothing waits for ever.
#include <rte_hash_crc.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "channel/spi.hpp"
#include "tests/dataplane/host/desk.hpp"

using namespace espgate;
using namespace espgate::test;
using dataplane::Reassembly;

namespace {

constexpr std::uint64_t kTimeout = Reassembly::kTimeoutNs;
constexpr const char* kPeer = "192.0.2.2";

Octets from_hex(const std::string& text) {
  Octets out;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    out.push_back(static_cast<std::uint8_t>(std::stoul(text.substr(i, 2), nullptr, 16)));
  return out;
}

Octets with_id(Octets ip, unsigned id) {
  put16(ip, 4, id);
  fix_ipv4_checksum(ip);
  return ip;
}

Octets esp_of(std::size_t size, const std::string& source = kPeer, unsigned id = 1) {
  Octets payload = filling(size);
  if (size >= 4) put32(payload, 0, 0x00040003);
  return with_id(ipv4_packet({.source = source, .destination = "192.0.2.1", .protocol = 50}, payload), id);
}

Octets udp_of(unsigned port, const Octets& payload, const std::string& source = kPeer, unsigned id = 1) {
  return with_id(
      ipv4_packet({.source = source, .destination = "192.0.2.1", .protocol = 17}, udp(port, port, payload)),
      id);
}

// An IKE message of `size` bytes: a header whose length field is right.
Octets ike_of(std::size_t size) {
  Octets out = filling(size);
  put32(out, 24, static_cast<std::uint32_t>(size));
  return out;
}

void raise(Desk& desk, const std::vector<Octets>& fragments) {
  for (const Octets& fragment : fragments) desk.raise(Exception::to_host, fragment, kWan);
}

std::vector<Octets> reversed(std::vector<Octets> all) {
  std::reverse(all.begin(), all.end());
  return all;
}

std::multiset<std::string> in_no_order(const std::vector<Octets>& packets) {
  std::multiset<std::string> out;
  for (const Octets& bytes : packets) out.insert(hex(bytes));
  return out;
}

// What the main thread put into the IKE ring, in one piece.
std::vector<Octets> for_ike(Desk& desk) {
  std::vector<Octets> out;
  void* object = nullptr;
  while (rte_ring_dequeue(desk.workers[0]->ike, &object) == 0) {
    auto* const packet = static_cast<rte_mbuf*>(object);
    Octets& bytes = out.emplace_back(packet->pkt_len);
    const void* data = rte_pktmbuf_read(packet, 0, packet->pkt_len, bytes.data());
    if (data != bytes.data())
      std::copy_n(static_cast<const std::uint8_t*>(data), bytes.size(), bytes.begin());
    rte_pktmbuf_free(packet);
  }
  return out;
}

// Nothing waits once the time is over, and every buffer is back.
void check_empty(Desk& desk) {
  desk.now += kTimeout + 1;
  desk.slow_path.advance(desk.now);
  CHECK(desk.slow_path.reassembly().waiting() == 0);
  CHECK(desk.buffers_out() == 0);
}

// A gateway that takes the packets of fragments.json.
struct Gateway : Desk {
  explicit Gateway(const nlohmann::json& row, unsigned count = 1) : Desk(count) {
    know(kLan, "10.1.0.2", Octets{2, 0, 0, 0, 0x99, 3});
    REQUIRE(run(set_tunnel(0)) == channel::CommandStatus::ok);
    channel::Command install = install_inbound(0, row["spi"]);
    channel::InstallSa& sa = install.body.install_sa;
    sa.suite = static_cast<std::uint16_t>(crypto::find_suite(row["suite"].get<std::string>())->suite);
    sa.udp_encapsulation = row["udp"].get<bool>() ? 1 : 0;
    sa.local_port = sa.remote_port = row["udp"].get<bool>() ? 4500 : 0;
    const Octets keys = from_hex(row["keys"]);
    std::copy(keys.begin(), keys.end(), sa.keys.begin());
    REQUIRE(run(install) == channel::CommandStatus::ok);
    (void)sent();
  }
  Output receive(const Octets& ip, unsigned worker = 0) {
    return pass(kWan, {ethernet(tables.ports[kWan].mac, 0x0800, ip)}, worker);
  }
  [[nodiscard]] std::uint64_t drops_anywhere() const {
    std::uint64_t sum = all_drops();
    for (const dataplane::Worker* worker : workers)
      for (const auto& drops : worker->counters->drops) sum += drops.load();
    return sum;
  }
};

const nlohmann::json& scapys() {
  static const nlohmann::json rows = nlohmann::json::parse(std::ifstream(FRAGMENTS));
  return rows;
}

}  // namespace

TEST_CASE("What scapy cut comes out like what scapy left whole") {
  std::mt19937 random(1);
  REQUIRE(scapys().size() == 4 * crypto::kSuites.size());
  for (const auto& row : scapys()) {
    INFO(row["suite"] << (row["udp"] ? " in UDP, " : ", ") << row["fragments"].size() << " fragments");
    std::vector<Octets> fragments;
    for (const auto& fragment : row["fragments"]) fragments.push_back(from_hex(fragment));
    std::shuffle(fragments.begin(), fragments.end(), random);
    Gateway whole(row), cut(row, 2);
    const Output expected = whole.receive(from_hex(row["outer"]));
    REQUIRE(expected.frames[kLan].size() == 1);
    Output got;
    for (std::size_t i = 0; i < fragments.size(); i++) {
      CHECK(got.frames[kLan].empty());
      got = cut.receive(fragments[i], i % 2);  // by both workers' queues
    }
    CHECK(got.frames[kLan] == expected.frames[kLan]);
    CHECK(cut.drops_anywhere() == 0);
    check_empty(cut);
  }
}

TEST_CASE("Fragments of many packets, cut anywhere, in any order, among whole packets") {
  std::mt19937 random(791);
  const auto pick = [&](std::size_t least, std::size_t most) {
    return std::uniform_int_distribution<std::size_t>(least, most)(random);
  };
  for (unsigned round = 0; round < 60; round++) {
    Desk desk;
    std::vector<Octets> packets, fragments;
    const std::size_t count = pick(1, 25);
    for (std::size_t i = 0; i < count; i++) {
      const std::string source = "198.51.100." + std::to_string(pick(1, 200));
      const auto id = static_cast<unsigned>(i);  // of one source, no two are the same
      const std::size_t size = pick(9, 1900);
      packets.push_back(pick(0, 1) == 0 ? esp_of(size, source, id)
                                        : udp_of(pick(0, 1) == 0 ? 500 : 4500, filling(size), source, id));
      const std::size_t units = (packets.back().size() - 20 + 7) / 8;
      std::vector<std::size_t> cuts{0, units};
      for (std::size_t n = pick(1, std::min<std::size_t>(7, units - 1)); n > 0; n--)
        cuts.push_back(pick(1, units - 1));
      std::sort(cuts.begin(), cuts.end());
      cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
      for (std::size_t c = 0; c + 1 < cuts.size(); c++)
        fragments.push_back(
            fragment_of(packets.back(), cuts[c] * 8, std::min(cuts[c + 1] * 8, packets.back().size() - 20)));
    }
    std::shuffle(fragments.begin(), fragments.end(), random);
    for (const Octets& fragment : fragments) {
      raise(desk, {fragment});
      if (pick(0, 3) == 0) desk.raise(Exception::to_host, packet("echo4"), kWan);
    }
    std::vector<Octets> got = for_ike(desk);
    for (const Sent& sent : desk.sent()) {
      if (sent.errand == Errand::route) continue;  // an echo's answer
      CHECK(sent.errand == Errand::decrypt);
      CHECK(sent.port == kWan);
      got.push_back(sent.data);
    }
    CHECK(in_no_order(got) == in_no_order(packets));
    CHECK(desk.all_drops() == desk.drops(DropReason::icmp_rate_limited));
    CHECK(desk.slow_path.reassembly().waiting() == 0);
    CHECK(desk.buffers_out() == 0);
  }
}

TEST_CASE("As small as 8 bytes, and with up to eight fragments") {
  for (std::size_t size = 9; size <= 64; size++) {
    Desk desk;
    raise(desk, reversed(fragments_of(esp_of(size), 8)));
    const auto sent = desk.sent();
    REQUIRE(sent.size() == 1);
    CHECK(sent[0].data == esp_of(size));
    CHECK(desk.all_drops() == 0);
    CHECK(desk.buffers_out() == 0);
  }
}

TEST_CASE("The frame's padding is not part of a fragment") {
  Desk desk;
  for (const Octets& fragment : fragments_of(esp_of(20), 8))
    desk.raise(Exception::to_host, fragment + Octets(46 - fragment.size(), 0xee), kWan);
  const auto sent = desk.sent();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].data == esp_of(20));
}

TEST_CASE("The first fragment's options stay, and the checksum is right with them") {
  const Octets options{0x94, 4, 0, 0, 1, 1, 1, 0};
  const Octets whole = ipv4_packet(
      {.source = kPeer, .destination = "192.0.2.1", .protocol = 50, .options = options}, filling(100));
  Desk desk;
  raise(desk, reversed(fragments_of(whole, 40)));
  const auto sent = desk.sent();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].data == whole);
}

TEST_CASE("Congestion marked on one fragment is marked on the packet") {
  const auto marked = [](const Octets& packet, std::uint8_t mark) {
    Octets out = packet;
    out[1] = mark;
    fix_ipv4_checksum(out);
    return out;
  };
  const Octets whole = marked(esp_of(100), 2);
  for (std::size_t which = 0; which < 3; which++) {
    Desk desk;
    std::vector<Octets> fragments = fragments_of(whole, 40);
    fragments[which] = marked(fragments[which], 3);
    raise(desk, fragments);
    const auto sent = desk.sent();
    REQUIRE(sent.size() == 1);
    CHECK(sent[0].data == marked(whole, 3));
  }
}

TEST_CASE("A packet's protocol, source and identification tell it from others") {
  Desk desk;
  const std::vector<Octets> packets{esp_of(100), esp_of(100, kPeer, 2), esp_of(100, "192.0.2.3"),
                                    udp_of(4500, filling(92))};
  for (std::size_t i = 0; i < 3; i++)
    for (const Octets& whole : packets) raise(desk, {fragments_of(whole, 40)[i]});
  CHECK(desk.sent().size() == 4);
  CHECK(desk.all_drops() == 0);
}

TEST_CASE("IKE reaches the control process in fragments, too, up to its largest message") {
  for (const std::size_t size : {40U, 1600U, 4000U, 8192U}) {
    for (const unsigned port : {500U, 4500U}) {
      Desk desk;
      CAPTURE(size, port);
      const Octets message = ike_of(size);
      const Octets whole = udp_of(port, (port == 4500 ? Octets(4) : Octets{}) + message);
      for (const Octets& fragment : reversed(fragments_of(whole, size < 100 ? 8 : 1480)))
        (void)desk.pass(kWan, {ethernet(desk.tables.ports[kWan].mac, 0x0800, fragment)});
      REQUIRE(desk.control.datagrams.size() == 1);
      const channel::IkeDatagram& got = desk.control.datagrams[0];
      CHECK(Octets(got.bytes.begin(), got.bytes.begin() + got.length) == message);
      CHECK(to_string(got.remote) == kPeer);
      CHECK(got.local_port == port);
      CHECK(desk.buffers_out() == 0);
    }
  }
  Desk desk;
  for (const Octets& fragment : fragments_of(udp_of(500, ike_of(9000)), 1480))
    (void)desk.pass(kWan, {ethernet(desk.tables.ports[kWan].mac, 0x0800, fragment)});
  CHECK(desk.control.datagrams.empty());
  CHECK(desk.drops(DropReason::ike_malformed) == 1);
  CHECK(desk.buffers_out() == 0);
}

TEST_CASE("A message that scapy cut is the one that it left whole") {
  Desk desk;
  std::vector<Octets> fragments;
  for (int i = 0; i < 3; i++) {
    Octets fragment = packet("ike_out_piece_" + std::to_string(i));  // from us to a peer: the other way round
    std::swap_ranges(fragment.begin() + 12, fragment.begin() + 16, fragment.begin() + 16);
    fragments.push_back(fragment);
  }
  for (const Octets& fragment : fragments)
    (void)desk.pass(kWan, {ethernet(desk.tables.ports[kWan].mac, 0x0800, fragment)});
  REQUIRE(desk.control.datagrams.size() == 1);
  const channel::IkeDatagram& got = desk.control.datagrams[0];
  CHECK(Octets(got.bytes.begin(), got.bytes.begin() + got.length) == packet("ike_4000"));
}

TEST_CASE("ESP that fits a buffer is taken, however far from its buffer's start the first fragment begins") {
  Desk desk;
  const std::vector<Octets> fragments = fragments_of(esp_of(2000), 1024);
  for (const Octets& fragment : fragments) {
    rte_mbuf* const mbuf = desk.make(fragment);
    std::memmove(rte_pktmbuf_mtod_offset(mbuf, std::uint8_t*, 256), rte_pktmbuf_mtod(mbuf, void*),
                 fragment.size());
    mbuf->data_off = static_cast<std::uint16_t>(mbuf->data_off + 256);
    dataplane::note_of(mbuf) = {static_cast<std::uint8_t>(Exception::to_host),
                                kWan,
                                0,
                                dataplane::Note::kNoTunnel,
                                dataplane::NextHop{},
                                DropReason::no_route};
    desk.slow_path.handle(mbuf, desk.now);
  }
  const auto sent = desk.sent();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].errand == Errand::decrypt);
  CHECK(sent[0].data == esp_of(2000));
  CHECK(desk.all_drops() == 0);
  CHECK(desk.buffers_out() == 0);
}

TEST_CASE("ESP that is larger than a buffer when it is whole is dropped by name") {
  Desk desk;
  raise(desk, fragments_of(esp_of(2048 + 1), 1024));
  CHECK(desk.drops(DropReason::reassembly_too_big) == 1);
  CHECK(desk.all_drops() == 1);
  CHECK(desk.buffers_out() == 0);
  raise(desk, fragments_of(esp_of(2048 - 20), 1024));
  CHECK(desk.sent().size() == 1);
}

TEST_CASE("A packet of which a fragment is lost ends after its time, and the next one does not meet it") {
  for (std::size_t lost = 0; lost < 3; lost++) {
    Desk desk;
    std::vector<Octets> fragments = fragments_of(esp_of(100), 40);
    fragments.erase(fragments.begin() + static_cast<std::ptrdiff_t>(lost));
    raise(desk, fragments);
    desk.slow_path.advance(desk.now + kTimeout);
    CHECK(desk.all_drops() == 0);
    CHECK(desk.slow_path.reassembly().waiting() == 2);
    desk.now += kTimeout + 1;
    raise(desk, fragments_of(esp_of(100), 40));  // before the main thread has come round
    CHECK(desk.drops(DropReason::reassembly_timeout) == 2);
    CHECK(desk.sent().size() == 1);
    check_empty(desk);
    CHECK(desk.all_drops() == 2);
  }
}

TEST_CASE("The time runs from a packet's first fragment") {
  Desk desk;
  const std::vector<Octets> fragments = fragments_of(esp_of(100), 40);
  raise(desk, {fragments[1]});
  desk.now += kTimeout - 1;
  raise(desk, {fragments[2]});
  desk.slow_path.advance(desk.now += 2);
  CHECK(desk.drops(DropReason::reassembly_timeout) == 2);
  CHECK(desk.buffers_out() == 0);
}

TEST_CASE("Fragments that make no packet go with all of their packet, by name") {
  const std::vector<Octets> good = fragments_of(esp_of(100), 40);
  Desk desk;
  const auto refused = [&](std::vector<Octets> fragments) {
    raise(desk, fragments);
    CHECK(desk.drops(DropReason::reassembly_malformed) == fragments.size());
    CHECK(desk.all_drops() == fragments.size());
    CHECK(desk.sent().empty());
    CHECK(desk.slow_path.reassembly().waiting() == 0);
    CHECK(desk.buffers_out() == 0);
  };
  const Octets whole = esp_of(100);
  SECTION("the first twice") { refused({good[0], good[0]}); }
  SECTION("the last twice") { refused({good[2], good[2]}); }
  SECTION("one between twice") { refused({good[0], good[1], good[1], good[2]}); }
  SECTION("overlapping") { refused({good[0], fragment_of(whole, 32, 80), good[2]}); }
  SECTION("overlapping, with a hole that makes up for it") {
    refused({fragment_of(whole, 0, 40), fragment_of(whole, 32, 72), fragment_of(whole, 80, 100)});
  }
  SECTION("overlapping in front of a part that fits") {
    refused({fragment_of(whole, 0, 24), fragment_of(whole, 16, 40), fragment_of(whole, 48, 80),
             fragment_of(whole, 80, 100)});
  }
  SECTION("beyond the last") {
    refused({fragment_of(whole, 40, 80), fragment_of(slice(whole, 0, 60), 32, 40)});
  }
  SECTION("more than eight") {
    std::vector<Octets> many = fragments_of(esp_of(200), 16);
    std::rotate(many.begin(), many.begin() + 1, many.end());  // the first comes last, to tell it in time
    many.resize(Reassembly::kFragments - 1);                  // seven between are one too many
    refused(many);
  }
}

TEST_CASE("A fragment that no packet can have is dropped by itself") {
  const auto fragment = [](unsigned field, std::size_t size) {
    return ipv4_packet({.source = kPeer, .destination = "192.0.2.1", .protocol = 50, .fragment = field},
                       filling(size));
  };
  Desk desk;
  SECTION("one before the last, of no multiple of 8 bytes") { raise(desk, {fragment(0x2000, 65)}); }
  SECTION("tiny, before the last") { raise(desk, {fragment(0x2001, 1)}); }
  SECTION("empty") { raise(desk, {fragment(0x2001, 0)}); }
  SECTION("the last, empty") { raise(desk, {fragment(0x0002, 0)}); }
  SECTION("beyond 65535 bytes") { raise(desk, {fragment(0x1fff, 100)}); }
  SECTION("beyond 65535 bytes with the first one's options") { raise(desk, {fragment(0x1ff0, 100)}); }
  CHECK(desk.drops(DropReason::reassembly_malformed) == 1);
  CHECK(desk.all_drops() == 1);
  CHECK(desk.buffers_out() == 0);
}

TEST_CASE("Whose first fragments only come has no more than a share, and peers have theirs") {
  Desk desk;
  const unsigned room = desk.slow_path.reassembly().room();
  REQUIRE(room == 2047 / Reassembly::kPartOfBuffers);
  const auto flood = [&](unsigned source, unsigned count) {
    for (unsigned id = 0; id < count; id++)
      raise(desk, {fragment_of(esp_of(100, "203.0.113." + std::to_string(source), id), 0, 40)});
  };
  flood(1, 200);
  const unsigned share = room / Reassembly::kPartOfSource;
  CHECK(desk.slow_path.reassembly().waiting() == share);
  CHECK(desk.drops(DropReason::reassembly_full) == 200 - share);
  for (unsigned source = 2; source < 100; source++) flood(source, 10);
  CHECK(desk.slow_path.reassembly().waiting() == room / Reassembly::kPartOfStrangers);
  const std::vector<Octets> fragments = fragments_of(esp_of(100), 40);
  raise(desk, fragments);
  CHECK(desk.sent().empty());
  desk.peers.add(kMainTable, *parse_address(kPeer));
  raise(desk, fragments);
  CHECK(desk.sent().size() == 1);
  for (unsigned source = 1; source < 100; source++) {
    desk.peers.add(kMainTable, *parse_address("203.0.113." + std::to_string(source)));
    flood(source, 30);
  }
  CHECK(desk.slow_path.reassembly().waiting() <= room);
  CHECK(desk.slow_path.reassembly().waiting() > room * 9 / 10);  // but for full buckets
  check_empty(desk);
  raise(desk, fragments);
  CHECK(desk.sent().size() == 1);
}

// The library's hash (of addresses and identification, with a known seed) has two buckets of eight for a
// packet.
TEST_CASE("Who fills a packet's places in the table keeps that packet out, by name, and no other") {
  Desk desk;
  const auto places = [](const Octets& ip) {
    std::uint32_t words[3] = {};
    std::memcpy(words, ip.data() + 12, 8);
    std::memcpy(words + 2, ip.data() + 4, 2);
    std::uint32_t hash = 0xeaad8405;
    for (const std::uint32_t word : words) hash = rte_hash_crc_4byte(word, hash);
    constexpr std::uint32_t kMask = 512 - 8;
    return std::pair(hash & kMask, ((hash << 7) + (hash >> 14)) & kMask);
  };
  const Octets wanted = esp_of(100);
  unsigned taken = 0;
  for (unsigned i = 0; i < 0x40000 && taken < 16; i++) {
    const Octets rival = esp_of(100, "203.0.113." + std::to_string(i >> 16), i & 0xffff);
    if (places(rival) != places(wanted)) continue;
    raise(desk, {fragment_of(rival, 0, 40)});
    taken++;
  }
  REQUIRE(desk.slow_path.reassembly().waiting() == 16);
  raise(desk, fragments_of(wanted, 40));
  CHECK(desk.drops(DropReason::reassembly_full) == 3);
  CHECK(desk.all_drops() == 3);
  raise(desk, fragments_of(esp_of(100, "192.0.2.3"), 40));
  CHECK(desk.sent().size() == 1);
  check_empty(desk);
}

TEST_CASE("Only ESP and UDP from a port are put together") {
  Desk desk;
  const std::vector<Octets> fragments = fragments_of(esp_of(100), 40);
  for (const Octets& fragment : fragments)
    desk.raise(Exception::to_host, fragment, dataplane::Note::kNoPort, DropReason{}, 0, 0);
  CHECK(desk.drops(DropReason::host_fragment) == 3);
  raise(desk, fragments_of(with_id(packet("echo4"), 5), 16));
  CHECK(desk.drops(DropReason::host_fragment) == desk.all_drops());
  CHECK(desk.buffers_out() == 0);
}

TEST_CASE("What only passes through stays in its fragments") {
  Desk desk;
  desk.know(kLan, "10.1.0.2", Octets{2, 0, 0, 0, 0x99, 3});
  (void)desk.sent();
  const Octets whole =
      ipv4_packet({.source = kPeer, .destination = "10.1.0.2", .protocol = 50}, filling(100));
  const std::vector<Octets> fragments = fragments_of(whole, 40);
  for (const Octets& fragment : fragments) {
    const Output out = desk.pass(kWan, {ethernet(desk.tables.ports[kWan].mac, 0x0800, fragment)});
    REQUIRE(out.frames[kLan].size() == 1);
    CHECK(slice(out.frames[kLan][0], 34) == slice(fragment, 20));
  }
  CHECK(desk.slow_path.reassembly().waiting() == 0);
}

TEST_CASE("A full inbox or IKE ring has its name for reassembled packets, too") {
  Desk desk;
  const auto fill = [&](rte_ring* ring) {
    while (rte_ring_free_count(ring) != 0) rte_ring_enqueue(ring, desk.make({}));
  };
  fill(desk.workers[0]->inbox);
  raise(desk, fragments_of(esp_of(100), 40));
  CHECK(desk.drops(DropReason::inject_full) == 1);
  (void)desk.sent();
  fill(desk.workers[0]->ike);
  raise(desk, fragments_of(udp_of(500, ike_of(100)), 40));
  CHECK(desk.drops(DropReason::ike_ring_full) == 1);
  (void)for_ike(desk);
  CHECK(desk.buffers_out() == 0);
}

// IPv6, as scapy cuts it (RFC 8200 section 4.5).

namespace {

std::vector<Octets> scapys6(const std::string& name, std::size_t count) {
  std::vector<Octets> out;
  for (std::size_t i = 0; i < count; i++) out.push_back(packet("six_" + name + "_" + std::to_string(i)));
  return out;
}

// The fragment of an IPv6 packet with payload bytes `from` to `to`.
Octets fragment6_of(const Octets& ip, std::size_t from, std::size_t to) {
  Octets header(8);
  header[0] = ip[6];
  put16(header, 2, static_cast<unsigned>(from) | (40 + to == ip.size() ? 0U : 1U));
  put32(header, 4, 77);
  Octets out = slice(ip, 0, 40) + header + slice(ip, 40 + from, to - from);
  out[6] = 44;
  put16(out, 4, static_cast<unsigned>(out.size() - 40));
  return out;
}

std::vector<Octets> with_source6(std::vector<Octets> all, const std::string& source) {
  const Octets bytes = v6_bytes(source);
  for (Octets& ip : all) std::copy(bytes.begin(), bytes.end(), ip.begin() + 8);
  return all;
}

}  // namespace

TEST_CASE("Over IPv6, what scapy cut is what scapy left whole") {
  for (const bool backwards : {false, true}) {
    for (const char* name : {"esp", "esp_udp"}) {
      Desk desk;
      CAPTURE(name, backwards);
      const std::vector<Octets> fragments = scapys6(name, 2);
      raise(desk, backwards ? reversed(fragments) : fragments);
      const auto sent = desk.sent();
      REQUIRE(sent.size() == 1);
      CHECK(sent[0].errand == Errand::decrypt);
      CHECK(hex(sent[0].data) == hex(packet(std::string("six_") + name)));
      CHECK(desk.all_drops() == 0);
      check_empty(desk);
    }
    for (const char* name : {"ike", "ike_4500"}) {
      Desk desk;
      CAPTURE(name, backwards);
      const std::vector<Octets> fragments = scapys6(name, 4);
      raise(desk, backwards ? reversed(fragments) : fragments);
      CHECK(in_no_order(for_ike(desk)) == in_no_order({packet(std::string("six_") + name)}));
      CHECK(desk.all_drops() == 0);
      check_empty(desk);
    }
  }
}

TEST_CASE("An IPv6 fragment that is a whole packet meets no others (RFC 6946)") {
  Desk desk;
  const Octets& whole = packet("six_esp");
  raise(desk, {fragment6_of(whole, 0, 800)});
  Octets alone = packet("six_atomic");
  put32(alone, 44, 77);  // of the same identification
  raise(desk, {alone});
  auto sent = desk.sent();
  REQUIRE(sent.size() == 1);
  CHECK(hex(sent[0].data) == hex(packet("six_atomic_whole")));
  raise(desk, {fragment6_of(whole, 800, whole.size() - 40)});
  sent = desk.sent();
  REQUIRE(sent.size() == 1);
  CHECK(hex(sent[0].data) == hex(whole));
  CHECK(desk.all_drops() == 0);
  check_empty(desk);
}

TEST_CASE("IPv6 fragments that overlap go with all of their packet (RFC 5722)") {
  Desk desk;
  const Octets& whole = packet("six_esp");
  const std::size_t end = whole.size() - 40;
  raise(desk, {fragment6_of(whole, 0, 800), fragment6_of(whole, 792, 1600), fragment6_of(whole, 1600, end)});
  CHECK(desk.drops(DropReason::reassembly_malformed) == desk.all_drops());
  CHECK(desk.all_drops() == 3);
  CHECK(desk.sent().empty());
  check_empty(desk);
}

TEST_CASE("An IPv6 fragment that no packet can have, or that is for nobody, is dropped by itself") {
  Desk desk;
  const Octets& whole = packet("six_esp");
  const auto changed = [&](std::size_t at, unsigned value, std::size_t to = 800) {
    Octets out = fragment6_of(whole, 0, to);
    put16(out, at, value);
    return out;
  };
  DropReason reason = DropReason::reassembly_malformed;
  SECTION("one before the last, of no multiple of 8 bytes") { raise(desk, {fragment6_of(whole, 0, 801)}); }
  SECTION("empty") { raise(desk, {fragment6_of(whole, 800, 800)}); }
  SECTION("beyond 65535 bytes") { raise(desk, {changed(42, 0xfff9)}); }
  SECTION("neither ESP nor UDP") {
    reason = DropReason::host_fragment;
    raise(desk, {packet("six_tcp")});
  }
  SECTION("behind other extension headers") {
    reason = DropReason::host_fragment;
    raise(desk, {packet("six_options")});
  }
  SECTION("out of a tunnel") {
    reason = DropReason::host_fragment;
    desk.raise(Exception::to_host, fragment6_of(whole, 0, 800), dataplane::Note::kNoPort, DropReason{}, 0, 0);
  }
  CHECK(desk.drops(reason) == 1);
  CHECK(desk.all_drops() == 1);
  CHECK(desk.buffers_out() == 0);
}

TEST_CASE("Congestion marked on one IPv6 fragment is marked on the packet") {
  for (std::size_t which = 0; which < 2; which++) {
    Desk desk;
    std::vector<Octets> fragments = scapys6("esp", 2);
    for (Octets& ip : fragments) ip[1] |= 0x20;  // ECT(0)
    fragments[which][1] |= 0x30;
    raise(desk, fragments);
    const auto sent = desk.sent();
    REQUIRE(sent.size() == 1);
    CHECK((sent[0].data[1] & 0x30) == 0x30);
  }
}

TEST_CASE("An IPv6 source has its share, which is that of its /64, and its time") {
  Desk desk;
  const unsigned share = desk.slow_path.reassembly().room() / Reassembly::kPartOfSource;
  const Octets first = fragment6_of(packet("six_esp"), 0, 800);
  for (unsigned id = 0; id < 200; id++) {
    Octets one = with_source6({first}, "2001:db8:5::" + std::to_string(id % 7))[0];
    put32(one, 44, id);
    raise(desk, {one});
  }
  CHECK(desk.slow_path.reassembly().waiting() == share);
  CHECK(desk.drops(DropReason::reassembly_full) == 200 - share);
  check_empty(desk);
  CHECK(desk.drops(DropReason::reassembly_timeout) == share);
}
