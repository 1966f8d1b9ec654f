#include "control/signer/remote_keeper.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <thread>
#include <utility>

namespace espgate::signer {
namespace {

void limit_waiting(int socket) {
  const timeval limit{RemoteKeeper::kPatience.count(), 0};
  ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

std::string because(int error) {
  if (error == EAGAIN) return "it does not answer";
  if (error == ENOENT || error == ECONNREFUSED) return "it does not run";
  return std::strerror(error);
}

ByteVector copy_of(Bytes bytes) { return {bytes.begin(), bytes.end()}; }

// A new key in place of one of the same length.
void replace(crypto::SecretBytes& key, Bytes by) {
  if (by.size() != key.size()) throw ike::KeeperAway("espgate-signer answered with keys of another length");
  key = crypto::SecretBytes(by);
}

// An empty value would be equal to an empty one of a peer's.
crypto::SecretBytes auth_of(Bytes part, crypto::Prf prf, Bytes octets) {
  if (part.size() != (octets.empty() ? 0 : crypto::prf_length(prf)))
    throw ike::KeeperAway("espgate-signer answered with AUTH of another length");
  return crypto::SecretBytes(part);
}

}  // namespace

RemoteKeeper::RemoteKeeper(std::string path, const std::vector<conf::Tunnel>& tunnels)
    : path_(std::move(path)), tunnels_(tunnels), reply_(kMaxMessage + 1) {}

void RemoteKeeper::lose(const std::string& why) {
  socket_ = channel::Fd();
  throw ike::KeeperAway("espgate-signer, which keeps our keys, is away: " + why);
}

void RemoteKeeper::connect() {
  if (Clock::now() < respite_until_) lose("it did not answer a moment ago");
  try {
    socket_ = channel::connect_to(path_, channel::SocketKind::messages);
  } catch (const std::system_error& error) {
    lose(because(error.code().value()));
  }
  limit_waiting(socket_.get());
}

bool RemoteKeeper::wait_for_signer(std::chrono::milliseconds limit) {
  const Clock::time_point end = Clock::now() + limit;
  while (!socket_) {
    try {
      connect();
    } catch (const ike::KeeperAway&) {
      if (Clock::now() >= end) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  return true;
}

void RemoteKeeper::send(Bytes message) {
  while (::send(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL) < 0) {
    if (errno == EINTR) continue;
    if (errno == EAGAIN) respite_until_ = Clock::now() + kRespite;
    lose(because(errno));
  }
}

Answer RemoteKeeper::receive(std::uint32_t number) {
  ssize_t got = -1;
  do got = ::recv(socket_.get(), reply_.bytes().data(), reply_.size(), 0);
  while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN) respite_until_ = Clock::now() + kRespite;
  if (got < 0) lose(because(errno));
  if (got == 0) lose("it has ended");
  const auto answer = parse_answer(reply_.view().first(static_cast<std::size_t>(got)));
  if (!answer || answer->number != number) lose("it answered something else than it was asked");
  return *answer;
}

// A connection from before may be one to a signer that has ended since: then there is a second one.
Answer RemoteKeeper::ask(ike::TunnelId tunnel, Request request) {
  request.number = ++number_;
  request.tunnel = tunnels_.at(tunnel).name;
  crypto::SecretBytes message;
  try {
    message = encode(request);
  } catch (const std::length_error& error) {
    throw ike::KeeperAway(std::string("what is to be signed is ") + error.what());
  }
  const bool fresh = !socket_;
  if (fresh) connect();
  Answer answer;
  try {
    send(message.view());
    answer = receive(request.number);
  } catch (const ike::KeeperAway&) {
    if (fresh || Clock::now() < respite_until_) throw;
    connect();
    send(message.view());
    answer = receive(request.number);
  }
  if (!answer.good)
    throw ike::KeeperAway({reinterpret_cast<const char*>(answer.parts[0].data()), answer.parts[0].size()});
  return answer;
}

ike::Keeper::AuthPair RemoteKeeper::shared_key_auths(ike::TunnelId tunnel, crypto::Prf prf, Bytes octets,
                                                     Bytes further) {
  const Answer made =
      ask(tunnel, {Question::shared_key_auths, static_cast<std::uint8_t>(prf), 0, 0, {}, {octets, further}});
  return {auth_of(made.parts[0], prf, octets), auth_of(made.parts[1], prf, further)};
}

ByteVector RemoteKeeper::sign(ike::TunnelId tunnel, crypto::SignatureScheme scheme, Bytes octets) {
  return copy_of(
      ask(tunnel, {Question::sign, static_cast<std::uint8_t>(scheme), 0, 0, {}, {octets}}).parts[0]);
}

void RemoteKeeper::mix_ppk(ike::TunnelId tunnel, std::size_t ppk, crypto::Prf prf, ike::IkeKeys& keys) {
  const Answer mixed = ask(tunnel, {Question::mix_ppk,
                                    static_cast<std::uint8_t>(prf),
                                    0,
                                    static_cast<std::uint32_t>(ppk),
                                    {},
                                    {keys.sk_d.view(), keys.sk_pi.view(), keys.sk_pr.view()}});
  replace(keys.sk_d, mixed.parts[0]);
  replace(keys.sk_pi, mixed.parts[1]);
  replace(keys.sk_pr, mixed.parts[2]);
  explicit_bzero(reply_.bytes().data(), reply_.size());
}

}  // namespace espgate::signer
