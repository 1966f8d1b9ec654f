// A peer whose port or address moves (RFC 7296 section 2.23): what makes an SA follow it, and what does not.
#include <catch2/catch.hpp>

#include <algorithm>
#include <functional>

#include "channel/spi.hpp"
#include "tests/dataplane/host/desk.hpp"

using namespace espgate;
using namespace espgate::test;
using channel::Command;
using channel::CommandKind;
using channel::CommandStatus;

namespace {

const std::uint32_t kIn = channel::make_spi(0, 1, 5);
constexpr std::uint32_t kOut = 0xc0000001;
constexpr auto kSuite = crypto::EspSuite::aes256_gcm16;

struct Destination {
  std::string address;
  unsigned port;
  bool operator==(const Destination&) const = default;
};

// A tunnel in UDP to 192.0.2.2, port 31000, that follows its peer.
struct Gateway {
  explicit Gateway(const std::function<void(channel::InstallSa&)>& change = [](auto&) {}) {
    for (const char* peer : {"192.0.2.2", "192.0.2.77"}) desk.know(kWan, peer, {2, 0, 0, 0, 0x99, 2});
    REQUIRE(desk.run(set_tunnel(3)) == CommandStatus::ok);
    REQUIRE(desk.run(set_route("10.2.0.0/16", channel::RouteKind::tunnel, 3)) == CommandStatus::ok);
    Command in = install_inbound(3, kIn), out = install_outbound(3, kOut);
    for (Command* command : {&in, &out}) {
      channel::InstallSa& sa = command->body.install_sa;
      sa.udp_encapsulation = 1;
      sa.local_port = 4500;
      sa.remote_port = 31000;
      sa.follow = command == &in ? 1 : 0;
      sa.keepalive = 1;
      change(sa);
    }
    in.body.install_sa.partner_spi = kOut;
    out.body.install_sa.partner_spi = kIn;
    inbound = in.body.install_sa;
    REQUIRE(desk.run(in) == CommandStatus::ok);
    REQUIRE(desk.run(out) == CommandStatus::ok);
    (void)desk.pass(kWan, {});
  }

  static Octets frame(std::uint8_t port, const Octets& ip) {
    return ethernet({2, 0, 0, 0, 1, port}, 0x800, ip);
  }
  // What the peer's SA would send, from elsewhere.
  [[nodiscard]] Octets from(const std::string& address, std::uint16_t port, std::uint32_t sequence) const {
    channel::InstallSa elsewhere = inbound;
    elsewhere.remote = *parse_address(address);
    elsewhere.remote_port = port;
    const Octets inner =
        ipv4_packet({.source = "10.2.0.2", .destination = "10.1.0.2"}, udp(1, 2, filling(40)));
    return sealed(elsewhere, sequence, with_trailer(inner, kSuite, 4));
  }
  void hear(const std::string& address, std::uint16_t port, std::uint32_t sequence) {
    (void)desk.pass(kWan, {frame(kWan, from(address, port, sequence))});
  }
  // Where the tunnel's next packet goes.
  Destination sends_to() {
    (void)desk.pass(kWan, {});  // what is on its way to the worker
    const Octets inner = ipv4_packet({}, udp(1, 2, filling(40)));
    const Output out = desk.pass(kLan, {frame(kLan, inner)});
    REQUIRE(out.frames[kWan].size() == 1);
    const Octets ip = slice(out.frames[kWan][0], 14);
    CHECK(internet_sum(ip, 0, 20) == 0xffff);
    CHECK(get32(ip, 28) == kOut);
    IpAddress to{};
    to.family = Family::v4;
    std::copy_n(ip.begin() + 16, 4, to.bytes.begin());
    return {to_string(to), get16(ip, 22)};
  }
  [[nodiscard]] std::vector<channel::PeerMoved> told() const {
    std::vector<channel::PeerMoved> out;
    for (const channel::Event& event : desk.control.events)
      if (event.kind == channel::EventKind::peer_moved) out.push_back(event.body.peer_moved);
    return out;
  }
  dataplane::InboundSa& in() { return desk.tables.inbound[0].slots[channel::spi_slot(kIn)]; }

