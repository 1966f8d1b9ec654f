// The kernel's twins of our interfaces: a TUN for each port and tunnel that is to have one, with its
// addresses, MTU and state. What comes for this gateway and is served by nobody here is given to the twin of
// the interface by which it came; what the kernel sends out of a twin leaves by that interface. So programs
// of this machine (a routing daemon, ssh, ping) work with our interfaces as with others. Main thread only.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "channel/counters.hpp"
#include "channel/messages.hpp"
#include "conf/schema.hpp"
#include "dataplane/kernel/links.hpp"
#include "dataplane/kernel/space.hpp"
#include "dataplane/kernel/tun.hpp"
#include "dataplane/ports/interfaces.hpp"
#include "dataplane/ports/outbox.hpp"
#include "dataplane/ports/rate_limit.hpp"
#include "dataplane/ports/resolver.hpp"

namespace espgate::dataplane {

class Twins {
 public:
  // Into the kernel: some hundred Mb/s of large packets.
  static constexpr RateLimits kLimits{
      .rate = 50000, .burst = 10000, .source_rate = 25000, .source_burst = 5000};
  // A twin that was there before keeps its carrier for so long, though its tunnel has no SA yet: routing
  // daemons keep their sessions over a restart of this process.
  static constexpr std::uint64_t kPatience = 30'000'000'000;  // ns

  // `owner` marks the twins as this gateway's, and no other's. All else must outlive this.
  Twins(std::string owner, const Forwarding& tables, Resolver& resolver, const Interfaces& interfaces,
        Outbox& outbox, std::uint64_t seed);
  Twins(const Twins&) = delete;
  Twins& operator=(const Twins&) = delete;

  // The twins of this table's interfaces live in this network namespace of `ip netns`; else there can be none
  // but the main table's, which are where this process is. Before the first twin. Throws std::runtime_error
  // with words.
  void settle_in(TableId table, const std::string& space);
  // Where a table's twins live; null: nowhere.
  [[nodiscard]] const Space* space_of(TableId table) const noexcept;

  // Makes the twin of a port, or takes it over from a process before. Throws std::runtime_error with words.
  void add_port(std::uint8_t port, const conf::Port& configured);
  void port_changed(std::uint8_t port, bool up) noexcept;
  // What the tunnel says of its twin becomes true; `mtu` is its interface's. False: the kernel did not do it,
  // and the log says why.
  [[nodiscard]] bool set_tunnel(const channel::SetTunnel& wanted, std::uint16_t mtu, std::uint64_t now);
  void remove_tunnel(std::uint32_t index) noexcept;
  void set_mtu(std::uint32_t tunnel, std::uint16_t mtu) noexcept;
  // Gives each tunnel's twin the state of its tunnel.
  using IsUp = std::function<bool(std::uint32_t tunnel)>;
  void follow(const IsUp& is_up, std::uint64_t now) noexcept;
  // Ends the twins that a process before has left and nobody wants now.
  void end_others() noexcept;
  // Gives what keeps each twin alive to whoever is to keep it: the `receiver`th, who gets all, or what it has
  // not got yet. `give` says whether it took it; what it did not take comes again with the next call.
  using Give = std::function<bool(const std::string& name, int fd)>;
  void entrust(std::uint64_t receiver, const Give& give);

  // Whose twin the kernel's interface of this number is, among those of a table: a tunnel's is `tunnel`, a
  // port's `connected` to it.
  [[nodiscard]] std::optional<NextHop> behind(TableId table, int interface) const noexcept;
  // The kernel's number of the twin of a tunnel, or of the port that a gateway is on, if its interface is in
  // this table; 0: there is none.
  [[nodiscard]] int index_of(TableId table, NextHop hop) const noexcept;
  // Changes when a twin comes or goes; 0: there has been none.
  [[nodiscard]] std::uint64_t changes() const noexcept { return changes_; }
  // Somebody has set a kernel interface of this table down or up. A twin that is up again has its IPv6
  // addresses again, which the kernel has taken from it, and `lost_at` says that it took the routes.
  void link_changed(TableId table, int interface, bool up) noexcept;
  // The kernel may have taken the routes by this interface of a table; 0: by any of them.
  void note_lost(TableId table, int interface) noexcept;
  // Counts that; and what it was when it last happened to this interface's twin.
  [[nodiscard]] std::uint64_t losses() const noexcept { return losses_; }
  [[nodiscard]] std::uint64_t lost_at(TableId table, int interface) const noexcept;
  // Called when a tunnel has no twin in this table any more.
  void when_gone(TableId table, std::function<void(std::uint32_t tunnel)> tell) {
    homes_[table].gone = std::move(tell);
  }

