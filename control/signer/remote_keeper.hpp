// The Keeper of the control process: asks espgate-signer, which alone has the keys. One thread, which waits
// for each answer: some ten microseconds, or at most a second where the signer hangs.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "channel/region.hpp"
#include "control/ike/keeper.hpp"
#include "control/signer/messages.hpp"

namespace espgate::signer {

class RemoteKeeper final : public ike::Keeper {
 public:
  static constexpr std::chrono::seconds kPatience{1};
  // After a signer that did not answer: for so long it is not asked again, so that it can't hold up the rest.
  static constexpr std::chrono::seconds kRespite{3};

  // The signer's socket is `path`, each time a connection is made. `tunnels` must outlive it.
  RemoteKeeper(std::string path, const std::vector<conf::Tunnel>& tunnels);
  // Waits until the signer is there, for a process that is begun along with it. False: not within `limit`.
  bool wait_for_signer(std::chrono::milliseconds limit);
  // Of the socket, from now on: the process has another view of the file system.
  void move_to(std::string path) { path_ = std::move(path); }

  [[nodiscard]] AuthPair shared_key_auths(ike::TunnelId tunnel, crypto::Prf prf, Bytes octets,
                                          Bytes further) override;
  [[nodiscard]] ByteVector sign(ike::TunnelId tunnel, crypto::SignatureScheme scheme, Bytes octets) override;
  void mix_ppk(ike::TunnelId tunnel, std::size_t ppk, crypto::Prf prf, ike::IkeKeys& keys) override;

 private:
  using Clock = std::chrono::steady_clock;

  // The answer's parts, in `reply_`.
  Answer ask(ike::TunnelId tunnel, Request request);
  void connect();
  void send(Bytes message);
  Answer receive(std::uint32_t number);
  [[noreturn]] void lose(const std::string& why);

  std::string path_;
  const std::vector<conf::Tunnel>& tunnels_;
  channel::Fd socket_;
  std::uint32_t number_{0};
  crypto::SecretBytes reply_;
  Clock::time_point respite_until_{};
};

}  // namespace espgate::signer
