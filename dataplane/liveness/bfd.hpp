// Bidirectional Forwarding Detection (RFC 5880): control packets, and one session in asynchronous mode,
// without authentication, because the tunnel that it runs in has that. Packets and the time come in; packets
// and the session's state come out. Knows no sockets, no IP and no threads.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <random>
#include <span>

namespace espgate::dataplane::bfd {

// RFC 5880 section 4.1: the numbers on the wire.
enum class State : std::uint8_t { admin_down = 0, down = 1, init = 2, up = 3 };
enum class Diagnostic : std::uint8_t {
  none = 0,
  detection_time_expired = 1,
  echo_failed = 2,
  neighbour_signalled_down = 3,
  forwarding_plane_reset = 4,
  path_down = 5,
  concatenated_path_down = 6,
  administratively_down = 7,
  reverse_concatenated_path_down = 8,
};  // what a peer says may be any other number up to 31

// A control packet's fields, in host byte order. Intervals in microseconds.
struct ControlPacket {
  State state{State::down};
  Diagnostic diagnostic{Diagnostic::none};
  bool poll{false};
  bool final{false};
  bool control_plane_independent{false};
  bool demand{false};
  std::uint8_t detect_multiplier{0};
  std::uint32_t my_discriminator{0};
  std::uint32_t your_discriminator{0};
  std::uint32_t desired_min_tx{0};
  std::uint32_t required_min_rx{0};
  std::uint32_t required_min_echo_rx{0};
  bool operator==(const ControlPacket&) const noexcept = default;
};
inline constexpr std::size_t kPacketLength = 24;  // bytes, without authentication
using PacketBytes = std::array<std::uint8_t, kPacketLength>;

// A UDP payload; nullopt: RFC 5880 section 6.8.6 says to discard it whatever the session, or it has
// authentication, which none of our sessions uses.
[[nodiscard]] std::optional<ControlPacket> parse(std::span<const std::uint8_t> payload) noexcept;
[[nodiscard]] PacketBytes encode(const ControlPacket& packet) noexcept;

// What is asked of a session. Intervals in microseconds, not 0; the multiplier not 0.
struct Settings {
  std::uint32_t desired_min_tx{1'000'000};
  std::uint32_t required_min_rx{1'000'000};
  std::uint8_t detect_multiplier{3};
  bool operator==(const Settings&) const noexcept = default;
};

// The least interval while a session is not Up (RFC 5880 section 6.8.3), microseconds.
inline constexpr std::uint32_t kSlowInterval = 1'000'000;

// One session. `now`: nanoseconds of a clock that never goes back. The caller looks at state() after each
// call that may change it, asks for packets until there is none, and calls advance at next_deadline.
class Session {
 public:
  // Active role: speaks first. `discriminator`: not 0, and no other session's here. `seed`: of the jitter.
  Session(std::uint32_t discriminator, const Settings& settings, std::uint32_t seed) noexcept;

  // A packet that parse accepted and that is for this session: by its discriminator, or where it has none by
  // where it came from. False: discarded.
  [[nodiscard]] bool receive(const ControlPacket& packet, std::uint64_t now) noexcept;
  // Detection time (section 6.8.4).
  void advance(std::uint64_t now) noexcept;
  // What is to be sent now: an answer to a poll, a change, or the next in turn. Nullopt: nothing is.
  [[nodiscard]] std::optional<ControlPacket> next_packet(std::uint64_t now) noexcept;
  // When advance or next_packet have something to do, at the latest; kNever: only once a packet came.
  static constexpr std::uint64_t kNever = ~std::uint64_t{0};
  [[nodiscard]] std::uint64_t next_deadline() const noexcept;

  // Other settings while it runs: told to the peer by a poll sequence where it is Up (section 6.8.3).
  void change(const Settings& settings) noexcept;
  // What runs below is gone: Down with path_down, without waiting for the detection time (section 6.8.17).
  void path_down() noexcept;
  // AdminDown for good: the peer is told that what comes is no failure (section 6.8.16).
  void disable() noexcept;
  // Sends what is next at once: the way to the peer has just come to be.
  void hurry() noexcept { owes_ = true; }

  [[nodiscard]] State state() const noexcept { return state_; }
  [[nodiscard]] Diagnostic diagnostic() const noexcept { return diagnostic_; }
  [[nodiscard]] std::uint32_t discriminator() const noexcept { return discriminator_; }
  [[nodiscard]] State remote_state() const noexcept { return remote_.state; }
  [[nodiscard]] Diagnostic remote_diagnostic() const noexcept { return remote_.diagnostic; }
  [[nodiscard]] const Settings& settings() const noexcept { return settings_; }
  // Microseconds. Between our packets, before jitter; 0: the peer wants none.
  [[nodiscard]] std::uint32_t transmit_interval() const noexcept;
  // Without a packet for so long the session goes down; 0 before the first one.
  [[nodiscard]] std::uint64_t detection_time() const noexcept;

 private:
  [[nodiscard]] std::uint32_t desired_min_tx() const noexcept;
  [[nodiscard]] bool silent() const noexcept;
  [[nodiscard]] ControlPacket contents() const noexcept;
  void turn(State state, Diagnostic diagnostic) noexcept;
  void follow(State remote) noexcept;
  void begin_poll() noexcept;
  void end_poll() noexcept;
  [[nodiscard]] std::uint64_t due() const noexcept;

  std::uint32_t discriminator_;
  Settings settings_;
  // While a poll sequence runs: what the peer may still reckon with.
  Settings former_;
  State state_{State::down};
  Diagnostic diagnostic_{Diagnostic::none};
  ControlPacket remote_;  // the last one; its initial values are those of section 6.8.1
  bool heard_{false};     // remote_ is from the peer
  bool polling_{false};
  bool polls_again_{false};
  bool answers_poll_{false};      // a packet with F is due
  bool owes_{true};               // a packet is due now, whatever the interval
  std::uint64_t received_at_{0};  // ns
  std::uint64_t sent_at_{0};      // ns
  std::uint32_t jitter_{0};       // of the interval that runs: thousandths that it is shorter
  std::minstd_rand random_;
};

}  // namespace espgate::dataplane::bfd
