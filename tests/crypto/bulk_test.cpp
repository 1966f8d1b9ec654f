// The ESP engine against packets that other libraries made, and against itself on every mix of suites and
// lengths.
#include "crypto/bulk.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "tests/crypto/esp_packets.hpp"
#include "tests/crypto/esp_vectors.hpp"

using namespace espgate::crypto;
using namespace espgate::crypto::test;

namespace {

constexpr auto kPastTheLast = static_cast<EspSuite>(kSuites.size() + 1);

// The inner packet as tunnel mode encrypts it: padding 1, 2, 3, ..., its length, next header 4 (RFC 4303
// section 2.4).
std::vector<std::uint8_t> with_trailer(std::vector<std::uint8_t> inner, const SuiteRow& suite) {
  std::uint8_t padding = 0;
  while ((inner.size() + 2) % suite.alignment != 0) inner.push_back(++padding);
  inner.push_back(padding);
  inner.push_back(4);
  return inner;
}

struct Sa {
  const SuiteRow* suite;
  SaKey key;
  std::uint64_t sequence;
  bool esn;
};

// So many of each suite without ESN, and as many with it.
std::vector<Sa> make_sas(const BulkEngine& engine, std::mt19937_64& random, std::size_t per_suite) {
  std::vector<Sa> sas;
  for (const SuiteRow& suite : kSuites) {
    for (std::size_t i = 0; i < 2 * per_suite; ++i) {
      sas.push_back({&suite, {}, random(), i % 2 != 0});
      REQUIRE(engine.expand(suite.suite, random_vector(random, key_material_length(suite)), sas.back().key));
    }
  }
  return sas;
}

// A burst of packets of the given SAs with random plaintext, and that plaintext.
struct Burst {
  std::vector<EspPacket> packets;
  std::vector<std::vector<std::uint8_t>> plaintexts;
  std::vector<EspJob> jobs;

  void add(Sa& sa, std::size_t blocks, std::mt19937_64& random) {
    const std::size_t payload = blocks * sa.suite->alignment;
    packets.emplace_back(*sa.suite, payload, random() % 16);
    plaintexts.push_back(random_vector(random, payload));
    std::copy(plaintexts.back().begin(), plaintexts.back().end(), packets.back().payload());
    jobs.push_back(packets.back().job(sa.key, ++sa.sequence, sa.esn));
  }
};

Burst random_burst(std::vector<Sa>& sas, std::size_t size, std::mt19937_64& random) {
  Burst burst;
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t blocks = 1 + random() % (random() % 4 == 0 ? 100 : 9);
    burst.add(sas[random() % sas.size()], blocks, random);
  }
  return burst;
}

bool all_ok(const std::vector<EspJob>& jobs) { return std::ranges::all_of(jobs, &EspJob::ok); }

}  // namespace

TEST_CASE("every suite passes its self-test with published vectors") {
  BulkEngine engine;
  INFO(engine.name());
  for (const SuiteRow& suite : kSuites) {
    INFO(suite.name);
    CHECK(self_test(engine, suite.suite) == "");
  }
  CHECK(self_test(engine, EspSuite::none) != "");
  CHECK(self_test(engine, static_cast<EspSuite>(77)) != "");
}

TEST_CASE("packets made by other libraries open to their plaintext") {
  BulkEngine engine;
  for (const EspVector& vector : kEspVectors) {
    const SuiteRow& suite = *find_suite(vector.suite);
    SaKey key;
    REQUIRE(engine.expand(vector.suite, from_hex(vector.keys), key));
    EspPacket packet(suite, from_hex(vector.packet), 3);
    EspJob job = packet.job(key, vector.esn ? vector.sequence : 0, vector.esn);
    engine.open({&job, 1});
    INFO(suite.name << " inner packet " << vector.inner << (vector.esn ? " with ESN" : ""));
    REQUIRE(job.ok);
    REQUIRE(packet.intact());
    REQUIRE(packet.payload_bytes() == with_trailer(from_hex(kInnerPackets[vector.inner]), suite));
  }
}