  Desk desk;
  channel::InstallSa inbound{};
};

const Destination kHome{"192.0.2.2", 31000};

Command move_sa(std::uint32_t tunnel, std::uint32_t spi, std::string_view remote, std::uint16_t port) {
  Command out = command(CommandKind::move_outbound_sa);
  out.body.move_sa = {tunnel, spi, *parse_address(remote), port};
  return out;
}

}  // namespace

TEST_CASE("authentic ESP from another port or address moves the tunnel's outbound SA there") {
  Gateway gateway;
  gateway.hear("192.0.2.2", 31000, 1);
  CHECK(gateway.sends_to() == kHome);
  CHECK(gateway.told().empty());
  const auto [address, port] = GENERATE(Destination{"192.0.2.2", 32000}, Destination{"192.0.2.77", 33000},
                                        Destination{"192.0.2.77", 31000});
  gateway.hear(address, static_cast<std::uint16_t>(port), 2);
  CHECK(gateway.sends_to() == Destination{address, port});
  const auto told = gateway.told();
  REQUIRE(told.size() == 1);
  CHECK(told[0].tunnel == 3);
  CHECK(told[0].inbound_spi == kIn);
  CHECK(to_string(told[0].remote) == address);
  CHECK(told[0].remote_port == port);
  CHECK(gateway.desk.peers.contains(kMainTable, *parse_address(address)));

  SECTION("the next packets from there say nothing new") {
    gateway.in().next_move = 0;
    gateway.hear(address, static_cast<std::uint16_t>(port), 3);
    CHECK(gateway.told().size() == 1);
  }
  SECTION("keepalives go there") {
    gateway.desk.tables.tunnels[3].outbound.load()->last_used_tsc = 1;
    gateway.desk.now += 2 * kSecond;
    gateway.desk.associations.snapshot(gateway.desk.control, gateway.desk.now);
    const auto sent = gateway.desk.sent();
    REQUIRE(sent.size() == 1);
    CHECK(slice(sent[0].data, 16, 4) == v4_bytes(address));
    CHECK(get16(sent[0].data, 22) == port);
  }
  SECTION("with its SAs the peer is forgotten where it was and where it is") {
    REQUIRE(gateway.desk.run(remove_sa(CommandKind::remove_outbound_sa, 3, kOut)) == CommandStatus::ok);
    CHECK(gateway.desk.peers.contains(kMainTable, *parse_address("192.0.2.2")));  // the tunnel's own
    CHECK(gateway.desk.peers.contains(kMainTable, *parse_address("192.0.2.77")) == false);
  }
}

TEST_CASE("what is not authentic, not new, or not to be followed moves nothing") {
  SECTION("not authentic") {
    Gateway gateway;
    Octets forged = gateway.from("192.0.2.77", 666, 5);
    forged.back() ^= 1;
    (void)gateway.desk.pass(kWan, {Gateway::frame(kWan, forged)});
    CHECK(gateway.in().failed == 1);
    CHECK(gateway.sends_to() == kHome);
  }
  SECTION("a replay") {
    Gateway gateway;
    gateway.hear("192.0.2.2", 31000, 5);
    gateway.hear("192.0.2.77", 666, 5);
    CHECK(gateway.in().replayed == 1);
    CHECK(gateway.sends_to() == kHome);
  }
  SECTION("overtaken: accepted, and no news of where the peer is") {
    Gateway gateway;
    gateway.hear("192.0.2.77", 32000, 5);
    gateway.in().next_move = 0;
    gateway.hear("192.0.2.2", 31000, 4);
    CHECK(gateway.in().packets == 2);
    CHECK(gateway.sends_to() == Destination{"192.0.2.77", 32000});
  }
  SECTION("an SA that does not follow, as of a gateway behind a NAT itself") {
    Gateway gateway([](channel::InstallSa& sa) { sa.follow = 0; });
    gateway.hear("192.0.2.77", 666, 5);
    CHECK(gateway.in().packets == 1);
    CHECK(gateway.sends_to() == kHome);
  }
  SECTION("one of our own addresses") {
    Gateway gateway;
    gateway.hear("10.1.0.1", 4500, 5);
    CHECK(gateway.sends_to() == kHome);
  }
  SECTION("port 0") {
    Gateway gateway;
    gateway.hear("192.0.2.77", 0, 5);
    CHECK(gateway.sends_to() == kHome);
  }
}

