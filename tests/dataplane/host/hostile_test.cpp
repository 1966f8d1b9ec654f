// The other side writes anything: random commands, and random bytes all over the shared region while a worker
// forwards. Nothing crashes, and what the control process does not own goes on.
#include <catch2/catch.hpp>

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <random>
#include <thread>

#include "channel/hand_over.hpp"
#include "channel/spi.hpp"
#include "dataplane/attachment.hpp"
#include "tests/dataplane/host/desk.hpp"

using namespace espgate;
using namespace espgate::test;
using channel::Command;
using channel::CommandKind;

namespace {

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>(engine_() % n); }
  void fill(void* at, std::size_t size) {
    auto* bytes = static_cast<std::uint8_t*>(at);
    for (std::size_t i = 0; i < size; i++) bytes[i] = static_cast<std::uint8_t>(engine_());
  }
  IpAddress address() {
    static const char* const kTexts[] = {"192.0.2.2",   "10.1.0.9", "0.0.0.0",   "255.255.255.255",
                                         "fd00:1::9",   "fe80::1",  "224.0.0.1", "192.0.2.1",
                                         "169.254.1.1", "::"};
    return *parse_address(kTexts[below(10)]);
  }
  IpPrefix prefix() {
    const IpAddress at = address();
    // Seldom a short one: it takes milliseconds to write into all of the table that it covers.
    const std::uint32_t least = below(16) == 0 ? 0 : 12;
    return {at, static_cast<std::uint8_t>(least + below((at.is_v4() ? 34 : 130) - least))};
  }

 private:
  std::mt19937_64 engine_;
};

// A sound command of any kind, so that the deep places are reached too.
Command sound(Random& random) {
  static const CommandKind kKinds[] = {CommandKind::remove_tunnel, CommandKind::remove_group,
                                       CommandKind::sync_begin,    CommandKind::sync_end,
                                       CommandKind::list_sas,      CommandKind::extend_sa};
  const std::uint32_t index = random.below(8);
  switch (random.below(10)) {
    case 0:
      return set_tunnel(index, random.below(2) == 0 ? "192.0.2.2" : "203.0.113.1");
    case 1:
      return set_group(index % 4, {random.below(8), random.below(8)});
    case 2:
      return install_inbound(index, channel::make_spi(0, random.below(4), 256 + random.below(8)));
    case 3:
      return install_outbound(index, 1000 + random.below(4));
    case 4:
      return remove_sa(CommandKind::remove_outbound_sa, index, 1000 + random.below(4));
    case 5:
      return remove_sa(CommandKind::remove_inbound_sa, index,
                       channel::make_spi(0, random.below(4), 256 + random.below(8)));
    case 6:
    case 7: {
      Command route = set_route("0.0.0.0/0", static_cast<channel::RouteKind>(random.below(6)), index);
      route.body.set_route.destination = random.prefix();
      route.body.set_route.gateway = random.address();
      return route;
    }
    case 8: {
      Command route = command(CommandKind::remove_route);
      route.body.remove_route.destination = random.prefix();
      return route;
    }
    default: {
      Command other = command(kKinds[random.below(6)]);
      other.body.extend_sa = {index, 1000 + random.below(4), random.below(1000)};
      return other;
    }
  }
}

Command hostile(Random& random) {
  Command out = sound(random);
  switch (random.below(4)) {
    case 0:  // any bytes at all
      random.fill(&out, sizeof(out));
      if (random.below(2) == 0) out.kind = static_cast<CommandKind>(random.below(16));
      break;
    case 1:  // a few bytes of a sound one
      for (std::uint32_t i = 1 + random.below(4); i > 0; i--)
        random.fill(reinterpret_cast<std::uint8_t*>(&out) + 16 + random.below(sizeof(out) - 16), 1);
      break;
    default:
      break;
  }
  return out;
}