  // A packet to this gateway (data at a valid IP header, its note says where it came from) goes to the
  // kernel. False: there is no twin to take it. Else it takes the packet.
  [[nodiscard]] bool take(rte_mbuf* packet, std::uint64_t now);
  // Sends on what the kernel has sent; a bounded number of packets a call. Returns how many.
  unsigned serve(std::uint64_t now);
  // Readable when there is something to serve.
  [[nodiscard]] int wake_fd() const noexcept { return epoll_.get(); }
  // This descriptor wakes, too.
  void wake_by(int fd) noexcept;

 private:
  struct Twin {
    Twin(const std::string& its_name, std::uint8_t its_port, std::uint32_t its_tunnel, TableId its_table)
        : tun(its_name), name(its_name), port(its_port), tunnel(its_tunnel), table(its_table) {}
    Tun tun;
    std::string name;
    std::uint8_t port;     // Note::kNoPort: it is a tunnel's
    std::uint32_t tunnel;  // Note::kNoTunnel: it is a port's
    TableId table;         // of the interface
    int index{0};
    std::uint16_t mtu{0};
    bool carrier{false};
    bool set_down{false};      // by somebody
    std::uint64_t lost_at{0};  // of losses_
    std::uint64_t patience_until{0};
    std::uint64_t receiver{0};  // that has got its keepsake
    std::vector<IpPrefix> addresses;
  };
  using TwinPtr = std::unique_ptr<Twin>;

  // What a table has in the kernel.
  struct Home {
    std::optional<Space> space;
    std::unique_ptr<Links> links;                // from the first twin on
    std::map<std::string, KernelLink> existing;  // when the first was made, but for those taken over since
    std::unordered_map<int, NextHop> behind;     // by the kernel's number of the twin
    std::function<void(std::uint32_t tunnel)> gone;
  };

  void look_around(Home& home);
  [[nodiscard]] bool is_ours(const KernelLink& link) const;
  // What a twin is of, and like.
  struct Wanted {
    std::string name;
    std::uint8_t port;
    std::uint32_t tunnel;
    TableId table;
    std::string interface;
    std::uint16_t mtu;
    std::vector<IpPrefix> addresses;
  };
  [[nodiscard]] TwinPtr make(const Wanted& wanted);
  void set_addresses(Twin& twin, const std::vector<IpPrefix>& wanted);
  void set_carrier(Twin& twin, bool up) noexcept;
  [[nodiscard]] const Twin* twin_for(const Note& note) const noexcept;
  [[nodiscard]] Twin* twin_at(TableId table, int interface) const noexcept;
  [[nodiscard]] unsigned drain(Twin& twin, std::uint64_t now);
  void send(const Twin& twin, rte_mbuf* packet, std::uint64_t now);
  void send_by_port(std::uint8_t port, const IpAddress& to, rte_mbuf* packet, std::uint64_t now);
  void lose(const Twin& twin) noexcept;
  void remove_link(const Home& home, int index, const std::string& name) noexcept;
  void note_gone(const Twin& twin) noexcept;

  std::string owner_;
  const Forwarding& tables_;
  Resolver& resolver_;
  const Interfaces& interfaces_;
  Outbox& outbox_;
  RateLimiter limit_;
  channel::Fd epoll_;
  std::array<Home, kMaxTables> homes_;
  std::array<TwinPtr, channel::kMaxPorts> ports_;
  std::unordered_map<std::uint32_t, TwinPtr> tunnels_;
  std::uint64_t changes_{0};
  std::uint64_t losses_{0};
  bool ended_others_{false};
  bool to_entrust_{false};
  std::uint64_t receiver_{0};
};

}  // namespace espgate::dataplane
