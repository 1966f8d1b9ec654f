// Offers, choices, answers, and the words for when there is none.
#include <catch2/catch.hpp>

#include "control/ike/proposal_choice.hpp"
#include "tests/control/ike/support.hpp"

using namespace espgate;
using namespace espgate::ike;
using namespace espgate::ike::test;
using crypto::DhGroup;
using crypto::EspSuite;
using crypto::IkeCipherId;
using crypto::IkeIntegrity;
using crypto::Prf;

namespace {

using IkeWanted = std::vector<conf::IkeProposal>;
using EspWanted = std::vector<conf::EspProposal>;

const conf::IkeProposal kCbc{"aes256-sha384-ecp384",
                             {{IkeCipherId::aes_cbc, 256}},
                             {IkeIntegrity::hmac_sha384_192},
                             {Prf::hmac_sha384},
                             {DhGroup::ecp384}};
const conf::IkeProposal kGcm{"aes256gcm16-aes128gcm16-prfsha384-ecp384-x25519",
                             {{IkeCipherId::aes_gcm16, 256}, {IkeCipherId::aes_gcm16, 128}},
                             {},
                             {Prf::hmac_sha384},
                             {DhGroup::ecp384, DhGroup::curve25519}};

Transform cipher(std::uint16_t id, std::uint16_t bits) { return {TransformType::cipher, id, bits, false}; }
Transform integrity(std::uint16_t id) { return {TransformType::integrity, id, 0, false}; }
Transform prf(std::uint16_t id) { return {TransformType::prf, id, 0, false}; }
Transform dh(std::uint16_t id) { return {TransformType::dh, id, 0, false}; }
Transform esn(std::uint16_t id) { return {TransformType::esn, id, 0, false}; }
Transform other(std::uint8_t type) { return {static_cast<TransformType>(type), 1, 0, false}; }

SaPayload ike_sa(std::vector<Transform> transforms, ByteVector spi = {}) {
  return {{{1, Protocol::ike, std::move(spi), std::move(transforms)}}};
}
SaPayload esp_sa(std::vector<Transform> transforms, ByteVector spi = {0xc0, 0, 0, 1}) {
  return {{{1, Protocol::esp, std::move(spi), std::move(transforms)}}};
}
SaPayload both(const SaPayload& first, const SaPayload& second) {
  SaPayload sa = first;
  sa.proposals.push_back(second.proposals.at(0));
  sa.proposals.back().number = 2;
  return sa;
}
conf::EspProposal wanted_esp(std::vector<EspSuite> suites, std::vector<DhGroup> groups = {}) {
  return {"", std::move(suites), std::move(groups)};
}

const Transform kGcm256 = cipher(20, 256);
const Transform kCbc128 = cipher(12, 128);
const EspWanted kGcmOnly{wanted_esp({EspSuite::aes256_gcm16})};
const EspWanted kGcmPfs{wanted_esp({EspSuite::aes256_gcm16}, {DhGroup::ecp384})};

}  // namespace

TEST_CASE("an IKE offer lists transforms in the order configured, AEAD without integrity") {
  const SaPayload offer = offer_ike({kGcm, kCbc}, {});
  REQUIRE(offer.proposals.size() == 2);
  CHECK(offer.proposals[0].number == 1);
  CHECK(offer.proposals[1].number == 2);
  CHECK(offer.proposals[0].transforms ==
        std::vector<Transform>{cipher(20, 256), cipher(20, 128), prf(6), dh(20), dh(31)});
  CHECK(offer.proposals[1].transforms ==
        std::vector<Transform>{cipher(12, 256), integrity(13), prf(6), dh(20)});
  CHECK(describe(offer) == "aes256gcm16-aes128gcm16-prfsha384-ecp384-x25519, aes256-sha384-ecp384");
  const ByteVector spi(8, 7);
  CHECK(offer_ike({kCbc}, spi).proposals[0].spi == spi);
}

TEST_CASE("ciphers of both kinds in one configured proposal are offered in two") {
  conf::IkeProposal mixed = kCbc;
  mixed.ciphers.push_back({IkeCipherId::aes_gcm16, 128});
  const SaPayload offer = offer_ike({mixed}, {});
  REQUIRE(offer.proposals.size() == 2);
  CHECK(offer.proposals[0].transforms.front() == cipher(20, 128));
  CHECK(describe(offer) == "aes128gcm16-prfsha384-ecp384, aes256-sha384-ecp384");
}

