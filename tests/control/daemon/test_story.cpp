// What is remembered of negotiations: the last messages, what the peer said, notifies counted.
#include <catch2/catch.hpp>

#include "control/ike/proposal_choice.hpp"
#include "control/ike/story.hpp"
#include "scripted_peer.hpp"
#include "world.hpp"

namespace espgate::test {
namespace {

using crypto::DhGroup;
using ike::Exchange;
using ike::NotifyType;
using ike::PayloadType;
using ike::Story;
using ike::Told;

const Story& story_of(const Gateway& gateway) { return gateway.daemon->story(0); }

bool has(const Told& told, PayloadType type) {
  return (told.payloads >> (static_cast<unsigned>(type) - 33) & 1U) != 0;
}

ike::NotifyCounters::Count count_of(const Gateway& gateway, NotifyType type) {
  const auto& counts = gateway.daemon->notify_counters().counts();
  const auto found = counts.find(type);
  return found == counts.end() ? ike::NotifyCounters::Count{} : found->second;
}

std::unique_ptr<World> attempt(conf::Tunnel east, conf::Tunnel west) {
  std::vector<conf::Tunnel> easts, wests;
  easts.push_back(std::move(east));
  wests.push_back(std::move(west));
  auto world = std::make_unique<World>(std::move(easts), std::move(wests));
  world->east.initiate();
  world->run(seconds(10));
  return world;
}

TEST_CASE("a set-up is told message by message, on both sides") {
  World world;
  REQUIRE(world.establish());
  const std::vector<Told> east = story_of(world.east).messages(), west = story_of(world.west).messages();
  REQUIRE(east.size() == 4);
  REQUIRE(west.size() == 4);
  const Exchange exchanges[] = {Exchange::ike_sa_init, Exchange::ike_sa_init, Exchange::ike_auth,
                                Exchange::ike_auth};
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(east[i].exchange == exchanges[i]);
    CHECK(east[i].response == (i % 2 == 1));
    CHECK(east[i].sent == (i % 2 == 0));
    CHECK(west[i].exchange == exchanges[i]);
    CHECK(west[i].sent == (i % 2 == 1));
    CHECK(east[i].payloads == west[i].payloads);
    CHECK(east[i].message_id == i / 2);
    CHECK(east[i].repeats == 0);
  }
  CHECK(has(east[0], PayloadType::ke));
  CHECK(has(east[2], PayloadType::auth));
  CHECK(has(east[3], PayloadType::ts_responder));
  CHECK_FALSE(has(east[3], PayloadType::ke));
  CHECK(east[2].notifies[0] == NotifyType::initial_contact);
  CHECK(count_of(world.east, NotifyType::initial_contact).sent == 1);
  CHECK(count_of(world.west, NotifyType::initial_contact).received == 1);
  CHECK(count_of(world.west, NotifyType::initial_contact).sent == 0);
  CHECK(count_of(world.west, NotifyType::nat_detection_source_ip).received == 1);
}

TEST_CASE("what the peer said is forgotten when the tunnel is up; the ring stays small") {
  std::vector<conf::Tunnel> east, west;
  east.push_back(east_tunnel());
  east[0].child_lifetime = seconds(60);
  east[0].ike_lifetime = seconds(250);
  west.push_back(west_tunnel());
  World world(std::move(east), std::move(west));
  REQUIRE(world.establish());
  CHECK(story_of(world.east).heard() == nullptr);
  CHECK(story_of(world.west).heard() == nullptr);
  world.run(seconds(600));  // rekeys of both kinds, and DPD
  CHECK(story_of(world.east).heard() == nullptr);
  CHECK(story_of(world.west).heard() == nullptr);
  const std::vector<Told> messages = story_of(world.east).messages();
  CHECK(messages.size() == Story::kMost);
  for (std::size_t i = 1; i < messages.size(); ++i) CHECK(messages[i - 1].at <= messages[i].at);
  for (const Told& told : messages) CHECK(told.payloads != 0);  // no DPD
}

TEST_CASE("a request that goes unanswered is one message, sent again") {
  World world;
  world.fate = [](const Datagram&) { return std::vector<milliseconds>{}; };
  world.east.initiate();
  world.run(seconds(60));
  const std::vector<Told> messages = story_of(world.east).messages();
  REQUIRE(messages.size() == 1);
  CHECK(messages[0].exchange == Exchange::ike_sa_init);
  CHECK(messages[0].repeats == 7);
  CHECK(story_of(world.east).heard() == nullptr);
}

TEST_CASE("a responder remembers what was offered, and what does not fit is told kind by kind") {
  conf::Tunnel east = east_tunnel();
  east.ike_proposals = {ike_gcm(DhGroup::ecp256)};
  const auto world = attempt(std::move(east), west_tunnel());
  const ike::Heard* heard = story_of(world->west).heard();
  REQUIRE(heard != nullptr);
  REQUIRE(heard->ike);
  CHECK(heard->offered_ike);
  const auto compared = ike::compare(*heard->ike, ike::offer_ike(world->west.tunnels[0].ike_proposals, {}));
  REQUIRE(compared.size() == 3);
  CHECK(compared[0].kind == "cipher");
  CHECK(compared[0].common);
  CHECK(compared[1].kind == "PRF");
  CHECK(compared[1].common);
  CHECK(compared[2].kind == "DH group");
  CHECK(compared[2].theirs == "ecp256");
  CHECK(compared[2].ours == "x25519");
  CHECK_FALSE(compared[2].common);
  const ike::Heard* answered = story_of(world->east).heard();
  REQUIRE(answered != nullptr);
  CHECK(answered->error == NotifyType::no_proposal_chosen);
  CHECK(count_of(world->west, NotifyType::no_proposal_chosen).sent >= 1);
  CHECK(count_of(world->east, NotifyType::no_proposal_chosen).received ==
        count_of(world->west, NotifyType::no_proposal_chosen).sent);
}

TEST_CASE("identities and selectors of the peer are remembered") {
  conf::Tunnel east = east_tunnel();
  east.local_id = fqdn("mallory");
  east.local_selectors = {*parse_prefix("10.1.0.0/16")};
  east.remote_selectors = {*parse_prefix("10.2.0.0/16")};
  const auto world = attempt(std::move(east), west_tunnel());
  const ike::Heard* heard = story_of(world->west).heard();
  REQUIRE(heard != nullptr);
  REQUIRE(heard->peer_id);
  CHECK(std::string(heard->peer_id->data.begin(), heard->peer_id->data.end()) == "mallory");
  REQUIRE(heard->our_id);
  CHECK(std::string(heard->our_id->data.begin(), heard->our_id->data.end()) == "west");
  REQUIRE(heard->their_selectors.size() == 1);
  CHECK(to_string(heard->their_selectors[0].first) == "10.1.0.0");
  REQUIRE(heard->our_selectors.size() == 1);
  CHECK(to_string(heard->our_selectors[0].first) == "10.2.0.0");
  CHECK(story_of(world->east).heard()->error == NotifyType::authentication_failed);
}

TEST_CASE("a peer behind a NAT that goes by its private address") {
  const conf::Identity inside{conf::IdentityType::ipv4, "10.0.0.1", {10, 0, 0, 1}};
  std::vector<conf::Tunnel> east, west;
  east.push_back(east_tunnel());
  east[0].local = address("10.0.0.1");
  east[0].local_id = inside;
  west.push_back(west_tunnel());
  west[0].remote = address("192.0.2.99");
  World world(std::move(east), std::move(west));
  world.translate = [](Datagram& d) {
    if (d.from.address == address("10.0.0.1"))
      d.from = {address("192.0.2.99"), std::uint16_t(d.from.port + 20000)};
    else if (d.to.address == address("192.0.2.99"))
      d.to = {address("10.0.0.1"), std::uint16_t(d.to.port - 20000)};
  };
  world.east.initiate();
  world.run(seconds(10));
  REQUIRE(world.west.failures.size() == 1);
  CHECK(world.west.failures[0].failure == Failure::peer_identity);
  const ike::Heard* heard = story_of(world.west).heard();
  REQUIRE((heard != nullptr && heard->peer_id));
  CHECK(heard->peer_id->type == static_cast<std::uint8_t>(conf::IdentityType::ipv4));
  CHECK(heard->nat_remote);
  CHECK_FALSE(heard->nat_local);
  REQUIRE(story_of(world.east).heard() != nullptr);
  CHECK(story_of(world.east).heard()->nat_local);
}

// Main mode of IKEv1 (RFC 2408 section 3.1): version 1.0, exchange type 2.
ByteVector ikev1(std::uint64_t cookie) {
  ByteVector bytes(28);
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<std::uint8_t>(cookie >> (56 - 8 * i));
  bytes[16] = 1;
  bytes[17] = 0x10;
  bytes[18] = 2;
  bytes[27] = 28;
  return bytes;
}

TEST_CASE("a peer that speaks IKEv1 is told of in words") {
  const std::string words = "the peer speaks IKEv1, and only IKEv2 is spoken here";
  World world;
  world.fate = [&](const Datagram& d) {  // it answers so whatever comes
    if (d.from.address == address("192.0.2.1") && world.sent < 40)
      world.transmit({d.to, d.from, ikev1(7), 0});
    return std::vector<milliseconds>{};
  };
  SECTION("it answers so") {
    world.fate = [&](const Datagram& d) {
      return d.bytes[17] == 0x10 ? std::vector{milliseconds(10)} : std::vector<milliseconds>{};
    };
    world.east.initiate();
    world.transmit({{address("192.0.2.2"), 500}, {address("192.0.2.1"), 500}, ikev1(7), 0});
    world.run(seconds(10));
    REQUIRE(world.east.failures.size() == 1);
    CHECK(world.east.failures[0].failure == Failure::ike_version);
    CHECK(world.east.failures[0].summary == words);
  }
  SECTION("it begins") {
    world.west.daemon->received({address("192.0.2.2"), 500}, {address("192.0.2.1"), 500}, ikev1(7),
                                world.now);
    REQUIRE(world.west.failures.size() == 1);
    CHECK(world.west.failures[0].summary == words);
    for (int i = 0; i < 1000; ++i)
      world.west.daemon->received({address("192.0.2.2"), 500}, {address("192.0.2.1"), 500}, ikev1(7),
                                  world.now);
    CHECK(world.west.failures.size() < 20);
    CHECK(world.west.own_failures == 0);
  }
  SECTION("a stranger") {
    world.west.daemon->received({address("192.0.2.2"), 500}, {address("203.0.113.9"), 500}, ikev1(7),
                                world.now);
    CHECK(world.west.failures.empty());
    CHECK(world.west.said("203.0.113.9 speaks IKEv1"));
  }
}

TEST_CASE("an IKEv1 message does not hurt a tunnel that is up") {
  World world;
  REQUIRE(world.establish());
  for (int i = 0; i < 100; ++i)
    world.west.daemon->received({address("192.0.2.2"), 500}, {address("192.0.2.1"), 500}, ikev1(7),
                                world.now);
  CHECK(world.west.failures.empty());
  CHECK(world.west.up);
  world.run(seconds(5));
  CHECK(world.settled());
}

TEST_CASE("ICMP explains why nothing came, and ends nothing") {
  const Reason reason{Failure::unreachable, "192.0.2.2 says that nobody listens"};
  const Endpoint local{address("192.0.2.1"), 0};
  World world;
  world.fate = [](const Datagram&) { return std::vector<milliseconds>{}; };
  world.east.initiate();
  world.run(seconds(1));
  world.east.daemon->unreachable(local, address("192.0.2.2"), reason, world.now);
  world.east.daemon->unreachable(local, address("198.51.100.1"), reason, world.now);
  world.run(seconds(10));
  CHECK(world.east.failures.empty());
  SECTION("nobody answers") {
    world.run(seconds(30));
    REQUIRE(world.east.failures.size() == 1);
    CHECK(world.east.failures[0].failure == Failure::unreachable);
    CHECK(world.east.failures[0].summary == reason.summary);
    CHECK(world.sent == 8);
  }
  SECTION("the peer answers after all") {
    world.fate = nullptr;
    world.run(seconds(15));
    CHECK(world.settled());
    CHECK(world.east.failures.empty());
  }
}

TEST_CASE("each notify is counted by its type, and strangers can't make up types without end") {
  ike::NotifyCounters counters;
  for (unsigned type = 40000; type < 41000; ++type)
    counters.add(false, {ike::NotifyPayload{ike::Protocol::none, {}, static_cast<NotifyType>(type), {}}});
  counters.add(true, {ike::NotifyPayload{ike::Protocol::none, {}, NotifyType::cookie2, {}}});
  const auto& counts = counters.counts();
  CHECK(counts.size() == 66);
  CHECK(counts.at(static_cast<NotifyType>(40063)).received == 1);
  CHECK(counts.at(NotifyType{}).received == 1000 - 64);
  CHECK(counts.at(NotifyType::cookie2).sent == 1);
}

TEST_CASE("an answer of IKE's tells more than the ICMP before it") {
  std::vector<conf::Tunnel> east;
  east.push_back(east_tunnel());
  east[0].ike_proposals = {ike_gcm(crypto::DhGroup::ecp256)};
  World world(std::move(east));
  world.fate = [](const Datagram&) { return std::vector<milliseconds>{}; };
  world.east.initiate();
  world.run(seconds(1));
  world.east.daemon->unreachable({address("192.0.2.1"), 0}, address("192.0.2.2"),
                                 {Failure::unreachable, "nobody listens"}, world.now);
  world.fate = nullptr;  // its daemon has started
  world.run(seconds(10));
  REQUIRE(world.east.failures.size() == 1);
  CHECK(world.east.failures[0].failure == Failure::no_ike_proposal);
}

TEST_CASE("an offer of a thousand transforms is cut short") {
  ike::SaPayload sa;
  for (int i = 0; i < 100; ++i) {
    ike::Proposal proposal;
    proposal.protocol = ike::Protocol::ike;
    proposal.transforms.resize(500, {ike::TransformType::dh, 2, 0, false});
    sa.proposals.push_back(std::move(proposal));
  }
  ike::Header header;
  header.exchange = Exchange::ike_sa_init;
  Story story;
  story.add(header, false, {sa}, kStart);
  REQUIRE(story.heard() != nullptr);
  CHECK(story.heard()->ike->proposals.size() == 8);
  CHECK(story.heard()->ike->proposals[0].transforms.size() == 24);
}

TEST_CASE("the peer's software, by its Vendor IDs") {
  const auto vendor = [](std::string_view hex_or_text, bool hex) {
    ike::VendorPayload payload;
    if (!hex) {
      payload.data.assign(hex_or_text.begin(), hex_or_text.end());
    } else {
      for (std::size_t i = 0; i < hex_or_text.size(); i += 2)
        payload.data.push_back(
            static_cast<std::uint8_t>(std::stoi(std::string(hex_or_text.substr(i, 2)), nullptr, 16)));
    }
    return payload;
  };
  CHECK(ike::software_of({}).empty());
  CHECK(ike::software_of({vendor("882fe56d6fd20dbc2251613b2ebe5beb", true)}) == "strongSwan");
  CHECK(ike::software_of({vendor("1e2b516905991c7d7c96fcbfb587e46100000009", true)}) == "Microsoft");
  CHECK(ike::software_of(
            {vendor("FLEXVPN-SUPPORTED", false), vendor("8299031757a36082c6a621de00000000", true)}) ==
        "FLEXVPN-SUPPORTED, FortiGate");
  CHECK(ike::software_of({vendor("0011223344556677889900112233445566", true)}) ==
        "00112233445566778899001122334455");
  CHECK(ike::software_of({vendor(std::string(5000, 'x'), false)}).size() <= 60);
  CHECK(ike::software_of({vendor("", false)}).empty());
}

}  // namespace
}  // namespace espgate::test
