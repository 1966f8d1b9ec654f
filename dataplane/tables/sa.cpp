#include "dataplane/tables/sa.hpp"

#include <algorithm>
#include <cstring>

#include "channel/spi.hpp"

namespace espgate::dataplane {

namespace {

constexpr std::uint8_t kHopLimit = 64;

static_assert(crypto::most_of_suites(crypto::key_material_length) <= channel::kMaxKeyMaterial);

std::uint8_t protocol_of(const channel::InstallSa& install) noexcept {
  return install.udp_encapsulation != 0 ? 17 : 50;
}

// Type of service, length and identification differ from packet to packet: they are zero here, and the
// checksum is the one for zeros. Where DF is clear the outer packet may be cut where a link is smaller than
// we know.
std::size_t write_ipv4(std::uint8_t* at, const channel::InstallSa& install) noexcept {
  at[0] = 0x45;
  if (install.df == channel::DontFragment::set) store16(at + 6, kDontFragment);
  at[8] = kHopLimit;
  at[9] = protocol_of(install);
  std::copy_n(install.local.bytes.begin(), 4, at + 12);
  std::copy_n(install.remote.bytes.begin(), 4, at + 16);
  ipv4(at).hdr_checksum = static_cast<std::uint16_t>(~ipv4_header_sum(at, kIpv4 / 4));
  return kIpv4;
}

// Traffic class and length differ from packet to packet. The flow label is the SA's (RFC 6438 section 3), so
// that routers which share flows out keep it in order, and learn nothing of the flows inside; the
// multiplication spreads SPIs that are neighbours.
std::size_t write_ipv6(std::uint8_t* at, const channel::InstallSa& install) noexcept {
  store32(at, 0x60000000 | (install.spi * 0x9e3779b1U) >> 12);
  at[6] = protocol_of(install);
  at[7] = kHopLimit;
  std::copy_n(install.local.bytes.begin(), 16, at + 8);
  std::copy_n(install.remote.bytes.begin(), 16, at + 24);
  return kIpv6;
}

// RFC 3948 section 2.1: the UDP checksum is zero; in IPv6 it is filled in when the packet is sealed.
std::size_t write_udp(std::uint8_t* at, const channel::InstallSa& install) noexcept {
  store16(at, install.local_port);
  store16(at + 2, install.remote_port);
  return kUdp;
}

void write_template(OutboundSa& sa, const channel::InstallSa& install) noexcept {
  sa.header.fill(0);
  std::uint8_t* const at = sa.header.data();
  std::size_t length = 0;
  if (install.mode == channel::Mode::tunnel)
    length = install.local.is_v4() ? write_ipv4(at, install) : write_ipv6(at, install);
  if (install.udp_encapsulation != 0) length += write_udp(at + length, install);
  sa.esp_offset = static_cast<std::uint8_t>(length);
  store32(at + length, install.spi);
}

// RFC 6040 section 4.1, and RFC 4301 section 5.1.2 for the code point.
void set_traffic_class(OutboundSa& sa, const channel::InstallSa& install) noexcept {
  sa.copy_dscp = install.fixed_dscp == 0;
  sa.copy_ecn = install.ecn == channel::EcnMode::normal;
  sa.traffic_class = static_cast<std::uint8_t>(sa.copy_dscp ? 0 : (install.fixed_dscp - 1) << 2);
}

void set_form(OutboundSa& sa, const channel::InstallSa& install) noexcept {
  set_traffic_class(sa, install);
  sa.copy_df = install.df == channel::DontFragment::copy;
  sa.tfc_length = install.tfc_length;
  sa.v6 = install.local.is_v6();
  sa.plain = !sa.v6 && !sa.transport && install.df == channel::DontFragment::clear && sa.copy_dscp &&
             sa.copy_ecn && sa.tfc_length == 0;
}

std::uint64_t limit(std::uint64_t value) noexcept { return value == 0 ? kNoLimit : value; }

// Without overflow: last_of_sequence is not below what was used before.
std::uint64_t first_last_sequence(const channel::InstallSa& install) noexcept {
  const std::uint64_t last = last_of_sequence(install.esn != 0);
  if (install.sequence_limit != 0) return std::min(last, install.sequence_limit);
  return install.last_sequence + std::min(last - install.last_sequence, limit(install.hard_packets));
}

// The suite's row, with the key expanded; nullptr if the command can't be served.
const crypto::SuiteRow* expand(const channel::InstallSa& install, const crypto::BulkEngine& engine,
                               crypto::SaKey& key) noexcept {
  const auto suite = static_cast<crypto::EspSuite>(install.suite);
  const crypto::SuiteRow* const row = crypto::find_suite(suite);
  if (row == nullptr || !install.local.is_set() || install.local.family != install.remote.family)
    return nullptr;
  const std::size_t length = crypto::key_material_length(*row);
  return engine.expand(suite, crypto::Bytes(install.keys.data(), length), key) ? row : nullptr;
}

template <class Sa>
void reset_counters(Sa& sa) noexcept {
  sa.bytes.store(0, std::memory_order_relaxed);
  sa.by_card.store(0, std::memory_order_relaxed);
  sa.by_device.store(0, std::memory_order_relaxed);
  sa.last_used_tsc.store(0, std::memory_order_relaxed);
}

template <class Sa>
void set_common(Sa& sa, const crypto::SuiteRow& row, const channel::InstallSa& install) noexcept {
  sa.scheme = {row.suite, install.esn != 0};
  sa.alignment = row.alignment;
  sa.udp = install.udp_encapsulation != 0;
  sa.transport = install.mode == channel::Mode::transport;
  sa.tunnel = install.tunnel;
}

}  // namespace

bool prepare(OutboundSa& sa, const channel::InstallSa& install, const SelectorSet& selectors,
             const crypto::BulkEngine& engine) noexcept {
  const crypto::SuiteRow* const row = expand(install, engine, sa.key);
  if (row == nullptr) {
    erase(sa);
    return false;
  }
  reset_counters(sa);
  sa.cut_before.store(0, std::memory_order_relaxed);
  sa.cut_after.store(0, std::memory_order_relaxed);
  sa.hard_bytes = limit(install.hard_bytes);
  set_common(sa, *row, install);
  set_form(sa, install);
  sa.reserved = install.sequence_limit != 0;
  sa.sequence.store(install.last_sequence, std::memory_order_relaxed);
  sa.last_sequence.store(first_last_sequence(install), std::memory_order_relaxed);
  write_template(sa, install);
  sa.front = static_cast<std::uint8_t>(sa.esp_offset + kEsp + row->iv_length);
  sa.icv_length = row->icv_length;
  sa.worker = install.worker & 0x7fU;
  sa.selectors = &selectors;
  sa.any = selectors.any;
  return true;
}

bool prepare(InboundSa& sa, const channel::InstallSa& install, const SelectorSet& selectors,
             const crypto::BulkEngine& engine) noexcept {
  const crypto::SuiteRow* const row = expand(install, engine, sa.key);
  if (row == nullptr || !sa.window.reset(install.replay_window, install.last_sequence)) {
    erase(sa);
    return false;
  }
  reset_counters(sa);
  sa.packets.store(0, std::memory_order_relaxed);
  sa.replayed.store(0, std::memory_order_relaxed);
  sa.failed.store(0, std::memory_order_relaxed);
  sa.hard_bytes = limit(install.hard_bytes);
  sa.hard_packets = limit(install.hard_packets);
  set_common(sa, *row, install);
  sa.front = static_cast<std::uint8_t>(kEsp + row->iv_length);
  sa.overhead = static_cast<std::uint8_t>(sa.front + row->icv_length);
  sa.plain = install.local.is_v4() && !sa.transport && !sa.scheme.esn() && sa.window.is_near() &&
             install.follow == 0;
  sa.local = install.local;
  sa.remote = install.remote;
  const std::uint64_t source =
      source_word(sa.remote.bytes.data(), sa.remote.family, __builtin_bswap16(install.remote_port));
  sa.source.store(install.follow != 0 ? source : 0, std::memory_order_relaxed);
  sa.next_move = 0;
  sa.selectors = &selectors;
  sa.any = selectors.any;
  return true;
}

void erase(OutboundSa& sa) noexcept {
  explicit_bzero(&sa.key, sizeof sa.key);
  sa.header.fill(0);
  sa.selectors = nullptr;
  sa.outer.store(NextHop{}, std::memory_order_relaxed);
  sa.session.store(nullptr, std::memory_order_relaxed);
  sa.device.store(nullptr, std::memory_order_relaxed);
}

void erase(InboundSa& sa) noexcept {
  explicit_bzero(&sa.key, sizeof sa.key);
  static_cast<void>(sa.window.reset(0));  // its memory, if it had some
  sa.card.store(0, std::memory_order_relaxed);
  sa.device.store(nullptr, std::memory_order_relaxed);
  sa.selectors = nullptr;
}

void turn_to(OutboundSa& sa, const Move& move) noexcept {
  std::uint8_t* const at = sa.header.data();
  std::size_t end = kIpv4;
  if (at[0] >> 4 == 4) {
    std::copy_n(move.remote.bytes.begin(), 4, at + 16);
    store16(at + 10, 0);
    ipv4(at).hdr_checksum = static_cast<std::uint16_t>(~ipv4_header_sum(at, kIpv4 / 4));
  } else {
    std::copy_n(move.remote.bytes.begin(), 16, at + 24);
    end = 40;
  }
  if (sa.udp) store16(at + end + 2, move.remote_port);
}

SelectorSet make_selector_set(const channel::Selectors& selectors) noexcept {
  const auto is_all = [](const channel::Selector& selector, Family family) {
    const std::size_t bytes = family == Family::v4 ? 4 : 16;
    const auto all = [bytes](const IpAddress& address, std::uint8_t value) {
      return std::all_of(address.bytes.begin(), address.bytes.begin() + bytes,
                         [value](std::uint8_t byte) { return byte == value; });
    };
    return selector.first.family == family && selector.last.family == family && selector.protocol == 0 &&
           selector.first_port == 0 && selector.last_port == 0xffff && all(selector.first, 0) &&
           all(selector.last, 0xff);
  };
  const auto has_all = [&](const auto& list, std::uint32_t count, Family family) {
    const std::size_t used = std::min<std::size_t>(count, list.size());
    return std::any_of(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(used),
                       [&](const channel::Selector& selector) { return is_all(selector, family); });
  };
  const auto any = [&](Family family) {
    const bool all = has_all(selectors.local, selectors.local_count, family) &&
                     has_all(selectors.remote, selectors.remote_count, family);
    return (all ? 1U : 0U) << static_cast<unsigned>(family);
  };
  return SelectorSet{selectors, {static_cast<std::uint8_t>(any(Family::v4) | any(Family::v6))}};
}

Around around(const OutboundSa& sa) noexcept {
  return {sa.v6 ? Family::v6 : Family::v4, sa.transport, sa.udp, sa.scheme.suite()};
}

std::uint16_t inner_mtu(std::uint16_t outer_mtu, const Around& around) noexcept {
  const crypto::SuiteRow* const row = crypto::find_suite(around.suite);
  if (row == nullptr) return 0;
  const std::size_t header = around.outer == Family::v4 ? kIpv4 : kIpv6;
  const std::size_t overhead = header + (around.udp ? kUdp : 0) + kEsp + row->iv_length + row->icv_length;
  if (outer_mtu < overhead + row->alignment) return 0;
  const std::size_t payload = (outer_mtu - overhead) / row->alignment * row->alignment - 2;
  return static_cast<std::uint16_t>(payload + (around.transport ? header : 0));
}

}  // namespace espgate::dataplane
