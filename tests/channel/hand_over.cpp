// The region between two real processes, and what a receiver can and can't do with what it was given.
#include "channel/hand_over.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <memory>

#include "channel/memory.hpp"

using namespace espgate::channel;
using Catch::Contains;

namespace {

constexpr Hello kShape{
    .workers = 2, .inbound_slots = 16, .outbound_slots = 16, .max_tunnels = 4, .max_groups = 2, .ports = 2};

struct Pair {
  Pair() {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) throw std::runtime_error("socketpair");
    dataplane = Fd(pair[0]);
    control = Fd(pair[1]);
  }
  Fd dataplane;
  Fd control;
};

bool is_readable(int fd) {
  pollfd entry{fd, POLLIN, 0};
  return poll(&entry, 1, 0) == 1;
}

// The three descriptors as a control process of evil intent holds them.
Descriptors stolen(DataplaneEnd& end, const CountersPage& counters) {
  const Pair pair;
  REQUIRE(end.hand_over(pair.dataplane.get(), counters));
  return receive_descriptors(pair.control.get());
}

RegionMemory* map_region(const Fd& fd) {
  return static_cast<RegionMemory*>(map(fd, sizeof(RegionMemory), true));
}

// A dataplane that hands over a region with something wrong in it.
std::string refusal(const std::function<void(RegionMemory&)>& spoil) {
  DataplaneEnd end(kShape);
  const CountersPage counters(kShape);
  const Descriptors fds = stolen(end, counters);
  RegionMemory* region = map_region(fds[0]);
  spoil(*region);
  munmap(region, sizeof(RegionMemory));
  const Pair pair;
  REQUIRE(send_descriptors(pair.dataplane.get(), {fds[0].get(), fds[1].get(), fds[2].get()}));
  try {
    const ControlEnd control(pair.control.get());
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "accepted";
}

std::string refusal_of(int region, int counters, int wake) {
  const Pair pair;
  REQUIRE(send_descriptors(pair.dataplane.get(), {region, counters, wake}));
  try {
    const ControlEnd control(pair.control.get());
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "accepted";
}

int count_descriptors() {
  int count = 0;
  for (int fd = 0; fd < 256; ++fd)
    if (fcntl(fd, F_GETFD) >= 0) ++count;
  return count;
}

}  // namespace

TEST_CASE("commands, events and datagrams cross both ways, with wakes") {
  const Pair pair;
  CountersPage counters(kShape);
  DataplaneEnd dataplane(kShape);
  REQUIRE(dataplane.hand_over(pair.dataplane.get(), counters));
  ControlEnd control(pair.control.get());
  CHECK(control.hello() == kShape);
  CHECK(control.counters().shape() == kShape);

  Command command{};
  command.sequence = 7;
  command.kind = CommandKind::remove_tunnel;
  command.body.remove_tunnel.index = 3;
  REQUIRE(control.command(command) == RingStatus::ok);
  CHECK_FALSE(is_readable(dataplane.wake_fd()));
  control.wake_dataplane();
  CHECK(is_readable(dataplane.wake_fd()));
  dataplane.clear_wake();
  CHECK_FALSE(is_readable(dataplane.wake_fd()));
  Command got{};
  REQUIRE(dataplane.next_command(got) == RingStatus::ok);
  CHECK(got.sequence == 7);
  CHECK(got.body.remove_tunnel.index == 3);

  Event event{};
  event.kind = EventKind::port_up;
  REQUIRE(dataplane.tell(event) == RingStatus::ok);
  for (int i = 0; i < 1000; ++i) dataplane.wake_control();  // more than the socket holds does not block
  CHECK(is_readable(control.wake_fd()));
  Event seen{};
  REQUIRE(control.next_event(seen) == RingStatus::ok);
  CHECK(seen.kind == EventKind::port_up);

  const auto datagram = std::make_unique<IkeDatagram>();
  datagram->length = 3;
  REQUIRE(control.send_ike(*datagram) == RingStatus::ok);
  CHECK(dataplane.waiting_ike() == 1);
  REQUIRE(dataplane.next_ike(*datagram) == RingStatus::ok);
  CHECK(dataplane.waiting_ike() == 0);
  REQUIRE(dataplane.deliver(*datagram) == RingStatus::ok);
  CHECK(dataplane.undelivered_ike() == 1);
  REQUIRE(control.next_ike(*datagram) == RingStatus::ok);
  CHECK(datagram->length == 3);

  add(counters.worker(1).loops, 5);
  CHECK(control.counters().worker(1).loops.load() == 5);
}

TEST_CASE("the death of the control process shows on the dataplane's wake") {
  const Pair pair;
  const CountersPage counters(kShape);
  DataplaneEnd dataplane(kShape);
  REQUIRE(dataplane.hand_over(pair.dataplane.get(), counters));
  {
    const ControlEnd control(pair.control.get());
    CHECK_FALSE(is_readable(dataplane.wake_fd()));
  }
  CHECK(is_readable(dataplane.wake_fd()));
  dataplane.wake_control();                                          // neither a signal nor an exception
  CHECK_FALSE(dataplane.hand_over(pair.dataplane.get(), counters));  // a region is handed over once
}

TEST_CASE("two processes exchange a million messages") {
  constexpr std::uint64_t kMessages = 1'000'000;
  const Pair pair;
  const CountersPage counters(kShape);
  DataplaneEnd dataplane(kShape);
  REQUIRE(dataplane.hand_over(pair.dataplane.get(), counters));
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {  // the control process: every command is answered, so it sends and takes in turn
    ControlEnd control(pair.control.get());
    Command command{};
    Event event{};
    std::uint64_t sent = 0;
    std::uint64_t done = 0;
    bool right = true;
    while (done < kMessages) {
      command.sequence = sent;
      command.kind = CommandKind::remove_tunnel;
      command.body.remove_tunnel.index = static_cast<std::uint32_t>(sent * 2654435761U);
      if (sent < kMessages && control.command(command) == RingStatus::ok)
        ++sent;
      else
        usleep(50);
      while (control.next_event(event) == RingStatus::ok)
        right = right && event.kind == EventKind::command_done && event.body.command_done.sequence == done++;
    }
    _exit(right ? 0 : 1);
  }
  Command command{};
  Event event{};
  event.kind = EventKind::command_done;
  std::uint64_t wrong = 0;
  for (std::uint64_t expected = 0; expected < kMessages;) {
    if (dataplane.next_command(command) != RingStatus::ok) {
      usleep(50);
      continue;
    }
    const bool right = command.sequence == expected && command.kind == CommandKind::remove_tunnel &&
                       command.body.remove_tunnel.index == static_cast<std::uint32_t>(expected * 2654435761U);
    if (!right) ++wrong;
    event.body.command_done.sequence = expected++;
    while (dataplane.tell(event) == RingStatus::full) usleep(50);
  }
  CHECK(wrong == 0);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("a peer that writes random indices and garbage slots breaks its own rings and nothing else") {
  const CountersPage counters(kShape);
  std::uint32_t random = 1;
  const auto next = [&random] { return random = random * 1664525 + 1013904223; };
  unsigned broken = 0;
  for (unsigned round = 0; round < 200; ++round) {
    DataplaneEnd dataplane(kShape);
    const Descriptors fds = stolen(dataplane, counters);
    RegionMemory* region = map_region(fds[0]);
    auto* bytes = reinterpret_cast<std::uint8_t*>(region);
    for (unsigned i = 0; i < 20'000; ++i)
      bytes[(std::uint64_t{next()} << 8) % sizeof(RegionMemory)] = static_cast<std::uint8_t>(next() >> 24);
    region->commands.written = round % 2 == 0 ? next() : next() % (2 * kCommandSlots);
    region->events.read = next();
    region->ike_received.read = next();
    region->ike_to_send.written = next() % (2 * kIkeSlots);
    Command command{};
    unsigned taken = 0;
    RingStatus status;
    while ((status = dataplane.next_command(command)) == RingStatus::ok) ++taken;
    CHECK(taken <= kCommandSlots);
    if (status == RingStatus::broken) ++broken;
    CHECK(dataplane.waiting_ike() <= kIkeSlots);
    CHECK(dataplane.undelivered_ike() <= kIkeSlots);
    (void)dataplane.tell(Event{});
    munmap(region, sizeof(RegionMemory));
  }
  CHECK(broken >= 100);
}

TEST_CASE("the receiver can't shrink or grow the region, nor take its seals off") {
  DataplaneEnd end(kShape);
  const CountersPage counters(kShape);
  const Descriptors fds = stolen(end, counters);
  for (int i : {0, 1}) {
    const int fd = fds[static_cast<std::size_t>(i)].get();
    CAPTURE(i);
    CHECK(ftruncate(fd, 4096) == -1);
    CHECK(errno == EPERM);
    CHECK(ftruncate(fd, 1LL << 30) == -1);
    CHECK(errno == EPERM);
    CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == -1);
    CHECK(errno == EPERM);
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  }
  CHECK((fcntl(fds[2].get(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("the receiver can't write the counters page in any way") {
  DataplaneEnd end(kShape);
  CountersPage counters(kShape);
  const Descriptors fds = stolen(end, counters);
  const int fd = fds[1].get();
  CHECK(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
  CHECK(errno == EPERM);
  void* read_only = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
  REQUIRE(read_only != MAP_FAILED);
  CHECK(mprotect(read_only, 4096, PROT_READ | PROT_WRITE) == -1);
  munmap(read_only, 4096);
  const char byte = 'x';
  CHECK(pwrite(fd, &byte, 1, 0) == -1);
  const Fd reopened(open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDWR | O_CLOEXEC));
  if (reopened) CHECK(mmap(nullptr, 4096, PROT_WRITE, MAP_SHARED, reopened.get(), 0) == MAP_FAILED);
  CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == -1);
  add(counters.worker(0).loops, 1);  // its owner still can
  CHECK(counters.worker(0).loops.load() == 1);
}

TEST_CASE("a hostile peer can't make the wakes block") {
  DataplaneEnd end(kShape);
  const CountersPage counters(kShape);
  const Descriptors fds = stolen(end, counters);
  REQUIRE(fcntl(fds[2].get(), F_SETFL, 0) == 0);
  alarm(10);  // a blocked wake would end the test program
  for (int i = 0; i < 10'000; ++i) end.wake_control();
  end.clear_wake();
  alarm(0);
  SUCCEED();
}

TEST_CASE("keys that nobody read do not stay behind in the region") {
  const CountersPage counters(kShape);
  auto end = std::make_unique<DataplaneEnd>(kShape);
  const Descriptors fds = stolen(*end, counters);
  RegionMemory* region = map_region(fds[0]);
  region->commands.slots[3].body.install_sa.keys.fill(0xa5);
  end.reset();
  const auto& keys = region->commands.slots[3].body.install_sa.keys;
  CHECK(std::all_of(keys.begin(), keys.end(), [](std::uint8_t byte) { return byte == 0; }));
  munmap(region, sizeof(RegionMemory));
}

TEST_CASE("another build is refused in words") {
  CHECK(refusal([](RegionMemory&) {}) == "accepted");
  CHECK(refusal([](RegionMemory& region) { region.version = 2; }) ==
        "the dataplane speaks channel version 2, this control process version 1: they are not of one build");
  CHECK(refusal([](RegionMemory& region) { region.layout ^= 1; }) ==
        "the dataplane lays out its messages otherwise than this control process: they are not of one build");
  CHECK(refusal([](RegionMemory& region) { region.magic = 0; }) ==
        "what answered is not an espgate dataplane");
  CHECK(refusal([](RegionMemory& region) { ++region.hello.ports; }) ==
        "the dataplane's region and its counters page are not of one shape");
}

TEST_CASE("what is not a sealed region of ours is refused, and every descriptor closed") {
  DataplaneEnd end(kShape);
  const CountersPage counters(kShape);
  const Descriptors good = stolen(end, counters);
  const int before = count_descriptors();
  const Fd unsealed = make_memory("test", sizeof(RegionMemory));
  const Fd empty = make_memory("test", 0);
  seal(empty, false);
  const Fd large = make_memory("test", sizeof(RegionMemory) + 4096);
  seal(large, false);
  const int counters_fd = good[1].get();
  const int wake = good[2].get();
  CHECK(refusal_of(unsealed.get(), counters_fd, wake) ==
        "the dataplane's region is not sealed shared memory");
  CHECK(refusal_of(wake, counters_fd, wake) == "the dataplane's region is not sealed shared memory");
  CHECK(refusal_of(empty.get(), counters_fd, wake) == "the dataplane's region is too short");
  CHECK(refusal_of(large.get(), counters_fd, wake) == "what answered is not an espgate dataplane");
  CHECK(refusal_of(good[0].get(), unsealed.get(), wake) ==
        "the dataplane's counters page is not sealed shared memory");
  CHECK(refusal_of(good[0].get(), empty.get(), wake) == "the dataplane's counters page is too short");
  CHECK(refusal_of(good[0].get(), good[0].get(), wake) ==
        "the dataplane's counters page has another form than this build's");
  CHECK(count_descriptors() == before + 3);
}

TEST_CASE("a right header over a wrong size is refused") {
  const Fd large = make_memory("test", sizeof(RegionMemory) + 4096);
  RegionMemory* region = map_region(large);
  region->magic = kRegionMagic;
  region->version = kVersion;
  region->layout = kLayoutHash;
  munmap(region, sizeof(RegionMemory));
  seal(large, false);
  CHECK_THAT(refusal_of(large.get(), large.get(), large.get()), Contains("lays out its messages otherwise"));
}

TEST_CASE("a hand-over that lacks something is refused in words") {
  const auto words_for = [](const std::function<void(Fd&)>& act) {
    Pair pair;
    const timeval soon{.tv_sec = 0, .tv_usec = 20'000};
    REQUIRE(setsockopt(pair.control.get(), SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon)) == 0);
    act(pair.dataplane);
    try {
      const ControlEnd control(pair.control.get());
    } catch (const std::runtime_error& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  CHECK(words_for([](Fd& dataplane) { (void)send(dataplane.get(), "E", 1, 0); }) ==
        "the dataplane did not hand over a region, a counters page and its wakes: it is not of this build");
  CHECK(words_for([](Fd& dataplane) { dataplane = Fd(); }) ==
        "the dataplane closed the connection without a word");
  CHECK(words_for([](Fd&) {}) == "the dataplane accepted the connection and then said nothing");
}

TEST_CASE("What is to be kept comes with its name, after the hand-over, and nothing else does") {
  DataplaneEnd end(kShape);
  const CountersPage counters(kShape);
  const Pair pair;
  REQUIRE(end.hand_over(pair.dataplane.get(), counters));
  int pipe_ends[2];
  REQUIRE(pipe2(pipe_ends, O_CLOEXEC) == 0);
  Fd out(pipe_ends[0]);
  Fd in(pipe_ends[1]);
  REQUIRE(send_keepsake(pair.dataplane.get(), "vti-a", in.get()));
  REQUIRE(send_keepsake(pair.dataplane.get(), "vti-b", in.get()));
  (void)receive_descriptors(pair.control.get());
  in = Fd();
  std::optional<Keepsake> first = receive_keepsake(pair.control.get());
  REQUIRE(first);
  CHECK(first->name == "vti-a");
  CHECK(write(first->fd.get(), "x", 1) == 1);
  char byte = 0;
  CHECK(read(out.get(), &byte, 1) == 1);
  CHECK(receive_keepsake(pair.control.get())->name == "vti-b");
  CHECK_FALSE(receive_keepsake(pair.control.get()));
  SECTION("another message") {
    REQUIRE(write(pair.dataplane.get(), "0123456789abcdef0123456789abcdef", 32) == 32);
    CHECK_THROWS_WITH(receive_keepsake(pair.control.get()), Contains("something else"));
  }
  SECTION("a part of one") {
    REQUIRE(write(pair.dataplane.get(), "vti", 3) == 3);
    CHECK_THROWS_WITH(receive_keepsake(pair.control.get()), Contains("something else"));
  }
  SECTION("no name") {
    REQUIRE(send_keepsake(pair.dataplane.get(), "", out.get()));
    CHECK_THROWS_WITH(receive_keepsake(pair.control.get()), Contains("something else"));
  }
  SECTION("three descriptors") {
    REQUIRE(send_descriptors(pair.dataplane.get(), {out.get(), out.get(), out.get()}));
    CHECK_THROWS_WITH(receive_keepsake(pair.control.get()), Contains("something else"));
  }
  SECTION("the end") {
    ::shutdown(pair.dataplane.get(), SHUT_RDWR);
    CHECK_THROWS_WITH(receive_keepsake(pair.control.get()), Contains("ended"));
  }
}

TEST_CASE("Who can't be given more to keep says so, and goes on later") {
  const Pair pair;
  unsigned sent = 0;
  while (sent < 100'000 && send_keepsake(pair.dataplane.get(), "vti-a", pair.control.get())) sent++;
  CHECK(sent > 100);
  CHECK(sent < 100'000);
  for (unsigned i = 0; i < sent; i++) REQUIRE(receive_keepsake(pair.control.get()));
  CHECK(send_keepsake(pair.dataplane.get(), "vti-a", pair.control.get()));
}
