// A peer made by hand of the codec and the key schedule: it says to the daemon what another daemon never
// would.
#pragma once

#include "control/ike/keys.hpp"
#include "control/ike/message.hpp"
#include "control/ike/proposal_choice.hpp"
#include "world.hpp"

namespace espgate::test {

using Payloads = std::vector<ike::Payload>;

// Acts as east's initiator against `world.west`; nothing that west sends reaches anybody else.
class ScriptedPeer {
 public:
  explicit ScriptedPeer(World& world);

  void init();                             // IKE_SA_INIT
  void auth();                             // a proper IKE_AUTH, with a child
  [[nodiscard]] Payloads auth_payloads();  // what auth() sends
  // Sends one protected request and returns the payloads of west's answer; empty: no answer.
  std::optional<Payloads> ask(ike::Exchange exchange, const Payloads& payloads);

 private:
  void give(const ByteVector& bytes);
  World& world_;
  std::vector<ByteVector> answers_;
  conf::Tunnel config_;
  std::uint64_t spi_i_{0x1234567890abcdef}, spi_r_{0};
  ByteVector nonce_i_, nonce_r_, sent_init_;
  ike::IkeAlgorithms algorithms_;
  ike::IkeKeys keys_;
  std::unique_ptr<crypto::IkeCipher> in_, out_;
  std::uint32_t id_{1};
};

}  // namespace espgate::test
