// SAs with manual keys: installing them, taking them over, and that no sequence number is ever given out
// twice, whoever dies when.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/control/gateway_pair.hpp"

using namespace espgate;
using namespace espgate::test;
using Catch::Contains;
using control::KeyFingerprint;
using control::ManualSas;
using control::SequenceFile;

namespace {

constexpr std::uint32_t kOutboundSpi = 0xabcd0001;
const std::uint32_t kInboundSpi = channel::make_spi(1, 2, 7);

struct Folder {
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "espgate-state-XXXXXX").string();
    path = mkdtemp(pattern.data());
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string state() const { return path + "/state"; }
  std::string file() const { return state() + "/" + std::string(SequenceFile::kName); }
  std::string path;
};

std::string read(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}
void write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

conf::Tunnel manual_tunnel(std::uint8_t seed = 1) {
  conf::Tunnel tunnel;
  tunnel.name = "by-hand";
  tunnel.interface = tunnel.name;
  tunnel.local = *parse_address("192.0.2.1");
  tunnel.remote = *parse_address("192.0.2.9");
  tunnel.local_selectors = {*parse_prefix("0.0.0.0/0")};
  tunnel.remote_selectors = {*parse_prefix("0.0.0.0/0")};
  conf::Manual& manual = tunnel.manual.emplace();
  manual.suite = crypto::EspSuite::aes256_gcm16;
  const auto key = [](std::uint8_t from) {
    crypto::SecretBytes out(36);
    for (std::uint8_t& byte : out.bytes()) byte = from++;
    return out;
  };
  manual.inbound = {kInboundSpi, key(seed)};
  manual.outbound = {kOutboundSpi, key(static_cast<std::uint8_t>(seed + 100))};
  return tunnel;
}

// One gateway with a manual tunnel. Its dataplane sends nothing: what it may send is all that counts.
struct Lone {
  explicit Lone(std::uint8_t seed = 1) : side(conf::Configuration{}) {
    side.configuration.state_directory = folder.state();
    side.configuration.tunnels.push_back(manual_tunnel(seed));
  }
  void run(std::chrono::milliseconds duration = 200ms) {
    for (const Time end = now + duration; now < end; now += 50ms) {
      if (!side.gateway) continue;
      side.gateway->poll(now);
      side.gateway->advance(now);
      static_cast<void>(side.dataplane.poll());
    }
  }
  void start() {
    side.start(now);
    run();
  }
  void restart_dataplane() {
    side.link.detach();
    side.gateway->detached("it ended", now);
    side.dataplane.forget();
    side.link.attach(side.dataplane.accept());
    side.gateway->attached(now);
    run();
  }
  FakeDataplane::Sa& out() { return side.dataplane.outbound.at({0, kOutboundSpi}); }
  FakeDataplane::Sa& in() { return side.dataplane.inbound.at(kInboundSpi); }
  void near(std::uint64_t sequence) {
    channel::Event event{};
    event.kind = channel::EventKind::sa_limit_near;
    event.body.sa_limit_near = {0, kOutboundSpi, sequence, out().asked.sequence_limit};
    side.dataplane.tell(event);
    run();
  }
  void receive_up_to(std::uint64_t sequence) {
    channel::SaStatus& status = side.dataplane.page().inbound(1)[7];
    status.spi = kInboundSpi;
    status.highest_sequence = sequence;
  }
  std::string log() const {
    std::string text;
    for (const control::LogLine& line : side.log.last(1000)) text += line.text + "\n";
    return text;
  }

  Folder folder;
  Side side;
  Time now{Time(std::chrono::hours(1))};
};

constexpr std::uint64_t kAhead = ManualSas::kAhead;

}  // namespace

