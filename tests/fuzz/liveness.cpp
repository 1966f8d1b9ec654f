// Packets out of a watched tunnel to one of our addresses, as a worker hands them up: the first byte says how
// long ago the one before was. Whatever comes, each is taken or dropped once, and no buffer is lost.
#include <cstdlib>
#include <memory>

#include "dataplane/path/wire.hpp"
#include "tests/dataplane/host/desk.hpp"

using namespace espgate;
using namespace espgate::test;

namespace {

constexpr std::uint32_t kTunnel = 3;

void must(bool good) {
  if (!good) __builtin_trap();
}

std::unique_ptr<Desk> make_desk() {
  auto desk = std::make_unique<Desk>();
  channel::Command wanted = set_tunnel(kTunnel);
  channel::SetTunnel& tunnel = wanted.body.set_tunnel;
  tunnel.addresses[1] = *parse_prefix("fd00:3::1/64");
  tunnel.address_count = 2;
  tunnel.watch.bfd_peer = *parse_address("169.254.3.2");
  tunnel.watch.bfd_interval = 50'000;
  tunnel.watch.bfd_multiplier = 3;
  tunnel.watch.probe_to = *parse_address("fd00:3::2");
  tunnel.watch.probe_interval = 200;
  tunnel.watch.probe_losses = 3;
  must(desk->run(wanted) == channel::CommandStatus::ok);
  must(desk->run(install_outbound(kTunnel, 0xc0000001)) == channel::CommandStatus::ok);
  return desk;
}

std::uint16_t checked(const Octets& packet) {
  const auto size = static_cast<std::uint32_t>(packet.size());
  if (packet.empty()) return 0;
  return packet[0] >> 4 == 4 ? dataplane::checked_ipv4(packet.data(), size)
                             : dataplane::checked_ipv6(packet.data(), size);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::unique_ptr<Desk> desk = make_desk();
  if (size < 2 || size > 1500) return 0;
  desk->now += std::uint64_t{data[0]} * 1'000'000;
  Octets packet(data + 1, data + size);
  packet.resize(checked(packet));  // what a worker has seen to
  if (packet.empty()) return 0;
  (void)desk->sent();
  const std::uint64_t before = desk->all_drops();
  rte_mbuf* const mbuf = desk->make(packet);
  dataplane::note_of(mbuf) = {
      static_cast<std::uint8_t>(Exception::to_host), dataplane::Note::kNoPort, 0, kTunnel, {}, {}};
  const bool taken = desk->liveness.receive(mbuf, desk->now);
  must(desk->all_drops() - before <= (taken ? 1 : 0));
  if (!taken) rte_pktmbuf_free(mbuf);
  desk->liveness.advance(desk->now, desk->now);
  desk->commands.follow_liveness(desk->now);
  must(desk->liveness.next_deadline() > desk->now);
  (void)desk->sent();
  must(desk->buffers_out() == 0);
  desk->control.events.clear();
  return 0;
}
