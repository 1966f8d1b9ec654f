// espgate-signer over its socket: what it answers, what it refuses, and what becomes of who asks when it does
// not.
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "control/signer/remote_keeper.hpp"
#include "control/signer/server.hpp"
#include "tests/crypto/pki_bytes.hpp"
#include "tests/crypto/pki_vectors.hpp"

namespace espgate::signer {
namespace {

using namespace std::chrono_literals;
using ike::KeeperAway;
using namespace crypto::test;  // the vectors

const ByteVector kOctets(1500, 0x5a);

conf::Tunnel tunnel_named(std::string name) {
  conf::Tunnel out;
  out.name = std::move(name);
  return out;
}

std::vector<conf::Tunnel> tunnels_with(bool secrets) {
  std::vector<conf::Tunnel> out;
  for (const char* const name : {"by-psk", "by-key", "without"}) out.push_back(tunnel_named(name));
  out[0].ppks.emplace_back();
  if (!secrets) return out;
  out[0].psk = crypto::SecretBytes(std::string_view("a shared secret"));
  out[0].ppks[0].secret = crypto::SecretBytes(std::string_view("thirty-two bytes that are secret"));
  out[1].local_auth.private_key = crypto::PrivateKey::read(bytes_of_hex(kPrivate_p256));
  return out;
}

struct Folder {
  Folder() {
    char name[] = "/tmp/espgate-signer-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  [[nodiscard]] std::string socket() const { return path + "/" + kSocketName; }
  std::string path;
};

// A signer in a process of its own, that serves one connection after the other until it is killed, or gets
// what is no request.
class Signer {
 public:
  Signer(const Folder& folder, const std::vector<conf::Tunnel>& tunnels) {
    const channel::Fd listening = channel::listen_at(folder.socket(), channel::SocketKind::messages);
    pid_ = ::fork();
    if (pid_ != 0) return;
    Server server(tunnels);
    for (;;) {
      pollfd waiting{listening.get(), POLLIN, 0};
      ::poll(&waiting, 1, -1);
      const channel::Fd connection(::accept(listening.get(), nullptr, nullptr));
      if (!server.serve(connection.get())) ::_exit(3);
    }
  }
  ~Signer() { end(SIGKILL); }
  Signer(const Signer&) = delete;
  Signer& operator=(const Signer&) = delete;
  void signal(int number) const { ::kill(pid_, number); }
  // Its wait status. `number` 0: it ends by itself.
  int end(int number) {
    int status = 0;
    if (pid_ <= 0) return status;
    if (number != 0) signal(number);
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return status;
  }

