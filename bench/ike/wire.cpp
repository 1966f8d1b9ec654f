// Two dataplanes without packets and the wire between them, for two real control processes: the real channel,
// every command answered "ok", IKE datagrams carried from one side to the other in memory. Says on standard
// output, as lines of JSON, how many tunnels have an outbound SA on each side.
// Usage: ike-wire DIRECTORY DIRECTORY TUNNELS
#include <fmt/format.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <set>
#include <string>
#include <utility>

#include "dataplane/attachment.hpp"

namespace {

using namespace espgate;
using channel::CommandKind;

volatile std::sig_atomic_t asked_to_stop = 0;

class Side {
 public:
  Side(const std::string& directory, const channel::Hello& shape)
      : page_(shape), link_(directory + "/dataplane.sock", shape, page_) {}

  // Applies what was commanded; true: there was something.
  bool serve() {
    channel::Command command{};
    bool any = false;
    while (!link_.backlogged() && link_.next_command(command)) {
      any = true;
      note(command);
      channel::Event done{};
      done.kind = channel::EventKind::command_done;
      done.body.command_done = {command.sequence, channel::CommandStatus::ok};
      link_.tell(done);
    }
    return any;
  }

  // What this side has sent goes to the other one, as long as that has room.
  bool carry_to(Side& other) {
    channel::IkeDatagram datagram{};
    bool any = false;
    while (other.link_.undelivered() < channel::kIkeSlots && link_.next_ike(datagram)) {
      any = true;
      ++datagrams_;
      std::swap(datagram.local, datagram.remote);
      std::swap(datagram.local_port, datagram.remote_port);
      (void)other.link_.deliver(datagram);
    }
    return any;
  }

  void wait(int milliseconds) { link_.wait(milliseconds); }
  void flush() { link_.flush(); }
  [[nodiscard]] std::size_t up() const { return sending_.size(); }
  [[nodiscard]] std::uint64_t installs() const { return installs_; }
  [[nodiscard]] std::uint64_t datagrams() const { return datagrams_; }

 private:
  void note(const channel::Command& command) {
    if (command.kind == CommandKind::install_outbound_sa) {
      sending_.insert(command.body.install_sa.tunnel);
      ++installs_;
    }
    if (command.kind == CommandKind::sync_begin) sending_.clear();
  }

  channel::CountersPage page_;
  dataplane::Attachment link_;
  std::set<std::uint32_t> sending_;
  std::uint64_t installs_{0};
  std::uint64_t datagrams_{0};
};

std::uint32_t slots_for(unsigned long tunnels) {
  std::uint32_t slots = 64;
  while (slots < 4 * tunnels) slots *= 2;
  return slots;
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void say(const Side& west, const Side& east) {
  fmt::print(R"({{"at": {:.4f}, "west": {}, "east": {}, "installs": {}, "datagrams": {}}})"
             "\n",
             now(), west.up(), east.up(), west.installs() + east.installs(),
             west.datagrams() + east.datagrams());
  std::fflush(stdout);
}

void run(const std::array<std::string, 2>& directories, unsigned long tunnels) {
  const std::uint32_t slots = slots_for(tunnels);
  const channel::Hello shape{1, slots, slots, static_cast<std::uint32_t>(tunnels), 8, 2};
  Side west(directories[0], shape);
  Side east(directories[1], shape);
  std::uint64_t told = ~std::uint64_t{0};
  double next = 0;
  while (asked_to_stop == 0) {
    bool any = west.serve();
    any = east.serve() || any;
    any = west.carry_to(east) || any;
    any = east.carry_to(west) || any;
    west.flush();
    east.flush();
    west.wait(0);
    east.wait(any ? 0 : 1);
    const std::uint64_t count = west.installs() + east.installs();
    if (count != told && now() >= next) {
      say(west, east);
      told = count;
      next = now() + 0.01;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    fmt::print(stderr, "usage: {} DIRECTORY DIRECTORY TUNNELS\n", argv[0]);
    return 2;
  }
  std::signal(SIGTERM, [](int) { asked_to_stop = 1; });
  std::signal(SIGINT, [](int) { asked_to_stop = 1; });
  try {
    run({argv[1], argv[2]}, std::strtoul(argv[3], nullptr, 10));
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "ike-wire: {}\n", error.what());
    return 1;
  }
}
