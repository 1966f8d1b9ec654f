// Which SAs are in a card (inline crypto), and when. Every SA can always be done in software; that a card
// does it is one bit of the outer next hop (outbound) or one byte (inbound) that its worker reads with every
// packet. What no card has a crypto device may (lookaside.hpp). Here it is decided: an SA goes into the card
// of the port it leaves by or comes in on if that card takes it, comes out when the route or the port changes
// or the card lost it, and is offered again later. Main thread only.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>

#include "channel/messages.hpp"
#include "dataplane/offload/backoff.hpp"
#include "dataplane/offload/card.hpp"
#include "dataplane/offload/lookaside.hpp"
#include "dataplane/tables/forwarding.hpp"

namespace espgate::dataplane {

class Offload {
 public:
  // How long a session stays behind its last use: what a port's transmit queue still holds is sealed
  // meanwhile.
  static constexpr std::uint64_t kDrain = 250'000'000;  // ns
  static constexpr unsigned kOffersAtOnce = 16;

  explicit Offload(Forwarding& tables) : tables_(tables), lookaside_(tables) {}
  ~Offload();  // before the ports are closed; the workers must have stopped
  Offload(const Offload&) = delete;
  Offload& operator=(const Offload&) = delete;

  // Before there are SAs. `queue_of`: the receive queue of a worker on that port, if it has one.
  using QueueOf = std::function<std::optional<std::uint16_t>(std::uint32_t worker)>;
  void add(std::unique_ptr<Card> card, QueueOf queue_of);
  // Crypto devices, for what no card takes.
  [[nodiscard]] Lookaside& lookaside() noexcept { return lookaside_; }

  // An SA was prepared from a command. Inbound: it is in the card, or with a device, on return, if one takes
  // it.
  void adopt(OutboundSa& sa, const channel::InstallSa& install);
  void adopt(InboundSa& sa, const channel::InstallSa& install);
  // The SA's far end is elsewhere now: its session, which was told of the former one, goes; with_card offers
  // the SA anew.
  void moved(OutboundSa& sa, const IpAddress& remote, std::uint16_t remote_port);
  // The outer next hop to be published for the SA: `hop`, and whether that port's card seals.
  [[nodiscard]] NextHop with_card(OutboundSa& sa, NextHop hop);
  // The SA is not published any more; workers may hold it until the grace period is over.
  void release(OutboundSa& sa);
  void release(InboundSa& sa);

  // The port's card is about to be taken out; `add` tells when there is one again. port_went has said so
  // before, and no worker can be using its sessions any more.
  void remove(std::uint32_t port);
  // A port that went down may come back as a card that knows nothing.
  void port_went(std::uint32_t port, bool up);
  // A few times a second: offers again, takes back what cards lost, lets go of sessions whose time is over.
  void poll(std::uint64_t now);

  [[nodiscard]] std::size_t sessions() const noexcept;  // of SAs; without those that drain

 private:
  struct Entry {
    CardSa sa;
    std::shared_ptr<HeldByCard> held;
    BackOff again{};
    std::uint64_t packets{0};  // inbound, at the last poll
    std::uint64_t by_card{0};
  };
  struct Slot {
    std::unique_ptr<Card> card;
    QueueOf queue_of;  // stays while the card is away
    bool up{true};
  };
  struct Draining {
    std::shared_ptr<HeldByCard> held;
    std::uint64_t until_ns;  // 0: its grace period has just ended
  };

  [[nodiscard]] Card* card_of(std::uint32_t port) noexcept;
  [[nodiscard]] bool offer(Entry& entry, std::uint32_t port);
  void adopt_for_card(InboundSa& sa, const channel::InstallSa& install);
  void offer_to_card(OutboundSa& sa, NextHop& hop);
  void drain(std::shared_ptr<HeldByCard> held);
  void take_back(OutboundSa& sa, Entry& entry);
  void take_back(Entry& entry);
  [[nodiscard]] bool was_lost(const InboundSa& sa, Entry& entry) noexcept;
  void poll_outbound(std::uint64_t now, unsigned& offers);
  void poll_inbound(std::uint64_t now, unsigned& offers);

  Forwarding& tables_;
  Lookaside lookaside_;
  std::array<Slot, channel::kMaxPorts> slots_;
  bool any_{false};
  std::map<OutboundSa*, Entry> outbound_;
  std::map<InboundSa*, Entry> inbound_;
  std::deque<Draining> draining_;
};

}  // namespace espgate::dataplane
