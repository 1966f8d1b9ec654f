// What an authenticated peer may say that is odd, wrong or senseless (RFC 7296 sections 2.5, 2.21, 2.25).
#include <catch2/catch.hpp>

#include "scripted_peer.hpp"

namespace espgate::test {
namespace {

using ike::Exchange;
using ike::NotifyType;
using ike::Protocol;

bool answers(const std::optional<Payloads>& answer, NotifyType type) {
  return answer && ike::find_notify(*answer, type) != nullptr;
}

Payloads child_request(ScriptedPeer& peer, std::uint32_t spi, std::optional<std::uint32_t> rekeys) {
  Payloads out = peer.auth_payloads();
  out.erase(out.begin(), out.begin() + 3);  // the selectors stay
  if (rekeys) {
    const ByteVector data{std::uint8_t(*rekeys >> 24), std::uint8_t(*rekeys >> 16),
                          std::uint8_t(*rekeys >> 8), std::uint8_t(*rekeys)};
    out.insert(out.begin(), ike::NotifyPayload{Protocol::esp, data, NotifyType::rekey_sa, {}});
  }
  out.emplace_back(ike::NoncePayload{ByteVector(32, 9)});
  out.emplace_back(ike::offer_esp(east_tunnel().esp_proposals, spi, true));
  const auto dh = crypto::DhKey::generate(crypto::DhGroup::curve25519);
  out.emplace_back(ike::KePayload{31, {dh->public_value().begin(), dh->public_value().end()}});
  return out;
}

// West begins, and the peer has answered IKE_SA_INIT.
void be_asked(World& world, ScriptedPeer& peer) {
  world.west.initiate();
  peer.answer_init();
}

Payloads lifetime(ByteVector data) {
  return {ike::NotifyPayload{Protocol::none, {}, NotifyType::auth_lifetime, std::move(data)}};
}

TEST_CASE("a proper scripted peer is accepted") {
  World world;
  ScriptedPeer peer(world);
  SECTION("as initiator") {
    peer.init();
    peer.auth();
  }
  SECTION("as responder") {
    be_asked(world, peer);
    peer.answer(peer.auth_payloads());
  }
  CHECK(world.west.up);
  CHECK(peer.ask(Exchange::informational, {})->empty());
}

TEST_CASE("a peer that accepts no padding is sent none") {
  std::vector<conf::Tunnel> west;
  west.push_back(west_tunnel());
  west[0].tfc_length = 1000;
  World world({}, std::move(west));
  ScriptedPeer peer(world);
  const ike::NotifyPayload none{Protocol::none, {}, NotifyType::esp_tfc_padding_not_supported, {}};
  SECTION("as initiator") {
    peer.init();
    Payloads payloads = peer.auth_payloads();
    payloads.emplace_back(none);
    REQUIRE(peer.ask(Exchange::ike_auth, payloads).has_value());
  }
  SECTION("as responder") {
    be_asked(world, peer);
    Payloads payloads = peer.auth_payloads();
    payloads.emplace_back(none);
    peer.answer(payloads);
  }
  SECTION("in CREATE_CHILD_SA") {
    peer.init();
    peer.auth();
    Payloads payloads = child_request(peer, 0xbbbb, 0xaaaa);
    payloads.emplace_back(none);
    REQUIRE(peer.ask(Exchange::create_child_sa, payloads).has_value());
  }
  REQUIRE(world.west.up);
  CHECK(world.west.said("the peer does not accept padding (ESP_TFC_PADDING_NOT_SUPPORTED)"));
  const auto padded = [](const auto& sas) {
    return std::ranges::count_if(sas, [](const auto& sa) { return sa.second.padding; });
  };
  CHECK(padded(world.west.inbound) ==
        (world.west.inbound.size() == 2 ? 1 : 0));  // of the one that is replaced
}

TEST_CASE("a responder that narrows to more selectors than there is room for is told no") {
  World world;
  ScriptedPeer peer(world);
  be_asked(world, peer);
  Payloads payloads = peer.auth_payloads();
  auto& selectors = std::get<ike::TsPayload>(payloads.back()).selectors;
  for (unsigned part = 0; part < channel::kMaxSelectors; ++part) {
    selectors.push_back(selectors.front());
    selectors.back().protocol = static_cast<std::uint8_t>(part + 1);
  }
  peer.answer(payloads);
  CHECK(!world.west.up);
  CHECK(world.west.inbound.empty());
  REQUIRE(world.west.failures.size() == 1);
  CHECK(world.west.failures[0].failure == Failure::ts_unacceptable);
}

TEST_CASE("a responder may say later, and again, for how long our authentication counts") {
  World world;
  ScriptedPeer peer(world);
  be_asked(world, peer);
  peer.answer(peer.auth_payloads());
  REQUIRE(world.west.up);
  for (const ByteVector& wrong : {ByteVector{}, ByteVector{0, 0, 1}, ByteVector{0, 0, 0, 1, 0}})
    CHECK(peer.ask(Exchange::informational, lifetime(wrong))->empty());
  CHECK(!world.west.said("AUTH_LIFETIME"));
  CHECK(peer.ask(Exchange::informational, lifetime({0, 0, 3, 232}))->empty());
  CHECK(world.west.said("our authentication counts with the peer for 1000 s (AUTH_LIFETIME)"));
  CHECK(peer.ask(Exchange::informational, lifetime({0, 0, 0, 20}))->empty());
  CHECK(world.west.said("for 20 s (AUTH_LIFETIME)"));
  CHECK(peer.ask(Exchange::informational, lifetime({255, 255, 255, 255}))->empty());  // none that is longer
  CHECK(!world.west.said("for 4294967295 s"));
  CHECK(!world.west.said("authentication is renewed"));
  world.run(seconds(20));
  CHECK(world.west.said("authentication is renewed"));
}

TEST_CASE("an initiator has no say in when it is to authenticate anew") {
  World world;
  ScriptedPeer peer(world);
  peer.init();
  peer.auth();
  CHECK(peer.ask(Exchange::informational, lifetime({0, 0, 0, 20}))->empty());
  world.run(seconds(20));
  CHECK(!world.west.said("AUTH_LIFETIME"));
  CHECK(!world.west.said("authentication is renewed"));
}

// RFC 7296 section 4: one child SA, by IKE_AUTH, is all that a minimal implementation has.
TEST_CASE(
    "a peer that answers each CREATE_CHILD_SA with NO_ADDITIONAL_SAS gets another IKE SA when it has no "
    "child") {
  World world;
  ScriptedPeer peer(world);
  be_asked(world, peer);
  peer.answer(peer.auth_payloads());
  (void)peer.ask(Exchange::informational, {ike::DeletePayload{Protocol::esp, {0xaaaa}}});
  CHECK(!world.west.up);
  world.west.initiate();
  const Payloads refusal{ike::NotifyPayload{Protocol::none, {}, NotifyType::no_additional_sas, {}}};
  peer.answer(refusal);
  REQUIRE(world.west.failures.size() == 1);
  CHECK(world.west.failures.back().failure == Failure::no_additional_child);
  CHECK(world.west.reserved.empty());
  peer.answer({});  // the delete
  CHECK(world.west.ike_sas() == 0);
  be_asked(world, peer);
  peer.answer(peer.auth_payloads());
  CHECK(world.west.up);
}

// RFC 7296 section 2.25: for several minutes, which the moments of two collisions are not.
TEST_CASE("a peer that answers TEMPORARY_FAILURE for three minutes is out of step; now and then it may") {
  World world;
  world.west.tunnels[0].dpd_interval = seconds(0);
  ScriptedPeer peer(world);
  be_asked(world, peer);
  peer.answer(peer.auth_payloads());
  const Payloads later{ike::NotifyPayload{Protocol::none, {}, NotifyType::temporary_failure, {}}};
  const auto put_off = [&] {
    world.west.daemon->rekey_child(world.west.inbound.rbegin()->first, world.now);
    peer.answer(later);
  };
  SECTION("the peer rekeys itself between") {
    put_off();
    for (std::uint32_t spi = 0xbbbb; spi < 0xbbbf; ++spi) {
      const std::uint32_t old = world.west.sending.at(0);
      REQUIRE(peer.ask(Exchange::create_child_sa, child_request(peer, spi, old)).has_value());
      (void)peer.ask(Exchange::informational, {ike::DeletePayload{Protocol::esp, {old}}});
      world.run(seconds(90));
      put_off();
      CHECK(world.west.up);
    }
  }
  SECTION("long ago") {
    (void)peer.ask(Exchange::informational, {ike::DeletePayload{Protocol::esp, {0xaaaa}}});
    for (int i = 0; i < 3; ++i) {
      world.west.initiate();
      peer.answer(later);
      REQUIRE(world.west.ike_sas() == 1);
      CHECK(world.west.daemon->list().front().state == "established");
      world.run(seconds(200));
    }
  }
  SECTION("all the time") {
    put_off();
    for (int i = 0; i < 200 && world.west.up; ++i) {
      world.run(milliseconds(1500));
      peer.answer(later);
    }
    CHECK(!world.west.up);
    CHECK(world.west.said("the peer has answered TEMPORARY_FAILURE for three minutes"));
    CHECK(world.west.said("authentication is renewed"));  // which had no answer
    CHECK(world.now - kStart >= seconds(180));
  }
}

TEST_CASE(
    "a child SA that is asked for when the IKE SA is given up is told of as failed, and asked for again") {
  World world;
  world.west.tunnels[0].dpd_interval = seconds(0);
  ScriptedPeer peer(world);
  be_asked(world, peer);
  peer.answer(peer.auth_payloads());
  (void)peer.ask(Exchange::informational, {ike::DeletePayload{Protocol::esp, {0xaaaa}}});
  REQUIRE(!world.west.up);
  SECTION("the answer is malformed") {
    world.west.initiate();
    peer.answer({ike::OpaquePayload{200, true, {1, 2, 3}}});
    CHECK(world.west.failures.size() == 1);
  }
  SECTION("TEMPORARY_FAILURE for three minutes") {
    for (int i = 0; i < 300 && !world.west.said("answered TEMPORARY_FAILURE for three minutes"); ++i) {
      const std::size_t before = world.west.failures.size();
      world.west.initiate();
      peer.answer({ike::NotifyPayload{Protocol::none, {}, NotifyType::temporary_failure, {}}});
      REQUIRE(world.west.failures.size() == before + 1);
      world.run(milliseconds(1500));
      // Another IKE SA is to take the place of this one by then, and is not answered.
      if (world.west.ike_sas() > 1) world.run(seconds(100), [&world] { return world.west.ike_sas() == 1; });
    }
    CHECK(world.now - kStart >= seconds(180));
  }
  peer.answer({});  // the delete
  CHECK(world.west.reserved.empty());
  be_asked(world, peer);
  peer.answer(peer.auth_payloads());
  CHECK(world.west.up);
}

TEST_CASE("a responder's IKE_AUTH that lacks something, or answers what was not asked, brings nothing up") {
  World world;
  ScriptedPeer peer(world);
  be_asked(world, peer);
  Payloads payloads = peer.auth_payloads();
  SECTION("without AUTH") { payloads.erase(payloads.begin() + 1); }
  SECTION("without an identity") { payloads.erase(payloads.begin()); }
  SECTION("AUTH of nothing") { std::get<ike::AuthPayload>(payloads[1]).data.clear(); }
  SECTION("AUTH that differs in a bit") { std::get<ike::AuthPayload>(payloads[1]).data.back() ^= 1; }
  SECTION("two proposals") {
    auto& proposals = std::get<ike::SaPayload>(payloads[2]).proposals;
    proposals.push_back(proposals.front());
  }
  SECTION("another transform than any that was offered") {
    std::get<ike::SaPayload>(payloads[2]).proposals.front().transforms.front().id = 3;
  }
  SECTION("without selectors") { payloads.resize(3); }
  SECTION("selectors of the initiator alone") { payloads.resize(4); }
  peer.answer(payloads);
  CHECK(!world.west.up);
  CHECK(world.west.inbound.empty());
  CHECK(world.west.outbound.empty());
  CHECK(world.west.failures.size() == 1);
  world.run(seconds(100));
  CHECK(world.west.daemon->empty());
  CHECK(world.west.reserved.empty());
  CHECK(world.complaints == std::vector<std::string>{});
}

TEST_CASE("a peer with two child SAs falls silent, and nothing is left or begun") {
  World world;
  ScriptedPeer peer(world);
  peer.init();
  peer.auth();
  REQUIRE(peer.ask(Exchange::create_child_sa, child_request(peer, 0xbbbb, std::nullopt)).has_value());
  REQUIRE(world.west.inbound.size() == 2);
  world.run(seconds(100));
  CHECK(world.west.daemon->empty());
  CHECK(world.west.inbound.empty());
  CHECK(world.west.reserved.empty());
  CHECK(!world.west.said("CREATE_CHILD_SA"));
  CHECK(world.complaints == std::vector<std::string>{});
}

TEST_CASE("an unknown critical payload is refused by name; the IKE SA stays") {
  World world;
  ScriptedPeer peer(world);
  peer.init();
  peer.auth();
  const auto answer = peer.ask(Exchange::informational, {ike::OpaquePayload{200, true, {1, 2, 3}}});
  REQUIRE(answers(answer, NotifyType::unsupported_critical_payload));
  CHECK(ike::find_notify(*answer, NotifyType::unsupported_critical_payload)->data == ByteVector{200});
  CHECK(world.west.up);
  CHECK(peer.ask(Exchange::informational, {ike::OpaquePayload{200, false, {1, 2, 3}}})->empty());
}

TEST_CASE("a peer that wants EAP, or signs, is refused in words") {
  for (const bool eap : {true, false}) {
    World world;
    ScriptedPeer peer(world);
    peer.init();
    Payloads payloads = peer.auth_payloads();
    if (eap) {
      payloads.erase(payloads.begin() + 1);
    } else {
      std::get<ike::AuthPayload>(payloads[1]).method = 14;
    }
    CHECK(answers(peer.ask(Exchange::ike_auth, payloads), NotifyType::authentication_failed));
    CHECK(world.west.said(eap ? "by EAP" : "by a digital signature (method 14)"));
    CHECK(!world.west.up);
    CHECK(!peer.ask(Exchange::informational, {}));  // there is no IKE SA to talk on
  }
}

TEST_CASE("a malformed IKE_AUTH is answered INVALID_SYNTAX and ends the attempt") {
  World world;
  ScriptedPeer peer(world);
  peer.init();
  CHECK(answers(peer.ask(Exchange::ike_auth, {}), NotifyType::invalid_syntax));
  CHECK(world.west.failures.size() == 1);
  CHECK(world.west.ike_sas() == 0);
}

// RFC 7296 section 2.21.3: for both, without a Delete.
TEST_CASE("INVALID_SYNTAX ends the IKE SA, whoever says so") {
  World world;
  ScriptedPeer peer(world);
  const Payloads fatal{ike::NotifyPayload{Protocol::none, {}, NotifyType::invalid_syntax, {}}};
  be_asked(world, peer);
  peer.answer(peer.auth_payloads());
  REQUIRE(world.west.up);
  SECTION("we, to a request without payloads") {
    CHECK(answers(peer.ask(Exchange::create_child_sa, {}), NotifyType::invalid_syntax));
    CHECK(world.west.said("the peer sent a malformed request: its CREATE_CHILD_SA lacks a payload"));
  }
  SECTION("we, to a DH value that can't be") {
    Payloads request = child_request(peer, 0xbbbb, 0xaaaa);
    std::get<ike::KePayload>(request.back()).data.assign(32, 0);
    CHECK(answers(peer.ask(Exchange::create_child_sa, request), NotifyType::invalid_syntax));
  }
  SECTION("the peer, to a rekey of a child") {
    world.west.daemon->rekey_child(world.west.inbound.begin()->first, world.now);
    peer.answer(fatal);
  }
  SECTION("the peer, to a rekey of the IKE SA") {
    world.west.daemon->rekey_ike(0, world.now);
    peer.answer(fatal);
  }
  SECTION("the peer, to a new child") {
    (void)peer.ask(Exchange::informational, {ike::DeletePayload{Protocol::esp, {0xaaaa}}});
    world.west.initiate();
    peer.answer(fatal);
    REQUIRE(world.west.failures.size() == 1);
    CHECK(world.west.failures.back().failure == Failure::protocol_error);
  }
  CHECK(world.west.ike_sas() == 0);
  CHECK(!world.west.up);
  CHECK(world.west.downs.size() == 1);
  const unsigned said = world.sent;
  world.run(seconds(100));
  CHECK(world.sent == said);
  CHECK(world.west.inbound.empty());
  CHECK(world.west.reserved.empty());
  CHECK(world.west.daemon->empty());
  CHECK(world.complaints == std::vector<std::string>{});
}

TEST_CASE("nothing but IKE_AUTH comes before it, and it does not come again") {
  World world;
  ScriptedPeer peer(world);
  peer.init();
  CHECK(!peer.ask(Exchange::informational, {}));
  CHECK(!peer.ask(Exchange::create_child_sa, child_request(peer, 0xbbbb, std::nullopt)));
  peer.auth();
  CHECK(!peer.ask(Exchange::ike_auth, peer.auth_payloads()));
  CHECK(world.west.up);
}

TEST_CASE("rekeys of what does not exist, deletes of what does not exist") {
  World world;
  ScriptedPeer peer(world);
  peer.init();
  peer.auth();
  CHECK(answers(peer.ask(Exchange::create_child_sa, child_request(peer, 0xbbbb, 0xdddd)),
                NotifyType::child_sa_not_found));
  CHECK(peer.ask(Exchange::informational, {ike::DeletePayload{Protocol::esp, {0xdddd, 0xeeee}}})->empty());
  CHECK(world.west.up);

  SECTION("a rekey that exists; then the old one is being replaced and can't be rekeyed again") {
    const auto answer = peer.ask(Exchange::create_child_sa, child_request(peer, 0xbbbb, 0xaaaa));
    REQUIRE(answer.has_value());
    CHECK(ike::find<ike::SaPayload>(*answer) != nullptr);
    CHECK(world.west.sending.at(0) == 0xaaaa);  // until the peer surely has the answer
    CHECK(answers(peer.ask(Exchange::create_child_sa, child_request(peer, 0xcccc, 0xaaaa)),
                  NotifyType::temporary_failure));
    CHECK(world.west.sending.at(0) == 0xbbbb);
    const auto deleted = peer.ask(Exchange::informational, {ike::DeletePayload{Protocol::esp, {0xaaaa}}});
    CHECK(ike::find<ike::DeletePayload>(*deleted)->spis.size() == 1);
    CHECK(world.west.outbound.size() == 1);
  }
  SECTION("the only child deleted: the tunnel is down, the IKE SA is not") {
    (void)peer.ask(Exchange::informational, {ike::DeletePayload{Protocol::esp, {0xaaaa}}});
    CHECK(!world.west.up);
    CHECK(world.west.said("the peer deleted the child SA"));
    CHECK(world.west.ike_sas() == 1);
  }
  SECTION("a peer that never deletes the old one: we send on the new after a while") {
    (void)peer.ask(Exchange::create_child_sa, child_request(peer, 0xbbbb, 0xaaaa));
    world.run(milliseconds(29000), [&] { return world.west.sending.at(0) == 0xbbbb; });
    CHECK(world.west.sending.at(0) == 0xaaaa);
  }
}

// strongSwan 5.9.8, whose rekey of an SA that we have rekeyed comes too late, forgets the new one and makes
// another.
TEST_CASE("a peer that forgets to delete what another took the place of is helped after a minute") {
  const bool rekeys = GENERATE(true, false);
  World world;
  ScriptedPeer peer(world);
  peer.init();
  peer.auth();
  const auto replaces = rekeys ? std::optional<std::uint32_t>(0xaaaa) : std::nullopt;
  REQUIRE(peer.ask(Exchange::create_child_sa, child_request(peer, 0xbbbb, replaces)).has_value());
  for (int i = 0; i < 11; ++i) {
    world.run(seconds(5));
    (void)peer.ask(Exchange::informational, {});
  }
  CHECK(world.west.outbound.contains(0xaaaa));
  CHECK(world.west.sending.at(0) == 0xbbbb);
  world.run(seconds(6));
  CHECK(!world.west.outbound.contains(0xaaaa));
  CHECK(world.west.outbound.contains(0xbbbb));
  CHECK(world.west.up);
  world.run(seconds(15));
  CHECK(world.west.inbound.size() == 1);
}

TEST_CASE("children without end are refused") {
  World world;
  ScriptedPeer peer(world);
  peer.init();
  peer.auth();
  bool refused = false;
  for (std::uint32_t i = 0; i < 30 && !refused; ++i)
    refused = answers(peer.ask(Exchange::create_child_sa, child_request(peer, 0x10000 + i, std::nullopt)),
                      NotifyType::no_additional_sas);
  CHECK(refused);
  CHECK(world.west.inbound.size() <= 16);
}

TEST_CASE("an authenticated peer that talks at random harms nobody") {
  for (unsigned seed = 0; seed < 200 / kStride; ++seed) {
    World world;
    ScriptedPeer peer(world);
    peer.init();
    std::mt19937 dice(seed);
    if (seed % 8 != 0) peer.auth();
    for (int i = 0; i < 60; ++i) {
      Payloads pool = child_request(peer, 0x10000 + dice() % 4, 0x10000 + dice() % 4);
      for (const ike::Payload& payload : peer.auth_payloads()) pool.push_back(payload);
      pool.emplace_back(
          ike::offer_ike(east_tunnel().ike_proposals, ByteVector(8, std::uint8_t(1 + dice() % 9))));
      pool.emplace_back(
          ike::DeletePayload{Protocol::esp, {0x10000 + static_cast<std::uint32_t>(dice() % 4)}});
      if (dice() % 40 == 0) pool.emplace_back(ike::DeletePayload{Protocol::ike, {}});
      pool.emplace_back(ike::NotifyPayload{Protocol::none, {}, static_cast<NotifyType>(dice() % 50), {}});
      std::shuffle(pool.begin(), pool.end(), dice);
      pool.resize(dice() % (pool.size() + 1));
      static constexpr Exchange kExchanges[] = {Exchange::create_child_sa, Exchange::informational,
                                                Exchange::ike_auth};
      (void)peer.ask(kExchanges[dice() % 3], pool);
      world.run(milliseconds(dice() % 3000));
    }
    INFO("seed " << seed);
    CHECK(world.complaints == std::vector<std::string>{});
    world.run(seconds(200));  // the peer is silent: all goes
    CHECK(world.west.inbound.empty());
    CHECK(world.west.outbound.empty());
    CHECK(world.west.reserved.empty());
    CHECK(world.west.ike_sas() == 0);
  }
}

}  // namespace
}  // namespace espgate::test
