// What the assault and the fuzz target share: a gateway with one established SA, and packets as only its peer
// can make them.
#pragma once

#include <cstdint>
#include <span>

#include "channel/spi.hpp"
#include "tests/dataplane/rig.hpp"

namespace espgate::test {

struct Target : Rig {
  static constexpr crypto::EspSuite kSuite = crypto::EspSuite::aes128_gcm16;
  Target() {
    set_tunnel(0, 1400, true);
    inbound = command(kSuite, 2, false, channel::make_spi(0, 1, 3));
    in_udp = command(kSuite, 2, true, channel::make_spi(0, 1, 4));
    in_cbc = command(crypto::EspSuite::aes128_cbc_sha1, 2, false, channel::make_spi(0, 1, 5));
    install_inbound(inbound);
    install_inbound(in_udp);
    install_inbound(in_cbc);
    install_outbound(command(kSuite, 2, false, 0x1234));
    route("10.2.0.0/16", {NextHopKind::tunnel, 0, 0, 0});
    route("2001:db8:2::/48", {NextHopKind::tunnel, 0, 0, 0});
  }
  // An authentic packet's inner packet comes out at the inside.
  [[nodiscard]] bool still_works() {
    const Octets inner =
        ipv4_packet({.source = "10.2.0.2", .destination = "10.1.0.2"}, udp(1, 2, filling(40)));
    const Octets outer = sealed(inbound, ++sequence, with_trailer(inner, kSuite, 4));
    return receive_ip(kOutside, outer).frames[kInside].size() == 1 && buffers_out() == 0;
  }
  // The outbound SA, too, has only so many sequence numbers.
  void renew() {
    const dataplane::InboundSa* const slots = tables().inbound[0].slots;
    received += slots[3].packets + slots[4].packets + slots[5].packets;
    sent += tables().outbound[0][0].sequence;
    install_inbound(inbound);
    install_inbound(in_udp);
    install_inbound(in_cbc);
    tables().outbound[0][0].sequence = 0;
    sequence = 0;
  }
  channel::InstallSa inbound, in_udp, in_cbc;
  std::uint32_t sequence{0};
  std::uint64_t received{0}, sent{0};  // before the last renewal
};

}  // namespace espgate::test