TEST_CASE("an ESP offer holds the suites asked for and no other combination") {
  const EspWanted wanted{wanted_esp(
      {EspSuite::aes256_gcm16, EspSuite::aes128_cbc_sha256, EspSuite::aes256_cbc_sha1}, {DhGroup::ecp384})};
  const SaPayload offer = offer_esp(wanted, 0xc0000001, true);
  REQUIRE(offer.proposals.size() == 3);
  CHECK(offer.proposals[0].spi == ByteVector{0xc0, 0, 0, 1});
  CHECK(offer.proposals[0].transforms == std::vector<Transform>{kGcm256, dh(20), esn(0)});
  CHECK(offer.proposals[1].transforms == std::vector<Transform>{kCbc128, integrity(12), dh(20), esn(0)});
  CHECK(offer.proposals[2].transforms ==
        std::vector<Transform>{cipher(12, 256), integrity(2), dh(20), esn(0)});
  CHECK(offer_esp(wanted, 0xc0000001, false).proposals[0].transforms ==
        std::vector<Transform>{kGcm256, esn(0)});
  CHECK(describe(offer) == "aes256gcm16-ecp384, aes128-sha256-ecp384, aes256-sha1-ecp384");
}

TEST_CASE("choosing from scapy's IKE offer") {
  const ByteVector& datagram = golden("sa_init_request");
  const auto payloads = expect(parse_plain(header_of(datagram), datagram));
  const SaPayload& offered = *find<SaPayload>(payloads);
  const auto first = choose_ike(offered, {kGcm, kCbc}, {});
  REQUIRE(first);
  CHECK(first->answer.proposals.at(0).number == 1);  // their order of proposals goes first
  CHECK(describe(first->algorithms) == "aes256-sha384-ecp384");

  conf::IkeProposal ours = kGcm;
  ours.groups = {DhGroup::curve25519, DhGroup::ecp384};
  const auto second = choose_ike(offered, {ours}, {});
  REQUIRE(second);
  CHECK(second->answer.proposals.at(0).number == 2);
  CHECK(second->answer.proposals.at(0).transforms ==
        std::vector<Transform>{kGcm256, prf(6), dh(31)});  // our order
  CHECK(second->algorithms.cipher == IkeCipherId::aes_gcm16);
  CHECK(second->algorithms.key_bits == 256);
  CHECK(second->algorithms.integrity == IkeIntegrity::none);
  CHECK(second->algorithms.prf == Prf::hmac_sha384);
  CHECK(second->algorithms.group == DhGroup::curve25519);
  CHECK(accept_ike(second->answer, offered));
}

TEST_CASE("what an IKE offer must have") {
  const auto chosen = [](const SaPayload& offered, const conf::IkeProposal& ours) {
    return choose_ike(offered, {ours}, {}).has_value();
  };
  const std::vector<Transform> good{cipher(12, 256), integrity(13), prf(6), dh(20)};
  CHECK(chosen(ike_sa(good), kCbc));
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::vector<Transform> lacking = good;
    lacking.erase(lacking.begin() + static_cast<std::ptrdiff_t>(i));
    CAPTURE(i);
    CHECK_FALSE(chosen(ike_sa(lacking), kCbc));
  }
  CHECK_FALSE(
      chosen(ike_sa({cipher(12, 0), integrity(13), prf(6), dh(20)}), kCbc));  // AES without a key length
  CHECK_FALSE(chosen(ike_sa({cipher(12, 128), integrity(13), prf(6), dh(20)}), kCbc));
  CHECK_FALSE(chosen(ike_sa({{TransformType::cipher, 12, 256, true}, integrity(13), prf(6), dh(20)}), kCbc));
  CHECK(chosen(ike_sa({cipher(99, 0), cipher(12, 256), integrity(13), integrity(77), prf(6), dh(1), dh(20)}),
               kCbc));
  CHECK_FALSE(
      chosen(ike_sa({cipher(12, 256), integrity(13), prf(6), dh(20), other(6)}), kCbc));  // unknown type
  CHECK_FALSE(chosen(ike_sa({cipher(12, 256), integrity(13), prf(6), dh(20), esn(1)}), kCbc));
  CHECK_FALSE(chosen(esp_sa(good), kCbc));
  CHECK_FALSE(chosen(ike_sa(good, ByteVector(8, 1)), kCbc));  // an SPI in an initial exchange
}

