// Where a packet goes next: what a route lookup answers. 8 bytes, so that it can be swapped atomically.
#pragma once

#include <bit>
#include <cstdint>

namespace espgate::dataplane {

using NeighbourId = std::uint32_t;
inline constexpr NeighbourId kNoNeighbour = 0xffffffff;

enum class NextHopKind : std::uint8_t {
  none = 0,   // no route
  host,       // one of this gateway's own addresses
  connected,  // on `port`'s own network: the destination itself is the neighbour
  gateway,    // neighbour `index` on `port`
  tunnel,     // tunnel `index`
  group,      // group `index`; its members are tunnels and gateways
  blackhole,
};

// Of NextHop::card; 0: the engine.
inline constexpr std::uint16_t kSealedByCard = 1;    // of `port`
inline constexpr std::uint16_t kSealedByDevice = 2;  // a crypto device

// Aligned so that every compiler loads and stores an atomic one as a word.
struct alignas(8) NextHop {
  NextHopKind kind{NextHopKind::none};
  std::uint8_t port{0};
  std::uint16_t card{0};  // of an outbound SA: who seals (offload/offload.hpp)
  std::uint32_t index{0};
  // As a word: every packet sent is asked whether it goes where the one before it went.
  bool operator==(const NextHop& other) const noexcept {
    return std::bit_cast<std::uint64_t>(*this) == std::bit_cast<std::uint64_t>(other);
  }
};
static_assert(sizeof(NextHop) == 8);

}  // namespace espgate::dataplane