// The ports' routes are nobody's to change.
void check_unharmed(Desk& desk) {
  const auto kind = [&](std::string_view address) {
    return desk.tables.routes(kMainTable).find_one(*parse_address(address)).kind;
  };
  CHECK(kind("10.1.0.1") == NextHopKind::host);
  CHECK(kind("fd00:1::1") == NextHopKind::host);
  CHECK(kind("192.0.2.1") == NextHopKind::host);
}

}  // namespace

TEST_CASE("a million hostile commands", "[hostile]") {
  Desk desk;
  Random random(4);
  for (int i = 0; i < 1'000'000; i++) {
    desk.commands.execute(hostile(random), desk.now);
    desk.now += 1'000'000;
    if (i % 64 != 0) continue;
    desk.commands.settle(desk.now);
    desk.tables.rcu.reclaim_ready();
    desk.slow_path.resolver().advance(desk.now);
    if (i % 4096 == 0) desk.associations.snapshot(desk.control, desk.now);
    for (const Sent& sent : desk.sent()) REQUIRE(sent.data.size() < 2048);
    desk.control.events.clear();
  }
  check_unharmed(desk);
  // And a sound one still works: all swept away, then a tunnel.
  (void)desk.run(command(CommandKind::sync_begin));
  CHECK(desk.run(command(CommandKind::sync_end)) == channel::CommandStatus::ok);
  CHECK(desk.associations.count() == 0);
  CHECK(desk.run(set_tunnel(2)) == channel::CommandStatus::ok);
  CHECK(desk.run(install_inbound(2, channel::make_spi(0, 1, 300))) == channel::CommandStatus::ok);
}

namespace {

// A worker that sends through one SA, installed beside whatever the control process does: inbound slot 500
// and outbound slot 15 are far from where random commands lead.
class Forwarder {
 public:
  static constexpr std::uint32_t kTunnel = 8;
  static constexpr std::uint32_t kSlot = 15;

  explicit Forwarder(Desk& desk) : desk_(desk), selectors_(dataplane::make_selector_set(any_to_any())) {
    Command install = install_outbound(kTunnel, 0xcafe0001);
    dataplane::OutboundSa& sa = desk.tables.outbound[0][kSlot];
    REQUIRE(dataplane::prepare(sa, install.body.install_sa, selectors_, desk.engine));
    desk.know(kWan, "192.0.2.2", Octets{2, 0, 0, 0, 0x99, 2});
    sa.outer = NextHop{NextHopKind::gateway, kWan, 0,
                       desk.tables.neighbours.find(kWan, *parse_address("192.0.2.2"))};
    sa.spi = 0xcafe0001;
    desk.tables.tunnels[kTunnel].fit = dataplane::Fit{1400, false};
    desk.tables.tunnels[kTunnel].tunnel = &tunnel_;
    desk.tables.tunnels[kTunnel].outbound = &sa;
    REQUIRE(desk.ribs[kMainTable].set(*parse_prefix("10.77.0.0/16"), {dataplane::RouteSource::host, 1U << 20},
                                      {NextHopKind::tunnel, 0, 0, kTunnel}));
    desk.ribs.commit();
    desk.tables.shape.max_tunnels = kTunnel;
    desk.tables.shape.outbound_slots = kSlot;
  }
  ~Forwarder() {
    desk_.tables.tunnels[kTunnel].tunnel = nullptr;
    desk_.tables.tunnels[kTunnel].outbound = nullptr;
  }
  Forwarder(const Forwarder&) = delete;
  Forwarder& operator=(const Forwarder&) = delete;

  // On its own thread: every packet in must come out as ESP.
  void run(const std::atomic<bool>& stop) {
    dataplane::Worker& worker = *desk_.workers[0];
    Octets inner = packet("udp4");
    std::copy_n(v4_bytes("10.77.0.1").begin(), 4, inner.begin() + 16);
    fix_ipv4_checksum(inner);
    const Octets frame = ethernet({2, 0, 0, 0, 1, 0}, 0x0800, inner);
    desk_.tables.rcu.online(0);
    while (!stop) {
      forward(worker, frame);
      desk_.tables.rcu.quiet(0);
    }
    desk_.tables.rcu.offline(0);
  }