 private:
  pid_t pid_{-1};
};

ByteVector request_bytes(const Request& request) {
  const crypto::SecretBytes bytes = encode(request);
  return {bytes.view().begin(), bytes.view().end()};
}

Request good_request() {
  return {Question::shared_key_auths,
          static_cast<std::uint8_t>(crypto::Prf::hmac_sha256),
          7,
          0,
          "by-psk",
          {kOctets}};
}

}  // namespace

TEST_CASE("the signer answers as who keeps the keys itself") {
  const Folder folder;
  const std::vector<conf::Tunnel> ours = tunnels_with(true), theirs = tunnels_with(false);
  ike::LocalKeeper local(ours);
  Signer signer(folder, ours);
  RemoteKeeper remote(folder.socket(), theirs);
  for (const crypto::Prf prf : {crypto::Prf::hmac_sha1, crypto::Prf::hmac_sha256, crypto::Prf::hmac_sha384,
                                crypto::Prf::hmac_sha512}) {
    const ByteVector others{4, 5, 6};
    const auto asked = remote.shared_key_auths(0, prf, kOctets, others);
    const auto known = local.shared_key_auths(0, prf, kOctets, others);
    for (const std::size_t i : {0U, 1U}) CHECK(std::ranges::equal(asked[i].view(), known[i].view()));
    CHECK_FALSE(std::ranges::equal(asked[0].view(), asked[1].view()));
    CHECK(remote.shared_key_auths(0, prf, kOctets, {})[1].empty());

    ike::IkeKeys mixed, expected;
    for (ike::IkeKeys* const keys : {&mixed, &expected})
      for (crypto::SecretBytes* const key : {&keys->sk_d, &keys->sk_pi, &keys->sk_pr})
        *key = crypto::SecretBytes(std::string_view("as long as an SK may be"));
    remote.mix_ppk(0, 0, prf, mixed);
    local.mix_ppk(0, 0, prf, expected);
    CHECK(std::ranges::equal(mixed.sk_d.view(), expected.sk_d.view()));
    CHECK(std::ranges::equal(mixed.sk_pi.view(), expected.sk_pi.view()));
    CHECK(std::ranges::equal(mixed.sk_pr.view(), expected.sk_pr.view()));
  }
  const ByteVector signature = remote.sign(1, crypto::SignatureScheme::ecdsa_sha256, kOctets);
  CHECK(ours[1].local_auth.private_key->public_key().verify(crypto::SignatureScheme::ecdsa_sha256, kOctets,
                                                            signature));

  CHECK_THROWS_AS(remote.shared_key_auths(2, crypto::Prf::hmac_sha256, kOctets, {}), KeeperAway);
  CHECK_THROWS_AS(remote.sign(0, crypto::SignatureScheme::ecdsa_sha256, kOctets), KeeperAway);
  CHECK_THROWS_AS(remote.sign(1, crypto::SignatureScheme::rsa_sha256, kOctets), KeeperAway);
  ike::IkeKeys keys;
  for (crypto::SecretBytes* const key : {&keys.sk_d, &keys.sk_pi, &keys.sk_pr})
    *key = crypto::SecretBytes(std::string_view("a key"));
  CHECK_THROWS_AS(remote.mix_ppk(0, 1, crypto::Prf::hmac_sha256, keys), KeeperAway);  // it has only one
  CHECK_THROWS_AS(remote.shared_key_auths(0, crypto::Prf::hmac_sha256, ByteVector(40000), {}), KeeperAway);
  CHECK_THROWS_AS(remote.shared_key_auths(0, crypto::Prf::hmac_sha256, ByteVector(70000), {}), KeeperAway);
  CHECK(remote.shared_key_auths(0, crypto::Prf::hmac_sha256, kOctets, {})[0].size() == 32);  // and goes on
}

TEST_CASE("AUTH of another length than the algorithm's is no answer") {
  const Folder folder;
  const std::vector<conf::Tunnel> theirs = tunnels_with(false);
  const channel::Fd listening = channel::listen_at(folder.socket(), channel::SocketKind::messages);
  RemoteKeeper remote(folder.socket(), theirs);
  REQUIRE(remote.wait_for_signer(10s));
  pollfd waiting{listening.get(), POLLIN, 0};
  REQUIRE(::poll(&waiting, 1, 10000) == 1);
  const channel::Fd connection(::accept(listening.get(), nullptr, nullptr));
  // The answer is on its way before the question: to the `number`th, two AUTH values.
  auto answered = [&, number = 0U](std::size_t first, std::size_t second) mutable {
    const ByteVector one(first, 1), other(second, 2);
    const crypto::SecretBytes reply = encode(Answer{true, ++number, {one, other, {}}});
    REQUIRE(::send(connection.get(), reply.view().data(), reply.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(reply.size()));
    return remote.shared_key_auths(0, crypto::Prf::hmac_sha256, kOctets, kOctets);
  };
  CHECK(answered(32, 32)[1].size() == 32);
  for (const auto& [first, second] : {std::pair{0, 32}, {32, 0}, {31, 32}, {32, 33}, {64, 32}})
    CHECK_THROWS_WITH(answered(static_cast<std::size_t>(first), static_cast<std::size_t>(second)),
                      Catch::Matchers::Contains("AUTH of another length"));
  CHECK(answered(32, 32)[0].size() == 32);
}

TEST_CASE("a tunnel that the signer has not read of is told as such") {
  const std::vector<conf::Tunnel> ours = tunnels_with(true);
  Server server(ours);
  Request request = good_request();
  request.tunnel = "another";
  const crypto::SecretBytes reply = server.answer(request_bytes(request));
  const auto answer = parse_answer(reply.view());
  REQUIRE(answer);
  CHECK_FALSE(answer->good);
  CHECK(answer->number == 7);
  const std::string words(answer->parts[0].begin(), answer->parts[0].end());
  CHECK(words.find("another configuration") != std::string::npos);
}

TEST_CASE("what is no request has no answer, and ends the signer") {
  const std::vector<conf::Tunnel> ours = tunnels_with(true);
  Server server(ours);
  const ByteVector good = request_bytes(good_request());
  CHECK_FALSE(server.answer(good).empty());
  for (std::size_t length = 0; length < good.size(); length += length < 40 ? 1 : 97)
    CHECK(server.answer(Bytes(good).first(length)).empty());
  ByteVector longer = good;
  longer.push_back(0);
  CHECK(server.answer(longer).empty());
  for (const std::size_t at : {0U, 4U, 5U}) {  // another form, another question, another algorithm
    ByteVector bad = good;
    bad[at] = 0xee;
    CHECK(server.answer(bad).empty());
  }
  Request of_wrong_parts = good_request();
  of_wrong_parts.parts[2] = kOctets;
  CHECK(server.answer(request_bytes(of_wrong_parts)).empty());

  const Folder folder;
  Signer signer(folder, ours);
  const channel::Fd socket = channel::connect_to(folder.socket(), channel::SocketKind::messages);
  REQUIRE(::send(socket.get(), "x", 1, MSG_NOSIGNAL) == 1);
  char byte = 0;
  CHECK(::recv(socket.get(), &byte, 1, 0) == 0);
  const int status = signer.end(0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 3);
}

TEST_CASE("a signer that is not there, or does not answer, is told in words and waited for within bounds") {
  const Folder folder;
  const std::vector<conf::Tunnel> ours = tunnels_with(true), theirs = tunnels_with(false);
  RemoteKeeper remote(folder.socket(), theirs);
  const auto ask = [&remote] { return remote.shared_key_auths(0, crypto::Prf::hmac_sha256, kOctets, {}); };
  const auto is = [](const char* words) { return Catch::Matchers::Contains(words); };
  CHECK_THROWS_WITH(ask(), is("does not run"));
  CHECK_FALSE(remote.wait_for_signer(20ms));
  {
    Signer signer(folder, ours);
    CHECK(remote.wait_for_signer(10s));
    CHECK(ask()[0].size() == 32);
  }
  CHECK_THROWS_WITH(ask(), is("does not run"));
  {
    Signer signer(folder, ours);
    CHECK(ask()[0].size() == 32);
  }
  Signer another(folder, ours);  // in its place before it is missed
  CHECK(ask()[0].size() == 32);

  another.signal(SIGSTOP);
  const auto began = std::chrono::steady_clock::now();
  CHECK_THROWS_WITH(ask(), is("does not answer"));
  CHECK_THROWS_WITH(ask(), is("did not answer a moment ago"));  // at once
  CHECK(std::chrono::steady_clock::now() - began < 2 * RemoteKeeper::kPatience);
  another.signal(SIGCONT);
  CHECK(remote.wait_for_signer(2 * RemoteKeeper::kRespite));
  CHECK(ask()[0].size() == 32);
}

}  // namespace espgate::signer
