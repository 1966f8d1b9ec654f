// A BFD session under fire: bytes are taken as packets, pauses and operators' changes. Whatever comes, the
// intervals stay within what both sides asked for, and a session that hears nothing goes down.
#include <algorithm>
#include <cstring>

#include "dataplane/liveness/bfd.hpp"

using namespace espgate::dataplane;

namespace {

constexpr std::uint32_t kOurs = 0x01020304;

void must(bool good) {
  if (!good) __builtin_trap();
}

void check(const bfd::Session& session) {
  if (session.transmit_interval() != 0)
    must(session.transmit_interval() >= (session.state() == bfd::State::up ? 10'000 : bfd::kSlowInterval));
  if (session.state() == bfd::State::up || session.state() == bfd::State::init)
    must(session.next_deadline() != bfd::Session::kNever && session.detection_time() > 0);
  must(session.remote_state() != bfd::State::up || session.detection_time() > 0);
}

void send_all(bfd::Session& session, std::uint64_t now) {
  unsigned sent = 0;
  while (const auto packet = session.next_packet(now)) {
    must(++sent < 8);
    const bfd::PacketBytes bytes = bfd::encode(*packet);
    const auto back = bfd::parse(bytes);
    // Without the peer's discriminator we must not claim Init or Up.
    must(back.has_value() && *back == *packet && !(packet->poll && packet->final));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const bfd::Settings settings{50'000, 50'000, 3};
  bfd::Session session(kOurs, settings, 1);
  std::uint64_t now = 1'000'000'000;
  while (size > 0) {
    const std::uint8_t what = *data++;
    size--;
    if (what < 0xa0) {  // a packet, for us in most cases
      std::uint8_t bytes[bfd::kPacketLength]{};
      const std::size_t taken = std::min(size, sizeof bytes);
      std::memcpy(bytes, data, taken);
      data += taken;
      size -= taken;
      if ((what & 1) != 0) std::memcpy(bytes + 8, "\x01\x02\x03\x04", 4);
      if (const auto packet = bfd::parse({bytes, (what & 2) != 0 ? sizeof bytes : taken}))
        (void)session.receive(*packet, now);
    } else if (what < 0xe0) {
      now += std::uint64_t{what} << (what % 24 + 8);
      session.advance(now);
    } else if (what < 0xf8) {
      session.change(
          {10'000U * (what % 7U + 1), 10'000U * (what % 5U + 1), static_cast<std::uint8_t>(what % 3 + 1)});
    } else if (what == 0xff) {
      session.disable();
    } else {
      what % 2 == 0 ? session.path_down() : session.hurry();
    }
    check(session);
    send_all(session, now);
  }
  session.advance(~std::uint64_t{0} >> 1);
  must(session.state() == bfd::State::down || session.state() == bfd::State::admin_down);
  return 0;
}