TEST_CASE("AEAD takes no integrity algorithm, or NONE") {
  const auto choice = [](std::vector<Transform> offered) {
    return choose_ike(ike_sa(std::move(offered)), {kGcm}, {});
  };
  CHECK(choice({kGcm256, prf(6), dh(20)}));
  const auto none = choice({kGcm256, integrity(0), prf(6), dh(20)});
  REQUIRE(none);
  CHECK(none->answer.proposals[0].transforms.size() == 4);  // one of each type that was offered
  CHECK_FALSE(choice({kGcm256, integrity(13), prf(6), dh(20)}));
  CHECK(choice({kGcm256, integrity(13), integrity(0), prf(6), dh(20)}));
}

TEST_CASE("rekeying an IKE SA needs their new SPI") {
  const std::vector<Transform> good{cipher(12, 256), integrity(13), prf(6), dh(20)};
  const ByteVector ours(8, 9);
  const ByteVector theirs(8, 5);
  const auto choice = choose_ike(ike_sa(good, theirs), {kCbc}, ours);
  REQUIRE(choice);
  CHECK(choice->peer_spi == theirs);
  CHECK(choice->answer.proposals[0].spi == ours);
  CHECK_FALSE(choose_ike(ike_sa(good), {kCbc}, ours));
  CHECK_FALSE(choose_ike(ike_sa(good, ByteVector(8, 0)), {kCbc}, ours));
}

TEST_CASE("choosing from ESP offers") {
  const auto choice =
      choose_esp(esp_sa({kCbc128, integrity(12), esn(0)}),
                 {wanted_esp({EspSuite::aes256_gcm16, EspSuite::aes128_cbc_sha256})}, 0xd0000002, false);
  REQUIRE(choice);
  CHECK(choice->suite == EspSuite::aes128_cbc_sha256);
  CHECK(choice->group == DhGroup::none);
  CHECK(choice->peer_spi == 0xc0000001);
  CHECK(choice->answer.proposals[0].spi == ByteVector{0xd0, 0, 0, 2});
  CHECK(choose_esp(both(esp_sa({kCbc128, integrity(2), esn(0)}), esp_sa({kGcm256, esn(0)})), kGcmOnly,
                   0xd0000002, false)
            ->answer.proposals[0]
            .number == 2);
  CHECK_FALSE(
      choose_esp(esp_sa({kGcm256, esn(0)}, {0, 0, 0, 255}), kGcmOnly, 0xd0000002, false));  // reserved SPI
  CHECK_FALSE(choose_esp(ike_sa({kGcm256, esn(0)}), kGcmOnly, 0xd0000002, false));
  SaPayload ah = esp_sa({integrity(12), esn(0)});
  ah.proposals[0].protocol = Protocol::ah;
  CHECK_FALSE(choose_esp(ah, kGcmOnly, 0xd0000002, false));
  CHECK_FALSE(choose_esp(esp_sa({kGcm256, esn(0)}), {}, 0xd0000002, false));
}

TEST_CASE("extended sequence numbers: only without") {
  const auto choice = [](std::vector<Transform> offered) {
    return choose_esp(esp_sa(std::move(offered)), kGcmOnly, 0xd0000002, false);
  };
  CHECK(choice({kGcm256, esn(1), esn(0)})->answer.proposals[0].transforms ==
        std::vector<Transform>{kGcm256, esn(0)});
  CHECK_FALSE(choice({kGcm256, esn(1)}));
  CHECK(choice({kGcm256})->answer.proposals[0].transforms == std::vector<Transform>{kGcm256});
}

TEST_CASE("groups: ignored in IKE_AUTH, ours or none in CREATE_CHILD_SA") {
  const auto group = [](std::vector<Transform> offered, const EspWanted& wanted, bool with_groups) {
    const auto choice = choose_esp(esp_sa(std::move(offered)), wanted, 0xd0000002, with_groups);
    return choice ? static_cast<int>(choice->group) : -1;
  };
  CHECK(group({kGcm256, dh(14), esn(0)}, kGcmPfs, false) == 0);
  CHECK(group({kGcm256, esn(0)}, kGcmPfs, false) == 0);
  CHECK(group({kGcm256, dh(0), esn(0)}, kGcmOnly, false) == 0);
  CHECK(group({kGcm256, dh(14), dh(20), esn(0)}, kGcmPfs, true) == 20);
  CHECK(group({kGcm256, dh(20), dh(0), esn(0)}, kGcmPfs, true) == 20);
  CHECK(group({kGcm256, dh(14), esn(0)}, kGcmPfs, true) == -1);
  CHECK(group({kGcm256, dh(0), esn(0)}, kGcmPfs, true) == -1);
  CHECK(group({kGcm256, esn(0)}, kGcmPfs, true) == -1);
  CHECK(group({kGcm256, esn(0)}, kGcmOnly, true) == 0);
  CHECK(group({kGcm256, dh(20), dh(0), esn(0)}, kGcmOnly, true) == 0);
  CHECK(group({kGcm256, dh(20), esn(0)}, kGcmOnly, true) == -1);
  const auto ignored = choose_esp(esp_sa({kGcm256, dh(14), esn(0)}), kGcmPfs, 0xd0000002, false);
  CHECK(ignored->answer.proposals[0].transforms == std::vector<Transform>{kGcm256, esn(0)});
}

