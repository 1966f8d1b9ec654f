// Who has which slot of a template (conf::Tunnel::first_slot). A peer that has shown who it is has the slot
// that it had before, or else the one that is free for longest; with pre-shared keys each identity has its
// own for good. Found by a hash of the identity, never by a walk.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "control/ike/daemon.hpp"

namespace espgate::ike {

class Slots {
 public:
  // `tunnels` must outlive this.
  explicit Slots(const std::vector<conf::Tunnel>& tunnels);

  // Whether a peer that is who it says may have a slot of the template whose first slot is `first`.
  [[nodiscard]] bool admits(TunnelId first, const IdPayload& id) const;
  // The slot that this identity has, or had last.
  [[nodiscard]] std::optional<TunnelId> of(TunnelId first, const IdPayload& id) const;
  // Which one `take` would give it; nullopt: none is free.
  [[nodiscard]] std::optional<TunnelId> next(TunnelId first, const IdPayload& id) const;
  // The peer has shown who it is. nullopt: none is free, which is counted.
  std::optional<TunnelId> take(TunnelId first, const IdPayload& id);
  // Nothing of its peer is left. It stays that peer's until another needs it.
  void release(TunnelId slot);
  // SAs that this daemon does not know carry the traffic of a peer of which no more than `label` is known
  // (see peer_label).
  void keep(TunnelId slot, std::uint64_t label);

  // Nobody's yet: nullptr.
  [[nodiscard]] const IdPayload* holder(TunnelId slot) const;
  [[nodiscard]] SlotCounts counts(TunnelId first) const;

 private:
  struct Slot {
    std::optional<IdPayload> holder;
    std::optional<std::uint64_t> free_since;  // its place in Template::free; none: in use
    std::uint64_t label{0};                   // of the SAs that keep it
  };
  struct Template {
    bool by_secret{false};
    conf::Identity pattern;
    std::set<std::pair<std::uint64_t, TunnelId>> free;
    std::unordered_map<std::uint64_t, TunnelId> kept;  // by label
    std::size_t slots{0};
    std::uint64_t refused{0};
  };

  [[nodiscard]] static std::size_t key(TunnelId first, const IdPayload& id);
  void bind(TunnelId slot, const IdPayload& id);
  void unbind(TunnelId slot);
  void occupy(TunnelId slot);
  Template& template_of(TunnelId slot);

  const std::vector<conf::Tunnel>& tunnels_;
  std::unordered_map<TunnelId, Template> templates_;  // by the first slot
  std::unordered_map<TunnelId, Slot> slots_;
  std::unordered_multimap<std::size_t, TunnelId> holders_;
  std::uint64_t clock_{0};
};

// What the SAs of a slot's peer are told from others' by, when the process that knew it is gone; never 0.
[[nodiscard]] std::uint64_t peer_label(const IdPayload& id);

}  // namespace espgate::ike
