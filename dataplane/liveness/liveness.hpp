// Whether the far ends of tunnels are there: owns the BFD sessions and probes, sends for them into their
// tunnels, is given what comes back, and is asked by the groups. Of a tunnel with neither but with hold-down,
// IKE says so: it is there while there is an SA. Main thread only.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <unordered_map>
#include <utility>

#include "channel/messages.hpp"
#include "dataplane/control_link.hpp"
#include "dataplane/liveness/bfd.hpp"
#include "dataplane/liveness/bfd_datagram.hpp"
#include "dataplane/liveness/hold_down.hpp"
#include "dataplane/liveness/probe.hpp"
#include "dataplane/ports/outbox.hpp"
#include "dataplane/tables/forwarding.hpp"

namespace espgate::dataplane {

class Liveness {
 public:
  // All must outlive this.
  Liveness(Forwarding& tables, Outbox& outbox, ControlLink& control, std::uint64_t seed);

  // ok, or what is wrong with how a tunnel is to be watched.
  [[nodiscard]] static channel::CommandStatus check(const channel::SetTunnel& wanted) noexcept;
  // A checked tunnel was set: its watch begins, ends, or goes on, with other settings where they changed.
  void watch(const channel::SetTunnel& wanted, std::uint64_t now);
  void forget(std::uint32_t tunnel, std::uint64_t now);
  // Tunnels may have got or lost the SA that they send on.
  void look(std::uint64_t now);

  // A packet out of a tunnel to one of our addresses (data at a valid IP header, its note says which tunnel)
  // that may be of a session. True: it was, and is taken or dropped by name. False: it stays the caller's.
  [[nodiscard]] bool receive(rte_mbuf* packet, std::uint64_t now);
  // Sends and detects what is due. What came before `heard_until`, which is not after `now`, must have been
  // received before: silence is judged by that.
  void advance(std::uint64_t now, std::uint64_t heard_until);
  // What the tunnels carried so far, a few times a second: where packets only go out, the far end is asked.
  void look_at_traffic(const channel::InterfaceCounters* tunnels, std::uint64_t now);
  // When advance has something to do; ~0: never.
  [[nodiscard]] std::uint64_t next_deadline() const noexcept;

  // May a group use the tunnel, as far as its far end goes? Of a tunnel that is not watched: yes.
  [[nodiscard]] bool up(std::uint32_t tunnel) const noexcept;
  // Has any answer of `up` changed since the last call?
  [[nodiscard]] bool take_changed() noexcept { return std::exchange(changed_, false); }
  // To a new control process: how every watched tunnel is.
  void tell_all();

 private:
  struct Watched {
    std::uint32_t tunnel{0};
    channel::Watch wanted{};
    IpAddress local;  // of BFD's packets
    std::optional<bfd::Session> bfd;
    std::optional<Probe> probe;
    IpAddress probe_from;
    std::uint16_t identifier{0};  // of the probe's requests
    HoldDown hold;
    std::uint64_t sent{0};  // packets, when the counters were last looked at
    std::uint64_t received{0};
    unsigned one_way{0};  // so often in a row they only went out
    bool has_sa{false};
    bool up{false};
    bool excused{false};       // the last that the peer said was AdminDown
    std::uint64_t silence{0};  // us: the detection time that passed
    channel::TunnelLiveness told{};
    std::uint64_t deadline{bfd::Session::kNever};
  };

  // A session that has ended, and says so until the peer has had its time to hear it (RFC 5880
  // section 6.8.16).
  struct Farewell {
    bfd::Session bfd;
    IpAddress local;
    IpAddress peer;
    std::uint64_t until;
  };

  void set_bfd(Watched& watched, const channel::Watch& wanted, const IpAddress& local);
  void set_probe(Watched& watched, const channel::SetTunnel& wanted);
  void end_probe(Watched& watched);
  void receive_bfd(Watched& watched, rte_mbuf* packet, std::uint64_t now);
  [[nodiscard]] bool has_outbound(std::uint32_t tunnel) const noexcept;
  void note_sa(Watched& watched, std::uint64_t now);
  void serve(Watched& watched, std::uint64_t now);
  [[nodiscard]] bool receive_echo(rte_mbuf* packet, std::uint64_t now);
  void note_traffic(Watched& watched, std::uint64_t sent, std::uint64_t received, std::uint64_t now);
  void send_probe(Watched& watched, std::uint64_t now);
  void send_bfd(Watched& watched, std::uint64_t now);
  void say(bfd::Session& bfd, std::uint32_t tunnel, const IpAddress& local, const IpAddress& peer,
           std::uint64_t now);
  void say_farewells(std::uint64_t now);
  void judge(Watched& watched, std::uint64_t now);
  void tell(Watched& watched, channel::LivenessReason reason, std::uint64_t now);
  void schedule(Watched& watched, std::uint64_t when);
  [[nodiscard]] channel::LivenessReason complaint(const Watched& watched) const noexcept;
  [[nodiscard]] static channel::LivenessReason bfd_complaint(const Watched& watched) noexcept;
  [[nodiscard]] static std::uint32_t span_of(const Watched& watched, channel::LivenessReason reason,
                                             std::uint64_t now) noexcept;
  [[nodiscard]] std::uint32_t new_discriminator();
  [[nodiscard]] std::uint16_t new_identifier();

  Forwarding& tables_;
  Outbox& outbox_;
  ControlLink& control_;
  std::map<std::uint32_t, Watched> watched_;     // by tunnel
  std::map<std::uint32_t, Farewell> farewells_;  // by tunnel
  std::set<std::pair<std::uint64_t, std::uint32_t>> deadlines_;
  std::set<std::uint32_t> discriminators_;
  std::unordered_multimap<std::uint16_t, std::uint32_t> probes_;  // tunnels by their requests' identifier
  std::mt19937_64 random_;
  std::uint64_t heard_until_{0};
  bool changed_{false};
};

}  // namespace espgate::dataplane