TEST_CASE("an answer is one proposal of ours with one transform of each type") {
  const SaPayload offer = offer_ike({kGcm, kCbc}, {});
  const auto accepted = [&offer](std::uint8_t number, std::vector<Transform> transforms) {
    SaPayload answer = ike_sa(std::move(transforms));
    answer.proposals[0].number = number;
    return accept_ike(answer, offer);
  };
  CHECK(describe(accepted(1, {cipher(20, 128), prf(6), dh(31)})->algorithms) ==
        "aes128gcm16-prfsha384-x25519");
  CHECK(accepted(1, {cipher(20, 128), integrity(0), prf(6), dh(31)}));
  CHECK(accepted(2, {cipher(12, 256), integrity(13), prf(6), dh(20)}));
  CHECK_FALSE(accepted(2, {cipher(20, 128), prf(6), dh(31)}));  // another proposal's
  CHECK_FALSE(accepted(3, {cipher(20, 128), prf(6), dh(31)}));
  CHECK_FALSE(accepted(1, {cipher(20, 256), cipher(20, 128), prf(6), dh(31)}));        // two ciphers
  CHECK_FALSE(accepted(1, {cipher(20, 192), prf(6), dh(31)}));                         // not offered
  CHECK_FALSE(accepted(1, {cipher(20, 128), prf(6)}));                                 // a type is missing
  CHECK_FALSE(accepted(2, {cipher(12, 256), integrity(13), prf(6), dh(20), esn(0)}));  // a type too many
  CHECK_FALSE(accept_ike(
      both(ike_sa({cipher(20, 128), prf(6), dh(31)}), ike_sa({cipher(20, 128), prf(6), dh(31)})), offer));
  CHECK_FALSE(accept_ike(SaPayload{}, offer));
}

TEST_CASE("accepting ESP answers") {
  const SaPayload offer = offer_esp(kGcmPfs, 0xd0000001, true);
  const auto choice = accept_esp(esp_sa({kGcm256, dh(20), esn(0)}), offer);
  REQUIRE(choice);
  CHECK(choice->suite == EspSuite::aes256_gcm16);
  CHECK(choice->group == DhGroup::ecp384);
  CHECK(choice->peer_spi == 0xc0000001);
  CHECK(accept_esp(esp_sa({kGcm256, dh(20)}), offer));
  CHECK_FALSE(accept_esp(esp_sa({kGcm256, esn(0)}), offer));  // without our PFS
  CHECK_FALSE(accept_esp(esp_sa({kGcm256, dh(0), esn(0)}), offer));
  CHECK_FALSE(accept_esp(esp_sa({kGcm256, dh(20), esn(1)}), offer));
  CHECK(accept_esp(esp_sa({kGcm256, dh(0), esn(0)}), offer_esp(kGcmPfs, 0xd0000001, false)));
  CHECK_FALSE(accept_esp(esp_sa({kGcm256, dh(20), esn(0)}, {0, 0, 0, 0}), offer));
}

