#include "control/signer/server.hpp"

#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace espgate::signer {
namespace {

crypto::SecretBytes refusal(const Request& request, std::string_view words) {
  const Bytes text(reinterpret_cast<const std::uint8_t*>(words.data()), words.size());
  return encode(Answer{false, request.number, {text}});
}

}  // namespace

Server::Server(const std::vector<conf::Tunnel>& tunnels) : keeper_(tunnels), tunnels_(tunnels) {
  for (std::size_t i = 0; i < tunnels.size(); ++i)
    by_name_.emplace(tunnels[i].name, static_cast<ike::TunnelId>(i));
}

crypto::SecretBytes Server::answer(Bytes message) {
  const auto request = parse_request(message);
  if (!request) return {};
  const auto tunnel = by_name_.find(request->tunnel);
  if (tunnel == by_name_.end())
    return refusal(*request, "espgate-signer does not know the tunnel: it has read another configuration");
  try {
    return answer(*request, tunnel->second);
  } catch (const std::exception& error) {
    return refusal(*request, error.what());
  }
}

crypto::SecretBytes Server::answer(const Request& request, ike::TunnelId tunnel) {
  const auto prf = static_cast<crypto::Prf>(request.algorithm);
  const auto& [first, second, third] = request.parts;
  switch (request.question) {
    case Question::shared_key_auths: {
      const auto auths = keeper_.shared_key_auths(tunnel, prf, first, second);
      return encode(Answer{true, request.number, {auths[0].view(), auths[1].view()}});
    }
    case Question::sign: {
      const ByteVector signature =
          keeper_.sign(tunnel, static_cast<crypto::SignatureScheme>(request.algorithm), first);
      return encode(Answer{true, request.number, {signature}});
    }
    case Question::mix_ppk:
      break;
  }
  if (request.ppk >= tunnels_[tunnel].ppks.size()) return refusal(request, "espgate-signer has no such PPK");
  ike::IkeKeys keys;
  keys.sk_d = crypto::SecretBytes(first);
  keys.sk_pi = crypto::SecretBytes(second);
  keys.sk_pr = crypto::SecretBytes(third);
  keeper_.mix_ppk(tunnel, request.ppk, prf, keys);
  return encode(Answer{true, request.number, {keys.sk_d.view(), keys.sk_pi.view(), keys.sk_pr.view()}});
}

bool Server::serve(int connection) {
  std::array<std::uint8_t, kMaxMessage + 1> message;
  for (;;) {
    const ssize_t got = ::recv(connection, message.data(), message.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return true;
    const crypto::SecretBytes reply = answer(Bytes(message).first(static_cast<std::size_t>(got)));
    explicit_bzero(message.data(), static_cast<std::size_t>(got));
    if (reply.empty()) return false;
    if (::send(connection, reply.view().data(), reply.size(), MSG_NOSIGNAL) < 0) return true;
  }
}

}  // namespace espgate::signer
