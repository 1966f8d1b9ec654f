#include "dataplane/path/selectors.hpp"

#include <cstring>

namespace espgate::dataplane {

namespace {

// `known`: the packet carries ports (or an ICMP type and code, which RFC 7296 treats as one port number).
struct End {
  const std::uint8_t* address;
  std::uint16_t port;
};
struct Flow {
  Family family;
  std::uint8_t protocol;
  bool known;
  End source;
  End destination;
};

Flow flow_of(const std::uint8_t* ip, Family family, std::uint16_t length) noexcept {
  const bool v4 = family == Family::v4;
  const UpperLayer upper = upper_layer(ip, family, length);
  Flow flow{family, upper.protocol, false, {ip + (v4 ? 12 : 8), 0}, {ip + (v4 ? 16 : 24), 0}};
  if (upper.later || upper.offset + 4 > length) return flow;
  const std::uint8_t* const at = ip + upper.offset;
  if (upper.protocol == kProtocolTcp || upper.protocol == kProtocolUdp || upper.protocol == kProtocolSctp) {
    flow.known = true;
    flow.source.port = load16(at);
    flow.destination.port = load16(at + 2);
  } else if (upper.protocol == kProtocolIcmp || upper.protocol == kProtocolIcmp6) {
    flow.known = true;
    flow.source.port = flow.destination.port = load16(at);
  }
  return flow;
}

bool matches(const channel::Selector& selector, const Flow& flow, const End& end) noexcept {
  if (selector.first.family != flow.family) return false;
  if (selector.protocol != 0 && selector.protocol != flow.protocol) return false;
  const std::size_t bytes = flow.family == Family::v4 ? 4 : 16;
  if (std::memcmp(end.address, selector.first.bytes.data(), bytes) < 0) return false;
  if (std::memcmp(end.address, selector.last.bytes.data(), bytes) > 0) return false;
  const bool any_port = selector.first_port == 0 && selector.last_port == 0xffff;
  return any_port || (flow.known && selector.first_port <= end.port && end.port <= selector.last_port);
}

template <class Array>
bool one_matches(const Array& selectors, std::uint32_t count, const Flow& flow, const End& end) noexcept {
  for (std::uint32_t i = 0; i < count; ++i)
    if (matches(selectors[i], flow, end)) return true;
  return false;
}

}  // namespace

bool ranges_allow(const SelectorSet& set, const std::uint8_t* ip, Family family, std::uint16_t length,
                  bool outbound) noexcept {
  const Flow flow = flow_of(ip, family, length);
  const End& local = outbound ? flow.source : flow.destination;
  const End& remote = outbound ? flow.destination : flow.source;
  return one_matches(set.ranges.local, set.ranges.local_count, flow, local) &&
         one_matches(set.ranges.remote, set.ranges.remote_count, flow, remote);
}

}  // namespace espgate::dataplane