TEST_CASE("sealing makes the packets that other libraries made") {
  BulkEngine engine;
  std::vector<SaKey> keys(std::size(kEspVectors));
  std::vector<EspPacket> packets;
  std::vector<EspJob> jobs;
  for (std::size_t i = 0; i < std::size(kEspVectors); ++i) {
    const EspVector& vector = kEspVectors[i];
    const SuiteRow& suite = *find_suite(vector.suite);
    REQUIRE(engine.expand(vector.suite, from_hex(vector.keys), keys[i]));
    const auto plaintext = with_trailer(from_hex(kInnerPackets[vector.inner]), suite);
    packets.emplace_back(suite, plaintext.size(), i % 16);
    const auto header = from_hex(vector.packet.substr(0, 16));
    std::copy(header.begin(), header.end(), packets.back().esp());
    std::copy(plaintext.begin(), plaintext.end(), packets.back().payload());
    jobs.push_back(packets.back().job(keys[i], vector.sequence, vector.esn));
  }
  // All of them in one call: more than a burst, of all suites and lengths.
  engine.seal(jobs);
  REQUIRE(all_ok(jobs));
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    INFO(find_suite(kEspVectors[i].suite)->name << " inner packet " << kEspVectors[i].inner);
    REQUIRE(packets[i].bytes() == from_hex(kEspVectors[i].packet));
    REQUIRE(packets[i].intact());
  }
}

TEST_CASE("every suite has packets of other libraries with and without ESN") {
  for (const SuiteRow& suite : kSuites) {
    INFO(suite.name);
    for (const bool esn : {false, true})
      CHECK(std::ranges::any_of(kEspVectors,
                                [&](const EspVector& v) { return v.suite == suite.suite && v.esn == esn; }));
  }
}

// draft-mcgrew-gcm-test-01: SPI 0x00004321, extended sequence number 0x8765432100000000.
TEST_CASE("the published AES-GCM packet with ESN opens") {
  BulkEngine engine;
  const SuiteRow& suite = *find_suite(EspSuite::aes128_gcm16);
  SaKey key;
  REQUIRE(engine.expand(suite.suite, from_hex("4c80cdefbb5d10da906ac73c3613a6342e443b68"), key));
  EspPacket packet(suite,
                   from_hex("00004321000000004956ed7e3b244cfe"
                            "fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34cfa2436f14a3f3cf"
                            "65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce61bc17d768fd9732"
                            "459018148f6cbe722fd04796562dfdb4"),
                   5);
  EspJob job = packet.job(key, 0x8765432100000000, true);
  engine.open({&job, 1});
  REQUIRE(job.ok);
  CHECK(packet.payload_bytes() ==
        from_hex("45000048699a000080114db7c0a80102c0a801010a9bf15638d3010000010000000000000"
                 "45f736970045f756470037369700963796265726369747902646b0000210001"
                 "01020201"));
}

TEST_CASE("with ESN the high 32 bits are authenticated, and a packet that fails is as it came") {
  BulkEngine engine;
  std::mt19937_64 random(9);
  for (Sa& sa : make_sas(engine, random, 1)) {
    if (!sa.esn) continue;
    Burst burst;
    for (int i = 0; i < 5; ++i) burst.add(sa, 1 + random() % 20, random);
    engine.seal(burst.jobs);
    const std::vector<std::uint8_t> sealed = burst.packets[2].bytes();
    const std::uint64_t right = burst.jobs[2].sequence;
    const auto opens = [&](std::uint64_t sequence, bool esn) {
      std::copy(sealed.begin(), sealed.end(), burst.packets[2].esp());
      EspJob job = burst.packets[2].job(sa.key, sequence, esn);
      engine.open({&job, 1});
      const std::vector<std::uint8_t> now = burst.packets[2].bytes();
      CHECK(std::equal(now.begin(), now.begin() + 8, sealed.begin()));
      CHECK(std::equal(now.end() - sa.suite->icv_length, now.end(), sealed.end() - sa.suite->icv_length));
      if (!job.ok && sa.suite->integrity != Integrity::none) CHECK(now == sealed);
      CHECK(burst.packets[2].intact());
      return job.ok;
    };
    INFO(sa.suite->name);
    for (unsigned bit = 32; bit < 64; ++bit) CHECK_FALSE(opens(right ^ std::uint64_t{1} << bit, true));
    CHECK_FALSE(opens(right, false));
    CHECK(opens(right, true));
    CHECK(burst.packets[2].payload_bytes() == burst.plaintexts[2]);
  }
}

