#include "control/tunnels/dataplane_link.hpp"

#include <catch2/catch.hpp>

#include "tests/control/fake_dataplane.hpp"

using namespace espgate;
using namespace espgate::test;
using control::CommandSubject;
using control::DataplaneLink;
using control::make_command;

namespace {

struct Answers : DataplaneLink::Listener {
  void command_done(const CommandSubject& subject, CommandStatus status) override {
    subjects.push_back(subject);
    statuses.push_back(status);
  }
  void event(const channel::Event& event) override { kinds.push_back(event.kind); }
  std::vector<CommandSubject> subjects;
  std::vector<CommandStatus> statuses;
  std::vector<channel::EventKind> kinds;
};

channel::Command removal(std::uint32_t spi) {
  channel::Command command = make_command(CommandKind::remove_inbound_sa);
  command.body.remove_sa = {1, spi};
  return command;
}

struct Fixture {
  Fixture() { link.attach(dataplane.accept()); }
  FakeDataplane dataplane;
  DataplaneLink link;
  Answers answers;
};

}  // namespace

TEST_CASE("each answer finds its command again", "[link]") {
  Fixture f;
  for (std::uint32_t spi = 1000; spi < 1003; ++spi) {
    channel::Command command = removal(spi);
    f.link.submit(command);
  }
  f.link.flush();
  CHECK_FALSE(f.link.settled());
  f.dataplane.poll();
  f.link.poll_events(f.answers);
  REQUIRE(f.answers.subjects.size() == 3);
  CHECK(f.answers.subjects[2].spi == 1002);
  CHECK(f.answers.statuses[2] == CommandStatus::no_such_sa);
  CHECK(f.link.settled());
}

TEST_CASE("a command is erased once it is submitted, for it may hold keys", "[link]") {
  Fixture f;
  channel::Command command = make_command(CommandKind::install_inbound_sa);
  command.body.install_sa.keys.fill(0xaa);
  f.link.submit(command);
  const auto* bytes = reinterpret_cast<const unsigned char*>(&command);
  CHECK(std::all_of(bytes, bytes + sizeof command, [](unsigned char byte) { return byte == 0; }));
  f.link.detach();
  command.body.install_sa.keys.fill(0xaa);
  f.link.submit(command);  // nobody there
  CHECK(std::all_of(bytes, bytes + sizeof command, [](unsigned char byte) { return byte == 0; }));
}

TEST_CASE("what finds the ring full waits, in order, with datagrams behind their commands", "[link]") {
  Fixture f;
  const std::uint32_t count = channel::kCommandSlots + 10;
  for (std::uint32_t spi = 1; spi <= count; ++spi) {
    channel::Command command = removal(spi);
    f.link.submit(command);
  }
  channel::IkeDatagram datagram{};
  datagram.length = 1;
  f.link.send(datagram);
  CHECK(f.link.waiting());
  CHECK(f.dataplane.poll().empty());  // the datagram is not there before its commands
  f.link.flush();
  CHECK_FALSE(f.link.waiting());
  CHECK(f.dataplane.poll().size() == 1);
  f.link.poll_events(f.answers);
  REQUIRE(f.answers.subjects.size() == count);
  CHECK(f.answers.subjects.back().spi == count);
}

TEST_CASE("datagrams beyond their bound are lost; commands beyond theirs break the channel in words",
          "[link]") {
  Fixture f;
  channel::IkeDatagram datagram{};
  for (std::size_t count = 0; count < channel::kIkeSlots + DataplaneLink::kMaxWaitingIke + 50; ++count)
    f.link.send(datagram);
  CHECK(f.link.broken().empty());
  for (std::size_t count = 0; count < channel::kCommandSlots + DataplaneLink::kMaxWaiting + 50; ++count) {
    channel::Command command = removal(1);
    f.link.submit(command);
  }
  CHECK_FALSE(f.link.broken().empty());
}

TEST_CASE("an answer nobody waits for is passed over", "[link]") {
  Fixture f;
  channel::Event event{};
  event.kind = channel::EventKind::command_done;
  event.body.command_done = {999, CommandStatus::ok};
  f.dataplane.tell(event);
  event = {};
  event.kind = channel::EventKind::unknown_spi;
  f.dataplane.tell(event);
  f.link.poll_events(f.answers);
  CHECK(f.answers.subjects.empty());
  CHECK(f.answers.kinds == std::vector<channel::EventKind>{channel::EventKind::unknown_spi});
}

TEST_CASE("a received datagram with an impossible length is passed over", "[link]") {
  Fixture f;
  channel::IkeDatagram datagram{};
  datagram.length = channel::kMaxIkeDatagram + 1;
  f.dataplane.deliver(datagram);
  datagram.length = 3;
  f.dataplane.deliver(datagram);
  channel::IkeDatagram received{};
  REQUIRE(f.link.next_ike(received));
  CHECK(received.length == 3);
  CHECK_FALSE(f.link.next_ike(received));
}
