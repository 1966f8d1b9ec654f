// The receive way. The first byte says how the rest is brought: as a frame on one of the two ports, or as the
// plaintext of an authentic ESP packet, with which only the peer could come.
#include "tests/dataplane/hostile.hpp"

using namespace espgate;
using namespace espgate::test;

namespace {

void bring(Target& target, unsigned how, const Octets& bytes) {
  const std::uint8_t port = how % 2 == 0 ? kOutside : kInside;
  const std::uint16_t tailroom = how & 4 ? 64 : 0;
  switch (how >> 4) {
    case 0:
      (void)target.receive(port, std::vector<rte_mbuf*>{target.make(bytes, 128, tailroom)});
      return;
    case 1:
      (void)target.receive(port,
                           std::vector<rte_mbuf*>{target.make(target.frame_to(port, bytes), 128, tailroom)});
      return;
    default:
      Octets plain = bytes;
      plain.resize((plain.size() + 3) / 4 * 4);
      if (plain.empty()) return;
      const Octets ip = sealed(target.inbound, 1, plain, how & 3);
      (void)target.receive(kOutside,
                           std::vector<rte_mbuf*>{target.make(target.frame_to(kOutside, ip), 128, tailroom)});
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Target* const target = new Target;
  if (size == 0 || size > 4000) return 0;
  target->renew();
  bring(*target, data[0], Octets(data + 1, data + size));
  if (target->buffers_out() != 0) __builtin_trap();
  return 0;
}
