// assault-ike [COUNT] [SEED]: COUNT random or mutated datagrams at two daemons with an established IKE SA,
// from the peer's address and from strangers'. In the end the IKE SA and its child must be the ones from
// before, with no inner packet lost, every half-open IKE SA gone, and memory where it was.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>

#include "world.hpp"

namespace espgate::test {
namespace {

constexpr std::size_t kMaxGrowth = std::size_t{64} << 20;

std::size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t pages = 0, resident = 0;
  statm >> pages >> resident;
  return resident * 4096;
}

class Assault {
 public:
  explicit Assault(std::uint64_t seed) : dice_(seed) {}

  bool run(std::uint64_t count) {
    if (!prepare()) return fail("the gateways did not connect");
    const std::uint32_t before = world_.east.sending.at(0);
    std::size_t memory = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
      throw_one();
      if (i % 4 == 0) world_.run(milliseconds(1));
      if (i % 1024 == 0 && !check_bounds()) return false;
      if (i == count / 10) memory = resident_bytes();
    }
    if (!kSanitized && resident_bytes() > memory + kMaxGrowth) return fail("memory grew");
    world_.run(seconds(60));
    if (world_.east.sending.at(0) != before) return fail("the child SA is not the one from before");
    if (world_.lost != 0) return fail("inner packets were lost");
    return world_.settled() && world_.complaints.empty() ? true
                                                         : fail("not one IKE SA with one child in the end");
  }

 private:
  static bool fail(const char* what) {
    std::printf("FAILED: %s\n", what);
    return false;
  }

  // Samples of every exchange, then quiet.
  bool prepare() {
    world_.fate = [this](const Datagram& d) {
      samples_.push_back(d);
      return std::vector{milliseconds(10)};
    };
    if (!world_.establish()) return false;
    world_.east.daemon->rekey_child(world_.east.inbound.begin()->first, world_.now);
    world_.run(seconds(20));
    world_.west.daemon->rekey_ike(0, world_.now);
    world_.run(seconds(20));
    world_.fate = [](const Datagram& d) {  // answers to strangers go nowhere
      const bool known =
          d.to.port == 500 && (d.to.address == address("192.0.2.1") || d.to.address == address("192.0.2.2"));
      return known ? std::vector{milliseconds(10)} : std::vector<milliseconds>{};
    };
    world_.start_traffic();
    return world_.settled();
  }

  std::size_t below(std::size_t limit) { return dice_() % limit; }

  ByteVector noise() {
    ByteVector out(below(300));
    for (auto& byte : out) byte = static_cast<std::uint8_t>(dice_());
    return out;
  }

  void mutate(ByteVector& bytes) {
    for (std::size_t i = 1 + below(4); i > 0 && !bytes.empty(); --i) {
      switch (below(4)) {
        case 0:
          bytes[below(bytes.size())] ^= static_cast<std::uint8_t>(1U << below(8));
          break;
        case 1:
          bytes[below(bytes.size())] = static_cast<std::uint8_t>(dice_());
          break;
        case 2:
          bytes.resize(below(bytes.size() + 1));
          break;
        default:
          bytes[below(std::min<std::size_t>(bytes.size(), 48))] = static_cast<std::uint8_t>(dice_());
          break;
      }
    }
    // Half of them with a length that is right, so that they come further.
    if (bytes.size() >= 28 && below(2) == 0) {
      bytes[24] = bytes[25] = 0;
      bytes[26] = static_cast<std::uint8_t>(bytes.size() >> 8);
      bytes[27] = static_cast<std::uint8_t>(bytes.size());
    }
  }

  void throw_one() {
    Gateway& victim = below(2) == 0 ? world_.east : world_.west;
    Gateway& other = &victim == &world_.east ? world_.west : world_.east;
    ByteVector bytes = below(16) == 0 ? noise() : samples_[below(samples_.size())].bytes;
    mutate(bytes);
    Endpoint source{other.tunnels.front().local, static_cast<std::uint16_t>(1024 + below(60000))};
    if (below(4) == 0) source.address.bytes[3] = static_cast<std::uint8_t>(dice_());
    if (below(8) == 0) source.port = 500;
    const std::uint16_t to = below(2) == 0 ? std::uint16_t{500} : std::uint16_t{4500};
    victim.daemon->received({victim.tunnels.front().local, to}, source, bytes, world_.now);
  }

  bool check_bounds() {
    for (Gateway* gateway : {&world_.east, &world_.west}) {
      if (gateway->ike_sas() > gateway->settings.max_half_open + 2) return fail("too many IKE SAs");
      if (gateway->lines.size() > 2000) return fail("the log is flooded");
      gateway->lines.clear();
      gateway->failures.clear();
      if (gateway->reserved.size() > 10) return fail("SPIs leak");
    }
    return true;
  }

  std::mt19937_64 dice_;
  World world_;
  std::vector<Datagram> samples_;
};

}  // namespace
}  // namespace espgate::test

int main(int argc, char** argv) {
  const std::uint64_t count = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 100000;
  const std::uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  espgate::test::Assault assault(seed);
  const bool unharmed = assault.run(count);
  std::printf("%llu datagrams: %s\n", static_cast<unsigned long long>(count),
              unharmed ? "unharmed" : "HARMED");
  return unharmed ? 0 : 1;
}