TEST_CASE("manual SAs are installed on attaching, and their numbers are on disk before", "[manual]") {
  Lone lone;
  lone.start();
  CHECK(lone.side.status().state == TunnelState::up);
  CHECK(lone.out().asked.last_sequence == 0);
  CHECK(lone.out().asked.sequence_limit == kAhead);
  CHECK(lone.out().keys[0] == 101);
  CHECK(lone.in().keys[0] == 1);
  CHECK(lone.in().asked.sequence_limit == 0);
  const auto numbers = control::parse_sequence_numbers(read(lone.folder.file()));
  REQUIRE(numbers.has_value());
  CHECK(numbers->at(control::fingerprint(lone.side.configuration.tunnels[0].manual->outbound.key.view())) ==
        kAhead);
  CHECK_THAT(lone.log(), Contains("taken for a new one"));
  REQUIRE(lone.side.gateway->book().of(0).size() == 1);
  CHECK(lone.side.gateway->book().of(0)[0].manual);
  // Nobody can negotiate with it, and nothing is rekeyed.
  CHECK(lone.side.gateway->rekey(0, lone.now) == 0);
  lone.run(30s);
  CHECK(lone.side.status().state == TunnelState::up);
  CHECK(lone.side.gateway->ike_sas().empty());
}

TEST_CASE("whoever is killed, no sequence number is given out twice", "[manual]") {
  Lone lone;
  std::uint64_t used = 0;  // a dataplane that used all that it was allowed to
  const auto check = [&](const char* what) {
    INFO(what);
    REQUIRE(lone.side.dataplane.outbound.size() == 1);
    CHECK(lone.out().asked.last_sequence >= used);
    CHECK(lone.out().asked.sequence_limit > lone.out().asked.last_sequence);
    used = lone.out().asked.sequence_limit;
  };
  lone.start();
  check("first");
  lone.restart_dataplane();
  check("the dataplane restarted");
  lone.near(used - 5);
  CHECK(lone.out().asked.sequence_limit == used - 5 + kAhead);
  used = lone.out().asked.sequence_limit;

  const FakeDataplane::Sa before = lone.out();
  lone.side.kill_control();
  lone.start();
  CHECK(lone.out().asked.last_sequence == before.asked.last_sequence);  // untouched: it was taken over
  CHECK(lone.out().asked.sequence_limit == used);
  CHECK(lone.side.status().state == TunnelState::up);
  lone.near(used);
  used = lone.out().asked.sequence_limit;

  lone.side.kill_control();
  lone.side.dataplane.forget();
  lone.start();
  check("both");
  const std::string log = lone.log();
  const std::size_t first = log.find("taken for a new one");
  const std::size_t second = log.find("taken for a new one", first + 1);  // the other direction's
  CHECK(log.find("taken for a new one", second + 1) == log.npos);
}

TEST_CASE("killed between any two commands that the dataplane takes", "[manual]") {
  Lone lone;
  std::uint64_t used = 0;
  for (unsigned rounds = 0; rounds < 12; ++rounds) {
    lone.side.dataplane.forget();
    lone.side.start(lone.now);
    for (unsigned round = 0; round < rounds; ++round) lone.run(50ms);
    if (lone.side.dataplane.outbound.size() == 1) {
      CHECK(lone.out().asked.last_sequence >= used);
      used = lone.out().asked.sequence_limit;
    }
    lone.side.kill_control();
  }
  CHECK(used > 0);
}

TEST_CASE("the replay window goes on where it was", "[manual]") {
  Lone lone;
  lone.start();
  CHECK(lone.in().asked.last_sequence == 0);
  lone.receive_up_to(5000);
  lone.run(11s);
  lone.side.kill_control();
  lone.side.dataplane.forget();
  lone.start();
  CHECK(lone.in().asked.last_sequence == 5000);
  lone.receive_up_to(6000);
  lone.side.gateway->shut_down(lone.now);  // what came last is noted at the end
  lone.run();
  CHECK(lone.side.dataplane.inbound.empty());
  CHECK(lone.side.dataplane.outbound.empty());
  lone.side.kill_control();
  lone.start();
  CHECK(lone.in().asked.last_sequence == 6000);
}

