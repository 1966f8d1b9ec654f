#include "dataplane/tables/neighbours.hpp"

#include <rte_errno.h>
#include <rte_hash.h>
#include <rte_jhash.h>
#include <rte_malloc.h>
#include <rte_memory.h>

#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>

namespace espgate::dataplane {

namespace {

// No padding: the hash reads all of its bytes.
struct Key {
  std::array<std::uint8_t, 16> address;
  std::uint8_t family;
  std::uint8_t port;
  std::uint8_t zero[2];
};
static_assert(sizeof(Key) == 20);

Key key_of(std::uint8_t port, const IpAddress& address) noexcept {
  return Key{address.bytes, static_cast<std::uint8_t>(address.family), port, {}};
}

std::string unique_name() {
  static std::atomic<unsigned> count{0};
  return "neighbours-" + std::to_string(count.fetch_add(1));
}

}  // namespace

Neighbours::Neighbours(Rcu& rcu) : rcu_(rcu) {
  const std::string name = unique_name();
  rte_hash_parameters parameters{};
  parameters.name = name.c_str();
  parameters.entries = kCapacity;
  parameters.key_len = sizeof(Key);
  parameters.hash_func = rte_jhash;
  parameters.socket_id = SOCKET_ID_ANY;
  // Without the extension table a cuckoo hash may refuse a key before it is full.
  parameters.extra_flag = RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF | RTE_HASH_EXTRA_FLAGS_EXT_TABLE;
  hash_ = rte_hash_create(&parameters);
  if (hash_ == nullptr)
    throw std::runtime_error(std::string("no DPDK memory for the neighbour table: ") +
                             rte_strerror(rte_errno));
  void* memory = rte_zmalloc("neighbours", sizeof(Neighbour) * kCapacity, alignof(Neighbour));
  if (memory == nullptr) {
    rte_hash_free(hash_);
    throw std::bad_alloc();
  }
  entries_ = static_cast<Neighbour*>(memory);
  std::uninitialized_value_construct_n(entries_, kCapacity);
}

Neighbours::~Neighbours() {
  rcu_.wait();  // what was retired refers to the hash
  rte_hash_free(hash_);
  rte_free(entries_);
}

NeighbourId Neighbours::find(std::uint8_t port, const IpAddress& address) const noexcept {
  const Key key = key_of(port, address);
  const int position = rte_hash_lookup(hash_, &key);
  return position < 0 ? kNoNeighbour : static_cast<NeighbourId>(position);
}

NeighbourId Neighbours::ensure(std::uint8_t port, const IpAddress& address) {
  const NeighbourId known = find(port, address);
  if (known != kNoNeighbour) return known;
  const Key key = key_of(port, address);
  const int position = rte_hash_add_key(hash_, &key);
  if (position < 0) return kNoNeighbour;
  Neighbour& entry = entries_[position];
  entry.port = port;
  entry.address = address;
  entry.used.store(0, std::memory_order_relaxed);
  set_state(static_cast<NeighbourId>(position), NeighbourState::incomplete);
  return static_cast<NeighbourId>(position);
}

void Neighbours::set_link(NeighbourId id, NeighbourState state, const std::uint8_t mac[6]) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, mac, 6);
  word |= std::uint64_t{static_cast<std::uint8_t>(state)} << 56;
  entries_[id].link.store(word, std::memory_order_release);
}

void Neighbours::set_state(NeighbourId id, NeighbourState state) noexcept {
  const std::uint64_t mac = entries_[id].link.load(std::memory_order_relaxed) & 0xffffffffffffULL;
  entries_[id].link.store(mac | std::uint64_t{static_cast<std::uint8_t>(state)} << 56,
                          std::memory_order_release);
}

void Neighbours::remove(NeighbourId id) {
  const Key key = key_of(entries_[id].port, entries_[id].address);
  const int position = rte_hash_del_key(hash_, &key);
  if (position < 0) return;
  // Not usable from now on, and the position is free for another key only when no worker can hold it.
  entries_[id].link.store(0, std::memory_order_release);
  rcu_.retire([hash = hash_, position] { rte_hash_free_key_with_position(hash, position); });
}

}  // namespace espgate::dataplane
