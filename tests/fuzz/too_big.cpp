// ICMP's "too big": the first byte says the family, the rest is the message. What is read of it must be
// possible, and however it is aimed at a tunnel, the tunnel's MTU stays within its bounds.
#include <cstdlib>
#include <memory>

#include "dataplane/ports/too_big.hpp"
#include "tests/dataplane/host/desk.hpp"

using namespace espgate;
using namespace espgate::test;

namespace {

void must(bool good) {
  if (!good) __builtin_trap();
}

std::unique_ptr<Desk> make_desk() {
  auto desk = std::make_unique<Desk>();
  must(desk->run(set_tunnel(3)) == channel::CommandStatus::ok);
  must(desk->run(install_outbound(3, 0xc0000001)) == channel::CommandStatus::ok);
  desk->tables.tunnels[3].outbound.load()->sequence = 1000;
  return desk;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::unique_ptr<Desk> desk = make_desk();
  if (size < 1 || size > 1500) return 0;
  const Family family = (data[0] & 1) != 0 ? Family::v6 : Family::v4;
  if (const auto lost = dataplane::read_undelivered({data + 1, size - 1}, family))
    must(lost->ends.local_port == 500 || lost->ends.local_port == 4500);
  const auto said = dataplane::read_too_big({data + 1, size - 1}, family);
  if (!said) return 0;
  must(said->mtu >= dataplane::least_path_mtu(family) && said->ends.local.family == family);
  must(!said->sequence || said->spi);
  must((said->ends.local_port == 0) == (said->ends.remote_port == 0));
  desk->now += 1'000'000'000;
  desk->commands.age_paths(desk->now);
  (void)desk->commands.path_too_big(*said, *parse_address("192.0.2.9"), desk->now);
  const std::uint16_t fit = desk->tables.tunnels[3].fit.load().mtu;
  must(fit >= 522 && fit <= 1446);
  desk->control.events.clear();
  (void)desk->sent();
  return 0;
}
