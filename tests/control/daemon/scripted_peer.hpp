// A peer made by hand of the codec and the key schedule: it says to the daemon what another daemon never
// would.
#pragma once

#include "control/ike/keys.hpp"
#include "control/ike/message.hpp"
#include "control/ike/proposal_choice.hpp"
#include "world.hpp"

namespace espgate::test {

using Payloads = std::vector<ike::Payload>;

// Acts as east against `world.west`; nothing that west sends reaches anybody else.
class ScriptedPeer {
 public:
  explicit ScriptedPeer(World& world);

  // As the initiator.
  void init();  // IKE_SA_INIT
  void auth();  // a proper IKE_AUTH, with a child

  // As the responder, of what west begins.
  void answer_init();
  void answer(const Payloads& payloads);  // the protected request that came last

  [[nodiscard]] Payloads auth_payloads();  // a proper IKE_AUTH, as initiator or responder
  // Sends one protected request and returns the payloads of west's answer; empty: no answer.
  std::optional<Payloads> ask(ike::Exchange exchange, const Payloads& payloads);

 private:
  void give(const ByteVector& bytes);
  [[nodiscard]] ike::Header header(ike::Exchange exchange, std::uint32_t id) const;
  // Keys of the IKE SA out of west's half of IKE_SA_INIT.
  void agree(const Payloads& theirs, const crypto::DhKey& dh);
  World& world_;
  std::vector<ByteVector> heard_;
  conf::Tunnel config_;
  bool initiator_{true};
  std::uint64_t spi_i_{0x1234567890abcdef}, spi_r_{0xfedcba0987654321};
  ByteVector nonce_, its_nonce_, sent_init_;
  ike::IkeAlgorithms algorithms_;
  ike::IkeKeys keys_;
  std::unique_ptr<crypto::IkeCipher> in_, out_;
  std::uint32_t id_{0};
};

}  // namespace espgate::test
