#include "control/ike/keeper.hpp"

namespace espgate::ike {

Keeper::AuthPair LocalKeeper::shared_key_auths(TunnelId tunnel, crypto::Prf prf, Bytes octets,
                                               Bytes further) {
  const crypto::SecretBytes& psk = tunnels_.at(tunnel).psk;
  if (psk.empty()) throw KeeperAway("tunnel " + tunnels_.at(tunnel).name + " has no pre-shared key");
  const auto auth = [&](Bytes of) {
    return of.empty() ? crypto::SecretBytes() : psk_auth(prf, psk.view(), of);
  };
  return {auth(octets), auth(further)};
}

ByteVector LocalKeeper::sign(TunnelId tunnel, crypto::SignatureScheme scheme, Bytes octets) {
  const auto& key = tunnels_.at(tunnel).local_auth.private_key;
  if (!key) throw KeeperAway("tunnel " + tunnels_.at(tunnel).name + " has no private key");
  return key->sign(scheme, octets);
}

void LocalKeeper::mix_ppk(TunnelId tunnel, std::size_t ppk, crypto::Prf prf, IkeKeys& keys) {
  ike::mix_ppk(prf, tunnels_.at(tunnel).ppks.at(ppk).secret.view(), keys);
}

}  // namespace espgate::ike
