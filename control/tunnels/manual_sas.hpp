// The SAs with manual keys: which of them the dataplane holds, and which sequence numbers they may use. Their
// keys live as long as the operator leaves them, so the numbers are reserved on disk before the dataplane may
// send with them, and what was received is noted there now and then. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/counters.hpp"
#include "channel/messages.hpp"
#include "channel/region.hpp"
#include "conf/schema.hpp"
#include "control/ike/daemon.hpp"
#include "control/tunnels/sequence_file.hpp"

namespace espgate::control {

using ike::TunnelId;

class ManualSas {
 public:
  // Numbers reserved at a time: 3.3 s at 10 million packets a second, and what a crash passes over. Without
  // ESN that is a 128th of all.
  static constexpr std::uint64_t kAhead = std::uint64_t{1} << 25;
  static_assert(kAhead > channel::kLimitNear);

  // `configuration` must outlive this. Touches the disk only if a tunnel has manual keys.
  explicit ManualSas(const conf::Configuration& configuration);

  [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
  [[nodiscard]] bool has(TunnelId tunnel) const { return entries_.contains(tunnel); }
  [[nodiscard]] std::vector<TunnelId> tunnels() const;
  // Why no SA can be installed before the operator has seen to it; empty: nothing is wrong.
  [[nodiscard]] const std::string& unusable() const noexcept { return unusable_; }

  // What the dataplane holds: nothing is known any more; it holds this one.
  void forget_held();
  void held(TunnelId tunnel, channel::Direction direction, std::uint64_t sequence_limit);
  [[nodiscard]] bool is_missing(TunnelId tunnel, channel::Direction direction) const;  // and not asked for
  [[nodiscard]] bool is_up(TunnelId tunnel) const;

  struct Reservation {
    std::uint64_t last{0};   // may have been used before
    std::uint64_t limit{0};  // of an outbound SA: the last that may be used now
    bool first{false};       // nothing is known of the key
  };
  // For an SA that is missing; the numbers may be used once commit() returned. nullopt: there are none left.
  // A refused install's numbers are given out again.
  [[nodiscard]] std::optional<Reservation> reserve(TunnelId tunnel, channel::Direction direction);
  // Throws std::runtime_error with words.
  void commit();
  void asked(TunnelId tunnel, channel::Direction direction);  // its install command was sent
  void answered(TunnelId tunnel, channel::Direction direction, bool installed);

  // An SA asks for more numbers; `extensions`: the answers to all that asked, to be sent after commit().
  void near(const channel::SaLimitNear& near) { near_.push_back(near); }
  [[nodiscard]] bool wants_more() const noexcept { return !near_.empty(); }
  [[nodiscard]] std::vector<channel::ExtendSa> extensions();

  // Notes for commit() how far the replay windows are.
  void note_received(const channel::CountersView& page);

 private:
  struct Sa {
    KeyFingerprint key{};
    std::uint32_t spi{0};
    bool held{false};
    bool asked{false};
    std::optional<Reservation> reserved;  // and not used yet
  };
  struct Entry {
    Sa inbound;
    Sa outbound;
    bool esn{false};
  };
  [[nodiscard]] Sa& at(TunnelId tunnel, channel::Direction direction);
  [[nodiscard]] const Sa& at(TunnelId tunnel, channel::Direction direction) const;

  std::map<TunnelId, Entry> entries_;
  std::vector<channel::SaLimitNear> near_;
  std::unique_ptr<SequenceFile> file_;
  std::string unusable_;
};

// One-way, and the same for the same key material in every direction and tunnel.
[[nodiscard]] KeyFingerprint fingerprint(crypto::Bytes key_material);
// Of an install command: differs when anything in it does but for the sequence numbers. Never 0.
[[nodiscard]] std::uint64_t label_of(const channel::InstallSa& install);

}  // namespace espgate::control
