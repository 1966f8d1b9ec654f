// Two gateways, each with an IKE daemon and a model of a dataplane, and a wire between them, all in virtual
// time. The model complains of everything a real dataplane could not do, and counts inner packets that would
// be lost.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "control/ike/daemon.hpp"
#include "control/ike/keeper.hpp"

namespace espgate::test {

using ike::ByteVector;
using ike::Endpoint;
using ike::Failure;
using ike::Reason;
using ike::Time;
using ike::TunnelId;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Sanitizers are slow, and keep what is freed.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif
#else
inline constexpr bool kSanitized = false;
#endif
inline constexpr unsigned kStride = kSanitized ? 7 : 1;  // of what is tried many times over

// What an inner packet takes at most.
inline constexpr milliseconds kFlight(100);

inline constexpr Time kStart = Time(std::chrono::hours(1000));

[[nodiscard]] IpAddress address(const char* text);
[[nodiscard]] conf::Identity fqdn(const std::string& name);
[[nodiscard]] conf::IkeProposal ike_gcm(crypto::DhGroup group, crypto::Prf prf = crypto::Prf::hmac_sha256,
                                        std::uint16_t bits = 256);
[[nodiscard]] conf::IkeProposal ike_cbc(crypto::DhGroup group, crypto::IkeIntegrity integrity,
                                        crypto::Prf prf, std::uint16_t bits = 256);
[[nodiscard]] conf::EspProposal esp(crypto::EspSuite suite, std::vector<crypto::DhGroup> groups = {});

// A tunnel from 192.0.2.1 ("east") to 192.0.2.2 ("west"), and the same seen from the other end.
[[nodiscard]] conf::Tunnel east_tunnel();
[[nodiscard]] conf::Tunnel west_tunnel();
[[nodiscard]] conf::Tunnel copy(const conf::Tunnel& tunnel);

// Counts what it is asked: of espgate-signer each question is a wait.
class CountingKeeper final : public ike::Keeper {
 public:
  explicit CountingKeeper(const std::vector<conf::Tunnel>& tunnels) : keeper_(tunnels) {}
  AuthPair shared_key_auths(TunnelId tunnel, crypto::Prf prf, crypto::Bytes octets,
                            crypto::Bytes further) override {
    ++questions;
    return keeper_.shared_key_auths(tunnel, prf, octets, further);
  }
  ByteVector sign(TunnelId tunnel, crypto::SignatureScheme scheme, crypto::Bytes octets) override {
    ++questions;
    return keeper_.sign(tunnel, scheme, octets);
  }
  void mix_ppk(TunnelId tunnel, std::size_t ppk, crypto::Prf prf, ike::IkeKeys& keys) override {
    ++questions;
    keeper_.mix_ppk(tunnel, ppk, prf, keys);
  }
  unsigned questions{0};

 private:
  ike::LocalKeeper keeper_;
};

class World;

class Gateway : public ike::Host {
 public:
  Gateway(World& world, std::string name, std::vector<conf::Tunnel> tunnels, const ike::Settings& settings);

  // What the model saw.
  std::map<std::uint32_t, ike::ChildInstall> inbound;  // by SPI
  std::map<std::uint32_t, ike::ChildInstall> outbound;
  std::map<TunnelId, std::uint32_t> sending;  // what the tunnel sends on now
  std::map<std::uint32_t, Time> sent_on;      // by World::watch_flow: SPIs, until when
  std::set<std::uint32_t> reserved;           // allocated, not installed
  std::vector<std::string> lines;             // the log
  std::vector<Reason> failures, downs, failed_rekeys;
  std::vector<TunnelId> failed;  // whose each of `failures` is
  unsigned own_failures{0};      // how many of `failures` end what we began
  unsigned ups{0};
  bool up{false};  // some tunnel is
  std::set<TunnelId> up_tunnels;
  bool retry{false};  // as the tunnel manager would: begin again a second after a failure
  bool full{false};   // no SPI to be had
  std::map<TunnelId, Time> retry_at;
  std::optional<Time> heard;  // last inbound packet