TEST_CASE("what one engine seals another opens, for every suite, length and mix") {
  BulkEngine sealer, opener;
  std::mt19937_64 random(1);
  std::vector<Sa> sas = make_sas(sealer, random, 3);
  for (std::size_t size = 1; size <= 64; ++size) {
    Burst burst = random_burst(sas, size, random);
    sealer.seal(burst.jobs);
    REQUIRE(all_ok(burst.jobs));
    std::ranges::shuffle(burst.jobs, random);
    opener.open(burst.jobs);
    REQUIRE(all_ok(burst.jobs));
    for (std::size_t i = 0; i < size; ++i) REQUIRE(burst.packets[i].payload_bytes() == burst.plaintexts[i]);
    REQUIRE(std::ranges::all_of(burst.packets, &EspPacket::intact));
  }
}

TEST_CASE("every length of payload up to a full frame survives") {
  BulkEngine engine;
  std::mt19937_64 random(2);
  std::vector<Sa> sas = make_sas(engine, random, 1);
  for (Sa& sa : sas) {
    Burst burst;
    for (std::size_t blocks = 1; blocks * sa.suite->alignment <= 1520; ++blocks)
      burst.add(sa, blocks, random);
    burst.add(sa, 9000 / sa.suite->alignment, random);
    burst.add(sa, 65280 / sa.suite->alignment, random);
    engine.seal(burst.jobs);
    engine.open(burst.jobs);
    INFO(sa.suite->name);
    REQUIRE(all_ok(burst.jobs));
    for (std::size_t i = 0; i < burst.packets.size(); ++i)
      REQUIRE(burst.packets[i].payload_bytes() == burst.plaintexts[i]);
    REQUIRE(std::ranges::all_of(burst.packets, &EspPacket::intact));
  }
}

TEST_CASE("one flipped bit anywhere is noticed, and its neighbours open") {
  BulkEngine engine;
  std::mt19937_64 random(3);
  std::vector<Sa> sas = make_sas(engine, random, 2);
  for (int round = 0; round < 600; ++round) {
    Burst burst = random_burst(sas, 1 + random() % 64, random);
    engine.seal(burst.jobs);
    const std::size_t victim = random() % burst.packets.size();
    EspPacket& packet = burst.packets[victim];
    packet.esp()[random() % packet.size()] ^= static_cast<std::uint8_t>(1u << random() % 8);
    engine.open(burst.jobs);
    for (std::size_t i = 0; i < burst.packets.size(); ++i) {
      REQUIRE(burst.jobs[i].ok == (i != victim));
      if (i != victim) REQUIRE(burst.packets[i].payload_bytes() == burst.plaintexts[i]);
    }
  }
}

TEST_CASE("every single bit of a short packet is protected") {
  BulkEngine engine;
  std::mt19937_64 random(4);
  std::vector<Sa> sas = make_sas(engine, random, 1);
  for (Sa& sa : sas) {
    Burst burst;
    burst.add(sa, 2, random);
    engine.seal(burst.jobs);
    const std::vector<std::uint8_t> sealed = burst.packets[0].bytes();
    for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
      std::copy(sealed.begin(), sealed.end(), burst.packets[0].esp());
      burst.packets[0].esp()[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
      engine.open(burst.jobs);
      INFO(sa.suite->name << " bit " << bit);
      REQUIRE_FALSE(burst.jobs[0].ok);
    }
  }
}

TEST_CASE("what is not authentic is not decrypted where an HMAC says so beforehand") {
  BulkEngine engine;
  std::mt19937_64 random(5);
  std::vector<Sa> sas = make_sas(engine, random, 1);
  for (Sa& sa : sas) {
    if (sa.suite->integrity == Integrity::none) continue;
    Burst burst;
    for (int i = 0; i < 12; ++i) burst.add(sa, 4, random);
    engine.seal(burst.jobs);
    burst.packets[5].esp()[burst.packets[5].size() - 1] ^= 1;
    const std::vector<std::uint8_t> before = burst.packets[5].bytes();
    engine.open(burst.jobs);
    CHECK(burst.packets[5].bytes() == before);
    CHECK(burst.packets[6].payload_bytes() == burst.plaintexts[6]);
  }
}

