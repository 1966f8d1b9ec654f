// What espgate-signer is asked: any bytes. It answers requests that are whole, and no others; what it answers
// its asker can read. The first byte picks what is fuzzed: a message to the signer, or one from it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "control/signer/server.hpp"

namespace {

using namespace espgate;

const std::vector<conf::Tunnel>& tunnels() {
  static const std::vector<conf::Tunnel> kTunnels = [] {
    std::vector<conf::Tunnel> out(2);
    out[0].name = "a";
    out[0].psk = crypto::SecretBytes(std::string_view("a shared secret"));
    out[0].ppks.emplace_back();
    out[0].ppks[0].secret = crypto::SecretBytes(std::string_view("thirty-two bytes that are secret"));
    out[1].name = "b";
    return out;
  }();
  return kTunnels;
}

void demand(bool condition) {
  if (!condition) std::abort();
}

void ask(crypto::Bytes message) {
  static signer::Server server(tunnels());
  const auto request = signer::parse_request(message);
  const crypto::SecretBytes reply = server.answer(message);
  demand(request.has_value() == !reply.empty());
  if (!request) return;
  const crypto::SecretBytes again = signer::encode(*request);
  demand(std::ranges::equal(again.view(), message));
  const auto answer = signer::parse_answer(reply.view());
  demand(answer && answer->number == request->number);
}

void hear(crypto::Bytes message) {
  const auto answer = signer::parse_answer(message);
  if (!answer) return;
  const crypto::SecretBytes again = signer::encode(*answer);
  demand(std::ranges::equal(again.view(), message));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const crypto::Bytes message(data + 1, size - 1);
  data[0] % 2 == 0 ? ask(message) : hear(message);
  return 0;
}
