// ECMP groups: who is in them, who of these is up, and what the workers see of it. Members are tunnels and
// gateways, with a weight and a priority: of those that are up, the ones with the lowest priority number
// share all the flows by their weights; or each packet goes to the first whose selectors have it. Main thread
// only.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <tuple>
#include <vector>

#include "channel/region.hpp"
#include "dataplane/liveness/liveness.hpp"
#include "dataplane/ports/resolver.hpp"
#include "dataplane/tables/buckets.hpp"
#include "dataplane/tables/forwarding.hpp"

namespace espgate::dataplane {

struct WeightedHop {
  NextHop hop;               // a tunnel, or a gateway with its neighbour
  std::uint16_t weight{1};   // 1..kMostWeight
  std::uint8_t priority{1};  // the lower goes first
  bool operator==(const WeightedHop&) const = default;
};

using channel::GroupChoice;
using channel::MemberState;

class Groups {
 public:
  // All must outlive this, and no worker may be between two quiet points when this goes.
  Groups(Forwarding& tables, Resolver& resolver, const Liveness& liveness);
  ~Groups();
  Groups(const Groups&) = delete;
  Groups& operator=(const Groups&) = delete;

  // Can these be a group? 1 to Group::kMembers of them, each once, tunnels or gateways, weights in range.
  [[nodiscard]] static bool is_sound(std::span<const WeightedHop> members) noexcept;

  // A group of the control process, `index` below shape.max_groups; sound members. Those that were in it
  // keep their flows. Neighbours of gateways are pinned here for as long as they are members. The workers see
  // a new group at once, and changes of one after the next `settle`.
  // With GroupChoice::selectors they are tunnels.
  void set(std::uint32_t index, std::span<const WeightedHop> members, std::uint64_t now,
           GroupChoice choice = GroupChoice::flow);
  void remove(std::uint32_t index, std::uint64_t now);  // nothing if there is none

  // A group for the dataplane's own use (routes learned from the kernel): the one there is of these members,
  // in whatever order, or a new one. Each call is one user more. Kind `none`: not sound, or kSharedGroups are
  // in use. The caller's neighbours must be pinned until this returns. Where the caller's packets went to
  // `former` until now, a new group begins with its flows where they were, as far as these are members.
  [[nodiscard]] NextHop shared(std::span<const WeightedHop> members, std::uint64_t now, NextHop former = {});
  // One user less. The group goes with the next `settle`, so no route may lead into it any more when the
  // routes are committed before that. What is no shared group is ignored.
  void release(NextHop group, std::uint64_t now);

  // The tunnel is no more, so that whoever comes to its index next must not be taken for it.
  void forget_tunnel(std::uint32_t tunnel, std::uint64_t now);

  // The one place that knows whether a member may have flows.
  [[nodiscard]] MemberState state_of(NextHop member) const noexcept;
  // The members that have the group's flows; all of them, if nobody is up.
  [[nodiscard]] std::vector<WeightedHop> carriers(std::uint32_t index) const;
  // Changes when some group's carriers may have.
  [[nodiscard]] std::uint64_t changes() const noexcept { return changes_; }
  // Some member's state may have changed: `settle` looks at all.
  void member_changed() noexcept { changed_ = true; }
  // Looks whether gateways stopped or began to answer. True: `settle` has something to do.
  [[nodiscard]] bool poll() noexcept;
  // Writes who is in the control process's groups to the page: state, buckets, packets. A few times a second.
  void tell(channel::CountersPage& page);
  // Lets the workers see what changed. After the routes' commit. True: flows by gateways moved, so what was
  // looked up through a group may be another way now.
  bool settle(std::uint64_t now);

 private:
  struct State {
    GroupChoice choice{GroupChoice::flow};
    std::array<WeightedHop, Group::kMembers> members{};  // by place; kind `none`: free
    Weights weights{};                                   // of those that have the flows
    std::uint8_t priority{0};                            // theirs; 0: nobody is up
    Buckets buckets{nobodys()};
    Buckets home{nobodys()};  // what they would have if all of this priority were up
    Buckets seed{nobodys()};  // what it began with, by the group before it
    bool changed{true};       // members came or went since it was published
    std::unique_ptr<GroupPackets[]> packets;
    std::array<std::uint64_t, Group::kMembers> before{};  // packets of who was in a place earlier
    std::vector<std::uint8_t> order;                      // the members' places, as they were named
    std::uint32_t users{0};                               // of a shared one
  };
  struct Gateway {
    std::uint32_t members{0};
    bool failed{false};  // until it answers
  };
  using Key = std::vector<std::tuple<std::uint64_t, std::uint16_t, std::uint8_t>>;
  [[nodiscard]] static Key key_of(std::span<const WeightedHop> members);

  [[nodiscard]] State& make(std::uint32_t index);
  void set(std::uint32_t index, std::span<const WeightedHop> members, std::uint64_t now, GroupChoice choice,
           const Buckets& seed);
  [[nodiscard]] Buckets seed_of(NextHop former, std::span<const WeightedHop> members) const;
  void place_members(State& state, std::span<const WeightedHop> wanted, std::uint64_t now);
  void vacate(State& state, std::size_t place, std::uint64_t now);
  void pin(NextHop hop, std::uint64_t now);
  void unpin(NextHop hop, std::uint64_t now);
  void choose(State& state) const noexcept;
  static void put_asked(const State& state, Group& to) noexcept;
  void publish_group(std::uint32_t index, const State& state);
  [[nodiscard]] std::uint64_t packets_at(const State& state, std::size_t place) const noexcept;
  void tell_group(channel::GroupStatus& out, const State& state) const;
  void drop_released(std::uint64_t now);
  void forget_key(std::uint32_t index);

  Forwarding& tables_;
  Resolver& resolver_;
  const Liveness& liveness_;
  std::map<std::uint32_t, std::unique_ptr<State>> groups_;  // by index
  std::map<Key, std::uint32_t> shared_;                     // index of each shared one
  std::deque<std::uint32_t> free_shared_;  // indices; one that was in use is the last to be taken
  std::vector<std::uint32_t> released_;    // without users; may have some again
  std::map<NeighbourId, Gateway> gateways_;
  std::set<std::uint32_t> told_;  // groups that stand in the page
  std::uint64_t changes_{0};
  bool changed_{false};
};

}  // namespace espgate::dataplane
