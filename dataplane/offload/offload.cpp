#include "dataplane/offload/offload.hpp"

#include <algorithm>
#include <utility>

#include "channel/spi.hpp"

namespace espgate::dataplane {

namespace {

using channel::Direction;

// So many packets that the card should have opened and did not: it has lost the SA, or they come another way.
constexpr std::uint64_t kLostAfter = 64;

constexpr std::memory_order kRelaxed = std::memory_order_relaxed;

}  // namespace

Offload::~Offload() {
  tables_.rcu.wait();
  for (auto& [sa, entry] : outbound_)
    if (entry.held) draining_.push_back({std::move(entry.held), 0});
  for (auto& [sa, entry] : inbound_) take_back(entry);
  for (const Draining& gone : draining_) slots_[gone.held->port].card->forget(*gone.held);
}

void Offload::add(std::unique_ptr<Card> card, QueueOf queue_of) {
  Slot& slot = slots_[card->port()];
  slot = {std::move(card), std::move(queue_of), true};
  any_ = true;
}

Card* Offload::card_of(std::uint32_t port) noexcept {
  return port < slots_.size() && slots_[port].up ? slots_[port].card.get() : nullptr;
}

bool Offload::offer(Entry& entry, std::uint32_t port) {
  Card* const card = card_of(port);
  if (card == nullptr || !card->can(entry.sa)) return false;
  entry.held = card->hold(entry.sa);
  return entry.held != nullptr;
}

// What is not plain goes by the engine: of that, no card was tried.
void Offload::adopt(OutboundSa& sa, const channel::InstallSa& install) {
  if (any_ && sa.plain && !sa.scheme.esn()) {
    sa.plain = false;
    outbound_.insert_or_assign(&sa, Entry{.sa = describe_for_card(install, Direction::outbound), .held = {}});
  }
  lookaside_.adopt(sa, install);
}

void Offload::adopt(InboundSa& sa, const channel::InstallSa& install) {
  adopt_for_card(sa, install);
  const auto found = inbound_.find(&sa);
  if (found != inbound_.end() && found->second.held) return;
  lookaside_.adopt(sa, install);
}

namespace {

bool is_for_cards(const InboundSa& sa) noexcept {
  return sa.local.is_v4() && !sa.transport && !sa.scheme.esn();
}

}  // namespace

// Its packets come in by the port that has its local address.
void Offload::adopt_for_card(InboundSa& sa, const channel::InstallSa& install) {
  if (!any_ || !is_for_cards(sa)) return;
  const NextHop home = tables_.routes(sa.underlay).find_one(install.local);
  if (home.kind != NextHopKind::host || home.port >= slots_.size() || !slots_[home.port].queue_of) return;
  Entry entry{.sa = describe_for_card(install, Direction::inbound), .held = {}};
  if (!slots_[home.port].card->can(entry.sa)) return;
  entry.sa.queue = slots_[home.port].queue_of(channel::spi_worker(install.spi));
  sa.plain = false;
  sa.card.store(static_cast<std::uint8_t>(home.port + 1), kRelaxed);
  (void)offer(entry, home.port);
  inbound_.insert_or_assign(&sa, std::move(entry));
}

void Offload::moved(OutboundSa& sa, const IpAddress& remote, std::uint16_t remote_port) {
  const auto found = outbound_.find(&sa);
  if (found == outbound_.end()) return;
  Entry& entry = found->second;
  entry.sa.remote = remote;
  entry.sa.remote_port = remote_port;
  if (entry.held) drain(std::move(entry.held));
}

// An SA stays with its device: what that has of it would come out behind what a card is given now.
NextHop Offload::with_card(OutboundSa& sa, NextHop hop) {
  hop.card = 0;
  const bool with_device = lookaside_.has(sa);
  if (!with_device) offer_to_card(sa, hop);
  if (hop.kind != NextHopKind::gateway || hop.card != 0) return hop;
  if (with_device || lookaside_.take(sa)) hop.card = kSealedByDevice;
  return hop;
}

void Offload::offer_to_card(OutboundSa& sa, NextHop& hop) {
  const auto found = outbound_.find(&sa);
  if (found == outbound_.end()) return;
  Entry& entry = found->second;
  if (entry.held && (hop.kind != NextHopKind::gateway || entry.held->port != hop.port))
    drain(std::move(entry.held));
  if (hop.kind != NextHopKind::gateway) return;
  if (!entry.held && offer(entry, hop.port)) sa.session.store(entry.held.get(), std::memory_order_release);
  if (entry.held) hop.card = kSealedByCard;
}

// A worker may be about to use it until its next quiet point, and the card until its queue is empty.
void Offload::drain(std::shared_ptr<HeldByCard> held) {
  tables_.rcu.retire([this, held = std::move(held)] { draining_.push_back({held, 0}); });
}

void Offload::release(OutboundSa& sa) {
  lookaside_.release(sa);
  const auto found = outbound_.find(&sa);
  if (found == outbound_.end()) return;
  if (found->second.held) drain(std::move(found->second.held));
  outbound_.erase(found);
}

void Offload::release(InboundSa& sa) {
  lookaside_.release(sa);
  const auto found = inbound_.find(&sa);
  if (found == inbound_.end()) return;
  take_back(found->second);
  inbound_.erase(found);
}

// From the worker's next packet on it is software's.
void Offload::take_back(OutboundSa& sa, Entry& entry) {
  NextHop hop = sa.outer.load(kRelaxed);
  hop.card = 0;
  sa.outer.store(hop, std::memory_order_release);
  drain(std::move(entry.held));
}

// What the card has opened already still comes with its mark, so the SA goes on believing it.
void Offload::take_back(Entry& entry) {
  if (!entry.held) return;
  slots_[entry.held->port].card->forget(*entry.held);
  entry.held.reset();
}

void Offload::port_went(std::uint32_t port, bool up) {
  if (port >= slots_.size() || !slots_[port].card) return;
  slots_[port].up = up;
  const auto is_there = [port](const Entry& entry) { return entry.held && entry.held->port == port; };
  for (auto& [sa, entry] : outbound_) {
    if (!up && is_there(entry)) take_back(*sa, entry);
    if (up) entry.again.forget();
  }
  for (auto& [sa, entry] : inbound_) {
    if (!up && is_there(entry)) take_back(entry);
    if (up) entry.again.forget();
  }
}

void Offload::remove(std::uint32_t port) {
  Slot& slot = slots_[port];
  std::erase_if(draining_, [&](const Draining& gone) {
    if (gone.held->port != port) return false;
    slot.card->forget(*gone.held);
    return true;
  });
  slot.card.reset();
}

void Offload::poll(std::uint64_t now) {
  lookaside_.poll(now);
  if (!any_) return;
  for (Draining& gone : draining_)
    if (gone.until_ns == 0) gone.until_ns = now + kDrain;
  for (; !draining_.empty() && draining_.front().until_ns <= now; draining_.pop_front())
    slots_[draining_.front().held->port].card->forget(*draining_.front().held);
  unsigned offers = kOffersAtOnce;
  poll_outbound(now, offers);
  poll_inbound(now, offers);
}

void Offload::poll_outbound(std::uint64_t now, unsigned& offers) {
  for (auto& [sa, entry] : outbound_) {
    if (entry.held && entry.held->lost.load(kRelaxed)) {
      take_back(*sa, entry);
      entry.again.postpone(now);
    }
    const NextHop hop = sa->outer.load(kRelaxed);
    if (entry.held || !entry.again.is_due(now) || offers == 0 || hop.kind != NextHopKind::gateway ||
        card_of(hop.port) == nullptr)
      continue;
    --offers;
    sa->outer.store(with_card(*sa, hop), std::memory_order_release);
    if (!entry.held) entry.again.postpone(now);
  }
}

bool Offload::was_lost(const InboundSa& sa, Entry& entry) noexcept {
  const std::uint64_t packets = sa.packets.load(kRelaxed);
  const std::uint64_t by_card = sa.by_card.load(kRelaxed);
  if (by_card != entry.by_card) {
    entry.by_card = by_card;
    entry.packets = packets;
    entry.again.shorten();
    return false;
  }
  if (packets - entry.packets < kLostAfter) return false;
  entry.packets = packets;
  return true;
}

void Offload::poll_inbound(std::uint64_t now, unsigned& offers) {
  for (auto& [sa, entry] : inbound_) {
    if (was_lost(*sa, entry) && entry.held) {
      take_back(entry);
      entry.again.postpone(now);
    }
    const std::uint32_t port = sa->card.load(kRelaxed) - 1U;
    if (entry.held || !entry.again.is_due(now) || offers == 0 || card_of(port) == nullptr) continue;
    --offers;
    if (!offer(entry, port)) entry.again.postpone(now);
  }
}

std::size_t Offload::sessions() const noexcept {
  const auto held = [](const auto& entries) {
    return std::count_if(entries.begin(), entries.end(),
                         [](const auto& row) { return row.second.held != nullptr; });
  };
  return static_cast<std::size_t>(held(outbound_) + held(inbound_));
}

}  // namespace espgate::dataplane
