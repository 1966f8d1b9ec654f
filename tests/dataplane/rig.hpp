// One gateway without ports: its tables as commands.cpp fills them, its workers, and ways to put a frame in
// and to see all that came out. Every mbuf must be back in its pool when a rig is destroyed.
//
//   inside (port 1, 10.<n>.0.1, 2001:db8:<n>::1)  |gateway n|  outside (port 0, 192.0.2.<n>)
//   neighbours: .2 on either side, resolved.
#pragma once

#include <rte_mbuf.h>
#include <rte_ring.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "channel/region.hpp"
#include "dataplane/tables/forwarding.hpp"
#include "dataplane/worker.hpp"
#include "tests/dataplane/frames.hpp"

namespace espgate::test {

using channel::DropReason;
using dataplane::Errand;
using dataplane::Exception;
using dataplane::NextHop;
using dataplane::NextHopKind;

inline constexpr std::uint8_t kOutside = 0;
inline constexpr std::uint8_t kInside = 1;
inline constexpr std::uint8_t kOnVlan = 2;  // a sub-interface, once add_vlan has made it
inline constexpr std::uint8_t kPorts = 3;
// Bytes of a buffer of the rigs' pools behind the headroom: what ports of MTU 9000 have.
inline constexpr std::uint16_t kRigRoom = 9216;

// DPDK without huge pages, once for the process.
void start_eal();

struct Raised {
  Exception why;
  dataplane::Note note;
  Octets data;
};

struct Output {
  std::vector<Octets> frames[kPorts];  // by port
  std::vector<Raised> raised;          // to the main thread, signs of life behind the others
  std::vector<Octets> ike;
};

// A packet buffer of `pool` whose memory is a heap block of its own: `headroom` bytes, these, `tailroom`, and
// not one more, so that a sanitizer sees what is read or written beside it.
rte_mbuf* make_on_heap(rte_mempool* pool, const Octets& bytes, std::uint16_t headroom,
                       std::uint16_t tailroom);

class Rig {
 public:
  explicit Rig(unsigned number = 1, unsigned workers = 1, std::uint32_t further_tables = 0);
  ~Rig();
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;

  dataplane::Forwarding& tables() { return *tables_; }
  dataplane::Worker& worker(unsigned index = 0) { return *workers_[index]; }
  [[nodiscard]] Mac mac(std::uint8_t port) const { return tables_->ports[port].mac; }
  [[nodiscard]] IpAddress outside() const { return tables_->ports[kOutside].address4; }

  // Makes kOnVlan of `parent`'s frames with this tag; its network is 10.9.0.0/16, its neighbour 10.9.0.2.
  void add_vlan(std::uint8_t parent, std::uint16_t vlan);
  [[nodiscard]] const channel::InterfaceCounters& counters(std::uint8_t port) {
    return worker().counters->ports[port];
  }
  void route(std::string_view prefix, NextHop hop, TableId table = kMainTable);
  void set_tunnel(std::uint32_t index, std::uint16_t mtu = 1400, bool clamp_mss = false);
  NextHop outside_gateway() const { return {NextHopKind::gateway, kOutside, 0, outside_neighbour_}; }
  // An SA pair's command between this gateway and 192.0.2.<peer>, keys made from `seed`.
  [[nodiscard]] channel::InstallSa command(crypto::EspSuite suite, unsigned peer, bool udp, std::uint32_t spi,
                                           unsigned seed = 1) const;
  dataplane::OutboundSa& install_outbound(const channel::InstallSa& install, std::uint32_t slot = 0);
  dataplane::InboundSa& install_inbound(const channel::InstallSa& install);
  void remove_inbound(std::uint32_t spi);

