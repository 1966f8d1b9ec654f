// How long single acts of the main thread take, in CPU time, which a loaded machine does not change: what
// stands in docs/failover.md. Far ends wait for as long.
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <functional>
#include <string_view>

#include "tests/dataplane/host/desk.hpp"

using namespace espgate;
using namespace espgate::test;
using channel::Command;
using channel::RouteKind;

namespace {

double cpu_ms() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

// The longest of several.
void measure(std::string_view what, unsigned times, const std::function<void(unsigned)>& act) {
  double most = 0;
  double sum = 0;
  for (unsigned i = 0; i < times; i++) {
    const double began = cpu_ms();
    act(i);
    const double took = cpu_ms() - began;
    most = std::max(most, took);
    sum += took;
  }
  fmt::print("{:64} {:8.3f} ms on average, {:8.3f} at most\n", what, sum / times, most);
}

std::string prefix(unsigned i) { return fmt::format("20.{}.{}.0/24", i / 256 % 256, i % 256); }

void expect_ok(Desk& desk, const Command& wanted) {
  if (desk.run(wanted) != channel::CommandStatus::ok) throw std::runtime_error("refused");
}

}  // namespace

int main() {
  Desk desk(1, 4095, 70'000);
  desk.know(kWan, "192.0.2.2", {2, 0, 0, 0, 0x99, 2});
  expect_ok(desk, set_tunnel(3));
  measure("an outbound SA", 1, [&](unsigned) { expect_ok(desk, install_outbound(3, 0xc0000001)); });
  measure("a /24 route, set and committed", 1000,
          [&](unsigned i) { expect_ok(desk, set_route(prefix(i), RouteKind::tunnel, 3)); });
  for (const char* wide : {"24.0.0.0/8", "64.0.0.0/4", "0.0.0.0/0", "fd01::/48", "::/0"})
    measure(fmt::format("{} set and committed", wide), 4, [&](unsigned i) {
      expect_ok(desk, set_route(wide, i % 2 == 0 ? RouteKind::tunnel : RouteKind::blackhole, 3));
    });
  Command remove = command(channel::CommandKind::remove_route);
  remove.body.remove_route.destination = *parse_prefix("0.0.0.0/0");
  measure("0.0.0.0/0 removed and committed", 1, [&](unsigned) { expect_ok(desk, remove); });
  for (unsigned i = 1000; i < 60'000; i++) {
    desk.commands.execute(set_route(prefix(i), RouteKind::tunnel, 3), desk.now);
    desk.control.events.clear();
  }
  measure("the commit of 59,000 routes", 1, [&](unsigned) { desk.commands.settle(desk.now); });
  measure("a snapshot of one SA", 100, [&](unsigned) { desk.associations.snapshot(desk.control, desk.now); });
  return 0;
}