  std::atomic<std::uint64_t> in{0};
  std::atomic<std::uint64_t> out{0};

 private:
  void forward(dataplane::Worker& worker, const Octets& frame) {
    rte_mbuf* mbufs[8];
    for (rte_mbuf*& mbuf : mbufs) mbuf = desk_.make(frame);
    in += 8;
    dataplane::process_received(worker, kLan, mbufs);
    dataplane::TransmitBuffer& buffer = worker.transmit[kWan];
    for (unsigned i = 0; i < buffer.count; i++) {
      const auto* sent = rte_pktmbuf_mtod(buffer.packets[i], const std::uint8_t*);
      const bool esp = sent[23] == 50 && std::memcmp(sent + 34, "\xca\xfe\x00\x01", 4) == 0;
      out += esp ? 1 : 0;
      rte_pktmbuf_free(buffer.packets[i]);
    }
    buffer.count = 0;
  }

  Desk& desk_;
  dataplane::SelectorSet selectors_;
  dataplane::Tunnel tunnel_{};
};

// The main thread's part of a round that touches the region.
void serve(Desk& desk, dataplane::Attachment& attachment, dataplane::Commands& commands,
           dataplane::IkePort& ike) {
  static Command command{};
  static channel::IkeDatagram datagram{};
  for (std::uint32_t i = 0; i < 64 && attachment.next_command(command); i++)
    commands.execute(command, desk.now);
  commands.settle(desk.now);
  for (std::uint32_t i = 0; i < 16 && attachment.next_ike(datagram); i++) ike.send(datagram, desk.now);
  datagram.length = 300;
  (void)attachment.deliver(datagram);
  attachment.flush();
  attachment.wait(0);
  desk.tables.rcu.reclaim_ready();
  desk.now += 1'000'000;
}

// Attaches and scribbles: slots full of garbage, and indices that are sometimes possible and sometimes not.
void scribble(const std::string& path, Random& random, const std::function<void()>& serve_once) {
  channel::Fd socket = channel::connect_to(path);
  serve_once();
  const channel::Descriptors fds = channel::receive_descriptors(socket.get());
  void* memory =
      mmap(nullptr, sizeof(channel::RegionMemory), PROT_READ | PROT_WRITE, MAP_SHARED, fds[0].get(), 0);
  REQUIRE(memory != MAP_FAILED);
  auto& region = *static_cast<channel::RegionMemory*>(memory);
  const std::uint32_t honest = 20 + random.below(200);
  for (std::uint32_t round = 0; round < honest + 5; round++) {
    const std::uint32_t slots = 1 + random.below(64);
    const std::uint32_t from = region.commands.written.load();
    for (std::uint32_t i = 0; i < slots; i++)
      region.commands.slots[(from + i) % channel::kCommandSlots] = hostile(random);
    for (int i = 0; i < 200; i++)
      random.fill(static_cast<std::uint8_t*>(memory) + random.below(sizeof(region) - 64), random.below(64));
    if (round < honest) {  // possible indices, so that the slots are read
      region.commands.written.store(from + slots);
      region.events.read.store(region.events.written.load());
      region.ike_received.read.store(region.ike_received.written.load());
      region.ike_to_send.written.fetch_add(random.below(2));
    }
    serve_once();
  }
  random.fill(&region.commands.written, 4);
  serve_once();
  munmap(memory, sizeof(channel::RegionMemory));
}

}  // namespace

