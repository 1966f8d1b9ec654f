// What stands between strangers and the state: stateless cookies (RFC 7296 section 2.6), NAT detection's
// hashes (section 2.23), and limits on what is said to whom is not authenticated.
#pragma once

#include <array>
#include <cstdint>

#include "control/ike/daemon.hpp"
#include "control/ike/message.hpp"
#include "control/ike/timers.hpp"

namespace espgate::ike {

// Cookie = version | PRF(secret, Ni | IPi | port | SPIi). The secret changes every two minutes; the one
// before counts on.
class CookieJar {
 public:
  CookieJar();
  [[nodiscard]] ByteVector bake(Bytes nonce, const Endpoint& initiator, std::uint64_t spi, Time now);
  [[nodiscard]] bool is_ours(Bytes cookie, Bytes nonce, const Endpoint& initiator, std::uint64_t spi,
                             Time now);

 private:
  struct Secret {
    std::uint8_t version{0};
    crypto::SecretBytes key;
  };
  void rotate(Time now);
  [[nodiscard]] static ByteVector cookie(const Secret& secret, Bytes nonce, const Endpoint& initiator,
                                         std::uint64_t spi);
  std::array<Secret, 2> secrets_;  // the present one first
  Time rotate_at_{};
};

// At most `burst` at once and `per_second` in the long run.
class RateLimit {
 public:
  RateLimit(double per_second, double burst) : per_second_(per_second), burst_(burst), tokens_(burst) {}
  [[nodiscard]] bool allows(Time now);

 private:
  double per_second_, burst_, tokens_;
  Time last_{};
};

[[nodiscard]] ByteVector spi_bytes(std::uint64_t spi);
[[nodiscard]] ByteVector nat_hash(std::uint64_t spi_initiator, std::uint64_t spi_responder,
                                  const Endpoint& endpoint);

// The two notifies for a message from `local` to `remote`. `pretend`: claim to be behind a NAT, so that the
// peer puts ESP into UDP.
void add_nat_notifies(std::vector<Payload>& payloads, const Header& header, const Endpoint& local,
                      const Endpoint& remote, bool pretend);

struct NatFinding {
  bool supported{false};  // the peer sent both notifies
  bool local{false};      // we are behind a NAT
  bool remote{false};     // the peer is, or says so
};
[[nodiscard]] NatFinding detect_nat(const std::vector<Payload>& payloads, const Header& header,
                                    const Endpoint& local, const Endpoint& remote);

}  // namespace espgate::ike
