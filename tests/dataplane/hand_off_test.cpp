// Flows through workers that do not own their SAs: however the workers take turns, each flow keeps its order,
// and what is lost is counted.
#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#include "channel/spi.hpp"
#include "tests/dataplane/cable.hpp"
#include "tests/dataplane/rig.hpp"

namespace espgate::test {
namespace {

constexpr crypto::EspSuite kSuite = crypto::EspSuite::aes128_gcm16;
constexpr unsigned kTunnels = 4;
constexpr unsigned kFlows = 16;
constexpr unsigned kInFlight = 900;  // buffers of the rig's

// Numbered packets that the card gives to one worker.
struct Flow {
  unsigned receiver;
  bool encrypted;  // comes in by a tunnel, from outside
  unsigned from;   // that tunnel
  unsigned to;     // the tunnel that it leaves by; kTunnels: it goes inside
  unsigned sent{0};
  unsigned last{0};  // that came out
  unsigned came_out{0};
};

// A gateway of several workers between two cables, and its peer at the other end of all tunnels.
class World {
 public:
  World(unsigned workers, unsigned seed)
      : workers_(workers),
        random_(seed),
        gateway_(1, workers),
        peer_(2),
        outside_(workers, 512),
        inside_(workers, 512) {
    for (unsigned t = 0; t < kTunnels; ++t) set_up(t);
    peer_.set_tunnel(0);
    peer_.route("10.16.0.0/12", peer_.outside_gateway());
    wire(kOutside, outside_);
    wire(kInside, inside_);
    for (unsigned f = 0; f < kFlows; ++f)
      flows_.push_back(
          {up_to(workers), f % 3 != 0, up_to(kTunnels), f % 3 == 1 ? kTunnels : up_to(kTunnels)});
  }

  unsigned up_to(unsigned limit) { return static_cast<unsigned>(random_() % limit); }

  // The next packet of any flow, if its worker's queue and the pool have room.
  void arrive() {
    const unsigned which = up_to(kFlows);
    Flow& flow = flows_[which];
    const std::uint8_t port = flow.encrypted ? kOutside : kInside;
    rte_ring* const queue = (flow.encrypted ? outside_ : inside_).rx[flow.receiver];
    if (rte_ring_count(queue) > 100 || gateway_.buffers_out() > kInFlight) return;
    Octets ip = ipv4_packet(
        {.source = flow.encrypted ? "10.2.0.2" : "10.1.0.2",
         .destination = flow.to == kTunnels ? "10.1.0.2" : "10." + std::to_string(16 + flow.to) + ".0.9"},
        udp(which, ++flow.sent, filling(up_to(100))));
    if (flow.encrypted) ip = sealed(inbound_[flow.from], ++sequence_[flow.from], with_trailer(ip, kSuite, 4));
    REQUIRE(rte_ring_enqueue(queue, gateway_.make(gateway_.frame_to(port, ip))) == 0);
  }

  unsigned poll(unsigned worker) {
    const unsigned handled = dataplane::poll_once(gateway_.worker(worker));
    handled_ += handled;
    look_at_what_came_out();
    return handled;
  }

  // Once no worker has anything to do. Returns how many packets were lost.
  std::uint64_t check_counters() {
    std::uint64_t sent = 0, came_out = 0, handed_off = 0;
    for (const Flow& flow : flows_) {
      sent += flow.sent;
      came_out += flow.came_out;
    }
    for (unsigned w = 0; w < workers_; ++w) {
      handed_off += gateway_.worker(w).counters->handed_off;
      CHECK(rte_ring_empty(gateway_.worker(w).exceptions) != 0);
    }
    const std::uint64_t lost = gateway_.drops(DropReason::hand_off_full);
    CHECK(came_out + lost == sent);
    CHECK(gateway_.all_drops() == lost);
    CHECK(peer_.all_drops() == 0);
    CHECK(handed_off > 0);
    CHECK(handled_ == sent + handed_off);
    CHECK(gateway_.buffers_out() == 0);
    return lost;
  }