TEST_CASE("new keys begin at 1, and old ones that come back go on", "[manual]") {
  Lone lone(1);
  lone.start();
  lone.side.kill_control();
  lone.side.configuration.tunnels[0] = manual_tunnel(30);
  lone.start();
  CHECK(lone.out().keys[0] == 130);
  CHECK(lone.out().asked.last_sequence == 0);
  lone.side.kill_control();
  lone.side.configuration.tunnels[0] = manual_tunnel(1);
  lone.start();
  CHECK(lone.out().keys[0] == 101);
  CHECK(lone.out().asked.last_sequence == kAhead);
}

TEST_CASE("any change to a manual SA replaces it", "[manual]") {
  Lone lone;
  lone.start();
  lone.side.kill_control();
  conf::Tunnel& tunnel = lone.side.configuration.tunnels[0];
  SECTION("encapsulation") { tunnel.manual->udp = true; }
  SECTION("selectors") { tunnel.remote_selectors = {*parse_prefix("10.0.0.0/8")}; }
  SECTION("peer") { tunnel.remote = *parse_address("192.0.2.10"); }
  const std::uint64_t label = lone.out().asked.label;
  lone.start();
  CHECK(lone.out().asked.label != label);
  CHECK(lone.out().asked.last_sequence == kAhead);
  CHECK(lone.side.status().state == TunnelState::up);
}

TEST_CASE("a change to one direction of a manual tunnel leaves the other as it is", "[manual]") {
  Lone lone;
  lone.start();
  lone.side.kill_control();
  lone.side.configuration.tunnels[0].replay_window = 64;
  const std::uint64_t in = lone.in().asked.label;
  const std::uint64_t out = lone.out().asked.label;
  lone.start();
  CHECK(lone.in().asked.label != in);
  CHECK(lone.in().asked.replay_window == 64);
  CHECK(lone.out().asked.label == out);
  CHECK(lone.side.status().state == TunnelState::up);
}

TEST_CASE("a tunnel whose keys became manual drops what IKE made, and the other way round", "[manual]") {
  Lone lone;
  lone.start();
  lone.side.kill_control();
  lone.side.configuration.tunnels[0].manual.reset();
  lone.side.configuration.tunnels[0].start = conf::Start::wait;
  lone.start();
  CHECK(lone.side.dataplane.inbound.empty());
  CHECK(lone.side.dataplane.outbound.empty());
  CHECK(lone.side.status().state == TunnelState::down);
}

TEST_CASE("a refused install is tried again with the same numbers, and said", "[manual]") {
  Lone lone;
  lone.side.dataplane.refuse[CommandKind::install_outbound_sa] = CommandStatus::table_full;
  lone.start();
  lone.run(60s);
  CHECK(lone.side.status().state != TunnelState::up);
  CHECK_THAT(lone.side.status().last_error.summary, Contains(channel::words(CommandStatus::table_full)));
  lone.side.dataplane.refuse.clear();
  lone.run(6s);
  CHECK(lone.side.status().state == TunnelState::up);
  CHECK(lone.out().asked.last_sequence == 0);
  CHECK(lone.out().asked.sequence_limit == kAhead);
}

TEST_CASE("a disk that can't be written: nothing is installed, and nothing extended", "[manual]") {
  Lone lone;
  lone.start();
  const std::uint64_t limit = lone.out().asked.sequence_limit;
  const std::string fresh = lone.folder.file() + ".new";
  std::filesystem::create_directory(fresh);  // in the place of the file to be written
  lone.near(limit - 1);
  CHECK(lone.out().asked.sequence_limit == limit);
  lone.side.kill_control();
  lone.side.dataplane.forget();
  lone.start();
  CHECK(lone.side.dataplane.outbound.empty());
  CHECK_THAT(lone.side.status().last_error.summary, Contains("can't write"));
  std::filesystem::remove(fresh);
  lone.run(6s);
  CHECK(lone.out().asked.last_sequence == limit);
}

