// Crypto devices that refuse, fail, answer out of order, or not at all. What comes out is in order and right
// all the while; what does not is counted by its name.
#include <unistd.h>

#include "tests/dataplane/offload/lookaside_line.hpp"

namespace espgate::test {
namespace {

using channel::CommandKind;
using channel::CommandStatus;
using crypto::EspSuite;
using dataplane::Flights;

constexpr auto kAesniMb = "crypto_aesni_mb0";

bool is_erased(const crypto::SaKey& key) {
  return std::all_of(std::begin(key.storage), std::end(key.storage),
                     [](std::byte byte) { return byte == std::byte{0}; });
}

}  // namespace

TEST_CASE("A device may answer in any order") {
  LookasideLine line({kAesniMb});
  line.install();
  Between between(line.device().link().id);
  between.backwards = true;
  for (unsigned i = 0; i < 4; ++i) line.traffic(60);
  CHECK(line.counters().sealed == 240);
  CHECK(line.dropped() == 0);
}

TEST_CASE("What is cut behind encryption keeps its place among what is not") {
  LookasideLine line({kAesniMb});
  channel::Command tunnel = set_tunnel(0);
  tunnel.body.set_tunnel.cut_after = 1;
  REQUIRE(line.desk.run(tunnel) == CommandStatus::ok);
  line.install();
  Between between(line.device().link().id);
  between.most = 0;
  for (unsigned i = 0; i < 12; ++i) {
    line.put(line.lan, line.frame_to(kLan, ipv4_packet({}, udp(1, 2, filling(i % 3 == 0 ? 1460 : 60)))));
    line.pump();
  }
  between.most = ~0U;
  line.pump();
  std::vector<unsigned> numbers;  // of the outer packets: the sequence numbers
  for (const Octets& frame : Line::packets_of(line.wan)) numbers.push_back(get16(frame, 18));
  CHECK(numbers == std::vector<unsigned>{1, 1, 2, 3, 4, 4, 5, 6, 7, 7, 8, 9, 10, 10, 11, 12});
  CHECK(line.counters().sealed == 12);
  CHECK(line.outbound().cut_after == 4);
  CHECK(line.dropped() == 0);
}

TEST_CASE("Where a device has no room for a session, software does the SA, until there is room") {
  LookasideLine line({kAesniMb}, EspSuite::aes128_gcm16, false, 1);
  line.install();
  CHECK(line.device().sessions() == 1);
  line.traffic(32);
  CHECK(line.counters().sealed == 32);
  CHECK(line.counters().opened == 0);
  REQUIRE(line.desk.run(remove_sa(CommandKind::remove_outbound_sa, 0, Line::kOutSpi)) == CommandStatus::ok);
  line.wait(3);
  CHECK(line.device().sessions() == 1);
  line.receive(32);
  CHECK(line.counters().opened == 32);
  CHECK(line.dropped() == 0);
}

TEST_CASE("A packet that a device fails to seal is dropped by name; those behind it go by software") {
  LookasideLine line({kAesniMb});
  line.install();
  Between between(line.device().link().id);
  between.fail_at = 5;
  line.check_out_but(5, line.put_inner(32));
  CHECK(line.drops(DropReason::crypto_device_failed) == 1);
  CHECK(line.counters().failed == 1);
  CHECK(line.counters().sealed == 31);
  line.send(16);
  CHECK(line.counters().sealed == 31);
  line.wait(2);
  line.send(16);
  CHECK(line.counters().sealed == 47);
  CHECK(line.device().sessions() == 2);
  CHECK(line.dropped() == 1);
}

TEST_CASE("What software does after a failure waits for what is still with the device") {
  LookasideLine line({kAesniMb});
  line.install();
  Between between(line.device().link().id);
  between.fail_at = 0;
  between.most = 1;
  const std::vector<Octets> first = line.put_inner(16);
  CHECK(line.drops(DropReason::crypto_device_failed) == 1);
  const std::vector<Octets> second = line.put_inner(16);
  CHECK(Line::packets_of(line.wan).empty());
  between.most = ~0U;
  line.pump();
  line.skip(1);
  std::vector<Octets> all(first.begin() + 1, first.end());
  all.insert(all.end(), second.begin(), second.end());
  line.check_out(all);
  CHECK(line.counters().sealed == 15);
}

TEST_CASE("A packet that a device's driver does not take is opened by software, or not sealed at all") {
  for (const std::string name : {kAesniMb, "crypto_openssl0"}) {
    CAPTURE(name);
    LookasideLine line({name}, EspSuite::aes128_cbc_sha256);
    line.install();
    Between between(line.device().link().id);
    between.unknown_at = 3;
    line.receive(16);
    CHECK(line.counters().failed == 1);
    CHECK(line.dropped() == 0);
    between.unknown_at = 3;
    line.check_out_but(3, line.put_inner(16));
    CHECK(line.drops(DropReason::crypto_device_failed) == 1);
    line.wait(2);
    line.traffic(16);
    CHECK(line.dropped() == 1);
  }
}

TEST_CASE("What a device does not take at all, software does after a while, and nothing is lost") {
  LookasideLine line({kAesniMb});
  line.install();
  Between between(line.device().link().id);
  between.takes = false;
  const std::vector<Octets> inner = line.put_inner(40);
  CHECK(Line::packets_of(line.wan).empty());
  usleep(Flights::kPatience / 1000 + 50'000);
  line.pump();
  line.check_out(inner);
  CHECK(line.device().link().given_up);
  line.wait(0.5);
  CHECK(line.outbound().outer.load().card == 0);
  CHECK(line.inbound().card == 0);
  line.traffic(16);
  CHECK(line.counters().sealed == 0);
  CHECK(line.dropped() == 0);
}

TEST_CASE("A full line is a drop by its name, and the rest comes out in order") {
  LookasideLine line({kAesniMb});
  line.install();
  Between between(line.device().link().id);
  between.most = 0;
  std::vector<Octets> inner;
  constexpr unsigned kMore = 32;
  for (unsigned sent = 0; sent < Flights::kLine + kMore; sent += 32)
    for (Octets& packet : line.put_inner(32)) inner.push_back(std::move(packet));
  CHECK(line.drops(DropReason::crypto_device_full) == kMore);
  CHECK_FALSE(line.desk.workers[0]->flights->empty());
  for (unsigned i = 0; i < Flights::kLine; i += 32) {
    between.most = 32;
    line.pump();
    line.check_out({inner.begin() + i, inner.begin() + i + 32});
  }
  line.skip(kMore);
  between.most = ~0U;
  line.traffic(32);
  CHECK(line.dropped() == kMore);
}

TEST_CASE("An SA that is removed while a device has its packets is kept until they are back") {
  for (const bool inbound : {false, true}) {
    CAPTURE(inbound);
    LookasideLine line({kAesniMb});
    line.install();
    dataplane::Worker& worker = *line.desk.workers[0];
    dataplane::Rcu& rcu = line.desk.tables.rcu;
    Between between(line.device().link().id);
    between.most = 0;
    std::vector<Octets> inner;
    if (inbound) {
      const Octets packet = ipv4_packet({.source = "10.2.0.2", .destination = "10.1.0.2"}, line.payload(1));
      for (std::uint32_t i = 1; i <= 8; ++i)
        line.put(line.wan, line.frame_to(kWan, line.sealed_by_far(i, packet)));
      line.pump();
    } else {
      inner = line.put_inner(8);
    }
    rcu.online(0);
    REQUIRE(between.held() == 8);
    REQUIRE(
        line.desk.run(remove_sa(inbound ? CommandKind::remove_inbound_sa : CommandKind::remove_outbound_sa, 0,
                                inbound ? Line::kInSpi : Line::kOutSpi)) == CommandStatus::ok);
    const crypto::SaKey& key = inbound ? line.inbound().key : line.outbound().key;
    for (unsigned i = 0; i < 5; ++i) {
      (void)poll_once(worker);
      worker.flights->be_quiet(rcu, 0);
      rcu.reclaim_ready();
      CHECK_FALSE(is_erased(key));
      CHECK(line.device().sessions() == 2);
    }
    between.most = ~0U;
    (void)poll_once(worker);
    CHECK(worker.flights->empty());
    worker.flights->be_quiet(rcu, 0);
    rcu.reclaim_ready();
    CHECK(is_erased(key));
    CHECK(line.device().sessions() == 1);
    if (inbound)
      CHECK(Line::packets_of(line.lan).size() == 8);
    else
      line.check_out(inner);
    rcu.offline(0);
    CHECK(line.dropped() == 0);
  }
}

TEST_CASE("A worker that always has packets with a device is quiet for what was before them") {
  LookasideLine line({kAesniMb});
  line.install();
  dataplane::Worker& worker = *line.desk.workers[0];
  dataplane::Rcu& rcu = line.desk.tables.rcu;
  Between between(line.device().link().id);
  between.most = 0;
  rcu.online(0);
  std::vector<Octets> inner = line.put_inner(8);
  bool reclaimed = false;
  rcu.retire([&reclaimed] { reclaimed = true; });
  worker.flights->be_quiet(rcu, 0);
  for (Octets& packet : line.put_inner(8)) inner.push_back(std::move(packet));
  worker.flights->be_quiet(rcu, 0);
  rcu.reclaim_ready();
  CHECK_FALSE(reclaimed);
  between.most = 8;
  (void)poll_once(worker);
  CHECK_FALSE(worker.flights->empty());
  worker.flights->be_quiet(rcu, 0);
  rcu.reclaim_ready();
  CHECK(reclaimed);
  between.most = ~0U;
  line.pump();
  line.check_out(inner);
  rcu.offline(0);
}

TEST_CASE("A device that stops answering is given up: its packets are counted, its SAs are software's") {
  LookasideLine line({kAesniMb, "crypto_openssl0"});
  line.install();  // outbound with the first, inbound with the second
  line.traffic(16);
  {
    Between between(line.device(0).link().id);
    between.most = 0;
    (void)line.put_inner(8);
    REQUIRE(between.held() == 8);
    REQUIRE(line.counters(0).sealed == 16);
    usleep(Flights::kPatience / 1000 + 50'000);
    line.pump();
    CHECK(line.drops(DropReason::crypto_device_lost) == 8);
    CHECK(line.counters(0).lost == 8);
    CHECK(line.device(0).link().given_up);
    CHECK(line.desk.workers[0]->flights->empty());
    line.skip(8);
    line.traffic(16);
    CHECK(line.counters(0).sealed == 16);
    CHECK(line.outbound().outer.load().card == dataplane::kSealedByDevice);
    line.wait(0.5);
    line.traffic(16);  // now with the other device
    CHECK(line.counters(1).sealed == 16);
    CHECK(line.counters(1).opened == 48);
    const unsigned out = line.desk.buffers_out();
    between.most = ~0U;  // late
    line.pump();
    CHECK(line.desk.buffers_out() == out - 8);
  }
  line.traffic(16);
  CHECK(line.dropped() == 8);
  line.desk.offload.lookaside().tell(line.desk.page.header());
  CHECK(line.desk.page.header().crypto_devices[0].state == channel::CryptoDeviceState::given_up);
  CHECK(line.desk.page.header().crypto_devices[1].state == channel::CryptoDeviceState::works);
}

TEST_CASE("A worker that stops waits for what is with a device") {
  LookasideLine line({kAesniMb});
  line.install();
  const Octets inner = ipv4_packet({}, line.payload(1));
  line.put(line.lan, line.frame_to(kLan, inner));
  (void)poll_once(*line.desk.workers[0]);
  CHECK_FALSE(line.desk.workers[0]->flights->empty());
  std::atomic<bool> stop{true};
  run(*line.desk.workers[0], stop);
  CHECK(line.desk.workers[0]->flights->empty());
  line.check_out({inner});
}

}  // namespace espgate::test
