// ESP by crypto devices (lookaside), DPDK's own ones in software, against OpenSSL and against our engine.
#include <map>

#include "tests/dataplane/offload/lookaside_line.hpp"

namespace espgate::test {
namespace {

using channel::CommandStatus;
using crypto::CipherMode;
using crypto::EspSuite;

const std::vector<std::string> kDevices{"crypto_aesni_mb0", "crypto_aesni_gcm0", "crypto_openssl0"};

bool takes(const std::string& name, const crypto::SuiteRow& row, bool esn = false) {
  LookasideLine line({name});
  return line.device().can(row, esn);
}

}  // namespace

TEST_CASE("Every suite that a crypto device takes goes through it, both ways; the rest is software's") {
  std::map<std::string, unsigned> taken;
  for (const std::string& name : kDevices)
    for (const crypto::SuiteRow& row : crypto::kSuites)
      for (const bool udp : {false, true}) {
        CAPTURE(name, row.name, udp);
        LookasideLine line({name}, row.suite, udp);
        line.install();
        const bool by_device = line.device().can(row, false);
        CHECK(line.device().sessions() == (by_device ? 2U : 0U));
        for (unsigned i = 0; i < 4; ++i) line.traffic(32);
        const std::uint64_t each = by_device ? 128 : 0;
        CHECK(line.counters().sealed == each);
        CHECK(line.counters().opened == each);
        CHECK(line.dropped() == 0);
        line.desk.associations.snapshot(line.desk.control, line.desk.now);
        CHECK(line.desk.page.outbound(0)[0].by_device == each);
        CHECK(line.desk.page.inbound(0)[Line::kInSpi].by_device == each);
        CHECK(line.desk.page.tunnels()[0].tx_crypto == each);
        CHECK(line.desk.page.tunnels()[0].rx_crypto == each);
        CHECK(line.desk.page.tunnels()[0].tx_packets == 128);
        if (by_device && !udp) ++taken[name];
      }
  CHECK(taken["crypto_aesni_mb0"] == crypto::kSuites.size());
  CHECK(taken["crypto_aesni_gcm0"] == 12);  // GCM and GMAC
  CHECK(taken["crypto_openssl0"] == 36);
}

TEST_CASE("What a crypto device seals is what our engine seals, byte for byte, in every form") {
  struct Row {
    const char* name;
    void (*change)(channel::InstallSa&);
    bool aead;
  };
  const Row forms[] = {
      {"plain", [](channel::InstallSa&) {}, false},
      {"ESN, beyond the low half", [](channel::InstallSa& sa) { sa.esn = 1, sa.last_sequence = 0x1fffffff0; },
       true},
      {"DF, fixed DSCP and padding",
       [](channel::InstallSa& sa) {
         sa.df = channel::DontFragment::set, sa.fixed_dscp = 11, sa.tfc_length = 700;
       },
       false},
  };
  for (const Row& form : forms)
    for (const std::string& name : kDevices)
      for (const crypto::SuiteRow& row : crypto::kSuites) {
        if (!takes(name, row, form.aead)) continue;
        CAPTURE(form.name, name, row.name);
        std::vector<Octets> sent[2];
        for (const bool with_device : {false, true}) {
          LookasideLine line(with_device ? std::vector{name} : std::vector<std::string>{}, row.suite);
          channel::Command out = line.prepared(install_outbound(0, Line::kOutSpi));
          form.change(out.body.install_sa);
          REQUIRE(line.desk.run(out) == CommandStatus::ok);
          (void)line.put_inner(24);
          sent[with_device] = Line::packets_of(line.wan);
          CHECK(line.outbound().by_device == (with_device ? 24 : 0));
          CHECK(line.dropped() == 0);
        }
        REQUIRE(sent[0].size() == 24);
        REQUIRE(sent[1].size() == 24);
        for (unsigned i = 0; i < 24; ++i) {
          CAPTURE(i, sent[0][i].size(), sent[1][i].size());
          CHECK((sent[0][i] == sent[1][i]));
        }
      }
}

TEST_CASE("With ESN, a crypto device opens what has the right high half and nothing else") {
  for (const std::string& name : kDevices)
    for (const crypto::SuiteRow& row : crypto::kSuites) {
      if (!takes(name, row, true)) continue;
      CAPTURE(name, row.name);
      LookasideLine line({name}, row.suite);
      channel::Command in = line.prepared(install_inbound(0, Line::kInSpi));
      in.body.install_sa.esn = 1;
      in.body.install_sa.last_sequence = 0xfffffff0;
      REQUIRE(line.desk.run(in) == CommandStatus::ok);
      const Octets inner = ipv4_packet({.source = "10.2.0.2", .destination = "10.1.0.2"}, line.payload(1));
      const auto arrives = [&](std::uint64_t sequence) {
        const Octets esp = sealed(in.body.install_sa, sequence, with_trailer(inner, row.suite, 4));
        line.put(line.wan, line.frame_to(kWan, esp));
      };
      arrives(0xffffffff);
      arrives(0x100000003);
      arrives(0x300000007);  // as if 0x100000007
      line.pump();
      const std::vector<Octets> frames = Line::packets_of(line.lan);
      REQUIRE(frames.size() == 2);
      CHECK(slice(frames[1], 14) == Line::forwarded(inner));
      CHECK(line.drops(DropReason::integrity) == 1);
      CHECK(line.counters().opened == 3);
      CHECK(line.inbound().by_device == 2);
    }
}

TEST_CASE("ESN with an HMAC or GMAC is software's") {
  for (const crypto::SuiteRow& row : crypto::kSuites)
    if (row.mode == CipherMode::gmac || row.integrity != crypto::Integrity::none)
      for (const std::string& name : kDevices) CHECK_FALSE(takes(name, row, true));
}

TEST_CASE("What a device finds forged, and what comes twice, is the drop it would be in software") {
  for (const EspSuite suite : {EspSuite::aes256_gcm16, EspSuite::aes128_cbc_sha256}) {
    LookasideLine line({"crypto_openssl0"}, suite);
    line.install();
    const Octets inner = ipv4_packet({.source = "10.2.0.2", .destination = "10.1.0.2"}, line.payload(1));
    const Octets good = line.sealed_by_far(1, inner);
    Octets forged = line.sealed_by_far(2, inner);
    forged.back() ^= 1;
    // The second is on its way with the first: only behind the device is it known as its like.
    for (const Octets& each : {good, good, forged}) line.put(line.wan, line.frame_to(kWan, each));
    line.pump();
    CHECK(Line::packets_of(line.lan).size() == 1);
    CHECK(line.drops(DropReason::replay_duplicate) == 1);
    CHECK(line.drops(DropReason::integrity) == 1);
    CHECK(line.inbound().failed == 1);
    CHECK(line.inbound().replayed == 1);
    CHECK(line.counters().failed == 0);
  }
}

TEST_CASE("Of two devices each gets SAs; an SA that one does not take is the other's") {
  {
    LookasideLine line({"crypto_aesni_gcm0", "crypto_openssl0"});
    line.install();
    CHECK(line.device(0).sessions() == 1);
    CHECK(line.device(1).sessions() == 1);
    line.traffic(32);
    CHECK(line.counters(0).sealed == 32);
    CHECK(line.counters(1).opened == 32);
  }
  LookasideLine other({"crypto_aesni_gcm0", "crypto_openssl0"}, EspSuite::aes256_cbc_sha256);
  other.install();
  other.traffic(32);
  CHECK(other.counters(0).sealed + other.counters(0).opened == 0);
  CHECK(other.counters(1).sealed == 32);
  CHECK(other.counters(1).opened == 32);
}

TEST_CASE("A card goes before a crypto device") {
  {
    LookasideLine line({"crypto_openssl0"});
    line.offer_card();
    line.install();
    line.traffic(16);
    CHECK(line.card.sealed == 16);
    CHECK(line.card.opened == 16);
    CHECK(line.device().sessions() == 0);
  }
  LookasideLine other({"crypto_openssl0"}, EspSuite::aes192_gcm16);  // which that card does not know
  other.offer_card();
  other.install();
  other.traffic(16);
  CHECK(other.counters().sealed == 16);
  CHECK(other.counters().opened == 16);
  CHECK(other.card.faults.empty());
}

TEST_CASE("A device that can't serve is refused in words") {
  start_eal();
  const auto words = [](const conf::CryptoDevice& wanted, unsigned workers) -> std::string {
    try {
      const dataplane::CryptoDevice device(wanted, 0, workers);
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "started";
  };
  conf::CryptoDevice wanted;
  wanted.device = virtual_device("crypto_openssl0");
  CHECK(words(wanted, 1) == "started");
  CHECK(words(wanted, 9) ==
        "crypto device crypto_openssl0: it has 8 queue pairs, and 9 workers want one each");
  wanted.suites = {EspSuite::aes128_gcm16};
  CHECK(words(wanted, 1) == "started");
  wanted.device = virtual_device("crypto_aesni_gcm0");
  wanted.suites = {EspSuite::aes128_gcm16, EspSuite::aes128_cbc_sha1};
  CHECK(words(wanted, 1) == "crypto device crypto_aesni_gcm0: it can't do aes128-sha1");
  wanted.device = "crypto_openssl77";
  CHECK_THAT(words(wanted, 1), Catch::Contains("crypto_openssl77: DPDK knows no such device"));
}

}  // namespace espgate::test