  void initiate(TunnelId tunnel = 0);
  void restart();  // the control process and the dataplane die and come back with nothing
  [[nodiscard]] bool said(const std::string& words) const;
  [[nodiscard]] std::size_t ike_sas() const { return daemon->list().size(); }

  const std::string name;
  std::vector<conf::Tunnel> tunnels;
  ike::Settings settings;
  CountingKeeper keeper;
  std::unique_ptr<ike::Daemon> daemon;

  void send(const Endpoint& local, const Endpoint& remote, crypto::Bytes datagram) override;
  std::uint32_t allocate_spi(TunnelId tunnel) override;
  void release_spi(std::uint32_t spi) override;
  void install_inbound(const ike::ChildInstall& child) override;
  void install_outbound(const ike::ChildInstall& child) override;
  void move_child(const ike::ChildInstall& child) override;
  void remove_inbound(TunnelId tunnel, std::uint32_t spi) override;
  void remove_outbound(TunnelId tunnel, std::uint32_t spi) override;
  // The middle of 2026, when the certificates of tests/crypto are valid.
  std::int64_t unix_time() override { return 1780272000; }
  std::optional<Time> last_inbound(TunnelId tunnel) override;
  void tunnel_up(TunnelId tunnel) override;
  void tunnel_down(TunnelId tunnel, const Reason& reason) override;
  void attempt_failed(TunnelId tunnel, const Reason& reason) override;
  void peer_attempt_failed(TunnelId tunnel, const Reason& reason) override;
  void rekey_failed(TunnelId tunnel, const Reason& reason) override;
  void log(std::optional<TunnelId> tunnel, const std::string& line) override;

 private:
  void complain(const std::string& what);
  void witnessed(const std::string& what) const;
  World& world_;
  std::uint32_t next_spi_;
};

struct Datagram {
  Endpoint from, to;
  ByteVector bytes;
  unsigned number{0};  // of all that were sent, from 1
};

class World {
 public:
  explicit World(std::vector<conf::Tunnel> east = {}, std::vector<conf::Tunnel> west = {},
                 const ike::Settings& settings = quick());
  static ike::Settings quick();

  // Runs for that long, or until `done`.
  void run(milliseconds time, const std::function<bool()>& done = {});
  bool establish();  // east begins; true when both ends carry traffic
  // From now on a packet each way every 7 ms, in each of `tunnels`, and none may be lost.
  void start_traffic(std::size_t tunnels = 1);
  // From now on each side is to have an outbound SA at every moment, and its peer the inbound one for as long
  // as packets sent on it may be on their way (kFlight): what is not so is a complaint.
  void watch_flow() { watched_ = true; }
  // One child pair on both sides of each of `tunnels`, that fit, and one IKE SA each.
  [[nodiscard]] bool settled(std::size_t tunnels = 1) const;
  void transmit(Datagram datagram);

  Time now{kStart};
  Gateway east, west;
  // Delays of the copies that arrive; none: lost. Default: one copy after 10 ms.
  std::function<std::vector<milliseconds>(const Datagram&)> fate;
  std::function<void(Datagram&)> translate;                         // a NAT
  std::function<void(const Gateway&, const std::string&)> witness;  // of what the gateways say and do
  unsigned sent{0};
  std::size_t largest{0};
  unsigned lost{0}, delivered{0};       // inner packets
  std::vector<std::string> complaints;  // what no dataplane could do

 private:
  struct InnerPacket {
    Gateway* to;
    TunnelId tunnel;
    std::uint32_t spi;
    ByteVector key;
  };
  void deliver(const Datagram& datagram);
  void note_flow(Gateway& from);
  void check_flow(const Gateway& from, const Gateway& to);
  void tick(Gateway& from, Gateway& to);
  void arrive(const InnerPacket& packet);
  [[nodiscard]] std::optional<Time> next_event() const;
  void step();

  std::multimap<Time, Datagram> wire_;
  std::multimap<Time, InnerPacket> packets_;
  std::optional<Time> next_tick_;
  unsigned ticks_{0};
  std::size_t carrying_{1};  // tunnels
  bool watched_{false};
};

}  // namespace espgate::test