TEST_CASE("raw ESP from elsewhere is refused, and can't be told to be followed") {
  Desk desk;
  REQUIRE(desk.run(set_tunnel(3)) == CommandStatus::ok);
  Command raw = install_inbound(3, kIn);
  raw.body.install_sa.follow = 1;
  CHECK(desk.run(raw) == CommandStatus::bad_option);
}

TEST_CASE("a peer that moves to and fro is followed at most ten times a second") {
  Gateway gateway;
  for (std::uint32_t sequence = 1; sequence <= 200; sequence++)
    gateway.hear("192.0.2.77", static_cast<std::uint16_t>(1000 + sequence), sequence);
  CHECK(gateway.told().size() >= 1);
  CHECK(gateway.told().size() < 100);  // 200 packets take far less than 10 s
  gateway.in().next_move = 0;
  gateway.hear("192.0.2.2", 31000, 201);
  CHECK(gateway.sends_to() == kHome);
}

TEST_CASE("the SAs of a rekey move together, each when it is heard on") {
  Gateway gateway;
  Command second = install_outbound(3, kOut + 1);
  second.body.install_sa.udp_encapsulation = 1;
  second.body.install_sa.local_port = 4500;
  second.body.install_sa.remote_port = 31000;
  REQUIRE(gateway.desk.run(second) == CommandStatus::ok);
  gateway.hear("192.0.2.77", 32000, 1);
  for (std::uint32_t slot = 0; slot < 2; slot++) {
    const auto& header = gateway.desk.tables.outbound[0][slot].header;
    CHECK(Octets(header.begin() + 16, header.begin() + 20) == v4_bytes("192.0.2.77"));
  }
}

TEST_CASE("a move of which the worker can't be told has not happened, and is tried with the next packet") {
  Gateway gateway;
  for (int i = 0; i < 1023; i++)
    dataplane::send_keepalive(gateway.desk.outbox,
                              {*parse_address("192.0.2.1"), *parse_address("192.0.2.2"), 4500, 31000},
                              kMainTable);
  const dataplane::Move heard{kIn, 0, *parse_address("192.0.2.77"), 32000};
  gateway.desk.associations.heard_from(heard, gateway.desk.control, gateway.desk.now);
  CHECK(gateway.desk.drops(DropReason::inject_full) == 1);
  CHECK(gateway.told().empty());
  (void)gateway.desk.sent();
  CHECK(gateway.sends_to() == kHome);
  gateway.desk.associations.heard_from(heard, gateway.desk.control, gateway.desk.now);
  CHECK(gateway.sends_to() == Destination{"192.0.2.77", 32000});
}

TEST_CASE("the control process moves an SA, and ESP from there is no news then") {
  Gateway gateway;
  CHECK(gateway.desk.run(move_sa(3, kOut, "192.0.2.77", 32000)) == CommandStatus::ok);
  CHECK(gateway.sends_to() == Destination{"192.0.2.77", 32000});
  CHECK(gateway.desk.run(move_sa(3, kOut, "192.0.2.77", 32000)) == CommandStatus::ok);
  gateway.hear("192.0.2.77", 32000, 1);
  CHECK(gateway.told().empty());

  CHECK(gateway.desk.run(move_sa(3, kOut + 1, "192.0.2.77", 32000)) == CommandStatus::no_such_sa);
  CHECK(gateway.desk.run(move_sa(2, kOut, "192.0.2.77", 32000)) == CommandStatus::no_such_sa);
  for (const char* address : {"224.0.0.5", "192.0.2.1", "2001:db8::1"})
    CHECK(gateway.desk.run(move_sa(3, kOut, address, 32000)) == CommandStatus::bad_address);
  CHECK(gateway.desk.run(move_sa(3, kOut, "192.0.2.77", 0)) == CommandStatus::bad_address);
  CHECK(gateway.sends_to() == Destination{"192.0.2.77", 32000});
}

TEST_CASE("over IPv6 the template's ends are turned, too") {
  dataplane::OutboundSa sa{};
  sa.header[0] = 0x60;
  sa.udp = true;
  turn_to(sa, {1, 0, *parse_address("2001:db8::7"), 32000});
  CHECK(Octets(sa.header.begin() + 24, sa.header.begin() + 40) == v6_bytes("2001:db8::7"));
  CHECK(sa.header[42] * 256 + sa.header[43] == 32000);
}
