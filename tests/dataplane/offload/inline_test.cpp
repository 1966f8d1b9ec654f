// ESP by the port's card (inline crypto), against a modelled card that checks every call and works with
// OpenSSL.
#include "tests/dataplane/offload/line.hpp"

namespace espgate::test {
namespace {

using channel::CommandKind;
using channel::CommandStatus;
using crypto::EspSuite;

void require_nothing_wrong(Line& line) {
  CHECK(line.card.faults == std::vector<std::string>{});
  CHECK(line.dropped() == 0);
}

}  // namespace

TEST_CASE("What the card can do goes through it, both ways, raw and in UDP; the rest stays with software") {
  struct Row {
    EspSuite suite;
    bool out, in;
  };
  const Row rows[] = {{EspSuite::aes128_gcm16, true, true},       {EspSuite::aes256_gcm16, true, true},
                      {EspSuite::chacha20_poly1305, true, true},  {EspSuite::aes192_gmac, true, true},
                      {EspSuite::aes128_cbc_sha256, false, true},  // software makes IVs that nobody foresees
                      {EspSuite::aes192_gcm16, false, false},      // no such key length,
                      {EspSuite::aes128_gcm8, false, false},       // no such ICV,
                      {EspSuite::aes128_cbc_sha1, false, false},   // no such HMAC,
                      {EspSuite::aes128_ccm16, false, false},      // no such mode
                      {EspSuite::null_sha256, false, false}};
  for (const Row& row : rows)
    for (const bool udp : {false, true})
      for (const bool needs_metadata : {true, false}) {
        CAPTURE(crypto::find_suite(row.suite)->name, udp, needs_metadata);
        Line line(row.suite, udp);
        line.card.needs_metadata = needs_metadata;
        line.offer_card();
        line.install();
        CHECK(line.card.sessions() == (row.out ? 1U : 0U) + (row.in ? 1U : 0U));
        CHECK(line.desk.offload.sessions() == line.card.sessions());
        for (unsigned i = 0; i < 10; ++i) line.traffic(32);
        CHECK(line.card.sealed == (row.out ? 320 : 0));
        CHECK(line.card.opened == (row.in ? 320 : 0));
        CHECK(line.tx_ipsec() == line.card.sealed);
        CHECK(line.rx_ipsec() == line.card.opened);
        line.desk.associations.snapshot(line.desk.control, line.desk.now);
        CHECK(line.desk.page.outbound(0)[0].by_card == line.card.sealed);
        CHECK(line.desk.page.inbound(0)[Line::kInSpi].by_card == line.card.opened);
        CHECK(line.desk.page.tunnels()[0].tx_ipsec == line.card.sealed);
        CHECK(line.desk.page.tunnels()[0].rx_ipsec == line.card.opened);
        require_nothing_wrong(line);
      }
}

TEST_CASE("A card without ESP in UDP does raw ESP only") {
  for (const bool udp : {false, true}) {
    Line line(EspSuite::aes128_gcm16, udp);
    line.card.udp = false;
    line.offer_card();
    line.install();
    line.traffic();
    CHECK(line.card.sessions() == (udp ? 0 : 2));
    require_nothing_wrong(line);
  }
}

TEST_CASE("ESN is not for cards") {
  Line line;
  line.offer_card();
  channel::Command in = line.prepared(install_inbound(0, Line::kInSpi));
  in.body.install_sa.esn = 1;
  CHECK(line.desk.run(in) == CommandStatus::ok);
  channel::Command out = line.prepared(install_outbound(0, Line::kOutSpi));
  out.body.install_sa.esn = 1;
  CHECK(line.desk.run(out) == CommandStatus::ok);
  CHECK(line.card.sessions() == 0);
}

// Each failure begins, or ends, in the middle of traffic. `card`: a card still does some of it meanwhile.
TEST_CASE("Whatever a card refuses or loses, every packet comes out once, and the SA returns to the card") {
  struct Row {
    const char* name;
    void (*begin)(Line&);
    void (*end)(Line&);
    bool from_start;  // before the SAs are installed
  };
  const Row rows[] = {
      {"a table without room", [](Line& l) { l.card.capacity = 0; }, [](Line& l) { l.card.capacity = 64; },
       true},
      {"a table with room for one", [](Line& l) { l.card.capacity = 1; },
       [](Line& l) { l.card.capacity = 64; }, true},
      {"no rules", [](Line& l) { l.card.takes_rules = false; }, [](Line& l) { l.card.takes_rules = true; },
       true},
      {"a reset", [](Line& l) { l.card.reset(); }, [](Line&) {}, false},
      {"a reset, and no room after it", [](Line& l) { l.card.reset(), l.card.capacity = 0; },
       [](Line& l) { l.card.capacity = 64; }, false},
      {"metadata refused once", [](Line& l) { l.card.fail_metadata = 1; }, [](Line&) {}, false},
      {"metadata refused for long", [](Line& l) { l.card.fail_metadata = 1000; },
       [](Line& l) { l.card.fail_metadata = 0; }, false},
      {"the port down", [](Line& l) { l.desk.offload.port_went(kWan, false); },
       [](Line& l) { l.desk.offload.port_went(kWan, true); }, false},
      {"rules that stay",
       [](Line& l) { l.card.destroys_rules = false, l.desk.offload.port_went(kWan, false); },
       [](Line& l) { l.card.destroys_rules = true, l.desk.offload.port_went(kWan, true); }, false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    Line line;
    line.offer_card();
    if (row.from_start) row.begin(line);
    line.install();
    line.traffic(32);
    if (!row.from_start) row.begin(line);
    const std::uint64_t by_card = line.card.sealed + line.card.opened;
    for (unsigned i = 0; i < 20; ++i) {
      line.traffic(16);
      line.wait(0.25);
    }
    const std::uint64_t meanwhile = line.card.sealed + line.card.opened - by_card;
    CHECK(meanwhile < 20 * 32);
    row.end(line);
    for (unsigned i = 0; i < 4 * 64; ++i) {
      line.wait(0.25);
      line.traffic(4);
    }
    const std::uint64_t before = line.card.sealed + line.card.opened;
    line.traffic(32);
    CHECK(line.card.sealed + line.card.opened == before + 64);
    CHECK(line.card.sessions() == 2);
    CHECK(line.card.rules() == 1);
    CHECK(line.tx_ipsec() == line.card.sealed);
    require_nothing_wrong(line);
  }
}

TEST_CASE("An SA leaves the card with the route to its far end, and comes back with it") {
  Line line;
  line.offer_card();
  line.install();
  line.traffic();
  for (unsigned i = 0; i < 5; ++i) {
    const std::uint64_t sealed = line.card.sealed;
    REQUIRE(line.desk.run(set_route("192.0.2.2/32", channel::RouteKind::gateway, 0, "10.1.0.9")) ==
            CommandStatus::ok);
    line.send(8, kLan);
    line.receive(8);
    CHECK(line.card.sealed == sealed);
    CHECK(line.card.sessions() == 2);  // what may still lie in the port's queue is sealed
    line.wait(0.25);
    CHECK(line.card.sessions() == 2);
    line.wait(0.5);
    CHECK(line.card.sessions() == 1);
    channel::Command back = command(CommandKind::remove_route);
    back.body.remove_route.destination = *parse_prefix("192.0.2.2/32");
    REQUIRE(line.desk.run(back) == CommandStatus::ok);
    line.traffic();
    CHECK(line.card.sealed == sealed + 8);
  }
  require_nothing_wrong(line);
}

TEST_CASE("An SA whose peer moves is in the card where that knows ESP in UDP by its port") {
  Line line(EspSuite::aes128_gcm16, true);
  line.offer_card();
  line.install();
  line.traffic();
  line.desk.know(kWan, "192.0.2.3", {2, 0, 0, 0, 9, 3});
  const auto sealed_at = [&line](std::string_view address, std::uint16_t port) {
    channel::Command move = command(CommandKind::move_outbound_sa);
    move.body.move_sa = {0, Line::kOutSpi, *parse_address(address), port};
    REQUIRE(line.desk.run(move) == CommandStatus::ok);
    line.pump();
    const std::uint64_t before = line.card.sealed;
    line.send(8);
    return line.card.sealed - before;
  };
  CHECK(sealed_at("192.0.2.3", 4500) == 8);
  CHECK(sealed_at("192.0.2.3", 31000) == 0);
  line.wait(2);
  CHECK(line.card.sessions() == 1);  // the inbound one; of the others none is left behind
  CHECK(sealed_at("192.0.2.2", 4500) == 8);
  CHECK(line.card.sessions() == 2);
  require_nothing_wrong(line);
}

TEST_CASE("What is given to a card and then does not leave at once is sealed by software") {
  SECTION("the next hop has to be resolved") {
    Line line;
    line.offer_card();
    line.install();
    line.traffic();
    const std::uint8_t none[6]{};
    dataplane::Neighbours& neighbours = line.desk.tables.neighbours;
    const dataplane::NeighbourId id = neighbours.find(kWan, *parse_address("192.0.2.2"));
    neighbours.set_link(id, dataplane::NeighbourState::incomplete, none);
    const Octets inner = ipv4_packet({}, udp(1, 2, filling(99)));
    line.put(line.lan, line.frame_to(kLan, inner));
    line.pump();
    const std::uint64_t sealed = line.card.sealed;
    line.desk.know(kWan, "192.0.2.2", {2, 0, 0, 0, 9, 2});
    line.pump();
    const std::vector<Octets> frames = Line::packets_of(line.wan);
    REQUIRE(frames.size() == 1);
    line.check_sent(frames[0], inner);
    CHECK(line.card.sealed == sealed);
    CHECK(line.tx_ipsec() == sealed);
    line.traffic();
    require_nothing_wrong(line);
  }
  SECTION("it is larger than the port's MTU") {
    Line line;
    line.offer_card();
    line.install();
    line.desk.tables.ports[kWan].mtu = 600;
    const Octets inner = ipv4_packet({}, udp(1, 2, filling(1200)));
    line.put(line.lan, line.frame_to(kLan, inner));
    line.pump();
    const std::vector<Octets> frames = line.wan.take();
    REQUIRE(frames.size() == 3);
    Octets whole = slice(frames[0], 0, 34);
    for (const Octets& frame : frames) whole = whole + slice(frame, 34, get16(frame, 16) - 20);
    put16(whole, 16, static_cast<unsigned>(whole.size() - 14));
    put16(whole, 20, 0);
    Octets ip = slice(whole, 14);
    fix_ipv4_checksum(ip);
    line.check_sent(slice(whole, 0, 14) + ip, inner);
    CHECK(line.card.sealed == 0);
    CHECK(line.tx_ipsec() == 0);
    require_nothing_wrong(line);
  }
  SECTION("its tunnel has it cut once it is sealed, and those before and behind it are the card's") {
    Line line;
    line.offer_card();
    line.install();
    line.desk.tables.tunnels[0].fit = dataplane::Fit{1400, false, false, 9000, 1500};
    std::vector<Octets> inner;
    for (const std::size_t size : {100U, 1472U, 200U, 1450U}) {
      inner.push_back(ipv4_packet({}, udp(1, 2, filling(size - 8))));
      line.put(line.lan, line.frame_to(kLan, inner.back()));
    }
    line.pump();
    const std::vector<Octets> frames = line.wan.take();
    REQUIRE(frames.size() == 6);
    const auto joined = [&frames](std::size_t at) {
      Octets whole = frames[at] + slice(frames[at + 1], 34);
      put16(whole, 16, static_cast<unsigned>(whole.size() - 14));
      put16(whole, 20, 0);
      Octets ip = slice(whole, 14);
      fix_ipv4_checksum(ip);
      return slice(whole, 0, 14) + ip;
    };
    line.check_sent(frames[0], inner[0]);
    line.check_sent(joined(1), inner[1]);
    line.check_sent(frames[3], inner[2]);
    line.check_sent(joined(4), inner[3]);
    CHECK(line.card.sealed == 2);
    CHECK(line.tx_ipsec() == 2);
    require_nothing_wrong(line);
  }
  SECTION("another worker has the port's queue") {
    Line line;
    line.offer_card();
    line.install();
    line.desk.workers[0]->transmit_queues[kWan] = {0, 1};
    line.put(line.lan, line.frame_to(kLan, ipv4_packet({}, udp(1, 2, filling(9)))));
    std::vector<dataplane::Worker*> two{line.desk.workers[0], line.desk.workers[0]};
    line.desk.workers[0]->workers = &two;  // the other one, for once
    poll_once(*line.desk.workers[0]);
    line.desk.workers[0]->transmit_queues[kWan] = {0, 0};
    line.desk.workers[0]->workers = &line.desk.workers;
    line.pump();
    REQUIRE(line.wan.take().size() == 1);
    CHECK(line.card.sealed == 0);
    require_nothing_wrong(line);
  }
}

TEST_CASE("Of what the card opened, forged and replayed packets are dropped as software's are") {
  Line line;
  line.offer_card();
  line.install();
  const Octets inner = ipv4_packet({.source = "10.2.0.2", .destination = "10.1.0.2"}, udp(1, 2, filling(40)));
  const auto arrive = [&](std::uint32_t sequence, bool forged) {
    Octets ip = line.sealed_by_far(sequence, inner);
    if (forged) ip.back() ^= 1;
    line.put(line.wan, line.frame_to(kWan, ip));
  };
  arrive(1, true);
  arrive(1, false);
  arrive(1, false);
  arrive(2, false);
  arrive(2, true);
  line.pump();
  CHECK(line.lan.take().size() == 2);
  CHECK(line.card.opened == 3);
  CHECK(line.card.forged == 2);
  const auto& drops = line.desk.page.worker(0).drops;
  CHECK(drops[static_cast<std::size_t>(DropReason::integrity)] == 2);
  CHECK(drops[static_cast<std::size_t>(DropReason::replay_duplicate)] == 1);
  CHECK(line.rx_ipsec() == 5);
  CHECK(line.dropped() == 3);
  CHECK(line.card.faults.empty());
}

TEST_CASE("A mark is believed of no port but that of the SA's card") {
  Line line;
  line.offer_card();
  line.install();
  const Octets inner = ipv4_packet({.source = "10.2.0.2", .destination = "10.1.0.2"}, udp(1, 2, filling(40)));
  Octets ip = line.sealed_by_far(1, inner);
  // In clear, as if a card had opened it.
  const Octets text = *oracle_open(line.far, slice(ip, 20));
  std::copy(text.begin(), text.end(), ip.begin() + 20);
  rte_mbuf* const mbuf = line.desk.make(line.frame_to(kLan, ip));
  mbuf->ol_flags |= RTE_MBUF_F_RX_SEC_OFFLOAD;
  REQUIRE(rte_ring_enqueue(line.lan.rx[0], mbuf) == 0);
  line.pump();
  CHECK(line.lan.take().empty());
  CHECK(line.desk.page.worker(0).drops[static_cast<std::size_t>(DropReason::integrity)] == 1);
}

TEST_CASE("An SA that is removed leaves the card; so do all when the gateway ends") {
  Line line;
  line.offer_card(std::uint16_t{0});
  line.card.names_queue = true;
  for (unsigned i = 0; i < 70; ++i) {
    line.install();
    line.desk.tables.rcu.wait();
    CHECK(line.card.rules() == 1);
    REQUIRE(line.desk.run(remove_sa(CommandKind::remove_inbound_sa, 0, Line::kInSpi)) == CommandStatus::ok);
    REQUIRE(line.desk.run(remove_sa(CommandKind::remove_outbound_sa, 0, Line::kOutSpi)) == CommandStatus::ok);
    CHECK(line.card.rules() == 0);
    line.wait(i % 3 == 0 ? 0 : 1);
  }
  line.wait(1);
  CHECK(line.card.sessions() == 0);
  CHECK(line.desk.offload.sessions() == 0);
  line.install();
  line.traffic();  // sequence numbers start anew in both
  CHECK(line.card.sessions() == 2);
  CHECK(line.card.faults == std::vector<std::string>{});
}

}  // namespace espgate::test
