#include "dataplane/groups.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "dataplane/tables/publish.hpp"

namespace espgate::dataplane {

namespace {

bool is_free(const WeightedHop& member) noexcept { return member.hop.kind == NextHopKind::none; }

bool is_gateway(const WeightedHop& member) noexcept { return member.hop.kind == NextHopKind::gateway; }

}  // namespace

Groups::Groups(Forwarding& tables, Resolver& resolver, const Liveness& liveness)
    : tables_(tables), resolver_(resolver), liveness_(liveness) {
  for (std::uint32_t i = 0; i < Forwarding::kSharedGroups; i++)
    free_shared_.push_back(tables.shape.max_groups + i);
}

Groups::~Groups() {
  for (const auto& [index, state] : groups_) publish(tables_.rcu, tables_.groups[index], {});
  tables_.rcu.wait();
}

bool Groups::is_sound(std::span<const WeightedHop> members) noexcept {
  if (members.empty() || members.size() > Group::kMembers) return false;
  for (auto at = members.begin(); at != members.end(); ++at) {
    const bool leads = at->hop.kind == NextHopKind::tunnel || at->hop.kind == NextHopKind::gateway;
    if (!leads || at->weight == 0 || at->weight > kMostWeight || at->priority == 0) return false;
    if (std::any_of(members.begin(), at, [&](const WeightedHop& other) { return other.hop == at->hop; }))
      return false;
  }
  return true;
}

Groups::State& Groups::make(std::uint32_t index) {
  std::unique_ptr<State>& state = groups_[index];
  if (state != nullptr) return *state;
  state = std::make_unique<State>();
  state->packets = std::make_unique<GroupPackets[]>(tables_.shape.workers);
  return *state;
}

void Groups::set(std::uint32_t index, std::span<const WeightedHop> members, std::uint64_t now,
                 GroupChoice choice) {
  set(index, members, now, choice, nobodys());
}

// A new one is seen at once: the routes that will lead into it are committed before groups are settled.
void Groups::set(std::uint32_t index, std::span<const WeightedHop> members, std::uint64_t now,
                 GroupChoice choice, const Buckets& seed) {
  const bool is_new = !groups_.contains(index);
  State& state = make(index);
  if (is_new) state.seed = state.buckets = seed;
  place_members(state, members, now);
  state.changed = std::exchange(state.choice, choice) != choice || state.changed;
  if (!is_new) return;
  choose(state);
  publish_group(index, state);
  state.changed = false;
}

void Groups::remove(std::uint32_t index, std::uint64_t now) {
  const auto found = groups_.find(index);
  if (found == groups_.end()) return;
  for (std::size_t place = 0; place < Group::kMembers; place++) vacate(*found->second, place, now);
  publish(tables_.rcu, tables_.groups[index], {});
  // Workers may count into it for a grace period more.
  tables_.rcu.retire([packets = std::shared_ptr<GroupPackets[]>(std::move(found->second->packets))] {});
  groups_.erase(found);
}

// Whoever was in the group keeps its place, and with it its buckets.
void Groups::place_members(State& state, std::span<const WeightedHop> wanted, std::uint64_t now) {
  std::array<WeightedHop, Group::kMembers> next{};
  std::vector<WeightedHop> come;
  for (const WeightedHop& member : wanted) {
    pin(member.hop, now);
    const auto same = std::find_if(state.members.begin(), state.members.end(),
                                   [&](const WeightedHop& other) { return other.hop == member.hop; });
    if (same == state.members.end())
      come.push_back(member);
    else
      next[static_cast<std::size_t>(same - state.members.begin())] = member;
  }
  for (std::size_t place = 0; place < Group::kMembers; place++) {
    if (is_free(next[place]))
      vacate(state, place, now);
    else
      unpin(next[place].hop, now);  // it was pinned as a member before
  }
  auto free = next.begin();
  for (const WeightedHop& member : come) {
    free = std::find_if(free, next.end(), is_free);
    *free = member;
    const auto place = static_cast<std::size_t>(free - next.begin());
    state.before[place] += packets_at(state, place);
  }
  state.changed = state.changed || state.members != next;
  state.members = next;
  state.order.clear();
  for (const WeightedHop& member : wanted) {
    const auto at = std::find_if(next.begin(), next.end(),
                                 [&](const WeightedHop& other) { return other.hop == member.hop; });
    state.order.push_back(static_cast<std::uint8_t>(at - next.begin()));
  }
  changed_ = true;
}

void Groups::vacate(State& state, std::size_t place, std::uint64_t now) {
  if (is_free(state.members[place])) return;
  unpin(state.members[place].hop, now);
  state.members[place] = WeightedHop{};
  for (Buckets* const buckets : {&state.buckets, &state.seed})
    std::replace(buckets->member.begin(), buckets->member.end(), static_cast<std::uint8_t>(place),
                 Buckets::kNobody);
  state.changed = true;
  changed_ = true;
}

void Groups::pin(NextHop hop, std::uint64_t now) {
  if (hop.kind != NextHopKind::gateway) return;
  const Neighbour& neighbour = tables_.neighbours.entry(hop.index);
  (void)resolver_.pin(neighbour.port, neighbour.address, now);  // it is in the table already
  gateways_[hop.index].members++;
}

void Groups::unpin(NextHop hop, std::uint64_t now) {
  if (hop.kind != NextHopKind::gateway) return;
  resolver_.unpin(hop.index, now);
  const auto gateway = gateways_.find(hop.index);
  if (--gateway->second.members == 0) gateways_.erase(gateway);
}

Groups::Key Groups::key_of(std::span<const WeightedHop> members) {
  Key key;
  for (const WeightedHop& member : members)
    key.emplace_back(std::bit_cast<std::uint64_t>(member.hop), member.weight, member.priority);
  std::sort(key.begin(), key.end());
  return key;
}

// By hop, for the members of a new group have their places in the order in which they are named.
Buckets Groups::seed_of(NextHop former, std::span<const WeightedHop> members) const {
  Buckets seed = nobodys();
  const auto found = former.kind == NextHopKind::group ? groups_.find(former.index) : groups_.end();
  if (found == groups_.end()) return seed;
  const State& before = *found->second;
  for (std::uint8_t place = 0; place < members.size(); place++)
    for (std::size_t b = 0; b < Buckets::kCount; b++) {
      const std::uint8_t at = before.buckets.member[b];
      if (at != Buckets::kNobody && before.members[at].hop == members[place].hop) seed.member[b] = place;
    }
  return seed;
}

NextHop Groups::shared(std::span<const WeightedHop> members, std::uint64_t now, NextHop former) {
  if (!is_sound(members)) return {};
  const Key key = key_of(members);
  auto found = shared_.find(key);
  if (found == shared_.end()) {
    if (free_shared_.empty()) return {};
    found = shared_.emplace(key, free_shared_.front()).first;
    free_shared_.pop_front();
    // Who is named first makes no other group of them.
    std::vector<WeightedHop> in_order(members.begin(), members.end());
    std::sort(in_order.begin(), in_order.end(), [](const WeightedHop& a, const WeightedHop& b) {
      return std::bit_cast<std::uint64_t>(a.hop) < std::bit_cast<std::uint64_t>(b.hop);
    });
    set(found->second, in_order, now, GroupChoice::flow, seed_of(former, in_order));
  }
  groups_.at(found->second)->users++;
  return {NextHopKind::group, 0, 0, found->second};
}

void Groups::release(NextHop group, std::uint64_t) {
  if (group.kind != NextHopKind::group || group.index < tables_.shape.max_groups) return;
  const auto found = groups_.find(group.index);
  if (found == groups_.end() || found->second->users == 0) return;
  if (--found->second->users != 0) return;
  released_.push_back(group.index);
  changed_ = true;
}

void Groups::drop_released(std::uint64_t now) {
  for (const std::uint32_t index : std::exchange(released_, {})) {
    const auto found = groups_.find(index);
    if (found == groups_.end() || found->second->users != 0) continue;
    forget_key(index);
    remove(index, now);
    free_shared_.push_back(index);
  }
}

void Groups::forget_tunnel(std::uint32_t tunnel, std::uint64_t now) {
  const NextHop gone{NextHopKind::tunnel, 0, 0, tunnel};
  for (const auto& [index, state] : groups_)
    for (std::size_t place = 0; place < Group::kMembers; place++) {
      if (!(state->members[place].hop == gone)) continue;
      vacate(*state, place, now);
      forget_key(index);  // whoever asks for these members from now on means another tunnel
    }
}

void Groups::forget_key(std::uint32_t index) {
  std::erase_if(shared_, [index](const auto& entry) { return entry.second == index; });
}

MemberState Groups::state_of(NextHop member) const noexcept {
  NextHop outer = member;
  if (member.kind == NextHopKind::tunnel) {
    const TunnelSlot& tunnel = tables_.tunnels[member.index];
    if (tunnel.tunnel.load(std::memory_order_relaxed) == nullptr) return MemberState::no_tunnel;
    const OutboundSa* const sa = tunnel.outbound.load(std::memory_order_relaxed);
    if (sa == nullptr) return MemberState::no_sa;
    outer = sa->outer.load(std::memory_order_relaxed);
    if (outer == NextHop{}) return MemberState::no_route;
    if (!liveness_.up(member.index)) return MemberState::far_end_lost;
  }
  if (!tables_.ports[outer.port].up.load(std::memory_order_relaxed)) return MemberState::port_down;
  const auto gateway = member.kind == NextHopKind::gateway ? gateways_.find(member.index) : gateways_.end();
  const bool failed = gateway != gateways_.end() && gateway->second.failed;
  return failed ? MemberState::no_neighbour : MemberState::up;
}

std::vector<WeightedHop> Groups::carriers(std::uint32_t index) const {
  std::vector<WeightedHop> found;
  const auto group = groups_.find(index);
  if (group == groups_.end()) return found;
  const State& state = *group->second;
  for (std::size_t place = 0; place < Group::kMembers; place++)
    if (!is_free(state.members[place]) && (state.priority == 0 || state.weights[place] != 0))
      found.push_back(state.members[place]);
  return found;
}

// One that failed is asked again every few seconds, and must answer before it counts as up.
bool Groups::poll() noexcept {
  for (auto& [id, gateway] : gateways_) {
    const Link link = tables_.neighbours.link(id);
    const bool failed = link.state() == NeighbourState::failed || (gateway.failed && !link.usable());
    if (std::exchange(gateway.failed, failed) != failed) changed_ = true;
  }
  return changed_;
}

// Who has the flows, and how many each.
void Groups::choose(State& state) const noexcept {
  std::array<bool, Group::kMembers> up;
  std::uint8_t priority = 0;
  for (std::size_t place = 0; place < Group::kMembers; place++) {
    const WeightedHop& member = state.members[place];
    up[place] = !is_free(member) && state_of(member.hop) == MemberState::up;
    if (up[place] && (priority == 0 || member.priority < priority)) priority = member.priority;
  }
  Weights weights{};
  Weights all{};
  for (std::size_t place = 0; place < Group::kMembers; place++) {
    const bool later = state.choice == GroupChoice::flow && state.members[place].priority != priority;
    if (is_free(state.members[place]) || later) continue;
    all[place] = state.members[place].weight;
    if (up[place]) weights[place] = all[place];
  }
  if (!state.changed && weights == state.weights) return;
  if (state.changed || priority != state.priority) state.home = rebalance(state.seed, home_of(all), all);
  state.weights = weights;
  state.priority = priority;
  const bool by_flow = state.choice == GroupChoice::flow;
  state.buckets = by_flow ? rebalance(state.buckets, state.home, weights) : nobodys();
  state.changed = true;
}

// Those that are up: of lower priority numbers first, else as they were named.
void Groups::put_asked(const State& state, Group& to) noexcept {
  auto end = to.asked.begin();
  to.asked.fill(Buckets::kNobody);
  for (const std::uint8_t place : state.order)
    if (!is_free(state.members[place]) && state.weights[place] != 0) *end++ = place;
  std::stable_sort(to.asked.begin(), end, [&state](std::uint8_t a, std::uint8_t b) {
    return state.members[a].priority < state.members[b].priority;
  });
}

void Groups::publish_group(std::uint32_t index, const State& state) {
  auto next = std::make_unique<Group>();
  next->packets = state.packets.get();
  for (std::size_t place = 0; place < Group::kMembers; place++)
    next->members[place] = state.members[place].hop;
  next->buckets = state.buckets;
  next->by_selectors = state.choice == GroupChoice::selectors;
  put_asked(state, *next);
  publish<Group>(tables_.rcu, tables_.groups[index], std::move(next));
}

std::uint64_t Groups::packets_at(const State& state, std::size_t place) const noexcept {
  std::uint64_t sum = 0;
  for (std::uint32_t w = 0; w < tables_.shape.workers; w++)
    sum += state.packets[w].by_place[place].load(std::memory_order_relaxed);
  return sum - state.before[place];
}

void Groups::tell_group(channel::GroupStatus& out, const State& state) const {
  std::array<std::uint32_t, Group::kMembers> buckets{};
  for (const std::uint8_t place : state.buckets.member)
    if (place != Buckets::kNobody) buckets[place]++;
  for (std::size_t i = 0; i < channel::kMaxGroupMembers; i++) {
    channel::GroupMemberStatus& member = out.members[i];
    const bool there = i < state.order.size();
    const std::size_t place = there ? state.order[i] : 0;
    const bool free = is_free(state.members[place]);
    const MemberState now = free ? MemberState::no_tunnel : state_of(state.members[place].hop);
    member.state.store(there ? now : MemberState::absent, std::memory_order_relaxed);
    member.buckets.store(there && !free ? buckets[place] : 0, std::memory_order_relaxed);
    member.packets.store(there && !free ? packets_at(state, place) : 0, std::memory_order_relaxed);
  }
}

void Groups::tell(channel::CountersPage& page) {
  const State nobody;
  for (auto at = told_.begin(); at != told_.end();) {
    const bool gone = !groups_.contains(*at);
    if (gone) tell_group(page.group(*at), nobody);
    at = gone ? told_.erase(at) : std::next(at);
  }
  for (const auto& [index, state] : groups_) {
    if (index >= tables_.shape.max_groups) break;
    tell_group(page.group(index), *state);
    told_.insert(index);
  }
}

bool Groups::settle(std::uint64_t now) {
  if (!std::exchange(changed_, false)) return false;
  drop_released(now);
  changed_ = false;
  bool gateways_moved = false;
  for (const auto& [index, state] : groups_) {
    choose(*state);
    if (!std::exchange(state->changed, false)) continue;
    publish_group(index, *state);
    changes_++;
    gateways_moved = gateways_moved || std::any_of(state->members.begin(), state->members.end(), is_gateway);
  }
  return gateways_moved;
}

}  // namespace espgate::dataplane
