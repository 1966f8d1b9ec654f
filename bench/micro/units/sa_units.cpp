#include <algorithm>
#include <numeric>
#include <random>

#include "bench/micro/units/meter.hpp"
#include "bench/micro/units/testbed.hpp"
#include "channel/spi.hpp"
#include "crypto/replay_window.hpp"
#include "dataplane/path/esp.hpp"
#include "dataplane/path/selectors.hpp"

namespace espgate::bench {

using namespace dataplane;

namespace {

// So long that no branch predictor learns it.
constexpr std::uint32_t kSequences = 1 << 14;

// 1, 2, 3, ..., each moved to another place among the `reach` around it.
std::vector<std::uint32_t> reordered(std::uint32_t reach) {
  std::vector<std::uint32_t> order(kSequences);
  std::iota(order.begin(), order.end(), 1U);
  std::mt19937 random(1);
  for (auto at = order.begin(); at != order.end(); at += reach) std::shuffle(at, at + reach, random);
  return order;
}

// As on the decrypt way: a burst's packets are all checked before the first is committed.
Unit replay(const char* name, std::uint32_t window_packets, std::uint32_t reach) {
  return {name, [=](const Meter& meter) {
            using crypto::ReplayWindow;
            ReplayWindow window;
            require(window.reset(window_packets), "no such window");
            keep(&window);  // in memory, as an SA's is
            const std::vector<std::uint32_t> order = reordered(reach);
            std::uint64_t base = 0;
            unsigned refused = 0;
            const Figure figure = meter.repeat(kSequences, [&] {
              for (auto at = order.begin(); at != order.end(); at += kBurst) {
                for (unsigned i = 0; i < kBurst; ++i)
                  keep(refused += window.check(base + at[i]) == ReplayWindow::Verdict::fresh ? 0 : 1);
                for (unsigned i = 0; i < kBurst; ++i)
                  keep(refused += window.commit(base + at[i]) == ReplayWindow::Verdict::fresh ? 0 : 1);
              }
              base += kSequences;
            });
            require(refused == 0, "the window refused a fresh packet");
            return figure;
          }};
}

channel::Selector range(const char* first, const char* last) {
  return {*parse_address(first), *parse_address(last), 0, 0xffff, 0, {}};
}

// The last range of each side is the one that matches.
SelectorSet ranges_before(std::uint32_t others, const channel::Selector& matching) {
  channel::Selectors selectors{};
  for (std::uint32_t i = 0; i < others; ++i)
    selectors.local[i] = selectors.remote[i] = range("172.16.0.0", "172.16.255.255");
  selectors.local[others] = selectors.remote[others] = matching;
  selectors.local_count = selectors.remote_count = others + 1;
  return make_selector_set(selectors);
}

Unit allow(const char* name, Writer write, Family family, const SelectorSet& set) {
  return {name, [=](const Meter& meter) {
            OutboundSa sa{};
            sa.selectors = &set;
            sa.any = set.any;
            Packets packets(write);
            unsigned refused = 0;
            const Figure figure = meter.repeat(kBurst, [&] {
              for (unsigned i = 0; i < kBurst; ++i) {
                const bool allowed = selectors_allow(sa, packets.ip(i), family, packets.length(i), true);
                keep(refused += allowed ? 0 : 1);
              }
            });
            require(refused == 0, "the selectors exclude a packet");
            return figure;
          }};
}

Unit allow_any() {
  return allow("selectors_allow, any", udp4, Family::v4,
               ranges_before(0, range("0.0.0.0", "255.255.255.255")));
}
Unit allow4(const char* name, std::uint32_t ranges) {
  return allow(name, udp4, Family::v4, ranges_before(ranges - 1, range("10.0.0.0", "10.255.255.255")));
}
Unit allow6(const char* name) {
  return allow(name, udp6, Family::v6, ranges_before(0, range("2001:db8::", "2001:db8:ffff::")));
}

// SPIs as they lie in packets, of SAs in no order.
std::vector<std::uint32_t> some_spis(std::uint32_t sas) {
  std::vector<std::uint32_t> spis(1 << 17);
  std::mt19937 random(1);
  for (std::uint32_t& spi : spis)
    spi = __builtin_bswap32(channel::make_spi(0, 1, static_cast<std::uint32_t>(random() % sas)));
  return spis;
}

// A packet's SA by its SPI, and whether the slot still has it: the table's memory is what it costs.
Unit find_inbound(const char* name, std::uint32_t sas) {
  return {name, [=](const Meter& meter) {
            Testbed bed({.inbound_slots = sas});
            for (std::uint32_t i = 0; i < sas; ++i)
              bed.tables().inbound[0].slots[i].spi = channel::make_spi(0, 1, i);
            std::vector<std::uint32_t> spis = some_spis(sas);
            Packet packet{};
            packet.length = kEsp;
            unsigned missed = 0;
            const Figure figure = meter.repeat(static_cast<unsigned>(spis.size()), [&] {
              for (std::uint32_t& spi : spis) {
                packet.ip = reinterpret_cast<std::uint8_t*>(&spi);
                const InboundSa* const sa = slot_of(bed.worker(), packet);
                const bool found = sa != nullptr && sa->spi.load(std::memory_order_acquire) == spi_of(packet);
                keep(missed += found ? 0 : 1);
              }
            });
            require(missed == 0, "an SA was not found");
            return figure;
          }};
}

}  // namespace

Units sa_units() {
  return {find_inbound("slot_of and its SPI, 1 SA", 1),
          find_inbound("slot_of and its SPI, 10000 SAs", 10'000),
          find_inbound("slot_of and its SPI, 100000 SAs", 100'000),
          replay("replay check and commit, window 64, in order", 64, 1),
          replay("replay check and commit, window 1024, in order", 1024, 1),
          replay("replay check and commit, window 4096, in order", 4096, 1),
          replay("replay check and commit, window 64, reordered", 64, 32),
          replay("replay check and commit, window 1024, reordered", 1024, 512),
          replay("replay check and commit, window 4096, reordered", 4096, 2048),
          allow_any(),
          allow4("selectors_allow, 1 range", 1),
          allow4("selectors_allow, the last of 8 ranges", 8),
          allow6("selectors_allow, 1 range, IPv6")};
}

}  // namespace espgate::bench
