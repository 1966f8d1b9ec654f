// What stands between strangers and the state: stateless cookies (RFC 7296 section 2.6), NAT detection's
// hashes (section 2.23), and limits on what is said to whom is not authenticated.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <utility>

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

// The half-open IKE SAs as responder, each with a place here. One source (an IPv4 address, a /64 of IPv6, for
// a host has all of that) has at most a quarter as many as there is room for others: a fifth of all if it is
// alone, and less the more take part, so that no few hosts that return cookies keep all others away.
class HalfOpen {
  using Source = std::pair<TableId, IpAddress>;
  using Counts = std::map<Source, std::size_t>;

 public:
  // Given back when destroyed; must not outlive the HalfOpen that it is of.
  class Place {
   public:
    Place(HalfOpen& whole, const Endpoint& remote);
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

   private:
    HalfOpen& whole_;
    Counts::iterator source_;
  };

  explicit HalfOpen(std::size_t most) : most_(most) {}
  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  // Whether one more from there may have a place. If not, it counts.
  enum class Verdict : std::uint8_t { room, full, share_taken };
  [[nodiscard]] Verdict judge(const Endpoint& remote);
  [[nodiscard]] const HalfOpenRefusals& refused() const noexcept { return refused_; }

 private:
  static constexpr std::size_t kPartOfRoom = 4;
  [[nodiscard]] static Source source_of(const Endpoint& remote);

  std::size_t most_;
  std::size_t count_{0};
  Counts by_source_;
  HalfOpenRefusals refused_;
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