 private:
  // Each worker receives; some transmit, for the others, too.
  void wire(std::uint8_t port, const Cable& cable) {
    gateway_.tables().ports[port].ethdev = cable.port;
    const unsigned senders = 1 + up_to(workers_);
    for (unsigned w = 0; w < workers_; ++w) {
      const auto sender = static_cast<std::uint16_t>(w % senders);
      gateway_.worker(w).receive.push_back({port, static_cast<std::uint16_t>(w)});
      gateway_.worker(w).transmit_queues[port] = {sender, sender};
    }
  }

  // SAs that belong to any worker.
  void set_up(unsigned tunnel) {
    const std::uint32_t spi = channel::make_spi(0, 1, 3 + tunnel);
    channel::InstallSa out = gateway_.command(kSuite, 2, false, spi, tunnel);
    out.tunnel = tunnel;
    out.worker = up_to(workers_);
    gateway_.set_tunnel(tunnel);
    gateway_.install_outbound(out, tunnel);
    gateway_.route("10." + std::to_string(16 + tunnel) + ".0.0/16", {NextHopKind::tunnel, 0, 0, tunnel});
    peer_.install_inbound(peer_.command(kSuite, 1, false, spi, tunnel));
    channel::InstallSa in = gateway_.command(kSuite, 2, tunnel % 2 != 0,
                                             channel::make_spi(up_to(workers_), 1, 3 + tunnel), 10 + tunnel);
    in.tunnel = tunnel;
    in.replay_window = 4096;  // flows of one SA wait for different workers
    gateway_.install_inbound(in);
    inbound_[tunnel] = in;
  }

  void look_at_what_came_out() {
    for (const Octets& frame : inside_.take()) note(frame);
    const std::vector<Octets> frames = outside_.take();
    for (std::size_t first = 0; first < frames.size(); first += dataplane::kBurst) {
      Output out;
      const std::size_t end = std::min(frames.size(), first + dataplane::kBurst);
      out.frames[kOutside] = {frames.begin() + static_cast<std::ptrdiff_t>(first),
                              frames.begin() + static_cast<std::ptrdiff_t>(end)};
      for (const Octets& frame : Pair::carry(out, peer_).frames[kOutside]) note(frame);
    }
  }

  void note(const Octets& frame) {
    Flow& flow = flows_.at(get16(frame, 14 + 20));
    const unsigned number = get16(frame, 14 + 22);
    REQUIRE(number > flow.last);
    flow.last = number;
    flow.came_out++;
  }

  unsigned workers_;
  std::mt19937 random_;
  Rig gateway_;
  Rig peer_;
  Cable outside_;
  Cable inside_;
  std::vector<Flow> flows_;
  channel::InstallSa inbound_[kTunnels];
  std::uint32_t sequence_[kTunnels]{};
  std::uint64_t handled_{0};
};

}  // namespace

TEST_CASE("No flow changes its order on its way through workers, and every lost packet is counted") {
  unsigned whole = 0, lossy = 0;
  for (unsigned seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    const unsigned workers = 2 + seed % 3;
    World world(workers, seed);
    const unsigned slow = seed % 2 == 0 ? workers : seed % workers;  // one that does not keep up, or none
    for (unsigned round = 0; round < 400; ++round) {
      for (unsigned left = world.up_to(40); left > 0; --left) world.arrive();
      const unsigned worker = world.up_to(workers);
      if (worker != slow || world.up_to(50) == 0) world.poll(worker);
    }
    for (unsigned idle = 0; idle < workers;)
      for (unsigned worker = idle = 0; worker < workers; ++worker) idle += world.poll(worker) == 0 ? 1 : 0;
    ++(world.check_counters() == 0 ? whole : lossy);
  }
  CHECK(whole >= 10);
  CHECK(lossy >= 10);
}

}  // namespace espgate::test
