#include "dataplane/tables/routes.hpp"

#include <rte_errno.h>
#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_memory.h>

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <string>
#include <utility>

namespace espgate::dataplane {

namespace {

constexpr unsigned kMaxLookup = 64;

// FIBs are known to DPDK by name, and tests make several tables.
std::string unique_name(const char* kind) {
  static std::atomic<unsigned> count{0};
  return std::string(kind) + "-" + std::to_string(count.fetch_add(1));
}

[[noreturn]] void fail(const char* what) {
  throw std::runtime_error(std::string("no DPDK memory for the ") + what +
                           " route table: " + rte_strerror(rte_errno));
}

rte_fib* make_fib4(const Routes::Size& size, bool narrow) {
  rte_fib_conf conf{};
  conf.type = size.tree ? RTE_FIB_DUMMY : RTE_FIB_DIR24_8;
  conf.default_nh = 0;
  conf.max_routes = static_cast<int>(size.max_routes);
  conf.dir24_8.nh_sz = narrow ? RTE_FIB_DIR24_8_2B : RTE_FIB_DIR24_8_4B;
  conf.dir24_8.num_tbl8 = std::clamp(size.max_routes, 256U, Routes::kNarrowBlocks);
  return rte_fib_create(unique_name("routes4").c_str(), SOCKET_ID_ANY, &conf);
}

rte_fib6* make_fib6(const Routes::Size& size, bool narrow) {
  rte_fib6_conf conf{};
  conf.type = size.tree ? RTE_FIB6_DUMMY : RTE_FIB6_TRIE;
  conf.default_nh = 0;
  conf.max_routes = static_cast<int>(size.max_routes);
  const bool both = narrow && size.blocks6 <= Routes::kNarrowBlocks;
  conf.trie.nh_sz = both ? RTE_FIB6_TRIE_2B : RTE_FIB6_TRIE_4B;
  conf.trie.num_tbl8 = both ? std::clamp(size.max_routes * 4, 4096U, Routes::kNarrowBlocks)
                            : std::max(size.max_routes, Routes::kNarrowBlocks);
  if (size.blocks6 != 0) conf.trie.num_tbl8 = size.blocks6;
  return rte_fib6_create(unique_name("routes6").c_str(), SOCKET_ID_ANY, &conf);
}

// 255.255.255.255 or its like.
IpAddress last_of(Family family) noexcept {
  IpAddress last;
  last.family = family;
  std::fill_n(last.bytes.begin(), last.is_v4() ? 4 : 16, std::uint8_t{0xff});
  return last;
}

bool ends_the_space(const IpPrefix& prefix) noexcept {
  return contains(prefix, last_of(prefix.address.family));
}

}  // namespace

Routes::Routes(Rcu& rcu, Size size, std::uint32_t max_next_hops) : rcu_(rcu), size_(size) {
  // Those that were released stay a little longer.
  const Value values = max_next_hops < kNarrow ? kNarrow : 2 * max_next_hops;
  next_hops_.resize(values);
  users_.resize(values);
  for (Value v = values - 1; v > 0; v--) unused_.push_back(v);
  try {
    for (unsigned side = 0; side < 2; side++) create(side);
  } catch (...) {
    free_fibs();
    throw;
  }
  live4_.store(fib4_[0]);
  live6_.store(fib6_[0]);
}

Routes::~Routes() { free_fibs(); }

void Routes::create(unsigned side) {
  const bool narrow = next_hops_.size() <= kNarrow;
  fib4_[side] = make_fib4(size_, narrow);
  if (fib4_[side] == nullptr) fail("IPv4");
  fib6_[side] = make_fib6(size_, narrow);
  if (fib6_[side] == nullptr) fail("IPv6");
}

void Routes::free_fibs() noexcept {
  for (rte_fib* fib : fib4_) rte_fib_free(fib);
  for (rte_fib6* fib : fib6_) rte_fib6_free(fib);
}

void Routes::find(const std::uint32_t* addresses, NextHop* out, unsigned count) const noexcept {
  std::uint64_t values[kMaxLookup];
  rte_fib_lookup_bulk(live4_.load(std::memory_order_acquire), const_cast<std::uint32_t*>(addresses), values,
                      static_cast<int>(count));
  for (unsigned i = 0; i < count; i++) out[i] = next_hops_[values[i]];
}

void Routes::find6(std::uint8_t (*addresses)[16], NextHop* out, unsigned count) const noexcept {
  std::uint64_t values[kMaxLookup];
  rte_fib6_lookup_bulk(live6_.load(std::memory_order_acquire), addresses, values, static_cast<int>(count));
  for (unsigned i = 0; i < count; i++) out[i] = next_hops_[values[i]];
}

bool Routes::apply(unsigned side, const Change& change) noexcept {
  const IpPrefix& to = change.destination;
  if (to.address.is_v4()) {
    const std::uint32_t ip = v4_host_order(to.address);
    return change.value == 0 ? rte_fib_delete(fib4_[side], ip, to.length) == 0
                             : rte_fib_add(fib4_[side], ip, to.length, change.value) == 0;
  }
  const std::uint8_t* ip = to.address.bytes.data();
  return change.value == 0 ? rte_fib6_delete(fib6_[side], ip, to.length) == 0
                           : rte_fib6_add(fib6_[side], ip, to.length, change.value) == 0;
}

bool Routes::apply_idle(const Change& change) {
  if (!apply(1 - live_, change)) return false;
  pending_.push_back(change);
  return true;
}

Routes::Value Routes::value_of(NextHop next_hop) const {
  return values_.at(std::bit_cast<std::uint64_t>(next_hop));
}

// The routes within `destination` that end, as it does, with the family's last address; shorter before
// longer.
std::vector<Routes::Change> Routes::at_the_end_of(const IpPrefix& destination) const {
  std::vector<Change> found;
  if (!ends_the_space(destination)) return found;
  const IpAddress last = last_of(destination.address.family);
  const unsigned bits = last.is_v4() ? 32 : 128;
  for (unsigned length = destination.length + 1U; length <= bits; length++) {
    const IpPrefix prefix = network_of({last, static_cast<std::uint8_t>(length)});
    const auto route = rib_.find(prefix);
    if (route != rib_.end()) found.push_back({prefix, value_of(route->second)});
  }
  return found;
}

// DPDK 22.11's FIBs go wrong where the address space ends: when a prefix that ends there changes and has
// another inside that ends there too, the walk over the gaps between those inside wraps to address 0, and the
// whole table gets the new next hop (0.0.0.0/1 and 128.0.0.0/1, then 0.0.0.0/0: a test shows it). So those
// are taken out before, and put back after; there are never more than the address has bits. False: something
// did not fit; then call again with what was there before.
bool Routes::change(const Change& change) {
  const std::vector<Change> others = at_the_end_of(change.destination);
  for (auto other = others.rbegin(); other != others.rend(); ++other)
    (void)apply_idle({other->destination, 0});
  if (!apply_idle(change) && change.value != 0) return false;
  return std::all_of(others.begin(), others.end(), [this](const Change& other) { return apply_idle(other); });
}

// Makes one side anew from the RIB. DPDK 22.11 loses count of its blocks when prefixes longer than /24 come
// and go around shorter ones, and says in the end that a table is full which is not.
void Routes::refresh(unsigned side) {
  rte_fib_free(std::exchange(fib4_[side], nullptr));
  rte_fib6_free(std::exchange(fib6_[side], nullptr));
  create(side);
  // Longer before shorter, so that the count errs on the safe side; but those at the end of the address space
  // last, and shorter before longer, for the reason above.
  std::vector<Change> all;
  for (const auto& [to, next_hop] : rib_) all.push_back({to, value_of(next_hop)});
  const auto rank = [](const Change& route) {
    const int length = route.destination.length;
    return ends_the_space(route.destination) ? length : length - 1000;
  };
  std::stable_sort(all.begin(), all.end(), [&](const Change& a, const Change& b) {
    const int ranks[] = {rank(a), rank(b)};
    return ranks[0] < 0 && ranks[1] < 0 ? ranks[0] > ranks[1] : ranks[0] < ranks[1];
  });
  for (const Change& route : all)
    if (!apply(side, route)) throw std::runtime_error("the route table has no room for what it held");
}

// False: it does not fit, not even into a table made anew; then the idle side has what was there before.
bool Routes::change_or_refresh(const Change& wanted) {
  if (change(wanted)) return true;
  refreshed_ = true;
  refresh(1 - live_);
  if (change(wanted)) return true;
  refresh(1 - live_);
  return false;
}

bool Routes::set(const IpPrefix& destination, NextHop next_hop) {
  const IpPrefix to = network_of(destination);
  const auto former = rib_.find(to);
  if (former != rib_.end() && former->second == next_hop) return true;
  bool& full = to.address.is_v4() ? full4_ : full6_;
  // Only a prefix longer than /24 needs a block; to find out that there is none takes long, so it is
  // remembered.
  const bool no_block = full && to.length > 24;
  if (former == rib_.end() && (rib_.size() >= size_.max_routes || no_block)) return false;
  const Value value = intern(next_hop);
  if (value == 0) return false;
  if (!change_or_refresh({to, value})) {
    release(value);
    full = true;
    return false;
  }
  if (former != rib_.end()) release(value_of(former->second));
  rib_[to] = next_hop;
  return true;
}

bool Routes::remove(const IpPrefix& destination) {
  const IpPrefix to = network_of(destination);
  const auto former = rib_.find(to);
  if (former == rib_.end()) return false;
  release(value_of(former->second));
  rib_.erase(former);
  (to.address.is_v4() ? full4_ : full6_) = false;
  if (!change({to, 0})) {
    refresh(1 - live_);
    refreshed_ = true;
  }
  return true;
}

void Routes::commit() {
  if (pending_.empty() && !refreshed_) return;
  live_ = 1 - live_;
  live4_.store(fib4_[live_], std::memory_order_release);
  live6_.store(fib6_[live_], std::memory_order_release);
  rcu_.wait();
  const auto apply_other = [this](const Change& change) { return apply(1 - live_, change); };
  if (refreshed_ || !std::all_of(pending_.begin(), pending_.end(), apply_other)) refresh(1 - live_);
  refreshed_ = false;
  pending_.clear();
  for (const Value value : released_)
    // A value released, taken again and released again stands here twice; the second time it is already gone.
    if (users_[value] == 0 && values_.erase(std::bit_cast<std::uint64_t>(next_hops_[value])) == 1)
      unused_.push_back(value);
  released_.clear();
}

const NextHop* Routes::exact(const IpPrefix& destination) const {
  const auto found = rib_.find(network_of(destination));
  return found == rib_.end() ? nullptr : &found->second;
}

NextHop Routes::find_one(const IpAddress& address) const noexcept {
  NextHop out;
  if (address.is_v4()) {
    const std::uint32_t ip = v4_host_order(address);
    find(&ip, &out, 1);
  } else if (address.is_v6()) {
    std::uint8_t ip[1][16];
    std::copy(address.bytes.begin(), address.bytes.end(), ip[0]);
    find6(ip, &out, 1);
  }
  return out;
}

Routes::Value Routes::intern(NextHop next_hop) {
  const auto key = std::bit_cast<std::uint64_t>(next_hop);
  const auto found = values_.find(key);
  if (found != values_.end()) {
    users_[found->second]++;
    return found->second;
  }
  if (unused_.empty()) return 0;
  const Value value = unused_.back();
  unused_.pop_back();
  next_hops_[value] = next_hop;
  values_.emplace(key, value);
  users_[value] = 1;
  return value;
}

void Routes::release(Value value) {
  if (--users_[value] == 0) released_.push_back(value);
}

}  // namespace espgate::dataplane
