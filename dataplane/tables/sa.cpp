#include "dataplane/tables/sa.hpp"

#include <algorithm>
#include <cstring>

#include "channel/spi.hpp"

namespace espgate::dataplane {

namespace {

constexpr std::size_t kIpv4 = 20;
constexpr std::size_t kUdp = 8;
constexpr std::size_t kEsp = 8;

static_assert(crypto::most_of_suites(crypto::key_material_length) <= channel::kMaxKeyMaterial);

void put16(std::uint8_t* at, std::uint16_t value) noexcept {
  at[0] = static_cast<std::uint8_t>(value >> 8);
  at[1] = static_cast<std::uint8_t>(value);
}
void put32(std::uint8_t* at, std::uint32_t value) noexcept {
  put16(at, static_cast<std::uint16_t>(value >> 16));
  put16(at + 2, static_cast<std::uint16_t>(value));
}

// RFC 791: the one's complement of the one's complement sum.
std::uint16_t header_checksum(const std::uint8_t* header) noexcept {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < kIpv4; i += 2) sum += std::uint32_t{header[i]} << 8 | header[i + 1];
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

// Type of service, length and identification differ from packet to packet: they are zero here, and the
// checksum is the one for zeros. DF is clear, so that the outer packet may be cut where a link is smaller
// than we know.
void write_ipv4(std::uint8_t* at, const channel::InstallSa& install) noexcept {
  at[0] = 0x45;
  at[8] = 64;
  at[9] = install.udp_encapsulation != 0 ? 17 : 50;
  std::copy_n(install.local.bytes.begin(), 4, at + 12);
  std::copy_n(install.remote.bytes.begin(), 4, at + 16);
  put16(at + 10, header_checksum(at));
}

// RFC 3948 section 2.1: the UDP checksum is zero.
void write_udp(std::uint8_t* at, const channel::InstallSa& install) noexcept {
  put16(at, install.local_port);
  put16(at + 2, install.remote_port);
}

void write_template(OutboundSa& sa, const channel::InstallSa& install) noexcept {
  sa.header.fill(0);
  std::uint8_t* const at = sa.header.data();
  write_ipv4(at, install);
  if (install.udp_encapsulation != 0) write_udp(at + kIpv4, install);
  sa.esp_offset = static_cast<std::uint8_t>(kIpv4 + (install.udp_encapsulation != 0 ? kUdp : 0));
  put32(at + sa.esp_offset, install.spi);
}

std::uint64_t limit(std::uint64_t value) noexcept { return value == 0 ? kNoLimit : value; }

// The suite's row, with the key expanded; nullptr if the command can't be served.
const crypto::SuiteRow* expand(const channel::InstallSa& install, const crypto::BulkEngine& engine,
                               crypto::SaKey& key) noexcept {
  const auto suite = static_cast<crypto::EspSuite>(install.suite);
  const crypto::SuiteRow* const row = crypto::find_suite(suite);
  if (row == nullptr || !install.local.is_v4() || !install.remote.is_v4()) return nullptr;
  const std::size_t length = crypto::key_material_length(*row);
  return engine.expand(suite, crypto::Bytes(install.keys.data(), length), key) ? row : nullptr;
}

template <class Sa>
void reset_counters(Sa& sa) noexcept {
  sa.bytes.store(0, std::memory_order_relaxed);
  sa.last_used_tsc.store(0, std::memory_order_relaxed);
}

template <class Sa>
void set_lengths(Sa& sa, const crypto::SuiteRow& row, bool udp) noexcept {
  sa.suite = row.suite;
  sa.icv_length = row.icv_length;
  sa.alignment = row.alignment;
  sa.udp = udp;
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
  sa.sequence.store(0, std::memory_order_relaxed);
  sa.hard_bytes = limit(install.hard_bytes);
  sa.last_sequence = std::min(kLastSequence, limit(install.hard_packets));
  set_lengths(sa, *row, install.udp_encapsulation != 0);
  write_template(sa, install);
  sa.front = static_cast<std::uint8_t>(sa.esp_offset + kEsp + row->iv_length);
  sa.tunnel = install.tunnel;
  sa.worker = static_cast<std::uint8_t>(install.worker);
  sa.selectors = &selectors;
  sa.any = selectors.any;
  return true;
}

bool prepare(InboundSa& sa, const channel::InstallSa& install, const SelectorSet& selectors,
             const crypto::BulkEngine& engine) noexcept {
  const crypto::SuiteRow* const row = expand(install, engine, sa.key);
  if (row == nullptr || !sa.window.reset(install.replay_window)) {
    erase(sa);
    return false;
  }
  reset_counters(sa);
  sa.packets.store(0, std::memory_order_relaxed);
  sa.replayed.store(0, std::memory_order_relaxed);
  sa.failed.store(0, std::memory_order_relaxed);
  sa.hard_bytes = limit(install.hard_bytes);
  sa.hard_packets = limit(install.hard_packets);
  set_lengths(sa, *row, install.udp_encapsulation != 0);
  sa.front = static_cast<std::uint8_t>(kEsp + row->iv_length);
  sa.tunnel = install.tunnel;
  sa.worker = static_cast<std::uint8_t>(channel::spi_worker(install.spi));
  sa.local = install.local;
  sa.remote = install.remote;
  sa.selectors = &selectors;
  sa.any = selectors.any;
  return true;
}

void erase(OutboundSa& sa) noexcept {
  explicit_bzero(&sa.key, sizeof sa.key);
  sa.header.fill(0);
  sa.selectors = nullptr;
  sa.outer.store(NextHop{}, std::memory_order_relaxed);
}

void erase(InboundSa& sa) noexcept {
  explicit_bzero(&sa.key, sizeof sa.key);
  static_cast<void>(sa.window.reset(0));  // its memory, if it had some
  sa.selectors = nullptr;
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

std::uint16_t inner_mtu(std::uint16_t outer_mtu, crypto::EspSuite suite, bool udp) noexcept {
  const crypto::SuiteRow* const row = crypto::find_suite(suite);
  if (row == nullptr) return 0;
  const unsigned overhead =
      static_cast<unsigned>(kIpv4 + (udp ? kUdp : 0) + kEsp) + row->iv_length + row->icv_length;
  if (outer_mtu < overhead + row->alignment) return 0;
  const unsigned payload = (outer_mtu - overhead) / row->alignment * row->alignment;
  return static_cast<std::uint16_t>(payload - 2);
}

}  // namespace espgate::dataplane
