// Copies of one interface's packets at an interface of the kernel, as a packet socket sees them.
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>

#include "dataplane/path/mirror.hpp"
#include "tests/dataplane/host/desk.hpp"
#include "tests/dataplane/kernel/namespace.hpp"

using namespace espgate;
using namespace espgate::test;
using channel::CommandKind;
using channel::CommandStatus;
using channel::MirrorOf;

namespace {

channel::Command mirror(MirrorOf what, std::uint32_t index, std::string_view its_name) {
  channel::Command out = command(CommandKind::set_mirror);
  out.body.set_mirror.what = what;
  out.body.set_mirror.index = index;
  out.body.set_mirror.name = name(std::string(its_name));
  return out;
}

// What tcpdump would see.
class Watcher {
 public:
  explicit Watcher(const std::string& interface)
      : fd_(socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL))) {
    sockaddr_ll at{};
    at.sll_family = AF_PACKET;
    at.sll_protocol = htons(ETH_P_ALL);
    at.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    REQUIRE(bind(fd_.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
  }
  [[nodiscard]] std::vector<Octets> seen() const {
    std::vector<Octets> packets;
    std::array<std::uint8_t, 2048> room;
    for (;;) {
      const ssize_t length = recv(fd_.get(), room.data(), room.size(), 0);
      if (length < 0) return packets;
      packets.emplace_back(room.begin(), room.begin() + length);
    }
  }

 private:
  channel::Fd fd_;
};

constexpr std::size_t kLength = 40;  // of these packets

Octets flow(unsigned i) {
  const Octets ip =
      ipv4_packet({.source = "10.1.0.10", .destination = "10.2.0." + std::to_string(i), .protocol = 17},
                  Octets(20, std::uint8_t{7}));
  return ethernet({2, 0, 0, 0, 1, kLan}, 0x0800, ip);
}

}  // namespace

TEST_CASE("What goes into a tunnel is seen at its mirror, and nothing once that is off") {
  const NetworkNamespace space;
  Desk desk;
  for (const std::uint32_t tunnel : {3U, 4U}) {
    REQUIRE(desk.run(set_tunnel(tunnel)) == CommandStatus::ok);
    REQUIRE(desk.run(install_outbound(tunnel, 0xc0000000 + tunnel)) == CommandStatus::ok);
  }
  REQUIRE(desk.run(set_route("10.2.0.0/25", channel::RouteKind::tunnel, 3)) == CommandStatus::ok);
  REQUIRE(desk.run(set_route("10.2.0.128/25", channel::RouteKind::tunnel, 4)) == CommandStatus::ok);
  (void)desk.sent();
  (void)desk.pass(kLan, {flow(1)});
  CHECK(desk.mirror.serve() == 0);
  REQUIRE(desk.run(mirror(MirrorOf::tunnel, 3, "vti3-m")) == CommandStatus::ok);
  const Watcher watcher("vti3-m");
  (void)desk.pass(kLan, {flow(2), flow(200), flow(3)});
  CHECK(desk.mirror.serve() == 2);
  const auto seen = watcher.seen();
  REQUIRE(seen.size() == 2);
  CHECK(seen[0].size() == kLength);
  CHECK(seen[0][19] == 2);
  CHECK(seen[0].back() == 7);
  // The kernel takes nothing in from there, not even for addresses of its own.
  (void)NetworkNamespace::run("ip addr add 10.2.0.5/32 dev lo");
  (void)desk.pass(kLan, {flow(5)});
  CHECK(desk.mirror.serve() == 1);
  CHECK(NetworkNamespace::run("nstat -asz IpInDelivers | awk '/IpInDelivers/ {print $2}'") == "0\n");

  REQUIRE(desk.run(mirror(MirrorOf::port, kLan, "lan-m")) == CommandStatus::ok);  // instead
  CHECK(if_nametoindex("vti3-m") == 0);
  const Watcher lan("lan-m");
  (void)desk.pass(kLan, {flow(6), flow(201)});
  CHECK(desk.mirror.serve() == 2);
  CHECK(lan.seen().size() == 2);
  REQUIRE(desk.run(mirror(MirrorOf::nothing, 0, "")) == CommandStatus::ok);
  CHECK(if_nametoindex("lan-m") == 0);
  (void)desk.pass(kLan, {flow(7)});
  CHECK(desk.mirror.serve() == 0);
}

TEST_CASE("A frame in several segments is copied whole, and what is no IP is not") {
  const NetworkNamespace space;
  Desk desk;
  REQUIRE(desk.run(mirror(MirrorOf::port, kLan, "lan-m")) == CommandStatus::ok);
  const Watcher watcher("lan-m");
  const Octets whole = flow(8);
  const Octets arp = ethernet({2, 0, 0, 0, 1, kLan}, 0x0806, Octets(28, std::uint8_t{1}));
  std::array<rte_mbuf*, 3> frames{desk.make(slice(whole, 0, 41)), desk.make(arp), desk.make(whole)};
  REQUIRE(rte_pktmbuf_chain(frames[0], desk.make(slice(whole, 41))) == 0);
  dataplane::mirror_frames(*desk.workers[0], kLan, frames);
  for (rte_mbuf* const frame : frames) rte_pktmbuf_free(frame);
  CHECK(desk.mirror.serve() == 2);
  const auto seen = watcher.seen();
  REQUIRE(seen.size() == 2);
  CHECK(seen[0] == slice(whole, 14));
  CHECK(seen[1] == seen[0]);
}

TEST_CASE("Copies that find no room are counted, and a mirror that can't be is refused") {
  const NetworkNamespace space;
  Desk desk;
  REQUIRE(desk.run(mirror(MirrorOf::port, kLan, "lan-m")) == CommandStatus::ok);
  for (int i = 0; i < 40; i++) (void)desk.pass(kLan, std::vector<Octets>(32, flow(9)));
  CHECK(desk.page.worker(0).drops[static_cast<std::size_t>(DropReason::mirror_full)] == 40 * 32 - 1023);
  while (desk.mirror.serve() != 0) {
  }
  (void)NetworkNamespace::run("ip link add taken type veth peer name other");
  CHECK(desk.run(mirror(MirrorOf::port, kLan, "taken")) == CommandStatus::kernel_refused);
  CHECK(if_nametoindex("lan-m") == 0);
  CHECK(desk.run(mirror(MirrorOf::port, 99, "x")) == CommandStatus::bad_index);
  CHECK(desk.run(mirror(MirrorOf::tunnel, 3, "x")) == CommandStatus::bad_index);
  CHECK(desk.run(mirror(static_cast<MirrorOf>(9), 0, "x")) == CommandStatus::bad_option);
  CHECK(desk.run(mirror(MirrorOf::port, kLan, "")) == CommandStatus::bad_name);
  CHECK(desk.run(mirror(MirrorOf::port, kLan, "a/b")) == CommandStatus::bad_name);
}
