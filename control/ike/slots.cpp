#include "control/ike/slots.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <string_view>

#include "control/ike/identity.hpp"
#include "crypto/certificate.hpp"
#include "crypto/ike.hpp"

namespace espgate::ike {
namespace {

bool is_name(const IdPayload& id) {
  return id.type == static_cast<std::uint8_t>(conf::IdentityType::directory_name);
}

bool is_same(const IdPayload& a, const IdPayload& b) {
  return a.type == b.type &&
         (is_name(a) ? crypto::same_directory_name(a.data, b.data) : comparable(a) == comparable(b));
}

}  // namespace

std::uint64_t peer_label(const IdPayload& id) {
  constexpr std::string_view kPurpose = "espgate peer";
  const crypto::SecretBytes sum = crypto::prf(
      crypto::Prf::hmac_sha256, {reinterpret_cast<const std::uint8_t*>(kPurpose.data()), kPurpose.size()},
      {Bytes(&id.type, 1), comparable(id)});
  std::uint64_t label = 0;
  std::memcpy(&label, sum.view().data(), sizeof label);
  return label | 1;
}

Slots::Slots(const std::vector<conf::Tunnel>& tunnels) : tunnels_(tunnels) {
  for (TunnelId id = 0; id < tunnels.size(); ++id) {
    if (!tunnels[id].first_slot) continue;
    Template& whole = template_of(id);
    if (*tunnels[id].first_slot == id) {
      whole.by_secret = tunnels[id].remote_auth.by == conf::Auth::psk;
      whole.pattern = tunnels[id].remote_id;
    }
    ++whole.slots;
    slots_.emplace(id, Slot{});
    if (whole.by_secret && !tunnels[id].remote_id.data.empty())
      bind(id, id_payload(tunnels[id].remote_id, true));
    release(id);
  }
}

Slots::Template& Slots::template_of(TunnelId slot) { return templates_[*tunnels_[slot].first_slot]; }

std::size_t Slots::key(TunnelId first, const IdPayload& id) {
  const ByteVector bytes = comparable(id);
  const std::string_view data(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::size_t hash =
      is_name(id) ? crypto::directory_hash(id.data) : std::hash<std::string_view>{}(data);
  return hash * 31 + first * 257U + id.type;
}

bool Slots::admits(TunnelId first, const IdPayload& id) const {
  const Template& whole = templates_.at(first);
  return whole.by_secret ? of(first, id).has_value() : is_identity(id, whole.pattern);
}

std::optional<TunnelId> Slots::of(TunnelId first, const IdPayload& id) const {
  const auto [begin, end] = holders_.equal_range(key(first, id));
  const auto found = std::find_if(begin, end, [&](const auto& entry) {
    return tunnels_[entry.second].first_slot == first && is_same(*slots_.at(entry.second).holder, id);
  });
  return found == end ? std::nullopt : std::optional(found->second);
}

std::optional<TunnelId> Slots::next(TunnelId first, const IdPayload& id) const {
  const Template& whole = templates_.at(first);
  if (const auto its = of(first, id); its || whole.by_secret) return its;
  if (!whole.kept.empty())
    if (const auto kept = whole.kept.find(peer_label(id)); kept != whole.kept.end()) return kept->second;
  return whole.free.empty() ? std::nullopt : std::optional(whole.free.begin()->second);
}

std::optional<TunnelId> Slots::take(TunnelId first, const IdPayload& id) {
  const auto slot = next(first, id);
  if (!slot) {
    ++templates_.at(first).refused;
    return std::nullopt;
  }
  const auto& holder = slots_.at(*slot).holder;
  if (!holder || !is_same(*holder, id)) {
    unbind(*slot);
    bind(*slot, id);
  }
  occupy(*slot);
  return slot;
}

void Slots::occupy(TunnelId id) {
  Slot& slot = slots_.at(id);
  if (!slot.free_since) return;
  Template& whole = template_of(id);
  whole.free.erase({*slot.free_since, id});
  slot.free_since.reset();
}

void Slots::release(TunnelId id) {
  Slot& slot = slots_.at(id);
  if (slot.free_since) return;
  Template& whole = template_of(id);
  if (slot.label != 0) whole.kept.erase(std::exchange(slot.label, 0));
  slot.free_since = ++clock_;
  whole.free.emplace(clock_, id);
}

void Slots::keep(TunnelId id, std::uint64_t label) {
  const auto found = slots_.find(id);
  if (found == slots_.end() || found->second.label == label) return;
  occupy(id);
  found->second.label = label;
  template_of(id).kept[label] = id;
}

void Slots::bind(TunnelId id, const IdPayload& peer) {
  slots_.at(id).holder = peer;
  holders_.emplace(key(*tunnels_[id].first_slot, peer), id);
}

void Slots::unbind(TunnelId id) {
  auto& holder = slots_.at(id).holder;
  if (!holder) return;
  const auto [begin, end] = holders_.equal_range(key(*tunnels_[id].first_slot, *holder));
  holders_.erase(std::find_if(begin, end, [id](const auto& entry) { return entry.second == id; }));
  holder.reset();
}

const IdPayload* Slots::holder(TunnelId id) const {
  const auto found = slots_.find(id);
  return found == slots_.end() || !found->second.holder ? nullptr : &*found->second.holder;
}

SlotCounts Slots::counts(TunnelId first) const {
  const auto found = templates_.find(first);
  if (found == templates_.end()) return {};
  const Template& whole = found->second;
  return {whole.slots, whole.slots - whole.free.size(), whole.refused};
}

}  // namespace espgate::ike
