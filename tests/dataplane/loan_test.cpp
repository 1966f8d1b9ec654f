// Tunnels whose cryptography is spread over idle workers.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "channel/spi.hpp"
#include "tests/dataplane/rig.hpp"

namespace espgate::test {
namespace {

// A gateway of two workers, of which the second does nothing but help, while this lives.
class Helped {
 public:
  explicit Helped(unsigned number) : rig(number, 2), thread_([this] { help(); }) {}
  ~Helped() {
    stop_ = true;
    thread_.join();
  }
  Helped(const Helped&) = delete;
  Helped& operator=(const Helped&) = delete;

  Rig rig;
  std::atomic<std::uint64_t> pieces{0};

 private:
  void help() {
    while (!stop_.load(std::memory_order_relaxed)) pieces += dataplane::help_others(rig.worker(1));
  }

  std::atomic<bool> stop_{false};
  std::thread thread_;
};

void be_sender(Rig& rig, crypto::EspSuite suite, bool spread) {
  rig.set_tunnel(0);
  rig.tables().tunnels[0].fit = dataplane::Fit{1400, false, spread};
  rig.install_outbound(rig.command(suite, 2, false, channel::make_spi(0, 1, 5), 1));
  rig.route("10.2.0.0/16", {NextHopKind::tunnel, 0, 0, 0});
}

void be_receiver(Rig& rig, crypto::EspSuite suite, bool spread) {
  rig.set_tunnel(0);
  rig.tables().tunnels[0].fit = dataplane::Fit{1400, false, spread};
  rig.install_inbound(rig.command(suite, 1, false, channel::make_spi(0, 1, 5), 1));
}

std::vector<Octets> burst(const Rig& rig, unsigned count, unsigned round) {
  std::vector<Octets> frames;
  for (unsigned i = 0; i < count; ++i)
    frames.push_back(rig.frame_to(kInside, ipv4_packet({}, udp(i, round, filling((i * 37 + round) % 1300)))));
  return frames;
}

}  // namespace

TEST_CASE("A burst that is lent out comes out as one that is not, byte for byte, both ways") {
  for (const crypto::SuiteRow& row : crypto::kSuites) {
    CAPTURE(row.name);
    Helped sender(1), receiver(2);
    Rig alone(1), opened_alone(2);
    be_sender(sender.rig, row.suite, true);
    be_sender(alone, row.suite, false);
    be_receiver(receiver.rig, row.suite, true);
    be_receiver(opened_alone, row.suite, false);
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    // All sizes of a burst from 16 up, in the course of two suites.
    const auto first = static_cast<unsigned>(crypto::row_index(row.suite));
    unsigned round = 0;
    do {
      const std::vector<Octets> frames = burst(alone, 16 + (2 * round + first) % 49, round);
      const Output sealed = sender.rig.receive(kInside, frames);
      const Output expected = alone.receive(kInside, frames);
      REQUIRE(sealed.frames[kOutside] == expected.frames[kOutside]);
      REQUIRE(sealed.frames[kOutside].size() == frames.size());
      const Output inner = Pair::carry(sealed, receiver.rig);
      REQUIRE(inner.frames[kInside] == Pair::carry(expected, opened_alone).frames[kInside]);
      REQUIRE(inner.frames[kInside].size() == frames.size());
      REQUIRE(std::chrono::steady_clock::now() < limit);
    } while (++round < 25 || sender.pieces == 0 || receiver.pieces == 0);
  }
}

TEST_CASE("A forged packet among those that are lent out is dropped, and no other") {
  Helped receiver(2);
  Rig sender(1);
  be_sender(sender, crypto::EspSuite::aes128_cbc_sha1, false);
  be_receiver(receiver.rig, crypto::EspSuite::aes128_cbc_sha1, true);
  for (unsigned forged = 0; forged < 64; ++forged) {
    Output sealed = sender.receive(kInside, burst(sender, 64, forged));
    sealed.frames[kOutside][forged].back() ^= 1;
    const Output inner = Pair::carry(sealed, receiver.rig);
    REQUIRE(inner.frames[kInside].size() == 63);
    for (unsigned i = 0; i < 63; ++i)
      REQUIRE(get16(inner.frames[kInside][i], 14 + 20) == i + (i >= forged ? 1 : 0));
  }
  CHECK(receiver.rig.drops(DropReason::integrity) == 64);
}

}  // namespace espgate::test