TEST_CASE("two packets of one SA never share an IV") {
  BulkEngine engine;
  std::mt19937_64 random(6);
  for (Sa& sa : make_sas(engine, random, 1)) {
    if (sa.suite->iv_length == 0) continue;
    if (sa.esn) continue;
    sa.sequence = 0;
    std::set<std::vector<std::uint8_t>> ivs;
    constexpr std::size_t kPackets = 20000;
    for (std::size_t sent = 0; sent < kPackets; sent += 50) {
      Burst burst;
      for (int i = 0; i < 50; ++i) burst.add(sa, 1, random);
      engine.seal(burst.jobs);
      for (EspPacket& packet : burst.packets) ivs.insert({packet.iv(), packet.iv() + sa.suite->iv_length});
    }
    INFO(sa.suite->name);
    CHECK(ivs.size() == kPackets);
  }
}

TEST_CASE(
    "AES-CBC's IV does not tell the sequence number, nor carries anything over from the packet before") {
  BulkEngine engine;
  std::mt19937_64 random(7);
  for (Sa& sa : make_sas(engine, random, 1)) {
    if (sa.suite->mode != CipherMode::cbc) continue;
    Burst burst;
    sa.sequence = 41;
    burst.add(sa, 1, random);  // 42
    sa.sequence = 41;
    burst.add(sa, 3,
              random);  // 42 again, with another payload: the IV is a function of key and sequence alone
    engine.seal(burst.jobs);
    const std::vector<std::uint8_t> first(burst.packets[0].iv(), burst.packets[0].iv() + 16);
    const std::vector<std::uint8_t> second(burst.packets[1].iv(), burst.packets[1].iv() + 16);
    CHECK(first == second);
    // Not the block itself, and no run of zeros of it: a 64-bit zero half has a chance of 2^-64.
    CHECK(std::any_of(first.begin(), first.begin() + 8, [](std::uint8_t byte) { return byte != 0; }));
    CHECK(std::vector<std::uint8_t>(first.begin() + 8, first.end()) != from_hex("000000000000002a"));
  }
}

TEST_CASE("impossible jobs are refused and leave their packet and their neighbours alone") {
  BulkEngine engine;
  std::mt19937_64 random(8);
  std::vector<Sa> sas = make_sas(engine, random, 1);
  Burst burst;
  for (Sa& sa : sas) burst.add(sa, 4, random);
  for (Sa& sa : sas) burst.add(sa, 4, random);
  const std::size_t half = sas.size();
  const std::uint32_t bad[] = {0, 6, 33, 65281, 0xffffffff, 15};
  for (std::size_t i = 0; i < half; ++i) burst.jobs[i].payload = bad[i % std::size(bad)];
  burst.jobs.push_back(burst.jobs.back());
  burst.jobs.back().scheme = {EspSuite::none, false};
  burst.jobs.push_back(burst.jobs.back());
  burst.jobs.back().scheme = {kPastTheLast, false};
  burst.jobs.push_back(burst.jobs.back());
  burst.jobs.back().scheme = {static_cast<EspSuite>(0x7fff), true};
  const auto check = [&] {
    for (std::size_t i = 0; i < half; ++i) CHECK_FALSE(burst.jobs[i].ok);
    for (std::size_t i = half; i < 2 * half; ++i) CHECK(burst.jobs[i].ok);
    for (std::size_t i = 2 * half; i < burst.jobs.size(); ++i) CHECK_FALSE(burst.jobs[i].ok);
  };
  engine.seal(burst.jobs);
  check();
  for (std::size_t i = 0; i < half; ++i) CHECK(burst.packets[i].payload_bytes() == burst.plaintexts[i]);
  engine.open(burst.jobs);
  check();
  for (std::size_t i = half; i < 2 * half; ++i)
    CHECK(burst.packets[i].payload_bytes() == burst.plaintexts[i]);
}

TEST_CASE("keys of a wrong length or of no suite are refused") {
  BulkEngine engine;
  SaKey key;
  const std::vector<std::uint8_t> material(200);
  for (const SuiteRow& suite : kSuites) {
    const std::size_t length = key_material_length(suite);
    CHECK(engine.expand(suite.suite, Bytes(material).first(length), key));
    CHECK_FALSE(engine.expand(suite.suite, Bytes(material).first(length - 1), key));
    CHECK_FALSE(engine.expand(suite.suite, Bytes(material).first(length + 1), key));
    CHECK_FALSE(engine.expand(suite.suite, {}, key));
  }
  CHECK_FALSE(engine.expand(EspSuite::none, material, key));
  CHECK_FALSE(engine.expand(kPastTheLast, material, key));
}

TEST_CASE("an empty span is nothing to do") {
  BulkEngine engine;
  engine.seal({});
  engine.open({});
  CHECK_FALSE(engine.name().empty());
}
