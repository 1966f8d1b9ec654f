// Post-quantum pre-shared keys between two daemons (RFC 8784): what either side has, requires and makes of
// the other's, whoever begins.
#include <algorithm>
#include <catch2/catch.hpp>

#include "control/ike/message.hpp"
#include "tests/crypto/pki_bytes.hpp"
#include "world.hpp"

namespace espgate::test {
namespace {

using conf::PpkUse;
using crypto::test::bytes_of_hex;

constexpr std::int64_t kNow = 1780272000;  // Gateway::unix_time

conf::Ppk ppk(const std::string& id, std::string_view secret = "thirty-two bytes that are secret",
              std::int64_t not_before = INT64_MIN, std::int64_t not_after = INT64_MAX) {
  return {id, conf::PpkIdType::fixed, crypto::SecretBytes(secret), not_before, not_after, {}};
}

struct Side {
  std::vector<std::string> ids;
  PpkUse use{PpkUse::required};
};

struct Ends {
  conf::Tunnel east = east_tunnel();
  conf::Tunnel west = west_tunnel();

  Ends() = default;
  Ends(const Side& ours, const Side& its) {
    for (const std::string& id : ours.ids) east.ppks.push_back(ppk(id));
    for (const std::string& id : its.ids) west.ppks.push_back(ppk(id));
    east.ppk_use = ours.use;
    west.ppk_use = its.use;
  }
};

struct Run {
  explicit Run(const Ends& ends) {
    std::vector<conf::Tunnel> east, west;
    east.push_back(copy(ends.east));
    west.push_back(copy(ends.west));
    world = std::make_unique<World>(std::move(east), std::move(west));
    world->east.initiate();
    world->run(seconds(50), [this] { return world->settled(); });
  }
  [[nodiscard]] std::string ppk_of(const Gateway& gateway) const {
    const auto list = gateway.daemon->list();
    return list.empty() ? "no IKE SA" : list.front().ppk;
  }
  // East began, and both ends are up with this PPK, or with none.
  void check_up(const std::string& id) const {
    CHECK(world->settled());
    CHECK(ppk_of(world->east) == id);
    CHECK(ppk_of(world->west) == id);
    CHECK(world->complaints == std::vector<std::string>{});
  }
  void check_down() const {
    CHECK(!world->east.up);
    CHECK(!world->west.up);
    CHECK(world->complaints == std::vector<std::string>{});
  }
  std::unique_ptr<World> world;
};

bool failed_by(const Gateway& gateway, Failure failure, const std::string& words) {
  for (const Reason& reason : gateway.failures)
    if (reason.failure == failure && reason.summary.find(words) != std::string::npos) return true;
  for (const Reason& reason : gateway.failures) UNSCOPED_INFO(reason.summary);
  return false;
}

TEST_CASE("both have the PPK: it is in the keys, required or not") {
  for (const PpkUse east : {PpkUse::required, PpkUse::optional})
    for (const PpkUse west : {PpkUse::required, PpkUse::optional}) {
      const Run run(Ends({{"a1"}, east}, {{"a1"}, west}));
      run.check_up("a1");
      CHECK(run.world->east.said("with the PPK \"a1\""));
    }
}

TEST_CASE("a PPK goes into keys whatever the two authenticate by") {
  Ends ends({{"a1"}, PpkUse::optional}, {{"a1"}, PpkUse::optional});
  for (conf::Tunnel* tunnel : {&ends.east, &ends.west}) {
    tunnel->psk = crypto::SecretBytes{};
    tunnel->local_auth.by = tunnel->remote_auth.by = conf::Auth::public_key;
    tunnel->local_auth.private_key = crypto::PrivateKey::read(
        bytes_of_hex(tunnel == &ends.east ? crypto::test::kPrivate_p384 : crypto::test::kPrivate_ed25519));
    tunnel->local_auth.public_key = {tunnel->local_auth.private_key,
                                     &tunnel->local_auth.private_key->public_key()};
  }
  ends.east.remote_auth.public_key = ends.west.local_auth.public_key;
  ends.west.remote_auth.public_key = ends.east.local_auth.public_key;
  Run(ends).check_up("a1");
  ends.west.ppks.front() = ppk("b1");  // NO_PPK_AUTH is a signature then
  Run(ends).check_up("");
  ends.west.ppks.front() = ppk("a1", "another secret that is as long..");
  const Run differs(ends);
  differs.check_down();
  CHECK(failed_by(differs.world->west, Failure::ppk_differs,
                  "the PPK \"a1\" of \"east\" is not the one that we have"));
}

TEST_CASE("rekeys inherit the PPK, and reauthentication takes it anew") {
  const Run run(Ends({{"a1"}, PpkUse::required}, {{"a1"}, PpkUse::required}));
  run.check_up("a1");
  World& world = *run.world;
  world.start_traffic();
  for (Gateway* gateway : {&world.east, &world.west}) {
    gateway->daemon->rekey_ike(0, world.now);
    world.run(seconds(20));
    gateway->daemon->rekey_child(gateway->inbound.begin()->first, world.now);
    world.run(seconds(20));
    run.check_up("a1");
    gateway->daemon->reauthenticate(0, world.now);
    world.run(seconds(60));
    run.check_up("a1");
  }
  CHECK(world.lost == 0);
}

TEST_CASE("any of several is accepted, and the first that is valid used") {
  Run(Ends({{"a2", "a1"}, PpkUse::required}, {{"a1", "a2"}, PpkUse::required})).check_up("a2");
  Ends ends({{}, PpkUse::required}, {{"a1", "a2", "a3"}, PpkUse::required});
  ends.east.ppks.push_back(ppk("a1", "thirty-two bytes that are secret", INT64_MIN, kNow - 1));
  ends.east.ppks.push_back(ppk("a2", "thirty-two bytes that are secret", kNow + 1));
  ends.east.ppks.push_back(ppk("a3", "thirty-two bytes that are secret", kNow, kNow));
  const Run run(ends);
  run.check_up("a3");
  CHECK(run.world->east.said(
      "PPKs that are not used: \"a1\" has expired on 2026-05-31 23:59:59 UTC; \"a2\" is not "
      "valid before 2026-06-01 00:00:01 UTC"));
}

TEST_CASE("where both may do without, they do") {
  Run(Ends({{"a1"}, PpkUse::optional}, {{}, PpkUse::required})).check_up("");
  Run(Ends({{}, PpkUse::required}, {{"a1"}, PpkUse::optional})).check_up("");
  const Run unknown(Ends({{"a1"}, PpkUse::optional}, {{"b1"}, PpkUse::optional}));
  unknown.check_up("");
  CHECK(unknown.world->west.said(
      "\"east\" uses the PPK \"a1\", which we do not have; both sides go on without"));
  CHECK(unknown.world->east.said("the peer does not have our PPK \"a1\"; we go on without"));
  // What a rekey makes of keys without is the same on both sides.
  unknown.world->east.daemon->rekey_ike(0, unknown.world->now);
  unknown.world->run(seconds(20));
  unknown.check_up("");
}

// As a stranger on the way would answer, quicker than the peer: without USE_PPK, and with no Diffie-Hellman
// value that counts.
ByteVector forged(const ByteVector& answer) {
  const ike::Header header = std::get<ike::Header>(ike::parse_header(answer));
  auto payloads = std::get<std::vector<ike::Payload>>(ike::parse_plain(header, answer));
  std::erase_if(payloads, [](const ike::Payload& payload) {
    const auto* notify = std::get_if<ike::NotifyPayload>(&payload);
    return notify != nullptr && notify->type == ike::NotifyType::use_ppk;
  });
  for (ike::Payload& payload : payloads)
    if (auto* ke = std::get_if<ike::KePayload>(&payload)) std::ranges::fill(ke->data, 0);
  return ike::encode_plain(header, payloads);
}

TEST_CASE("a forged first answer does not talk us out of the PPK") {
  Ends ends({{"a1"}, PpkUse::optional}, {{"a1"}, PpkUse::optional});
  std::vector<conf::Tunnel> east, west;
  east.push_back(copy(ends.east));
  west.push_back(copy(ends.west));
  World world(std::move(east), std::move(west));
  unsigned forgeries = 0;
  world.fate = [&](const Datagram& datagram) {
    if (datagram.number == 2) {
      world.east.daemon->received(datagram.to, datagram.from, forged(datagram.bytes), world.now);
      ++forgeries;
    }
    return std::vector{milliseconds(10)};
  };
  CHECK(world.establish());
  CHECK(forgeries == 1);
  CHECK(world.east.said("the peer's Diffie-Hellman value is not valid"));
  CHECK(world.east.daemon->list().front().ppk == "a1");
  CHECK(world.west.daemon->list().front().ppk == "a1");
}

TEST_CASE("without, the other secret still counts") {
  Ends ends({{"a1"}, PpkUse::optional}, {{"b1"}, PpkUse::optional});
  ends.west.psk = crypto::SecretBytes(std::string_view("another"));
  const Run run(ends);
  run.check_down();
  CHECK(failed_by(run.world->west, Failure::authentication_failed,
                  "the pre-shared key of \"east\" is not the one"));
}

TEST_CASE("we require a PPK, and the peer uses none") {
  const Run begins(Ends({{"a1"}, PpkUse::required}, {{}, PpkUse::required}));
  begins.check_down();
  CHECK(failed_by(begins.world->east, Failure::no_ppk_there,
                  "the peer uses no PPK (RFC 8784), and we require one"));
  CHECK(failed_by(begins.world->west, Failure::no_ppk_here, "perhaps requires one, and we have none for it"));
  const Run answers(Ends({{}, PpkUse::required}, {{"a1"}, PpkUse::required}));
  answers.check_down();
  CHECK(failed_by(answers.world->west, Failure::no_ppk_there,
                  "\"east\" uses no PPK (RFC 8784), and we require one"));
  CHECK(failed_by(answers.world->east, Failure::authentication_failed, "the peer refused us"));
}

TEST_CASE("a PPK that the other does not have, where one of them requires it") {
  for (const auto& [east, west] : {std::pair(PpkUse::required, PpkUse::optional),
                                   {PpkUse::optional, PpkUse::required},
                                   {PpkUse::required, PpkUse::required}}) {
    const Run run(Ends({{"a1"}, east}, {{"b1"}, west}));
    run.check_down();
    CHECK(failed_by(run.world->west, Failure::ppk_unknown,
                    west == PpkUse::required
                        ? "\"east\" uses the PPK \"a1\", which we do not have; we require one"
                        : "\"east\" uses the PPK \"a1\", which we do not have; it requires one"));
    CHECK(failed_by(run.world->east, Failure::authentication_failed, ", or does not have our PPK \"a1\""));
  }
  Ends opaque({{"a1"}, PpkUse::required}, {{"a1"}, PpkUse::required});
  opaque.east.ppks.front().type = conf::PpkIdType::opaque;
  const Run run(opaque);
  run.check_down();
  CHECK(failed_by(run.world->west, Failure::ppk_unknown,
                  "\"east\" uses the PPK \"a1\" (opaque), which we do not have"));
  opaque.west.ppks.front().type = conf::PpkIdType::opaque;
  Run(opaque).check_up("a1");
}

TEST_CASE("the PPK of the same id is another one") {
  for (const PpkUse use : {PpkUse::optional, PpkUse::required}) {
    Ends ends({{"a1"}, use}, {{"a1"}, use});
    ends.west.ppks.front() = ppk("a1", "another secret that is as long..");
    const Run run(ends);
    run.check_down();
    if (use == PpkUse::optional)
      CHECK(failed_by(run.world->west, Failure::ppk_differs,
                      "the PPK \"a1\" of \"east\" is not the one that we have"));
    else
      CHECK(failed_by(run.world->west, Failure::authentication_failed,
                      "; or its PPK \"a1\" is another one than ours"));
  }
}

TEST_CASE("the pre-shared key is another one, and the PPK is not to blame") {
  Ends ends({{"a1"}, PpkUse::optional}, {{"a1"}, PpkUse::optional});
  ends.west.psk = crypto::SecretBytes(std::string_view("another"));
  const Run run(ends);
  run.check_down();
  REQUIRE(run.world->west.failures.size() == 1);
  CHECK(run.world->west.failures.front().summary ==
        "the pre-shared key of \"east\" is not the one that we have for it");
}

TEST_CASE("PPKs that have expired are not used") {
  const auto expire = [](conf::Tunnel& tunnel) { tunnel.ppks.front().not_after = kNow - 1; };
  Ends ours({{"a1"}, PpkUse::required}, {{"a1"}, PpkUse::required});
  expire(ours.east);
  const Run begins(ours);
  begins.check_down();
  CHECK(begins.world->sent == 0);
  CHECK(failed_by(
      begins.world->east, Failure::ppk_not_valid,
      "none of our PPKs is valid now, and one is required: \"a1\" has expired on 2026-05-31 23:59:59 UTC"));
  Ends its({{"a1"}, PpkUse::required}, {{"a1"}, PpkUse::required});
  expire(its.west);
  const Run answers(its);
  answers.check_down();
  CHECK(failed_by(
      answers.world->west, Failure::ppk_not_valid,
      "\"east\" uses the PPK \"a1\", which here has expired on 2026-05-31 23:59:59 UTC; we require one"));
  Ends both({{"a1"}, PpkUse::optional}, {{"a1"}, PpkUse::optional});
  expire(both.west);
  Run(both).check_up("");
  expire(both.east);
  Run(both).check_up("");
}

}  // namespace
}  // namespace espgate::test
