// What does not come about is told in words, on both sides (RFC 7296 sections 1.2, 2.9, 2.21).
#include <catch2/catch.hpp>

#include <utility>

#include "control/ike/guards.hpp"
#include "control/ike/message.hpp"
#include "world.hpp"

namespace espgate::test {
namespace {

using crypto::DhGroup;
using crypto::EspSuite;

struct Pair {
  conf::Tunnel east = east_tunnel();
  conf::Tunnel west = west_tunnel();
};

std::unique_ptr<World> attempt(Pair pair) {
  std::vector<conf::Tunnel> east, west;
  east.push_back(std::move(pair.east));
  west.push_back(std::move(pair.west));
  auto world = std::make_unique<World>(std::move(east), std::move(west));
  world->east.initiate();
  world->run(seconds(10));
  CHECK(world->complaints == std::vector<std::string>{});
  CHECK(!world->east.up);
  CHECK(!world->west.up);
  CHECK(world->east.inbound.empty());
  CHECK(world->west.inbound.empty());
  CHECK(world->east.reserved.empty());
  CHECK(world->west.reserved.empty());
  return world;
}

void check_told(const Gateway& gateway, Failure failure, const std::string& words) {
  REQUIRE(gateway.failures.size() == 1);
  CHECK(gateway.failures.front().failure == failure);
  CHECK(gateway.failures.front().summary == words);
}

TEST_CASE("a wrong pre-shared key") {
  Pair pair;
  pair.east.psk = crypto::SecretBytes(std::string_view("incorrect horse"));
  const auto world = attempt(std::move(pair));
  check_told(world->east, Failure::authentication_failed,
             "the peer refused us (AUTHENTICATION_FAILED): it does not have our pre-shared key for \"east\", "
             "or is not \"west\"");
  check_told(world->west, Failure::authentication_failed,
             "the pre-shared key of \"east\" is not the one that we have for it");
  CHECK(world->east.own_failures == 1);
  CHECK(world->west.own_failures == 0);
  world->run(seconds(60));
  CHECK(world->east.ike_sas() + world->west.ike_sas() == 0);
  CHECK(!world->west.daemon->next_deadline());
}

TEST_CASE("no IKE proposal in common") {
  Pair pair;
  pair.east.ike_proposals = {ike_gcm(DhGroup::ecp256)};
  const auto world = attempt(std::move(pair));
  check_told(world->east, Failure::no_ike_proposal,
             "the peer has no IKE proposal in common: we offered aes256gcm16-prfsha256-ecp256, it answered "
             "NO_PROPOSAL_CHOSEN");
  REQUIRE(!world->west.failures.empty());
  CHECK(world->west.own_failures == 0);  // anybody may say so in its name
  CHECK(world->west.failures.front().failure == Failure::no_ike_proposal);
  CHECK(world->west.failures.front().summary ==
        "no IKE proposal in common: 192.0.2.1 offered aes256gcm16-prfsha256-ecp256; we accept "
        "aes256gcm16-prfsha256-x25519: no DH group in common: they offer ecp256; we accept x25519");
}

TEST_CASE("no ESP proposal in common: the IKE SA stays for a later attempt, and goes with that") {
  Pair pair;
  pair.east.esp_proposals = {esp(EspSuite::aes128_cbc_sha1)};
  const auto world = attempt(std::move(pair));
  check_told(
      world->east, Failure::no_esp_proposal,
      "the peer has no ESP proposal in common: we offered aes128-sha1, it answered NO_PROPOSAL_CHOSEN");
  REQUIRE(world->west.failures.size() == 1);
  CHECK(world->west.failures.front().failure == Failure::no_esp_proposal);
  CHECK(world->west.failures.front().summary.starts_with(
      "192.0.2.1 offered ESP aes128-sha1; we accept aes256gcm16: "));
  CHECK(world->east.ike_sas() == 1);
  CHECK(world->west.ike_sas() == 1);
  const unsigned before = world->sent;
  world->east.initiate();
  world->run(milliseconds(500));
  CHECK(world->sent == before + 4);  // and its delete
  CHECK(world->east.failures.size() == 2);
}

TEST_CASE("traffic selectors that do not overlap") {
  Pair pair;
  pair.east.local_selectors = {*parse_prefix("10.1.0.0/16")};
  pair.east.remote_selectors = {*parse_prefix("10.2.0.0/16")};
  pair.west.remote_selectors = {*parse_prefix("10.3.0.0/16")};
  pair.west.local_selectors = {*parse_prefix("10.2.0.0/16")};
  const auto world = attempt(std::move(pair));
  check_told(world->east, Failure::ts_unacceptable,
             "the peer accepts none of our traffic selectors (TS_UNACCEPTABLE): we offered 10.1.0.0/16 === "
             "10.2.0.0/16");
  check_told(world->west, Failure::ts_unacceptable,
             "the traffic selectors do not overlap: 192.0.2.1 offers 10.1.0.0/16 === 10.2.0.0/16; we accept "
             "10.3.0.0/16 === 10.2.0.0/16");
  CHECK(world->east.ike_sas() == 1);
}

TEST_CASE("a peer that is not who it should be") {
  Pair pair;
  pair.east.local_id = fqdn("mallory");
  const auto world = attempt(std::move(pair));
  check_told(world->west, Failure::peer_identity,
             "192.0.2.1 says it is \"mallory\" and wants \"west\"; we are \"west\" and expect \"east\"");
  check_told(world->east, Failure::authentication_failed,
             "the peer refused us (AUTHENTICATION_FAILED): it does not have our pre-shared key for "
             "\"mallory\", or is not "
             "\"west\"");
}

TEST_CASE("nobody there") {
  World world;
  world.fate = [](const Datagram&) { return std::vector<milliseconds>{}; };
  world.east.initiate();
  world.run(seconds(60));
  check_told(world.east, Failure::no_answer, "no answer to IKE_SA_INIT for 24 s");
  CHECK(world.sent == 8);
  CHECK(world.east.ike_sas() == 0);
}

TEST_CASE("a stranger's address") {
  Pair pair;
  pair.west.remote = address("198.51.100.7");
  const auto world = attempt(std::move(pair));
  CHECK(world->west.failures.empty());
  CHECK(world->west.said("no tunnel is configured between 192.0.2.2 and 192.0.2.1, which wants one"));
  CHECK(world->east.failures.size() == 1);
}

TEST_CASE("an error that anybody can send does not end an attempt that would succeed") {
  World world;
  bool forged = false;
  world.fate = [&](const Datagram& d) {
    if (d.number == 1) {  // somebody faster than the peer
      forged = true;
      ike::Header head = std::get<ike::Header>(ike::parse_header(d.bytes));
      head.from_initiator = false;
      head.response = true;
      head.spi_responder = 7;
      const ByteVector lie = ike::encode_plain(
          head, {ike::NotifyPayload{ike::Protocol::none, {}, ike::NotifyType::no_proposal_chosen, {}}});
      world.transmit({d.to, d.from, lie, 0});
    }
    return std::vector{milliseconds(d.number == 1 ? 30 : 10)};
  };
  world.east.initiate();
  world.run(seconds(5));
  CHECK(forged);
  CHECK(world.settled());
  CHECK(world.east.failures.empty());
}

TEST_CASE("no secret reaches the log") {
  World world;
  REQUIRE(world.establish());
  world.run(seconds(100));
  CHECK(!world.east.said("correct horse"));
  CHECK(!world.west.said("correct horse"));
}

// ---- what comes from outside any IKE SA

ByteVector plain(ike::Header head, ike::NotifyType type) {
  return ike::encode_plain(head, {ike::NotifyPayload{ike::Protocol::none, {}, type, {}}});
}

class Outside {
 public:
  Outside() {
    REQUIRE(world.establish());
    world.fate = [this](const Datagram& d) {
      replies.push_back(d);
      return std::vector<milliseconds>{};
    };
  }
  void give(const ByteVector& bytes) {
    world.west.daemon->received({address("192.0.2.2"), 500}, {address("203.0.113.5"), 500}, bytes, world.now);
  }
  [[nodiscard]] ike::Header reply() const {
    return std::get<ike::Header>(ike::parse_header(replies.back().bytes));
  }

