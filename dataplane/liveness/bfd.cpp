#include "dataplane/liveness/bfd.hpp"

#include <algorithm>
#include <utility>

#include "dataplane/path/wire.hpp"

namespace espgate::dataplane::bfd {

namespace {

constexpr std::uint8_t kVersion = 1;
// The second byte's flags.
constexpr std::uint8_t kPoll = 0x20;
constexpr std::uint8_t kFinal = 0x10;
constexpr std::uint8_t kControlPlaneIndependent = 0x08;
constexpr std::uint8_t kAuthentication = 0x04;
constexpr std::uint8_t kDemand = 0x02;
constexpr std::uint8_t kMultipoint = 0x01;

constexpr std::uint64_t kNsPerUs = 1000;

// What is known of a peer that has not spoken (section 6.8.1).
constexpr ControlPacket unheard() noexcept {
  ControlPacket packet;
  packet.required_min_rx = 1;
  return packet;
}

}  // namespace

std::optional<ControlPacket> parse(std::span<const std::uint8_t> payload) noexcept {
  if (payload.size() < kPacketLength) return std::nullopt;
  const std::uint8_t* const at = payload.data();
  const std::uint8_t flags = at[1];
  ControlPacket packet;
  packet.diagnostic = static_cast<Diagnostic>(at[0] & 0x1f);
  packet.state = static_cast<State>(flags >> 6);
  packet.poll = (flags & kPoll) != 0;
  packet.final = (flags & kFinal) != 0;
  packet.control_plane_independent = (flags & kControlPlaneIndependent) != 0;
  packet.demand = (flags & kDemand) != 0;
  packet.detect_multiplier = at[2];
  packet.my_discriminator = load32(at + 4);
  packet.your_discriminator = load32(at + 8);
  packet.desired_min_tx = load32(at + 12);
  packet.required_min_rx = load32(at + 16);
  packet.required_min_echo_rx = load32(at + 20);
  const std::uint8_t length = at[3];
  const bool down = packet.state == State::down || packet.state == State::admin_down;
  const bool good = at[0] >> 5 == kVersion && (flags & (kAuthentication | kMultipoint)) == 0 &&
                    length >= kPacketLength && length <= payload.size() && packet.detect_multiplier != 0 &&
                    packet.my_discriminator != 0 && (packet.your_discriminator != 0 || down);
  return good ? std::optional(packet) : std::nullopt;
}

PacketBytes encode(const ControlPacket& packet) noexcept {
  PacketBytes bytes;
  std::uint8_t* const at = bytes.data();
  const auto flag = [](bool set, std::uint8_t bit) { return set ? bit : std::uint8_t{0}; };
  at[0] = static_cast<std::uint8_t>(kVersion << 5 | (static_cast<std::uint8_t>(packet.diagnostic) & 0x1f));
  at[1] = static_cast<std::uint8_t>(
      static_cast<std::uint8_t>(packet.state) << 6 | flag(packet.poll, kPoll) | flag(packet.final, kFinal) |
      flag(packet.control_plane_independent, kControlPlaneIndependent) | flag(packet.demand, kDemand));
  at[2] = packet.detect_multiplier;
  at[3] = kPacketLength;
  store32(at + 4, packet.my_discriminator);
  store32(at + 8, packet.your_discriminator);
  store32(at + 12, packet.desired_min_tx);
  store32(at + 16, packet.required_min_rx);
  store32(at + 20, packet.required_min_echo_rx);
  return bytes;
}

Session::Session(std::uint32_t discriminator, const Settings& settings, std::uint32_t seed) noexcept
    : discriminator_(discriminator),
      settings_(settings),
      former_(settings),
      remote_(unheard()),
      random_(seed) {}

// What we say: slow while the session is not Up (section 6.8.3).
std::uint32_t Session::desired_min_tx() const noexcept {
  return state_ == State::up ? settings_.desired_min_tx : std::max(settings_.desired_min_tx, kSlowInterval);
}

// Section 6.8.7. A longer interval of ours waits until the peer knows of it (section 6.8.3).
std::uint32_t Session::transmit_interval() const noexcept {
  if (remote_.required_min_rx == 0) return 0;
  std::uint32_t ours = desired_min_tx();
  if (polling_ && state_ == State::up) ours = std::min(ours, former_.desired_min_tx);
  return std::max(ours, remote_.required_min_rx);
}

// Section 6.8.4. A shorter interval that we ask for waits until the peer knows of it.
std::uint64_t Session::detection_time() const noexcept {
  if (!heard_) return 0;
  std::uint32_t ours = settings_.required_min_rx;
  if (polling_ && state_ == State::up) ours = std::max(ours, former_.required_min_rx);
  return std::uint64_t{remote_.detect_multiplier} * std::max(ours, remote_.desired_min_tx);
}

// No packets in turn: the peer wants none at all, or in demand mode none while both are Up and nothing is
// asked (section 6.8.7).
bool Session::silent() const noexcept {
  const bool demand = remote_.demand && state_ == State::up && remote_.state == State::up && !polling_;
  return remote_.required_min_rx == 0 || demand;
}

std::uint64_t Session::due() const noexcept {
  if (owes_ || answers_poll_) return 0;
  if (silent()) return kNever;
  const std::uint64_t interval = std::uint64_t{transmit_interval()} * (1000 - jitter_);  // us/1000: ns
  return sent_at_ + interval;
}

std::uint64_t Session::next_deadline() const noexcept {
  const std::uint64_t lost = heard_ ? received_at_ + detection_time() * kNsPerUs : kNever;
  return std::min(due(), lost);
}

ControlPacket Session::contents() const noexcept {
  ControlPacket packet;
  packet.state = state_;
  packet.diagnostic = diagnostic_;
  packet.control_plane_independent = true;  // the control process may come and go
  packet.detect_multiplier = settings_.detect_multiplier;
  packet.my_discriminator = discriminator_;
  packet.your_discriminator = remote_.my_discriminator;
  packet.desired_min_tx = desired_min_tx();
  packet.required_min_rx = settings_.required_min_rx;
  return packet;
}

// Section 6.8.7: an answer has F and not P; each interval is shortened by chance, by up to a quarter, and by
// a tenth at least where one lost packet is all it takes.
std::optional<ControlPacket> Session::next_packet(std::uint64_t now) noexcept {
  if (due() > now) return std::nullopt;
  ControlPacket packet = contents();
  packet.final = answers_poll_;
  packet.poll = polling_ && !answers_poll_;
  if (!answers_poll_ || owes_) {
    const std::uint32_t least = settings_.detect_multiplier == 1 ? 100 : 0;
    jitter_ = std::uniform_int_distribution<std::uint32_t>(least, 250)(random_);
    sent_at_ = now;
  }
  answers_poll_ = owes_ = false;
  return packet;
}

// The peer may go on to reckon with anything that it was told before it answers. An answer to a poll that
// runs may be older than the newest change, so then there is another one (section 6.5).
void Session::begin_poll() noexcept {
  if (polling_) {
    former_.desired_min_tx = std::min(former_.desired_min_tx, settings_.desired_min_tx);
    former_.required_min_rx = std::max(former_.required_min_rx, settings_.required_min_rx);
    polls_again_ = true;
    return;
  }
  former_ = settings_;
  polling_ = true;
}

void Session::end_poll() noexcept { polling_ = std::exchange(polls_again_, false); }

// What we say of ourselves changes with the state, and is said at once (section 6.8.7). Up begins with a poll
// sequence, for the interval is no longer the slow one.
void Session::turn(State state, Diagnostic diagnostic) noexcept {
  if (state_ == State::admin_down || (state == state_ && diagnostic == diagnostic_)) return;
  polling_ = polls_again_ = false;
  state_ = state;
  diagnostic_ = diagnostic;
  owes_ = true;
  if (state == State::up && settings_.desired_min_tx < kSlowInterval) begin_poll();
}

// Section 6.8.6, the state machine.
void Session::follow(State remote) noexcept {
  if (remote == State::admin_down) {
    if (state_ != State::down) turn(State::down, Diagnostic::neighbour_signalled_down);
    return;
  }
  switch (state_) {
    case State::down:
      if (remote == State::down) turn(State::init, diagnostic_);
      if (remote == State::init) turn(State::up, Diagnostic::none);
      return;
    case State::init:
      if (remote == State::init || remote == State::up) turn(State::up, Diagnostic::none);
      return;
    case State::up:
      if (remote == State::down) turn(State::down, Diagnostic::neighbour_signalled_down);
      return;
    case State::admin_down:
      return;
  }
}

bool Session::receive(const ControlPacket& packet, std::uint64_t now) noexcept {
  if (packet.your_discriminator != 0 && packet.your_discriminator != discriminator_) return false;
  if (state_ == State::admin_down) return false;
  remote_ = packet;
  heard_ = true;
  if (packet.final) end_poll();
  follow(packet.state);
  answers_poll_ = answers_poll_ || packet.poll;
  received_at_ = now;
  return true;
}

// Section 6.8.4, and of section 6.8.1: a peer that was silent for so long is no longer known.
void Session::advance(std::uint64_t now) noexcept {
  if (!heard_ || now < received_at_ + detection_time() * kNsPerUs) return;
  heard_ = false;
  remote_ = unheard();
  if (state_ == State::init || state_ == State::up) turn(State::down, Diagnostic::detection_time_expired);
}

void Session::path_down() noexcept {
  heard_ = false;
  remote_ = unheard();
  turn(State::down, Diagnostic::path_down);
}

void Session::disable() noexcept { turn(State::admin_down, Diagnostic::administratively_down); }

void Session::change(const Settings& settings) noexcept {
  if (settings == settings_) return;
  if (state_ == State::up) begin_poll();
  settings_ = settings;
}

}  // namespace espgate::dataplane::bfd
