// Puts together outer packets that came in fragments (RFC 791 section 3.2, RFC 8200 section 4.5): ESP, and
// UDP, in which ESP or IKE may be, to our own addresses. Main thread only.
//
// Here, and not in the workers: a packet's fragments may come on different queues, and all but the first have
// neither SPI nor ports, so no worker is theirs. What comes unfragmented pays nothing for it; what comes in
// fragments is as fast as this one thread.
#pragma once

#include <rte_ip_frag.h>
#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <memory>

#include "dataplane/ports/known_peers.hpp"
#include "dataplane/ports/outbox.hpp"

namespace espgate::dataplane {

class Reassembly {
 public:
  // RFC 791 has 15 s, RFC 1122 section 3.3.2 at least 60 s, for hosts with little at stake. Fragments of a
  // packet leave one router one after the other, and what comes between them is reordering, of milliseconds.
  // The shorter the time, the less of the room is held by what will never be whole, by loss or by intent.
  static constexpr std::uint64_t kTimeoutNs = 2'000'000'000;
  static constexpr unsigned kFragments = RTE_LIBRTE_IP_FRAG_MAX_FRAG;  // of one packet
  // Fragments that wait: at most so many and at most this part of the packet buffers. Of those, sources that
  // are no tunnel's far end may have half, so that forged addresses don't keep the peers' fragments out; and
  // any one source a quarter.
  static constexpr unsigned kMost = 2048;
  static constexpr unsigned kPartOfBuffers = 8;
  static constexpr unsigned kPartOfStrangers = 2;
  static constexpr unsigned kPartOfSource = 4;

  // `outbox` and `peers` must outlive this; `seed` is random, so that nobody can aim at another source's
  // share. Throws std::runtime_error when there is no memory for the tables.
  Reassembly(Outbox& outbox, const KnownPeers& peers, std::uint64_t seed);

  // `fragment`, in one segment, is nothing but an IPv4 packet whose header was found valid, of ESP or UDP, or
  // such an IPv6 packet whose first extension header is the fragment header; it is taken. Returns the packet
  // that it completes, in as many segments as it had fragments, with the note of the first; else null: the
  // fragment waits, or was dropped, by itself or with the others of its packet:
  //   reassembly_malformed   an impossible length or offset; or the packet has overlapping fragments, one of
  //                          them twice, or more than kFragments
  //   reassembly_full        there is no room
  // `now`: CLOCK_MONOTONIC nanoseconds.
  // What is alone in its IPv6 fragment (RFC 6946) is returned at once.
  [[nodiscard]] rte_mbuf* add(rte_mbuf* fragment, std::uint64_t now) noexcept;

  // Drops, as reassembly_timeout, the fragments of packets of which the first to come did so kTimeoutNs ago.
  void advance(std::uint64_t now) noexcept;

  [[nodiscard]] unsigned room() const noexcept { return most_; }  // fragments
  [[nodiscard]] unsigned waiting() const noexcept { return waiting_; }

 private:
  struct FreeTable {
    void operator()(rte_ip_frag_tbl* table) const noexcept { rte_ip_frag_table_destroy(table); }
  };
  using Table = std::unique_ptr<rte_ip_frag_tbl, FreeTable>;
  static constexpr std::size_t kSources = 256;

  [[nodiscard]] bool has_room(TableId table, const IpAddress& source);
  [[nodiscard]] unsigned& waiting_of(const IpAddress& source) noexcept;
  [[nodiscard]] rte_mbuf* refuse(rte_mbuf* fragment, DropReason reason) noexcept;
  [[nodiscard]] rte_mbuf* meet(rte_ip_frag_tbl& table, rte_mbuf* fragment, std::uint64_t now) noexcept;
  void expire(rte_ip_frag_tbl& table, std::uint64_t now) noexcept;
  unsigned bury(DropReason reason) noexcept;
  void forget(rte_mbuf* packet) noexcept;

  Outbox& outbox_;
  const KnownPeers& peers_;
  std::uint64_t seed_;
  unsigned most_;
  unsigned waiting_{0};
  std::array<unsigned, kSources> waiting_by_source_{};
  // The library tells packets apart by addresses and identification alone; RFC 791 by the protocol, too.
  // Those of IPv6 never meet those of IPv4.
  Table esp_;
  Table udp_;
  rte_ip_frag_death_row row_{};  // what the library gives up; empty between two calls
};

}  // namespace espgate::dataplane