  World world;
  std::vector<Datagram> replies;
};

ByteVector protected_request(bool response) {
  ike::Header head;
  head.spi_initiator = 0x1111;
  head.spi_responder = 0x2222;
  head.exchange = ike::Exchange::informational;
  head.from_initiator = true;
  head.response = response;
  head.message_id = 9;
  ByteVector bytes = plain(head, ike::NotifyType::initial_contact);
  bytes[16] = 46;  // an Encrypted payload, as far as anybody can tell
  return bytes;
}

TEST_CASE("a request for an unknown IKE SA is answered INVALID_IKE_SPI, seldom; a response never") {
  Outside outside;
  outside.give(protected_request(true));
  CHECK(outside.replies.empty());
  outside.give(protected_request(false));
  REQUIRE(outside.replies.size() == 1);
  const ike::Header head = outside.reply();
  CHECK(head.spi_initiator == 0x1111);
  CHECK(head.spi_responder == 0x2222);
  CHECK(head.message_id == 9);
  CHECK(head.response);
  CHECK(!head.from_initiator);
  for (int i = 0; i < 1000; ++i) outside.give(protected_request(false));
  CHECK(outside.replies.size() < 30);
}

TEST_CASE("a later major version is told ours; an unknown exchange is not answered") {
  Outside outside;
  ByteVector bytes = protected_request(false);
  bytes[17] = 0x30;
  outside.give(bytes);
  REQUIRE(outside.replies.size() == 1);
  CHECK(outside.reply().version == 0x20);
  bytes[17] = 0x20;
  bytes[18] = 99;
  outside.give(bytes);
  CHECK(outside.replies.size() == 1);
  CHECK(outside.world.west.said("not an IKE message"));
}

TEST_CASE("an unprotected INVALID_IKE_SPI makes us ask the peer, no more") {
  Outside outside;
  const auto sa = outside.world.west.daemon->list().front();
  ike::Header head;
  head.spi_initiator = sa.spi_initiator;
  head.spi_responder = sa.spi_responder;
  head.exchange = ike::Exchange::informational;
  head.from_initiator = true;
  head.response = true;
  outside.world.run(seconds(3));
  for (int i = 0; i < 100; ++i) outside.give(plain(head, ike::NotifyType::invalid_ike_spi));
  CHECK(outside.replies.size() == 1);
  CHECK(outside.world.west.up);
}

// Requests of one peer's, each for an IKE SA of its own, that west is given as from anybody of `sources`
// peers.
class Crowd {
 public:
  Crowd(std::size_t sources, std::size_t most) : world({}, tunnels(sources), settings(most)) {
    world.fate = [this](const Datagram& d) {
      if (d.from.address == address("192.0.2.1")) requests_.push_back(d.bytes);
      return std::vector<milliseconds>{};
    };
  }

