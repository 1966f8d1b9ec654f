#include "control/tunnels/manual_sas.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <exception>
#include <utility>

#include "control/tunnels/sa_book.hpp"
#include "crypto/ike.hpp"

namespace espgate::control {

using channel::Direction;

namespace {

crypto::Bytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace

// The key is the data, and what is public the PRF's key: what ESP's own HMACs make of a key is not found
// here.
KeyFingerprint fingerprint(crypto::Bytes key_material) {
  const crypto::SecretBytes sum =
      crypto::prf(crypto::Prf::hmac_sha256, bytes_of("espgate manual key"), {key_material});
  KeyFingerprint out{};
  std::copy_n(sum.view().begin(), out.size(), out.begin());
  return out;
}

// The command's bytes; make_command has left none of them to chance.
std::uint64_t label_of(const channel::InstallSa& install) {
  crypto::SecretBytes bytes(crypto::Bytes(reinterpret_cast<const std::uint8_t*>(&install), sizeof install));
  const auto leave_out = [&bytes](std::size_t at, std::size_t length) {
    std::memset(bytes.bytes().data() + at, 0, length);
  };
  leave_out(offsetof(channel::InstallSa, last_sequence), sizeof install.last_sequence);
  leave_out(offsetof(channel::InstallSa, sequence_limit), sizeof install.sequence_limit);
  leave_out(offsetof(channel::InstallSa, label), sizeof install.label);
  const crypto::SecretBytes sum =
      crypto::prf(crypto::Prf::hmac_sha256, bytes_of("espgate manual SA"), {bytes.view()});
  std::uint64_t label = 0;
  std::memcpy(&label, sum.view().data(), sizeof label);
  return label | 1;
}

ManualSas::ManualSas(const conf::Configuration& configuration) {
  for (TunnelId tunnel = 0; tunnel < configuration.tunnels.size(); ++tunnel) {
    const std::optional<conf::Manual>& manual = configuration.tunnels[tunnel].manual;
    if (!manual) continue;
    Entry& entry = entries_[tunnel];
    entry.inbound.key = fingerprint(manual->inbound.key.view());
    entry.inbound.spi = manual->inbound.spi;
    entry.outbound.key = fingerprint(manual->outbound.key.view());
    entry.outbound.spi = manual->outbound.spi;
    entry.esn = manual->esn;
  }
  if (entries_.empty()) return;
  try {
    file_ = std::make_unique<SequenceFile>(configuration.state_directory);
  } catch (const std::exception& error) {
    unusable_ = error.what();
  }
}

std::vector<TunnelId> ManualSas::tunnels() const {
  std::vector<TunnelId> out;
  for (const auto& [tunnel, entry] : entries_) out.push_back(tunnel);
  return out;
}

ManualSas::Sa& ManualSas::at(TunnelId tunnel, Direction direction) {
  Entry& entry = entries_.at(tunnel);
  return direction == Direction::inbound ? entry.inbound : entry.outbound;
}

const ManualSas::Sa& ManualSas::at(TunnelId tunnel, Direction direction) const {
  const Entry& entry = entries_.at(tunnel);
  return direction == Direction::inbound ? entry.inbound : entry.outbound;
}

// A dataplane that was asked may have used the numbers before it ended.
void ManualSas::forget_held() {
  near_.clear();
  for (auto& [tunnel, entry] : entries_) {
    for (Sa* sa : {&entry.inbound, &entry.outbound}) {
      if (sa->asked) sa->reserved.reset();
      sa->held = false;
      sa->asked = false;
    }
  }
}

// The file knew the limit before the dataplane did, unless somebody removed it.
void ManualSas::held(TunnelId tunnel, Direction direction, std::uint64_t sequence_limit) {
  Sa& sa = at(tunnel, direction);
  sa.held = true;
  sa.reserved.reset();
  if (file_ && direction == Direction::outbound) file_->raise(sa.key, sequence_limit);
}

bool ManualSas::is_missing(TunnelId tunnel, Direction direction) const {
  const Sa& sa = at(tunnel, direction);
  return !sa.held && !sa.asked;
}

bool ManualSas::is_up(TunnelId tunnel) const {
  const Entry& entry = entries_.at(tunnel);
  return entry.inbound.held && entry.outbound.held;
}

std::optional<ManualSas::Reservation> ManualSas::reserve(TunnelId tunnel, Direction direction) {
  Sa& sa = at(tunnel, direction);
  if (sa.reserved) return sa.reserved;
  const std::optional<std::uint64_t> known = file_->last(sa.key);
  Reservation reservation{known.value_or(0), 0, !known};
  if (direction == Direction::outbound) {
    const std::uint64_t end = channel::last_of_sequence(entries_.at(tunnel).esn);
    if (reservation.last >= end) return std::nullopt;
    reservation.limit = reservation.last + std::min(kAhead, end - reservation.last);
  }
  file_->raise(sa.key, std::max(reservation.last, reservation.limit));
  sa.reserved = reservation;
  return reservation;
}

void ManualSas::commit() {
  if (file_) file_->commit();
}

void ManualSas::asked(TunnelId tunnel, Direction direction) { at(tunnel, direction).asked = true; }

void ManualSas::answered(TunnelId tunnel, Direction direction, bool installed) {
  Sa& sa = at(tunnel, direction);
  sa.asked = false;
  sa.held = installed;
  if (installed) sa.reserved.reset();
}

std::vector<channel::ExtendSa> ManualSas::extensions() {
  std::vector<channel::ExtendSa> out;
  for (const channel::SaLimitNear& near : std::exchange(near_, {})) {
    const auto found = entries_.find(near.tunnel);
    if (found == entries_.end() || found->second.outbound.spi != near.spi || !file_) continue;
    const std::uint64_t end = channel::last_of_sequence(found->second.esn);
    const std::uint64_t sequence = std::min(near.sequence, end);
    const std::uint64_t limit = sequence + std::min(kAhead, end - sequence);
    file_->raise(found->second.outbound.key, limit);
    out.push_back({near.tunnel, near.spi, limit});
  }
  return out;
}

void ManualSas::note_received(const channel::CountersView& page) {
  if (!file_) return;
  for (const auto& [tunnel, entry] : entries_) {
    if (!entry.inbound.held) continue;
    if (const channel::SaStatus* status = inbound_status(page, entry.inbound.spi))
      file_->raise(entry.inbound.key, status->highest_sequence.load(std::memory_order_relaxed));
  }
}

}  // namespace espgate::control
