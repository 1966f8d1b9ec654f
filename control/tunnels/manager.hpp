// What the operator asked for against what is: which tunnels are to be up, which are, and when to try again.
// Knows no protocol and no dataplane; time comes in with every call. One thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "conf/schema.hpp"
#include "control/ike/daemon.hpp"

namespace espgate::control {

using ike::Time;
using ike::TunnelId;

// What the manager asks for. Called only from Manager::advance and reset, never from within its other
// functions.
class Initiator {
 public:
  virtual ~Initiator() = default;
  virtual void initiate(TunnelId tunnel) = 0;  // no effect while an attempt or an SA exists
  virtual void terminate(TunnelId tunnel, const ike::Reason& reason) = 0;
};

enum class TunnelState : std::uint8_t { down, connecting, up };
[[nodiscard]] const char* name_of(TunnelState state) noexcept;

struct TunnelStatus {
  TunnelState state{TunnelState::down};
  bool adopted{false};     // up on SAs of a former control process alone
  Time since{};            // of the present state
  ike::Reason last_error;  // none once the tunnel came up after it
  Time last_error_at{};
  unsigned attempts{0};  // since it was last up
  std::optional<Time> retry_at;
};

// How long to wait before the next attempt: 1 s doubled to 60 s, a fifth of it up or down by chance. After
// what only an operator's change will mend (authentication, proposals, selectors) it begins at 10 s.
class BackOff {
 public:
  [[nodiscard]] std::chrono::milliseconds next(ike::Failure failure, std::mt19937_64& random);
  void reset() noexcept { tries_ = 0; }

 private:
  unsigned tries_{0};
};

class Manager {
 public:
  static constexpr std::chrono::seconds kStable{10};  // up for so long: the next loss starts from 1 s again
  static constexpr std::chrono::seconds kAttemptLimit{
      90};  // an attempt that says nothing for so long is begun anew
  // Ten thousand tunnels that begin at once would fill every ring and every peer's hands with first messages,
  // whose answers then come too late. So attempts come in small portions, and no more than so many are young:
  // begun lately, and without outcome. A dead peer keeps nobody from his place for longer.
  static constexpr unsigned kPortion = 16;  // in one call of advance()
  static constexpr unsigned kYoung = 256;
  static constexpr std::chrono::seconds kYouth{1};

  // `tunnels` and `initiator` must outlive the manager.
  Manager(const std::vector<conf::Tunnel>& tunnels, Initiator& initiator, std::uint64_t seed, Time now);

  // The dataplane is ready: tunnels with `start: initiate` are begun, and those in `adopted`, whatever they
  // start by.
  void start(const std::vector<TunnelId>& adopted, Time now);
  // The dataplane is gone, or we are going: nothing is begun until the next start().
  void stop(Time now);

  // From the IKE daemon.
  void tunnel_up(TunnelId tunnel, Time now);
  void tunnel_down(TunnelId tunnel, const ike::Reason& reason, Time now);
  void attempt_failed(TunnelId tunnel, const ike::Reason& reason, Time now);
  // What somebody began in the peer's name failed: it says why the tunnel is not up, where it is not, and
  // keeps ours from nothing.
  void peer_attempt_failed(TunnelId tunnel, const ike::Reason& reason, Time now);
  // The last adopted SA that carried the tunnel is gone.
  void adoption_ended(TunnelId tunnel, Time now);
  // Something that is worth an operator's eye, though no attempt failed.
  void note_error(TunnelId tunnel, const ike::Reason& reason, Time now);

  // The operator: takes the tunnel down, if it is up, and begins anew.
  void reset(TunnelId tunnel, const ike::Reason& reason, Time now);

  [[nodiscard]] std::optional<Time> next_deadline() const;
  void advance(Time now);

  [[nodiscard]] const TunnelStatus& status(TunnelId tunnel) const { return entries_.at(tunnel).status; }

 private:
  struct Entry {
    TunnelStatus status;
    BackOff back_off;
    bool child_up{false};
    bool attempting{false};
    std::optional<Time> young;  // when its attempt was begun
    std::optional<Time> due;    // its place in `deadlines_`
  };
  void schedule(TunnelId tunnel, std::optional<Time> when);
  void retry(TunnelId tunnel, ike::Failure failure, Time now);
  void show_state(TunnelId tunnel, Time now);
  void begin_attempt(TunnelId tunnel, Time now);
  void attempt_over(Entry& entry);
  void age(Time now);
  [[nodiscard]] bool can_begin(TunnelId tunnel) const;
  [[nodiscard]] bool wanted(TunnelId tunnel) const;

  const std::vector<conf::Tunnel>& tunnels_;
  Initiator& initiator_;
  std::mt19937_64 random_;
  std::vector<Entry> entries_;
  std::set<std::pair<Time, TunnelId>> deadlines_;
  std::deque<std::pair<Time, TunnelId>> begun_;  // the attempts of the last kYouth, the oldest first
  unsigned young_{0};                            // of them without outcome
  bool running_{false};
};

}  // namespace espgate::control