  static IpAddress source(std::size_t number) {
    return v4_from_host_order(0xc6336400U + static_cast<std::uint32_t>(number));
  }

  // Each request twice, as if there were no answer.
  void ask(std::size_t from, std::size_t count) {
    requests_.clear();
    for (std::size_t i = 0; i < count; ++i) {
      world.east.initiate();
      world.east.daemon->terminate(0, {}, world.now);
    }
    REQUIRE(requests_.size() == count);
    for (const ByteVector& request : requests_)
      for (int twice = 0; twice < 2; ++twice)
        world.west.daemon->received({address("192.0.2.2"), 500}, {source(from), 500}, request, world.now);
  }

  World world;

 private:
  static ike::Settings settings(std::size_t most) {
    ike::Settings out = World::quick();
    out.cookie_threshold = 1000;
    out.max_half_open = most;
    return out;
  }
  static std::vector<conf::Tunnel> tunnels(std::size_t sources) {
    std::vector<conf::Tunnel> out;
    out.push_back(west_tunnel());
    for (std::size_t i = 0; i < sources; ++i) {
      out.push_back(west_tunnel());
      out.back().remote = source(i);
      out.back().remote_id = fqdn("source-" + std::to_string(i));
    }
    return out;
  }
  std::vector<ByteVector> requests_;
};

TEST_CASE("half-open IKE SAs are bounded, and end by themselves") {
  Crowd crowd(51, 50);
  for (std::size_t source = 0; source < 51; ++source) crowd.ask(source, 1);
  const Gateway& west = crowd.world.west;
  CHECK(west.ike_sas() == 50);
  CHECK(west.said("too many half-open IKE SAs; 198.51.100.50 is not answered"));
  CHECK(west.daemon->half_open_refusals().full == 2);
  CHECK(west.daemon->half_open_refusals().share_taken == 0);
  crowd.world.run(seconds(31));
  CHECK(west.ike_sas() == 0);
  CHECK(!west.daemon->next_deadline());
  crowd.ask(50, 1);
  CHECK(west.ike_sas() == 1);
}

TEST_CASE("one source has its share of the half-open IKE SAs, and no more") {
  Crowd crowd(3, 100);
  const Gateway& west = crowd.world.west;
  crowd.ask(0, 50);
  CHECK(west.ike_sas() == 20);  // with room for 80 others
  CHECK(west.daemon->half_open_refusals().share_taken == 60);
  CHECK(west.said("too many half-open IKE SAs from 198.51.100.0; it is not answered"));
  crowd.ask(1, 50);
  CHECK(west.ike_sas() == 20 + 16);
  crowd.ask(2, 50);
  CHECK(west.ike_sas() == 20 + 16 + 13);
  CHECK(west.daemon->half_open_refusals().full == 0);
  const auto fate = std::exchange(crowd.world.fate, {});
  CHECK(crowd.world.establish());  // an honest one is not kept away by these
  crowd.world.run(seconds(31));
  crowd.world.east.daemon->terminate(0, {}, crowd.world.now);
  crowd.world.run(seconds(31));
  CHECK(west.ike_sas() == 0);
  crowd.world.fate = fate;
  crowd.ask(0, 50);
  CHECK(west.ike_sas() == 20);
}

TEST_CASE("a source of half-open IKE SAs is an IPv4 address, a /64 of IPv6, and of one table") {
  ike::HalfOpen half_open(10);
  std::vector<std::unique_ptr<ike::HalfOpen::Place>> places;
  const auto gets = [&](const char* from, TableId table = kMainTable) {
    const Endpoint remote{address(from), 500, table};
    if (half_open.judge(remote) != ike::HalfOpen::Verdict::room) return false;
    places.push_back(std::make_unique<ike::HalfOpen::Place>(half_open, remote));
    return true;
  };
  CHECK(gets("2001:db8::1"));
  CHECK(gets("2001:db8::2"));
  CHECK(!gets("2001:db8::3"));
  CHECK(gets("2001:db8:0:1::3"));
  CHECK(gets("32.1.13.184"));  // the bytes of 2001:db8::
  CHECK(gets("32.1.13.184"));
  CHECK(!gets("32.1.13.184"));
  CHECK(gets("32.1.13.184", 1));
  CHECK(half_open.count() == 6);
  CHECK(half_open.refused().share_taken == 2);
  places.clear();
  CHECK(half_open.count() == 0);
  CHECK(gets("2001:db8::3"));
}

TEST_CASE("a message in fragments is shorter before the peer has shown who it is") {
  for (const bool fits : {true, false}) {
    Pair pair;
    pair.east.local_id = pair.west.remote_id = fqdn(std::string(fits ? 20'000 : 26'000, 'e'));
    std::vector<conf::Tunnel> east, west;
    east.push_back(std::move(pair.east));
    west.push_back(std::move(pair.west));
    World world(std::move(east), std::move(west));
    CHECK(world.establish() == fits);
    CHECK(world.west.said("a message of more than 24 KiB in fragments") == !fits);
  }
}

TEST_CASE("a cookie is good for its address, its nonce and its time only") {
  ike::Settings settings = World::quick();
  settings.cookie_threshold = 0;
  World world({}, {}, settings);
  std::vector<Datagram> from_east;
  world.fate = [&](const Datagram& d) {
    if (d.from.address == address("192.0.2.1")) from_east.push_back(d);
    return d.to.port == 500 ? std::vector{milliseconds(10)} : std::vector<milliseconds>{};
  };
  world.east.initiate();
  world.run(milliseconds(25));
  REQUIRE(from_east.size() == 2);  // the second carries the cookie
  const auto replay = [&](const char* source) {
    world.west.daemon->received(from_east[1].to, {address(source), 501}, from_east[1].bytes, world.now);
    return world.west.ike_sas();
  };
  CHECK(world.west.ike_sas() == 0);
  CHECK(replay("192.0.2.1") == 0);  // another port is another place
  world.run(seconds(1));
  CHECK(world.settled());
}

}  // namespace
}  // namespace espgate::test