  // A frame whose buffer is a heap block of its own: `headroom` bytes, the frame, `tailroom` bytes, and not
  // one more.
  rte_mbuf* make(const Octets& bytes, std::uint16_t headroom = dataplane::kHeadroom,
                 std::uint16_t tailroom = 64);
  // One frame in several segments, each in a heap block of exactly its size; the first with headroom.
  rte_mbuf* make_chain(const std::vector<Octets>& segments);
  Output receive(std::uint8_t port, const std::vector<Octets>& frames, unsigned worker = 0);
  Output receive(std::uint8_t port, std::vector<rte_mbuf*> frames, unsigned worker = 0);
  // An IP packet to this gateway's MAC address on `port`.
  Output receive_ip(std::uint8_t port, const Octets& ip, unsigned worker = 0);
  [[nodiscard]] Octets frame_to(std::uint8_t port, const Octets& ip) const;
  Output errand(Errand why, const Octets& data, std::uint32_t tunnel, std::uint8_t port, unsigned worker = 0);
  Output collect(unsigned worker = 0);

  [[nodiscard]] std::uint64_t drops(DropReason reason) const;  // of all workers
  [[nodiscard]] std::uint64_t all_drops() const;
  [[nodiscard]] unsigned buffers_out() const;  // mbufs that are not in the pool

 private:
  void add_port(std::uint8_t port, unsigned number);
  void add_worker(unsigned index);
  // Those of the SA that is made anew at this place; the former one's are gone.
  const dataplane::SelectorSet& selectors_of(const void* sa, const channel::InstallSa& install);
  [[nodiscard]] Octets take(rte_mbuf* mbuf) const;

  rte_mempool* pool_;
  std::unique_ptr<channel::CountersPage> page_;
  std::unique_ptr<dataplane::Forwarding> tables_;
  std::vector<std::unique_ptr<dataplane::Worker>> workers_;
  std::vector<dataplane::Worker*> worker_list_;
  std::vector<rte_ring*> rings_;
  std::map<const void*, std::unique_ptr<dataplane::SelectorSet>> selectors_;  // by SA
  std::vector<std::unique_ptr<dataplane::Tunnel>> tunnels_;
  std::uint32_t outside_neighbour_{0};
  crypto::BulkEngine engine_;
};

// Selectors of all of IPv4 and IPv6 to all of both.
[[nodiscard]] channel::Selectors any_to_any();
[[nodiscard]] channel::Selector selector(std::string_view first, std::string_view last,
                                         std::uint8_t protocol = 0, std::uint16_t first_port = 0,
                                         std::uint16_t last_port = 0xffff);

// What an SA is like besides its suite.
struct Form {
  bool udp{false};
  bool outer6{false};  // between 2001:db8:ff::1 and ::2, instead of 192.0.2.1 and .2
  bool transport{false};
  bool esn{false};
};
void set_form(channel::InstallSa& install, Form form, unsigned own, unsigned peer);

// Two gateways, 1 and 2, with one tunnel between them: inside networks are reached through it.
struct Pair {
  // `change` sees each of the four commands before it is carried out.
  using Change = std::function<void(channel::InstallSa&)>;
  explicit Pair(crypto::EspSuite suite, Form form = {}, const Change& change = {});
  [[nodiscard]] dataplane::OutboundSa& outbound() { return *left.tables().tunnels[0].outbound; }
  [[nodiscard]] dataplane::InboundSa& inbound() { return right.tables().inbound[0].slots[5]; }
  Rig left{1};
  Rig right{2};
  // What `from` gives out on its outside is received by `to`; returns that one's output.
  static Output carry(const Output& from, Rig& to);
};

// Seals any plaintext (with its trailer) as the next hop 192.0.2.<peer> of `rig` would: an outer IP packet,
// which in transport mode is the header of what is sealed.
[[nodiscard]] Octets sealed(const channel::InstallSa& install, std::uint64_t sequence,
                            const Octets& plaintext, unsigned tos = 0);
// Inner packet, padding of 1, 2, 3..., pad length and next header.
[[nodiscard]] Octets with_trailer(const Octets& inner, crypto::EspSuite suite, unsigned next_header);

}  // namespace espgate::test
