// espgate-signer without its main: answers what the control process asks of its keys. One thread.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "conf/schema.hpp"
#include "control/ike/keeper.hpp"
#include "control/signer/messages.hpp"

namespace espgate::signer {

class Server {
 public:
  // `tunnels`, with their secrets, must outlive it.
  explicit Server(const std::vector<conf::Tunnel>& tunnels);

  // The answer to whatever came; empty: to what is no request there is none. Never throws.
  [[nodiscard]] crypto::SecretBytes answer(Bytes message);
  // Until the other side closes the connection, or sends what is no request. In the last case, false.
  bool serve(int connection);

 private:
  [[nodiscard]] crypto::SecretBytes answer(const Request& request, ike::TunnelId tunnel);

  ike::LocalKeeper keeper_;
  const std::vector<conf::Tunnel>& tunnels_;
  std::unordered_map<std::string_view, ike::TunnelId> by_name_;
};

}  // namespace espgate::signer