TEST_CASE("the last numbers of a key, with and without ESN", "[manual]") {
  Lone lone;
  const bool esn = GENERATE(false, true);
  lone.side.configuration.tunnels[0].manual->esn = esn;
  const std::uint64_t end = channel::last_of_sequence(esn);
  {
    SequenceFile file(lone.folder.state());
    file.raise(control::fingerprint(lone.side.configuration.tunnels[0].manual->outbound.key.view()),
               end - 10);
    file.commit();
  }
  lone.start();
  CHECK(lone.out().asked.last_sequence == end - 10);
  CHECK(lone.out().asked.sequence_limit == end);
  lone.side.kill_control();
  lone.side.dataplane.forget();
  lone.start();
  CHECK(lone.side.dataplane.outbound.empty());
  CHECK(lone.side.status().state != TunnelState::up);
  CHECK_THAT(lone.side.status().last_error.summary, Contains("put new keys into the key files"));
}

TEST_CASE("two gateways can't share a state directory", "[manual]") {
  Lone lone;
  const SequenceFile other(lone.folder.state());
  lone.start();
  CHECK(lone.side.dataplane.outbound.empty());
  CHECK_THAT(lone.side.status().last_error.summary, Contains("another espgate-control uses"));
}

TEST_CASE("a damaged file is never believed", "[manual]") {
  Lone lone;
  lone.start();
  lone.side.kill_control();
  lone.side.dataplane.forget();
  const std::string good = read(lone.folder.file());
  const auto refused = [&](const std::string& text) {
    write(lone.folder.file(), text);
    lone.side.dataplane.forget();
    lone.start();
    const bool none = lone.side.dataplane.outbound.empty() && lone.side.dataplane.inbound.empty();
    CHECK_THAT(lone.side.status().last_error.summary, Contains("is damaged"));
    CHECK_THAT(lone.side.status().last_error.summary, Contains("new keys"));
    lone.side.kill_control();
    return none;
  };
  CHECK(refused(""));
  CHECK(refused(good + "x"));
  CHECK(refused(good.substr(0, good.size() - 1)));
  CHECK(refused(good.substr(0, good.find('\n') + 1)));
  for (std::size_t at = 0; at < good.size(); at += 29) {
    std::string spoilt = good;
    spoilt[at] = spoilt[at] == '1' ? '2' : '1';
    CHECK_FALSE(control::parse_sequence_numbers(spoilt).has_value());
  }
  write(lone.folder.file(), good);
  lone.start();
  CHECK(lone.out().asked.last_sequence == kAhead);
}

TEST_CASE("a file or directory that others can write is refused", "[manual]") {
  Lone lone;
  lone.start();
  lone.side.kill_control();
  const bool directory = GENERATE(true, false);
  REQUIRE(chmod((directory ? lone.folder.state() : lone.folder.file()).c_str(), 0777) == 0);
  lone.start();
  CHECK_THAT(lone.side.status().last_error.summary, Contains("can be written by others"));
}

TEST_CASE("what the file says is what was raised, and never less", "[manual]") {
  Folder folder;
  KeyFingerprint one{};
  KeyFingerprint two{};
  two.fill(0xff);
  {
    SequenceFile file(folder.state());
    CHECK_FALSE(file.last(one).has_value());
    file.raise(one, 5);
    file.raise(two, ~std::uint64_t{0});
    file.raise(one, 3);
    file.commit();
    CHECK(file.last(one) == 5);
    file.raise(one, 9);  // and no commit
  }
  const SequenceFile file(folder.state());
  CHECK(file.last(one) == 5);
  CHECK(file.last(two) == ~std::uint64_t{0});
  struct stat status {};
  REQUIRE(stat(folder.file().c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
}
