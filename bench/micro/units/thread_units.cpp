#include <sys/socket.h>

#include <memory>

#include "bench/micro/units/meter.hpp"
#include "bench/micro/units/testbed.hpp"
#include "channel/region.hpp"

namespace espgate::bench {

using namespace dataplane;

namespace {

// Both processes' ends of the channel.
struct Ends {
  static constexpr channel::Hello kShape{1, 1, 1, 1, 1, 1};
  channel::CountersPage page{kShape};
  channel::DataplaneEnd dataplane{kShape};
  std::unique_ptr<channel::ControlEnd> control;

  Ends() {
    int sockets[2];
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0, "no sockets");
    const channel::Fd ours(sockets[0]);
    const channel::Fd theirs(sockets[1]);
    require(dataplane.hand_over(ours.get(), page), "the region was not handed over");
    control = std::make_unique<channel::ControlEnd>(theirs.get());
  }
};

// Both ends by turns on one core: what it costs when nothing has to come from another core's cache.
template <class Message, class Push, class Pop>
Unit pass(const char* name, Push push, Pop pop) {
  return {name, [=](const Meter& meter) {
            Ends ends;
            const Message sent{};
            Message received{};
            unsigned failed = 0;
            const auto both = [&] {
              failed += push(ends, sent) == channel::RingStatus::ok ? 0 : 1;
              failed += pop(ends, received) == channel::RingStatus::ok ? 0 : 1;
              keep(&received);
            };
            for (std::uint32_t i = 0; i < channel::kEventSlots; ++i)
              both();  // the first touch of every slot; no ring has more
            const Figure figure = meter.repeat(1, both);
            require(failed == 0, "a message was not passed");
            return figure;
          }};
}

Unit pass_event() {
  return pass<channel::Event>(
      "shared ring push and pop, event",
      [](Ends& ends, const auto& sent) { return ends.dataplane.tell(sent); },
      [](Ends& ends, auto& received) { return ends.control->next_event(received); });
}

Unit pass_command() {
  return pass<channel::Command>(
      "shared ring push and pop, command",
      [](Ends& ends, const auto& sent) { return ends.control->command(sent); },
      [](Ends& ends, auto& received) { return ends.dataplane.next_command(received); });
}

Unit pass_ike() {
  return pass<channel::IkeDatagram>(
      "shared ring push and pop, IKE datagram",
      [](Ends& ends, const auto& sent) { return ends.control->send_ike(sent); },
      [](Ends& ends, auto& received) { return ends.dataplane.next_ike(received); });
}

Figure hand_off(const Meter& meter) {
  Testbed bed({.workers = 2});
  Packets packets(udp4);
  Burst& burst = bed.receive(packets);
  std::array<rte_mbuf*, kBurst> taken;
  unsigned lost = 0;
  const Figure figure = meter.repeat(kBurst, [&] {
    for (Packet& packet : burst) set_aside(bed.worker(0), 1, packet, Errand::encrypt);
    deliver_set_aside(bed.worker(0));
    lost += kBurst - rte_ring_sc_dequeue_burst(bed.worker(1).inbox, reinterpret_cast<void**>(taken.data()),
                                               kBurst, nullptr);
  });
  require(lost == 0, "a packet was not handed over");
  return figure;
}

Figure look_for_loan(const Meter& meter) {
  Testbed bed;
  return meter.repeat(1, [&] { keep(bed.worker().loan.help(bed.worker().engine)); });
}

Figure poll_in_vain(const Meter& meter) {
  Testbed bed({.workers = 2});
  return meter.repeat(1, [&] { keep(poll_once(bed.worker())); });
}

Figure count(const Meter& meter) {
  Testbed bed;
  channel::Counter& counter = bed.worker().counters->handed_off;
  return meter.repeat(1, [&] { channel::add(counter, 1); });
}

}  // namespace

Units thread_units() {
  return {{"hand-off to another worker's inbox, and out", hand_off},
          {"Loan::help, nothing lent", look_for_loan},
          {"poll_once, no ports and nothing to do", poll_in_vain},
          {"counter add", count},
          pass_event(),
          pass_command(),
          pass_ike()};
}

}  // namespace espgate::bench