TEST_CASE("extended sequence numbers are offered, chosen and accepted as the tunnel says") {
  const auto wanted = [](conf::Esn esn) {
    EspWanted out = kGcmOnly;
    out[0].esn = esn;
    return out;
  };
  const EspWanted no = wanted(conf::Esn::no);
  const EspWanted yes = wanted(conf::Esn::yes);
  const EspWanted either = wanted(conf::Esn::either);
  const auto offer = [](const EspWanted& from) { return offer_esp(from, 0xc0000001, false); };
  CHECK(offer(no).proposals[0].transforms == std::vector<Transform>{kGcm256, esn(0)});
  CHECK(offer(yes).proposals[0].transforms == std::vector<Transform>{kGcm256, esn(1)});
  CHECK(offer(either).proposals[0].transforms == std::vector<Transform>{kGcm256, esn(1), esn(0)});
  CHECK(describe(offer(either)) == "aes256gcm16-esn-noesn");
  CHECK(describe(offer(yes)) == "aes256gcm16-esn");
  CHECK(describe(offer(no)) == "aes256gcm16");

  const auto choice = [](std::vector<Transform> offered, const EspWanted& ours) {
    const auto chosen = choose_esp(esp_sa(std::move(offered)), ours, 0xd0000002, false);
    return !chosen ? -1 : chosen->esn ? 1 : 0;
  };
  CHECK(choice({kGcm256, esn(0), esn(1)}, either) == 1);  // our order
  CHECK(choice({kGcm256, esn(0)}, either) == 0);
  CHECK(choice({kGcm256}, either) == 0);  // unsaid
  CHECK(choice({kGcm256}, no) == 0);
  CHECK(choice({kGcm256}, yes) == -1);
  CHECK(choice({kGcm256, esn(0)}, yes) == -1);
  CHECK(choice({kGcm256, esn(1)}, no) == -1);
  CHECK(choice({kGcm256, esn(2)}, either) == -1);

  CHECK(accept_esp(esp_sa({kGcm256, esn(1)}), offer(either))->esn);
  CHECK_FALSE(accept_esp(esp_sa({kGcm256, esn(0)}), offer(either))->esn);
  CHECK_FALSE(accept_esp(esp_sa({kGcm256, esn(1), esn(0)}), offer(either)));  // an answer chooses
  CHECK_FALSE(accept_esp(esp_sa({kGcm256, esn(0)}), offer(yes)));
  CHECK_FALSE(accept_esp(esp_sa({kGcm256}), offer(yes)));
  CHECK_FALSE(accept_esp(esp_sa({kGcm256, esn(1)}), offer(no)));
}

TEST_CASE("every choice is one that the offerer accepts") {
  std::mt19937 random(4301);
  const std::vector<EspSuite> suites{EspSuite::aes128_gcm16, EspSuite::aes256_gcm16,
                                     EspSuite::aes128_cbc_sha1, EspSuite::aes256_cbc_sha256,
                                     EspSuite::aes256_cbc_sha1};
  const std::vector<DhGroup> groups{DhGroup::ecp256, DhGroup::curve25519, DhGroup::modp2048};
  const auto draw = [&random](const auto& from) {
    auto drawn = from;
    std::shuffle(drawn.begin(), drawn.end(), random);
    drawn.resize(random() % (from.size() + 1));
    return drawn;
  };
  int agreed = 0;
  for (int i = 0; i < 2000; ++i) {
    const EspWanted theirs{wanted_esp(draw(suites), draw(groups)), wanted_esp(draw(suites), draw(groups))};
    const EspWanted ours{wanted_esp(draw(suites), draw(groups)), wanted_esp(draw(suites), draw(groups))};
    const bool with_groups = i % 2 == 0;
    const SaPayload offer = offer_esp(theirs, 0xd0000001, with_groups);
    const auto choice = choose_esp(offer, ours, 0xc0000001, with_groups);
    if (!choice) {
      CHECK_FALSE(mismatch_words(offer, offer_esp(ours, 0xc0000001, with_groups)).empty());
      continue;
    }
    ++agreed;
    const auto back = accept_esp(choice->answer, offer);
    REQUIRE(back);
    CHECK(back->suite == choice->suite);
    CHECK(back->group == choice->group);
    CHECK(back->peer_spi == 0xc0000001);
  }
  CHECK(agreed > 200);
}

