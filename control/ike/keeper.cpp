#include "control/ike/keeper.hpp"

namespace espgate::ike {

ByteVector LocalKeeper::shared_key_auth(TunnelId tunnel, crypto::Prf prf, Bytes octets) {
  const crypto::SecretBytes auth = psk_auth(prf, tunnels_.at(tunnel).psk.view(), octets);
  return {auth.view().begin(), auth.view().end()};
}

// A tunnel without a key has none in common with anybody.
bool LocalKeeper::check_shared_key(TunnelId tunnel, crypto::Prf prf, Bytes octets, Bytes auth) {
  const crypto::SecretBytes& psk = tunnels_.at(tunnel).psk;
  return !psk.empty() && crypto::equal_in_constant_time(psk_auth(prf, psk.view(), octets).view(), auth);
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
