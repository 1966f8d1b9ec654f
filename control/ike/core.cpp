#include "control/ike/core.hpp"

#include <algorithm>

#include "conf/comparable.hpp"
#include "control/ike/identity.hpp"
#include "control/ike/sa.hpp"

namespace espgate::ike {
namespace {

using std::chrono::milliseconds;

// After this long the peer either has our answer or has given up asking: its SAs are gone then, or will be.
constexpr auto kSendLater = std::chrono::seconds(30);

std::string address_key(TableId table, const IpAddress& local, const IpAddress& remote) {
  std::string key(local.bytes.begin(), local.bytes.end());
  key.append(remote.bytes.begin(), remote.bytes.end());
  key += static_cast<char>(local.family);
  key += static_cast<char>(remote.family);
  key += static_cast<char>(table);
  return key;
}

std::string identity_key(const conf::Tunnel& tunnel) {
  std::string key;
  for (const conf::Identity* id : {&tunnel.local_id, &tunnel.remote_id}) {
    key += static_cast<char>(id->type);
    const ByteVector data = conf::comparable(*id);
    key += std::to_string(data.size()) + ":";
    key.append(data.begin(), data.end());
  }
  return key;
}

}  // namespace

Core::Core(const std::vector<conf::Tunnel>& tunnels, Keeper& the_keeper, Host& the_host,
           const Settings& the_settings, Time start)
    : settings(the_settings),
      keeper(the_keeper),
      host(the_host),
      now(start),
      slots(tunnels),
      tunnels_(tunnels.size()) {
  jitter_.seed(settings.random_seed != 0 ? settings.random_seed : std::random_device{}());
  std::unordered_map<std::string, std::vector<TunnelId>> by_identities;
  for (TunnelId id = 0; id < tunnels.size(); ++id) {
    tunnels_[id].config = &tunnels[id];
    if (tunnels[id].manual) continue;  // nobody's to negotiate
    if (tunnels[id].parent_index) {
      tunnels_[*tunnels[id].parent_index].siblings.push_back(id);
      continue;
    }
    if (tunnels[id].first_slot.value_or(id) != id) continue;  // the first one stands for all
    by_addresses_[address_key(tunnels[id].table.id, tunnels[id].local, tunnels[id].remote)].push_back(id);
    if (tunnels[id].first_slot) continue;
    by_identities[identity_key(tunnels[id])].push_back(id);
  }
  for (const auto& [key, ids] : by_identities) {
    for (const TunnelId id : ids)
      std::copy_if(ids.begin(), ids.end(), std::back_inserter(tunnels_[id].same_identities),
                   [id](TunnelId other) { return other != id; });
  }
}

Core::~Core() = default;

std::vector<TunnelId> Core::candidates(const Endpoint& local, const IpAddress& remote) const {
  std::vector<TunnelId> exact = between(local, remote);
  return exact.empty() ? templates(local) : exact;
}

std::vector<TunnelId> Core::between(const Endpoint& local, const IpAddress& remote) const {
  const auto found = by_addresses_.find(address_key(local.table, local.address, remote));
  return found == by_addresses_.end() ? std::vector<TunnelId>{} : found->second;
}

std::uint64_t Core::fresh_ike_spi() const {
  for (;;) {
    std::array<std::uint8_t, 8> bytes{};
    crypto::random_bytes(bytes);
    std::uint64_t spi = 0;
    for (const std::uint8_t byte : bytes) spi = spi << 8 | byte;
    if (spi != 0 && !sas_.contains(spi)) return spi;  // zero means "none yet" (RFC 7296 section 3.1)
  }
}

IkeSa& Core::adopt(std::unique_ptr<IkeSa> sa) {
  IkeSa& out = *sa;
  sas_.emplace(out.our_spi(), std::move(sa));
  return out;
}

IkeSa* Core::find_sa(std::uint64_t our_spi) const {
  const auto found = sas_.find(our_spi);
  return found == sas_.end() ? nullptr : found->second.get();
}

void Core::join_tunnel(IkeSa& sa, TunnelId id) { tunnels_[id].sas.push_back(&sa); }

void Core::leave_tunnel(IkeSa& sa) {
  if (!sa.tunnel()) return;
  std::erase(tunnels_[*sa.tunnel()].sas, &sa);
  settle_slot(*sa.tunnel());
}

void Core::settle_slot(TunnelId id) {
  const TunnelState& state = tunnels_[id];
  const bool empty = state.sas.empty() && state.children.empty() && state.draining.empty();
  if (is_slot(id) && empty && state.initial_contact) slots.release(id);
}

std::string Core::peer_of(TunnelId id) const {
  const IdPayload* const holder = slots.holder(id);
  return holder != nullptr ? text_of(*holder) : tunnels_[id].config->remote_id.text;
}

void Core::bury(IkeSa& sa) {
  leave_tunnel(sa);
  auto node = sas_.extract(sa.our_spi());
  if (!node.empty()) graveyard_.push_back(std::move(node.mapped()));
}

void Core::empty_graveyard() {
  graveyard_.clear();
  child_graveyard_.clear();
}

ChildSa& Core::install_child(IkeSa& owner, ChildInstall install, crypto::DhGroup group) {
  auto made = std::make_unique<ChildSa>(timers, std::move(install), group);
  ChildSa& child = *made;
  child.owner = &owner;
  child.established = now;
  children_.emplace(child.spi(), std::move(made));
  owner.children.push_back(&child);
  TunnelState& state = tunnels_[child.install.tunnel];
  state.children.push_back(&child);
  if (is_slot(child.install.tunnel))
    claims.add(state.config->overlay.id, child.install.tunnel, child.install.remote_selectors);
  host.install_inbound(child.install);
  const auto lifetime = state.config->child_lifetime;
  if (lifetime.count() > 0) {
    child.rekey_at = now + rekey_after(lifetime);
    child.expires_at = now + lifetime;
    child.rekey.set(child.rekey_at, [&child] { child.owner->rekey_child(child); });
    child.expire.set(child.expires_at, [&child] { child.owner->lifetime_over(child); });
  }
  return child;
}

ChildSa* Core::find_child(std::uint32_t inbound_spi) const {
  const auto found = children_.find(inbound_spi);
  return found == children_.end() ? nullptr : found->second.get();
}

// What is about to go does not take over from what stays; it steps in when that goes first.
void Core::start_sending(ChildSa& child) {
  const ChildSa* present = tunnels_[child.install.tunnel].sending;
  const bool stays_aside = present != nullptr && present->owner != child.owner && child.owner->is_redundant();
  child.later.cancel();
  if (!child.sending && !stays_aside) send_on(child);
}

void Core::send_on(ChildSa& child) {
  TunnelState& state = tunnels_[child.install.tunnel];
  host.install_outbound(child.install);
  child.install.inbound_keys = crypto::SecretBytes{};
  child.install.outbound_keys = crypto::SecretBytes{};
  child.sending = true;
  const bool first = state.sending == nullptr;
  state.sending = &child;
  if (!first) return;
  state.story.forget_heard();
  host.tunnel_up(child.install.tunnel);
}

void Core::send_later(ChildSa& child) {
  child.later.set(now + kSendLater, [this, &child] { start_sending(child); });
}

void Core::drain(TunnelId id, std::uint32_t spi) {
  auto& draining = tunnels_[id].draining;
  draining.try_emplace(spi, timers).first->second.set(now + kDrain, [this, id, spi] {
    host.remove_inbound(id, spi);
    tunnels_[id].draining.erase(spi);
    settle_slot(id);
  });
}

void Core::flush_drains(TunnelId id) {
  for (const auto& [spi, timer] : tunnels_[id].draining) host.remove_inbound(id, spi);
  tunnels_[id].draining.clear();
  settle_slot(id);
}

namespace {

bool may_follow(const ChildSa& other, const ChildSa& leaving) {
  return &other != &leaving && other.state != ChildSa::State::deleting && !other.owner->is_closing();
}

}  // namespace

// What waits to be sent on instead: best of the same IKE SA, where what makes this one go tells that the peer
// has the other; then of one that stays.
ChildSa* Core::waiting_beside(const ChildSa& leaving) const {
  const auto rank = [&leaving](const ChildSa& child) {
    if (child.owner == leaving.owner) return 2;
    return child.owner->is_redundant() ? 0 : 1;
  };
  const auto& all = tunnels_[leaving.install.tunnel].children;
  ChildSa* waiting = nullptr;
  for (auto at = all.rbegin(); at != all.rend(); ++at) {
    const bool waits =
        may_follow(**at, leaving) && !(*at)->sending && (*at)->state != ChildSa::State::replaced;
    if (waits && (waiting == nullptr || rank(*waiting) < rank(**at))) waiting = *at;
  }
  return waiting;
}

bool Core::step_in_for(ChildSa& leaving) {
  if (tunnels_[leaving.install.tunnel].sending != &leaving) return true;
  ChildSa* const waiting = waiting_beside(leaving);
  if (waiting == nullptr) return false;
  waiting->later.cancel();
  send_on(*waiting);
  return true;
}

// The tunnel goes on over another child when there is one: one that waits to be sent on, or else one that was
// sent on before. The dataplane has forgotten how to send on the latter, so it is rekeyed.
void Core::hand_over(ChildSa& leaving) {
  if (step_in_for(leaving)) return;
  TunnelState& state = tunnels_[leaving.install.tunnel];
  ChildSa* former = nullptr;
  for (ChildSa* other : state.children)
    if (other->sending && may_follow(*other, leaving)) former = other;  // the youngest
  state.sending = former;
  if (former != nullptr && former->state == ChildSa::State::installed) former->owner->rekey_child(*former);
}

void Core::forget_child(ChildSa& child) {
  child.rekey.cancel();
  child.expire.cancel();
  child.later.cancel();
  std::erase(child.owner->children, &child);
  TunnelState& state = tunnels_[child.install.tunnel];
  std::erase(state.children, &child);
  if (is_slot(child.install.tunnel)) claims.remove(state.config->overlay.id, child.install.remote_selectors);
  settle_slot(child.install.tunnel);
  auto node = children_.extract(child.spi());
  if (!node.empty()) child_graveyard_.push_back(std::move(node.mapped()));
}

void Core::remove_child(ChildSa& child, Inbound inbound, const Reason& reason) {
  const TunnelId id = child.install.tunnel;
  const bool was_up = tunnels_[id].sending != nullptr;
  hand_over(child);
  if (child.sending) host.remove_outbound(id, child.install.outbound_spi);
  if (inbound == Inbound::drain) {
    drain(id, child.spi());
  } else {
    host.remove_inbound(id, child.spi());
  }
  forget_child(child);
  if (was_up && tunnels_[id].sending == nullptr) host.tunnel_down(id, reason);
}

void Core::move_children(IkeSa& from, IkeSa& to) {
  for (ChildSa* child : from.children) child->owner = &to;
  to.children.insert(to.children.end(), from.children.begin(), from.children.end());
  from.children.clear();
}

void Core::note(std::optional<TunnelId> id, bool sent, const Header& header,
                const std::vector<Payload>& payloads) {
  notifies.add(sent, payloads);
  if (!id) return;
  TunnelState& state = tunnels_[*id];
  state.story.add(header, sent, payloads, now);
  // What went well while the tunnel is up needs no explanation. That the peer is there is no more than that.
  const bool well =
      header.response && header.exchange != Exchange::informational && find_error(payloads) == nullptr;
  if (well && state.sending != nullptr) state.story.forget_heard();
}

void Core::log_stranger(const std::string& line) {
  if (stranger_log.allows(now)) host.log(std::nullopt, line);
}

milliseconds Core::jitter(milliseconds base, milliseconds spread) {
  if (spread.count() <= 0) return base;
  return base +
         milliseconds(static_cast<std::int64_t>(jitter_() % static_cast<std::uint64_t>(spread.count())));
}

milliseconds Core::retry_after(milliseconds usual, Time end) {
  constexpr milliseconds kSoonest(500);
  if (end > now) {
    const auto part = std::chrono::duration_cast<milliseconds>(end - now) / 4;
    usual = std::clamp(part, std::min(kSoonest, usual), usual);
  }
  return jitter(usual, usual);
}

milliseconds Core::rekey_after(std::chrono::seconds lifetime) {
  const milliseconds whole = lifetime;
  // As long as a request is sent again and again: of a short lifetime, what there is.
  constexpr milliseconds kPatience = std::chrono::seconds(30);
  milliseconds margin = std::max(whole / 10, std::min(kPatience, whole / 3));
  if (settings.rekey_margin.count() > 0) margin = std::min<milliseconds>(settings.rekey_margin, whole / 2);
  return whole - jitter(margin, margin);
}

}  // namespace espgate::ike
