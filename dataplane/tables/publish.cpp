#include "dataplane/tables/publish.hpp"

#include <algorithm>
#include <array>

namespace espgate::dataplane {

namespace {

struct Member {
  std::uint32_t tunnel;
  std::uint32_t held;   // buckets it had
  std::uint32_t quota;  // buckets it is to have
};

struct Members {
  std::array<Member, channel::kMaxGroupMembers> list;
  std::size_t count{0};
  [[nodiscard]] Member* find(std::uint32_t tunnel) noexcept {
    const auto last = list.begin() + static_cast<std::ptrdiff_t>(count);
    const auto found = std::find_if(list.begin(), last, [&](const Member& m) { return m.tunnel == tunnel; });
    return found == last ? nullptr : &*found;
  }
};

// 256 seldom divides evenly: those that hold most get the odd buckets, so that the fewest move.
void set_quotas(Members& members) noexcept {
  const auto count = static_cast<std::uint32_t>(members.count);
  std::stable_sort(members.list.begin(), members.list.begin() + count,
                   [](const Member& a, const Member& b) { return a.held > b.held; });
  for (std::uint32_t i = 0; i < count; i++)
    members.list[i].quota = Group::kBuckets / count + (i < Group::kBuckets % count ? 1 : 0);
}

}  // namespace

Group empty_group() noexcept {
  Group group;
  group.buckets.fill(Group::kNoTunnel);
  return group;
}

Group rebalance(const Group& former, std::span<const std::uint32_t> up) noexcept {
  Group next = empty_group();
  Members members{};
  for (const std::uint32_t tunnel : up.first(std::min<std::size_t>(up.size(), channel::kMaxGroupMembers)))
    members.list[members.count++] = {tunnel, 0, 0};
  if (members.count == 0) return next;
  for (const std::uint32_t tunnel : former.buckets)
    if (Member* member = members.find(tunnel)) member->held++;
  set_quotas(members);
  for (std::uint32_t b = 0; b < Group::kBuckets; b++) {
    Member* member = members.find(former.buckets[b]);
    if (member == nullptr || member->quota == 0) continue;
    next.buckets[b] = member->tunnel;
    member->quota--;
  }
  // What is left goes round among those who are still owed some, so that the flows of one who left spread
  // over all.
  std::size_t turn = 0;
  for (std::uint32_t& bucket : next.buckets) {
    if (bucket != Group::kNoTunnel) continue;
    while (members.list[turn % members.count].quota == 0) turn++;
    Member& member = members.list[turn++ % members.count];
    bucket = member.tunnel;
    member.quota--;
  }
  return next;
}

}  // namespace espgate::dataplane
