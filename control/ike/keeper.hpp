// Who keeps the secrets that outlive an IKE SA: pre-shared keys, PPKs, private keys. The daemon has none of
// them; it hands over what is to be authenticated (RFC 7296 section 2.15) and gets AUTH values. All calls
// from the daemon's thread; none waits for long.
#pragma once

#include <array>
#include <stdexcept>
#include <string>
#include <vector>

#include "conf/schema.hpp"
#include "control/ike/daemon.hpp"
#include "control/ike/keys.hpp"
#include "crypto/signature.hpp"

namespace espgate::ike {

// Who keeps the secrets gave no answer, which says nothing about the peer. What() says why.
struct KeeperAway : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Each call throws KeeperAway where it can't be done.
class Keeper {
 public:
  virtual ~Keeper() = default;
  // AUTH over `octets` and over `further` (see signed_octets) by the tunnel's pre-shared key; over nothing
  // there is none. The peer makes its own by the same key, so who may have ours made may be told what the
  // peer's is.
  using AuthPair = std::array<crypto::SecretBytes, 2>;
  [[nodiscard]] virtual AuthPair shared_key_auths(TunnelId tunnel, crypto::Prf prf, Bytes octets,
                                                  Bytes further) = 0;
  // A signature over `octets` by the tunnel's private key; ECDSA's in DER.
  [[nodiscard]] virtual ByteVector sign(TunnelId tunnel, crypto::SignatureScheme scheme, Bytes octets) = 0;
  // Mixes the tunnel's PPK, by its place in conf::Tunnel::ppks, into SK_d, SK_pi and SK_pr of `keys` (RFC
  // 8784 section 3).
  virtual void mix_ppk(TunnelId tunnel, std::size_t ppk, crypto::Prf prf, IkeKeys& keys) = 0;
};

// Keeps them in this process: in a configuration that was loaded with its secrets, and must outlive it.
class LocalKeeper final : public Keeper {
 public:
  explicit LocalKeeper(const std::vector<conf::Tunnel>& tunnels) : tunnels_(tunnels) {}
  [[nodiscard]] AuthPair shared_key_auths(TunnelId tunnel, crypto::Prf prf, Bytes octets,
                                          Bytes further) override;
  [[nodiscard]] ByteVector sign(TunnelId tunnel, crypto::SignatureScheme scheme, Bytes octets) override;
  void mix_ppk(TunnelId tunnel, std::size_t ppk, crypto::Prf prf, IkeKeys& keys) override;

 private:
  const std::vector<conf::Tunnel>& tunnels_;
};

}  // namespace espgate::ike