TEST_CASE("a control process that scribbles over the region: forwarding goes on, and the next one is served",
          "[hostile]") {
  Desk desk(1, 4095);
  Forwarder forwarder(desk);
  const std::string path = "/tmp/espgate-hostile-" + std::to_string(getpid()) + ".sock";
  dataplane::Attachment attachment(path, desk.page.header().shape, desk.page);
  dataplane::Associations associations(desk.tables, desk.slow_path.resolver(), desk.outbox, desk.offload,
                                       desk.peers, desk.page, desk.engine, {});
  dataplane::Groups groups(desk.tables, desk.slow_path.resolver(), desk.liveness);
  dataplane::Commands commands({desk.tables, desk.ribs, desk.slow_path.resolver(), associations, groups,
                                desk.interfaces, desk.peers, desk.liveness, desk.twins, desk.kernel_routes,
                                desk.mirror, attachment});
  dataplane::IkePort ike(desk.tables, desk.outbox, desk.peers, attachment, 7, {});
  std::atomic<bool> stop{false};
  std::thread worker([&] { forwarder.run(stop); });
  Random random(11);
  for (int attachments = 0; attachments < 12; attachments++)
    scribble(path, random, [&] {
      serve(desk, attachment, commands, ike);
      (void)desk.sent();
    });
  const std::uint64_t until_now = forwarder.out;
  while (forwarder.out < until_now + 1000) std::this_thread::yield();
  stop = true;
  worker.join();
  CHECK(forwarder.in == forwarder.out);
  check_unharmed(desk);

  // One that behaves is served.
  channel::Fd socket = channel::connect_to(path);
  serve(desk, attachment, commands, ike);
  serve(desk, attachment, commands, ike);
  channel::ControlEnd end(socket.get());
  const Command begin = command(CommandKind::sync_begin);
  REQUIRE(end.command(begin) == channel::RingStatus::ok);
  serve(desk, attachment, commands, ike);
  channel::Event event{};
  bool answered = false;
  while (end.next_event(event) == channel::RingStatus::ok)
    answered = answered || (event.kind == channel::EventKind::command_done &&
                            event.body.command_done.sequence == begin.sequence &&
                            event.body.command_done.status == channel::CommandStatus::ok);
  CHECK(answered);
}

TEST_CASE("one control process at a time, and a new one when the old is gone") {
  Desk desk;
  const std::string path = "/tmp/espgate-attach-" + std::to_string(getpid()) + ".sock";
  dataplane::Attachment attachment(path, desk.page.header().shape, desk.page);
  CHECK_FALSE(attachment.attached());
  auto first = std::make_unique<channel::Fd>(channel::connect_to(path));
  attachment.wait(100);
  CHECK(attachment.attached());
  const channel::ControlEnd control(first->get());
  {
    const channel::Fd second = channel::connect_to(path);
    attachment.wait(100);
    char byte = 0;
    CHECK(read(second.get(), &byte, 1) == 0);  // refused: closed without a region
  }
  CHECK(attachment.attached());
  first.reset();
  const channel::Fd third = channel::connect_to(path);
  for (int i = 0; i < 3; i++) attachment.wait(100);
  CHECK(attachment.attached());
  const channel::ControlEnd successor(third.get());
  CHECK(successor.hello().max_tunnels == 9);
}

TEST_CASE("events that find the ring full wait, and are counted when nobody is there") {
  Desk desk;
  const std::string path = "/tmp/espgate-events-" + std::to_string(getpid()) + ".sock";
  dataplane::Attachment attachment(path, desk.page.header().shape, desk.page);
  channel::Event event{};
  event.kind = channel::EventKind::port_up;
  attachment.tell(event);
  CHECK(desk.page.header().lost_events == 1);
  const channel::Fd socket = channel::connect_to(path);
  attachment.wait(100);
  channel::ControlEnd control(socket.get());
  constexpr std::uint32_t kCount = channel::kEventSlots + 1000;
  for (std::uint32_t i = 0; i < kCount; i++) {
    event.body.port_change.port = i;
    attachment.tell(event);
  }
  CHECK(attachment.backlogged());
  for (std::uint32_t i = 0; i < kCount; i++) {
    attachment.flush();
    REQUIRE(control.next_event(event) == channel::RingStatus::ok);
    REQUIRE(event.body.port_change.port == i);
  }
  CHECK_FALSE(attachment.backlogged());
  CHECK(desk.page.header().lost_events == 1);
}