TEST_CASE("what separates two offers, in words") {
  conf::IkeProposal ours = kCbc;
  ours.groups = {DhGroup::ecp384, DhGroup::curve25519};
  const SaPayload accepted = offer_ike({ours}, {});
  const auto words = [&accepted](const SaPayload& offered) { return mismatch_words(offered, accepted); };
  CHECK(words(ike_sa({cipher(12, 256), integrity(13), prf(6), dh(2)})) ==
        "no DH group in common: they offer modp1024; we accept ecp384, x25519");
  CHECK(words(both(ike_sa({cipher(12, 256), integrity(13), prf(6), dh(2)}),
                   ike_sa({cipher(12, 256), integrity(13), prf(6), dh(5), dh(2)}))) ==
        "no DH group in common: they offer modp1024, modp1536; we accept ecp384, x25519");
  CHECK(words(ike_sa({cipher(12, 256), integrity(12), prf(5), dh(20)})) ==
        "no integrity algorithm in common: they offer sha256; we accept sha384; "
        "no PRF in common: they offer prfsha256; we accept prfsha384");
  CHECK(words(ike_sa({kGcm256, prf(6), dh(20)})) ==
        "no cipher in common: they offer aes256gcm16; we accept aes256");
  CHECK(words(ike_sa({cipher(12, 0), integrity(13), prf(6), dh(20)})) ==
        "no cipher in common: they offer aes (no key length); we accept aes256");
  CHECK(words(ike_sa({cipher(12, 256), integrity(13), prf(6)})) ==
        "no DH group in common: they offer none; we accept ecp384, x25519");
  CHECK(words(both(ike_sa({cipher(12, 256), integrity(13), prf(6), dh(2)}),
                   ike_sa({cipher(12, 128), integrity(13), prf(6), dh(20)}))) ==
        "each algorithm is known, but no whole proposal is in common; the closest are their "
        "aes256-sha384-modp1024 and "
        "our aes256-sha384-ecp384-x25519: no DH group in common: they offer modp1024; we accept ecp384, "
        "x25519");
  CHECK(words(ike_sa({cipher(12, 256), integrity(13), prf(6), dh(20), other(6)})) ==
        "each of their proposals has a kind of transform that is unknown here: "
        "aes256-sha384-ecp384-transform type 6 id 1");
  CHECK(words(esp_sa({kGcm256, esn(0)})) == "they offer ESP; we accept IKE");
  CHECK(words({}) == "they offer nothing; we accept IKE");
  CHECK(mismatch_words(accepted, {}) == "we accept no proposal at all");
}

TEST_CASE("what separates two ESP offers, in words") {
  const auto words = [](std::vector<Transform> offered, const EspWanted& wanted, bool with_groups = true) {
    return mismatch_words(esp_sa(std::move(offered)), offer_esp(wanted, 0xd0000001, with_groups));
  };
  CHECK(words({kGcm256, esn(0)}, kGcmPfs) == "no PFS group in common: they offer none; we accept ecp384");
  CHECK(words({kGcm256, dh(14), esn(0)}, kGcmOnly) ==
        "no PFS group in common: they offer modp2048; we accept none");
  CHECK(words({kGcm256, esn(1)}, kGcmOnly) ==
        "no sequence number size in common: they offer esn; we accept noesn");
  CHECK(words({kCbc128, integrity(2), esn(0)}, kGcmOnly) ==
        "no cipher in common: they offer aes128; we accept aes256gcm16");
  CHECK(words({cipher(3, 0), integrity(1), esn(0)}, {wanted_esp({EspSuite::aes128_cbc_sha256})}) ==
        "no cipher in common: they offer 3des; we accept aes128; "
        "no integrity algorithm in common: they offer md5; we accept sha256");
  SaPayload reserved = esp_sa({kGcm256, esn(0)}, {0, 0, 0, 1});
  CHECK(mismatch_words(reserved, offer_esp(kGcmOnly, 0xd0000001, true)) ==
        "the proposals agree, but the offered SPI can't be used");
}

TEST_CASE("transforms without a name are told by number") {
  CHECK(describe(ike_sa({cipher(99, 0), prf(77), dh(1000)})) == "cipher 99-prf 77-group 1000");
  CHECK(describe(ike_sa({cipher(28, 256)})) == "chacha20poly1305 (key length 256)");
  CHECK(describe(ike_sa({{TransformType::cipher, 12, 256, true}})) == "aes256 (unknown attribute)");
  CHECK(describe(SaPayload{}) == "nothing");
  CHECK(describe(ike_sa({})) == "nothing");
}

TEST_CASE("what is told of an offer stays a line, however much a stranger offers") {
  SaPayload offered;
  for (unsigned number = 1; number <= 255; ++number) {
    std::vector<Transform> transforms;
    for (unsigned i = 0; i < 255; ++i)
      transforms.push_back(
          {static_cast<TransformType>(1 + i % 5), static_cast<std::uint16_t>(1000 + number * i), 0, false});
    offered.proposals.push_back(
        {static_cast<std::uint8_t>(number), Protocol::ike, {}, std::move(transforms)});
  }
  CHECK(describe(offered).size() < 2000);
  CHECK(describe(offered).ends_with("and more"));
  const std::string words = mismatch_words(offered, offer_ike({kCbc}, {}));
  CHECK(words.size() < 2000);
  CHECK(words.find("and more; we accept ecp384") != std::string::npos);
}
